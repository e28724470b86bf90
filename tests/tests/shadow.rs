//! A second policy beside the one in force: what it would have decided otherwise is told everywhere, and does nothing.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};
use socks_core::wire::Target;
use tests::audit::Record;
use tests::udp::Association;
use tests::{Client, DEADLINE, Gateway, Setup, targets};

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const LIVE: &str = "\
version: 1
rules:
  - { name: no-mail, action: deny, port: 25 }
  - { name: bind, action: permit, command: [bind], special-use: permit }
  - { name: rest, action: permit, special-use: permit }
";

/// Denies what goes to the port, and permits mail.
fn next(port: u16) -> String {
    format!(
        "version: 1\nclients:\n  - methods: [none]\nrules:\n  - {{ name: no-echo, action: deny, port: {port} }}\n  \
         - {{ name: all, action: permit, special-use: permit }}\n"
    )
}

/// A gateway with that shadow policy.
fn beside(next: &str) -> Gateway {
    let setup = Setup::new().policy(LIVE).key("admin", "{ socket: admin.sock }");
    setup.key("shadow-policy", "next.yaml").start_with(|folder| drop(folder.write("next.yaml", next)))
}

fn get(gateway: &Gateway, path: &str) -> String {
    let mut socket = UnixStream::connect(gateway.folder().file("admin.sock")).expect("the admin socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("the gateway listens");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer in text");
    answer.split_once("\r\n\r\n").expect("a head and a body").1.to_owned()
}

fn report(gateway: &Gateway) -> Value {
    serde_json::from_str(&get(gateway, "/api/shadow")).expect("JSON")
}

/// Asks to connect there and gives the reply code.
fn ask(gateway: &Gateway, target: SocketAddr) -> (u8, SocketAddr) {
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    (client.connect_to(target).code, client.local())
}

fn differences(record: &Record) -> Value {
    record.0.get("shadow").cloned().unwrap_or_default()
}

#[test]
fn a_shadow_policy_changes_nothing_and_tells_what_it_would_have() {
    let echo = targets::echo();
    let gateway = beside(&next(echo.address.port()));

    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    tunnel.expect_echo(b"as before");
    let permitted = tunnel.local();
    drop(tunnel);
    let (code, denied) = ask(&gateway, ([192, 0, 2, 1], 25).into());
    assert_eq!(code, 0x02, "the policy in force decides");

    let found = json!([{"kind": "would-deny", "live-rule": "rest", "shadow-rule": "no-echo", "shadow-reason": "rule"}]);
    assert_eq!(differences(&gateway.session_of(permitted)), found);
    let found = json!([{"kind": "would-permit", "live-rule": "no-mail", "live-reason": "rule", "shadow-rule": "all"}]);
    assert_eq!(differences(&gateway.session_of(denied)), found);

    let report = report(&gateway);
    assert_eq!(
        (&report["configured"], &report["rules"], &report["policy"]),
        (&true.into(), &2.into(), &1.into())
    );
    assert_eq!(
        report["counts"],
        json!({"other-rule": 0, "undecided": 0, "would-deny": 1, "would-permit": 1})
    );
    let examples = report["examples"].as_array().expect("a list");
    let [last, first] = &examples[..] else { panic!("{report}") };
    assert_eq!((&last["client"], &last["target"]), (&denied.to_string().into(), &"192.0.2.1:25".into()));
    assert_eq!((&first["identity"], &first["operation"]), (&"anonymous".into(), &"connect".into()));
    let metrics = get(&gateway, "/metrics");
    for line in [
        "socksd_shadow_differences_total{kind=\"would-deny\"} 1",
        "socksd_shadow_rules 2",
        "socksd_shadow_failed 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    let shown = gateway.command(&["shadow"]).succeeded().text();
    for words in [
        "next.yaml with 2 rules",
        "would-deny 1, would-permit 1",
        "no-mail",
        "anonymous",
        "connect 192.0.2.1:25",
    ] {
        assert!(shown.contains(words), "{words} in\n{shown}");
    }
    let explain = ["policy", "explain", "--from", "127.0.0.1", "--to", "192.0.2.1:25"];
    assert!(gateway.command(&explain).succeeded().text().contains("rule `no-mail` denies"));
    let shadow = [&explain[..], &["--shadow"]].concat();
    assert!(gateway.command(&shadow).succeeded().text().contains("permitted by rule `all`"));
}

#[test]
fn the_peer_of_a_bind_and_open_sessions_after_a_reload_are_compared_too() {
    let echo = targets::echo();
    let gateway = beside(&next(1));
    let mut client = Client::connect(gateway.address());
    assert_eq!(client.greet(&[0x00]), 0x00);
    let listening = client.bind(([0, 0, 0, 0], 0).into());
    assert_eq!(listening.code, 0x00);
    let peer = std::net::TcpStream::connect(listening.bound).expect("the gateway listens");
    assert_eq!(client.reply().code, 0x00);
    let local = client.local();
    drop((client, peer));
    let found = json!([{"kind": "other-rule", "live-rule": "bind", "shadow-rule": "all"}]);
    assert_eq!(differences(&gateway.session_of(local)), found, "listening and the peer are one difference");

    let mut open = Client::tunnel(gateway.address(), echo.address);
    let before = report(&gateway);
    gateway.folder().write("next.yaml", &next(echo.address.port()));
    assert_eq!(gateway.command(&["reload"]).code, Some(0));
    open.expect_echo(b"still open");
    let after = report(&gateway);
    assert_ne!(before["since"], after["since"], "it begins anew");
    assert_eq!(after["counts"]["would-deny"], 1, "the open session was judged again: {after}");
    let local = open.local();
    drop(open);
    let kinds: Vec<Value> = differences(&gateway.session_of(local))
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| it["kind"].clone())
        .collect();
    assert_eq!(kinds, ["other-rule", "would-deny"]);
}

#[test]
fn each_destination_of_an_association_is_compared_and_counts_once() {
    let (echo, other) = (targets::udp_echo(V4), targets::udp_echo(V4));
    let gateway = beside(&next(echo.address.port()));
    let association = Association::open(gateway.address());
    for target in [echo.address, echo.address, other.address] {
        association.expect_echo(&Target::from(target), target, b"carried all the same");
    }
    let found = differences(&gateway.session_of(association.end()));
    let rules = |difference: &Value| (difference["kind"].clone(), difference["shadow-rule"].clone());
    let found: Vec<_> = found.as_array().expect("a list").iter().map(rules).collect();
    assert_eq!(found, [("other-rule".into(), "all".into()), ("would-deny".into(), "no-echo".into())]);
    assert_eq!(report(&gateway)["counts"]["would-deny"], 1);
}

#[test]
fn without_one_there_is_nothing_to_tell_and_a_bad_one_refuses_the_reload() {
    let gateway = Setup::new().key("admin", "{ socket: admin.sock }").start();
    assert_eq!(report(&gateway)["configured"], false);
    let none = gateway.command(&["shadow"]);
    assert_eq!((none.code, none.stderr.contains("no `shadow-policy` is configured")), (Some(1), true));
    assert_eq!(
        gateway.command(&["policy", "explain", "--from", "::1", "--to", "a.example:1", "--shadow"]).code,
        Some(64)
    );

    let gateway = beside(&next(1));
    let failing = next(1)
        + "tests:\n  - { name: mail, given: { source: 10.0.0.1, destination: '192.0.2.1:25' }, expect: { deny: no-echo } }\n";
    for (bad, words) in [(next(1) + "colour: blue\n", "unknown key `colour`"), (failing, "mail")] {
        gateway.folder().write("next.yaml", &bad);
        let refused = gateway.command(&["reload"]);
        assert_eq!(refused.code, Some(78));
        assert!(
            refused.stderr.contains("next.yaml:") && refused.stderr.contains(words),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(report(&gateway)["policy"], 1, "nothing has changed");
}
