//! Datagrams that wait for a name.

use super::super::waiting::MOST_DATAGRAMS;
use super::*;

#[tokio::test]
async fn datagrams_wait_for_their_name_and_go_in_their_order() {
    let running = Setup::default().start().await;
    let name: Target = "Server.Example:53".parse().unwrap();
    for data in [b"one", b"two"] {
        running.client.send(&datagram(0, &name, data)).await.unwrap();
    }
    running.probe().await;
    let address = running.server.local_addr().unwrap();
    running.answers.send(("server.example", Some(address))).unwrap();
    for data in [b"one", b"two"] {
        assert_eq!(receive(&running.server).await.0, data);
    }
    running.client.send(&datagram(0, &name, b"three")).await.unwrap();
    let (octets, source) = receive(&running.server).await;
    assert_eq!(octets, b"three");
    running.server.send_to(b"answer", source).await.unwrap();
    assert_eq!(receive(&running.client).await.0, datagram(0, &address.into(), b"answer"));
    assert_eq!(running.tally.octets(Way::Up), 3 + 3 + 5 + 5);
}

#[tokio::test]
async fn names_without_an_address_and_queues_without_room_are_counted() {
    let running = Setup::default().start().await;
    let (nobody, server): (Target, Target) =
        ("nobody.example:53".parse().unwrap(), "server.example:53".parse().unwrap());
    running.client.send(&datagram(0, &nobody, b"x")).await.unwrap();
    for _ in 0..MOST_DATAGRAMS + 3 {
        running.client.send(&datagram(0, &server, b"y")).await.unwrap();
    }
    running.probe().await;
    assert_eq!(running.drops(), [(DropCause::Full, 4)]);
    running.answers.send(("nobody.example", None)).unwrap();
    running.answers.send(("server.example", Some(running.server.local_addr().unwrap()))).unwrap();
    for _ in 0..MOST_DATAGRAMS - 1 {
        assert_eq!(receive(&running.server).await.0, b"y");
    }
    assert_eq!(running.drops(), [(DropCause::Unresolved, 1), (DropCause::Full, 4)]);
}

#[tokio::test]
async fn datagrams_that_still_wait_at_the_end_count_as_unresolved() {
    let running = Setup::default().start().await;
    running.client.send(&datagram(0, &"a.example:53".parse().unwrap(), b"x")).await.unwrap();
    running.probe().await;
    let tally = Arc::clone(&running.tally);
    assert!(matches!(running.finish().await, AssociationEnd::Closed));
    assert_eq!(tally.dropped(DropCause::Unresolved), 1);
}
