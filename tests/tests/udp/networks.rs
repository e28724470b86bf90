//! What loopback cannot show, in a network of the test's own: a gateway with several addresses and its own sockets.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use socks_core::wire::Target;
use tests::targets::udp_echo;
use tests::udp::{Association, associate, datagram, receive, socket};
use tests::{Client, Gateway, Setup, namespace};

use crate::at;

/// The gateway's address in the first network, where its clients are.
const OWN: [u8; 4] = [10, 1, 0, 1];

/// An association of a client at that address.
#[track_caller]
fn from(client: [u8; 4], gateway: &Gateway) -> Association {
    between(client.into(), gateway.address())
}

/// An association of a client at that address, which comes to one of the gateway's.
#[track_caller]
fn between(client: IpAddr, gateway: SocketAddr) -> Association {
    let mut control = Client::connect_from(client, gateway);
    assert_eq!(control.greet(&[0x00]), 0x00, "no authentication is accepted");
    let reply = associate(&mut control, SocketAddr::from(([0, 0, 0, 0], 0)));
    assert_eq!(reply.code, 0x00, "the association is granted");
    Association::from_parts(control, socket(client), reply.bound)
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A gateway in two networks, where a client on its own host awaits nothing and gets a certain port.
fn guarded(port: u16, keys: &str) -> Gateway {
    let policy = format!(
        "version: 1\nrules:\n  \
         - {{ name: own, action: permit, source: 10.1.0.1, udp: {{ ports: {port} }}{keys} }}\n  \
         - {{ name: others, action: permit{keys} }}\n"
    );
    Setup::new().policy(&policy).listener("10.1.0.1:0").start()
}

/// A datagram within a datagram: what an association would take for its client's, if it came from there.
fn nested(relay: SocketAddr, target: &Target) -> Vec<u8> {
    datagram(0, &at(relay), &datagram(0, target, b"stolen"))
}

#[test]
fn nobody_gets_to_the_socket_of_another_association_through_the_gateway() {
    if !namespace::inside("networks::nobody_gets_to_the_socket_of_another_association_through_the_gateway") {
        return;
    }
    namespace::two_networks();
    let before = socket(OWN.into());
    let relay = before.local_addr().unwrap();
    let gateway = guarded(relay.port(), "");
    let (echo, attacker) = (udp_echo([10, 2, 0, 2].into()), from([10, 1, 0, 2], &gateway));
    // As long as it is nobody's it is an address like any other, and the verdict is remembered.
    attacker.send(&at(relay), b"ordinary");
    assert_eq!(receive(&before).0, b"ordinary");
    drop(before);
    let victim = from(OWN, &gateway);
    assert_eq!(victim.relay(), relay, "the one port of the rule");
    let mapped = SocketAddr::new("::ffff:10.1.0.1".parse().unwrap(), relay.port());
    for spelling in [relay, mapped] {
        attacker.send_raw(&nested(spelling, &at(echo.address)));
    }
    attacker.expect_echo(&at(echo.address), echo.address, b"elsewhere as ever");
    // Had one of them arrived, the port would be the attacker's.
    victim.expect_echo(&at(echo.address), echo.address, b"mine");
    assert_eq!(echo.received(), 2);
    let (own, other) = (victim.end(), attacker.end());
    let record = gateway.session_of(other);
    assert_eq!((record.drops("denied"), record.number("datagrams-up")), (2, 2), "{record}");
    let record = gateway.session_of(own);
    assert_eq!((record.drops("not-the-client"), record.number("datagrams-up")), (0, 1), "{record}");
}

#[test]
fn a_rule_for_special_addresses_leads_to_the_gateways_own_sockets_too() {
    if !namespace::inside("networks::a_rule_for_special_addresses_leads_to_the_gateways_own_sockets_too") {
        return;
    }
    namespace::two_networks();
    let port = socket(OWN.into()).local_addr().unwrap().port();
    let gateway = guarded(port, ", special-use: permit");
    let target = socket([10, 2, 0, 2].into());
    let (victim, attacker) = (from(OWN, &gateway), from([10, 1, 0, 2], &gateway));
    attacker.send_raw(&nested(victim.relay(), &at(target.local_addr().unwrap())));
    assert_eq!(receive(&target).0, b"stolen", "what the rule without the key keeps from happening");
}

#[test]
fn clients_of_every_network_meet_the_gateway_where_they_came_to_and_reach_all_others() {
    if !namespace::inside(
        "networks::clients_of_every_network_meet_the_gateway_where_they_came_to_and_reach_all_others",
    ) {
        return;
    }
    namespace::two_networks();
    let policy = crate::permitting("");
    let gateway = Setup::new().policy(&policy).listener("'[::]:0'").start();
    let targets = ["10.1.0.9", "10.2.0.9"].map(|target| udp_echo(ip(target)));
    for (client, own) in [("10.1.0.2", "10.1.0.1"), ("10.2.0.2", "10.2.0.1"), ("fd02::1", "fd02::1")] {
        let association = between(ip(client), SocketAddr::new(ip(own), gateway.address().port()));
        assert_eq!(association.relay().ip(), ip(own), "what {client} is told");
        let six = udp_echo(ip("fd02::1"));
        for target in targets.iter().chain([&six]) {
            // What comes back comes from where the client sends to: the association sees to that.
            association.expect_echo(&at(target.address), target.address, b"across");
        }
        let record = gateway.session_of(association.end());
        assert_eq!((record.number("datagrams-down"), record.number("destinations")), (3, 3), "{record}");
    }
}

#[test]
fn a_target_sees_the_gateways_address_in_its_own_network_and_no_other_network_gets_a_port() {
    if !namespace::inside(
        "networks::a_target_sees_the_gateways_address_in_its_own_network_and_no_other_network_gets_a_port",
    ) {
        return;
    }
    namespace::two_networks();
    let gateway = Setup::new().listener("10.1.0.1:0").start();
    let association = from([10, 1, 0, 2], &gateway);
    for (target, seen) in [("10.1.0.9", "10.1.0.1"), ("10.2.0.9", "10.2.0.1"), ("fd02::1", "fd02::1")] {
        let target = socket(ip(target));
        association.send(&at(target.local_addr().unwrap()), b"who asks?");
        assert_eq!(receive(&target).1.ip(), ip(seen));
    }
    // The port is free at the other address: nothing of the association's is there.
    let port = association.relay().port();
    UdpSocket::bind((ip("10.2.0.1"), port)).expect("a port that nobody has");
}

#[test]
fn a_client_that_is_told_another_of_the_gateways_addresses_is_answered_from_there() {
    if !namespace::inside(
        "networks::a_client_that_is_told_another_of_the_gateways_addresses_is_answered_from_there",
    ) {
        return;
    }
    namespace::two_networks();
    let gateway = Setup::new().listener("10.1.0.1:0").advertise("10.2.0.1").start();
    let association = from([10, 1, 0, 2], &gateway);
    assert_eq!(association.relay().ip(), ip("10.2.0.1"));
    for target in ["10.1.0.9", "10.2.0.9", "fd02::1"] {
        let echo = udp_echo(ip(target));
        association.expect_echo(&at(echo.address), echo.address, b"by the other address");
    }
    let relay = association.relay().to_string();
    gateway.session_of(association.end()).expect(&[("bound", &relay), ("advertised", "")]);
}

/// An IPv4 address that is not on this machine, and what the translator of `2001:db8:64::/96` has for it.
const FAR: &str = "198.51.100.7";
const BEHIND: &str = "2001:db8:64::c633:6407";

#[test]
fn datagrams_reach_ipv4_by_nat64_and_come_back_from_the_address_that_was_asked_for() {
    if !namespace::inside(
        "networks::datagrams_reach_ipv4_by_nat64_and_come_back_from_the_address_that_was_asked_for",
    ) {
        return;
    }
    namespace::ip(&["address", "add", &format!("{BEHIND}/128"), "dev", "lo", "nodad"]);
    let echo = udp_echo(ip(BEHIND));
    let far = SocketAddr::new(ip(FAR), echo.address.port());
    for family in ["any", "prefer-v6", "v6"] {
        let policy = crate::permitting(&format!(", family: {family}"));
        let gateway = Setup::new().policy(&policy).key("nat64", "2001:db8:64::/96").start();
        let association = Association::open(gateway.address());
        // Whoever asks for both spellings of one address gets the one that was asked for last.
        for asked in [far, far, echo.address, far, echo.address, echo.address, far] {
            association.expect_echo(&at(asked), asked, b"by the translator");
        }
        let record = gateway.session_of(association.end());
        assert_eq!((record.number("datagrams-down"), record.number("destinations")), (7, 1), "{record}");
    }
    // Without a translator, or with a rule for IPv4 alone, there is no way.
    let v4_only = crate::permitting(", family: v4");
    let v4_only = Setup::new().policy(&v4_only).key("nat64", "2001:db8:64::/96");
    for gateway in [v4_only.start(), crate::gateway("")] {
        let near = udp_echo(ip("127.0.0.1"));
        let association = Association::open(gateway.address());
        association.send(&at(far), b"nowhere");
        association.expect_echo(&at(near.address), near.address, b"near");
        let record = gateway.session_of(association.end());
        assert_eq!(record.drops("unreachable"), 1, "{record}");
    }
}

#[test]
fn an_address_with_a_way_of_its_own_gets_datagrams_without_the_translator() {
    if !namespace::inside("networks::an_address_with_a_way_of_its_own_gets_datagrams_without_the_translator")
    {
        return;
    }
    namespace::ip(&["address", "add", &format!("{FAR}/32"), "dev", "lo"]);
    namespace::ip(&["address", "add", &format!("{BEHIND}/128"), "dev", "lo", "nodad"]);
    let direct = socket(ip(FAR));
    let asked = direct.local_addr().unwrap();
    let translated = UdpSocket::bind((ip(BEHIND), asked.port())).expect("a free port");
    translated.set_read_timeout(Some(tests::DEADLINE)).unwrap();
    for (family, target) in [("any", &direct), ("v4", &direct), ("v6", &translated)] {
        let policy = crate::permitting(&format!(", family: {family}"));
        let gateway = Setup::new().policy(&policy).key("nat64", "2001:db8:64::/96").start();
        let association = Association::open(gateway.address());
        association.send(&at(asked), family.as_bytes());
        let (octets, outer) = receive(target);
        assert_eq!(octets, family.as_bytes());
        target.send_to(b"answer", outer).unwrap();
        assert_eq!(association.receive(), (asked, b"answer".to_vec()), "{family}");
    }
}

#[test]
fn an_association_whose_client_has_vanished_without_a_word_ends_and_its_port_is_free() {
    if !namespace::inside(
        "networks::an_association_whose_client_has_vanished_without_a_word_ends_and_its_port_is_free",
    ) {
        return;
    }
    namespace::two_networks();
    let gateway = Setup::new().listener("10.1.0.1:0").limit("udp-idle-timeout", "500ms").start();
    let echo = udp_echo(ip("10.2.0.9"));
    let association = from([10, 1, 0, 2], &gateway);
    association.expect_echo(&at(echo.address), echo.address, b"still here");
    let (relay, client) = (association.relay(), association.client());
    // No packet reaches the client any more, and none of its own says that it ends.
    namespace::ip(&["route", "del", "local", "10.1.0.0/24", "dev", "lo"]);
    namespace::ip(&["route", "add", "blackhole", "10.1.0.0/24"]);
    gateway.session_of(client).expect(&[("cause", "idle-timeout"), ("verdict", "permit")]);
    let until = std::time::Instant::now() + tests::DEADLINE;
    while UdpSocket::bind(relay).is_err() {
        assert!(std::time::Instant::now() < until, "{relay} is still taken");
        std::thread::yield_now();
    }
}
