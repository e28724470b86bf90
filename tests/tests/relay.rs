//! What flows through a tunnel: all of it, in order, with its ends as they were meant.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use tests::client::{End, connect_request};
use tests::pattern::{Digest, Pattern};
use tests::{Client, DEADLINE, Setup, process, targets};

const MIB: u64 = 1 << 20;

#[test]
fn the_reply_names_the_gateways_own_end() {
    let (gateway, target) = (Setup::new().start(), targets::handing());
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    let reply = client.connect_to(target.address);
    assert_eq!(reply.bound, target.accept().peer_addr().expect("a connected socket"));
}

#[test]
fn a_client_that_has_said_all_still_hears_the_answer() {
    let (gateway, target) = (Setup::new().start(), targets::last_word());
    let mut client = Client::tunnel(gateway.address(), target.address);
    client.send(b"all there is");
    client.finish();
    client.expect_last(b"12");
    gateway.session().expect(&[("cause", "closed")]);
}

#[test]
fn a_target_that_has_said_all_still_hears_the_client() {
    let (gateway, target) = (Setup::new().start(), targets::farewell(b"bye"));
    let mut client = Client::tunnel(gateway.address(), target.address);
    client.expect_last(b"bye");
    client.send(&[1; 100_000]);
    client.finish();
    let record = gateway.session();
    record.expect(&[("cause", "closed")]);
    assert_eq!((record.up(), record.down(), target.received()), (100_000, 3, 100_000));
}

#[test]
fn a_reset_of_the_target_reaches_the_client_as_a_reset() {
    let (gateway, target) = (Setup::new().start(), targets::resetting());
    let mut client = Client::tunnel(gateway.address(), target.address);
    client.send(b"x");
    assert_eq!(client.receive_all().1, End::Reset);
    gateway.session().expect(&[("verdict", "permit"), ("cause", "target-failed")]);
}

#[test]
fn a_reset_of_the_client_reaches_the_target_as_a_reset() {
    let (gateway, target) = (Setup::new().start(), targets::handing());
    let mut client = Client::tunnel(gateway.address(), target.address);
    let mut stream = target.accept();
    client.send(b"x");
    stream.read_exact(&mut [0]).expect("the client's octet");
    client.reset();
    let error = stream.read(&mut [0]).expect_err("no orderly end");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    gateway.session().expect(&[("verdict", "permit"), ("cause", "client-failed")]);
}

#[test]
fn octets_sent_before_the_reply_arrive() {
    let (gateway, target) = (Setup::new().start(), targets::echo());
    let mut octets = vec![0x05, 0x01, 0x00];
    octets.extend_from_slice(&connect_request(target.address));
    let early: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    octets.extend_from_slice(&early);
    let mut client = Client::connect(gateway.address());
    client.send(&octets);
    assert_eq!(client.receive(2), [0x05, 0x00]);
    assert_eq!(client.reply().code, 0x00);
    assert_eq!(client.receive(early.len()), early);
}

#[test]
fn octets_sent_with_a_login_arrive() {
    let (gateway, target) = (Setup::new().user("alice", "secret").start(), targets::echo());
    let mut octets = b"\x05\x01\x02\x01\x05alice\x06secret".to_vec();
    octets.extend_from_slice(&connect_request(target.address));
    octets.extend_from_slice(b"early bird");
    let mut client = Client::connect(gateway.address());
    client.send(&octets);
    assert_eq!(client.receive(4), [0x05, 0x02, 0x01, 0x00]);
    assert_eq!(client.reply().code, 0x00);
    assert_eq!(client.receive(10), b"early bird");
}

#[test]
fn much_in_both_directions_at_once_arrives_unchanged() {
    let (gateway, target) = (Setup::new().start(), targets::echo());
    let client = Client::tunnel(gateway.address(), target.address);
    let sending = client.stream().try_clone().expect("a descriptor");
    let sender = thread::spawn(move || {
        std::io::copy(&mut Pattern::new(96 * MIB), &mut &sending).expect("the gateway takes it");
        sending.shutdown(Shutdown::Write).expect("a connected socket");
    });
    let received = Digest::of(client.stream()).expect("an orderly end");
    sender.join().expect("the sender says what went wrong");
    assert_eq!(received.text(), Digest::of(Pattern::new(96 * MIB)).expect("from memory").text());
    let record = gateway.session();
    assert_eq!((record.up(), record.down()), (96 * MIB, 96 * MIB));
}

#[test]
fn a_reader_that_pauses_gets_everything_when_it_goes_on() {
    let (gateway, target) = (Setup::new().start(), targets::handing());
    let client = Client::tunnel(gateway.address(), target.address);
    let mut stream = target.accept();
    // More than all buffers on the way hold, so that the sender has to stop.
    stream.set_nonblocking(true).expect("a socket");
    let chunk = [7; 64 * 1024];
    let mut sent = 0;
    let mut last_progress = Instant::now();
    while last_progress.elapsed() < Duration::from_millis(500) {
        match stream.write(&chunk) {
            Ok(len) => {
                sent += len;
                last_progress = Instant::now();
            }
            Err(_) => thread::yield_now(),
        }
        assert!(sent < 1 << 30, "an unread tunnel must stop its sender");
    }
    drop(stream);
    let mut received = Vec::new();
    client.stream().read_to_end(&mut received).expect("an orderly end");
    assert!(
        received.len() == sent && received.iter().all(|octet| *octet == 7),
        "{} of {sent}",
        received.len()
    );
}

#[test]
fn a_tunnel_without_traffic_ends_and_one_with_traffic_does_not() {
    let gateway = Setup::new().limit("idle-timeout", "2s").start();
    let target = targets::echo();
    let mut idle = Client::tunnel(gateway.address(), target.address);
    let mut busy = Client::tunnel(gateway.address(), target.address);
    let started = Instant::now();
    busy.stream().set_read_timeout(Some(Duration::from_millis(100))).expect("not zero");
    while started.elapsed() < Duration::from_secs(5) {
        let mut octet = [0];
        (&mut busy.stream()).write_all(&[1]).expect("the tunnel is open");
        (&mut busy.stream()).read_exact(&mut octet).expect("the tunnel is open");
        // Waits a moment for what will not come.
        let nothing = (&mut busy.stream()).read(&mut octet).expect_err("nothing was sent");
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    }
    assert_eq!(idle.receive_all().0, b"");
    gateway.session_of(idle.local()).expect(&[("verdict", "permit"), ("cause", "idle-timeout")]);
    busy.stream().set_read_timeout(Some(DEADLINE)).expect("not zero");
    busy.expect_echo(b"still open");
}

#[test]
fn idle_tunnels_hold_their_two_sockets_and_nothing_else() {
    let (gateway, target) = (Setup::new().start(), targets::echo());
    let load = vec![5; 1 << 20];
    let mut tunnels = Vec::new();
    let mut open = || {
        let client = Client::tunnel(gateway.address(), target.address);
        let sending = client.stream().try_clone().expect("a descriptor");
        thread::scope(|scope| {
            scope.spawn(|| (&mut &sending).write_all(&load).expect("the gateway takes it"));
            let mut back = vec![0; load.len()];
            client.stream().read_exact(&mut back).expect("it comes back");
        });
        tunnels.push(client);
    };
    open();
    let before = process::descriptors(gateway.pid());
    (0..100).for_each(|_| open());
    let used = process::descriptors(gateway.pid()) - before;
    // A few pipes may lie ready in the pool; one for each tunnel would be 200 more.
    assert!((200..=216).contains(&used), "{used} descriptors for 100 idle tunnels");
}

#[test]
fn nothing_is_left_of_sessions_that_ended() {
    let (gateway, target) = (Setup::new().start(), targets::echo());
    Client::tunnel(gateway.address(), target.address).expect_echo(b"warm");
    gateway.sessions(1);
    let before = process::descriptors(gateway.pid());
    for round in 0..200 {
        let mut client = Client::tunnel(gateway.address(), target.address);
        client.expect_echo(b"hello");
        if round % 2 == 0 {
            client.reset();
        }
    }
    gateway.sessions(201);
    let until = Instant::now() + DEADLINE;
    while process::descriptors(gateway.pid()) > before + 16 {
        assert!(
            Instant::now() < until,
            "{} descriptors, {before} before",
            process::descriptors(gateway.pid())
        );
        thread::yield_now();
    }
}
