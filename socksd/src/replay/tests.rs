use socks_config::Document;
use socks_policy::{Context, Ruleset};

use super::*;
use crate::judgement::Answer;

fn replay(policy: &str) -> Replay {
    let document = Document::parse("policy.yaml", policy.to_owned()).unwrap();
    let context = Context { now: "2026-03-01T00:00:00Z".parse().unwrap(), ..Context::default() };
    let ruleset = Ruleset::load(&document, &context).unwrap_or_else(|findings| panic!("{findings}")).ruleset;
    Replay { policy: Policy::alone(ruleset), own: Vec::new(), now: None }
}

fn rules(rules: &str) -> Replay {
    replay(&format!("version: 1\nclients: [{{ methods: [gssapi, password, none] }}]\nrules:\n{rules}"))
}

/// A record of alice's, with these fields beside those that all have.
fn record(fields: &str) -> String {
    format!(
        r#"{{"v":1,"event":"session","session":"1-1","time":"2026-03-02T09:00:00Z","started":"2026-03-02T08:00:00Z","listener":"a","client":"10.0.0.1:1","method":"password","identity":"password:alice","protection":"none",{fields}}}"#
    )
}

fn run(replay: &Replay, text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    replay.run(text.as_bytes(), &mut outcome, &Progress::default()).unwrap();
    outcome
}

/// What the policy says to one record, in short.
fn said(replay: &Replay, fields: &str) -> String {
    let read = Line::read(record(fields).as_bytes()).unwrap();
    let now = replay.judge_request(&read.line.request().unwrap(), &read.then);
    let answer = match now.answer {
        Answer::Permit => "permit",
        Answer::Deny => "deny",
        Answer::Undecided => "needs",
    };
    format!("{answer} {}", now.rule.as_deref().or(now.reason).unwrap_or_default())
}

const RULES: &str = "  - { name: no-lab, action: deny, destination: 10.9.0.0/16 }
  - { name: staff, action: permit, identity: 'group:staff', port: 22 }
  - { name: no-guests, action: deny, command: [connect], identity: 'group:guests', port: 23 }
  - { name: by-name, action: permit, command: [connect], destination: '*.corp.example', upstream: hq, port: 80 }
  - { name: ftp, action: permit, command: [bind], destination: ftp.example, bind: { peer: named } }
  - { name: any-peer, action: permit, command: [bind], destination: [192.0.2.0/24, 198.51.100.9], bind: { peer: any } }
  - { name: datagrams, action: permit, command: [udp-associate] }
  - { name: web, action: permit, command: [connect], port: [80, 443] }
";

#[test]
fn a_request_is_judged_by_the_addresses_that_its_record_has() {
    let policy = rules(RULES);
    let table = [
        // A literal address, and a name with its addresses; the one that was used counts first.
        (r#""command":"connect","target":"203.0.113.1:443","rule":"web","cause":"closed""#, "permit web"),
        (r#""command":"connect","target":"10.9.1.1:443","rule":"web","cause":"closed""#, "deny no-lab"),
        (
            r#""command":"connect","target":"a.example:443","addresses":["10.9.1.1","203.0.113.1"],"dialled":"203.0.113.1:443","rule":"web","cause":"closed""#,
            "permit web",
        ),
        (
            r#""command":"connect","target":"a.example:443","addresses":["10.9.1.1"],"rule":"web","cause":"connection-refused""#,
            "deny no-lab",
        ),
        // Records of before addresses were told have the one that was dialled; behind an upstream it is not the target's.
        (
            r#""command":"connect","target":"a.example:443","dialled":"10.9.1.1:443","rule":"web","cause":"closed""#,
            "deny no-lab",
        ),
        (
            r#""command":"connect","target":"a.example:443","dialled":"10.9.1.1:443","upstream":"hq","rule":"web","cause":"closed""#,
            "needs address",
        ),
        (
            r#""command":"connect","target":"a.example:443","dialled":"10.9.1.1:1080","upstream":"hq","judged":"203.0.113.1","rule":"web","cause":"closed""#,
            "permit web",
        ),
        // Without any address: nobody guesses, unless the name alone decides.
        (r#""command":"connect","target":"a.example:443","cause":"denied-by-default""#, "needs address"),
        (r#""command":"connect","target":"a.example:25","cause":"denied-by-default""#, "deny no-match"),
    ];
    for (fields, expected) in table {
        assert_eq!(said(&policy, fields), expected, "{fields}");
    }
}

#[test]
fn a_request_is_judged_by_groups_and_peers_and_special_addresses() {
    let policy = rules(RULES);
    let table = [
        // Special addresses, and the gateway's own.
        (
            r#""command":"connect","target":"127.0.0.1:80","rule":"web","cause":"special-use","special-use":"loopback""#,
            "deny web",
        ),
        (
            r#""command":"connect","target":"203.0.113.1:80","rule":"web","cause":"special-use","special-use":"own-socket""#,
            "deny web",
        ),
        // Groups.
        (
            r#""command":"connect","target":"203.0.113.1:22","groups":["staff"],"rule":"staff","cause":"closed""#,
            "permit staff",
        ),
        (r#""command":"connect","target":"203.0.113.1:22","cause":"denied-by-default""#, "deny no-match"),
        (
            r#""command":"connect","target":"203.0.113.1:23","groups-missing":"no answer","rule":"no-guests","cause":"denied""#,
            "deny no-guests",
        ),
        (
            r#""command":"connect","target":"203.0.113.1:23","groups-unknown":true,"cause":"denied-by-default""#,
            "deny no-guests",
        ),
        // Listening, and the peer that came.
        (r#""command":"bind","target":"0.0.0.0:0","rule":"ftp","cause":"no-peer""#, "permit ftp"),
        (r#""command":"bind","target":"192.0.2.1:0","rule":"any-peer","cause":"no-peer""#, "permit any-peer"),
        (
            r#""command":"bind","target":"192.0.2.1:0","peer":"192.0.2.7:20","rule":"any-peer","cause":"closed""#,
            "permit any-peer",
        ),
        (
            r#""command":"bind","target":"192.0.2.1:0","peer":"203.0.113.7:20","rule":"any-peer","cause":"closed""#,
            "deny no-match",
        ),
        (
            r#""command":"bind","target":"203.0.113.1:0","peer":"192.0.2.7:20","rule":"any-peer","cause":"closed""#,
            "deny no-match",
        ),
        (
            r#""command":"bind","target":"ftp.example:0","addresses":["203.0.113.5"],"peer":"203.0.113.5:20","rule":"ftp","cause":"closed""#,
            "permit ftp",
        ),
        (
            r#""command":"bind","target":"ftp.example:0","addresses":["203.0.113.5"],"peer":"192.0.2.7:20","rule":"any-peer","cause":"closed""#,
            "deny other-peer",
        ),
        (
            r#""command":"udp-associate","target":"0.0.0.0:0","rule":"datagrams","cause":"closed""#,
            "permit datagrams",
        ),
    ];
    for (fields, expected) in table {
        assert_eq!(said(&policy, fields), expected, "{fields}");
    }
}

#[test]
fn a_name_through_an_upstream_is_judged_by_the_name() {
    let policy = rules("  - { name: hq, action: permit, destination: '*.corp.example', upstream: hq }\n");
    let fields = r#""command":"connect","target":"git.corp.example:443","upstream":"hq","dialled":"198.51.100.1:1080","rule":"hq","cause":"closed""#;
    assert_eq!(said(&policy, fields), "permit hq");
    assert_eq!(run(&policy, &record(fields)).sums(), Sums { unchanged: 1, ..Sums::default() });
}

#[test]
fn who_is_let_in_is_judged_first() {
    let policy = replay(
        "version: 1\nclients: [{ methods: [gssapi], protection: [confidentiality] }, { methods: [password] }]\nrules: [{ name: all, action: permit }]\n",
    );
    let fields = r#""command":"connect","target":"203.0.113.1:1","rule":"all","cause":"closed""#;
    assert_eq!(said(&policy, fields), "permit all");
    let outcome =
        run(&policy, &record(fields).replace("password", "none").replace("none:alice", "anonymous"));
    let row = &outcome.rows()[0];
    assert_eq!((row.change, row.now.reason), (Change::PermittedToDenied, Some("not-admitted")));
    let kerberos = record(fields).replace("password:alice", "alice@R").replace("password", "gssapi");
    assert!(run(&policy, &kerberos).sums().has_changes());
    let protected = kerberos.replace(r#""protection":"none""#, r#""protection":"confidentiality""#);
    assert!(!run(&policy, &protected).sums().has_changes());
}

#[test]
fn the_time_is_that_of_the_request_unless_another_one_is_asked_for() {
    let mut policy = rules("  - { name: march, action: permit, expires: 2026-03-31 }\n");
    let fields = r#""command":"connect","target":"203.0.113.1:1","rule":"march","cause":"closed""#;
    assert_eq!(said(&policy, fields), "permit march");
    policy.now = Some("2026-04-02T00:00:00Z".parse().unwrap());
    assert_eq!(said(&policy, fields), "deny no-match");
}

#[test]
fn changes_are_gathered_by_what_was_said_then_and_now() {
    let policy = rules(
        "  - { name: mail, action: permit, port: 25 }
  - { name: no-telnet, action: deny, port: 23 }
  - { name: others, action: permit }
",
    );
    let connect =
        |target: &str, rest: &str| record(&format!(r#""command":"connect","target":"{target}",{rest}"#));
    let text = [
        connect("203.0.113.1:25", r#""rule":"no-mail","cause":"denied""#),
        connect("203.0.113.2:25", r#""rule":"no-mail","cause":"denied""#).replace("alice", "bob"),
        connect("203.0.113.1:23", r#""rule":"office","cause":"closed""#),
        connect("203.0.113.1:80", r#""rule":"office","cause":"closed""#),
        connect("203.0.113.1:80", r#""rule":"others","cause":"idle-timeout""#),
        connect("a.example:80", r#""cause":"denied-by-default""#),
        connect("a.example:80", r#""cause":"name-not-found""#),
        record(r#""command":"connect","target":"","rule":"office","cause":"closed""#),
        r#"{"v":1,"event":"reload"}"#.into(),
        r#"{"v":1,"event":"session","sess"#.into(),
    ]
    .join("\n");
    let outcome = run(&policy, &text);
    let sums = outcome.sums();
    let expected =
        Sums { unchanged: 1, permitted_to_denied: 1, denied_to_permitted: 2, other_rule: 1, undecided: 1 };
    assert_eq!((sums, outcome.lines, outcome.judged), (expected, 10, 6));
    let skipped: Vec<_> = outcome.skipped.into_iter().collect();
    assert_eq!(
        skipped,
        [
            (Skipped::OtherEvent, 1),
            (Skipped::NotDecided, 1),
            (Skipped::NoRecord, 1),
            (Skipped::Incomplete, 1)
        ]
    );
    let rows = outcome.table.rows();
    let order: Vec<_> = rows.iter().map(|row| row.change).collect();
    assert_eq!(order, Change::ALL);
    let mail = &rows[1];
    assert_eq!((mail.count, mail.identities, mail.more_identities), (2, 2, false));
    assert_eq!((mail.then.rule.as_deref(), mail.now.rule.as_deref()), (Some("no-mail"), Some("mail")));
    assert_eq!(mail.examples[1].identity, "password:bob");
    assert_eq!(rows[3].now.reason, Some("address"));
}

#[test]
fn whatever_the_file_holds_the_room_is_bounded() {
    let policy = rules("  - { name: all, action: permit }\n");
    let mut text = String::new();
    for number in 0..3000 {
        let fields = format!(
            r#""command":"connect","target":"203.0.113.1:1","rule":"rule-{number}","cause":"closed""#
        );
        text += &record(&fields).replace("alice", &format!("user{number}"));
        text.push('\n');
    }
    for number in 0..3000 {
        let fields = r#""command":"connect","target":"203.0.113.1:1","rule":"rule-0","cause":"closed""#;
        text += &record(fields).replace("alice", &format!("user{number}"));
        text.push('\n');
    }
    let outcome = run(&policy, &text);
    assert_eq!(outcome.sums().other_rule, 6000);
    assert_eq!((outcome.rows().len(), outcome.others()), (1000, 2000));
    let first = &outcome.rows()[0];
    assert_eq!((first.count, first.identities, first.more_identities), (3001, 1000, true));
    assert_eq!(first.examples.len(), 3);
}
