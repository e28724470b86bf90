//! What a client may send before a protection level is agreed (RFC 1961 sections 3 and 4), and should not.

use std::time::{Duration, Instant};

use socks_core::Level;
use socks_gssapi::Message;
use tests::client::{End, connect_request};
use tests::kerberos::{ABORT, ALICE, Peer, Plan, SERVICE, Site, alone, flipped, tokens};
use tests::{Client, DEADLINE};

/// The principal that clients ask for.
fn service() -> String {
    format!("{SERVICE}@EXAMPLE.TEST")
}

/// Checks that the gateway says exactly this and ends in order, and what stands in the record.
#[track_caller]
fn expect_end(site: &Site, mut client: Client, last: &[u8], why: (&str, &str)) {
    let (cause, detail) = why;
    client.expect_last(last);
    let record = site.gateway.session_of(client.local());
    record.expect(&[("cause", cause), ("method", "gssapi"), ("identity", ""), ("target", "")]);
    assert!(record.text("detail").contains(detail), "`{detail}` in {record}");
}

const REFUSED: &str = "authentication-refused";

#[test]
fn octets_that_are_no_negotiation_are_aborted() {
    alone("octets_that_are_no_negotiation_are_aborted", || {
        let site = Plan::new().start();
        let long = [&[0x01, 0x01, 0xFF, 0xFF][..], &[0x60; 0xFFFF]].concat();
        let table: [(&[u8], &str, &str); 9] = [
            (&[0x05, 0x01, 0x00, 0x01, 127, 0, 0, 1, 0, 80], "malformed-authentication", "0x05"),
            (&[0x00, 0x01, 0, 1, 9], "malformed-authentication", "0x00"),
            (&[0x01, 0x07, 0, 1, 9], REFUSED, "message type is 0x07"),
            (&[0x01, 0x03, 0, 1, 9], REFUSED, "message type is 0x03"),
            (&[0x01, 0x02, 0, 1, 2], REFUSED, "out of turn"),
            (&[0x01, 0x01, 0, 0], REFUSED, "token is empty"),
            (&[0x01, 0x01, 0, 2, 9, 9], REFUSED, "token"),
            (b"\x01\x01\0\x0CNTLMSSP\0\x01\0\0\0", REFUSED, "token is not of Kerberos"),
            (&long, REFUSED, "token"),
        ];
        for (octets, cause, detail) in table {
            let mut client = site.greeted();
            client.send(octets);
            expect_end(&site, client, ABORT, (cause, detail));
        }
        site.expect_service();
    });
}

#[test]
fn a_client_that_goes_away_half_way_is_recorded_and_hears_nothing() {
    alone("a_client_that_goes_away_half_way_is_recorded_and_hears_nothing", || {
        let site = Plan::new().start();
        let (token, _) = tokens(&site.alice, &service());
        let request = Message::Authentication(token).octets().expect("it fits");
        // Cut within the head, between head and token, and within the token.
        for cut in [0, 1, 2, 3, 4, 5, request.len() - 1] {
            let mut client = site.greeted();
            client.send(&request[..cut]);
            client.finish();
            expect_end(&site, client, b"", ("client-lost", "hung up"));
        }
        let mut client = site.greeted();
        client.send(&[0x01, 0x01, 0x10, 0x00, 0x60]);
        client.finish();
        expect_end(&site, client, b"", ("client-lost", "hung up"));
        let mut client = site.greeted();
        client.send(ABORT);
        expect_end(&site, client, b"", (REFUSED, "peer has aborted"));
        site.expect_service();
    });
}

#[test]
fn a_handshake_in_single_octets_is_served() {
    alone("a_handshake_in_single_octets_is_served", || {
        let site = Plan::new().start();
        let mut client = site.greeted();
        let dribble =
            |client: &mut Client, octets: &[u8]| octets.iter().for_each(|octet| client.send(&[*octet]));
        let (token, initiator) = tokens(&site.alice, &service());
        dribble(&mut client, &Message::Authentication(token).octets().expect("it fits"));
        let mut peer = Peer::complete(client, initiator);
        let level = peer.level_message(&[0x02], Level::Integrity);
        dribble(&mut peer.client, &level);
        assert_eq!(peer.granted(), Level::Confidentiality);
        let request = peer.sealed(&connect_request(site.echo.address));
        dribble(&mut peer.client, &request);
        assert_eq!(peer.hear().get(1), Some(&0x00), "the request is granted");
        let hello = peer.sealed(b"piece by piece");
        dribble(&mut peer.client, &hello);
        assert_eq!(peer.hear(), b"piece by piece");
    });
}

#[test]
fn a_request_that_was_changed_on_the_way_is_refused() {
    alone("a_request_that_was_changed_on_the_way_is_refused", || {
        let site = Plan::new().start();
        let (token, _) = tokens(&site.alice, &service());
        let len = token.len();
        // Mechanism, request, ticket and authenticator; the last octets are the authenticator's check value.
        for position in [0, 4, 8, 17, len / 2, len - 30, len - 1] {
            let mut client = site.greeted();
            client.send(&Message::Authentication(flipped(&token, position)).octets().expect("it fits"));
            expect_end(&site, client, ABORT, (REFUSED, ""));
        }
        site.expect_service();
    });
}

#[test]
fn what_is_no_level_message_is_aborted() {
    alone("what_is_no_level_message_is_aborted", || {
        let site = Plan::new().start();
        type Make = fn(&mut Peer) -> Vec<u8>;
        let table: [(Make, &str, &str); 14] = [
            // A client that leaves the sub-negotiation out.
            (|_| connect_request(([127, 0, 0, 1], 80).into()), "malformed-authentication", "0x05"),
            (
                |peer| peer.seal(&connect_request(([127, 0, 0, 1], 80).into()), Level::Integrity),
                REFUSED,
                "0x03",
            ),
            (|_| vec![0x01, 0x01, 0, 1, 9], REFUSED, "out of turn"),
            (|_| vec![0x01, 0x02, 0, 0], REFUSED, "no protected frame"),
            (|_| vec![0x01, 0x02, 0, 1, 1], REFUSED, "no protected frame"),
            (|_| vec![0x01, 0x02, 0, 1, 0], REFUSED, "no protected frame"),
            (|peer| peer.level_message(&[0], Level::Integrity), "protection-not-allowed", "level refused"),
            (|peer| peer.level_message(&[3], Level::Integrity), "protection-not-allowed", "level refused"),
            (|peer| peer.level_message(&[4], Level::Integrity), REFUSED, "none of RFC 1961: `4`"),
            (|peer| peer.level_message(&[0xFF], Level::Integrity), REFUSED, "none of RFC 1961: `255`"),
            (|peer| peer.level_message(&[], Level::Integrity), REFUSED, "has 0 octets"),
            (|peer| peer.level_message(&[2, 2], Level::Integrity), REFUSED, "has 2 octets"),
            // One message too many has been sealed: this is the second.
            (
                |peer| {
                    peer.seal(b"", Level::Integrity);
                    peer.level_message(&[2], Level::Integrity)
                },
                REFUSED,
                "out of order",
            ),
            (|_| ABORT.to_vec(), REFUSED, "peer has aborted"),
        ];
        for (make, cause, detail) in table {
            let mut peer = site.established();
            let octets = make(&mut peer);
            peer.client.send(&octets);
            let last = if octets == ABORT { b"" } else { ABORT };
            expect_end(&site, peer.client, last, (cause, detail));
        }
        site.expect_service();
    });
}

#[test]
fn every_bit_of_a_level_message_counts() {
    alone("every_bit_of_a_level_message_counts", || {
        let site = Plan::new().start();
        let len = site.established().level_message(&[2], Level::Integrity).len();
        for position in 4..len {
            let mut peer = site.established();
            let frame = peer.level_message(&[2], Level::Integrity);
            peer.client.send(&flipped(&frame, position));
            expect_end(&site, peer.client, ABORT, (REFUSED, "protection level cannot be read"));
        }
        site.expect_service();
    });
}

#[test]
fn a_level_message_of_another_session_is_refused() {
    alone("a_level_message_of_another_session_is_refused", || {
        let site = Plan::new().start();
        let recorded = site.established().level_message(&[2], Level::Integrity);
        let mut peer = site.established();
        peer.client.send(&recorded);
        expect_end(&site, peer.client, ABORT, (REFUSED, "made with another key"));
    });
}

#[test]
fn who_asks_for_a_level_that_is_not_allowed_is_named_in_the_record() {
    alone("who_asks_for_a_level_that_is_not_allowed_is_named_in_the_record", || {
        let site = Plan::new().levels("confidentiality").start();
        for level in [Level::None, Level::Integrity, Level::Selective] {
            let mut peer = site.established();
            let frame = peer.level_message(&[level as u8], Level::Integrity);
            peer.client.send(&frame);
            peer.client.expect_last(ABORT);
            let record = site.gateway.session_of(peer.client.local());
            record.expect(&[
                ("cause", "protection-not-allowed"),
                ("claimed-identity", ALICE),
                ("verdict", "deny"),
            ]);
        }
        site.expect_service();
    });
}

#[test]
fn an_encrypted_level_message_is_as_good_as_a_signed_one() {
    alone("an_encrypted_level_message_is_as_good_as_a_signed_one", || {
        let site = Plan::new().start();
        let mut peer = site.established();
        let frame = peer.level_message(&[2], Level::Confidentiality);
        peer.client.send(&frame);
        assert_eq!(peer.granted(), Level::Confidentiality);
        peer.say(&connect_request(site.echo.address));
        assert_eq!(peer.hear().get(1), Some(&0x00), "the request is granted");
    });
}

#[test]
fn a_bare_level_is_taken_and_answered_bare_where_that_is_allowed() {
    alone("a_bare_level_is_taken_and_answered_bare_where_that_is_allowed", || {
        let site = Plan::new().option("nec: true").start();
        let mut peer = site.established();
        peer.client.send(&[0x01, 0x02, 0, 1, 0x01]);
        assert_eq!(peer.client.receive(5), [0x01, 0x02, 0, 1, 0x01]);
        let request = peer.seal(&connect_request(site.echo.address), Level::Integrity);
        peer.client.send(&request);
        assert_eq!(peer.hear().get(1), Some(&0x00), "the request is granted");
        // A sealed one is as good, and none at all is still refused.
        site.expect_service();
        let mut peer = site.established();
        peer.client.send(&[0x01, 0x02, 0, 1, 0x00]);
        expect_end(&site, peer.client, ABORT, ("protection-not-allowed", "level refused"));
    });
}

#[test]
fn a_request_right_behind_the_level_is_served_unprotected_where_that_is_all_there_is() {
    alone("a_request_right_behind_the_level_is_served_unprotected_where_that_is_all_there_is", || {
        let site = Plan::new().levels("none").start();
        let mut peer = site.established();
        let level = peer.level_message(&[2], Level::Integrity);
        // The surplus belongs to the request.
        peer.client.send(&[level, connect_request(site.echo.address)].concat());
        assert_eq!(peer.granted(), Level::None);
        assert_eq!(peer.client.reply().code, 0x00);
        peer.client.expect_echo(b"in the clear");
        site.expect_service();
    });
}

/// Short enough to be waited for, long enough for a busy machine to make a context in.
const HANDSHAKE: Duration = Duration::from_secs(4);

#[test]
fn a_handshake_that_stops_half_way_is_aborted_at_the_deadline() {
    alone("a_handshake_that_stops_half_way_is_aborted_at_the_deadline", || {
        let site = Plan::new().limit("handshake-timeout", "4s").start();
        let started = Instant::now();
        let request = Message::Authentication(tokens(&site.alice, &service()).0).octets().expect("it fits");
        let (mut silent, mut started_token, established) =
            (site.greeted(), site.greeted(), site.established());
        started_token.send(&request[..request.len() / 2]);
        let mut half_level = site.established();
        let level = half_level.level_message(&[2], Level::Integrity);
        half_level.client.send(&level[..7]);
        silent.send(&[0x01]);
        for mut client in [silent, started_token, established.client, half_level.client] {
            assert_eq!(client.receive_all(), (ABORT.to_vec(), End::Closed));
        }
        // What comes behind the level is not part of the negotiation: nothing is said.
        let mut agreed = site.agreed(Level::Integrity);
        agreed.client.expect_last(b"");
        let waited = started.elapsed();
        assert!(waited >= HANDSHAKE && waited < HANDSHAKE * 2 + DEADLINE, "{waited:?}");
        let record = site.gateway.session_of(agreed.client.local());
        record.expect(&[("cause", "handshake-timeout"), ("identity", ALICE), ("verdict", "fail")]);
        site.expect_service();
    });
}
