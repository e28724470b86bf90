//! How connections leave the gateway: the interface and the mark that a rule names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use socks_core::wire::{Host, Target};
use tests::client::{connect_request, request};
use tests::targets::{echo, echo_on, udp_echo};
use tests::udp::{Association, associate};
use tests::{Client, DEADLINE, Gateway, Setup, command, namespace, program};

const ANYBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// A policy with one rule that leaves in that way.
fn leaving(egress: &str) -> String {
    format!(
        "version: 1\nrules:\n  - {{ name: out, action: permit, special-use: permit, egress: {egress} }}\n"
    )
}

fn greeted(gateway: &Gateway) -> Client {
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client
}

fn at(address: SocketAddr) -> Target {
    Target { host: Host::Ip(address.ip()), port: address.port() }
}

#[test]
fn the_interface_of_a_rule_is_used_by_all_commands() {
    let gateway = Setup::new().policy(&leaving("{ interface: lo }")).unprivileged(65534).start();
    Client::tunnel(gateway.address(), echo().address).expect_echo(b"out");
    let target = udp_echo(Ipv4Addr::LOCALHOST.into());
    Association::open(gateway.address()).expect_echo(&at(target.address), target.address, b"datagram");
    let mut waiting = greeted(&gateway);
    let told = waiting.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).bound;
    let _peer = TcpStream::connect(told).expect("the gateway listens");
    assert_eq!(waiting.reply().code, 0x00);
}

#[test]
fn an_interface_that_is_not_there_is_the_gateways_own_trouble_and_a_warning() {
    let setup = Setup::new().policy(&leaving("{ interface: no-such-if }"));
    let gateway = setup.start();
    for request in [connect_request(echo().address), request(0x02, ANYBODY)] {
        let mut client = greeted(&gateway);
        client.send(&request);
        client.expect_refusal(0x01);
        let record = gateway.session_of(client.local());
        assert!(record.text("detail").contains("there is no interface `no-such-if`"), "{record}");
    }
    let mut client = greeted(&gateway);
    assert_eq!(associate(&mut client, ANYBODY).code, 0x01);
    let told =
        |line: &str| (line.contains("WARN") && line.contains("no interface `no-such-if`")).then_some(());
    assert!(gateway.log().find(DEADLINE, told).is_some(), "the operator is told: {}", gateway.log().text());
    let mut check = Command::new(program::built("socksd"));
    check.args(["check", "--config"]).arg(gateway.folder().file("socksd.yaml"));
    let checked = command::run(&mut check, DEADLINE);
    assert_eq!(checked.code, Some(0), "{checked}");
    assert!(checked.to_string().contains("warning: there is no interface `no-such-if` now"), "{checked}");
}

#[test]
fn an_interface_without_a_way_to_the_target_does_not_lead_there() {
    if !namespace::inside("an_interface_without_a_way_to_the_target_does_not_lead_there") {
        return;
    }
    namespace::ip(&["link", "add", "left", "type", "veth", "peer", "name", "right"]);
    namespace::ip(&["link", "set", "left", "up"]);
    let server = echo();
    let gateway = Setup::new().policy(&leaving("{ interface: left }")).start();
    let mut client = greeted(&gateway);
    client.send(&connect_request(server.address));
    client.expect_refusal(0x04);
    assert_eq!(server.accepted(), 0);
}

/// What bears the mark has no way to anywhere.
fn block_marked() {
    namespace::ip(&["rule", "add", "pref", "100", "lookup", "local"]);
    namespace::ip(&["rule", "del", "pref", "0"]);
    namespace::ip(&["rule", "add", "pref", "10", "fwmark", "0x10", "prohibit"]);
}

#[test]
fn the_mark_of_a_rule_is_known_to_the_hosts_routing() {
    if !namespace::inside("the_mark_of_a_rule_is_known_to_the_hosts_routing") {
        return;
    }
    let server = echo_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("an address"));
    let target = udp_echo(Ipv4Addr::LOCALHOST.into());
    let marked = Setup::new().policy(&leaving("{ mark: 0x10 }")).start();
    let other = Setup::new().policy(&leaving("{ mark: 17 }")).start();
    Client::tunnel(marked.address(), server.address).expect_echo(b"before");
    block_marked();
    Client::tunnel(other.address(), server.address).expect_echo(b"another mark");
    let mut client = greeted(&marked);
    client.send(&connect_request(server.address));
    client.expect_refusal(0x01);
    assert_eq!(server.accepted(), 2);
    let association = Association::open(other.address());
    association.expect_echo(&at(target.address), target.address, b"another mark");
    let association = Association::open(marked.address());
    association.send(&at(target.address), b"marked");
    association.end();
    assert_eq!(target.received(), 1);
}

#[test]
fn a_gateway_that_may_set_no_mark_says_what_it_needs() {
    let gateway = Setup::new().policy(&leaving("{ mark: 0x10 }")).unprivileged(65534).start();
    let mut client = greeted(&gateway);
    client.send(&connect_request(echo().address));
    client.expect_refusal(0x01);
    let record = gateway.session_of(client.local());
    assert!(record.text("detail").contains("give it CAP_NET_ADMIN"), "{record}");
    let told = |line: &str| (line.contains("WARN") && line.contains("CAP_NET_ADMIN")).then_some(());
    assert!(gateway.log().find(DEADLINE, told).is_some(), "the operator is told: {}", gateway.log().text());
}
