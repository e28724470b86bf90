use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use socks_core::wire::DomainName;
use socks_core::{Identity, Level};

use crate::testing::{NOW, Question, principal, rules, shown, user};
use crate::{BindPeerRule, Decision, Family, Fragments, Operation, OperationKind, Query, UdpReplies};

const POLICY: &str = "
  - { name: no-mail, action: deny, port: 25 }
  - { name: no-lab, action: deny, destination: [10.66.0.0/16, '*.lab.example'] }
  - { name: git, action: permit, identity: ['*@R', 'group:build'], destination: [git.example, '*.git.example', 10.5.0.0/16], port: [22, 443] }
  - { name: secret, action: permit, identity: '*/*@R', protection: confidentiality, method: gssapi }
  - { name: office, action: permit, source: 10.0.0.0/8, command: connect, port: 80-89 }
  - { name: udp, action: permit, command: udp-associate, destination: 192.0.2.0/24, port: 53 }
  - { name: bind, action: permit, command: bind, destination: [192.0.2.0/24, ftp.example] }
";

#[test]
fn the_first_rule_that_matches_decides() {
    let ruleset = rules(POLICY);
    let connect = Question::connect;
    let mut builder = user("bob");
    builder.groups.push("build".into());
    let mut signed = principal("host/x@R");
    signed.level = Level::Selective;
    let table = [
        (connect("192.0.2.1:25"), "deny no-mail"),
        (connect("10.66.1.1:80"), "deny no-lab"),
        (connect("x.lab.example:80"), "deny no-lab"),
        (connect("lab.example:80").at("192.0.2.1"), "permit office"),
        (connect("x.example:80").at("10.66.1.1"), "deny no-lab"),
        (connect("x.example:80"), "needs address"),
        (connect("192.0.2.1:80"), "permit office"),
        (connect("192.0.2.1:89"), "permit office"),
        (connect("192.0.2.1:90"), "no-match"),
        (connect("192.0.2.1:80").from("::ffff:10.9.9.9"), "permit office"),
        (connect("192.0.2.1:80").from("192.0.2.9"), "no-match"),
        (connect("git.example:22"), "no-match"),
        (connect("git.example:22").by(principal("alice@R")), "needs address"),
        (connect("git.example:22").at("192.0.2.1").by(principal("alice@R")), "permit git"),
        (connect("git.example:22").at("10.66.0.1").by(principal("alice@R")), "deny no-lab"),
        (connect("a.git.example:443").at("192.0.2.1").by(builder.clone()), "permit git"),
        (connect("10.5.5.5:443").by(builder), "permit git"),
        (connect("[::ffff:10.5.5.5]:443").by(principal("alice@R")), "permit git"),
        (connect("other.example:22").at("10.5.5.5").by(principal("alice@R")), "permit git"),
        (connect("10.5.5.5:443").by(user("bob")), "no-match"),
        (connect("192.0.2.1:7").by(principal("host/x@R")), "permit secret"),
        (connect("192.0.2.1:7").by(signed), "no-match"),
        (connect("192.0.2.1:53").doing(OperationKind::Datagram), "permit udp"),
        (connect("192.0.2.1:54").doing(OperationKind::Datagram), "no-match"),
        (connect("192.0.2.1:25").doing(OperationKind::Datagram), "deny no-mail"),
        (connect("0.0.0.0:0").doing(OperationKind::Associate), "permit udp"),
        (connect("0.0.0.0:0").doing(OperationKind::BindListen), "permit bind"),
        (connect("192.0.2.7:25").doing(OperationKind::BindListen), "permit bind"),
        (connect("198.51.100.7:25").doing(OperationKind::BindListen), "no-match"),
        (connect("ftp.example:0").doing(OperationKind::BindListen), "needs address"),
        (connect("ftp.example:0").at("198.51.100.7").doing(OperationKind::BindListen), "permit bind"),
        (connect("10.66.1.1:0").doing(OperationKind::BindListen), "deny no-lab"),
        (connect("192.0.2.7:50000").doing(OperationKind::BindPeer), "permit bind"),
        (connect("10.66.1.1:50000").doing(OperationKind::BindPeer), "deny no-lab"),
        (connect("127.0.0.1:50000").doing(OperationKind::BindPeer), "no-match"),
    ];
    for (question, expected) in table {
        assert_eq!(question.ask(&ruleset), expected, "{question:?}");
    }
}

#[test]
fn special_addresses_take_a_rule_that_says_so() {
    let ruleset = rules(
        "
  - { name: local-web, action: permit, destination: 127.0.0.1, port: 80, special-use: permit }
  - { name: mapped, action: permit, destination: '64:ff9b::/96', port: 81, special-use: permit }
  - { name: everything, action: permit }
  - { name: end, action: deny, port: 9 }
",
    );
    let table = [
        ("127.0.0.1:80", "permit local-web"),
        ("[::ffff:127.0.0.1]:80", "permit local-web"),
        ("[64:ff9b::127.0.0.1]:80", "special-use everything"),
        ("[64:ff9b::127.0.0.1]:81", "permit mapped"),
        ("127.0.0.1:81", "special-use everything"),
        ("127.0.0.1:9", "deny end"),
        ("169.254.169.254:80", "special-use everything"),
        ("[2002:a9fe:a9fe::1]:80", "special-use everything"),
        ("[::]:80", "special-use everything"),
        ("10.0.0.1:1080", "special-use everything"),
        ("[64:ff9b::10.0.0.1]:1080", "special-use everything"),
        ("10.0.0.1:1081", "permit everything"),
        ("192.168.1.1:80", "permit everything"),
    ];
    for (target, expected) in table {
        let mut question = Question::connect(target);
        question.gateway = vec!["10.0.0.1:1080".parse().unwrap()];
        assert_eq!(question.ask(&ruleset), expected, "{target}");
        let name = Question { operation: Question::connect("x.example:1").operation, ..question.clone() };
        let target: SocketAddr = target.parse().unwrap();
        let mut name = name.at(&target.ip().to_string());
        name.operation.as_mut().unwrap().1.port = target.port();
        assert_eq!(name.ask(&ruleset), expected, "a name at {target}");
    }
}

#[test]
fn a_deny_rule_meets_addresses_that_lead_to_its_networks() {
    let ruleset = rules(
        "
  - { name: inside, action: deny, destination: 10.0.0.0/8 }
  - { name: six, action: permit, destination: ['::/0', 10.0.0.0/8] }
",
    );
    for address in [
        "10.1.2.3",
        "::ffff:10.1.2.3",
        "64:ff9b::10.1.2.3",
        "64:ff9b:1::10.1.2.3",
        "2002:a01:203::1",
        "2001:0:a01:203::1",
        "2001:0:808:808:0:0:f5fe:fdfc",
        "::ffff:0:10.1.2.3",
        "2001:db8::5efe:10.1.2.3",
    ] {
        let literal = Question::connect(&SocketAddr::new(address.parse().unwrap(), 80).to_string());
        assert_eq!(literal.ask(&ruleset), "deny inside", "{address}");
        assert_eq!(
            Question::connect("x.example:80").at(address).ask(&ruleset),
            "deny inside",
            "x at {address}"
        );
    }
    assert_eq!(Question::connect("[2001:db8::1]:80").ask(&ruleset), "permit six");
    // A permit rule means the address itself only.
    assert_eq!(Question::connect("[64:ff9b::8.8.8.8]:80").ask(&ruleset), "permit six");
    let only_inside = rules("  - { name: inside, action: permit, destination: 10.0.0.0/8 }\n");
    assert_eq!(Question::connect("[64:ff9b::10.1.2.3]:80").ask(&only_inside), "no-match");
}

#[test]
fn destination_and_port_apply_to_what_each_operation_is_about() {
    use OperationKind::{Associate, BindListen, BindPeer, Connect, Datagram};
    let deny = rules(
        "
  - { name: no-net, action: deny, destination: 192.0.2.0/24 }
  - { name: no-name, action: deny, destination: bad.example }
  - { name: no-port, action: deny, port: 53 }
  - { name: rest, action: permit, family: v6 }
",
    );
    let permit =
        rules("  - { name: some, action: permit, destination: [192.0.2.0/24, ftp.example], port: 53 }\n");
    let table = [
        (Connect, "192.0.2.1:53", "deny no-net", "permit some"),
        (Connect, "203.0.113.1:53", "deny no-port", "no-match"),
        (Connect, "192.0.2.1:54", "deny no-net", "no-match"),
        (Datagram, "192.0.2.1:53", "deny no-net", "permit some"),
        (Datagram, "203.0.113.1:53", "deny no-port", "no-match"),
        (Datagram, "203.0.113.1:54", "permit rest", "no-match"),
        (Datagram, "bad.example:54", "deny no-name", "no-match"),
        (Datagram, "ftp.example:53", "deny no-port", "needs address"),
        (Datagram, "127.0.0.1:54", "special-use rest", "no-match"),
        // To an association neither applies: a condition on them permits it, and denies none.
        (Associate, "192.0.2.1:53", "permit rest", "permit some"),
        // To BIND only the destination does, at both steps, and all zero is no destination.
        (BindListen, "192.0.2.1:53", "deny no-net", "permit some"),
        (BindListen, "203.0.113.1:53", "permit rest", "no-match"),
        (BindListen, "192.0.2.1:54", "deny no-net", "permit some"),
        (BindListen, "0.0.0.0:0", "permit rest", "permit some"),
        (BindListen, "[::]:53", "permit rest", "permit some"),
        (BindListen, "bad.example:1", "deny no-name", "needs address"),
        (BindListen, "127.0.0.1:1", "special-use rest", "no-match"),
        (BindPeer, "192.0.2.1:20", "deny no-net", "permit some"),
        (BindPeer, "203.0.113.1:53", "permit rest", "no-match"),
        (BindPeer, "[::ffff:192.0.2.1]:20", "deny no-net", "permit some"),
        (BindPeer, "127.0.0.1:20", "special-use rest", "no-match"),
    ];
    for (kind, target, by_deny, by_permit) in table {
        let question = Question::connect(target).doing(kind);
        assert_eq!(question.ask(&deny), by_deny, "{kind:?} {target}");
        assert_eq!(question.ask(&permit), by_permit, "{kind:?} {target}");
    }
}

#[test]
fn a_peer_at_an_address_of_the_name_that_the_client_gave_is_judged_by_that_name_too() {
    let ruleset = rules(
        "
  - { name: no-lab, action: deny, destination: [10.66.0.0/16, bad.example] }
  - { name: ftp, action: permit, destination: ftp.example }
",
    );
    let table = [
        (Some("ftp.example"), "203.0.113.1:20", "permit ftp"),
        (None, "203.0.113.1:20", "no-match"),
        (Some("www.example"), "203.0.113.1:20", "no-match"),
        (Some("bad.example"), "203.0.113.1:20", "deny no-lab"),
        (Some("ftp.example"), "10.66.0.1:20", "deny no-lab"),
        (Some("ftp.example"), "127.0.0.1:20", "special-use ftp"),
    ];
    let question = Question::connect("192.0.2.1:1");
    for (name, peer, expected) in table {
        let name: Option<DomainName> = name.map(|name| name.parse().unwrap());
        let operation = Operation::BindPeer { peer: peer.parse().unwrap(), name: name.as_ref() };
        let query = Query { operation: Some(operation), ..question.query() };
        assert_eq!(shown(&ruleset.decide(&query)), expected, "{name:?} {peer}");
    }
}

#[test]
fn addresses_behind_the_networks_own_translator_are_judged_like_others_of_their_sort() {
    let policy = "
  - { name: inside, action: deny, destination: 10.0.0.0/8 }
  - { name: six, action: permit, destination: '::/0' }
";
    let table = [
        ("[2001:db8:64::10.1.2.3]:80", "permit six", "deny inside"),
        ("[2001:db8:64::127.0.0.1]:80", "permit six", "special-use six"),
        ("[2001:db8:64::192.0.2.9]:1080", "permit six", "special-use six"),
        ("[2001:db8:64::8.8.8.8]:80", "permit six", "permit six"),
        ("[2001:db8:65::10.1.2.3]:80", "permit six", "permit six"),
    ];
    let with = rules(policy).with_nat64("2001:db8:64::/96".parse().ok());
    for (target, unknown, known) in table {
        let mut question = Question::connect(target);
        question.gateway = vec!["192.0.2.9:1080".parse().unwrap()];
        assert_eq!(question.ask(&rules(policy)), unknown, "{target}");
        assert_eq!(question.ask(&with), known, "{target}");
    }
}

#[test]
fn what_can_only_be_denied_is_denied_at_once() {
    let ruleset = rules(
        "
  - { name: not-you, action: deny, source: 10.66.0.0/16 }
  - { name: not-there, action: deny, destination: [10.0.0.0/8, '*.bad.example'] }
  - { name: office, action: permit, source: 10.0.0.0/8, method: gssapi, identity: '*@R' }
",
    );
    let accepted = |client: &str| Question {
        identity: None,
        operation: None,
        ..Question::connect("x.example:1").from(client)
    };
    assert_eq!(accepted("10.66.0.1").ask(&ruleset), "deny not-you");
    assert_eq!(accepted("192.0.2.1").ask(&ruleset), "no-match");
    assert_eq!(accepted("10.1.1.1").ask(&ruleset), "needs identity");
    let known = |identity: Identity| Question { identity: Some(identity), ..accepted("10.1.1.1") };
    assert_eq!(known(principal("alice@S")).ask(&ruleset), "no-match");
    assert_eq!(known(principal("alice@R")).ask(&ruleset), "needs operation");
    assert_eq!(Question::connect("a.bad.example:1").by(principal("alice@R")).ask(&ruleset), "deny not-there");
    assert_eq!(Question::connect("a.good.example:1").by(principal("alice@R")).ask(&ruleset), "needs address");
}

#[test]
fn a_rule_with_identity_never_matches_an_anonymous_client() {
    let ruleset = rules("  - { name: all, action: permit, identity: ['none:*', 'group:staff', '*@R'] }\n");
    let mut anonymous = Identity::anonymous().by("none".into());
    anonymous.groups.push("staff".into());
    assert_eq!(Question::connect("192.0.2.1:1").by(anonymous).ask(&ruleset), "no-match");
}

#[test]
fn an_expired_proof_is_denied_whatever_the_rules_say() {
    let ruleset = rules("  - { name: all, action: permit }\n");
    let mut late = principal("alice@R");
    late.valid_until = Some(NOW);
    let question = Question { operation: None, ..Question::connect("192.0.2.1:1").by(late) };
    assert_eq!(question.ask(&ruleset), "identity-expired");
}

#[test]
fn an_expired_rule_permits_nothing() {
    let ruleset = rules(
        "
  - { name: over, action: permit, port: 1, expires: 2027-01-14 }
  - { name: today, action: permit, port: 1-2, expires: 2027-01-15 }
  - { name: second, action: permit, port: 3, expires: '2027-01-15T08:00:00Z' }
  - { name: next, action: permit, port: 3-4, expires: '2027-01-15T08:00:01Z' }
",
    );
    let table = [(1, "permit today"), (2, "permit today"), (3, "permit next"), (4, "permit next")];
    assert_eq!(NOW.to_string(), "2027-01-15T08:00:00Z");
    for (port, expected) in table {
        assert_eq!(Question::connect(&format!("192.0.2.1:{port}")).ask(&ruleset), expected, "{port}");
    }
}

#[test]
fn a_rule_that_only_logs_leaves_the_decision_to_those_behind_it() {
    let ruleset = rules(
        "
  - { name: seen, action: log-only }
  - { name: web-seen, action: log-only, port: 80, identity: ['group:staff', 'password:bob'] }
  - { name: lab-seen, action: log-only, destination: 10.66.0.0/16 }
  - { name: no-80, action: deny, port: 80 }
  - { name: all, action: permit }
  - { name: too-late, action: log-only }
",
    );
    let unknown = user("eve").without_groups("no answer");
    let table = [
        (Question::connect("192.0.2.1:443"), "permit all", "seen"),
        (Question::connect("192.0.2.1:80"), "deny no-80", "seen"),
        (Question::connect("192.0.2.1:80").by(user("bob")), "deny no-80", "seen web-seen"),
        (Question::connect("192.0.2.1:80").by(user("eve")), "deny no-80", "seen"),
        (Question::connect("192.0.2.1:80").by(unknown), "deny no-80", "seen web-seen"),
        (Question::connect("x.example:443"), "needs address", ""),
        (Question::connect("x.example:443").at("10.66.1.1"), "permit all", "seen lab-seen"),
        (Question::connect("[64:ff9b::10.66.1.1]:443"), "permit all", "seen lab-seen"),
        (Question::connect("127.0.0.1:443"), "special-use all", "seen too-late"),
        (Question::connect("10.66.0.1:1").doing(OperationKind::Associate), "permit all", "seen"),
    ];
    for (question, expected, logged_by) in table {
        assert_eq!(question.ask(&ruleset), expected, "{question:?}");
        let decision = ruleset.decide(&question.query());
        assert_eq!(decision.logged_by().join(" "), logged_by, "{question:?}");
        let explained = ruleset.explain(&question.query());
        assert_eq!(explained.logged_by.join(" "), logged_by, "{question:?}");
    }
    let question = Question::connect("192.0.2.1:443");
    let shown = ruleset.explain(&question.query()).to_string();
    assert!(shown.starts_with("rule `seen` (line 5, log-only) matches\nrule `web-seen`"), "{shown}");
    assert!(shown.ends_with("not reached: 1\nverdict: permitted by rule `all` to 192.0.2.1:443"), "{shown}");
}

#[test]
fn the_names_of_rules_that_only_log_are_bounded() {
    let mut text: String = (0..40).map(|at| format!("  - {{ name: r{at}, action: log-only }}\n")).collect();
    text.push_str("  - { name: all, action: permit }\n");
    let ruleset = rules(&text);
    let question = Question::connect("192.0.2.1:443");
    let decision = ruleset.decide(&question.query());
    assert_eq!(decision.logged_by().len(), 16);
    assert_eq!(question.ask(&ruleset), "permit all");
}

#[test]
fn a_permit_carries_what_was_judged_and_granted() {
    let ruleset = rules(
        "
  - name: all
    action: permit
    limits: { idle-timeout: 10m, connect-timeout: 250ms, sessions: 20 }
    egress: [192.0.2.5, '2001:db8::5']
    family: prefer-v6
    bind: { ports: 30000-30999, peer: any, timeout: 90s }
    udp: { ports: 31000, replies: any, fragments: reassemble, associations: 10, datagrams: 5000 }
",
    )
    .with_generation(7);
    let question = Question::connect("x.example:443").at("::ffff:203.0.113.9").by(principal("alice@R"));
    let Decision::Permit(permit) = ruleset.decide(&question.query()) else { panic!("not permitted") };
    assert_eq!(&**permit.rule(), "all");
    assert_eq!(permit.address(), Some("203.0.113.9:443".parse().unwrap()));
    assert_eq!((permit.kind(), permit.generation()), (OperationKind::Connect, 7));
    assert_eq!(permit.command(), socks_core::wire::Command::Connect);
    let terms = permit.terms();
    assert_eq!(terms.idle_timeout, Some(Duration::from_secs(600)));
    assert_eq!(terms.connect_timeout, Some(Duration::from_millis(250)));
    assert_eq!(terms.sessions, Some(20));
    assert_eq!(terms.egress.v4, Some("192.0.2.5".parse().unwrap()));
    assert_eq!(terms.egress.v6, Some("2001:db8::5".parse().unwrap()));
    assert_eq!(terms.family, Family::PreferV6);
    let bind = &terms.bind;
    assert_eq!(bind.ports.map(|range| (range.first(), range.last())), Some((30_000, 30_999)));
    assert_eq!((bind.peer, bind.timeout), (BindPeerRule::Any, Some(Duration::from_secs(90))));
    let udp = &terms.udp;
    assert_eq!(udp.ports.map(|range| (range.first(), range.last())), Some((31_000, 31_000)));
    assert_eq!((udp.replies, udp.fragments), (UdpReplies::Any, Fragments::Reassemble));
    assert_eq!((udp.associations, udp.datagrams), (Some(10), NonZeroU32::new(5000)));
    let association = Question::connect("0.0.0.0:0").doing(OperationKind::Associate);
    let Decision::Permit(permit) = ruleset.decide(&association.query()) else { panic!("not permitted") };
    assert_eq!(permit.address(), None);
}

#[test]
fn an_address_given_beside_a_literal_one_changes_nothing() {
    let ruleset = rules("  - { name: net, action: permit, destination: 192.0.2.0/24 }\n");
    let question = Question::connect("192.0.2.1:80").at("203.0.113.1");
    let Decision::Permit(permit) = ruleset.decide(&question.query()) else { panic!("not permitted") };
    assert_eq!(permit.address(), Some("192.0.2.1:80".parse().unwrap()));
    assert_eq!(Question::connect("203.0.113.1:80").at("192.0.2.1").ask(&ruleset), "no-match");
}

#[test]
fn without_rules_everything_is_denied() {
    let ruleset = crate::testing::ruleset("version: 1\nclients: []\nrules: []\n");
    let question = Question::connect("192.0.2.1:1");
    assert_eq!(question.ask(&ruleset), "no-match");
    let accepted = Query { identity: None, operation: None, ..question.query() };
    assert!(matches!(ruleset.decide(&accepted), Decision::Deny(_)));
}

#[test]
fn an_explanation_gives_the_first_reason_of_each_rule() {
    let ruleset = rules(POLICY);
    let question = Question::connect("192.0.2.1:80").by(principal("alice@R"));
    let shown = ruleset.explain(&question.query()).to_string();
    let expected = "\
rule `no-mail` (line 5, deny) does not match: port 80 is not in `25`
rule `no-lab` (line 6, deny) does not match: destination 192.0.2.1 is not in `10.66.0.0/16, *.lab.example`
rule `git` (line 7, permit) does not match: destination 192.0.2.1 is not in `git.example, *.git.example, 10.5.0.0/16`
rule `secret` (line 8, permit) does not match: identity `alice@R` is not in `*/*@R`
rule `office` (line 9, permit) matches
rules behind it, not reached: 2
verdict: permitted by rule `office` to 192.0.2.1:80";
    assert_eq!(shown, expected);
}

#[test]
fn an_explanation_tells_what_a_name_still_depends_on() {
    let ruleset = rules(POLICY);
    let explanation = ruleset.explain(&Question::connect("x.example:80").query());
    let shown = explanation.to_string();
    assert!(shown.contains("rule `no-lab` (line 6, deny) may match: depends on the address\n"), "{shown}");
    assert!(shown.ends_with("verdict: depends on the address"), "{shown}");
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["verdict"], serde_json::json!({ "answer": "needs", "fact": "address" }));
    assert_eq!(json["rules"][1]["outcome"], "may-match");
    assert_eq!(json["admitted"], true);
}

#[test]
fn an_explanation_names_the_special_address() {
    let ruleset = rules("  - { name: all, action: permit }\n");
    let shown = ruleset.explain(&Question::connect("127.0.0.1:80").query()).to_string();
    let expected = "\
rule `all` (line 4, permit) does not match: 127.0.0.1 is special-use (loopback), and the rule has no `special-use: permit`
verdict: denied: rule `all` would permit, but not a special-use address (loopback)";
    assert_eq!(shown, expected);
}

#[test]
fn an_explanation_denies_whom_the_clients_refuse() {
    let ruleset = crate::testing::ruleset(
        "version: 1\nclients: [{ methods: [password] }]\nrules: [{ name: all, action: permit }]\n",
    );
    let explanation = ruleset.explain(&Question::connect("192.0.2.1:80").query());
    let expected = "\
clients: no row lets this client in with this method and protection
rule `all` (line 3, permit) matches
verdict: denied: not-admitted: no row of `clients` lets this client in";
    assert_eq!(explanation.to_string(), expected);
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["admitted"], false);
    assert_eq!(json["verdict"]["answer"], "deny");
    assert_eq!(json["verdict"]["reason"], "not-admitted");
    assert_eq!(json["verdict"].get("rule"), None);
    let by_name = ruleset.explain(&Question::connect("x.example:80").query());
    assert_eq!(by_name.verdict, explanation.verdict);
    let admitted = ruleset.explain(&Question::connect("192.0.2.1:80").by(user("bob")).query());
    assert!(admitted.to_string().ends_with("verdict: permitted by rule `all` to 192.0.2.1:80"), "{admitted}");
}

#[test]
fn groups_that_could_not_be_learned_are_denied_and_never_permitted() {
    let ruleset = crate::testing::ruleset(
        "
version: 1
sets:
  groups: { guests: [S-1-5-21-1-513, S-1-5-21-1-514] }
  identities: { outsiders: ['*@OUT', 'group:guests'], insiders: [bob@R, 'group:staff'] }
clients: [{ methods: [gssapi, none] }]
rules:
  - { name: no-guests, action: deny, identity: 'group:guests', port: 1 }
  - { name: no-outsiders, action: deny, identity: outsiders, port: 2 }
  - { name: not-bob, action: deny, identity: bob@R, port: 3 }
  - { name: staff, action: permit, identity: 'group:staff', port: 1-3 }
  - { name: insiders, action: permit, identity: insiders, port: 1-4 }
  - { name: not-by-integrity, action: deny, identity: 'group:staff', method: password, port: 5 }
  - { name: everybody, action: permit, port: 3-5 }
",
    );
    let mut staff = principal("alice@R");
    staff.groups.push("staff".into());
    let unknown = |name: &str| principal(name).without_groups("no answer");
    let anonymous = Identity::anonymous().by("none".into()).without_groups("no answer");
    let identities = [staff, unknown("alice@R"), unknown("bob@R"), anonymous];
    let table = [
        (1, ["permit staff", "deny no-guests", "deny no-guests", "no-match"]),
        (2, ["permit staff", "deny no-outsiders", "deny no-outsiders", "no-match"]),
        (3, ["permit staff", "permit everybody", "deny not-bob", "permit everybody"]),
        (4, ["permit insiders", "permit everybody", "permit insiders", "permit everybody"]),
        (5, ["permit everybody", "permit everybody", "permit everybody", "permit everybody"]),
    ];
    for (port, expected) in table {
        for (identity, expected) in identities.iter().zip(expected) {
            let question = Question::connect(&format!("192.0.2.1:{port}")).by(identity.clone());
            assert_eq!(question.ask(&ruleset), expected, "{identity:?} to port {port}");
        }
    }
}

#[test]
fn a_decision_and_its_explanation_say_that_groups_could_not_be_learned() {
    let ruleset = rules(
        "
  - { name: staff, action: permit, identity: 'group:staff', port: 1 }
  - { name: no-guests, action: deny, identity: ['*@OUT', 'group:guests'] }
",
    );
    let question = |name: &str| {
        Question::connect("192.0.2.1:1").by(principal(name).without_groups("the directory does not answer"))
    };
    let Decision::Deny(denial) = ruleset.decide(&question("alice@R").query()) else { panic!("it permits") };
    assert_eq!(denial.reason.as_str(), "groups-missing");
    let explanation = ruleset.explain(&question("alice@R").query());
    let expected = "\
rule `staff` (line 5, permit) does not match: whether identity `alice@R` is in `group:staff` is unknown: groups of the identity could not be learned (the directory does not answer)
rule `no-guests` (line 6, deny) matches: groups of the identity could not be learned (the directory does not answer)
verdict: denied: rule `no-guests` denies a group, and the groups of the identity could not be learned (the directory does not answer)";
    assert_eq!(explanation.to_string(), expected);
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["groups-missing"], "the directory does not answer");
    assert_eq!(json["verdict"]["reason"], "groups-missing");
    assert_eq!(json["verdict"]["rule"], "no-guests");
    // Where the rule means the identity by its name, its groups have no part in it.
    let by_name = ruleset.explain(&question("eve@OUT").query());
    assert!(by_name.to_string().ends_with("verdict: denied: rule `no-guests` denies"), "{by_name}");
}

#[test]
fn an_explanation_says_when_groups_could_not_be_learned_for_the_clients() {
    let ruleset = crate::testing::ruleset(
        "version: 1\nclients: [{ methods: [gssapi], identity: 'group:staff' }]\nrules: [{ name: all, action: permit }]\n",
    );
    let identity = principal("alice@R").without_groups("no answer");
    let shown = ruleset.explain(&Question::connect("192.0.2.1:1").by(identity).query()).to_string();
    let expected = "verdict: denied: not-admitted: no row of `clients` lets this client in for certain, and groups of the identity could not be learned (no answer)";
    assert!(shown.ends_with(expected), "{shown}");
}
