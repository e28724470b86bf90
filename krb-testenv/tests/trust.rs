//! Realms that trust each other, and realms that do not.

#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use krb_testenv::{Enctype, Error, Realm};

fn realm(name: &str, domain: &str) -> Realm {
    let builder = Realm::builder(name).domains(&[domain]).user("alice", "a");
    builder.service(format!("socks/gateway{domain}")).start().unwrap()
}

#[test]
fn user_of_a_trusted_realm_gets_a_ticket() {
    let (home, other) = (realm("HOME.TEST", ".home.test"), realm("OTHER.TEST", ".other.test"));
    other.trust(&home).unwrap();
    let alice = home.kinit("alice").unwrap();
    alice.ticket("socks/gateway.other.test").unwrap();
    let names: Vec<_> = alice.tickets().unwrap().into_iter().map(|ticket| ticket.service).collect();
    assert!(names.contains(&"krbtgt/OTHER.TEST@HOME.TEST".to_owned()), "{names:?}");
    assert!(names.contains(&"socks/gateway.other.test@OTHER.TEST".to_owned()), "{names:?}");
}

#[test]
fn trust_has_one_direction_until_the_other_is_added() {
    let (home, other) = (realm("HOME.TEST", ".home.test"), realm("OTHER.TEST", ".other.test"));
    other.trust(&home).unwrap();
    let refused = other.kinit("alice").unwrap().ticket("socks/gateway.home.test");
    assert!(refused.is_err());
    home.trust(&other).unwrap();
    other.kinit("alice").unwrap().ticket("socks/gateway.home.test").unwrap();
}

#[test]
fn third_realm_is_reached_through_the_one_between() {
    let realms =
        ["A", "B", "C"].map(|name| realm(&format!("{name}.TEST"), &format!(".{name}.test").to_lowercase()));
    let [a, b, c] = &realms;
    b.trust(a).unwrap();
    c.trust(b).unwrap();
    a.kinit("alice").unwrap().ticket("socks/gateway.c.test").unwrap_err();
    a.reach(c, b).unwrap();
    a.kinit("alice").unwrap().ticket("socks/gateway.c.test").unwrap();
}

#[test]
fn realms_without_common_enctype_cannot_trust() {
    let start = |name: &str, enctype| Realm::builder(name).enctypes(&[enctype]).start().unwrap();
    let (home, other) = (start("HOME.TEST", Enctype::Aes256Sha1), start("OTHER.TEST", Enctype::Aes256Sha2));
    assert!(matches!(other.trust(&home), Err(Error::NoCommonEnctype(..))));
}
