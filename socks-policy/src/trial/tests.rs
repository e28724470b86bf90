use crate::testing::{load, ruleset};

const POLICY: &str = "\
version: 1
clients:
  - { methods: [gssapi], protection: [confidentiality, integrity] }
  - { source: 10.0.0.0/8, methods: [password, none] }
rules:
  - { name: no-lab, action: deny, destination: 10.66.0.0/16 }
  - { name: git, action: permit, identity: ['*@R', 'group:build'], destination: git.example, port: 22 }
  - { name: web, action: permit, command: connect, port: 80, destination: [0.0.0.0/0], expires: 2027-06-30 }
  - { name: dns, action: permit, command: udp-associate, destination: 192.0.2.0/24, port: 53 }
  - { name: ftp, action: permit, command: bind, destination: 192.0.2.0/24 }
tests:
";

/// Runs one test; the answer that came instead of the expected one.
fn run(given: &str, expect: &str) -> Option<String> {
    let test = format!("  - {{ name: t, given: {{ {given} }}, expect: {{ {expect} }} }}\n");
    let results = ruleset(&format!("{POLICY}{test}")).run_tests();
    let finding = results[0].finding();
    assert_eq!(results[0].passed(), finding.is_none());
    finding.map(|finding| finding.message)
}

#[test]
fn tests_ask_the_whole_policy() {
    let table = [
        ("source: 10.1.1.1, destination: '192.0.2.1:80'", "permit: web"),
        ("source: 10.1.1.1, destination: 'x.example:80'", "permit: web"),
        ("source: 10.1.1.1, destination: 'x.example:80', resolves: 203.0.113.1", "permit: web"),
        ("source: 10.1.1.1, destination: 'x.example:80', resolves: [10.66.1.1, 10.66.2.2]", "deny: no-lab"),
        ("source: 10.1.1.1, destination: 'x.example:80', resolves: 127.0.0.1", "deny: special-use"),
        ("source: 10.1.1.1, destination: 'x.example:80', at: '2027-07-01T00:00:00Z'", "deny: no-match"),
        ("source: 10.1.1.1, destination: 'x.example:81'", "deny: no-match"),
        ("source: 10.1.1.1, method: none, destination: '192.0.2.1:80'", "permit: web"),
        ("source: 192.0.2.1, destination: '192.0.2.1:80'", "deny: not-admitted"),
        ("source: 192.0.2.1, identity: alice@R, destination: 'git.example:22'", "deny: not-admitted"),
        (
            "source: 192.0.2.1, identity: alice@R, protection: integrity, destination: 'git.example:22'",
            "permit: git",
        ),
        (
            "source: 10.1.1.1, identity: 'password:bob', groups: [build], destination: 'git.example:22'",
            "permit: git",
        ),
        ("source: 10.1.1.1, identity: 'password:bob', destination: 'git.example:22'", "deny: no-match"),
        ("source: 10.1.1.1, command: udp-associate", "permit: dns"),
        ("source: 10.1.1.1, command: udp-associate, destination: '192.0.2.1:53'", "permit: dns"),
        ("source: 10.1.1.1, command: udp-associate, destination: '192.0.2.1:54'", "deny: no-match"),
        ("source: 10.1.1.1, command: bind", "permit: ftp"),
        ("source: 10.1.1.1, command: bind, destination: '192.0.2.1:0'", "permit: ftp"),
        ("source: 10.1.1.1, command: bind, destination: '203.0.113.1:0'", "deny: no-match"),
    ];
    for (given, expect) in table {
        assert_eq!(run(given, expect), None, "{given}");
    }
}

#[test]
fn a_test_says_at_what_time_a_window_is_looked_at() {
    let policy = "\
version: 1
clients: [{ methods: [none] }]
rules:
  - { name: sundays, action: permit, when: { days: sun, zone: Pacific/Kiritimati } }
tests:
";
    for (at, expect) in [("16T12:00:00Z", "permit: sundays"), ("17T12:00:00Z", "deny: no-match")] {
        let given = format!("source: 10.0.0.1, destination: '192.0.2.1:80', at: '2027-01-{at}'");
        let test = format!("  - {{ name: t, given: {{ {given} }}, expect: {{ {expect} }} }}\n");
        let results = ruleset(&format!("{policy}{test}")).run_tests();
        assert!(results[0].passed(), "{}", results[0]);
    }
}

#[test]
fn a_test_can_say_which_rules_log() {
    let policy = "\
version: 1
clients: [{ source: 10.0.0.0/8, methods: [none] }]
rules:
  - { name: seen, action: log-only, port: 80 }
  - { name: all, action: permit }
tests:
";
    let run = |given: &str, expect: &str| {
        let test = format!("  - {{ name: t, given: {{ {given} }}, expect: {{ {expect} }} }}\n");
        let results = ruleset(&format!("{policy}{test}")).run_tests();
        results[0].finding().map(|finding| finding.message)
    };
    let (web, other) =
        ("source: 10.0.0.1, destination: '192.0.2.1:80'", "source: 10.0.0.1, destination: '192.0.2.1:81'");
    assert_eq!(run(web, "permit: all"), None);
    assert_eq!(run(web, "permit: all, logged-by: seen"), None);
    assert_eq!(run(other, "permit: all, logged-by: []"), None);
    assert_eq!(
        run("source: 11.0.0.1, destination: '192.0.2.1:80'", "deny: not-admitted, logged-by: []"),
        None
    );
    let failed = run(web, "permit: all, logged-by: []").unwrap();
    assert_eq!(
        failed,
        "test `t` expects `permit: all, logged-by: []`, but the answer is `permit: all, logged-by: [seen]`"
    );
    let text = format!(
        "{policy}  - {{ name: t, given: {{ {web} }}, expect: {{ permit: seen, logged-by: all }} }}\n"
    );
    let mistakes = load(&text).unwrap_err().to_string();
    assert!(
        mistakes.contains("rule `seen` is a log-only rule")
            && mistakes.contains("rule `all` is a permit rule")
    );
}

#[test]
fn a_test_can_have_groups_that_could_not_be_learned() {
    let policy = "\
version: 1
clients:
  - { source: 10.1.0.0/16, identity: 'group:g', methods: [gssapi], protection: confidentiality }
  - { methods: [gssapi], protection: [integrity, confidentiality] }
rules:
  - { name: not-g, action: deny, identity: 'group:g', port: 1 }
  - { name: for-g, action: permit, identity: 'group:g' }
tests:
";
    let table = [
        ("source: 10.2.0.1, protection: integrity, destination: '192.0.2.1:1'", "deny: not-g"),
        ("source: 10.2.0.1, protection: integrity, destination: '192.0.2.1:2'", "deny: no-match"),
        ("source: 10.1.0.1, protection: integrity, destination: '192.0.2.1:1'", "deny: not-admitted"),
        ("source: 10.1.0.1, protection: confidentiality, destination: '192.0.2.1:1'", "deny: not-g"),
    ];
    for (given, expect) in table {
        let given = format!("identity: alice@R, groups-missing: no answer, {given}");
        let test = format!("  - {{ name: t, given: {{ {given} }}, expect: {{ {expect} }} }}\n");
        let results = ruleset(&format!("{policy}{test}")).run_tests();
        assert!(results[0].passed(), "{}", results[0]);
    }
}

#[test]
fn a_test_of_a_row_without_protection_takes_every_level() {
    let policy = "\
version: 1
clients: [{ methods: [gssapi] }]
rules: [{ name: all, action: permit }]
tests:
  - { name: clear, given: { source: 10.0.0.1, identity: alice@R, destination: '192.0.2.1:80' }, expect: { permit: all } }
  - { name: sealed, given: { source: 10.0.0.1, identity: alice@R, protection: confidentiality, destination: '192.0.2.1:80' }, expect: { permit: all } }
";
    assert!(ruleset(policy).run_tests().iter().all(super::TestResult::passed));
}

#[test]
fn a_failed_test_tells_what_was_expected_what_came_and_why() {
    let test = "  - { name: lab, given: { source: 10.1.1.1, destination: 'x.example:80', resolves: [203.0.113.1, 10.66.1.1] }, expect: { permit: web } }\n";
    let results = ruleset(&format!("{POLICY}{test}")).run_tests();
    let shown = results[0].to_string();
    let expected = "\
policy.yaml:12:13: test `lab` failed
expected `permit: web`, but the answer is `deny: no-lab`
at address 10.66.1.1:
rule `no-lab` (line 6, deny) matches
rules behind it, not reached: 4
verdict: denied: rule `no-lab` denies";
    assert_eq!(shown, expected);
    assert_eq!(results[0].finding().unwrap().place.unwrap().line(), 12);
}

#[test]
fn every_address_that_a_name_resolves_to_must_get_the_answer() {
    let given = "source: 10.1.1.1, destination: 'x.example:80', resolves: [203.0.113.1, '2001:db8::1']";
    let came = run(given, "permit: web");
    assert_eq!(came.as_deref(), Some("test `t` expects `permit: web`, but the answer is `deny: no-match`"));
}

#[test]
fn mistakes_of_tests_have_their_places() {
    let text = format!(
        "{POLICY}  - {{ name: a, given: {{ destination: '192.0.2.1:80' }}, expect: {{ permit: wbe }} }}
  - {{ name: a, given: {{ source: 10.0.0.1, destination: '192.0.2.1' }}, expect: {{ permit: no-lab }} }}
  - {{ name: b, given: {{ source: 10.0.0.1, identity: alice, destination: '192.0.2.1:1' }}, expect: {{ deny: nomatch }} }}
  - {{ name: c, given: {{ source: 10.0.0.1, destination: '192.0.2.1:1', resolves: 192.0.2.1 }}, expect: {{ }} }}
  - {{ name: d, given: {{ source: 10.0.0.1, identity: 'password:bob', method: none }}, expect: deny }}
  - {{ name: e, given: {{ source: 10.0.0.1, groups: a, groups-missing: down, command: bind }}, expect: {{ permit: ftp }} }}
  - {{ name: f, given: {{ source: 10.0.0.1, groups-missing: '', command: bind }}, expect: {{ permit: ftp }} }}
  - {{ name: g, given: {{ source: 10.0.0.1, destination: '192.0.2.1:80', peer: '192.0.2.1:80' }}, expect: {{ permit: web }} }}
  - {{ name: h, given: {{ source: 10.0.0.1, command: bind, peer: 'ftp.example:20' }}, expect: {{ permit: ftp }} }}
"
    );
    let findings = load(&text).unwrap_err();
    let found: Vec<String> = findings
        .iter()
        .map(|finding| format!("{} {}", finding.place.as_ref().unwrap().line(), finding.message))
        .collect();
    let expected = [
        "12 missing key `source`",
        "12 rule `wbe` is missing",
        "13 expected `HOST:PORT`, with an IPv6 address in brackets, found `192.0.2.1`",
        "13 rule `no-lab` is a deny rule",
        "14 `alice` is no principal of the form `name@REALM` or `service/host@REALM`",
        "14 rule `nomatch` is missing",
        "15 only a destination with a host name resolves to addresses",
        "15 expected `permit: RULE`, `deny: RULE` or `deny: REASON`, found a mapping",
        "16 missing key `destination`",
        "16 identity `password:bob` is not proven by `none`",
        "16 expected a mapping, found `deny`",
        "17 `groups-missing` is for groups that could not be learned, but `groups` tells them",
        "18 expected why the groups could not be learned, found ``",
        "19 only at a `bind` does a peer arrive",
        "20 expected `ADDRESS:PORT`, with an IPv6 address in brackets, found `ftp.example:20`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn two_tests_of_one_name_are_a_mistake() {
    let test = "  - { name: t, given: { source: 10.0.0.1, command: bind }, expect: { permit: ftp } }\n";
    let findings = load(&format!("{POLICY}{test}{test}")).unwrap_err();
    let shown = findings.to_string();
    assert!(shown.contains("policy.yaml:13:13: mistake: test `t` stands twice, first in line 12"), "{shown}");
}

#[test]
fn a_failed_test_of_a_large_policy_shows_what_matters() {
    let mut text = String::from("version: 1\nclients: [{ methods: [none] }]\nrules:\n");
    for port in 1..=1000 {
        text.push_str(&format!("  - {{ name: r{port}, action: permit, port: {port} }}\n"));
    }
    text.push_str("tests:\n  - { name: t, given: { source: 10.0.0.1, destination: '10.0.0.2:1000' }, expect: { permit: r7 } }\n");
    let shown = ruleset(&text).run_tests()[0].finding().unwrap().to_string();
    let expected = "
       help: 998 rules that do not match are left out
             rule `r7` (line 10, permit) does not match: port 1000 is not in `7`
             rule `r1000` (line 1003, permit) matches
             verdict: permitted by rule `r1000` to 10.0.0.2:1000";
    assert!(shown.ends_with(expected), "{shown}");
}

#[test]
fn a_test_of_bind_can_have_the_peer_that_arrives() {
    let policy = "\
version: 1
clients: [{ source: 10.0.0.0/8, methods: [none] }]
rules:
  - { name: no-lab, action: deny, command: bind, destination: 10.66.0.0/16 }
  - { name: ftp, action: permit, command: bind, destination: [192.0.2.0/24, ftp.example] }
  - { name: open, action: permit, command: bind, source: 10.9.0.0/16, bind: { peer: any } }
tests:
";
    let table = [
        ("peer: '192.0.2.1:20'", "permit: ftp"),
        ("peer: '[::ffff:192.0.2.1]:20'", "permit: ftp"),
        ("peer: '203.0.113.1:20'", "deny: no-match"),
        ("peer: '10.66.0.1:20'", "deny: no-lab"),
        ("peer: '127.0.0.1:20'", "deny: no-match"),
        ("destination: '0.0.0.0:0', peer: '192.0.2.1:20'", "permit: ftp"),
        ("destination: '192.0.2.1:0', peer: '192.0.2.1:20'", "permit: ftp"),
        ("destination: '192.0.2.1:0', peer: '192.0.2.2:20'", "deny: other-peer"),
        ("destination: '203.0.113.1:0', peer: '192.0.2.1:20'", "deny: no-match"),
        // A peer at an address of the name that the client gave is judged by that name, too.
        ("destination: 'ftp.example:0', peer: '203.0.113.1:20'", "permit: ftp"),
        ("destination: 'ftp.example:0', resolves: 203.0.113.1, peer: '203.0.113.1:20'", "permit: ftp"),
        ("destination: 'ftp.example:0', resolves: 203.0.113.1, peer: '203.0.113.2:20'", "deny: other-peer"),
        ("destination: 'ftp.example:0', resolves: 10.66.0.1, peer: '10.66.0.1:20'", "deny: no-lab"),
        ("destination: 'www.example:0', peer: '203.0.113.1:20'", "deny: no-match"),
    ];
    let run = |given: String, expect: &str| {
        let test =
            format!("  - {{ name: t, given: {{ command: bind, {given} }}, expect: {{ {expect} }} }}\n");
        let results = ruleset(&format!("{policy}{test}")).run_tests();
        assert!(results[0].passed(), "{}", results[0]);
    };
    for (given, expect) in table {
        run(format!("source: 10.1.1.1, {given}"), expect);
    }
    // Whoever arrives is taken where the rule that lets the client listen says so, if the rules permit the peer,
    // and the one that does takes it so as well.
    for (given, expect) in [
        ("destination: '203.0.113.1:0', peer: '203.0.113.2:20'", "permit: open"),
        ("destination: '203.0.113.1:0', peer: '10.66.0.1:20'", "deny: no-lab"),
        ("destination: '192.0.2.1:0', peer: '192.0.2.2:20'", "deny: other-peer"),
        ("destination: '203.0.113.1:0', peer: '192.0.2.2:20'", "deny: other-peer"),
        ("destination: 'www.example:0', resolves: 203.0.113.1, peer: '203.0.113.2:20'", "permit: open"),
    ] {
        run(format!("source: 10.9.1.1, {given}"), expect);
    }
    run("source: 172.16.0.1, peer: '192.0.2.1:20'".into(), "deny: not-admitted");
}
