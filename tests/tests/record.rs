//! What a session leaves behind: one record, whatever ended it, and never a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use rustix::process::Signal;
use tests::client::{connect_request, name_request};
use tests::{Client, DEADLINE, Record, Setup, targets};

const POLICY: &str = "\
version: 1
rules:
  - name: no-mail
    action: deny
    port: 25
  - name: rest
    action: permit
    special-use: permit
";

/// How many end records each client has left.
fn counts(records: &[Record]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for record in records.iter().filter(|record| record.is_session()) {
        *counts.entry(record.text("client")).or_default() += 1;
    }
    counts
}

fn greeted(gateway: SocketAddr) -> Client {
    let mut client = Client::connect(gateway);
    assert_eq!(client.greet(&[0x00]), 0x00);
    client
}

/// Clients by their address, and the cause that the record of each must give.
#[derive(Default)]
struct Expected(BTreeMap<String, &'static str>);

impl Expected {
    fn expect(&mut self, client: &Client, cause: &'static str) {
        self.0.insert(client.local().to_string(), cause);
    }

    /// Checks that each client has exactly one record, with its cause, and that there are no others.
    #[track_caller]
    fn check(&self, records: &[Record]) {
        for (client, cause) in &self.0 {
            let of_client: Vec<_> =
                records.iter().filter(|record| record.text("client") == *client).collect();
            let causes: Vec<_> = of_client.iter().map(|record| record.text("cause")).collect();
            assert_eq!(causes, [*cause], "the records of {client}: {of_client:#?}");
        }
        assert_eq!(counts(records).values().sum::<usize>(), self.0.len());
        let sessions = records.iter().filter(|record| record.is_session());
        let ids: BTreeSet<_> = sessions.map(|record| record.text("session")).collect();
        assert_eq!(ids.len(), self.0.len(), "no two sessions share an id");
    }
}

/// Sessions that end before anything is relayed.
fn end_in_the_handshake(gateway: SocketAddr, refusing: SocketAddr, expected: &mut Expected) {
    let mut denied = greeted(gateway);
    denied.send(&connect_request(([127, 0, 0, 1], 25).into()));
    denied.expect_refusal(0x02);
    expected.expect(&denied, "denied");

    let mut refused = greeted(gateway);
    refused.send(&connect_request(refusing));
    refused.expect_refusal(0x05);
    expected.expect(&refused, "connection-refused");

    let mut unknown = greeted(gateway);
    unknown.send(&name_request(0x09, b"localhost", 80));
    unknown.expect_refusal(0x07);
    expected.expect(&unknown, "unknown-command");

    let lost = greeted(gateway);
    expected.expect(&lost, "client-lost");
}

/// Tunnels that one of their ends closes.
fn end_a_tunnel(gateway: SocketAddr, echo: SocketAddr, resetting: SocketAddr, expected: &mut Expected) {
    let closed = Client::tunnel(gateway, echo);
    expected.expect(&closed, "closed");
    drop(closed);

    let reset = Client::tunnel(gateway, echo);
    expected.expect(&reset, "client-failed");
    reset.reset();

    let mut cut = Client::tunnel(gateway, resetting);
    cut.send(b"x");
    cut.receive_all();
    expected.expect(&cut, "target-failed");
}

#[test]
fn every_ending_leaves_exactly_one_record() {
    let gateway = Setup::new().policy(POLICY).start();
    let (echo, refusing, resetting) = (targets::echo(), targets::Refusing::new(), targets::resetting());
    let mut expected = Expected::default();
    end_in_the_handshake(gateway.address(), refusing.address, &mut expected);
    end_a_tunnel(gateway.address(), echo.address, resetting.address, &mut expected);
    gateway.sessions(7);

    let mut relaying = Client::tunnel(gateway.address(), echo.address);
    relaying.expect_echo(b"in the middle of something");
    expected.expect(&relaying, "gateway-stopped");
    let greeted = greeted(gateway.address());
    expected.expect(&greeted, "gateway-stopped");

    let stopped = gateway.stop();
    assert_eq!(stopped.code, Some(0), "{}", stopped.log);
    expected.check(&stopped.records);
}

#[test]
fn a_handshake_that_takes_too_long_leaves_exactly_one_record() {
    let gateway = Setup::new().limit("handshake-timeout", "4s").start();
    let mut expected = Expected::default();
    let late = greeted(gateway.address());
    expected.expect(&late, "handshake-timeout");
    gateway.session_of(late.local());
    expected.check(&gateway.stop().records);
}

#[test]
fn a_tunnel_that_idles_too_long_leaves_exactly_one_record() {
    let (gateway, echo) = (Setup::new().limit("idle-timeout", "1s").start(), targets::echo());
    let mut expected = Expected::default();
    let idle = Client::tunnel(gateway.address(), echo.address);
    expected.expect(&idle, "idle-timeout");
    gateway.session_of(idle.local());
    expected.check(&gateway.stop().records);
}

#[test]
fn many_sessions_at_the_moment_of_a_stop_have_their_records() {
    let (gateway, echo) = (Setup::new().start(), targets::echo());
    let clients: Vec<_> = (0..300).map(|_| Client::tunnel(gateway.address(), echo.address)).collect();
    let stopped = gateway.stop();
    let counts = counts(&stopped.records);
    assert_eq!(counts.len(), clients.len());
    for client in &clients {
        assert_eq!(counts.get(client.local().to_string().as_str()), Some(&1));
    }
}

#[test]
fn the_log_says_the_same_as_the_audit_file() {
    let (gateway, echo) = (Setup::new().start(), targets::echo());
    let mut client = Client::tunnel(gateway.address(), echo.address);
    client.expect_echo(b"hello");
    let address = client.local().to_string();
    drop(client);
    let record = gateway.session();
    let line = gateway.log().find(DEADLINE, |line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        (event["message"] == "session").then_some(event)
    });
    let line = line.expect("one event for the session");
    for field in
        ["session", "method", "identity", "protection", "target", "rule", "verdict", "cause", "up", "down"]
    {
        assert_eq!(line[field], record.0[field], "field `{field}` of {line}");
    }
    assert_eq!(line["client"], address);
    assert_eq!((record.up(), record.down()), (5, 5));
}

#[test]
fn an_interrupt_ends_the_gateway_as_a_stop_does() {
    let mut gateway = Setup::new().start();
    gateway.signal(Signal::INT);
    assert!(gateway.log().wait_for_end(DEADLINE));
    while gateway.is_running() {
        std::thread::yield_now();
    }
    assert!(!targets::is_open(gateway.address()));
}

#[test]
fn a_scan_leaves_counts_instead_of_records() {
    let gateway = Setup::new().start();
    for _ in 0..200 {
        let mut client = Client::connect(gateway.address());
        assert_eq!(client.greet(&[0x02]), 0xFF);
    }
    let stopped = gateway.stop();
    let refusals: Vec<_> =
        stopped.records.iter().filter(|record| record.text("event") == "refusals").collect();
    let counted: u64 = refusals.iter().map(|record| record.number("count")).sum();
    assert_eq!(counted, 200);
    assert!(refusals.len() < 100, "{} lines for one source", refusals.len());
    assert!(counts(&stopped.records).is_empty());
}

#[test]
fn no_password_stands_in_log_or_record_at_any_level() {
    let passwords = ["right-horse-battery", "wrong-horse-battery"];
    let gateway = Setup::new().user("alice", passwords[0]).level("trace").start();
    let echo = targets::echo();
    for password in passwords {
        for name in ["alice", "nobody-here"] {
            let mut client = Client::connect(gateway.address());
            assert_eq!(client.greet(&[0x02]), 0x02);
            let granted = client.login(name, password) == 0x00;
            assert_eq!(granted, name == "alice" && password == passwords[0], "{name}");
            if granted {
                assert_eq!(client.connect_to(echo.address).code, 0x00);
                client.expect_echo(b"hello");
            }
        }
    }
    let mut cut = Client::connect(gateway.address());
    cut.send(b"\x05\x01\x02\x01\x05alice\x13right-horse-batter");
    drop(cut);
    let mut broken = Client::connect(gateway.address());
    broken.send(b"\x05\x01\x02\x07\x05alice\x13right-horse-battery");
    broken.receive_all();
    gateway.sessions(4);
    let stopped = gateway.stop();
    assert!(stopped.log.contains("alice"), "the log speaks of the sessions at all");
    let audit: String = stopped.records.iter().map(ToString::to_string).collect();
    for secret in ["horse", "battery"] {
        let octets = secret.as_bytes();
        let decimal = octets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        for form in [secret.to_owned(), decimal, hex.clone(), hex.to_uppercase()] {
            assert!(!stopped.log.contains(&form), "`{form}` stands in the log");
            assert!(!audit.contains(&form), "`{form}` stands in the audit file");
        }
    }
}

#[test]
fn rules_that_only_log_are_named_in_the_record_and_decide_nothing() {
    let echo = targets::echo();
    let port = echo.address.port();
    let policy = format!(
        "version: 1\nrules:\n  - {{ name: seen, action: log-only, port: {port} }}\n  \
         - {{ name: other, action: log-only, port: 1 }}\n  - {{ name: no-1, action: deny, port: 1 }}\n  \
         - {{ name: rest, action: permit, special-use: permit }}\n"
    );
    let gateway = Setup::new().policy(&policy).start();
    let mut client = Client::tunnel(gateway.address(), echo.address);
    client.expect_echo(b"seen");
    let local = client.local();
    drop(client);
    let record = gateway.session_of(local);
    assert_eq!(record.0["logged-by"], serde_json::json!(["seen"]), "{record}");
    record.expect(&[("rule", "rest"), ("verdict", "permit")]);
    let mut denied = greeted(gateway.address());
    denied.send(&connect_request("127.0.0.1:1".parse().expect("an address")));
    denied.expect_refusal(0x02);
    let record = gateway.session_of(denied.local());
    assert_eq!(record.0["logged-by"], serde_json::json!(["other"]), "{record}");
}
