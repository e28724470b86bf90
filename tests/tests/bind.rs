//! BIND: who is let in, who is not, what the client is told and what the record tells.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};
use tests::client::{End, name_request, request};
use tests::{Client, DEADLINE, Gateway, Setup, namespace, targets};

/// RFC 1928 section 4: a client that knows no peer names this one.
const ANYBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
const PATIENT: (&str, &str) = ("bind-timeout", "60s");

/// An address of this machine's: 127.0.0.N.
fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

fn named(last: u8) -> SocketAddr {
    SocketAddr::new(loopback(last), 0)
}

fn greeted(gateway: &Gateway) -> Client {
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client
}

/// A client that was told where its peer shall come to.
fn waiting(gateway: &Gateway, peer: SocketAddr) -> (Client, SocketAddr) {
    let mut client = greeted(gateway);
    let reply = client.bind(peer);
    assert_eq!(reply.code, 0x00, "the gateway listens for {peer}");
    (client, reply.bound)
}

/// Comes from an address of this machine's; `Err`: nobody listens.
fn try_come(from: IpAddr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    socket.connect(&to.into())?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(DEADLINE))?;
    Ok(stream)
}

#[track_caller]
fn come(from: IpAddr, to: SocketAddr) -> TcpStream {
    try_come(from, to).unwrap_or_else(|error| panic!("nobody listens on {to}: {error}"))
}

/// Checks that a peer is sent away without a word.
#[track_caller]
fn expect_refused(mut peer: TcpStream) {
    match peer.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("a peer that is not expected is refused, not {other:?}"),
    }
}

/// Receives the second reply, which names the peer, and sends octets both ways to their end.
#[track_caller]
fn expect_tunnel(mut client: Client, mut peer: TcpStream) {
    let reply = client.reply();
    assert_eq!((reply.code, reply.bound), (0x00, peer.local_addr().expect("connected")));
    peer.write_all(b"from the peer").expect("an open tunnel");
    assert_eq!(client.receive(13), b"from the peer");
    client.send(b"from the client");
    client.finish();
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).expect("an end in order");
    assert_eq!(heard, b"from the client");
    drop(peer);
    assert_eq!(client.receive_all(), (Vec::new(), End::Closed));
}

fn policy(rules: &str) -> String {
    format!("version: 1\nrules:\n{rules}")
}

#[test]
fn a_peer_comes_and_the_record_names_it() {
    let gateway = Setup::new().start();
    let (client, told) = waiting(&gateway, named(1));
    assert_eq!(told.ip(), loopback(1));
    let peer = come(loopback(1), told);
    let (own, address) = (client.local(), peer.local_addr().expect("connected"));
    expect_tunnel(client, peer);
    let record = gateway.session_of(own);
    record.expect(&[
        ("command", "bind"),
        ("target", "127.0.0.1:0"),
        ("bound", &told.to_string()),
        ("advertised", ""),
        ("peer", &address.to_string()),
        ("dialled", ""),
        ("rule", "everything"),
        ("verdict", "permit"),
        ("cause", "closed"),
    ]);
    assert_eq!((record.up(), record.down(), record.number("reply")), (15, 13, 0), "{record}");
}

#[test]
fn a_wrong_peer_is_refused_and_the_right_one_still_awaited() {
    let gateway = Setup::new().start();
    let (client, told) = waiting(&gateway, named(2));
    let own = client.local();
    for _ in 0..3 {
        expect_refused(come(loopback(3), told));
    }
    let peer = come(loopback(2), told);
    expect_tunnel(client, peer);
    assert_eq!(gateway.session_of(own).number("refused-peers"), 3);
}

#[test]
fn a_client_that_names_nobody_gets_whom_the_policy_permits() {
    let rules = "  - { name: not-three, action: deny, command: bind, destination: 127.0.0.3 }\n  \
                 - { name: rest, action: permit, command: bind, destination: 127.0.0.0/8, special-use: permit }\n";
    let gateway = Setup::new().policy(&policy(rules)).start();
    let (client, told) = waiting(&gateway, ANYBODY);
    let own = client.local();
    expect_refused(come(loopback(3), told));
    expect_tunnel(client, come(loopback(4), told));
    let record = gateway.session_of(own);
    record.expect(&[("rule", "rest"), ("target", "0.0.0.0:0"), ("cause", "closed")]);
    assert_eq!(record.number("refused-peers"), 1);
}

#[test]
fn a_rule_may_take_another_peer_than_the_named_one() {
    let rules = "  - { name: any, action: permit, special-use: permit, bind: { peer: any } }\n";
    let gateway = Setup::new().policy(&policy(rules)).start();
    let (client, told) = waiting(&gateway, named(2));
    expect_tunnel(client, come(loopback(3), told));
}

#[test]
fn a_peer_must_suit_its_own_rule_as_well_as_the_one_that_lets_the_gateway_listen() {
    let rules = "  - { name: listen, action: permit, command: bind, destination: [127.0.0.2, 127.0.0.4], special-use: permit, bind: { peer: any } }\n  \
                 - { name: strict, action: permit, command: bind, special-use: permit, bind: { peer: named } }\n";
    let gateway = Setup::new().policy(&policy(rules)).start();
    let (client, told) = waiting(&gateway, named(2));
    let own = client.local();
    expect_refused(come(loopback(3), told));
    expect_tunnel(client, come(loopback(4), told));
    let record = gateway.session_of(own);
    record.expect(&[("rule", "listen"), ("cause", "closed")]);
    assert_eq!(record.number("refused-peers"), 1, "{record}");
    // Whoever names nobody has nobody to be measured by.
    let (client, told) = waiting(&gateway, ANYBODY);
    expect_tunnel(client, come(loopback(3), told));
}

#[test]
fn a_peer_that_is_named_by_its_host_name_is_judged_by_it() {
    let rules = "  - { name: by-name, action: permit, command: bind, destination: 'host:localhost', special-use: permit }\n";
    let gateway = Setup::new().policy(&policy(rules)).start();
    let mut client = greeted(&gateway);
    client.send(&name_request(0x02, b"LocalHost.", 21));
    let first = client.reply();
    assert_eq!((first.code, first.bound.ip()), (0x00, loopback(1)), "the family by which the client came");
    expect_refused(come(loopback(2), first.bound));
    let own = client.local();
    expect_tunnel(client, come(loopback(1), first.bound));
    gateway.session_of(own).expect(&[("rule", "by-name"), ("target", "localhost:21"), ("cause", "closed")]);
}

#[test]
fn a_bind_that_no_rule_permits_is_refused_at_once() {
    let rules = "  - { name: out, action: permit, command: connect, special-use: permit }\n  \
                 - { name: one, action: permit, command: bind, destination: 127.0.0.2, special-use: permit }\n";
    let gateway = Setup::new().policy(&policy(rules)).start();
    let mut client = greeted(&gateway);
    client.send(&request(0x02, named(1)));
    client.expect_refusal(0x02);
    gateway.session_of(client.local()).expect(&[
        ("command", "bind"),
        ("cause", "denied-by-default"),
        ("verdict", "deny"),
        ("bound", ""),
    ]);
}

#[test]
fn a_peer_that_does_not_come_in_time_ends_the_wait() {
    let gateway = Setup::new().limit("bind-timeout", "700ms").start();
    let (mut client, told) = waiting(&gateway, named(2));
    expect_refused(come(loopback(3), told));
    client.expect_refusal(0x06);
    assert!(try_come(loopback(2), told).is_err(), "nobody listens any more");
    let record = gateway.session_of(client.local());
    record.expect(&[("cause", "no-peer"), ("verdict", "fail"), ("bound", &told.to_string()), ("peer", "")]);
    assert_eq!((record.number("reply"), record.number("refused-peers")), (6, 1), "{record}");
}

#[test]
fn a_rule_says_how_long_a_peer_is_waited_for() {
    let rules = "  - { name: short, action: permit, special-use: permit, bind: { timeout: 300ms } }\n";
    let gateway = Setup::new().policy(&policy(rules)).limit(PATIENT.0, PATIENT.1).start();
    let (mut client, _) = waiting(&gateway, ANYBODY);
    client.expect_refusal(0x06);
}

#[test]
fn a_client_that_hangs_up_takes_its_listener_along() {
    let gateway = Setup::new().limit(PATIENT.0, PATIENT.1).start();
    for is_reset in [false, true] {
        let (client, told) = waiting(&gateway, ANYBODY);
        let own = client.local();
        if is_reset {
            client.reset();
        } else {
            drop(client);
        }
        gateway.session_of(own).expect(&[("cause", "client-lost"), ("verdict", "fail"), ("peer", "")]);
        assert!(try_come(loopback(1), told).is_err(), "nobody listens any more");
    }
}

#[test]
fn only_one_peer_is_taken() {
    let gateway = Setup::new().start();
    let (mut client, told) = waiting(&gateway, ANYBODY);
    let peer = come(loopback(1), told);
    assert_eq!(client.reply().bound, peer.local_addr().expect("connected"));
    assert!(try_come(loopback(1), told).is_err(), "nobody listens any more");
}

#[test]
fn what_a_client_sends_too_early_reaches_its_peer() {
    let gateway = Setup::new().start();
    let (mut client, told) = waiting(&gateway, ANYBODY);
    // More than the gateway keeps; the rest waits on the way.
    let early: Vec<u8> = (0..40_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    client.send(&early);
    client.finish();
    let mut peer = come(loopback(1), told);
    assert_eq!(client.reply().code, 0x00);
    let mut heard = Vec::new();
    peer.read_to_end(&mut heard).expect("an end in order");
    assert!(heard == early, "{} octets of {}", heard.len(), early.len());
    peer.shutdown(Shutdown::Both).expect("an open tunnel");
}

#[test]
fn a_rules_ports_are_used_up_one_by_one() {
    // A port that was free a moment ago.
    let port = targets::listen().local_addr().expect("a bound listener").port();
    let rules =
        format!("  - {{ name: one-port, action: permit, special-use: permit, bind: {{ ports: {port} }} }}\n");
    let gateway = Setup::new().policy(&policy(&rules)).start();
    let (first, told) = waiting(&gateway, ANYBODY);
    assert_eq!(told.port(), port);
    let mut second = greeted(&gateway);
    second.send(&request(0x02, ANYBODY));
    second.expect_refusal(0x01);
    gateway.session_of(second.local()).expect(&[
        ("cause", "no-free-port"),
        ("verdict", "fail"),
        ("bound", ""),
    ]);
    let own = first.local();
    drop(first);
    gateway.session_of(own);
    waiting(&gateway, ANYBODY);
}

#[test]
fn ports_of_refused_peers_can_be_used_again_at_once() {
    let port = targets::listen().local_addr().expect("a bound listener").port();
    let rules = format!(
        "  - {{ name: one-port, action: permit, special-use: permit, bind: {{ ports: {port}, timeout: 300ms }} }}\n"
    );
    let gateway = Setup::new().policy(&policy(&rules)).start();
    for _ in 0..2 {
        let (mut client, told) = waiting(&gateway, named(2));
        expect_refused(come(loopback(3), told));
        client.expect_refusal(0x06);
    }
}

#[test]
fn a_client_is_told_the_advertised_address_and_the_socket_takes_what_is_sent_there() {
    let gateway = Setup::new().advertise("203.0.113.5").start();
    let (client, told) = waiting(&gateway, ANYBODY);
    assert_eq!(told.ip().to_string(), "203.0.113.5");
    let own = client.local();
    // A translator in front of the gateway would send it to any of its addresses.
    expect_tunnel(client, come(loopback(1), SocketAddr::new(loopback(7), told.port())));
    gateway.session_of(own).expect(&[
        ("bound", &format!("0.0.0.0:{}", told.port())),
        ("advertised", &told.to_string()),
        ("cause", "closed"),
    ]);
}

#[test]
fn without_an_advertised_address_the_socket_takes_only_what_is_sent_to_the_one_told() {
    let gateway = Setup::new().start();
    let (_client, told) = waiting(&gateway, ANYBODY);
    assert!(try_come(loopback(1), SocketAddr::new(loopback(7), told.port())).is_err());
}

#[test]
fn a_rule_with_an_egress_address_listens_there() {
    let rules = "  - { name: five, action: permit, special-use: permit, egress: 127.0.0.5 }\n";
    let gateway = Setup::new().policy(&policy(rules)).start();
    let (client, told) = waiting(&gateway, ANYBODY);
    assert_eq!(told.ip(), loopback(5));
    expect_tunnel(client, come(loopback(1), told));
    let mut other = greeted(&gateway);
    other.send(&request(0x02, SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0)));
    other.expect_refusal(0x03);
}

#[test]
fn an_egress_address_that_the_gateway_does_not_have_is_its_own_trouble() {
    let rules = "  - { name: other, action: permit, special-use: permit, egress: 203.0.113.1 }\n";
    let gateway = Setup::new().policy(&policy(rules)).start();
    let mut client = greeted(&gateway);
    client.send(&request(0x02, ANYBODY));
    client.expect_refusal(0x01);
    gateway.session_of(client.local()).expect(&[("cause", "listen-failed")]);
}

#[test]
fn a_rules_family_is_the_one_that_is_listened_with() {
    let rules = "  - { name: six, action: permit, special-use: permit, family: v6 }\n";
    let gateway = Setup::new().policy(&policy(rules)).listener("'[::1]:0'").start();
    let (client, told) = waiting(&gateway, ANYBODY);
    assert_eq!(told.ip(), IpAddr::from(Ipv6Addr::LOCALHOST));
    expect_tunnel(client, come(told.ip(), told));
    let mut other = greeted(&gateway);
    other.send(&request(0x02, named(1)));
    other.expect_refusal(0x08);
    gateway.session_of(other.local()).expect(&[("cause", "family-not-allowed"), ("rule", "six")]);
}

#[test]
fn peers_of_both_families_come_to_clients_of_both() {
    let six = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0);
    for listener in ["127.0.0.1:0", "'[::1]:0'"] {
        let gateway = Setup::new().listener(listener).start();
        for expected in [named(1), six] {
            let (client, told) = waiting(&gateway, expected);
            assert_eq!(told.ip(), expected.ip(), "through {listener}");
            expect_tunnel(client, come(expected.ip(), told));
        }
    }
}

#[test]
fn a_limit_on_sessions_counts_those_that_wait() {
    let rules = "  - { name: two, action: permit, special-use: permit, limits: { sessions: 1 } }\n";
    let gateway = Setup::new().policy(&policy(rules)).start();
    let (first, told) = waiting(&gateway, ANYBODY);
    let mut second = greeted(&gateway);
    second.send(&request(0x02, ANYBODY));
    second.expect_refusal(0x01);
    let own = first.local();
    expect_tunnel(first, come(loopback(1), told));
    gateway.session_of(own);
    waiting(&gateway, ANYBODY);
}

#[test]
fn a_peer_under_another_rule_takes_a_place_in_that_one() {
    let rules = "  - { name: listen, action: permit, command: bind, destination: 127.0.0.9, special-use: permit, bind: { peer: any } }\n  \
                 - { name: come, action: permit, command: bind, special-use: permit, bind: { peer: any }, limits: { sessions: 1 } }\n";
    let gateway = Setup::new().policy(&policy(rules)).start();
    let (mut first, told) = waiting(&gateway, named(9));
    let peer = come(loopback(2), told);
    assert_eq!(first.reply().code, 0x00);
    let (second, told) = waiting(&gateway, named(9));
    expect_refused(come(loopback(2), told));
    let (own, address) = (first.local(), second.local());
    drop((first, peer));
    gateway.session_of(own).expect(&[("rule", "come")]);
    expect_tunnel(second, come(loopback(2), told));
    gateway.session_of(address).expect(&[("rule", "come"), ("cause", "closed")]);
}

#[test]
fn a_gateway_with_two_networks_tells_the_address_that_the_peer_reaches() {
    if !namespace::inside("a_gateway_with_two_networks_tells_the_address_that_the_peer_reaches") {
        return;
    }
    namespace::two_networks();
    let gateway = Setup::new().listener("10.1.0.1:0").start();
    for (peer, own) in [("10.2.0.2", "10.2.0.1"), ("fd02::2", "fd02::1"), ("10.1.0.2", "10.1.0.1")] {
        let peer: IpAddr = peer.parse().expect("an address");
        let (client, told) = waiting(&gateway, SocketAddr::new(peer, 0));
        assert_eq!(told.ip().to_string(), own, "towards {peer}");
        if peer.is_ipv4() {
            expect_tunnel(client, come(peer, told));
        }
    }
}

#[test]
fn a_gateway_with_two_networks_is_reached_by_its_advertised_address_from_both() {
    if !namespace::inside("a_gateway_with_two_networks_is_reached_by_its_advertised_address_from_both") {
        return;
    }
    namespace::two_networks();
    let gateway = Setup::new().listener("10.1.0.1:0").advertise("10.2.0.1").start();
    for peer in [[10, 1, 0, 2], [10, 2, 0, 2]] {
        let (client, told) = waiting(&gateway, ANYBODY);
        assert_eq!(told.ip().to_string(), "10.2.0.1");
        expect_tunnel(client, come(peer.into(), told));
    }
}

#[test]
fn nobody_gets_to_the_socket_of_another_bind_through_the_gateway() {
    if !namespace::inside("nobody_gets_to_the_socket_of_another_bind_through_the_gateway") {
        return;
    }
    namespace::two_networks();
    let rules = "  - { name: host, action: permit, command: connect, source: 10.1.0.3, special-use: permit }\n  \
                 - { name: all, action: permit }\n";
    let setup = || Setup::new().policy(&policy(rules)).listener("10.1.0.1:0");
    // On one address, and on all of them.
    for (gateway, own) in
        [(setup().start(), [10, 1, 0, 1]), (setup().advertise("203.0.113.5").start(), [10, 2, 0, 1])]
    {
        let (client, told) = waiting(&gateway, ANYBODY);
        let place = SocketAddr::new(own.into(), told.port());
        let mut attacker = greeted(&gateway);
        attacker.send(&request(0x01, place));
        attacker.expect_refusal(0x02);
        gateway.session_of(attacker.local()).expect(&[("cause", "special-use"), ("rule", "all")]);
        expect_tunnel(client, come([10, 1, 0, 2].into(), place));
        // Whom a rule for special addresses lets through is a peer like others.
        let (mut client, told) = waiting(&gateway, ANYBODY);
        let mut friend = Client::connect_from([10, 1, 0, 3].into(), gateway.address());
        friend.open(SocketAddr::new(own.into(), told.port()));
        assert_eq!(client.reply().code, 0x00);
        friend.send(b"met");
        assert_eq!(client.receive(3), b"met");
    }
}
