//! Fragments (RFC 1928 section 7), where the rule lets them in and where it does not.

use std::net::{IpAddr, Ipv4Addr};

use tests::targets::udp_echo;
use tests::udp::{Association, datagram, expect_nothing, receive, socket};

use crate::{at, gateway};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// The bit that says that no more fragments follow.
const LAST: u8 = 0x80;

#[test]
fn fragments_are_dropped_unless_the_rule_says_otherwise() {
    let gateway = gateway("");
    let (target, echo) = (socket(V4), udp_echo(V4));
    let association = Association::open(gateway.address());
    let to = at(target.local_addr().unwrap());
    association.send_raw(&datagram(1, &to, b"one "));
    association.send_raw(&datagram(2 | LAST, &to, b"two"));
    association.send_raw(&datagram(1 | LAST, &to, b"alone"));
    association.expect_echo(&at(echo.address), echo.address, b"whole");
    expect_nothing(&target);
    let record = gateway.session_of(association.end());
    assert_eq!(record.drops("fragment"), 3, "{record}");
}

#[test]
fn fragments_are_put_together_where_the_rule_says_so() {
    let gateway = gateway(", udp: { fragments: reassemble }");
    let (target, association) = (socket(V4), Association::open(gateway.address()));
    let to = at(target.local_addr().unwrap());
    for (position, data) in [(1, &b"one "[..]), (2, b"two "), (3 | LAST, b"three")] {
        association.send_raw(&datagram(position, &to, data));
    }
    assert_eq!(receive(&target).0, b"one two three");
    // A datagram of its own ends nothing that has begun; a lower position begins anew.
    for (position, data) in [(1, &b"lost "[..]), (2, b"lost "), (1, b"new "), (2 | LAST, b"beginning")] {
        association.send_raw(&datagram(position, &to, data));
    }
    assert_eq!(receive(&target).0, b"new beginning");
    let record = gateway.session_of(association.end());
    assert_eq!(record.number("datagrams-up"), 2, "{record}");
}

#[test]
fn fragments_out_of_their_order_never_arrive() {
    let gateway = gateway(", udp: { fragments: reassemble }");
    let (target, association) = (socket(V4), Association::open(gateway.address()));
    let to = at(target.local_addr().unwrap());
    let sequences: [&[u8]; 5] =
        [&[2, 3 | LAST], &[1, 3, 2 | LAST], &[1, 2, 4 | LAST], &[3 | LAST, 2, 1], &[1, 127 | LAST]];
    for positions in sequences {
        for position in positions {
            association.send_raw(&datagram(*position, &to, b"never "));
        }
    }
    // The last of them has left a first fragment behind, which counts for nothing either.
    association.send_raw(&datagram(1, &to, b"in "));
    association.send_raw(&datagram(2 | LAST, &to, b"order"));
    assert_eq!(receive(&target).0, b"in order");
    expect_nothing(&target);
    let record = gateway.session_of(association.end());
    assert_eq!(record.number("datagrams-up"), 1, "{record}");
}

#[test]
fn fragments_without_an_end_cost_no_more_than_their_bound() {
    let gateway = gateway(", udp: { fragments: reassemble }");
    let (echo, association) = (udp_echo(V4), Association::open(gateway.address()));
    let to = at(echo.address);
    association.expect_echo(&to, echo.address, b"first");
    let before = tests::process::resident(gateway.pid());
    for _ in 0..20 {
        for position in 1..=127 {
            association.send_raw(&datagram(position, &to, &[7; 4000]));
            // What the gateway has not yet taken must not be more than its socket holds.
            if position % 16 == 0 {
                association.expect_echo(&to, echo.address, b"whole");
            }
        }
    }
    association.expect_echo(&to, echo.address, b"last");
    let grown = tests::process::resident(gateway.pid()).saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} octets more for fragments that never end");
    let record = gateway.session_of(association.end());
    assert_eq!(record.number("datagrams-up"), 1 + 20 * 7 + 1, "{record}");
    assert!(record.drops("fragment") > 0, "{record}");
}
