//! Behind a load balancer: the client is the one that a PROXY header tells, for the policy, the limits and the record.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use tests::rivals::Rival;
use tests::targets::{echo, udp_echo};
use tests::udp::{Association, associate, datagram, expect_nothing, socket};
use tests::{Client, DEADLINE, Gateway, Record, Setup};

/// Where connections have to begin with a header.
const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Permits what comes from 192.0.2.0/24 and 127.0.0.0/29, and nothing else.
const POLICY: &str = "\
version: 1
clients:
  - { source: [192.0.2.0/24, 127.0.0.0/29], methods: [none] }
rules:
  - name: known
    action: permit
    source: [192.0.2.0/24, 127.0.0.0/29]
    command: [connect, udp-associate]
    special-use: permit
";

fn setup() -> Setup {
    Setup::new().policy(POLICY).listener_key("proxy-protocol", "{ from: [127.0.0.9, 127.0.1.0/24] }")
}

fn from_balancer(gateway: &Gateway) -> Client {
    Client::connect_from(BALANCER, gateway.address())
}

fn text(source: &str) -> Vec<u8> {
    format!("PROXY TCP4 {source} 198.51.100.1 40000 1080\r\n").into_bytes()
}

fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("a short body").to_be_bytes();
    [SIGNATURE, &[command, family], &len, body].concat()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Waits until so many refusals of that cause were counted for a source.
#[track_caller]
fn expect_counted(gateway: &Gateway, source: &str, cause: &str) {
    gateway.record(|record: &Record| {
        record.text("event") == "refusals"
            && record.text("source") == source
            && record.0.pointer(&format!("/causes/{cause}")).is_some()
    });
}

/// A connection that is closed without an answer, and counted.
#[track_caller]
fn expect_refused(gateway: &Gateway, mut client: Client, octets: &[u8], (source, cause): (&str, &str)) {
    client.send(octets);
    assert_eq!(client.receive_all().0, b"", "{cause}");
    expect_counted(gateway, source, cause);
}

#[test]
fn the_client_is_the_one_that_the_header_tells() {
    let (gateway, echo) = (setup().start(), echo());
    let v4 = [192, 0, 2, 7, 198, 51, 100, 1, 0x9C, 0x41, 4, 56];
    let mapped = [&[0; 10][..], &[0xFF; 2], &[192, 0, 2, 8], &[0; 15], &[1], &[0x9C, 0x42, 4, 56]].concat();
    let table = [
        (text("192.0.2.7"), "192.0.2.7:40000"),
        (binary(0x21, 0x11, &v4), "192.0.2.7:40001"),
        (binary(0x21, 0x11, &[&v4[..], b"\x02\0\x04host\x04\0\0"].concat()), "192.0.2.7:40001"),
        (binary(0x21, 0x21, &mapped), "192.0.2.8:40002"),
    ];
    for (number, (header, told)) in table.into_iter().enumerate() {
        let mut client = from_balancer(&gateway);
        client.send(&header);
        client.open(echo.address);
        client.expect_echo(b"through");
        let via = client.local().to_string();
        drop(client);
        let records = gateway.sessions(number + 1);
        let record = records.last().unwrap();
        record.expect(&[("client", told), ("via", &via), ("rule", "known"), ("verdict", "permit")]);
    }
}

#[test]
fn a_header_may_come_octet_by_octet_or_with_all_that_follows() {
    let (gateway, echo) = (setup().start(), echo());
    for header in [text("192.0.2.7"), binary(0x21, 0x11, &[192, 0, 2, 7, 198, 51, 100, 1, 1, 2, 4, 56])] {
        let mut client = from_balancer(&gateway);
        for octet in &header {
            client.send(&[*octet]);
        }
        client.open(echo.address);
        client.expect_echo(b"slow");
        let mut client = from_balancer(&gateway);
        let request = tests::client::connect_request(echo.address);
        client.send(&[&header[..], &[5, 1, 0], &request, b"early"].concat());
        assert_eq!(client.receive(2), [5, 0]);
        assert_eq!(client.reply().code, 0);
        assert_eq!(client.receive(5), b"early");
    }
}

#[test]
fn the_policy_sees_the_client_and_not_the_balancer() {
    let gateway = setup().start();
    // No rule permits anything to this one, so nothing is answered at all.
    let mut client = from_balancer(&gateway);
    client.send(&text("203.0.113.7"));
    assert_eq!(client.receive_all().0, b"");
    expect_counted(&gateway, "203.0.113.7", "source-denied");
}

#[test]
fn a_balancer_must_say_for_whom_and_nobody_else_may() {
    let (gateway, echo) = (setup().start(), echo());
    expect_refused(&gateway, from_balancer(&gateway), &[5, 1, 0], ("127.0.0.9", "no-proxy-header"));
    let inside = Client::connect_from(Ipv4Addr::new(127, 0, 1, 77).into(), gateway.address());
    expect_refused(&gateway, inside, b"GET / HTTP/1.1\r\n", ("127.0.1.77", "no-proxy-header"));
    for header in [text("192.0.2.7"), binary(0x21, 0x11, &[1; 12])] {
        let other = Client::connect(gateway.address());
        expect_refused(&gateway, other, &header, ("127.0.0.1", "proxy-header-refused"));
    }
    let warned = |line: &str| (line.contains("WARN") && line.contains("no-proxy-header")).then_some(());
    assert!(gateway.log().find(DEADLINE, warned).is_some(), "the operator hears of it");
    // Others are clients like any.
    let mut client = Client::tunnel(gateway.address(), echo.address);
    client.expect_echo(b"direct");
    let local = client.local();
    drop(client);
    gateway.session_of(local).expect(&[("via", ""), ("verdict", "permit")]);
}

#[test]
fn a_second_header_is_no_greeting() {
    let gateway = setup().start();
    let twice = [text("192.0.2.7"), text("192.0.2.8")].concat();
    expect_refused(&gateway, from_balancer(&gateway), &twice, ("192.0.2.7", "proxy-header-refused"));
}

#[test]
fn headers_that_are_none_are_counted_for_the_balancer() {
    let mut gateway = setup().start();
    let wrong_sum = [&[1; 12][..], b"\x03\0\x04\0\0\0\0"].concat();
    let malformed = [
        b"PROXY TCP4 192.0.2.7\r\n".to_vec(),
        [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
        text("0.0.0.0"),
        binary(0x21, 0x12, &[1; 12]),
        binary(0x21, 0x11, &[1; 11]),
        binary(0x21, 0x11, &[&[1; 12][..], b"\x01\xFF\xFF"].concat()),
        binary(0x21, 0x11, &wrong_sum),
        [SIGNATURE, b"\x21\x11\xFF\xFF"].concat(),
    ];
    for header in malformed {
        let mut client = from_balancer(&gateway);
        client.send(&header);
        assert_eq!(client.receive_all().0, b"", "{}", header.escape_ascii());
    }
    expect_counted(&gateway, "127.0.0.9", "malformed-proxy-header");
    assert!(gateway.is_running());
    assert_eq!(gateway.stop().records.iter().filter(|record| record.is_session()).count(), 0);
}

#[test]
fn a_header_has_the_handshakes_time_and_takes_of_it() {
    let gateway = setup().limit("handshake-timeout", "500ms").start();
    let mut silent = from_balancer(&gateway);
    silent.send(b"PROXY TCP4 192.0.2.7 ");
    assert_eq!(silent.receive_all().0, b"");
    expect_counted(&gateway, "127.0.0.9", "handshake-timeout");
    let mut late = from_balancer(&gateway);
    late.send(&text("192.0.2.7"));
    assert_eq!(late.receive_all().0, b"");
    expect_counted(&gateway, "192.0.2.7", "handshake-timeout");
}

#[test]
fn each_client_is_a_source_and_the_balancer_is_none() {
    let gateway = setup().limit("max-sessions-per-source", "1").start();
    let open = |source: &str| {
        let mut client = from_balancer(&gateway);
        client.send(&text(source));
        assert_eq!(client.greet(&[0]), 0, "{source}");
        client
    };
    let first = open("192.0.2.1");
    let _others = ["192.0.2.2", "192.0.2.3", "192.0.2.4"].map(open);
    let mut second = from_balancer(&gateway);
    second.send(&text("192.0.2.1"));
    assert_eq!(second.receive_all().0, b"");
    expect_counted(&gateway, "192.0.2.1", "too-many-sessions-of-source");
    drop(first);
    gateway.session_of(address("192.0.2.1:40000"));
    // The place is given back right behind the record.
    let until = Instant::now() + DEADLINE;
    let is_open = || {
        let (again, mut answer) = (from_balancer(&gateway), [0; 2]);
        // Whoever is refused may be so before all is said.
        let _ = again.stream().write_all(&[&text("192.0.2.1")[..], &[5, 1, 0]].concat());
        again.stream().read_exact(&mut answer).is_ok()
    };
    while !is_open() {
        assert!(Instant::now() < until, "the place is not given back");
    }
}

#[test]
fn connections_without_a_header_are_few() {
    let gateway = setup().limit("max-pending-headers", "2").start();
    let waiting = [from_balancer(&gateway), from_balancer(&gateway)];
    let mut third = from_balancer(&gateway);
    assert_eq!(third.receive_all().0, b"");
    expect_counted(&gateway, "127.0.0.9", "too-many-pending-headers");
    // Others are not kept out by that, nor is who has said it.
    let mut other = Client::connect(gateway.address());
    assert_eq!(other.greet(&[0]), 0);
    let [mut first, _second] = waiting;
    first.send(&text("192.0.2.7"));
    assert_eq!(first.greet(&[0]), 0);
    let mut fourth = from_balancer(&gateway);
    fourth.send(&text("192.0.2.8"));
    assert_eq!(fourth.greet(&[0]), 0);
}

#[test]
fn a_balancers_own_connection_is_judged_by_its_own_address_and_leaves_no_record() {
    let own = POLICY.replace("127.0.0.0/29", "127.0.0.0/28");
    let (gateway, echo) = (setup().policy(&own).start(), echo());
    for header in [
        binary(0x20, 0, b""),
        binary(0x20, 0x11, &[1; 12]),
        b"PROXY UNKNOWN\r\n".to_vec(),
        binary(0x21, 0, b""),
    ] {
        let mut check = from_balancer(&gateway);
        check.send(&header);
        assert_eq!(check.greet(&[0]), 0);
    }
    expect_counted(&gateway, "127.0.0.9", "client-lost");
    let mut used = from_balancer(&gateway);
    used.send(b"PROXY UNKNOWN\r\n");
    used.open(echo.address);
    let local = used.local();
    drop(used);
    let records = gateway.sessions(1);
    assert_eq!(records.len(), 1, "checks leave none: {records:?}");
    records[0].expect(&[("client", &local.to_string()), ("via", &local.to_string())]);
}

#[test]
fn datagrams_are_taken_from_the_client_that_the_header_tells() {
    let (gateway, echo) = (setup().start(), udp_echo(Ipv4Addr::LOCALHOST.into()));
    let client = Ipv4Addr::new(127, 0, 0, 3);
    let mut control = from_balancer(&gateway);
    control.send(&text(&client.to_string()));
    assert_eq!(control.greet(&[0]), 0);
    let reply = associate(&mut control, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    assert_eq!(reply.code, 0);
    let balancer = socket(BALANCER);
    let target = echo.address.to_string().parse().unwrap();
    balancer.send_to(&datagram(0, &target, b"stolen"), reply.bound).unwrap();
    let association = Association::from_parts(control, socket(client.into()), reply.bound);
    association.expect_echo(&target, echo.address, b"mine");
    expect_nothing(&balancer);
    drop(association);
    let record = gateway.session();
    record.expect(&[("client", "127.0.0.3:40000")]);
    assert_eq!((record.drops("not-the-client"), record.number("datagrams-up")), (1, 1), "{record}");
}

#[test]
fn haproxy_tells_its_clients_and_its_checks_leave_no_record() {
    for send in [
        "send-proxy",
        "send-proxy-v2",
        "send-proxy-v2 proxy-v2-options crc32c,unique-id",
        "send-proxy-v2 proxy-v2-options crc32c check-send-proxy",
    ] {
        let own = POLICY.replace("127.0.0.0/29", "127.0.0.0/28");
        let (gateway, echo) = (setup().policy(&own).start(), echo());
        let balancer = Rival::haproxy(gateway.address(), "127.0.0.9", send);
        expect_counted(&gateway, "127.0.0.9", "client-lost");
        let mut client = Client::connect_from(Ipv4Addr::new(127, 0, 0, 5).into(), balancer.address());
        client.open(echo.address);
        client.expect_echo(&[7; 100_000]);
        let local = client.local();
        drop(client);
        let record = gateway.session_of(local);
        record.expect(&[("rule", "known"), ("verdict", "permit"), ("cause", "closed")]);
        let via = address(record.text("via"));
        assert_eq!(via.ip(), BALANCER, "{send}");
        drop(balancer);
        let stopped = gateway.stop();
        assert_eq!(stopped.records.iter().filter(|record| record.is_session()).count(), 1, "{send}");
    }
}
