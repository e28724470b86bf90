//! Requests that cannot be granted: each gets the reply code that tells why, and that reply arrives.

use std::net::SocketAddr;

use tests::{Client, Gateway, Setup, namespace, targets};

/// Asks for the target and checks reply code, cause and verdict.
#[track_caller]
fn expect_failure(gateway: &Gateway, target: SocketAddr, code: u8, cause: &str) {
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client.send(&tests::client::connect_request(target));
    client.expect_refusal(code);
    let record = gateway.session_of(client.local());
    record.expect(&[("verdict", "fail"), ("cause", cause), ("target", &target.to_string())]);
    assert_eq!(record.number("reply"), u64::from(code), "{record}");
}

#[test]
fn a_target_that_refuses_gives_05() {
    let (gateway, refusing) = (Setup::new().start(), targets::Refusing::new());
    expect_failure(&gateway, refusing.address, 0x05, "connection-refused");
}

#[test]
fn a_target_that_does_not_answer_gives_04() {
    let (gateway, deaf) = (Setup::new().limit("connect-timeout", "1s").start(), targets::Deaf::new());
    expect_failure(&gateway, deaf.address, 0x04, "connect-timeout");
}

#[test]
fn a_network_without_a_route_gives_03() {
    if namespace::inside("a_network_without_a_route_gives_03") {
        let gateway = Setup::new().start();
        expect_failure(&gateway, ([198, 51, 100, 1], 80).into(), 0x03, "network-unreachable");
        expect_failure(&gateway, "[2001:db8::1]:80".parse().unwrap(), 0x03, "network-unreachable");
    }
}

#[test]
fn a_host_that_cannot_be_reached_gives_04() {
    if namespace::inside("a_host_that_cannot_be_reached_gives_04") {
        namespace::ip(&["route", "add", "unreachable", "203.0.113.0/24"]);
        let gateway = Setup::new().start();
        expect_failure(&gateway, ([203, 0, 113, 9], 80).into(), 0x04, "host-unreachable");
    }
}

#[test]
fn a_connection_that_this_machine_forbids_gives_01() {
    if namespace::inside("a_connection_that_this_machine_forbids_gives_01") {
        namespace::ip(&["route", "add", "prohibit", "203.0.113.0/24"]);
        let gateway = Setup::new().start();
        expect_failure(&gateway, ([203, 0, 113, 9], 80).into(), 0x01, "connect-failed");
        let warned = |line: &str| line.contains("WARN").then_some(());
        assert!(gateway.log().find(tests::DEADLINE, warned).is_some(), "the operator hears of it");
    }
}

#[test]
fn a_name_that_does_not_exist_gives_04() {
    let gateway = Setup::new().start();
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client.send(&tests::client::name_request(0x01, b"no-such-host.invalid", 80));
    client.expect_refusal(0x04);
    gateway.session_of(client.local()).expect(&[("verdict", "fail"), ("target", "no-such-host.invalid:80")]);
}

#[test]
fn what_a_rule_denies_gives_02_and_names_the_rule() {
    let policy = "\
version: 1
rules:
  - name: no-mail
    action: deny
    port: 25
  - name: rest
    action: permit
    special-use: permit
";
    let gateway = Setup::new().policy(policy).start();
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client.send(&tests::client::connect_request(([127, 0, 0, 1], 25).into()));
    client.expect_refusal(0x02);
    gateway.session_of(client.local()).expect(&[
        ("rule", "no-mail"),
        ("verdict", "deny"),
        ("cause", "denied"),
        ("dialled", ""),
    ]);
}

#[test]
fn loopback_is_denied_unless_a_rule_says_otherwise() {
    let policy = "version: 1\nrules:\n  - name: everything\n    action: permit\n";
    let (gateway, web) = (Setup::new().policy(policy).start(), targets::http());
    let port = web.address.port();
    let mapped = SocketAddr::from(([0, 0, 0, 0, 0, 0xFFFF, 0x7F00, 1], port));
    for target in [web.address, mapped, SocketAddr::from(([0; 8], port)), SocketAddr::from(([0; 4], port))] {
        let mut client = Client::connect(gateway.address());
        assert_eq!(client.greet(&[0x00]), 0x00);
        client.send(&tests::client::connect_request(target));
        client.expect_refusal(0x02);
        gateway.session_of(client.local()).expect(&[("verdict", "deny"), ("dialled", "")]);
    }
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    assert_eq!(client.connect_to_name(b"localhost", port).code, 0x02);
    assert_eq!(web.accepted(), 0, "connections at the target");
}

#[test]
fn a_source_that_no_rule_permits_anything_is_closed_before_a_word() {
    let policy = "\
version: 1
rules:
  - name: one-host
    action: permit
    source: 127.0.0.2/32
    special-use: permit
";
    let (gateway, echo) = (Setup::new().policy(policy).start(), targets::echo());
    let mut stranger = Client::connect(gateway.address());
    assert_eq!(stranger.receive_all().0, b"");
    let mut known = Client::connect_from("127.0.0.2".parse().unwrap(), gateway.address());
    known.open(echo.address);
    known.expect_echo(b"hello");
}

#[test]
fn a_full_gateway_refuses_new_sessions_and_keeps_those_it_has() {
    let gateway = Setup::new().limit("max-sessions", "6").start();
    let echo = targets::echo();
    let mut taken: Vec<_> = (0..6).map(|_| Client::tunnel(gateway.address(), echo.address)).collect();
    assert_eq!(Client::connect(gateway.address()).receive_all().0, b"", "no place, no word");
    taken.iter_mut().for_each(|client| client.expect_echo(b"still here"));
    drop(taken);
    gateway.sessions(6);
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"room again");
}

#[test]
fn one_source_cannot_take_the_sessions_of_others() {
    let gateway = Setup::new().limit("max-sessions-per-source", "3").start();
    let echo = targets::echo();
    let _taken: Vec<_> = (0..3).map(|_| Client::tunnel(gateway.address(), echo.address)).collect();
    assert_eq!(Client::connect(gateway.address()).receive_all().0, b"", "no place, no word");
    let mut other = Client::connect_from("127.0.0.2".parse().unwrap(), gateway.address());
    other.open(echo.address);
    other.expect_echo(b"hello");
}
