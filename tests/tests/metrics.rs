//! What a Prometheus finds, and whether the dashboard and the alerts that ship look for that.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

use krb_testenv::Realm;
use serde_json::Value;
use tests::targets::udp_echo;
use tests::udp::Association;
use tests::{Client, DEADLINE, Folder, Gateway, Setup, command, program, targets};

fn scrape(gateway: &Gateway) -> String {
    let mut socket = UnixStream::connect(gateway.folder().file("admin.sock")).expect("the admin socket");
    socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    socket.write_all(request.as_bytes()).expect("the gateway listens");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.to_lowercase().contains("application/openmetrics-text; version=1.0.0"), "{head}");
    assert!(body.ends_with("# EOF\n"), "{body}");
    body.to_owned()
}

/// A gateway of which each metric has something to tell, and what it tells.
fn told() -> String {
    let policy = "version: 1\nrules:\n  - { name: no-mail, action: deny, port: 25 }\n  - { name: rest, action: permit, special-use: permit }\n";
    let gateway = Setup::new().policy(policy).key("admin", "{ socket: admin.sock }").start();
    let echo = targets::echo();
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    tunnel.expect_echo(b"hello");
    drop(tunnel);
    let mut denied = Client::connect(gateway.address());
    assert_eq!(denied.greet(&[0x00]), 0x00);
    assert_eq!(denied.connect_to(([192, 0, 2, 1], 25).into()).code, 0x02);
    gateway.sessions(2);
    let _open = Client::tunnel(gateway.address(), echo.address);
    scrape(&gateway)
}

/// The same of a gateway with Kerberos, to which somebody has sent what is no ticket.
fn told_with_kerberos() -> String {
    let realm = Realm::builder("EXAMPLE.TEST").service("socks/localhost").start().expect("a realm");
    let folder = Folder::new();
    let keytab = folder.file("socks.keytab");
    realm.keytab(&["socks/localhost"], &keytab).expect("the service is there");
    let auth = format!("  - kind: gssapi\n    options: {{ keytab: {} }}\n", keytab.display());
    let setup = Setup::new().auth(&auth).key("admin", "{ socket: admin.sock }");
    let gateway = setup.environment(realm.server_env(&keytab).iter()).start();
    let mut odd = Client::connect(gateway.address());
    assert_eq!(odd.greet(&[0x01]), 0x01);
    odd.send(b"\x01\x01\x00\x04none");
    odd.expect_last(&[0x01, 0xFF]);
    scrape(&gateway)
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "`{line}` is missing in\n{text}");
}

#[test]
fn a_scrape_tells_what_has_happened() {
    let text = told();
    has(&text, r#"socksd_sessions_ended_total{verdict="permit",cause="closed",method="none"} 1"#);
    has(&text, r#"socksd_rule_sessions_total{rule="no-mail",verdict="deny"} 1"#);
    has(&text, r#"socksd_sessions{stage="open"} 1"#);
    has(&text, r#"socksd_relayed_octets_total{direction="up"} 5"#);
    has(&text, "socksd_handshake_seconds_count 3");
    has(&text, "socksd_connect_seconds_count 2");
    has(&text, "socksd_ready 1");
    has(&text, "socksd_policy_generation 1");
}

#[test]
fn what_open_sessions_have_moved_counts_and_counts_once() {
    let gateway = Setup::new().key("admin", "{ socket: admin.sock }").start();
    let (echo, datagrams) = (targets::echo(), udp_echo(Ipv4Addr::LOCALHOST.into()));
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    let association = Association::open(gateway.address());
    let expect = |up: u64, down: u64| {
        let (until, mut last) = (Instant::now() + DEADLINE, String::new());
        let both = [("up", up), ("down", down)];
        let lines = both.map(|(way, octets)| {
            [
                format!(r#"socksd_relayed_octets_total{{direction="{way}"}} {octets}"#),
                format!(r#"socksd_datagrams_total{{direction="{way}"}} 1"#),
            ]
        });
        // An octet is counted a moment after it has come.
        while !lines.as_flattened().iter().all(|line| last.lines().any(|found| found == line)) {
            assert!(Instant::now() < until, "{lines:?} are missing in\n{last}");
            last = scrape(&gateway);
        }
    };
    association.expect_echo(&datagrams.address.into(), datagrams.address, b"asked");
    for round in 1..4 {
        tunnel.expect_echo(b"more");
        expect(5 + 4 * round, 5 + 4 * round);
    }
    let local = tunnel.local();
    drop(tunnel);
    gateway.session_of(local);
    gateway.session_of(association.end());
    expect(17, 17);
}

#[test]
fn refused_tickets_are_counted_by_their_cause() {
    let text = told_with_kerberos();
    let counted =
        |line: &&str| line.starts_with(r#"socksd_authentication_failures_total{authenticator="gssapi""#);
    let lines: Vec<&str> = text.lines().filter(counted).collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert!(lines[0].ends_with("} 1"), "{lines:?}");
}

/// The metrics' names in a page or an expression, without what a histogram or a counter adds.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    let own = words.filter(|word| word.starts_with("socksd_"));
    own.map(|word| {
        let suffix =
            ["_total", "_bucket", "_sum", "_count", "_info"].into_iter().find(|end| word.ends_with(end));
        word.strip_suffix(suffix.unwrap_or_default()).unwrap_or(word).to_owned()
    })
    .collect()
}

/// The metrics that gateways have.
fn all() -> BTreeSet<String> {
    found(&told()).union(&found(&told_with_kerberos())).cloned().collect()
}

/// The metrics that are looked for and that no gateway has.
fn missing(expressions: &str) -> Vec<String> {
    names(expressions).difference(&all()).cloned().collect()
}

/// The metrics that a scrape has.
fn found(scrape: &str) -> BTreeSet<String> {
    let types = scrape.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn the_page_describes_every_metric_and_no_other() {
    let page = fs::read_to_string(program::workspace().join("docs/metrics.md")).expect("the page");
    let table: String = page.lines().filter(|line| line.starts_with("| `socksd_")).collect();
    let first: String = table.split("| ").filter(|cell| cell.starts_with("`socksd_")).collect();
    assert_eq!(names(&first), all());
}

#[test]
fn the_alerts_ring_when_they_should_and_look_for_what_is_there() {
    let folder = program::workspace().join("deploy/prometheus");
    let promtool = |words: &[&str]| {
        let mut tool = Command::new(command::tool("promtool"));
        command::run(tool.args(words).current_dir(&folder), DEADLINE).succeeded()
    };
    promtool(&["check", "rules", "socksd.rules.yaml"]);
    promtool(&["test", "rules", "socksd.rules.test.yaml"]);
    let rules = fs::read_to_string(folder.join("socksd.rules.yaml")).expect("the rules");
    let expressions: String = rules.lines().filter(|line| line.contains("expr: ")).collect();
    assert_eq!(missing(&expressions), Vec::<String>::new());
    let alerts = rules.matches("- alert: ").count();
    let tested = fs::read_to_string(folder.join("socksd.rules.test.yaml")).expect("the tests");
    for alert in rules.split("- alert: ").skip(1).filter_map(|rest| rest.lines().next()) {
        assert!(tested.contains(alert), "nothing tests {alert}, one of {alerts}");
    }
}

#[test]
fn every_expression_of_the_dashboard_is_one_and_looks_for_what_is_there() {
    let path = program::workspace().join("deploy/grafana/socksd.json");
    let dashboard: Value =
        serde_json::from_str(&fs::read_to_string(path).expect("the dashboard")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let expressions: Vec<&str> =
        targets.map(|target| target["expr"].as_str().expect("an expression")).collect();
    assert!(expressions.len() > 10);
    // A rules file with each as a rule of its own: promtool reads them as Prometheus does.
    let plain = |expression: &str| expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
    let rules: String = expressions
        .iter()
        .enumerate()
        .map(|(number, expression)| {
            let text = Value::from(plain(expression));
            format!("      - {{ record: \"dashboard:{number}\", expr: {text} }}\n")
        })
        .collect();
    let folder = Folder::new();
    let file = folder.write("rules.yaml", &format!("groups:\n  - name: dashboard\n    rules:\n{rules}"));
    let mut tool = Command::new(command::tool("promtool"));
    command::run(tool.args(["check", "rules"]).arg(file), DEADLINE).succeeded();
    assert_eq!(missing(&expressions.concat()), Vec::<String>::new());
}
