//! Whose datagrams are taken: the client's own, and those of whom it has asked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use tests::targets::udp_echo;
use tests::udp::{Association, associate, datagram, expect_nothing, receive, socket};
use tests::{Client, DEADLINE};

use crate::{at, gateway};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn other_address() -> UdpSocket {
    socket(Ipv4Addr::new(127, 0, 0, 2).into())
}

#[test]
fn another_address_cannot_use_an_association_before_or_after_its_first_datagram() {
    let gateway = gateway("");
    let (echo, thief) = (udp_echo(V4), other_address());
    let association = Association::open(gateway.address());
    let stolen = datagram(0, &at(echo.address), b"stolen");
    thief.send_to(&stolen, association.relay()).unwrap();
    association.expect_echo(&at(echo.address), echo.address, b"mine");
    thief.send_to(&stolen, association.relay()).unwrap();
    association.expect_echo(&at(echo.address), echo.address, b"mine again");
    assert_eq!(echo.received(), 2);
    expect_nothing(&thief);
    let record = gateway.session_of(association.end());
    // Once the port is known, the kernel keeps others out, and nobody counts them.
    assert_eq!((record.drops("not-the-client"), record.number("datagrams-up")), (1, 2), "{record}");
}

#[test]
fn another_port_of_the_client_cannot_take_an_association_over() {
    let gateway = gateway("");
    let (echo, thief) = (udp_echo(V4), socket(V4));
    let association = Association::open(gateway.address());
    association.expect_echo(&at(echo.address), echo.address, b"first");
    thief.send_to(&datagram(0, &at(echo.address), b"stolen"), association.relay()).unwrap();
    association.expect_echo(&at(echo.address), echo.address, b"still mine");
    assert_eq!(echo.received(), 2);
    expect_nothing(&thief);
    assert_eq!(gateway.session_of(association.end()).number("datagrams-up"), 2);
}

#[test]
fn what_is_no_datagram_takes_no_port_over() {
    let gateway = gateway("");
    let (echo, thief) = (udp_echo(V4), socket(V4));
    let association = Association::open(gateway.address());
    for octets in
        [&b""[..], &[0], &[0, 0, 0, 1, 127, 0, 0], &[0, 1, 0, 1, 127, 0, 0, 1, 0, 9], &[0, 0, 0, 2, 1]]
    {
        thief.send_to(octets, association.relay()).unwrap();
    }
    association.expect_echo(&at(echo.address), echo.address, b"mine");
    let record = gateway.session_of(association.end());
    assert_eq!(record.drops("malformed"), 5, "{record}");
}

#[test]
fn a_port_that_the_request_names_is_the_only_one() {
    let gateway = gateway("");
    let (echo, thief, own) = (udp_echo(V4), socket(V4), socket(V4));
    for named in [
        own.local_addr().unwrap(),
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, own.local_addr().unwrap().port())),
    ] {
        let mut control = Client::connect(gateway.address());
        control.greet(&[0x00]);
        let reply = associate(&mut control, named);
        assert_eq!(reply.code, 0x00);
        let association = Association::from_parts(control, own.try_clone().unwrap(), reply.bound);
        thief.send_to(&datagram(0, &at(echo.address), b"stolen"), association.relay()).unwrap();
        association.expect_echo(&at(echo.address), echo.address, b"mine");
        let record = gateway.session_of(association.end());
        assert_eq!(
            (record.drops("not-the-client"), record.number("datagrams-up")),
            (1, 1),
            "{named}: {record}"
        );
    }
    assert_eq!(echo.received(), 2);
}

#[test]
fn only_who_was_asked_is_heard() {
    let gateway = gateway("");
    let (asked, stranger) = (socket(V4), socket(V4));
    let association = Association::open(gateway.address());
    association.send(&at(asked.local_addr().unwrap()), b"question");
    let (question, outer) = receive(&asked);
    assert_eq!(question, b"question");
    for spoofer in [&stranger, &other_address()] {
        spoofer.send_to(b"spoofed", outer).unwrap();
    }
    asked.send_to(b"answer", outer).unwrap();
    assert_eq!(association.receive(), (asked.local_addr().unwrap(), b"answer".to_vec()));
    expect_nothing(association.socket());
    let record = gateway.session_of(association.end());
    assert_eq!((record.drops("not-asked-for"), record.number("datagrams-down")), (2, 1), "{record}");
}

#[test]
fn a_rule_can_let_everybody_answer() {
    let gateway = gateway(", udp: { replies: any }");
    let (asked, other) = (socket(V4), other_address());
    let association = Association::open(gateway.address());
    association.send(&at(asked.local_addr().unwrap()), b"question");
    let (_, outer) = receive(&asked);
    other.send_to(b"from elsewhere", outer).unwrap();
    assert_eq!(association.receive(), (other.local_addr().unwrap(), b"from elsewhere".to_vec()));
}

#[test]
fn nothing_goes_to_a_client_that_has_sent_nothing_yet() {
    let gateway = gateway(", udp: { replies: any }");
    let (echo, stranger) = (udp_echo(V4), socket(V4));
    let association = Association::open(gateway.address());
    stranger.send_to(b"before anything", association.relay()).unwrap();
    association.expect_echo(&at(echo.address), echo.address, b"first");
    expect_nothing(association.socket());
}

#[test]
fn the_association_ends_with_its_connection_and_its_port_is_free_then() {
    let gateway = gateway("");
    let echo = udp_echo(V4);
    let mut association = Association::open(gateway.address());
    association.expect_echo(&at(echo.address), echo.address, b"hello");
    // Octets on the control connection mean nothing.
    association.control().send(b"nothing that anybody reads");
    association.expect_echo(&at(echo.address), echo.address, b"hello again");
    let relay = association.relay();
    association.control().finish();
    let (octets, _) = association.control().receive_all();
    assert!(octets.is_empty());
    gateway.session_of(association.client()).expect(&[("cause", "closed")]);
    let until = std::time::Instant::now() + DEADLINE;
    while UdpSocket::bind(relay).is_err() {
        assert!(std::time::Instant::now() < until, "{relay} is still taken");
        std::thread::yield_now();
    }
}

#[test]
fn a_client_that_resets_its_connection_ends_the_association() {
    let gateway = gateway("");
    let mut control = Client::connect(gateway.address());
    control.greet(&[0x00]);
    let reply = associate(&mut control, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    assert_eq!(reply.code, 0x00);
    let client = control.local();
    control.reset();
    gateway.session_of(client).expect(&[("cause", "client-failed"), ("verdict", "permit")]);
}
