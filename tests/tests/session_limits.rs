//! How many sessions sources, identities and rules may have, and how many may begin: each limit with its answer and its
//! record, and what becomes of open sessions when a reload gives them to another rule.

use std::time::Instant;

use tests::client::request;
use tests::targets::{self, Server};
use tests::{Client, Gateway, Setup};

/// RFC 1928 section 6: general SOCKS server failure.
const REFUSED: u8 = 0x01;
/// New sessions of so many seconds may come at once.
const SECONDS_AT_ONCE: usize = 10;

/// Asks for a tunnel as a user.
fn ask(gateway: &Gateway, name: &str, target: &Server) -> (Client, u8) {
    let mut client = Client::connect(gateway.address());
    client.greet(&[0x02]);
    assert_eq!(client.login(name, "secret"), 0);
    let code = client.connect_to(target.address).code;
    (client, code)
}

#[track_caller]
fn expect_refusal(gateway: &Gateway, (client, code): &(Client, u8), cause: &str) {
    assert_eq!(*code, REFUSED);
    gateway.session_of(client.local()).expect(&[("verdict", "deny"), ("cause", cause)]);
}

/// A setup of two users, with this policy's rules.
fn two_users(rules: &str) -> Setup {
    let setup = Setup::new().user("alice", "secret").user("bob", "secret");
    setup.policy(&format!("version: 1\nclients: [{{ methods: [password] }}]\nrules:\n{rules}"))
}

#[test]
fn an_identity_has_so_many_sessions_under_all_rules_together() {
    let rules = "  - { name: alices, action: permit, identity: \"password:alice\", special-use: permit, port: 1-32767 }\n\
                 \x20 - { name: all, action: permit, special-use: permit }\n";
    let (gateway, echo) = (two_users(rules).limit("max-sessions-per-identity", "2").start(), targets::echo());
    let (mut first, second) = (ask(&gateway, "alice", &echo), ask(&gateway, "alice", &echo));
    assert_eq!((first.1, second.1), (0, 0));
    expect_refusal(&gateway, &ask(&gateway, "alice", &echo), "too-many-sessions-of-identity");
    assert_eq!(ask(&gateway, "bob", &echo).1, 0, "another one has his own");
    first.0.expect_echo(b"still open");
    let local = first.0.local();
    drop(first);
    gateway.session_of(local);
    assert_eq!(ask(&gateway, "alice", &echo).1, 0);
}

#[test]
fn a_rule_has_so_many_sessions_whoever_they_are_of() {
    let rules = "  - { name: narrow, action: permit, special-use: permit, limits: { sessions: 2, sessions-in-all: 3 } }\n";
    let (gateway, echo) = (two_users(rules).start(), targets::echo());
    let _open = [ask(&gateway, "alice", &echo), ask(&gateway, "alice", &echo)];
    expect_refusal(&gateway, &ask(&gateway, "alice", &echo), "too-many-sessions-of-rule");
    let _bobs = ask(&gateway, "bob", &echo);
    expect_refusal(&gateway, &ask(&gateway, "bob", &echo), "too-many-sessions-of-rule-in-all");
}

#[test]
fn sessions_of_a_source_begin_at_their_rate_and_others_are_closed_at_once() {
    let gateway = Setup::new().limit("new-sessions-per-source", "1").start();
    let (begun, mut served, mut closed) = (Instant::now(), 0, 0);
    while closed < 5 {
        if Client::is_answered(gateway.address()) {
            served += 1;
        } else {
            closed += 1;
        }
    }
    let most = SECONDS_AT_ONCE + 1 + usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!((SECONDS_AT_ONCE..=most).contains(&served), "{served} of at most {most}");
    gateway.record(|record| {
        record.text("event") == "refusals" && record.to_string().contains("too-many-new-sessions-of-source")
    });
}

#[test]
fn sessions_of_a_rule_and_of_an_identity_begin_at_their_rates() {
    let rules = "  - { name: alices, action: permit, identity: \"password:alice\", special-use: permit, limits: { new-sessions: 1 } }\n\
                 \x20 - { name: all, action: permit, special-use: permit, limits: { new-sessions-per-identity: 1 } }\n";
    let (gateway, echo) = (two_users(rules).start(), targets::echo());
    for (name, cause) in
        [("alice", "too-many-new-sessions-of-rule"), ("bob", "too-many-new-sessions-of-rule-identity")]
    {
        let (begun, mut served) = (Instant::now(), 0);
        let refused = loop {
            let asked = ask(&gateway, name, &echo);
            if asked.1 != 0 {
                break asked;
            }
            served += 1;
        };
        let most = SECONDS_AT_ONCE + 1 + usize::try_from(begun.elapsed().as_secs()).unwrap();
        assert!((SECONDS_AT_ONCE..=most).contains(&served), "{name}: {served} of at most {most}");
        expect_refusal(&gateway, &refused, cause);
    }
}

#[test]
fn an_open_session_that_another_rule_holds_now_counts_there_and_its_record_tells() {
    let rules = "  - { name: old, action: permit, special-use: permit }\n";
    let setup = two_users(rules).key("admin", "{ socket: admin.sock }");
    let (gateway, echo) = (setup.start(), targets::echo());
    let mut open = [ask(&gateway, "alice", &echo), ask(&gateway, "alice", &echo)];
    gateway.edit(
        "policy.yaml",
        "name: old, action: permit,",
        "name: new, action: permit, limits: { sessions: 1 },",
    );
    let said = gateway.command(&["reload"]).succeeded();
    assert!(said.text().contains("2 "), "two have moved: {said}");
    for (client, _) in &mut open {
        client.expect_echo(b"nobody is lost to a limit that came later");
    }
    expect_refusal(&gateway, &ask(&gateway, "alice", &echo), "too-many-sessions-of-rule");
    let [(one, _), (other, _)] = open;
    for client in [one, other] {
        let local = client.local();
        drop(client);
        let record = gateway.session_of(local);
        record.expect(&[("rule", "new"), ("cause", "closed")]);
        assert!(record.to_string().contains("\"rules-before\":[\"old\"]"), "{record}");
    }
    assert_eq!(ask(&gateway, "alice", &echo).1, 0, "there is room again");
}

#[test]
fn who_is_refused_by_his_own_limit_uses_up_nothing_of_others() {
    let limits = "limits: { new-sessions: 2, new-sessions-per-identity: 1, sessions: 100 }";
    let rules = format!("  - {{ name: all, action: permit, special-use: permit, {limits} }}\n");
    let (gateway, echo) = (two_users(&rules).start(), targets::echo());
    let codes: Vec<u8> = (0..5 * SECONDS_AT_ONCE).map(|_| ask(&gateway, "alice", &echo).1).collect();
    assert!(codes.contains(&REFUSED), "{codes:?}");
    assert_eq!(ask(&gateway, "bob", &echo).1, 0, "half of the rule's is left at least");
}

#[test]
fn an_association_too_many_uses_up_no_new_session_of_others() {
    let limits = "limits: { new-sessions: 1 }, udp: { associations: 1 }";
    let policy = format!(
        "version: 1\nclients: [{{ methods: [none] }}]\nrules: [{{ name: r, action: permit, special-use: permit, {limits} }}]\n"
    );
    let gateway = Setup::new().policy(&policy).start();
    let associate = |last: u8| {
        let mut client = Client::connect_from([127, 0, 0, last].into(), gateway.address());
        client.greet(&[0x00]);
        client.send(&request(0x03, ([0, 0, 0, 0], 0).into()));
        let code = client.reply().code;
        (client, code)
    };
    let first = associate(1);
    assert_eq!(first.1, 0);
    for _ in 0..5 * SECONDS_AT_ONCE {
        expect_refusal(&gateway, &associate(1), "too-many-associations-of-rule");
    }
    assert_eq!(associate(2).1, 0, "only one had begun");
}
