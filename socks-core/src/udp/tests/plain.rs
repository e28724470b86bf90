//! Datagrams without protection, and who may send them.

use super::*;

#[tokio::test]
async fn datagrams_go_both_ways_and_name_their_true_origin() {
    let running = Setup::default().start().await;
    for server in [&running.server, &running.server_v6] {
        let sent = datagram(0, &target(server), b"question");
        running.client.send(&sent).await.unwrap();
        let (octets, source) = receive(server).await;
        assert_eq!(octets, b"question");
        server.send_to(b"an answer", source).await.unwrap();
        assert_eq!(receive(&running.client).await.0, datagram(0, &target(server), b"an answer"));
        server.send_to(b"", source).await.unwrap();
        assert_eq!(receive(&running.client).await.0, datagram(0, &target(server), b""));
    }
    let tally = Arc::clone(&running.tally);
    assert_eq!((tally.datagrams(Way::Up), tally.octets(Way::Up)), (2, 16));
    assert_eq!((tally.datagrams(Way::Down), tally.octets(Way::Down)), (4, 18));
    assert_eq!((tally.destinations(), running.drops()), (2, vec![]));
    assert!(matches!(running.finish().await, AssociationEnd::Closed));
}

#[tokio::test]
async fn bursts_keep_their_order_whatever_the_batch() {
    for batch in [1, 5, 32, 1000] {
        let mut setup = Setup::default();
        setup.terms.batch = batch;
        let running = setup.start().await;
        for round in 0..4u8 {
            let burst =
                (0..40u8).map(|number| vec![number; 1 + usize::from(number) * usize::from(round) * 9]);
            let burst: Vec<Vec<u8>> = burst.collect();
            for data in &burst {
                running.client.send(&datagram(0, &target(&running.server), data)).await.unwrap();
            }
            for data in &burst {
                let (octets, source) = receive(&running.server).await;
                assert!(octets == *data, "batch {batch}");
                running.server.send_to(&octets, source).await.unwrap();
            }
            for data in &burst {
                assert!(receive(&running.client).await.0 == datagram(0, &target(&running.server), data));
            }
        }
        assert_eq!(running.drops(), []);
    }
}

#[tokio::test]
async fn only_the_clients_address_may_send_and_only_its_first_port() {
    let running = Setup::default().start().await;
    let stranger = bind("127.0.0.2:0").await;
    let forged = datagram(0, &target(&running.server), b"hijacked");
    stranger.send_to(&forged, running.inner).await.unwrap();
    let source = running.probe().await;
    assert_eq!(running.drops(), [(DropCause::NotTheClient, 1)]);
    let other_port = bind("127.0.0.1:0").await;
    for hijacker in [&stranger, &other_port] {
        for _ in 0..100 {
            hijacker.send_to(&forged, running.inner).await.unwrap();
        }
    }
    running.probe().await;
    assert_eq!(running.tally.datagrams(Way::Up), 2);
    running.server.send_to(b"answer", source).await.unwrap();
    assert_eq!(receive(&running.client).await.0, datagram(0, &target(&running.server), b"answer"));
    // What the kernel has told them about the closed door is all that they hear.
    for hijacker in [&stranger, &other_port] {
        assert!(hijacker.try_recv(&mut [0; 10]).is_err());
    }
}

#[tokio::test]
async fn a_datagram_that_is_none_does_not_lock_the_port() {
    let running = Setup::default().start().await;
    let other_port = bind("127.0.0.1:0").await;
    other_port.send_to(b"\0\0", running.inner).await.unwrap();
    running.probe().await;
    assert_eq!(running.drops(), [(DropCause::Malformed, 1)]);
}

#[tokio::test]
async fn truncated_and_wrong_headers_are_dropped() {
    let running = Setup::default().start().await;
    let server_v6 = datagram(0, &target(&running.server_v6), b"");
    let name = datagram(0, &"host.example:53".parse().unwrap(), b"");
    let mut wrong = vec![];
    for whole in [&datagram(0, &target(&running.server), b""), &server_v6, &name] {
        wrong.extend((0..whole.len()).map(|len| whole[..len].to_vec()));
    }
    wrong.push([&[0, 1], &server_v6[2..]].concat());
    wrong.push([&[7, 0], &server_v6[2..]].concat());
    wrong.push([&[0, 0, 0, 9], &server_v6[4..]].concat());
    wrong.push(datagram(0, &"a.example:1".parse().unwrap(), b"").iter().map(|o| o | 0x80).collect());
    for octets in &wrong {
        running.client.send(octets).await.unwrap();
    }
    running.probe().await;
    assert_eq!(running.drops(), [(DropCause::Malformed, wrong.len() as u64)]);
}

#[tokio::test]
async fn replies_come_only_from_where_something_was_sent_to() {
    for (any_origin, dropped) in [(false, 2), (true, 0)] {
        let running = Setup { any_origin, ..Setup::default() }.start().await;
        let source = running.probe().await;
        let spoofer = bind("127.0.0.1:0").await;
        let elsewhere = bind("127.0.0.3:0").await;
        spoofer.send_to(b"spoofed", source).await.unwrap();
        elsewhere.send_to(b"spoofed", source).await.unwrap();
        running.server.send_to(b"answer", source).await.unwrap();
        let mut heard = vec![receive(&running.client).await.0];
        while !heard.last().unwrap().ends_with(b"answer") {
            heard.push(receive(&running.client).await.0);
        }
        assert_eq!(heard.len(), if any_origin { 3 } else { 1 });
        assert_eq!(
            heard[0],
            datagram(0, &target(if any_origin { &spoofer } else { &running.server }), {
                if any_origin { b"spoofed" } else { b"answer" }
            })
        );
        assert_eq!(running.tally.dropped(DropCause::NotAskedFor), dropped);
    }
}

#[tokio::test]
async fn a_datagram_before_the_client_has_sent_goes_nowhere() {
    let running = Setup { any_origin: true, ..Setup::default() }.start().await;
    running.server.send_to(b"early", running.outside).await.unwrap();
    while running.tally.dropped(DropCause::NotAskedFor) == 0 {
        tokio::task::yield_now().await;
    }
    let source = running.probe().await;
    running.server.send_to(b"late", source).await.unwrap();
    assert!(receive(&running.client).await.0.ends_with(b"late"));
    assert_eq!(running.drops(), [(DropCause::NotAskedFor, 1)]);
    assert_eq!(running.tally.datagrams(Way::Down), 1);
}

#[tokio::test]
async fn the_gate_denies_and_limits_and_it_is_counted() {
    let running = Setup { tokens: 5, ..Setup::default() }.start().await;
    let mut denied = target(&running.server);
    denied.port = DENIED;
    running.client.send(&datagram(0, &denied, b"x")).await.unwrap();
    for _ in 0..3 {
        running.probe().await;
    }
    for _ in 0..20 {
        running.client.send(&datagram(0, &target(&running.server), b"many")).await.unwrap();
    }
    assert_eq!(receive(&running.server).await.0, b"many");
    while running.tally.dropped(DropCause::RateLimited) < 19 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.drops(), [(DropCause::Denied, 1), (DropCause::RateLimited, 19)]);
}

#[tokio::test]
async fn what_does_not_fit_with_its_header_is_dropped_and_not_cut() {
    let running = Setup::default().start().await;
    let source = running.probe().await;
    running.server.send_to(&vec![7; 65_507], source).await.unwrap();
    running.server.send_to(&vec![8; 65_507 - 10], source).await.unwrap();
    let (octets, _) = receive(&running.client).await;
    assert_eq!((octets.len(), octets.last()), (65_507, Some(&8)));
    assert_eq!(running.drops(), [(DropCause::TooLarge, 1)]);
}

#[tokio::test]
async fn what_the_system_cannot_send_to_is_unreachable() {
    let running = Setup::default().start().await;
    let mut nowhere = target(&running.server);
    nowhere.port = 0;
    running.client.send(&datagram(0, &nowhere, b"x")).await.unwrap();
    running.probe().await;
    assert_eq!(running.drops(), [(DropCause::Unreachable, 1)]);
}

#[tokio::test]
async fn a_family_without_a_socket_cannot_be_reached() {
    let running = Setup { only_v4: true, ..Setup::default() }.start().await;
    running.client.send(&datagram(0, &target(&running.server_v6), b"x")).await.unwrap();
    running.probe().await;
    assert_eq!(running.drops(), [(DropCause::Unreachable, 1)]);
}

#[tokio::test]
async fn fragments_are_dropped_or_put_together_as_the_terms_say() {
    for (reassembly, arrives, lost) in [(None, 0, 5), (Some(Duration::ZERO), 1, 1)] {
        let mut setup = Setup::default();
        setup.terms.reassembly = reassembly;
        let running = setup.start().await;
        let server = target(&running.server);
        let pieces: [(u8, &[u8]); 5] =
            [(2, b"early"), (1, b"one, "), (2, b"two, "), (3, b"three"), (0x84, b" and four")];
        for (fragment, data) in pieces {
            running.client.send(&datagram(fragment, &server, data)).await.unwrap();
        }
        if arrives > 0 {
            assert_eq!(receive(&running.server).await.0, b"one, two, three and four");
        }
        running.probe().await;
        assert_eq!(running.drops(), [(DropCause::Fragment, lost)]);
        assert_eq!(running.tally.datagrams(Way::Up), 1 + arrives);
    }
}

#[tokio::test]
async fn fragments_without_end_hold_a_bounded_queue_and_never_arrive() {
    let mut setup = Setup::default();
    setup.terms.reassembly = Some(Duration::ZERO);
    let running = setup.start().await;
    let server = target(&running.server);
    for round in 0..30 {
        for position in 1..=127 {
            running.client.send(&datagram(position, &server, &[round; 1400])).await.unwrap();
            if position % 32 == 0 {
                // Its FRAG is 0, so it ends the sequence.
                running.probe().await;
            }
        }
        running.probe().await;
    }
    assert_eq!(running.tally.datagrams(Way::Up), 30 * 4);
    assert_eq!(running.drops(), [(DropCause::Fragment, 30 * 127)]);
}

#[tokio::test]
async fn a_hundred_thousand_destinations_are_as_many_as_the_gate_remembers() {
    let running = Setup { most: 1024, ..Setup::default() }.start().await;
    running.probe().await;
    for block in 0..1000u32 {
        for number in 0..100 {
            let octets = (0x7F00_0100 + block * 100 + number).to_be_bytes();
            let to = SocketAddr::from((octets, 9));
            running.client.send(&datagram(0, &to.into(), b"x")).await.unwrap();
        }
        running.probe().await;
    }
    assert_eq!(running.tally.destinations(), 1024);
    assert_eq!(running.drops(), [(DropCause::Full, 100_000 - 1023)]);
    assert_eq!(running.tally.datagrams(Way::Up), 1001 + 1023);
}
