use super::*;
use crate::password::tests::quick_hash;

fn read(text: &str) -> Result<Users, Findings> {
    Users::of(&Document::parse("users.yaml", text.to_owned()).unwrap())
}

fn mistakes(text: &str) -> Vec<String> {
    let mut findings = read(text).unwrap_err();
    findings.sort();
    let shown = |it: &Finding| {
        let place = it.place.as_ref().unwrap();
        format!("{}:{} {}", place.line(), place.column(), it.message)
    };
    findings.iter().map(shown).collect()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn accounts_are_read_whole() {
    let hash = quick_hash(b"secret");
    let text = format!(
        "users:\n- name: alice\n  hash: \"{hash}\"\n  groups: [a, b]\n  expires: 2027-01-01\n- {{name: jürgen, hash: \"{hash}\", disabled: true, groups: c}}\n"
    );
    let users = read(&text).unwrap();
    assert_eq!(users.len(), 2);
    let alice = users.find(b"alice").unwrap();
    assert_eq!(alice.groups, ["a".into(), "b".into()]);
    assert_eq!(alice.expires, Some(at("2027-01-02T00:00:00Z")));
    let other = users.find("jürgen".as_bytes()).unwrap();
    assert!(other.disabled);
    assert_eq!(other.groups, ["c".into()]);
}

#[test]
fn a_file_may_say_that_there_is_nobody() {
    for text in ["users: []", "users:", "users: ~"] {
        assert!(read(text).unwrap().is_empty(), "{text}");
    }
}

#[test]
fn verdicts_depend_on_password_account_and_time() {
    let hash = quick_hash(b"secret");
    let text = format!(
        "users:\n- {{name: a, hash: \"{hash}\", expires: 2027-01-01}}\n- {{name: b, hash: \"{hash}\", disabled: true}}\n"
    );
    let users = read(&text).unwrap();
    let verdict = |name: &str, password: &str, now| {
        users.verify(name.as_bytes(), password.as_bytes(), at(now)).as_str()
    };
    for (name, password, now, expected) in [
        ("a", "secret", "2027-01-01T23:59:59Z", "granted"),
        ("a", "secret", "2027-01-02T00:00:00Z", "account expired"),
        ("a", "secres", "2027-01-01T23:59:59Z", "wrong password"),
        ("a", "secres", "2027-01-02T00:00:00Z", "wrong password"),
        ("b", "secret", "2026-12-31T23:59:59Z", "account disabled"),
        ("b", "", "2026-12-31T23:59:59Z", "wrong password"),
        ("c", "secret", "2026-12-31T23:59:59Z", "unknown user"),
        ("A", "secret", "2026-12-31T23:59:59Z", "unknown user"),
    ] {
        assert_eq!(verdict(name, password, now), expected, "{name} {password} {now}");
    }
    assert_eq!(users.verify(b"\xFF", b"secret", at("2026-12-31T00:00:00Z")), Verdict::UnknownUser);
}

#[test]
fn a_name_that_is_not_there_costs_what_most_cost() {
    let cheap = quick_hash(b"x");
    let dear = "$argon2id$v=19$m=16,t=2,p=1$c2FsdHNhbHRzYWx0$UU2i+1p1mS7L9F7Iw1wb3g";
    let text = format!(
        "users:\n- {{name: a, hash: \"{dear}\"}}\n- {{name: b, hash: \"{cheap}\"}}\n- {{name: c, hash: \"{dear}\"}}\n"
    );
    let users = read(&text).unwrap();
    assert_eq!(users.hash_for(b"nobody").cost(), users.hash_for(b"a").cost());
    assert!(users.costs_differ());
    assert_eq!(users.weak(), ["a", "b", "c"]);
    let alike = read(&format!("users:\n- {{name: a, hash: \"{cheap}\"}}\n")).unwrap();
    assert!(!alike.costs_differ());
    assert_eq!(alike.hash_for(b"nobody").cost(), alike.hash_for(b"a").cost());
    assert_eq!(read("users: []").unwrap().hash_for(b"nobody").cost(), Cost::of_new_hashes());
}

#[test]
fn all_mistakes_of_a_file_are_shown_together() {
    let hash = quick_hash(b"secret");
    let long = "x".repeat(256);
    let text = format!(
        "user: []
users:
- {{name: alice, hash: \"{hash}\"}}
- {{name: alice, hash: \"{hash}\"}}
- {{name: bob, hash: secret}}
- {{name: carol, hash: \"$2b$12$abcdefghijklmnopqrstuv\"}}
- {{name: dave, hash: \"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$UU2i\"}}
- {{name: erin}}
- {{hash: \"{hash}\", nmae: x}}
- {{name: {long}, hash: \"{hash}\"}}
- {{name: \"a\\tb\", hash: \"{hash}\"}}
- {{name: '', hash: \"{hash}\"}}
- {{name: f, hash: \"{hash}\", groups: ['', []], expires: soon, disabled: yes}}
- none
"
    );
    let expected = [
        "1:1 unknown key `user`",
        "4:10 user `alice` stands here twice, first in line 3",
        "5:21 `hash` is no hash of the form `$argon2id$v=19$m=…,t=…,p=…$salt$hash`",
        "6:23 `hash` is a hash of `2b` instead of `argon2id`",
        "7:22 `hash` is no hash of the form `$argon2id$v=19$m=…,t=…,p=…$salt$hash`",
        "8:3 missing key `hash`",
        "9:3 missing key `name`",
        "9:96 unknown key `nmae`",
        "10:10 a user name has 1 to 255 octets, not 256",
        "11:10 user name `a\\tb` holds a control character",
        "12:10 a user name has 1 to 255 octets, not 0",
        "13:114 a group's name is empty",
        "13:132 expected a date such as `2027-01-01` or `2027-01-01T18:00:00Z`, found `soon`",
        "13:148 expected `true` or `false`, found `yes`",
        "14:3 expected a mapping, found `none`",
    ];
    assert_eq!(mistakes(&text), expected);
}

#[test]
fn what_is_no_users_file_is_a_mistake() {
    assert_eq!(mistakes(""), ["1:1 expected a mapping, found nothing"]);
    assert_eq!(mistakes("a: 1"), ["1:1 missing key `users`", "1:1 unknown key `a`"]);
    assert_eq!(mistakes("users: {}"), ["1:8 expected a list, found a mapping"]);
}

#[test]
fn ends_are_dates_or_moments() {
    assert_eq!(parse_expiry("2027-01-01"), Some(at("2027-01-02T00:00:00Z")));
    assert_eq!(parse_expiry("2027-01-01T18:00:00+02:00"), Some(at("2027-01-01T16:00:00Z")));
    for text in ["", "2027-13-01", "2027-01-01T18:00:00", "27-01-01", "tomorrow", "20270101", "9999-12-31"] {
        assert_eq!(parse_expiry(text), None, "{text}");
    }
}

#[test]
fn ends_are_written_as_they_are_read() {
    for text in ["2027-01-01", "2024-02-29", "2027-01-01T16:00:00Z"] {
        assert_eq!(show_expiry(parse_expiry(text).unwrap()), text);
    }
    assert_eq!(show_expiry(at("2027-01-02T00:00:00Z")), "2027-01-01");
}
