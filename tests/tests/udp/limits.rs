//! The bounds of an association, each reached.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tests::targets::udp_echo;
use tests::udp::{Association, associate, datagram};
use tests::{Client, Setup, process};

use crate::{at, gateway, permitting};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn anybody() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
}

#[test]
fn a_rule_with_a_limit_refuses_one_association_more_and_takes_it_after_an_end() {
    let gateway = gateway(", udp: { associations: 1 }");
    let first = Association::open(gateway.address());
    let mut second = Client::connect(gateway.address());
    second.greet(&[0x00]);
    let client = second.local();
    assert_eq!(associate(&mut second, anybody()).code, 0x01);
    let record = gateway.session_of(client);
    record.expect(&[("cause", "too-many-associations-of-rule"), ("verdict", "deny"), ("rule", "everything")]);
    // Other commands do not count.
    let tcp = tests::targets::echo();
    Client::tunnel(gateway.address(), tcp.address).expect_echo(b"tcp");
    gateway.session_of(first.end());
    let echo = udp_echo(V4);
    Association::open(gateway.address()).expect_echo(&at(echo.address), echo.address, b"in its place");
}

#[test]
fn the_rules_limit_on_sessions_counts_associations_too() {
    let gateway = gateway(", limits: { sessions: 1 }");
    let _open = Association::open(gateway.address());
    let mut second = Client::connect(gateway.address());
    second.greet(&[0x00]);
    let client = second.local();
    assert_eq!(associate(&mut second, anybody()).code, 0x01);
    gateway.session_of(client).expect(&[("cause", "too-many-sessions-of-rule")]);
}

#[test]
fn more_datagrams_than_the_rate_are_dropped_and_counted() {
    let gateway = gateway(", udp: { datagrams: 20 }");
    let (echo, association) = (udp_echo(V4), Association::open(gateway.address()));
    for number in 0..200_u8 {
        association.send(&at(echo.address), &[number]);
    }
    // One that comes back says that the gateway has been through all before it.
    let mut sent = 200;
    association.socket().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    loop {
        association.send(&at(echo.address), b"last");
        sent += 1;
        let mut room = [0; 64];
        let came = std::iter::from_fn(|| association.socket().recv(&mut room).ok());
        if came.into_iter().any(|len| len == datagram(0, &at(echo.address), b"last").len()) {
            break;
        }
    }
    let record = gateway.session_of(association.end());
    let (went, dropped) = (record.number("datagrams-up"), record.drops("rate-limited"));
    assert_eq!(went + dropped, sent, "{record}");
    // Those of one second at once, and those that came meanwhile.
    assert!((20..120).contains(&went), "{record}");
}

#[test]
fn an_association_in_which_nothing_moves_ends() {
    let gateway = Setup::new().limit("udp-idle-timeout", "300ms").start();
    let echo = udp_echo(V4);
    let mut association = Association::open(gateway.address());
    association.expect_echo(&at(echo.address), echo.address, b"hello");
    // The client's host has vanished: it says nothing more, and does not close.
    association.control().receive_all();
    gateway.session_of(association.client()).expect(&[("cause", "idle-timeout"), ("verdict", "permit")]);
}

#[test]
fn a_rules_own_idle_timeout_counts_for_associations() {
    let gateway = gateway(", limits: { idle-timeout: 300ms }");
    let mut association = Association::open(gateway.address());
    association.control().receive_all();
    gateway.session_of(association.client()).expect(&[("cause", "idle-timeout")]);
}

#[test]
fn the_gateway_listens_in_the_rules_range_and_says_when_it_is_used_up() {
    let free = Association::open(gateway("").address()).relay().port();
    let gateway = gateway(&format!(", udp: {{ ports: {free}-{free} }}"));
    let first = Association::open(gateway.address());
    assert_eq!(first.relay().port(), free);
    let mut second = Client::connect(gateway.address());
    second.greet(&[0x00]);
    let client = second.local();
    assert_eq!(associate(&mut second, anybody()).code, 0x01);
    let record = gateway.session_of(client);
    record.expect(&[("cause", "no-free-port"), ("verdict", "fail")]);
}

#[test]
fn a_hundred_thousand_destinations_take_bounded_room() {
    let gateway = Setup::new().policy(&permitting("")).start();
    let (echo, association) = (udp_echo(V4), Association::open(gateway.address()));
    association.expect_echo(&at(echo.address), echo.address, b"first");
    let before = process::resident(gateway.pid());
    let mut sent = 0;
    for number in 0..100_000_u32 {
        // All of 127.0.0.0/8 is this machine, which nobody listens to at this port.
        let [_, high, middle, low] = (number + 0x10_0000).to_be_bytes();
        let target = SocketAddr::from(([127, high, middle, low], 9));
        association.send_raw(&datagram(0, &at(target), b"x"));
        sent += 1;
        // What the gateway has not yet taken must not be lost before it has judged it.
        if number % 64 == 63 {
            association.expect_echo(&at(echo.address), echo.address, b"go on");
            sent += 1;
        }
    }
    association.expect_echo(&at(echo.address), echo.address, b"last");
    sent += 1;
    let grown = process::resident(gateway.pid()).saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} octets more for 100,000 destinations");
    let record = gateway.session_of(association.end());
    assert!(record.number("datagrams-up") + record.drops("unreachable") >= sent, "{record}");
}

#[test]
fn a_gateway_that_stops_ends_its_associations() {
    let gateway = Setup::new().start();
    let association = Association::open(gateway.address());
    let client = association.client();
    let stopped = gateway.stop();
    assert_eq!(stopped.code, Some(0));
    let record = stopped.records.iter().find(|record| record.is_of(client)).expect("the association's");
    record.expect(&[("cause", "gateway-stopped"), ("verdict", "permit")]);
}
