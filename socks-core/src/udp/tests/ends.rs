//! How associations end.

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::*;

#[tokio::test]
async fn the_association_ends_with_its_control_connection() {
    let running = Setup::default().start().await;
    running.probe().await;
    let (inner, client) = (running.inner, bind("127.0.0.1:0").await);
    assert!(matches!(running.finish().await, AssociationEnd::Closed));
    client.connect(inner).await.unwrap();
    client.send(b"x").await.unwrap();
    assert!(client.recv(&mut [0; 10]).await.is_err(), "the port is closed");
}

#[tokio::test]
async fn a_reset_of_the_control_connection_ends_it_too() {
    let running = Setup::default().start().await;
    running.probe().await;
    running.control.set_zero_linger().unwrap();
    assert!(matches!(running.finish().await, AssociationEnd::ClientFailed(_)));
}

#[tokio::test]
async fn octets_on_the_control_connection_are_ignored_up_to_a_bound() {
    let mut running = Setup::default().start().await;
    running.control.write_all(&[0; 60_000]).await.unwrap();
    running.probe().await;
    let _ = running.control.write_all(&vec![0; 1 << 20]).await;
    assert!(matches!(running.task.await.unwrap(), AssociationEnd::Talkative));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_vanished_is_given_up_after_the_idle_timeout() {
    let start = Instant::now();
    let setup = Setup { terms: AssociationTerms::new(Duration::from_secs(180)), ..Setup::default() };
    let running = setup.start().await;
    assert!(matches!(running.task.await.unwrap(), AssociationEnd::Idle));
    assert_eq!(start.elapsed().as_secs(), 180);
}

#[tokio::test(start_paused = true)]
async fn the_cutoff_ends_it_at_its_time_or_when_it_is_quiet() {
    for (quiet, expected) in [(0, 60), (30, 90)] {
        let start = Instant::now();
        let mut setup = Setup::default();
        let quiet = Duration::from_secs(quiet);
        setup.terms.cutoff = Some(Cutoff { at: start + Duration::from_secs(60), quiet });
        let running = setup.start().await;
        assert!(matches!(running.task.await.unwrap(), AssociationEnd::Cutoff));
        assert_eq!(start.elapsed().as_secs(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn fragments_are_let_go_when_their_time_is_over() {
    let mut setup = Setup::default();
    setup.terms.idle_timeout = Duration::from_secs(20);
    setup.terms.reassembly = Some(Duration::from_secs(7));
    let tally = Arc::clone(&setup.terms.tally);
    let running = setup.start().await;
    let start = Instant::now();
    let first = datagram(1, &target(&running.server), b"x");
    rustix::net::send(&running.client, &first, rustix::net::SendFlags::empty()).unwrap();
    assert!(matches!(running.task.await.unwrap(), AssociationEnd::Idle));
    assert_eq!(tally.dropped(DropCause::Fragment), 1);
    assert!(start.elapsed().as_secs() <= 20, "a fragment alone carries nothing");
}
