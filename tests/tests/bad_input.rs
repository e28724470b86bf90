//! What a client may send and should not: each mistake has its defined answer, and costs the others nothing.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use tests::client::{End, connect_request, name_request};
use tests::{Client, DEADLINE, Gateway, Setup, targets};

/// A gateway with more patience than a test has: who must wait for another's handshake to time out is too late.
fn gateway() -> Gateway {
    Setup::new().limit("handshake-timeout", "10m").start()
}

/// Short enough to be waited for, long enough for a busy machine to greet in.
const HANDSHAKE: Duration = Duration::from_secs(4);

/// A gateway for tests that wait for the end of its patience.
fn impatient() -> Gateway {
    Setup::new().limit("handshake-timeout", "4s").start()
}

/// Checks that the gateway ended a handshake when its time was over, however busy the machine.
#[track_caller]
fn expect_at_the_deadline(waited: Duration) {
    assert!(waited >= HANDSHAKE && waited < HANDSHAKE + DEADLINE, "{waited:?}");
}

/// Checks that the gateway serves another client without waiting for anything.
#[track_caller]
fn expect_service(gateway: &Gateway) {
    let echo = targets::echo();
    let started = Instant::now();
    Client::tunnel(gateway.address(), echo.address).expect_echo(b"still there?");
    assert!(started.elapsed() < DEADLINE, "another client had to wait: {:?}", started.elapsed());
}

/// Sends octets as the first thing, and gives all that comes back until the end.
#[track_caller]
fn answer_to(gateway: &Gateway, octets: &[u8]) -> Vec<u8> {
    let mut client = Client::connect(gateway.address());
    client.send(octets);
    let (answer, end) = client.receive_all();
    assert_eq!(end, End::Closed, "after {octets:02x?} came {answer:02x?}, and then");
    expect_service(gateway);
    answer
}

/// Greets without authentication and sends the octets as a request, which must be refused with the code.
#[track_caller]
fn expect_refused(gateway: &Gateway, request: &[u8], code: u8) {
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client.send(request);
    client.expect_refusal(code);
    expect_service(gateway);
}

#[test]
fn a_wrong_version_is_closed_without_a_word() {
    let gateway = gateway();
    for version in [0x00, 0x01, 0x06, b'G', 0xFF] {
        assert_eq!(answer_to(&gateway, &[version, 0x01, 0x00]), b"");
    }
}

#[test]
fn socks_4_hears_that_it_is_refused() {
    let gateway = gateway();
    let request = [0x04, 0x01, 0x00, 0x50, 127, 0, 0, 1, 0x00];
    assert_eq!(answer_to(&gateway, &request), [0x00, 0x5B, 0, 0, 0, 0, 0, 0]);
    gateway.record(|record| record.text("event") == "refusals" && record.0["causes"]["socks4"] == 1);
}

#[test]
fn a_greeting_without_methods_is_closed() {
    let gateway = gateway();
    assert_eq!(answer_to(&gateway, &[0x05, 0x00]), b"");
}

#[test]
fn a_greeting_with_255_methods_is_read_whole() {
    let gateway = gateway();
    let mut methods = [0x90; 255];
    methods[254] = 0x00;
    assert_eq!(Client::connect(gateway.address()).greet(&methods), 0x00);
    assert_eq!(Client::connect(gateway.address()).greet(&[0x00; 255]), 0x00);
    expect_service(&gateway);
}

#[test]
fn no_acceptable_method_is_said_and_then_closed() {
    let gateway = gateway();
    for methods in [&[0x02][..], &[0x01, 0x02, 0x80], &[0x7F; 255], &[0xFF]] {
        let mut client = Client::connect(gateway.address());
        assert_eq!(client.greet(methods), 0xFF);
        client.expect_last(b"");
        expect_service(&gateway);
    }
}

/// Clients that have sent parts of a greeting.
fn half_greeted(gateway: &Gateway) -> Vec<Client> {
    let parts = [&b""[..], b"\x05", b"\x05\x02", b"\x05\x02\x00"];
    let clients = parts.map(|part| {
        let mut client = Client::connect(gateway.address());
        client.send(part);
        client
    });
    clients.into()
}

#[test]
fn a_greeting_that_stops_half_way_is_closed_at_the_deadline() {
    let gateway = impatient();
    let started = Instant::now();
    for mut client in half_greeted(&gateway) {
        assert_eq!(client.receive_all().0, b"");
    }
    expect_at_the_deadline(started.elapsed());
}

#[test]
fn handshakes_that_stop_half_way_keep_nobody_waiting() {
    let gateway = gateway();
    let _greeting = half_greeted(&gateway);
    let mut requesting = Client::connect(gateway.address());
    assert_eq!(requesting.greet(&[0x00]), 0x00);
    requesting.send(&[0x05, 0x01, 0x00, 0x03, 0x09, b'l']);
    expect_service(&gateway);
}

#[test]
fn a_request_that_stops_half_way_is_closed_at_the_deadline() {
    let gateway = impatient();
    let started = Instant::now();
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    client.send(&[0x05, 0x01, 0x00, 0x03, 0x09, b'l']);
    assert_eq!(client.receive_all().0, b"");
    expect_at_the_deadline(started.elapsed());
    gateway.session().expect(&[
        ("verdict", "fail"),
        ("cause", "handshake-timeout"),
        ("identity", "anonymous"),
    ]);
}

#[test]
fn one_octet_a_second_does_not_move_the_deadline() {
    let gateway = impatient();
    let started = Instant::now();
    let client = Client::connect(gateway.address());
    let mut octets = [0x05, 0x01, 0x00, 0x05, 0x01, 0x00, 0x01].into_iter();
    client.stream().set_read_timeout(Some(Duration::from_secs(1))).expect("not zero");
    let mut received = Vec::new();
    // The read's own timeout paces the octets; the end of the connection ends the loop.
    loop {
        let mut buffer = [0; 16];
        match client.stream().read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => received.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if let Some(octet) = octets.next() {
                    // The gateway may have closed while we waited.
                    drop(client.stream().write_all(&[octet]));
                }
            }
            Err(_) => break,
        }
    }
    assert!(received.is_empty() || received == [0x05, 0x00], "{received:02x?}");
    expect_at_the_deadline(started.elapsed());
}

#[test]
fn a_greeting_in_single_octets_is_served() {
    let (gateway, echo) = (gateway(), targets::echo());
    let mut client = Client::connect(gateway.address());
    for octet in [0x05, 0x02, 0x01, 0x00] {
        client.send(&[octet]);
    }
    assert_eq!(client.receive(2), [0x05, 0x00]);
    for octet in connect_request(echo.address) {
        client.send(&[octet]);
    }
    assert_eq!(client.reply().code, 0x00);
    client.expect_echo(b"piece by piece");
}

#[test]
fn a_reserved_octet_that_is_not_zero_fails() {
    let gateway = gateway();
    expect_refused(&gateway, &[0x05, 0x01, 0x01, 0x01, 127, 0, 0, 1, 0x00, 0x50], 0x01);
    gateway.record(|record| record.text("cause") == "malformed-request");
}

#[test]
fn another_version_in_the_request_fails() {
    expect_refused(&gateway(), &[0x04, 0x01, 0x00, 0x01, 127, 0, 0, 1, 0x00, 0x50], 0x01);
}

#[test]
fn an_empty_name_names_no_host() {
    expect_refused(&gateway(), &name_request(0x01, b"", 80), 0x04);
}

#[test]
fn names_that_are_no_host_names_name_no_host() {
    let gateway = gateway();
    let names: [&[u8]; 12] = [
        &[b'a'; 255],
        &[b'a'; 64],
        b"..",
        b"a..b",
        b"-a.example",
        b"a b.example",
        b"user@host.example",
        b"host.example:80",
        b"a\0b.example",
        b"\xFF\xFE.example",
        b"a/b",
        b"[::1]",
    ];
    for name in names {
        expect_refused(&gateway, &name_request(0x01, name, 80), 0x04);
    }
    let record = gateway.record(|record| record.text("target").contains("host.example"));
    record.expect(&[("verdict", "fail"), ("cause", "malformed-name")]);
}

#[test]
fn a_long_name_that_could_exist_is_looked_up() {
    let name = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(50), "invalid".into()].join(".");
    expect_refused(&gateway(), &name_request(0x01, name.as_bytes(), 80), 0x04);
}

#[test]
fn an_oddly_spelled_address_in_a_name_is_denied() {
    let (gateway, web) = (gateway(), targets::http());
    for name in ["127.1", "0x7f000001", "2130706433", "0177.0.0.1", "127.0.0.0x1", "127.0.0.1.1", "1"] {
        expect_refused(&gateway, &name_request(0x01, name.as_bytes(), web.address.port()), 0x02);
    }
    assert_eq!(web.accepted(), 0, "connections at the target");
    gateway.record(|record| record.text("verdict") == "deny" && record.text("target").contains("0x7f000001"));
}

#[test]
fn an_address_spelled_in_the_usual_way_in_a_name_is_that_address() {
    let (gateway, echo) = (gateway(), targets::echo());
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    assert_eq!(client.connect_to_name(b"127.0.0.1", echo.address.port()).code, 0x00);
    client.expect_echo(b"hello");
}

#[test]
fn port_zero_fails() {
    let gateway = gateway();
    expect_refused(&gateway, &connect_request(([127, 0, 0, 1], 0).into()), 0x01);
    gateway.record(|record| record.text("cause") == "port-zero");
}

#[test]
fn commands_that_nobody_knows_are_said_so() {
    let gateway = gateway();
    for command in [0x00, 0x04, 0xF0, 0xFF] {
        expect_refused(&gateway, &[0x05, command, 0x00, 0x01, 127, 0, 0, 1, 0x00, 0x50], 0x07);
    }
}

#[test]
fn an_unknown_address_type_is_said_so() {
    let gateway = gateway();
    for kind in [0x00, 0x02, 0x05, 0xFF] {
        expect_refused(&gateway, &[0x05, 0x01, 0x00, kind, 127, 0, 0, 1, 0x00, 0x50], 0x08);
    }
    gateway.record(|record| record.text("cause") == "unknown-address-type");
}

#[test]
fn a_refusal_reaches_a_client_that_has_sent_more_than_its_request() {
    let (gateway, refusing) = (gateway(), targets::Refusing::new());
    for _ in 0..50 {
        let mut client = Client::connect(gateway.address());
        let mut octets = vec![0x05, 0x01, 0x00];
        octets.extend_from_slice(&connect_request(refusing.address));
        octets.extend_from_slice(&[b'x'; 20_000]);
        client.send(&octets);
        assert_eq!(client.receive(2), [0x05, 0x00]);
        // An unread octet in the gateway's socket at its close would turn into a reset and destroy this.
        client.expect_refusal(0x05);
    }
}

#[test]
fn clients_that_never_read_keep_nobody_waiting() {
    let (gateway, source) = (gateway(), targets::source());
    let silent: Vec<_> = (0..32)
        .map(|_| {
            let mut client = Client::connect_narrow(gateway.address());
            client.send(&[0x05, 0x01, 0x00]);
            client.send(&connect_request(source.address));
            client
        })
        .collect();
    expect_service(&gateway);
    drop(silent);
    for record in gateway.sessions(32 + 1) {
        assert_eq!(record.text("verdict"), "permit", "{record}");
    }
}

#[test]
fn a_client_that_reads_an_octet_now_and_then_keeps_nobody_waiting() {
    let (gateway, source) = (gateway(), targets::source());
    let mut slow = Client::connect_narrow(gateway.address());
    slow.open(source.address);
    for _ in 0..3 {
        assert_eq!(slow.receive(1), [0]);
        expect_service(&gateway);
    }
    drop(slow);
    gateway.record(|record| record.text("target") == source.address.to_string());
}

#[test]
fn a_client_that_hangs_up_anywhere_leaves_a_gateway_that_serves() {
    let (gateway, echo) = (gateway(), targets::echo());
    let mut whole = vec![0x05, 0x01, 0x00];
    whole.extend_from_slice(&connect_request(echo.address));
    for cut in 0..=whole.len() {
        let mut ended = Client::connect(gateway.address());
        ended.send(&whole[..cut]);
        drop(ended);
        let mut reset = Client::connect(gateway.address());
        reset.send(&whole[..cut]);
        reset.reset();
    }
    expect_service(&gateway);
}
