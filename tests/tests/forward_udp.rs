//! `socks-forward` carrying datagrams.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tests::command::{run, tool};
use tests::dante::{DanteSite, Socksify};
use tests::forwarder::Forwarder;
use tests::site::Site;
use tests::targets::udp_echo;
use tests::udp::Association;
use tests::{Client, DEADLINE, Gateway, Setup, targets};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// The most octets of a sealed datagram's user data over IPv4, whatever the encryption type: 65,507 octets without
/// 4 of the frame's head, 72 of the token, and 10 of the header.
const MOST_SEALED: usize = 65_421;
const SIZES: [usize; 6] = [0, 1, 64, 1200, 9000, 60_000];

/// A gateway whose one rule permits everything on loopback, with these keys in addition.
fn gateway(keys: &str) -> Gateway {
    let rule = format!("  - {{ name: everything, action: permit, special-use: permit{keys} }}\n");
    Setup::new().policy(&format!("version: 1\nrules:\n{rule}")).start()
}

#[test]
fn datagrams_reach_targets_of_both_families_and_come_back() {
    let (gateway, target) = (gateway(""), udp_echo(V6));
    let forwarder = Forwarder::start(gateway.address());
    let association = Association::open(forwarder.address());
    for echo in [udp_echo(V4), target] {
        for len in SIZES {
            association.expect_echo(&echo.address.into(), echo.address, &vec![7; len]);
        }
    }
    drop(association);
    let line = forwarder.expect_line(&["closed", "command=\"udp-associate\"", "datagrams_up=12"]);
    assert!(line.contains("datagrams_down=12 dropped=0"), "{line}");
    assert!(line.contains("end=\"program has ended its connection\""), "{line}");
    gateway.session().expect(&[("command", "udp-associate"), ("cause", "closed")]);
}

#[test]
fn datagrams_are_protected_towards_the_gateway_at_every_level() {
    for level in ["integrity", "confidentiality", "selective"] {
        let (site, echo) = (Site::start(level), udp_echo(V4));
        let mut command = site.forwarder(&site.alice().env());
        command.args(["--level", level]);
        let forwarder = Forwarder::start_as(command);
        let association = Association::open(forwarder.address());
        for len in SIZES.into_iter().chain([MOST_SEALED]) {
            association.expect_echo(&echo.address.into(), echo.address, &vec![7; len]);
        }
        drop(association);
        forwarder.expect_line(&["closed", "datagrams_up=7", &format!("level={level}")]);
        let record = site.gateway().session();
        record.expect(&[
            ("command", "udp-associate"),
            ("identity", "alice@EXAMPLE.TEST"),
            ("protection", level),
            ("cause", "closed"),
        ]);
        assert_eq!(record.number("datagrams-up"), 7, "{record}");
    }
}

#[test]
fn datagrams_pass_through_dantes_server_at_each_of_its_levels() {
    for (ours, theirs) in
        [("none", "clear"), ("integrity", "integrity"), ("confidentiality", "confidentiality")]
    {
        let (dante, echo) = (DanteSite::start(&[theirs]), udp_echo(V4));
        let forwarder = Forwarder::start_as(dante.forwarder(ours));
        let association = Association::open(forwarder.address());
        for len in SIZES {
            association.expect_echo(&echo.address.into(), echo.address, &vec![7; len]);
        }
        drop(association);
        let line = forwarder.expect_line(&["closed", "datagrams_up=6", &format!("level={ours}")]);
        assert!(line.contains("datagrams_down=6 dropped=0"), "{line}\n{}", dante.log());
    }
}

#[test]
fn a_resolver_behind_dantes_client_asks_a_name_server_through_forwarder_and_gateway() {
    let (gateway, dns) = (gateway(""), targets::dns("wiki.corp.example", "192.0.2.80"));
    let forwarder = Forwarder::start(gateway.address());
    let socksify = Socksify::anonymous(forwarder.address());
    let mut drill = socksify.command(&tool("drill"));
    drill.args(["-p", &dns.address().port().to_string(), "@127.0.0.1", "wiki.corp.example"]);
    let done = run(&mut drill, DEADLINE).succeeded();
    assert!(done.text().contains("IN\tA\t192.0.2.80"), "{done}\n{}", forwarder.log().text());
    gateway.session().expect(&[("command", "udp-associate"), ("cause", "closed")]);
}

#[test]
fn an_association_ends_with_the_gateway() {
    let gateway = gateway(", limits: { idle-timeout: 1s }");
    let forwarder = Forwarder::start(gateway.address());
    let mut association = Association::open(forwarder.address());
    association.control().expect_last(b"");
    forwarder.expect_line(&["closed", "association has ended: gateway hung up"]);
}

#[test]
fn what_the_rules_forbid_is_told_with_the_gateways_code() {
    let policy = "version: 1\nrules:\n  - { name: tcp, action: permit, command: connect }\n";
    let gateway = Setup::new().policy(policy).start();
    let forwarder = Forwarder::start(gateway.address());
    let mut client = Client::connect(forwarder.address());
    client.greet(&[0x00]);
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    assert_eq!(tests::udp::associate(&mut client, nobody).code, 0x02);
    forwarder.expect_line(&["failed", "udp-associate", "not allowed by the ruleset"]);
}

#[test]
fn datagrams_to_a_fake_address_reach_the_name_and_come_back_from_there() {
    let (gateway, echo) = (gateway(", family: v4"), udp_echo(V4));
    let forwarder = Forwarder::naming(gateway.address());
    let fake = SocketAddr::new(forwarder.look_up("localhost").into(), echo.address.port());
    let association = Association::open(forwarder.address());
    for len in SIZES {
        association.expect_echo(&fake.into(), fake, &vec![7; len]);
    }
    association.expect_echo(&echo.address.into(), echo.address, b"by its own address");
}
