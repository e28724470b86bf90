use socks_config::{Document, Finding, Findings};

use super::{Context, Loaded};
use crate::Ruleset;
use crate::testing::{NOW, load};

/// Each finding as `line:column message | help`.
fn lines<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Vec<String> {
    let line = |finding: &Finding| {
        let place = finding.place.as_ref().map(|place| format!("{}:{} ", place.line(), place.column()));
        let help = finding.help.as_ref().map(|help| format!(" | {help}"));
        format!("{}{}{}", place.unwrap_or_default(), finding.message, help.unwrap_or_default())
    };
    findings.into_iter().map(line).collect()
}

fn mistakes(text: &str) -> Vec<String> {
    lines(&load(text).err().unwrap_or_default())
}

fn load_with(text: &str, context: &Context<'_>) -> Result<Loaded, Findings> {
    Ruleset::load(&Document::parse("policy.yaml", text.to_owned())?, context)
}

#[test]
fn ten_mistakes_of_five_sorts_are_ten_findings() {
    let found = mistakes(
        "\
version: 1
sets:
  networks: { office: [10.20.0.0/16, 10.300.0.0/16] }
  ports: { web: [80, 443], web: [8080] }
clients:
  - methods: [gssapi, gssapi]
rules:
  - { name: one, action: allow, source: offices }
  - { name: two, action: permit, sorce: office, port: wbe }
  - { name: two, action: deny, destination: 10.1.2.3/8, limits: { sessions: 0 } }
",
    );
    let expected = [
        "3:38 `10.300.0.0/16` is no address and no network such as `10.0.0.0/8`",
        "4:28 duplicate key `web`, first in line 4 column 12",
        "6:23 method `gssapi` stands twice",
        "8:26 expected `permit`, `deny`, `log-only`, found `allow`",
        "8:41 set `offices` is missing in `sets.networks` | did you mean `office`?",
        "9:34 unknown key `sorce` | did you mean `source`?",
        "9:55 set `wbe` is missing in `sets.ports` | did you mean `web`?",
        "10:13 rule name `two` stands twice, first in line 9",
        "10:45 `10.1.2.3/8` has bits behind its prefix | did you mean `10.0.0.0/8`?",
        "10:57 key `limits` is for permit rules: a deny rule always denies",
    ];
    assert_eq!(found, expected);
}

/// A policy with that one rule.
fn with_rule(keys: &str) -> String {
    format!("version: 1\nclients: []\nrules:\n  - {{ name: r, {keys} }}\n")
}

/// Keys of a rule with one mistake, and what is said of it.
const MISTAKES: &[(&str, &str)] = &[
    (
        "action: permit, source: ::ffff:10.0.0.0/104",
        "`::ffff:10.0.0.0/104` never matches: addresses are judged in IPv4's own form | write `10.0.0.0/8`",
    ),
    ("action: permit, source: ", "key `source` has no value"),
    ("action: permit, source: []", "an empty list matches nothing"),
    ("action: permit, source: [10.0.0.1, ~]", "expected text, found nothing"),
    ("action: permit, source: '*.example'", "`*.example` is no address and no network such as `10.0.0.0/8`"),
    (
        "action: permit, destination: intranet",
        "set `intranet` is missing in `sets.hosts` | for a host name of one label write `host:intranet`",
    ),
    (
        "action: permit, destination: a.*.example",
        "`a.*.example` has a `*` in the wrong place | all names below one are written `*.corp.example`",
    ),
    ("action: permit, destination: 127.1", "host name `127.1` looks like an oddly spelled IPv4 address"),
    ("action: permit, destination: 0x7f.1", "host name `0x7f.1` looks like an oddly spelled IPv4 address"),
    (
        "action: permit, destination: 'git.example:22'",
        "`git.example:22` is no address and no network such as `10.0.0.0/8`",
    ),
    ("action: permit, destination: a..b", "host name `a..b` is not a valid host name"),
    ("action: permit, destination: { a: b }", "expected text, found a mapping"),
    (
        "action: permit, identity: anonymous",
        "`anonymous` is nobody's identity | name the authenticator in `method` to mean clients that nobody asked who they are",
    ),
    ("action: permit, identity: '*@*'", "`*@*` leaves the realm open, but a realm must be named"),
    ("action: permit, identity: engineers", "set `engineers` is missing in `sets.identities`"),
    ("action: permit, port: 70000", "`70000` is no port (0 to 65535) and no range such as `1024-65535`"),
    ("action: permit, port: 90-80", "`90-80` is a range that ends before it begins"),
    (
        "action: permit, command: conect",
        "expected `connect`, `bind`, `udp-associate`, found `conect` | did you mean `connect`?",
    ),
    (
        "action: permit, protection: high",
        "expected `none`, `integrity`, `confidentiality`, `selective`, found `high`",
    ),
    ("action: permit, special-use: yes", "expected `permit`, found `yes`"),
    ("action: deny, special-use: permit", "key `special-use` is for permit rules: a deny rule always denies"),
    ("action: deny, expires: 2030-01-01", "key `expires` is for permit rules: a deny rule always denies"),
    (
        "action: permit, expires: 2030-13-01",
        "`2030-13-01` is no date such as `2027-03-31` and no time such as `2027-03-31T12:00:00Z`",
    ),
    (
        "action: permit, expires: '2030-01-01T00:00'",
        "`2030-01-01T00:00` is no date such as `2027-03-31` and no time such as `2027-03-31T12:00:00Z`",
    ),
    (
        "action: permit, limits: { idle-timeout: 10 }",
        "`10`: the unit is missing, write for example `250ms`, `30s`, `10m`, `2h` or `1d`",
    ),
    ("action: permit, limits: { idle-timeout: 0s }", "no time at all permits nothing"),
    ("action: permit, limits: { sessions: -1 }", "expected a number of sessions, 1 or more, found `-1`"),
    ("action: permit, ticket-end: never", "expected `keep`, `drain`, `close`, found `never`"),
    (
        "action: permit, on-revoke: never",
        "expected `keep`, `close`, or `drain` with a time, such as `drain 30s`, found `never`",
    ),
    (
        "action: permit, on-revoke: drain 0s",
        "expected `drain` with a time, such as `drain 30s`, found `drain 0s`",
    ),
    ("action: deny, ticket-end: close", "key `ticket-end` is for permit rules: a deny rule always denies"),
    ("action: permit, family: ipv6", "expected `any`, `prefer-v6`, `v6`, `v4`, found `ipv6`"),
    ("action: deny, family: v4", "key `family` is for permit rules: a deny rule always denies"),
    ("action: permit, bind: any", "expected a mapping, found `any`"),
    ("action: permit, bind: { ports: 31000-30000 }", "`31000-30000` is a range that ends before it begins"),
    ("action: permit, bind: { ports: 0-1024 }", "`0-1024` has port 0, which nobody can reach"),
    (
        "action: permit, bind: { ports: high }",
        "`high` is no port (0 to 65535) and no range such as `1024-65535`",
    ),
    ("action: permit, bind: { peer: sent-to }", "expected `named`, `any`, found `sent-to`"),
    ("action: permit, bind: { timeout: 0s }", "no time at all permits nothing"),
    ("action: permit, bind: { port: 1 }", "unknown key `port` | did you mean `ports`?"),
    ("action: deny, bind: { }", "key `bind` is for permit rules: a deny rule always denies"),
    (
        "action: permit, command: connect, bind: { peer: any }",
        "key `bind` is for `bind`, which is not among the rule's commands",
    ),
    (
        "action: permit, command: [connect, bind], udp: { }",
        "key `udp` is for `udp-associate`, which is not among the rule's commands",
    ),
    ("action: permit, udp: { replies: all }", "expected `sent-to`, `any`, found `all`"),
    ("action: permit, udp: { fragments: keep }", "expected `drop`, `reassemble`, found `keep`"),
    ("action: permit, udp: { associations: 0 }", "expected a number of associations, 1 or more, found `0`"),
    (
        "action: permit, udp: { datagrams: 5k }",
        "expected a number of datagrams in a second, 1 or more, found `5k`",
    ),
    ("action: permit, udp: { fragment: drop }", "unknown key `fragment` | did you mean `fragments`?"),
    ("action: permit, limits: { session: 1 }", "unknown key `session` | did you mean `sessions`?"),
    ("action: permit, egress: [192.0.2.1, 192.0.2.2]", "a second egress address of the same family"),
    (
        "action: permit, egress: 0.0.0.0",
        "expected an address that the gateway can send from, found `0.0.0.0`",
    ),
    ("action: permit, egress: eth0", "`eth0` is no address"),
    ("action: permit, egress: { }", "neither `addresses` nor `interface` nor `mark` says how to leave"),
    (
        "action: permit, egress: { address: 192.0.2.1, mark: 1 }",
        "unknown key `address` | did you mean `addresses`?",
    ),
    ("action: permit, egress: { addresses: eth0 }", "`eth0` is no address"),
    (
        "action: permit, egress: { mark: 0 }",
        "expected a mark from 1 to 0xffffffff, such as `0x10`, found `0`",
    ),
    (
        "action: permit, egress: { mark: 0x1g }",
        "expected a mark from 1 to 0xffffffff, such as `0x10`, found `0x1g`",
    ),
    (
        "action: permit, egress: { mark: 0x100000000 }",
        "expected a mark from 1 to 0xffffffff, such as `0x10`, found `0x100000000`",
    ),
    (
        "action: permit, egress: { interface: 'eth 0' }",
        "expected the name of a network interface, such as `eth1`, found `eth 0`",
    ),
    (
        "action: permit, egress: { interface: a-name-of-sixteen }",
        "expected the name of a network interface, such as `eth1`, found `a-name-of-sixteen`",
    ),
    ("action: permit, port: 1, port: 2", "duplicate key `port`, first in line 4 column 32"),
    ("destination: 10.0.0.0/8", "missing key `action`"),
    ("action: log-only, egress: 192.0.2.1", "key `egress` is for permit rules: this one only logs"),
    ("action: deny, when: nights", "set `nights` is missing in `sets.times`"),
    ("action: deny, when: []", "an empty list matches nothing"),
    (
        "action: deny, when: { zone: UTC }",
        "a window without `days` and `hours` is always open | a rule without `when` holds at all times",
    ),
    (
        "action: deny, when: { days: monday }",
        "expected a day (`mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`) or a span such as `mon-fri`, found `monday`",
    ),
    ("action: deny, when: { days: [] }", "an empty list names no day"),
    ("action: deny, when: { hours: [] }", "an empty list names no hours"),
    (
        "action: deny, when: { hours: 8-18 }",
        "expected hours such as `08:00-18:00`, or `22:00-06:00` past midnight, found `8-18`",
    ),
    (
        "action: deny, when: { hours: '24:00-06:00' }",
        "expected hours such as `08:00-18:00`, or `22:00-06:00` past midnight, found `24:00-06:00`",
    ),
    (
        "action: deny, when: { hours: '08:00-18:60' }",
        "expected hours such as `08:00-18:00`, or `22:00-06:00` past midnight, found `08:00-18:60`",
    ),
    (
        "action: deny, when: { hours: '08:00-08:00' }",
        "`08:00-08:00` begins when it ends | the whole day is written `00:00-24:00`",
    ),
    (
        "action: deny, when: { days: mon, zone: Europe/Berlim }",
        "zone `Europe/Berlim` is not in the time zone database | did you mean `Europe/Berlin`?",
    ),
    (
        "action: deny, when: { days: mon, zone: CETTE }",
        "zone `CETTE` is not in the time zone database | a zone is written like `Europe/Berlin`, or `UTC`",
    ),
    ("action: deny, when: { day: mon, hours: '08:00-09:00' }", "unknown key `day` | did you mean `days`?"),
];

#[test]
fn each_mistake_of_a_rule_says_what_is_wrong() {
    for &(keys, expected) in MISTAKES {
        let found = mistakes(&with_rule(keys));
        let [found] = found.as_slice() else { panic!("{keys}: {found:?}") };
        assert_eq!(found.split_once(' ').unwrap().1, expected, "{keys}");
    }
}

#[test]
fn names_that_every_record_carries_are_checked() {
    for name in ["''", "no-match", "special-use", r#""a\u0007""#, &"x".repeat(101)] {
        let found =
            mistakes(&format!("version: 1\nclients: []\nrules: [{{ name: {name}, action: deny }}]\n"));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
    }
}

#[test]
fn missing_sections_say_what_it_would_mean() {
    let found = mistakes("version: 2\n");
    let expected = [
        "1:1 missing key `clients`: nobody would be let in | if that is meant, write `clients: []`",
        "1:1 missing key `rules`: nothing would be permitted | if that is meant, write `rules: []`",
        "1:10 expected `1`, the only version of the policy language, found `2`",
    ];
    assert_eq!(found, expected);
    assert_eq!(mistakes("- a\n"), ["1:1 expected a mapping, found a list"]);
    assert_eq!(
        mistakes("version: 1\nclients:\nrules: x\n"),
        ["2:1 key `clients` has no value", "3:8 expected a list, found `x`"]
    );
}

#[test]
fn sets_are_checked_where_they_are_written() {
    let found = mistakes(
        "\
version: 1
sets:
  networks: { office: [], Lab: 10.0.0.0/8, both: 10.0.0.0/8, nested: [office] }
  hosts: { both: a.example, single: localhost }
  identities: { staff: [nobody], '2nd': a@R }
  ports: { some: [https] }
  users: { }
clients: []
rules: []
",
    );
    let expected = [
        "3:23 an empty set matches nothing",
        "3:27 `Lab` is no name for a set: a letter, then letters, digits and hyphens",
        "3:71 `office` is no element of this set, and sets hold no other sets",
        "4:12 set `both` is in `sets.networks` too, in line 3 | `destination` takes both kinds, so that their names must differ",
        "4:37 `localhost` is no element of this set, and sets hold no other sets | for a host name of one label write `host:localhost`",
        "5:25 `nobody` is no element of this set, and sets hold no other sets",
        "5:34 `2nd` is no name for a set: a letter, then letters, digits and hyphens",
        "6:19 `https` is no element of this set, and sets hold no other sets",
        "7:3 unknown key `users` | known keys: `networks`, `hosts`, `groups`, `identities`, `ports`, `times`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn names_of_authenticators_and_listeners_are_checked_when_they_are_known() {
    let text = "\
version: 1
sets:
  identities: { staff: ['pasword:bob'] }
clients:
  - { listener: ofice, methods: [gsapi] }
rules:
  - { name: r, action: permit, method: nun, identity: [staff, 'gssapi:*', 'group:x'], listener: office }
tests:
  - { name: t, given: { source: 10.0.0.1, listener: x, identity: a@R, method: y, destination: 'a.example:1' }, expect: { permit: r } }
";
    let context = Context {
        authenticators: Some(&["gssapi", "password", "none"]),
        listeners: Some(&["office"]),
        upstreams: Some(&[]),
        now: NOW,
        ..Context::default()
    };
    let expected = [
        "3:25 authenticator `pasword` is not configured | did you mean `password`?",
        "5:17 listener `ofice` is not configured | did you mean `office`?",
        "5:34 authenticator `gsapi` is not configured | did you mean `gssapi`?",
        "7:40 authenticator `nun` is not configured",
        "9:53 listener `x` is not configured",
        "9:79 authenticator `y` is not configured",
    ];
    assert_eq!(lines(&load_with(text, &context).unwrap_err()), expected);
    assert!(load_with(text, &Context::default()).is_ok(), "unknown names cannot be checked");
}

#[test]
fn clients_are_checked_row_by_row() {
    let found = mistakes(
        "\
version: 1
clients:
  - { source: 10.0.0.0/8 }
  - { methods: [] }
  - { methods: [a], protection: [none, none, strong] }
  - { methods: [a], protection: [] }
  - { method: [a] }
  - none
rules: []
",
    );
    let expected = [
        "3:5 missing key `methods`",
        "4:16 a row without methods lets nobody in",
        "5:40 level `none` stands twice",
        "5:46 expected `none`, `integrity`, `confidentiality`, `selective`, found `strong`",
        "6:33 a row without protection levels lets nobody in",
        "7:5 missing key `methods`",
        "7:7 unknown key `method` | did you mean `methods`?",
        "8:5 expected a mapping, found `none`",
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_probably_not_meant_is_a_warning_with_its_place() {
    let warnings = load(
        "\
version: 1
sets:
  networks: { used: 10.0.0.0/8, via-hosts: 10.1.0.0/16, unused: 11.0.0.0/8 }
  hosts: { empty-handed: a.example }
clients: [{ source: used, methods: [none] }]
rules:
  - { name: over, action: permit, port: 80, expires: 2020-02-29 }
  - { name: wide, action: deny, destination: via-hosts }
  - { name: narrow, action: permit, command: connect, destination: 10.1.2.0/24 }
",
    )
    .unwrap()
    .warnings;
    let expected = [
        "3:57 set `unused` is not used",
        "4:12 set `empty-handed` is not used",
        "7:13 rule `over` has expired",
        "9:13 rule `narrow` never matches | rule `wide` in line 8 matches whenever it would",
    ];
    assert_eq!(lines(&warnings), expected);
    assert!(!warnings.has_mistakes());
}

#[test]
fn an_egress_has_addresses_an_interface_and_a_mark() {
    let keys =
        "action: permit, egress: { addresses: [192.0.2.5, '2001:db8::5'], interface: eth1, mark: 0x10 }";
    let interfaces = ["lo".to_owned(), "eth0".to_owned()];
    let context = Context { now: NOW, interfaces: Some(&interfaces), ..Context::default() };
    let loaded = load_with(&with_rule(keys), &context).unwrap();
    let warning = "4:92 there is no interface `eth1` now: until it comes, the rule lets nothing out | did you mean `eth0`?";
    assert_eq!(lines(&loaded.warnings), [warning]);
    let egress = loaded.ruleset.rules[0].grant.terms.egress;
    assert_eq!(egress.interface.unwrap().to_string(), "eth1");
    assert_eq!(egress.mark.unwrap().get(), 16);
    assert_eq!((egress.v4, egress.v6), ("192.0.2.5".parse().ok(), "2001:db8::5".parse().ok()));
    let loaded =
        load_with(&with_rule("action: permit, egress: { interface: lo, mark: 7 }"), &context).unwrap();
    assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
}

#[test]
fn a_set_of_groups_stands_for_its_members_and_other_names_for_themselves() {
    let loaded = load(
        "\
version: 1
sets:
  groups: { admins: [S-1-5-21-1-512, 'build team'], idle: [x] }
  identities: { staff: ['group:admins', 'group:ops'] }
clients: [{ methods: [gssapi] }]
rules:
  - { name: staff, action: permit, identity: staff, port: 1 }
  - { name: admins, action: permit, identity: 'group:admins', ticket-end: drain }
",
    )
    .unwrap();
    assert_eq!(lines(&loaded.warnings), ["3:53 set `idle` is not used"]);
    let table = [
        ("S-1-5-21-1-512", 1, "permit staff"),
        ("build team", 2, "permit admins"),
        ("ops", 1, "permit staff"),
        ("ops", 2, "no-match"),
        ("admins", 2, "no-match"),
    ];
    for (group, port, expected) in table {
        let mut identity = crate::testing::principal("alice@R");
        identity.groups.push(group.into());
        let question = crate::testing::Question::connect(&format!("192.0.2.1:{port}")).by(identity);
        assert_eq!(question.ask(&loaded.ruleset), expected, "{group} to {port}");
    }
    let found =
        mistakes("version: 1\nsets: { groups: { a: ['group:b'], c: [''] } }\nclients: []\nrules: []\n");
    assert_eq!(
        found,
        ["2:23 `group:b` is no name of a group | here it is written `b`", "2:39 `` is no name of a group"]
    );
}

#[test]
fn a_date_is_good_through_its_last_second() {
    let table = [
        ("2027-01-14", true),
        ("2027-01-15", false),
        ("'2027-01-15T09:00:00+01:00'", true),
        ("'2027-01-15T09:00:01+01:00'", false),
    ];
    for (date, has_expired) in table {
        let warnings = load(&with_rule(&format!("action: permit, expires: {date}"))).unwrap().warnings;
        assert_eq!(!warnings.is_empty(), has_expired, "{date}");
    }
}

#[test]
fn large_policies_load_in_one_go() {
    let mut text = String::from("version: 1\nclients: []\nrules:\n");
    for at in 0..3000 {
        text.push_str(&format!(
            "  - {{ name: r{at}, action: deny, destination: '*.x{at}.example', port: {at} }}\n"
        ));
    }
    let loaded = load(&text).unwrap();
    assert_eq!((loaded.ruleset.rule_count(), loaded.warnings.len()), (3000, 0));
}

#[test]
fn an_upstream_is_one_of_the_configuration_and_takes_no_keys_of_the_gateways_own() {
    let text = "\
version: 1
clients: [{ methods: [none] }]
rules:
  - { name: good, action: permit, command: connect, upstream: hq }
  - { name: unknown, action: permit, command: connect, upstream: qh }
  - { name: own, action: permit, command: connect, upstream: hq, family: v6 }
  - { name: never, action: deny, upstream: hq }
";
    let document = Document::parse("policy.yaml", text.to_owned()).unwrap();
    let context = Context { upstreams: Some(&["hq"]), now: NOW, ..Context::default() };
    let shown = Ruleset::load(&document, &context).unwrap_err().to_string();
    for part in [
        "upstream `qh` is not among those of the configuration",
        "did you mean `hq`?",
        "key `family` is for what this gateway does itself",
        "key `upstream` is for permit rules",
    ] {
        assert!(shown.contains(part), "{part} is missing in:\n{shown}");
    }
    let text = "version: 1\nclients: []\nrules: [{ name: all, action: permit, upstream: hq }]\n";
    let document = Document::parse("policy.yaml", text.to_owned()).unwrap();
    assert!(Ruleset::load(&document, &context).unwrap().warnings.is_empty(), "it is for all commands");
}
