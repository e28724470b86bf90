//! Datagrams reach their targets and come back, whatever families are on the way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tests::targets::udp_echo;
use tests::udp::{Association, associate, receive, socket};
use tests::{Client, Setup, targets};

use crate::{at, gateway, named, permitting};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

#[test]
fn datagrams_of_every_size_reach_targets_of_both_families_and_come_back() {
    let gateway = gateway("");
    let association = Association::open(gateway.address());
    for ip in [V4, V6] {
        let echo = udp_echo(ip);
        // The largest of the client's: its header takes 10 octets of the 65,507, or 22.
        let header = if ip.is_ipv4() { 10 } else { 22 };
        for len in [0, 1, 64, 1200, 1472, 9000, 65_507 - header] {
            association.expect_echo(&at(echo.address), echo.address, &vec![7; len]);
        }
    }
}

#[test]
fn a_name_is_looked_up_and_its_address_stands_in_the_header_of_what_comes_back() {
    for (family, ip) in [("v4", V4), ("v6", V6)] {
        let gateway = gateway(&format!(", family: {family}"));
        let echo = udp_echo(ip);
        let association = Association::open(gateway.address());
        let localhost = named("localhost", echo.address.port());
        for number in 0..4 {
            association.expect_echo(&localhost, echo.address, &[number; 32]);
        }
        let record = gateway.session_of(association.end());
        record.expect(&[("command", "udp-associate"), ("cause", "closed")]);
    }
}

#[test]
fn what_waits_for_a_name_arrives_in_order_and_whole() {
    let gateway = gateway(", family: v4");
    let (target, association) = (socket(V4), Association::open(gateway.address()));
    let localhost = named("localhost", target.local_addr().unwrap().port());
    for number in 0..8_u8 {
        association.send(&localhost, &[number; 100]);
    }
    for number in 0..8_u8 {
        assert_eq!(receive(&target).0, [number; 100]);
    }
}

#[test]
fn clients_of_one_family_reach_targets_of_the_other() {
    for (listener, ip) in [("'[::1]:0'", V4), ("127.0.0.1:0", V6)] {
        let gateway = Setup::new().listener(listener).start();
        let (echo, association) = (udp_echo(ip), Association::open(gateway.address()));
        assert_eq!(association.relay().is_ipv4(), ip.is_ipv6(), "the client is of the other family");
        association.expect_echo(&at(echo.address), echo.address, b"across");
    }
}

#[test]
fn an_ipv4_target_in_ipv6_form_is_that_ipv4_target() {
    let gateway = gateway("");
    let (echo, association) = (udp_echo(V4), Association::open(gateway.address()));
    let mapped = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), echo.address.port());
    association.expect_echo(&at(mapped), echo.address, b"mapped");
}

#[test]
fn a_client_of_a_dual_listener_is_met_at_the_address_that_it_came_to() {
    let gateway = Setup::new().listener("'[::]:0'").start();
    let echo = udp_echo(V4);
    for ip in [V4, V6] {
        let association = Association::open(SocketAddr::new(ip, gateway.address().port()));
        assert_eq!(association.relay().ip(), ip);
        association.expect_echo(&at(echo.address), echo.address, b"hello");
    }
}

#[test]
fn a_family_that_the_rule_does_not_name_is_not_used() {
    let gateway = gateway(", family: v6");
    let (v4, v6) = (socket(V4), udp_echo(V6));
    let association = Association::open(gateway.address());
    association.send(&at(v4.local_addr().unwrap()), b"by IPv4");
    association.expect_echo(&at(v6.address), v6.address, b"by IPv6");
    tests::udp::expect_nothing(&v4);
    let record = gateway.session_of(association.end());
    assert_eq!(record.drops("unreachable"), 1, "{record}");
}

#[test]
fn the_record_counts_datagrams_octets_destinations_and_names_the_rule() {
    let gateway = Setup::new().policy(&permitting("")).start();
    let association = Association::open(gateway.address());
    for len in [10, 20, 30] {
        let echo = udp_echo(V4);
        for _ in 0..2 {
            association.expect_echo(&at(echo.address), echo.address, &vec![1; len]);
        }
    }
    let relay = association.relay().to_string();
    let record = gateway.session_of(association.end());
    record.expect(&[
        ("command", "udp-associate"),
        ("target", "0.0.0.0:0"),
        ("bound", &relay),
        ("rule", "everything"),
        ("verdict", "permit"),
        ("cause", "closed"),
        ("dialled", ""),
    ]);
    assert_eq!((record.up(), record.down()), (120, 120), "{record}");
    assert_eq!((record.number("datagrams-up"), record.number("datagrams-down")), (6, 6), "{record}");
    assert_eq!((record.number("destinations"), record.number("reply")), (3, 0), "{record}");
    assert!(record.0.get("drops").is_none(), "{record}");
}

#[test]
fn two_associations_at_once_do_not_hear_each_other() {
    let gateway = gateway("");
    let (echo, first) = (udp_echo(V4), Association::open(gateway.address()));
    let second = Association::open(gateway.address());
    first.send(&at(echo.address), b"first");
    second.send(&at(echo.address), b"second");
    assert_eq!(second.receive().1, b"second");
    assert_eq!(first.receive().1, b"first");
    tests::udp::expect_nothing(first.socket());
    // CONNECT goes on beside them.
    let tcp = targets::echo();
    Client::tunnel(gateway.address(), tcp.address).expect_echo(b"tcp");
}

#[test]
fn a_client_is_told_the_address_by_which_others_know_the_gateway() {
    let gateway = Setup::new().advertise("203.0.113.5").start();
    let mut control = Client::connect(gateway.address());
    control.greet(&[0x00]);
    let reply = associate(&mut control, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    assert_eq!((reply.code, reply.bound.ip()), (0x00, IpAddr::from([203, 0, 113, 5])));
    // What a translator does.
    let relay = SocketAddr::new(V4, reply.bound.port());
    let association = Association::from_parts(control, socket(V4), relay);
    let echo = udp_echo(V4);
    association.expect_echo(&at(echo.address), echo.address, b"by another address");
    let record = gateway.session_of(association.end());
    record.expect(&[("bound", &relay.to_string()), ("advertised", &reply.bound.to_string())]);
}
