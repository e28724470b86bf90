use crate::OperationKind;
use crate::testing::{Question, rules};

#[test]
fn what_goes_through_an_upstream_may_be_permitted_by_its_name() {
    let ruleset = rules(
        "
  - { name: watch, action: log-only, destination: 203.0.113.0/24 }
  - { name: no-lab, action: deny, source: 10.66.0.0/16, destination: 192.0.2.0/24 }
  - { name: local, action: permit, destination: here.example }
  - { name: all, action: permit, source: 10.5.0.0/16, upstream: hq, special-use: permit }
  - { name: hq, action: permit, destination: ['*.hq.example', 'host:localhost', 10.0.0.0/8, 127.0.0.0/8], upstream: hq }
  - { name: rest, action: permit, destination: '*.rest.example' }
",
    );
    let connect = Question::connect;
    let table = [
        (connect("git.hq.example:22"), "permit hq"),
        (connect("git.hq.example:22").doing(OperationKind::Datagram), "needs address"),
        (connect("git.hq.example:22").doing(OperationKind::BindListen), "needs address"),
        // A rule before it may meet the address.
        (connect("git.hq.example:22").from("10.66.0.1"), "needs address"),
        (connect("git.hq.example:22").from("10.66.0.1").at("192.0.2.7"), "deny no-lab"),
        (connect("git.hq.example:22").from("10.66.0.1").at("198.51.100.7"), "permit hq"),
        // The rule itself asks for the address.
        (connect("other.example:22"), "needs address"),
        (connect("here.example:22").from("10.5.0.1"), "needs address"),
        (connect("a.rest.example:22"), "needs address"),
        // What is special is judged where the address is known.
        (connect("10.1.1.1:22"), "permit hq"),
        (connect("localhost:22"), "needs address"),
        (connect("localhost:22").at("127.0.0.1"), "special-use hq"),
        (connect("x.localhost:22").from("10.5.0.1"), "permit all"),
        (connect("any.where:22").from("10.5.0.1"), "permit all"),
    ];
    for (question, expected) in table {
        assert_eq!(question.ask(&ruleset), expected, "{question:?}");
    }
    let explained = ruleset.explain(&connect("git.hq.example:22").query()).to_string();
    for part in [
        "rule `hq` (line 9, permit) matches: by the name alone",
        "permitted by rule `hq` through the upstream `hq`",
    ] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    let literal = ruleset.explain(&connect("10.1.1.1:22").query()).verdict.to_string();
    assert_eq!(literal, "permitted by rule `hq` to 10.1.1.1:22 through the upstream `hq`");
}
