use std::fmt::Write;

use proptest::prelude::*;
use proptest::sample::select;
use socks_core::{Identity, Level, Levels};

use crate::rule::Check;
use crate::testing::{NOW, Question, principal, rules, shown, user};
use crate::view::View;
use crate::{Decision, Fact, OperationKind, Query, Ruleset};

/// The rules that only log and match, before the one that decides; nothing as long as a fact is missing.
fn log_slowly(ruleset: &Ruleset, query: &Query<'_>) -> Vec<String> {
    let view = View::new(query, None);
    let is_expired = query.identity.is_some_and(|identity| identity.has_expired(query.now));
    if is_expired || matches!(ruleset.decide(query), Decision::Needs(_)) {
        return Vec::new();
    }
    let matching = ruleset.rules.iter().filter(|rule| rule.check(&view) == Check::Matches);
    matching.take_while(|rule| !rule.decides()).map(|rule| rule.name().to_string()).take(16).collect()
}

/// Decides by looking at each rule in turn: what the index must agree with.
fn decide_slowly(ruleset: &Ruleset, query: &Query<'_>) -> String {
    if query.identity.is_some_and(|identity| identity.has_expired(query.now)) {
        return "identity-expired".into();
    }
    let view = View::new(query, None);
    let missing = view.missing().map(|fact| format!("needs {fact}"));
    for rule in &ruleset.rules {
        match rule.check(&view) {
            Check::No(_) => {}
            Check::Matches if !rule.decides() => {}
            Check::Needs(_) if rule.permits() => {
                return missing.expect("a rule needs a fact that is missing");
            }
            Check::Needs(_) => {}
            Check::Matches if rule.permits() => {
                return missing.unwrap_or_else(|| format!("permit {}", rule.name()));
            }
            Check::Matches => return format!("deny {}", rule.name()),
        }
    }
    if view.special.is_some() && missing.is_none() {
        let ordinary = View { special: None, ..view };
        let matches = |rule: &&crate::rule::Rule| rule.decides() && rule.check(&ordinary) == Check::Matches;
        let first = ruleset.rules.iter().find(matches);
        if let Some(rule) = first.filter(|rule| rule.permits()) {
            return format!("special-use {}", rule.name());
        }
    }
    "no-match".into()
}

const SETS: &str = "
sets:
  networks: { office: [10.1.0.0/16, 'fd12::/48'], far: [172.16.0.0/12, '2002::/16', 127.0.0.1] }
  hosts: { web: [a.example, '*.b.example', 172.16.5.0/24] }
  groups: { many: [build, S-1-5-21-1-512] }
  identities: { staff: ['*@R', 'password:bob', 'group:build'], crews: ['group:many', 'eve@S'] }
  ports: { some: [22, 443, 8000-8999] }
  times: { nights: { hours: '18:00-08:00' } }
clients: [{ methods: [gssapi, password, none] }]
";

const KEYS: [(&str, &[&str]); 9] = [
    ("source", &["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", "'::/0'", "office", "0.0.0.0/0"]),
    ("listener", &["a", "b"]),
    (
        "identity",
        &[
            "alice@R",
            "'*@R'",
            "'*/*@R'",
            "'host/*@R'",
            "'password:bob'",
            "'password:*'",
            "'group:build'",
            "'group:other'",
            "'group:many'",
            "staff",
            "crews",
        ],
    ),
    ("method", &["gssapi", "password", "none"]),
    ("protection", &["none", "integrity", "confidentiality", "selective"]),
    ("command", &["connect", "bind", "udp-associate"]),
    (
        "destination",
        &[
            "172.16.0.0/12",
            "172.16.5.0/24",
            "0.0.0.0/0",
            "'::/0'",
            "'2002::/16'",
            "a.example",
            "x.a.example",
            "'*.example'",
            "'*.b.example'",
            "web",
            "far",
            "127.0.0.0/8",
            "10.0.0.0/8",
        ],
    ),
    ("port", &["22", "80-90", "1024-65535", "some", "0-65535"]),
    // The questions are asked on a Friday at 08:00 UTC.
    (
        "when",
        &["{ days: fri }", "{ hours: '09:00-10:00', zone: Europe/Berlin }", "nights", "{ days: [sat-thu] }"],
    ),
];

/// The keys of one rule, the name left out.
fn rule() -> impl Strategy<Value = String> {
    let key = |(key, values): (&'static str, &'static [&'static str])| {
        let list = proptest::collection::vec(select(values), 1..3);
        proptest::option::weighted(0.3, list).prop_map(move |values| match values {
            None => String::new(),
            Some(values) => {
                format!(", {key}: [{}]", values.join(", ")).replace("protection: [", "protection: [")
            }
        })
    };
    let keys: Vec<_> = KEYS.into_iter().map(key).collect();
    let permit_keys =
        select(&["", "", ", special-use: permit", ", expires: 2020-01-01", ", expires: 2040-01-01"][..]);
    let action = select(&["permit", "permit", "deny", "deny", "log-only"][..]);
    (action, keys, permit_keys).prop_map(|(action, keys, permit_keys)| {
        let keys = keys.concat();
        // The minimum of protection is one level, not a list.
        let keys = match keys.split_once(", protection: [") {
            None => keys,
            Some((before, rest)) => {
                let (levels, after) = rest.split_once(']').unwrap();
                format!("{before}, protection: {}{after}", levels.split(',').next().unwrap())
            }
        };
        let permit_keys = if action == "permit" { permit_keys } else { "" };
        format!("action: {action}{keys}{permit_keys}")
    })
}

/// A ruleset; `padding` rules that never match stand between the first and the rest.
fn policy() -> impl Strategy<Value = String> {
    (proptest::collection::vec(rule(), 1..14), select(&[0, 0, 0, 61, 1023][..])).prop_map(
        |(rules, padding)| {
            let mut text = format!("version: 1\n{SETS}\nrules:\n");
            for (at, rule) in rules.iter().enumerate() {
                writeln!(text, "  - {{ name: rule-{at}, {rule} }}").unwrap();
                for filler in (0..padding).filter(|_| at == 0) {
                    writeln!(text, "  - {{ name: filler-{filler}, action: permit, listener: nowhere }}")
                        .unwrap();
                }
            }
            text
        },
    )
}

/// Who may ask, some of them with groups that could not be learned.
fn identities() -> Vec<Identity> {
    let mut grouped = principal("eve@S");
    grouped.groups = vec!["build".into(), "other".into()];
    let mut weak = principal("host/h@R");
    weak.level = Level::Selective;
    let mut late = user("bob");
    late.valid_until = Some(NOW);
    let unknown = |identity: &Identity| identity.clone().without_groups("no answer");
    let anonymous = Question::connect("a.example:1").identity.unwrap();
    vec![
        unknown(&anonymous),
        unknown(&weak),
        unknown(&grouped),
        unknown(&user("bob")),
        unknown(&principal("alice@R")),
        anonymous,
        principal("alice@R"),
        principal("eve@S"),
        grouped,
        weak,
        user("bob"),
        user("alice@R"),
        late,
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let clients = ["10.1.2.3", "10.9.9.9", "::ffff:10.1.2.3", "fd12::1", "192.0.2.1"];
    let hosts = [
        "a.example",
        "x.a.example",
        "y.b.example",
        "example",
        "172.16.5.5",
        "172.20.0.1",
        "8.8.8.8",
        "127.0.0.1",
        "10.1.1.1",
        "[2001:db8::1]",
        "[2002:ac10:505::1]",
        "[64:ff9b::10.1.1.1]",
        "[::ffff:172.16.5.5]",
        "0.0.0.0",
        "[2002:7f00:1::1]",
    ];
    let addresses =
        ["172.16.5.5", "8.8.8.8", "127.0.0.1", "2002:ac10:505::1", "2001:db8::1", "::ffff:172.20.0.1"];
    let kinds = [
        OperationKind::Connect,
        OperationKind::Datagram,
        OperationKind::Associate,
        OperationKind::BindListen,
        OperationKind::BindPeer,
    ];
    let ports = [22_u16, 80, 443, 1080, 8080, 0, 65535];
    (
        select(clients.to_vec()),
        select(identities()),
        select(hosts.to_vec()),
        select(addresses.to_vec()),
        select(kinds.to_vec()),
        select(ports.to_vec()),
    )
        .prop_map(|(client, identity, host, address, kind, port)| {
            let mut question = Question::connect(&format!("{host}:{port}")).from(client).by(identity);
            question.gateway = vec!["8.8.8.8:1080".parse().unwrap()];
            question.doing(kind).at(address)
        })
}

/// Whom a row of `clients` is for.
const WHO: [&str; 5] = [
    "",
    ", identity: 'group:build'",
    ", identity: 'group:other'",
    ", identity: ['group:build', '*@S']",
    ", identity: [alice@R, 'group:other']",
];

/// What a row of `clients` says of protection.
const LEVELS: [&str; 7] = [
    "",
    ", protection: none",
    ", protection: integrity",
    ", protection: [none, integrity]",
    ", protection: [confidentiality, none]",
    ", protection: [selective, integrity, confidentiality]",
    ", protection: [none, integrity, confidentiality, selective]",
];

/// Groups that an identity can be in, of those that the policies name.
fn memberships() -> [&'static [&'static str]; 5] {
    [&[], &["build"], &["other"], &["S-1-5-21-1-512"], &["build", "other"]]
}

fn with_groups(identity: &Identity, groups: &[&str]) -> Identity {
    let mut identity = identity.clone();
    identity.groups = groups.iter().map(|group| Box::from(*group)).collect();
    identity.groups_missing = None;
    identity
}

/// The question with fewer facts, in every way in which they can be missing.
fn with_less(question: &Question) -> Vec<Question> {
    let mut all = vec![question.clone()];
    for index in 1..8 {
        let mut less = question.clone();
        if index & 1 != 0 {
            less.address = None;
        }
        if index & 2 != 0 {
            less.operation = None;
        }
        if index & 4 != 0 {
            less.identity = None;
        }
        all.push(less);
    }
    all
}

fn knows_no_more(less: &Question, more: &Question) -> bool {
    (less.address.is_none() || more.address.is_some())
        && (less.operation.is_none() || more.operation.is_some())
        && (less.identity.is_none() || more.identity.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_decides_as_the_rules_one_by_one(
        policy in policy(),
        questions in proptest::collection::vec(question(), 24),
    ) {
        let ruleset = crate::testing::ruleset(&policy);
        for question in questions.iter().flat_map(with_less) {
            prop_assert_eq!(question.ask(&ruleset), decide_slowly(&ruleset, &question.query()), "{:?}", question);
            let decision = ruleset.decide(&question.query());
            let logged_by: Vec<String> = decision.logged_by().iter().map(ToString::to_string).collect();
            prop_assert_eq!(logged_by, log_slowly(&ruleset, &question.query()), "{:?}", question);
        }
    }

    #[test]
    fn a_further_fact_never_revokes_a_decision(
        policy in policy(),
        questions in proptest::collection::vec(question(), 24),
    ) {
        let ruleset = crate::testing::ruleset(&policy);
        for question in &questions {
            let all = with_less(question);
            let pairs = all.iter().flat_map(|less| all.iter().map(move |more| (less, more)));
            for (less, more) in pairs.filter(|(less, more)| knows_no_more(less, more)) {
                let (before, after) = (ruleset.decide(&less.query()), ruleset.decide(&more.query()));
                match (&before, &after) {
                    (Decision::Deny(_), Decision::Deny(_)) => {}
                    (Decision::Deny(_), other) => prop_assert!(false, "{} became {}", shown(&before), shown(other)),
                    (Decision::Permit(_), _) => prop_assert_eq!(shown(&before), shown(&after)),
                    (Decision::Needs(fact), _) => prop_assert!(lacks(less, *fact), "{fact} is there: {less:?}"),
                }
            }
        }
    }

    #[test]
    fn a_rule_that_is_called_covered_matches_only_with_the_one_that_covers_it(
        policy in policy(),
        questions in proptest::collection::vec(question(), 48),
    ) {
        let ruleset = crate::testing::ruleset(&policy);
        for (number, rule) in (0..).zip(&ruleset.rules) {
            let Some(earlier) = ruleset.covering(number) else { continue };
            for question in &questions {
                let view = View::new(&question.query(), None);
                if rule.check(&view) == Check::Matches {
                    prop_assert_eq!(earlier.check(&view), Check::Matches, "{} by {}", rule.name(), earlier.name());
                }
            }
        }
    }

    #[test]
    fn what_is_permitted_without_the_groups_is_permitted_with_whatever_they_are(
        policy in policy(),
        questions in proptest::collection::vec(question(), 24),
    ) {
        let ruleset = crate::testing::ruleset(&policy);
        for question in &questions {
            let Some(identity) = &question.identity else { continue };
            let unknown = question.clone().by(identity.clone().without_groups("no answer"));
            if !matches!(ruleset.decide(&unknown.query()), Decision::Permit(_)) {
                continue;
            }
            for groups in memberships() {
                let known = question.clone().by(with_groups(identity, groups));
                let decision = ruleset.decide(&known.query());
                prop_assert!(matches!(decision, Decision::Permit(_)), "{} {:?}", shown(&decision), known);
            }
        }
    }

    #[test]
    fn no_level_is_agreed_without_the_groups_that_would_not_be_with_whatever_they_are(
        rows in proptest::collection::vec((select(&WHO[..]), select(&LEVELS[..])), 1..5),
    ) {
        let rows: String =
            rows.iter().map(|(who, levels)| format!("  - {{ methods: [gssapi]{who}{levels} }}\n")).collect();
        let ruleset = crate::testing::ruleset(&format!("version: 1\nclients:\n{rows}rules: []\n"));
        let client = "10.0.0.1".parse().unwrap();
        let identity = principal("alice@R");
        let levels = |identity: &Identity| ruleset.levels("", client, identity);
        let Some(unknown) = levels(&identity.clone().without_groups("no answer")) else { return Ok(()) };
        for groups in memberships() {
            let known = levels(&with_groups(&identity, groups)).unwrap_or(Levels::Only(Vec::new()));
            prop_assert!(known.allow_unprotected() || !unknown.allow_unprotected(), "{rows}{groups:?}");
            for asked in Level::ALL {
                prop_assert!(known.allow(asked) || !unknown.allow(asked), "{rows}{asked} {groups:?}");
                if let Some(answer) = unknown.answer(asked) {
                    prop_assert_eq!(known.answer(asked), Some(answer), "{}{} {:?}", rows, asked, groups);
                }
            }
        }
    }

    #[test]
    fn no_address_makes_a_decision_panic(client: std::net::IpAddr, target: std::net::SocketAddr, address: std::net::IpAddr) {
        let ruleset = rules("  - { name: a, action: deny, destination: [10.0.0.0/8, '::/0'], port: 0-65535 }\n");
        let mut question = Question::connect("x.example:0").at(&address.to_string()).from(&client.to_string());
        let _by_name = question.ask(&ruleset);
        question.operation = Some((OperationKind::BindPeer, target.into()));
        let _by_address = question.ask(&ruleset);
    }
}

fn lacks(question: &Question, fact: Fact) -> bool {
    match fact {
        Fact::Identity => question.identity.is_none(),
        Fact::Operation => question.operation.is_none(),
        Fact::Address => question.address.is_none(),
    }
}
