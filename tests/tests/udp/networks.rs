//! What loopback cannot show, in a network of the test's own: a gateway with several addresses and its own sockets.

use std::net::SocketAddr;

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
    let mut control = Client::connect_from(client.into(), gateway.address());
    assert_eq!(control.greet(&[0x00]), 0x00, "no authentication is accepted");
    let reply = associate(&mut control, SocketAddr::from(([0, 0, 0, 0], 0)));
    assert_eq!(reply.code, 0x00, "the association is granted");
    Association::from_parts(control, socket(client.into()), reply.bound)
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
