//! What the policy says of associations and of each datagram.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use rustix::process::Signal;
use tests::targets::udp_echo;
use tests::udp::{Association, associate, expect_nothing, socket};
use tests::{Client, DEADLINE, Gateway, Setup};

use crate::{at, named};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn reload(gateway: &Gateway, policy: &str) {
    gateway.folder().write("policy.yaml", policy);
    gateway.signal(Signal::HUP);
    assert!(gateway.log().find(DEADLINE, |line| line.contains("reloaded").then_some(())).is_some());
}

/// Two ports: nothing goes to the first, everything to the rest.
fn denying(port: u16) -> String {
    format!(
        "version: 1\nclients: [{{ methods: [none] }}]\nrules:\n  - {{ name: not-there, action: deny, port: {port} }}\n  \
         - {{ name: rest, action: permit, special-use: permit }}\n"
    )
}

#[test]
fn a_denied_destination_gets_nothing_and_the_record_counts_it() {
    let (denied, echo) = (socket(V4), udp_echo(V4));
    let denied_port = denied.local_addr().unwrap().port();
    let gateway = Setup::new().policy(&denying(denied_port)).start();
    let association = Association::open(gateway.address());
    for _ in 0..3 {
        association.send(&at(denied.local_addr().unwrap()), b"must not arrive");
    }
    association.send(&named("localhost", denied_port), b"nor by name");
    association.expect_echo(&at(echo.address), echo.address, b"permitted");
    expect_nothing(&denied);
    let record = gateway.session_of(association.end());
    record.expect(&[("rule", "rest"), ("cause", "closed")]);
    assert_eq!((record.drops("denied"), record.number("datagrams-up")), (4, 1), "{record}");
    assert_eq!(record.number("destinations"), 1, "{record}");
}

#[test]
fn special_addresses_are_denied_unless_a_rule_permits_them() {
    let target = socket(V4);
    let policy = "version: 1\nrules: [{ name: all, action: permit }]\n";
    let gateway = Setup::new().policy(policy).start();
    let association = Association::open(gateway.address());
    let port = target.local_addr().unwrap().port();
    association.send(&at(target.local_addr().unwrap()), b"by address");
    let mapped = SocketAddr::new(Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(), port);
    association.send(&at(mapped), b"by the mapped one");
    let record = gateway.session_of(association.end());
    assert_eq!(record.number("datagrams-up"), 0, "{record}");
    expect_nothing(&target);
}

#[test]
fn a_reload_holds_for_the_next_datagram_of_an_open_association() {
    let (first, second) = (udp_echo(V4), udp_echo(V4));
    let gateway = Setup::new().policy(&denying(first.address.port())).start();
    let association = Association::open(gateway.address());
    association.expect_echo(&at(second.address), second.address, b"before");
    reload(&gateway, &denying(second.address.port()));
    association.send(&at(second.address), b"no more");
    association.expect_echo(&at(first.address), first.address, b"now");
    assert_eq!((first.received(), second.received()), (1, 1));
    let record = gateway.session_of(association.end());
    assert_eq!((record.drops("denied"), record.number("policy")), (1, 2), "{record}");
}

#[test]
fn an_association_that_loses_its_permit_ends_as_its_rule_says() {
    let policy =
        "version: 1\nrules: [{ name: all, action: permit, special-use: permit, on-revoke: close }]\n";
    let echo = udp_echo(V4);
    let gateway = Setup::new().policy(policy).start();
    let association = Association::open(gateway.address());
    association.expect_echo(&at(echo.address), echo.address, b"before");
    reload(
        &gateway,
        "version: 1\nclients: [{ methods: [none] }]\nrules: [{ name: tcp, action: permit, command: connect }]\n",
    );
    let record = gateway.session();
    record.expect(&[("cause", "permit-revoked"), ("command", "udp-associate"), ("rule", "all")]);
}

#[test]
fn what_no_rule_could_permit_is_refused_with_the_request() {
    let policy =
        "version: 1\nrules: [{ name: tcp, action: permit, command: connect, special-use: permit }]\n";
    let gateway = Setup::new().policy(policy).start();
    let mut control = Client::connect(gateway.address());
    control.greet(&[0x00]);
    let client = control.local();
    let reply = associate(&mut control, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    assert_eq!(reply.code, 0x02);
    let record = gateway.session_of(client);
    record.expect(&[("command", "udp-associate"), ("cause", "denied-by-default"), ("verdict", "deny")]);
    assert_eq!(record.number("reply"), 2);
}

#[test]
fn a_name_without_an_address_is_dropped_and_counted() {
    let gateway = Setup::new().start();
    let (echo, association) = (udp_echo(V4), Association::open(gateway.address()));
    association.send(&named("no-such-name.invalid", 53), b"nowhere");
    association.expect_echo(&at(echo.address), echo.address, b"others do not wait for it");
    let record = gateway.session_of(association.end());
    assert_eq!(record.number("datagrams-up"), 1, "{record}");
}

#[test]
fn datagrams_leave_from_the_rules_egress_address() {
    let policy =
        "version: 1\nrules:\n  - { name: out, action: permit, special-use: permit, egress: 127.0.0.9 }\n";
    let gateway = Setup::new().policy(policy).start();
    let (target, association) = (socket(V4), Association::open(gateway.address()));
    association.send(&at(target.local_addr().unwrap()), b"hello");
    let (_, from) = tests::udp::receive(&target);
    assert_eq!(from.ip(), IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)));
    target.send_to(b"back", from).unwrap();
    assert_eq!(association.receive().1, b"back");
}

#[test]
fn a_rule_for_datagrams_with_another_egress_address_lets_none_out_by_this_one() {
    let (target, echo) = (socket(V4), udp_echo(V4));
    let port = target.local_addr().unwrap().port();
    let policy = format!(
        "version: 1\nrules:\n  - {{ name: assoc, action: permit, special-use: permit, port: {} }}\n  \
         - {{ name: elsewhere, action: permit, special-use: permit, egress: 127.0.0.9, port: {port} }}\n",
        echo.address.port()
    );
    let gateway = Setup::new().policy(&policy).start();
    let association = Association::open(gateway.address());
    association.send(&at(target.local_addr().unwrap()), b"by the wrong address");
    association.expect_echo(&at(echo.address), echo.address, b"hello");
    expect_nothing(&target);
    let record = gateway.session_of(association.end());
    assert_eq!(record.drops("unreachable"), 1, "{record}");
}
