//! A method that a stranger wrote: its own binary, its own options, its own protection.

use std::io::{Read, Write};
use std::process::Command;

use socks_core::wire::{Decode, Reply};
use socks_core::{Level, Open, Seal, Sealing};
use tests::client::connect_request;
use tests::{Client, Setup, program, targets};

const OPTIONS: &str = "  - kind: acme-token
    options:
      cipher-key: 42
      tokens:
        - { user: bob, token: open-sesame, groups: [build], valid-hours: 8 }
";

const POLICY: &str = "\
version: 1
clients:
  - methods: [acme-token]
    protection: [confidentiality]
rules:
  - name: builders
    action: permit
    identity: \"group:build\"
    method: acme-token
    protection: confidentiality
    special-use: permit
tests:
  - name: bob gets out
    given: { identity: \"acme-token:bob\", source: 10.0.0.7, groups: [build], method: acme-token, protection: confidentiality, command: connect, destination: \"192.0.2.1:80\" }
    expect: { permit: builders }
";

fn setup() -> Setup {
    Setup::new().program(program::built("acme-token")).auth(OPTIONS).policy(POLICY)
}

/// The client's side of the toy cipher.
struct Toy {
    seal: acme_token::ToySeal,
    open: acme_token::ToyOpen,
}

impl Toy {
    fn new() -> Self {
        Self { seal: acme_token::ToySeal::new(42), open: acme_token::ToyOpen::new(42) }
    }

    fn send(&mut self, client: &Client, octets: &[u8]) {
        let mut buffer = [&[0; 3][..], octets, &[0]].concat();
        let mut message = Sealing { range: 3..3 + octets.len(), buffer: &mut buffer };
        self.seal.seal(&mut message, Level::Confidentiality).expect("it fits");
        let frame = message.range;
        let sealed = buffer.get(frame).expect("the seal keeps within its buffer");
        assert!(octets.len() < 4 || !sealed.windows(octets.len()).any(|part| part == octets));
        client.stream().write_all(sealed).expect("the gateway reads");
    }

    fn receive(&mut self, client: &Client) -> Vec<u8> {
        let mut frame = vec![0; 2];
        client.stream().read_exact(&mut frame).expect("a frame");
        let len = self.open.frame_len(&frame).expect("a frame").expect("its length is there");
        let mut rest = vec![0; len.checked_sub(frame.len()).expect("a length counts itself")];
        client.stream().read_exact(&mut rest).expect("the whole frame");
        frame.append(&mut rest);
        let opened = self.open.open(&mut frame).expect("a frame of the gateway's");
        frame.get(opened.plaintext).expect("the plaintext lies in its frame").to_vec()
    }
}

#[test]
fn its_sessions_stand_in_rule_and_record_and_are_protected() {
    let echo = targets::echo();
    let gateway = setup().start();
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00, 0x80]), 0x80);
    client.send(b"\x01\x0Bopen-sesame");
    assert_eq!(client.receive(2), [0x01, 0x00]);

    let mut toy = Toy::new();
    toy.send(&client, &connect_request(echo.address));
    let reply = Reply::decode(&mut toy.receive(&client).as_slice().into()).unwrap().expect("one frame");
    assert_eq!(reply.code.0, 0x00);
    toy.send(&client, b"hello through the toy");
    assert_eq!(toy.receive(&client), b"hello through the toy");
    let own = client.local();
    drop(client);

    let record = gateway.session_of(own);
    record.expect(&[
        ("method", "acme-token"),
        ("identity", "acme-token:bob"),
        ("protection", "confidentiality"),
        ("rule", "builders"),
        ("verdict", "permit"),
    ]);
    assert_eq!((record.up(), record.down()), (21, 21));
    assert_eq!(record.0["groups"][0], "build");
    assert_eq!(record.0["attributes"]["acme-badge"], "badge of bob");
    assert!(!record.text("valid-until").is_empty(), "{record}");
}

#[test]
fn a_wrong_token_is_refused_and_recorded_without_the_token() {
    let gateway = setup().start();
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x80]), 0x80);
    client.send(b"\x01\x08guessing");
    client.expect_last(&[0x01, 0x01]);
    gateway
        .session_of(client.local())
        .expect(&[("cause", "authentication-refused"), ("method", "acme-token")]);
    let log = gateway.stop().log;
    assert!(!log.contains("guessing"), "{log}");
}

#[test]
fn a_method_without_protection_is_not_offered_where_the_policy_asks_for_some() {
    let gateway = setup().auth(&format!("{OPTIONS}  - kind: none\n")).start();
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0xFF);
}

#[test]
fn explain_knows_its_identities() {
    let folder = setup().write();
    let explain = |group: &[&str]| {
        let mut command = Command::new(program::built("acme-token"));
        command.args(["policy", "explain", "--config"]).arg(folder.file("socksd.yaml"));
        command.args(["--from", "192.0.2.7", "--identity", "acme-token:bob", "--to", "198.51.100.1:80"]);
        command.args(["--protection", "confidentiality"]).args(group);
        tests::command::run(&mut command, tests::DEADLINE).succeeded().text()
    };
    assert!(explain(&["--group", "build"]).contains("permitted by rule `builders`"));
    assert!(explain(&[]).contains("denied"));
    let unknown = explain(&["--groups-missing", "no answer"]);
    assert!(unknown.contains("groups of the identity could not be learned (no answer)"), "{unknown}");
    assert!(unknown.contains("denied"), "{unknown}");
}

#[test]
fn a_mistake_in_its_options_is_shown_with_line_and_column() {
    let folder = setup().auth(&OPTIONS.replace("cipher-key", "cypher-key")).write();
    let mut check = Command::new(program::built("acme-token"));
    check.args(["check", "--config"]).arg(folder.file("socksd.yaml"));
    let finished = tests::command::run(&mut check, tests::DEADLINE);
    assert_eq!(finished.code, Some(78));
    let shown = finished.stderr;
    assert!(shown.contains("socksd.yaml:6:7"), "{shown}");
    assert!(shown.contains("unknown key `cypher-key`") && shown.contains("`cipher-key`?"), "{shown}");
}
