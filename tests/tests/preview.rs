//! What a reload would change, asked of the real gateway before anything does.

use std::net::TcpListener;

use serde_json::Value;
use tests::audit::Record;
use tests::targets::echo;
use tests::{Client, Gateway, Setup, command, program};

const ADMIN: &str = "{ socket: admin.sock }";
/// One rule for each of three ports, and what becomes of its sessions.
const POLICY: &str = "\
version: 1
sets:
  ports: { first: [FIRST], second: [SECOND] }
rules:
  - { name: first, action: permit, port: first, special-use: permit, on-revoke: close }
  - { name: second, action: permit, port: second, special-use: permit, on-revoke: drain 45s }
  - { name: rest, action: permit, special-use: permit }
";

fn preview(gateway: &Gateway) -> (Option<i32>, Value) {
    let finished = gateway.command(&["reload", "--preview", "--json"]);
    let answer =
        serde_json::from_slice(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"));
    (finished.code, answer)
}

/// The changes of a section, each as its JSON text.
fn section(preview: &Value, name: &str) -> Vec<String> {
    let sections = preview["sections"].as_array().expect("sections");
    let found = sections.iter().find(|section| section["section"] == name);
    let changes = found.map(|section| section["changes"].as_array().expect("changes"));
    changes.into_iter().flatten().map(ToString::to_string).collect()
}

#[test]
fn it_tells_what_would_become_of_rules_and_sessions_and_changes_nothing() {
    let (first, second, third) = (echo(), echo(), echo());
    let policy = POLICY.replace("FIRST", &first.address.port().to_string());
    let policy = policy.replace("SECOND", &second.address.port().to_string());
    let gateway = Setup::new().policy(&policy).key("admin", ADMIN).start();
    let (code, same) = preview(&gateway);
    assert_eq!((code, same["sections"].as_array().map(Vec::len)), (Some(0), Some(0)), "{same}");

    let mut tunnels =
        [&first, &second, &third].map(|target| Client::tunnel(gateway.address(), target.address));
    tunnels.iter_mut().for_each(|tunnel| tunnel.expect_echo(b"open"));
    gateway.edit("policy.yaml", "port: first,", "port: 9,");
    gateway.edit("policy.yaml", "  - { name: second,", "  - { name: second, destination: 192.0.2.0/24,");
    let rest =
        format!("{{ name: left, action: permit, port: {}, special-use: permit }}", third.address.port());
    gateway.edit("policy.yaml", "{ name: rest, action: permit, special-use: permit }", &rest);
    gateway.edit("policy.yaml", "  ports: {", "  ports: { more: [1-9],");
    let (code, changes) = preview(&gateway);
    assert_eq!(code, Some(1), "permits would be lost: {changes}");
    let rules = section(&changes, "rules").join("\n");
    for expected in [
        r#"{"change":"changed","keys":[{"after":"9","before":"first","key":"port"}],"name":"first"}"#,
        r#"{"change":"changed","keys":[{"after":"192.0.2.0/24","key":"destination"}],"name":"second"}"#,
        r#"{"change":"added","name":"left"}"#,
        r#"{"change":"removed","name":"rest"}"#,
    ] {
        assert!(rules.contains(expected), "{expected} in {rules}");
    }
    assert!(section(&changes, "sets").join("").contains("ports.more"), "{changes}");
    assert!(changes["warnings"].to_string().contains("set `first` is not used"), "{changes}");
    let sessions = &changes["sessions"];
    let counts = ["open", "moved", "kept", "draining", "ended"].map(|key| sessions[key].as_u64());
    assert_eq!(counts, [3, 1, 0, 1, 1].map(Some), "{sessions}");
    let lost = sessions["lost"].as_array().expect("a list");
    let fates: Vec<_> = lost.iter().map(|one| (one["rule"].as_str(), one["on-revoke"].as_str())).collect();
    assert_eq!(fates, [(Some("first"), Some("close")), (Some("second"), Some("drain 45s"))]);
    assert_eq!(lost[0]["why"], "no rule matches");
    assert_eq!(sessions["under-another-rule"][0]["to"], "left");

    let text = gateway.command(&["reload", "--preview"]);
    assert_eq!(text.code, Some(1), "{text}");
    for expected in [
        "rules: 4\n  changed first: port first -> 9\n",
        "  changed second: destination 192.0.2.0/24\n",
        "  removed rest\n",
        "sets: 1\n  added ports.more: elements 1\n",
        "open sessions: 3; 1 under another rule; permit lost: 1 ended, 1 draining, 0 kept\n",
    ] {
        assert!(text.text().contains(expected), "{expected} in {text}");
    }

    let status = gateway.command(&["status"]).succeeded().text();
    assert!(status.contains("policy    1 with 3 rules"), "{status}");
    tunnels.iter_mut().for_each(|tunnel| tunnel.expect_echo(b"still open"));
    let swept = gateway.command(&["reload", "--json"]).succeeded();
    let swept: Value = serde_json::from_slice(&swept.stdout).expect("JSON");
    let counts = ["moved", "kept", "draining", "ended"].map(|key| swept["sessions"][key].as_u64());
    assert_eq!(counts, [1, 0, 1, 1].map(Some), "as it was told: {swept}");
}

#[test]
fn settings_listeners_and_accounts_are_compared_too() {
    let setup = Setup::new().user("alice", "right-horse-battery").user("bob", "right-horse-battery");
    let gateway = setup.key("admin", ADMIN).limit("idle-timeout", "1h").start();
    let old = gateway.address();
    gateway.edit("socksd.yaml", "idle-timeout: 1h", "idle-timeout: 2h");
    gateway.edit("socksd.yaml", "auth:\n", "  - { name: new, address: '127.0.0.1:0' }\nauth:\n");
    let users = gateway.folder().file("users.yaml");
    let user = |words: &[&str], input: &str| {
        let mut program = std::process::Command::new(program::built("socksd"));
        program.arg("user").args(words).arg("--file").arg(&users);
        command::run_with_input(&mut program, input.as_bytes(), tests::DEADLINE).succeeded()
    };
    user(&["remove", "bob"], "");
    user(&["add", "carol"], "right-horse-battery\n");
    let (code, changes) = preview(&gateway);
    assert_eq!(code, Some(0), "{changes}");
    let expected =
        r#"{"change":"changed","keys":[{"after":"2h","before":"1h","key":"idle-timeout"}],"name":"limits"}"#;
    assert_eq!(section(&changes, "settings"), [expected]);
    assert_eq!(section(&changes, "listeners"), [r#"{"change":"added","name":"new"}"#]);
    let users =
        [r#"{"change":"added","name":"password:carol"}"#, r#"{"change":"removed","name":"password:bob"}"#];
    assert_eq!(section(&changes, "users"), users);
    assert!(!changes.to_string().contains("argon2"), "{changes}");
    assert_eq!(gateway.command(&["status"]).succeeded().text().matches("listener ").count(), 1);
    assert_eq!(gateway.address(), old);
    let act = gateway.record(|record| record.text("event") == "admin");
    assert_eq!((act.text("act"), act.text("result")), ("preview-reload", "told"));
}

#[test]
fn mistakes_and_taken_ports_are_shown_as_a_reload_shows_them() {
    let gateway = Setup::new().key("admin", ADMIN).start();
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = other.local_addr().expect("a socket");
    gateway.edit("socksd.yaml", "auth:\n", &format!("  - {{ name: new, address: '{taken}' }}\nauth:\n"));
    let shown = |words: &[&str]| {
        let finished = gateway.command(words);
        assert_eq!(finished.code, Some(78), "{finished}");
        finished.stderr
    };
    let refused = shown(&["reload", "--preview"]);
    assert!(refused.contains(&format!("cannot listen on `{taken}`: Address already in use")), "{refused}");
    assert_eq!(shown(&["reload"]), refused);
    gateway.edit("policy.yaml", "action: permit", "action: maybe");
    let typo = shown(&["reload", "--preview"]);
    assert!(typo.contains("policy.yaml:4") && typo.contains("maybe"), "{typo}");
    assert_eq!(shown(&["reload"]), typo);
    let last = |record: &Record| record.text("event") == "reload" && record.text("detail").contains("maybe");
    gateway.record(last);
    let reloads = gateway.records().iter().filter(|record| record.text("event") == "reload").count();
    assert_eq!(reloads, 2, "a preview is none");
}

#[test]
fn a_long_list_is_cut_and_counted() {
    let rules: String =
        (1..=250).map(|n| format!("  - {{ name: r{n}, action: permit, port: {n} }}\n")).collect();
    let gateway = Setup::new().key("admin", ADMIN).start();
    let policy = format!("version: 1\nclients:\n  - methods: [none]\nrules:\n{rules}");
    gateway.folder().write("policy.yaml", &policy);
    let (_, changes) = preview(&gateway);
    assert_eq!(section(&changes, "rules").len(), 100);
    assert_eq!(changes["sections"][0]["total"], 251);
    let text = gateway.command(&["reload", "--preview"]).text();
    assert!(text.contains("rules: 251\n") && text.contains("  and 151 more\n"), "{text}");
}
