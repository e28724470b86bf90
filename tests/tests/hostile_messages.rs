//! What a client may send once messages are protected (RFC 1961 section 5), and should not.

use socks_core::Level;
use tests::Record;
use tests::client::{End, connect_request};
use tests::kerberos::{ABORT, ALICE, Peer, Plan, Site, alone, flipped};

const CONFIDENTIALITY: Level = Level::Confidentiality;

/// Checks that nothing more comes than an end in order, and gives the record.
#[track_caller]
fn end(site: &Site, peer: &mut Peer) -> Record {
    assert_eq!(peer.client.receive_all(), (Vec::new(), End::Closed));
    site.gateway.session_of(peer.client.local())
}

#[track_caller]
fn expect(record: &Record, cause: &str, detail: &str) {
    record.expect(&[("cause", cause), ("identity", ALICE)]);
    assert!(record.text("detail").contains(detail), "`{detail}` in {record}");
}

/// Where the parts of a frame begin: head, token header, confounder or data, and the end of the check value.
fn parts(frame: &[u8]) -> Vec<usize> {
    let len = frame.len();
    [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 19, 20, 36, len / 2, len - 13, len - 1].into()
}

#[test]
fn a_changed_bit_anywhere_in_a_request_ends_the_session() {
    alone("a_changed_bit_anywhere_in_a_request_ends_the_session", || {
        let site = Plan::new().start();
        let request = connect_request(site.echo.address);
        for level in [Level::Integrity, CONFIDENTIALITY] {
            let positions = parts(&site.agreed(level).sealed(&request));
            for position in positions {
                let mut peer = site.agreed(level);
                let frame = peer.sealed(&request);
                peer.client.send(&flipped(&frame, position));
                let record = end(&site, &mut peer);
                println!("{level} {position}: {}", record.text("detail"));
                expect(&record, "protection-violated", "");
                record.expect(&[("target", ""), ("verdict", "fail")]);
            }
        }
        assert_eq!(site.echo.accepted(), 0, "no changed request was followed");
        site.expect_service();
    });
}

#[test]
fn a_changed_bit_anywhere_in_data_ends_the_session_and_is_not_passed_on() {
    alone("a_changed_bit_anywhere_in_data_ends_the_session_and_is_not_passed_on", || {
        let site = Plan::new().start();
        for level in [Level::Integrity, CONFIDENTIALITY] {
            let positions = parts(&site.agreed(level).sealed(b"sixteen octets.."));
            for position in positions {
                let mut peer = site.tunnel(level);
                let frame = peer.sealed(b"sixteen octets..");
                peer.client.send(&flipped(&frame, position));
                let record = expect_broken(&site, &mut peer);
                expect(&record, "protection-violated", "");
                record.expect(&[("verdict", "permit"), ("protection", level.as_str())]);
                assert_eq!(record.up(), 0, "{record}");
            }
        }
        assert_eq!(site.echo.received(), 0, "nothing of it was passed on");
        site.expect_service();
    });
}

/// Checks that an open connection is ended, by a reset or in order, without an octet more.
#[track_caller]
fn expect_broken(site: &Site, peer: &mut Peer) -> Record {
    assert_eq!(peer.client.receive_all().0, b"");
    site.gateway.session_of(peer.client.local())
}

/// Sends something over an open connection that must end it.
#[track_caller]
fn expect_violation(site: &Site, level: Level, detail: &str, make: impl FnOnce(&mut Peer) -> Vec<u8>) {
    let mut peer = site.tunnel(level);
    let octets = make(&mut peer);
    peer.client.send(&octets);
    expect(&expect_broken(site, &mut peer), "protection-violated", detail);
}

#[test]
fn what_was_only_signed_is_refused_at_confidentiality() {
    alone("what_was_only_signed_is_refused_at_confidentiality", || {
        let site = Plan::new().start();
        let mut peer = site.agreed(CONFIDENTIALITY);
        let request = peer.seal(&connect_request(site.echo.address), Level::Integrity);
        peer.client.send(&request);
        expect(&end(&site, &mut peer), "protection-violated", "only signed");
        expect_violation(&site, CONFIDENTIALITY, "only signed", |peer| peer.seal(b"x", Level::Integrity));
        // The other way round more was done than was asked for.
        let mut peer = site.tunnel(Level::Integrity);
        let frame = peer.seal(b"encrypted", CONFIDENTIALITY);
        peer.client.send(&frame);
        assert_eq!(peer.hear(), b"encrypted");
        site.expect_service();
    });
}

#[test]
fn a_selective_session_takes_both_by_turns() {
    alone("a_selective_session_takes_both_by_turns", || {
        let site = Plan::new().levels("selective").start();
        let mut peer = site.tunnel(Level::Selective);
        for turn in 0..6 {
            let level = if turn % 2 == 0 { Level::Integrity } else { CONFIDENTIALITY };
            let frame = peer.seal(b"by turns", level);
            peer.client.send(&frame);
            assert_eq!(peer.hear(), b"by turns");
        }
    });
}

#[test]
fn messages_that_come_twice_late_or_back_end_the_session() {
    alone("messages_that_come_twice_late_or_back_end_the_session", || {
        let site = Plan::new().start();
        for level in [Level::Integrity, CONFIDENTIALITY] {
            let mut peer = site.tunnel(level);
            let frame = peer.sealed(b"once");
            peer.client.send(&frame);
            assert_eq!(peer.hear(), b"once");
            peer.client.send(&frame);
            expect(&expect_broken(&site, &mut peer), "protection-violated", "came twice");
            // One that is missing, and two that have changed places.
            expect_violation(&site, level, "out of order", |peer| {
                peer.sealed(b"lost");
                peer.sealed(b"early")
            });
            expect_violation(&site, level, "out of order", |peer| {
                let first = peer.sealed(b"first");
                [peer.sealed(b"second"), first].concat()
            });
            // The gateway's own message.
            let mut peer = site.tunnel(level);
            peer.say(b"mirror");
            let frame = peer.frame();
            peer.client.send(&frame);
            expect(
                &expect_broken(&site, &mut peer),
                "protection-violated",
                "changed or made with another key",
            );
            // The request once more, as data.
            let mut peer = site.agreed(level);
            let request = peer.sealed(&connect_request(site.echo.address));
            peer.client.send(&request);
            assert_eq!(peer.hear().get(1), Some(&0x00));
            peer.client.send(&request);
            expect(&expect_broken(&site, &mut peer), "protection-violated", "came twice");
        }
        site.expect_service();
    });
}

#[test]
fn a_frame_of_another_session_ends_this_one() {
    alone("a_frame_of_another_session_ends_this_one", || {
        let site = Plan::new().start();
        let recorded = site.tunnel(CONFIDENTIALITY).sealed(b"recorded");
        expect_violation(&site, CONFIDENTIALITY, "another key", |_| recorded);
    });
}

#[test]
fn other_messages_than_data_end_the_session() {
    alone("other_messages_than_data_end_the_session", || {
        let site = Plan::new().start();
        let table: [(&[u8], &str); 6] = [
            (&[0x01, 0x01, 0, 1, 9], "no protected frame"),
            (&[0x01, 0x02, 0, 1, 9], "no protected frame"),
            (&[0x01, 0x07, 0, 1, 9], "no protected frame"),
            (&[0x05, 0x01, 0x00, 0x01], "no protected frame"),
            (&[0x01, 0x03, 0, 0], ""),
            (ABORT, "peer has aborted"),
        ];
        for (octets, detail) in table {
            expect_violation(&site, CONFIDENTIALITY, detail, |_| octets.to_vec());
            let mut peer = site.agreed(CONFIDENTIALITY);
            peer.client.send(octets);
            expect(&end(&site, &mut peer), "protection-violated", detail);
        }
        site.expect_service();
    });
}

#[test]
fn a_message_that_the_end_of_the_stream_cuts_is_an_error_in_the_record() {
    alone("a_message_that_the_end_of_the_stream_cuts_is_an_error_in_the_record", || {
        let site = Plan::new().start();
        let len = site.agreed(CONFIDENTIALITY).sealed(b"cut").len();
        for cut in [1, 3, 4, 20, len - 1] {
            let mut peer = site.tunnel(CONFIDENTIALITY);
            let frame = peer.sealed(b"cut");
            peer.client.send(&frame[..cut]);
            peer.client.finish();
            expect(&expect_broken(&site, &mut peer), "cut-frame", "");
            let mut peer = site.agreed(CONFIDENTIALITY);
            let frame = peer.sealed(&connect_request(site.echo.address));
            peer.client.send(&frame[..cut]);
            peer.client.finish();
            expect(&end(&site, &mut peer), "client-lost", "hung up");
        }
        // A length beyond what follows.
        let mut peer = site.tunnel(CONFIDENTIALITY);
        peer.client.send(&[0x01, 0x03, 0xFF, 0xFF, 0x05, 0x04]);
        peer.client.finish();
        expect(&expect_broken(&site, &mut peer), "cut-frame", "");
        // Between two messages the end is in order.
        let mut peer = site.tunnel(CONFIDENTIALITY);
        peer.say(b"whole");
        assert_eq!(peer.hear(), b"whole");
        peer.client.finish();
        expect(&end(&site, &mut peer), "closed", "");
        site.expect_service();
    });
}

#[test]
fn frames_and_octets_need_not_fall_together() {
    alone("frames_and_octets_need_not_fall_together", || {
        let site = Plan::new().start();
        for level in [Level::Integrity, CONFIDENTIALITY] {
            // The request in many frames, empty ones between them, and payload in the last one.
            let mut peer = site.agreed(level);
            let request = connect_request(site.echo.address);
            let (last, first) = request.split_last().expect("a request has octets");
            for octet in first {
                peer.say(&[*octet]);
                peer.say(b"");
            }
            peer.say(&[&[*last], b"payload".as_slice()].concat());
            assert_eq!(peer.hear().get(1), Some(&0x00), "the request is granted");
            assert_eq!(peer.hear(), b"payload");
            // The largest frame there is, up and down.
            let octets = vec![0x5A; peer.most()];
            let frame = peer.sealed(&octets);
            assert!(frame.len() > 65_500, "nearly all that its length can say: {}", frame.len());
            peer.client.send(&frame);
            let mut heard = Vec::new();
            while heard.len() < octets.len() {
                heard.extend(peer.hear());
            }
            assert_eq!(heard, octets);
        }
    });
}
