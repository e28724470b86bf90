//! A gateway between IPv6 and IPv4: clients of one family, targets of the other, and a network with NAT64.

use std::net::{SocketAddr, TcpListener};

use tests::{Client, Gateway, Setup, namespace, targets};

/// An IPv4 address that is not on this machine, and what the translator of `2001:db8:64::/96` has for it.
const TARGET: &str = "198.51.100.7";
const BEHIND: &str = "2001:db8:64::c633:6407";

/// A policy with one rule of that family.
fn permit(family: &str) -> String {
    format!(
        "version: 1\nrules:\n  - {{ name: all, action: permit, special-use: permit, family: {family} }}\n"
    )
}

/// A server on that address that sends back what it gets.
fn echo_on(address: &str) -> (targets::Server, u16) {
    let listener = TcpListener::bind((address, 0)).expect("an address of this machine");
    let server = targets::echo_on(listener);
    let port = server.address.port();
    (server, port)
}

/// Asks for the address, through which octets must then flow by the other one.
#[track_caller]
fn expect_way(gateway: &Gateway, target: SocketAddr, dialled: SocketAddr) {
    let mut client = Client::tunnel(gateway.address(), target);
    client.expect_echo(b"across");
    let local = client.local();
    drop(client);
    let record = gateway.session_of(local);
    record.expect(&[("target", &target.to_string()), ("dialled", &dialled.to_string()), ("rule", "all")]);
}

#[test]
fn clients_and_targets_may_be_of_different_families() {
    let (v4, v6) = (echo_on("127.0.0.1"), echo_on("::1"));
    for listener in ["127.0.0.1:0", "'[::1]:0'"] {
        let gateway = Setup::new().policy(&permit("any")).listener(listener).start();
        for server in [&v4.0, &v6.0] {
            expect_way(&gateway, server.address, server.address);
        }
        for (server, port) in [&v4, &v6] {
            let mut client = Client::connect(gateway.address());
            assert_eq!(client.greet(&[0x00]), 0x00);
            let reply = client.connect_to_name(b"localhost", *port);
            assert_eq!(reply.code, 0x00, "localhost at {}", server.address);
            client.expect_echo(b"by name");
        }
    }
}

#[test]
fn a_gateway_without_ipv4_reaches_ipv4_targets_by_nat64() {
    if !namespace::inside("a_gateway_without_ipv4_reaches_ipv4_targets_by_nat64") {
        return;
    }
    namespace::ip(&["address", "add", &format!("{BEHIND}/128"), "dev", "lo", "nodad"]);
    let (_server, port) = echo_on(BEHIND);
    let target: SocketAddr = format!("{TARGET}:{port}").parse().expect("an address");
    let behind: SocketAddr = format!("[{BEHIND}]:{port}").parse().expect("an address");
    for family in ["any", "prefer-v6", "v6"] {
        let setup = Setup::new().policy(&permit(family)).key("nat64", "2001:db8:64::/96");
        expect_way(&setup.start(), target, behind);
    }
    // A rule that wants IPv4, and a gateway that knows no translator, have no way there.
    let v4_only = Setup::new().policy(&permit("v4")).key("nat64", "2001:db8:64::/96").start();
    let without = Setup::new().policy(&permit("any")).start();
    for gateway in [v4_only, without] {
        let mut client = Client::connect(gateway.address());
        assert_eq!(client.greet(&[0x00]), 0x00);
        client.send(&tests::client::connect_request(target));
        client.expect_refusal(0x03);
    }
}

#[test]
fn an_address_with_a_way_of_its_own_does_not_go_through_the_translator_unless_the_rule_says_so() {
    if !namespace::inside(
        "an_address_with_a_way_of_its_own_does_not_go_through_the_translator_unless_the_rule_says_so",
    ) {
        return;
    }
    namespace::ip(&["address", "add", &format!("{TARGET}/32"), "dev", "lo"]);
    namespace::ip(&["address", "add", &format!("{BEHIND}/128"), "dev", "lo", "nodad"]);
    let (v4, port) = echo_on(TARGET);
    let v6 = targets::echo_on(TcpListener::bind((BEHIND, port)).expect("a free port"));
    for (family, dialled) in
        [("any", v4.address), ("prefer-v6", v4.address), ("v4", v4.address), ("v6", v6.address)]
    {
        let setup = Setup::new().policy(&permit(family)).key("nat64", "2001:db8:64::/96");
        expect_way(&setup.start(), v4.address, dialled);
    }
}

#[test]
fn what_a_rule_denies_is_denied_behind_the_translator_too() {
    if !namespace::inside("what_a_rule_denies_is_denied_behind_the_translator_too") {
        return;
    }
    namespace::ip(&["address", "add", &format!("{BEHIND}/128"), "dev", "lo", "nodad"]);
    let (server, port) = echo_on(BEHIND);
    let policy = format!(
        "version: 1\nrules:\n  - {{ name: no-net, action: deny, destination: {TARGET} }}\n  \
         - {{ name: all, action: permit }}\n"
    );
    let gateway = Setup::new().policy(&policy).key("nat64", "2001:db8:64::/96").start();
    let literal: SocketAddr = format!("{TARGET}:{port}").parse().expect("an address");
    for target in [literal, server.address] {
        let mut client = Client::connect(gateway.address());
        assert_eq!(client.greet(&[0x00]), 0x00);
        client.send(&tests::client::connect_request(target));
        client.expect_refusal(0x02);
        gateway.session_of(client.local()).expect(&[("verdict", "deny"), ("rule", "no-net")]);
    }
    assert_eq!(server.accepted(), 0);
}
