use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use socks_config::{Document, Findings};

use crate::testing::{NOW, Question};
use crate::{Context, Loaded, Ruleset};

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(text: &str, base: &Path) -> Result<Loaded, Findings> {
    let context = Context { now: NOW, base: Some(base), ..Context::default() };
    Ruleset::load(&Document::parse("policy.yaml", text.to_owned())?, &context)
}

const POLICY: &str = "\
version: 1
sets:
  networks: { bad: { include: networks.txt } }
  hosts: { blocked: [one.example, { include: hosts.txt }, 192.0.2.9] }
  identities: { staff: { include: staff.txt } }
  groups: { crew: [{ include: crew.txt }] }
  ports: { web: { include: ports.txt } }
clients: [{ methods: [none, password] }]
rules:
  - { name: bad, action: deny, destination: bad }
  - { name: blocked, action: deny, destination: blocked }
  - { name: staff, action: permit, identity: [staff, 'group:crew'] }
  - { name: web, action: permit, port: web }
";

const FILES: [(&str, &str); 5] = [
    ("networks.txt", "198.51.100.0/24\n2001:db8:66::/48 # lab\n"),
    ("hosts.txt", "# daily\ntwo.example\n*.three.example\nhost:four\n203.0.113.0/24\n"),
    ("staff.txt", "password:bob\n*@R\n"),
    ("crew.txt", "build team\n"),
    ("ports.txt", "80\n8000-8999\n"),
];

#[test]
fn sets_take_elements_from_files() {
    let folder = folder(&FILES);
    let ruleset = load(POLICY, folder.path()).unwrap().ruleset;
    let mut builder = crate::testing::user("eve");
    builder.groups.push("build team".into());
    let table = [
        (Question::connect("198.51.100.7:80"), "deny bad"),
        (Question::connect("one.example:80"), "deny blocked"),
        (Question::connect("a.three.example:80"), "deny blocked"),
        (Question::connect("four:80"), "deny blocked"),
        (Question::connect("192.0.2.9:80"), "deny blocked"),
        (Question::connect("203.0.113.1:80"), "deny blocked"),
        (Question::connect("192.0.2.1:8080"), "permit web"),
        (Question::connect("192.0.2.1:1").by(crate::testing::user("bob")), "permit staff"),
        (Question::connect("192.0.2.1:1").by(builder), "permit staff"),
        (Question::connect("192.0.2.1:1"), "no-match"),
    ];
    for (question, expected) in table {
        assert_eq!(question.ask(&ruleset), expected, "{question:?}");
    }
}

#[test]
fn a_file_is_read_anew_each_time() {
    let folder = folder(&FILES);
    let question = Question::connect("new.example:80").at("192.0.2.1");
    assert_eq!(question.ask(&load(POLICY, folder.path()).unwrap().ruleset), "permit web");
    std::fs::write(folder.path().join("hosts.txt"), "new.example\n").unwrap();
    assert_eq!(question.ask(&load(POLICY, folder.path()).unwrap().ruleset), "deny blocked");
}

#[test]
fn mistakes_in_files_have_their_places() {
    let files = [
        ("networks.txt", "10.0.0.0/8\n  10.1.2.3/8\noffice\n"),
        ("hosts.txt", "# nothing\n\n"),
        ("staff.txt", "pasword:bob\nalice\n"),
        ("ports.txt", "80\nhttps\n"),
    ];
    let folder = folder(&files);
    let document = Document::parse("policy.yaml", POLICY.to_owned()).unwrap();
    let context = Context {
        now: NOW,
        base: Some(folder.path()),
        authenticators: Some(&["password", "none"]),
        ..Context::default()
    };
    let findings = Ruleset::load(&document, &context).unwrap_err();
    let path = format!("{}/", folder.path().display());
    let mut shown: Vec<String> = findings
        .iter()
        .map(|finding| {
            let place = finding.place.as_ref().unwrap();
            let message = finding.message.replace(&path, "");
            format!("{}:{}:{} {message}", place.file().replace(&path, ""), place.line(), place.column())
        })
        .collect();
    shown.sort();
    let expected = [
        "networks.txt:2:3 `10.1.2.3/8` has bits behind its prefix",
        "networks.txt:3:1 `office` is no element of this set, and sets hold no other sets",
        "policy.yaml:4:46 this file has no element, and an empty set matches nothing",
        "policy.yaml:6:31 cannot read `crew.txt`: No such file or directory (os error 2)",
        "ports.txt:2:1 `https` is no element of this set, and sets hold no other sets",
        "staff.txt:1:1 authenticator `pasword` is not configured",
        "staff.txt:2:1 `alice` is no element of this set, and sets hold no other sets",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn many_mistakes_of_one_file_are_counted_and_not_all_shown() {
    let folder = folder(&FILES);
    std::fs::write(folder.path().join("hosts.txt"), "a*b\n".repeat(5000)).unwrap();
    let findings = load(POLICY, folder.path()).unwrap_err();
    assert_eq!(findings.len(), 21);
    assert!(findings.iter().any(|finding| finding.message == "4980 more mistakes in this file"));
}

#[test]
fn a_policy_that_is_no_file_includes_nothing() {
    let findings = crate::testing::load(POLICY).unwrap_err().to_string();
    assert!(findings.contains("policy.yaml:3:31: mistake: a policy that is no file"), "{findings}");
}

#[test]
fn a_hundred_thousand_lines_load_quickly() {
    let folder = folder(&FILES);
    let (mut hosts, mut networks) = (String::new(), String::new());
    for at in 0..100_000_u32 {
        writeln!(hosts, "{}tracker-{at}.example", if at % 2 == 0 { "*." } else { "" }).unwrap();
        writeln!(networks, "100.{}.{}.{}/32", 64 + at / 65536, at / 256 % 256, at % 256).unwrap();
    }
    std::fs::write(folder.path().join("hosts.txt"), hosts).unwrap();
    std::fs::write(folder.path().join("networks.txt"), networks).unwrap();
    let start = Instant::now();
    let ruleset = load(POLICY, folder.path()).unwrap().ruleset;
    // Without optimization, and beside other tests, it takes a second or two.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    for (target, expected) in [
        ("x.tracker-50000.example:80", "deny blocked"),
        ("tracker-99999.example:80", "deny blocked"),
        ("x.tracker-99999.example:80", "needs address"),
        ("100.65.134.159:80", "deny bad"),
        ("100.65.134.160:80", "permit web"),
    ] {
        assert_eq!(Question::connect(target).ask(&ruleset), expected, "{target}");
    }
}
