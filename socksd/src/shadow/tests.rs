use std::net::{IpAddr, SocketAddr};

use socks_config::Document;
use socks_core::wire::Target;
use socks_core::{Identity, Level};
use socks_policy::{Context, Ruleset};

use super::*;
use crate::judgement::Answer;
use crate::listeners::Entrance;
use crate::roster::{Roster, SessionId};

/// Rules of every sort: by network, name, identity, group, protection, command, and special addresses.
const POLICY: &str = "
version: 1
clients:
  - { source: 192.0.2.0/24, methods: [password], identity: 'password:alice', protection: [integrity] }
  - { source: [192.0.2.0/24, 198.51.100.0/24], methods: [password, none] }
rules:
  - { name: no-mail, action: deny, port: 25 }
  - { name: no-lab, action: deny, destination: 10.9.0.0/16 }
  - { name: admins, action: permit, identity: 'group:admins', special-use: permit }
  - { name: seen, action: log-only, destination: '*.corp.example' }
  - { name: alice-to-corp, action: permit, identity: 'password:alice', protection: integrity, destination: '*.corp.example' }
  - { name: office, action: permit, source: 192.0.2.0/24, command: [connect, bind] }
  - { name: no-bob, action: deny, identity: 'password:bob' }
";

/// The same with rules that are stricter, laxer, and called otherwise.
const NEXT: &str = "
version: 1
clients:
  - { source: 192.0.2.0/24, methods: [password, none] }
rules:
  - { name: no-lab, action: deny, destination: 10.9.0.0/16 }
  - { name: everything, action: permit, source: 192.0.2.0/24 }
";

fn policy(text: &str) -> Policy {
    let document = Document::parse("policy.yaml", text.to_owned()).unwrap();
    Policy::alone(Ruleset::load(&document, &Context::default()).unwrap().ruleset)
}

fn live() -> Arc<Live> {
    let id = SessionId { boot: 1, number: 1 };
    Roster::default().enter(id, (Entrance::none(), "main".into()), ([192, 0, 2, 1], 1).into())
}

/// Asks with all that may be known of a session, combined in all ways.
fn each_query(mut ask: impl FnMut(&Query<'_>)) {
    let mut alice = Identity::user("alice").by("password".into());
    alice.level = Level::Integrity;
    let mut admin = Identity::user("root").by("password".into());
    admin.groups = vec!["admins".into()];
    let bob = Identity::user("bob").by("password".into());
    let anonymous = Identity::anonymous().by("none".into());
    let groupless = Identity::user("eve").by("password".into()).without_groups("the directory sleeps");
    let identities = [None, Some(&alice), Some(&admin), Some(&bob), Some(&anonymous), Some(&groupless)];
    let targets = ["git.corp.example:443", "web.example:25", "10.9.1.1:80", "127.0.0.1:80", "203.0.113.9:80"];
    let targets = targets.map(|text| text.parse::<Target>().unwrap());
    let peer = ([203, 0, 113, 9], 20).into();
    let mut operations = vec![
        None,
        Some(Operation::Associate),
        Some(Operation::BindListen(ExpectedPeer::Unknown)),
        Some(Operation::BindPeer { peer, name: None }),
    ];
    for target in &targets {
        operations.push(Some(Operation::Connect(target)));
        operations.push(Some(Operation::Datagram(target)));
        operations.push(Some(Operation::BindListen(target.into())));
    }
    let addresses: [Option<IpAddr>; 3] = [None, Some([10, 9, 1, 1].into()), Some([203, 0, 113, 7].into())];
    let clients: [SocketAddr; 3] =
        [([192, 0, 2, 1], 1).into(), ([198, 51, 100, 1], 1).into(), ([203, 0, 113, 1], 1).into()];
    for client in clients {
        for identity in identities {
            for operation in &operations {
                for address in addresses {
                    let now = Timestamp::UNIX_EPOCH;
                    let (listener, operation) = ("main", *operation);
                    ask(&Query { listener, client, identity, operation, address, gateway: &[], now });
                }
            }
        }
    }
}

#[test]
fn a_shadow_that_is_the_policy_in_force_never_differs() {
    for text in [POLICY, NEXT] {
        let (own, shadow, live) = (policy(text), Shadow::new(policy(text), PathBuf::new()), live());
        each_query(|query| {
            let found = shadow.compare(Seen::of(&live, query), own.judge(query));
            assert!(found.is_none(), "{found:?} for {query:?}");
            // The gateway asks only the rules, once it has let the client in.
            if own.judge(query).reason != Some(crate::judgement::NOT_ADMITTED) {
                let found = shadow.compare(Seen::of(&live, query), &own.ruleset.decide(query));
                assert!(found.is_none(), "{found:?} for {query:?}");
            }
        });
    }
}

#[test]
fn every_kind_of_difference_is_what_both_policies_say_of_the_same_facts() {
    let (own, next, live) = (policy(POLICY), policy(NEXT), live());
    let shadow = Shadow::new(policy(NEXT), PathBuf::new());
    let mut kinds = std::collections::BTreeSet::new();
    each_query(|query| {
        let (one, other) = (own.judge(query), next.judge(query));
        let found = shadow.compare(Seen::of(&live, query), one.clone());
        let kind = found.map(|found| found.difference.kind);
        let expected = match (one.answer, other.answer) {
            (Answer::Undecided, _) => None,
            (_, Answer::Undecided) => Some(Kind::Undecided),
            (Answer::Permit, Answer::Deny) => Some(Kind::WouldDeny),
            (Answer::Deny, Answer::Permit) => Some(Kind::WouldPermit),
            _ => (one != other).then_some(Kind::OtherRule),
        };
        assert_eq!(kind, expected, "{one:?} and {other:?} for {query:?}");
        kinds.extend(kind);
    });
    assert!(kinds.into_iter().eq(Kind::ALL), "all kinds came up");
}

fn query<'a>(operation: Option<Operation<'a>>, identity: Option<&'a Identity>) -> Query<'a> {
    let client = ([192, 0, 2, 1], 1).into();
    let now = Timestamp::UNIX_EPOCH;
    Query { listener: "main", client, identity, operation, address: None, gateway: &[], now }
}

#[test]
fn a_difference_counts_once_a_session_and_once_more_beside_another_policy() {
    let (live, metrics) = (live(), Metrics::new());
    let anonymous = Identity::anonymous().by("none".into());
    let query = query(Some(Operation::Associate), Some(&anonymous));
    let count = |shadow: &Shadow| {
        for _ in 0..3 {
            shadow.watch(Seen::of(&live, &query), Said::no("no-match"), &metrics);
        }
        shadow.tally().count(Kind::WouldPermit)
    };
    let first = Shadow::new(policy(NEXT), PathBuf::new());
    assert_eq!((count(&first), count(&first)), (1, 1));
    let second = Shadow {
        since: first.since + jiff::SignedDuration::from_secs(1),
        ..Shadow::new(policy(NEXT), PathBuf::new())
    };
    assert_eq!(count(&second), 1, "it begins anew");
    assert_eq!(live.facts().rare().shadow.len(), 1, "the record names it once");
    let report = serde_json::to_value(Report::of(Some(&first), 7)).unwrap();
    assert_eq!(report["counts"]["would-permit"], 1);
    assert_eq!(report["compared"], 6);
    let example = &report["examples"][0];
    assert_eq!(example["identity"], "anonymous");
    assert_eq!((&example["operation"], &example["shadow-rule"]), (&"associate".into(), &"everything".into()));
}

#[test]
fn a_session_has_room_for_few_differences_and_counts_no_others() {
    let (live, metrics) = (live(), Metrics::new());
    let shadow = Shadow::new(policy(NEXT), PathBuf::new());
    let anonymous = Identity::anonymous().by("none".into());
    let query = query(Some(Operation::Associate), Some(&anonymous));
    for number in 0..100 {
        let denied = Said { rule: Some(format!("rule-{number}").into()), ..Said::no("rule") };
        shadow.watch(Seen::of(&live, &query), denied, &metrics);
    }
    assert_eq!(live.facts().rare().shadow.len(), 16);
    assert_eq!(shadow.tally().count(Kind::WouldPermit), 16);
}

#[test]
fn a_client_that_is_offered_nothing_is_undecided_where_the_shadow_offers_what_it_can() {
    let document = Document::parse("policy.yaml", NEXT.to_owned()).unwrap();
    let ruleset = Ruleset::load(&document, &Context::default()).unwrap().ruleset;
    let policy = Policy { ruleset, methods: vec![("password".into(), false)] };
    let (shadow, live, query) = (Shadow::new(policy, PathBuf::new()), live(), query(None, None));
    let kind = |wanted: &str| {
        let found = shadow.compare_doors(Seen::of(&live, &query), "no-method", |name| **name == *wanted);
        found.map(|found| (found.difference.kind, found.difference.shadow_reason))
    };
    assert_eq!(kind("password"), Some((Kind::Undecided, Some("identity"))));
    assert_eq!(kind("none"), None, "the gateway has no such authenticator");
    let outside = Query { client: ([203, 0, 113, 1], 1).into(), ..query };
    let found = shadow.compare_doors(Seen::of(&live, &outside), "no-method", |_| true).unwrap();
    assert_eq!((found.difference.kind, found.difference.shadow_reason), (Kind::OtherRule, Some("no-match")));
}

/// A policy with a bug.
struct Faulty;

impl Judge for Faulty {
    fn judge(&self, _: &Query<'_>) -> Said {
        panic!("a bug in the shadow policy");
    }

    fn doors(&self, _: &str, _: IpAddr) -> Vec<Arc<str>> {
        panic!("a bug in the shadow policy");
    }
}

#[test]
fn a_shadow_with_a_bug_harms_nobody_and_judges_no_more() {
    let (shadow, live, query) = (Shadow::new(Faulty, PathBuf::new()), live(), query(None, None));
    let seen = Seen::of(&live, &query);
    assert!(!shadow.has_failed());
    assert!(shadow.compare(seen, Said::no("no-match")).is_none());
    assert!(shadow.has_failed());
    assert!(shadow.compare(seen, Said::no("no-match")).is_none());
    assert!(shadow.compare_doors(seen, "no-method", |_| true).is_none());
    assert_eq!(shadow.compared.load(Ordering::Relaxed), 1, "it was asked once");
}
