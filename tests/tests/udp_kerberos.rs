//! UDP ASSOCIATE under protection (RFC 1961 section 5): by a raw client, and by Dante's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use socks_client::Level;
use tests::command::{run, tool};
use tests::dante::Socksify;
use tests::site::{Inside, Site, inside};
use tests::targets::udp_echo;
use tests::udp::{ProtectedAssociation, expect_nothing, receive, socket};
use tests::{DEADLINE, targets};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const BOTH: &[&str] = &["integrity", "confidentiality"];
/// The most octets of a datagram over IPv4.
const MOST: usize = 65_507;

fn open(inside: &Inside) -> ProtectedAssociation {
    let level = if inside.level == "integrity" { Level::Integrity } else { Level::Confidentiality };
    ProtectedAssociation::open(inside.gateway, level)
}

#[test]
fn sealed_datagrams_go_both_ways_at_both_levels() {
    let Some(inside) = inside("sealed_datagrams_go_both_ways_at_both_levels", BOTH) else { return };
    let mut association = open(&inside);
    for ip in [V4, Ipv6Addr::LOCALHOST.into()] {
        let echo = udp_echo(ip);
        for len in [0, 1, 64, 1200, 9000, 60_000] {
            association.expect_echo(echo.address, &vec![5; len]);
        }
    }
    let record = inside.session_of(association.end());
    record.expect(&[
        ("identity", "alice@EXAMPLE.TEST"),
        ("protection", &inside.level),
        ("command", "udp-associate"),
        ("rule", "users"),
        ("cause", "closed"),
    ]);
    assert_eq!((record.up(), record.down()), (140_530, 140_530), "{record}");
    assert_eq!((record.number("datagrams-up"), record.number("destinations")), (12, 2), "{record}");
}

#[test]
fn a_datagram_that_comes_twice_or_very_late_is_dropped_and_any_order_is_taken() {
    let name = "a_datagram_that_comes_twice_or_very_late_is_dropped_and_any_order_is_taken";
    let Some(inside) = inside(name, BOTH) else { return };
    let (echo, mut association) = (udp_echo(V4), open(&inside));
    let frames: Vec<_> = (0..4_u8).map(|number| association.seal(&echo.address.into(), &[number])).collect();
    for number in [2_u8, 0, 3, 1] {
        association.send_raw(&frames[usize::from(number)]);
        assert_eq!(association.receive().1, [number]);
    }
    for frame in &frames {
        association.send_raw(frame);
    }
    let kept = association.seal(&echo.address.into(), b"kept back for long");
    for _ in 0..1100 {
        association.expect_echo(echo.address, b"meanwhile");
    }
    association.send_raw(&kept);
    association.expect_echo(echo.address, b"last");
    expect_nothing(association.socket());
    assert_eq!(echo.received(), 4 + 1100 + 1);
    let record = inside.session_of(association.end());
    assert_eq!(record.drops("replayed"), 5, "{record}");
}

#[test]
fn what_is_not_a_whole_frame_of_the_session_is_dropped() {
    let name = "what_is_not_a_whole_frame_of_the_session_is_dropped";
    let Some(inside) = inside(name, BOTH) else { return };
    let (echo, mut association) = (udp_echo(V4), open(&inside));
    let to = echo.address.into();
    association.send_raw(&tests::udp::datagram(0, &to, b"without any protection"));
    let cut = association.seal(&to, b"cut off");
    association.send_raw(&cut[..cut.len() - 1]);
    let whole = association.seal(&to, b"with more behind it");
    association.send_raw(&[&whole[..], b"x"].concat());
    let mut longer = association.seal(&to, b"with a length that is too large");
    longer[3] ^= 0x01;
    association.send_raw(&longer);
    for octet in [0, 1, 4, 20, 40] {
        let mut frame = association.seal(&to, b"changed on its way");
        let place = octet.min(frame.len() - 1);
        frame[place] ^= 0x80;
        association.send_raw(&frame);
    }
    association.send_raw(&[]);
    association.send_raw(&[0x01, 0xFF]);
    let header = association.seal_octets(&[0, 0, 0, 1, 127]);
    association.send_raw(&header);
    association.expect_echo(echo.address, b"as if nothing had been");
    assert_eq!(echo.received(), 1);
    let record = inside.session_of(association.end());
    assert_eq!(record.drops("malformed") + record.drops("forged"), 12, "{record}");
    assert!(record.drops("forged") >= 1, "{record}");
}

#[test]
fn a_datagram_that_is_only_signed_is_refused_where_encryption_was_agreed() {
    let name = "a_datagram_that_is_only_signed_is_refused_where_encryption_was_agreed";
    let Some(inside) = inside(name, &["confidentiality"]) else { return };
    let (echo, mut association) = (udp_echo(V4), open(&inside));
    let signed = association.sign(&echo.address.into(), b"readable");
    association.send_raw(&signed);
    association.expect_echo(echo.address, b"encrypted");
    assert_eq!(echo.received(), 1);
    let record = inside.session_of(association.end());
    assert_eq!(record.drops("forged"), 1, "{record}");
}

#[test]
fn the_largest_sealed_datagram_passes_and_a_larger_answer_does_not() {
    let name = "the_largest_sealed_datagram_passes_and_a_larger_answer_does_not";
    let Some(inside) = inside(name, BOTH) else { return };
    let (target, mut association) = (socket(V4), open(&inside));
    let to = target.local_addr().unwrap().into();
    let overhead = association.seal(&to, b"").len();
    let largest = vec![3; MOST - overhead];
    association.send(&to, &largest);
    let (octets, outer) = receive(&target);
    assert!(octets == largest, "{} octets have come", octets.len());
    target.send_to(&vec![3; MOST - overhead + 1], outer).unwrap();
    target.send_to(&largest, outer).unwrap();
    assert_eq!(association.receive().1.len(), largest.len());
    let record = inside.session_of(association.end());
    assert_eq!((record.drops("too-large"), record.number("datagrams-down")), (1, 1), "{record}");
}

#[test]
fn what_cannot_be_opened_takes_no_port_over() {
    let Some(inside) = inside("what_cannot_be_opened_takes_no_port_over", BOTH) else { return };
    let (echo, thief, mut association) = (udp_echo(V4), socket(V4), open(&inside));
    let mut forged = association.seal(&echo.address.into(), b"forged");
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    let relay = association.relay();
    thief.send_to(&forged, relay).unwrap();
    thief.send_to(&tests::udp::datagram(0, &echo.address.into(), b"plain"), relay).unwrap();
    association.expect_echo(echo.address, b"mine");
    expect_nothing(&thief);
    assert_eq!(echo.received(), 1);
}

#[test]
fn a_resolver_behind_dantes_client_asks_a_real_name_server_at_both_levels() {
    let dns = targets::dns("wiki.corp.example", "192.0.2.80");
    for level in BOTH {
        let site = Site::start("integrity, confidentiality");
        let socksify = Socksify::new(site.gateway().address().port()).levels(&[level]);
        let mut drill = socksify.command(&tool("drill"));
        site.alice().env().apply(&mut drill);
        drill.args(["-p", &dns.address().port().to_string(), "@127.0.0.1", "wiki.corp.example"]);
        let done = run(&mut drill, DEADLINE).succeeded();
        assert!(done.text().contains("IN\tA\t192.0.2.80"), "{level}: {done}\n{}", socksify.log());
        let record = site.gateway().session();
        record.expect(&[
            ("identity", "alice@EXAMPLE.TEST"),
            ("protection", level),
            ("command", "udp-associate"),
            ("rule", "users"),
            ("cause", "closed"),
        ]);
        assert_eq!((record.number("datagrams-up"), record.number("datagrams-down")), (1, 1), "{record}");
    }
}
