//! How tunnels end.

use std::io::ErrorKind;

use super::*;

#[tokio::test]
async fn a_half_close_passes_through_and_the_other_way_goes_on() {
    for way in [Way::Up, Way::Down] {
        let mut tunnel = Setup::default().start().await;
        let (source, sink) = tunnel.ends(way);
        transfer(source, sink, b"all there is").await;
        let (sink, source) = tunnel.ends(way.back());
        say(sink, source, b"still talking").await;
        assert!(!tunnel.relay.is_finished());
        let (last, source) = tunnel.ends(way.back());
        transfer(last, source, &noise(1, MEGABYTE)).await;
        assert!(matches!(tunnel.relay.await.unwrap(), RelayEnd::Closed), "first end was {way}");
    }
}

#[tokio::test]
async fn a_reset_passes_as_a_reset() {
    for way in [Way::Up, Way::Down] {
        let Tunnel { mut client, mut target, relay, .. } = Setup::default().start().await;
        say(&mut client, &mut target, b"hello").await;
        let (failing, mut other) = if way == Way::Up { (client, target) } else { (target, client) };
        failing.set_zero_linger().unwrap();
        drop(failing);
        let heard = other.read(&mut [0; 16]).await;
        assert_eq!(heard.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let end = relay.await.unwrap();
        match way {
            Way::Up => assert!(matches!(&end, RelayEnd::ClientFailed(_)), "{end:?}"),
            Way::Down => assert!(matches!(&end, RelayEnd::TargetFailed(_)), "{end:?}"),
        }
    }
}

#[tokio::test]
async fn a_reset_after_a_half_close_passes_too() {
    let Tunnel { mut client, mut target, relay, .. } = short_grace().start().await;
    transfer(&mut client, &mut target, b"request").await;
    client.set_zero_linger().unwrap();
    drop(client);
    assert!(matches!(relay.await.unwrap(), RelayEnd::ClientFailed(_)));
    // Behind the end that it has read already, the target hears of the reset only when it writes.
    target.writable().await.unwrap();
    assert_eq!(target.try_write(b"answer").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn a_reset_is_seen_behind_octets_that_nobody_takes() {
    for way in [Way::Up, Way::Down] {
        let mut tunnel = short_grace().start().await;
        tunnel.fill(way).await;
        let Tunnel { client, target, relay, .. } = tunnel;
        let (failing, _other) = if way == Way::Up { (client, target) } else { (target, client) };
        failing.set_zero_linger().unwrap();
        drop(failing);
        let end = relay.await.unwrap();
        match way {
            Way::Up => assert!(matches!(&end, RelayEnd::ClientFailed(_)), "{end:?}"),
            Way::Down => assert!(matches!(&end, RelayEnd::TargetFailed(_)), "{end:?}"),
        }
    }
}

#[tokio::test]
async fn what_an_end_said_before_its_reset_is_delivered() {
    // A server that answers early and closes with the request unread resets; the answer must still arrive.
    let mut tunnel = Setup::default().start().await;
    tunnel.fill(Way::Up).await;
    let Tunnel { mut client, target, relay, .. } = tunnel;
    assert_eq!(target.try_write(b"too large").unwrap(), 9);
    drop(target);
    let mut heard = [0; 9];
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"too large");
    let end = client.read(&mut heard).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(matches!(relay.await.unwrap(), RelayEnd::TargetFailed(_)));
}

#[tokio::test]
async fn an_idle_tunnel_ends_and_both_sides_see_a_reset() {
    let mut setup = Setup::default();
    setup.terms.idle_timeout = Duration::from_millis(20);
    let Tunnel { mut client, mut target, relay, .. } = setup.start().await;
    for end in [&mut client, &mut target] {
        let heard = end.read(&mut [0; 16]).await;
        assert_eq!(heard.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert!(matches!(relay.await.unwrap(), RelayEnd::Idle));
}

#[tokio::test(start_paused = true)]
async fn octets_either_way_put_the_idle_timeout_off() {
    // Time stands still while a blocking task runs, so that it moves only where the test says so.
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let clock = tokio::task::spawn_blocking(move || finished.recv());
    let mut tunnel = Setup::default().start().await;
    for way in [Way::Up, Way::Down, Way::Down, Way::Up] {
        let (source, sink) = tunnel.ends(way);
        say(source, sink, b"alive").await;
        tokio::time::advance(HOUR * 3 / 4).await;
    }
    assert!(!tunnel.relay.is_finished());
    tokio::time::advance(HOUR / 4 + Duration::from_millis(2)).await;
    assert!(matches!(tunnel.relay.await.unwrap(), RelayEnd::Idle));
    finish.send(()).unwrap();
    clock.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cutoff_without_quiet_resets_a_tunnel_that_moves_all_the_time() {
    let mut setup = Setup::default();
    let at = Instant::now() + Duration::from_millis(30);
    setup.terms.cutoff = Some(Box::new(Cutoff { at, quiet: Duration::ZERO }));
    let Tunnel { mut client, mut target, relay, .. } = setup.start().await;
    let octets = noise(1, MEGABYTE);
    let mut scratch = vec![0; MEGABYTE];
    let sending = async { while client.write_all(&octets).await.is_ok() {} };
    let taking = async { while target.read(&mut scratch).await.is_ok_and(|read| read > 0) {} };
    tokio::join!(sending, taking);
    assert!(matches!(relay.await.unwrap(), RelayEnd::Cutoff));
    assert!(Instant::now() >= at);
}

#[tokio::test(start_paused = true)]
async fn a_cutoff_with_quiet_waits_until_nothing_moves() {
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let clock = tokio::task::spawn_blocking(move || finished.recv());
    let mut setup = Setup::default();
    let quiet = HOUR / 4;
    setup.terms.cutoff = Some(Box::new(Cutoff { at: Instant::now() + HOUR / 2, quiet }));
    let mut tunnel = setup.start().await;
    for way in [Way::Up, Way::Down, Way::Down, Way::Up] {
        let (source, sink) = tunnel.ends(way);
        say(source, sink, b"alive").await;
        tokio::time::advance(quiet * 7 / 8).await;
    }
    assert!(!tunnel.relay.is_finished());
    tokio::time::advance(quiet / 8 + Duration::from_millis(2)).await;
    assert!(matches!(tunnel.relay.await.unwrap(), RelayEnd::Cutoff));
    finish.send(()).unwrap();
    clock.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_endless_idle_timeout_is_one() {
    let mut setup = Setup::default();
    setup.terms.idle_timeout = Duration::MAX;
    let mut tunnel = setup.start().await;
    let (source, sink) = tunnel.ends(Way::Up);
    say(source, sink, b"hello").await;
    assert!(matches!(tunnel.finish().await, RelayEnd::Closed));
}

#[tokio::test]
async fn dropping_a_tunnel_closes_both_ends() {
    let Tunnel { mut client, mut target, relay, .. } = Setup::default().start().await;
    say(&mut client, &mut target, b"hello").await;
    relay.abort();
    assert!(relay.await.unwrap_err().is_cancelled());
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(target.read(&mut [0; 1]).await.unwrap(), 0);
}

fn short_grace() -> Setup {
    Setup::with(&RelayerOptions { reset_grace: Duration::from_millis(5), ..RelayerOptions::default() })
}
