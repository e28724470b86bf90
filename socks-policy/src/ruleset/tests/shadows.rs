use crate::testing::load;

/// The rules that are warned of, each with the one that leaves them nothing.
fn shadowed(rules: &str) -> Vec<String> {
    let text = format!("version: 1\nclients: [{{ methods: [none] }}]\nrules:\n{rules}");
    let warnings = load(&text).unwrap_or_else(|findings| panic!("{findings}")).warnings;
    let shown = warnings.iter().map(|warning| {
        let help = warning.help.clone().unwrap_or_default();
        let by = help.split('`').nth(1).unwrap_or_default().to_owned();
        format!("{} by {by}", warning.message.split('`').nth(1).unwrap_or_default())
    });
    shown.collect()
}

/// Two rules, and whether the second is warned of.
fn check((first, second, expected): (&str, &str, bool)) {
    let rules = format!("  - {{ name: first, {first} }}\n  - {{ name: second, {second} }}\n");
    let expected: &[&str] = if expected { &["second by first"] } else { &[] };
    assert_eq!(shadowed(&rules), expected, "{first} before {second}");
}

#[test]
fn a_rule_that_an_earlier_one_covers_is_warned_of() {
    let table = [
        ("action: deny", "action: permit", true),
        ("action: permit", "action: permit", true),
        ("action: permit", "action: deny", false),
        ("action: permit, special-use: permit", "action: deny", true),
        ("action: permit", "action: permit, special-use: permit", false),
        ("action: permit, expires: 2099-01-01", "action: permit", false),
        ("action: deny, when: { days: mon-sun }", "action: deny", false),
        ("action: log-only", "action: deny", false),
        ("action: log-only", "action: log-only", false),
        ("action: deny", "action: log-only", true),
        ("action: permit, special-use: permit", "action: log-only", true),
        ("action: permit", "action: log-only", false),
        (
            "action: permit, special-use: permit, identity: 'group:a'",
            "action: log-only, identity: 'group:a'",
            false,
        ),
        ("action: deny", "action: deny, when: { days: mon }", true),
        ("action: deny, source: 10.0.0.0/8", "action: permit, source: [10.1.0.0/16, 10.2.0.1]", true),
        ("action: deny, source: 10.0.0.0/8", "action: permit, source: [10.1.0.0/16, 11.2.0.1]", false),
        ("action: deny, source: 10.1.0.0/16", "action: permit, source: 10.0.0.0/8", false),
        ("action: deny, source: 10.0.0.0/8", "action: permit", false),
        (
            "action: deny, command: connect, destination: '*.example'",
            "action: permit, command: connect, destination: [a.example, '*.b.example']",
            true,
        ),
        ("action: deny, destination: '*.example'", "action: permit, destination: a.example", false),
        ("action: deny, destination: '*.example'", "action: deny, destination: a.example", true),
        ("action: deny, destination: '*.example'", "action: deny, destination: host:example", false),
        ("action: deny, destination: 0.0.0.0/0", "action: deny, destination: a.example", false),
        (
            "action: permit, special-use: permit, destination: 10.0.0.0/8",
            "action: deny, destination: 10.1.0.0/16",
            false,
        ),
        ("action: deny, destination: 10.0.0.0/8", "action: deny, destination: 10.1.0.0/16", true),
        ("action: permit, port: 1-100", "action: permit, port: [5, 20-90]", true),
        ("action: permit, port: [1-50, 51-100]", "action: permit, port: 40-60", false),
        ("action: permit, port: 1-100", "action: permit, port: 90-101", false),
        ("action: deny, port: 1-100", "action: permit, port: 5", false),
        ("action: deny, port: 1-100", "action: permit, port: 5, command: connect", true),
        ("action: permit, identity: '*@R'", "action: permit, identity: alice@R", true),
        ("action: permit, identity: '*/*@R'", "action: permit, identity: ['host/*@R', 'a/b@R']", true),
        ("action: permit, identity: 'host/*@R'", "action: permit, identity: '*/*@R'", false),
        ("action: permit, identity: 'password:*'", "action: permit, identity: 'password:bob'", true),
        ("action: permit, identity: 'password:*'", "action: permit, identity: 'other:bob'", false),
        ("action: permit, identity: 'group:a'", "action: permit, identity: 'group:a'", true),
        ("action: permit, identity: '*@R'", "action: permit", false),
        ("action: permit, method: [a, b]", "action: permit, method: a", true),
        ("action: permit, method: a", "action: permit, method: [a, b]", false),
        ("action: permit, protection: integrity", "action: permit, protection: confidentiality", true),
        ("action: permit, protection: integrity", "action: permit, protection: selective", true),
        ("action: permit, protection: integrity", "action: permit", false),
        ("action: permit, command: [connect, bind]", "action: permit, command: bind", true),
        ("action: permit, command: connect", "action: permit", false),
        ("action: permit, listener: x", "action: permit, listener: x", true),
    ];
    table.into_iter().for_each(check);
}

/// A permit rule for a group does not match whoever's groups could not be learned, and a deny rule does.
#[test]
fn a_permitted_group_does_not_cover_its_denial() {
    let table = [
        ("action: permit, identity: 'group:a'", "action: deny, identity: 'group:a'", false),
        (
            "action: permit, identity: ['group:a', '*@R']",
            "action: deny, identity: [alice@R, 'group:a']",
            false,
        ),
        ("action: permit, identity: ['group:a', '*@R']", "action: deny, identity: alice@R", false),
        (
            "action: permit, identity: ['group:a', '*@R'], special-use: permit",
            "action: deny, identity: alice@R",
            true,
        ),
        (
            "action: permit, identity: 'group:a', special-use: permit",
            "action: deny, identity: 'group:a'",
            false,
        ),
        ("action: permit, special-use: permit", "action: deny, identity: 'group:a'", true),
        ("action: deny, identity: 'group:a'", "action: deny, identity: 'group:a'", true),
        ("action: deny, identity: ['group:b', 'group:a']", "action: deny, identity: 'group:a'", true),
        ("action: deny, identity: 'group:b'", "action: deny, identity: 'group:a'", false),
        ("action: deny, identity: 'group:a'", "action: permit, identity: 'group:a'", true),
    ];
    table.into_iter().for_each(check);
}

#[test]
fn a_large_set_is_covered_by_itself() {
    let many: Vec<String> = (0..200).map(|at| format!("10.{at}.0.0/16")).collect();
    let text = |second: &str| {
        format!(
            "version: 1\nsets: {{ networks: {{ many: [{}] }} }}\nclients: []\nrules:\n  \
             - {{ name: a, action: deny, source: many }}\n  - {{ name: b, action: permit, source: {second} }}\n",
            many.join(", ")
        )
    };
    for (second, expected) in [("many", 1), ("10.7.7.7", 1), ("[many, 11.0.0.0/8]", 0)] {
        assert_eq!(load(&text(second)).unwrap().warnings.len(), expected, "{second}");
    }
}

#[test]
fn a_large_set_with_groups_that_is_permitted_does_not_cover_its_denial() {
    let many: Vec<String> = (0..200).map(|at| format!("user-{at}@R")).collect();
    let text = |first: &str, group: &str| {
        format!(
            "version: 1\nsets: {{ identities: {{ many: [{}{group}] }} }}\nclients: []\nrules:\n  \
             - {{ name: a, action: {first}, identity: many }}\n  - {{ name: b, action: deny, identity: many }}\n",
            many.join(", ")
        )
    };
    let permit = "permit, special-use: permit";
    for (first, group, expected) in
        [(permit, "", 1), (permit, ", 'group:a'", 0), ("deny", "", 1), ("deny", ", 'group:a'", 1)]
    {
        assert_eq!(load(&text(first, group)).unwrap().warnings.len(), expected, "{first} with `{group}`");
    }
}
