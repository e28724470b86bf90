//! The table of names, with time as a value.

use super::table::{REST, TOLD_REST};
use super::*;

fn names(networks: &[&str]) -> Result<Names, String> {
    let networks: Vec<_> = networks.iter().map(|network| network.parse().unwrap()).collect();
    Names::new(&networks)
}

fn name(text: &str) -> DomainName {
    text.parse().unwrap()
}

#[test]
fn a_target_at_a_fake_address_means_the_name() {
    let names = names(&["198.18.0.0/15"]).unwrap();
    names.assign(&name("web.example")).unwrap();
    for asked in ["198.18.0.1:443", "[::ffff:198.18.0.1]:443"] {
        let meant = names.meant(asked.parse().unwrap()).unwrap();
        assert_eq!(meant.target.to_string(), "web.example:443");
        assert!(meant.fake.is_some(), "{asked}");
    }
    for asked in ["192.0.2.1:443", "web.example:443", "[2001:db8::1]:443", "198.20.0.1:443"] {
        let target: Target = asked.parse().unwrap();
        assert_eq!(names.meant(target.clone()), Ok(Meant::plainly(target)));
    }
}

#[test]
fn a_fake_address_without_a_name_is_never_a_target() {
    let names = names(&["198.18.0.0/15", "fd00::/64"]).unwrap();
    names.assign(&name("web.example")).unwrap();
    for asked in ["198.18.0.0", "198.18.0.2", "198.19.255.255", "fd00::", "fd00::2", "fd00::1:0:0:1"] {
        let ip: IpAddr = asked.parse().unwrap();
        let target = Target { host: Host::Ip(ip), port: 80 };
        assert_eq!(names.meant(target), Err(Forgotten(ip)), "{asked}");
    }
}

/// Names for the two addresses of a small network.
struct Two(Names);

impl Two {
    fn new() -> Self {
        Self(names(&["198.18.0.0/30"]).unwrap())
    }

    /// The last octet of the address that a name gets.
    fn looks_up(&self, text: &str, at: Instant) -> Option<u8> {
        self.0.assign_at(&name(text), at).map(|fakes| fakes.v4.unwrap().octets()[3])
    }

    fn uses(&self, address: &str, at: Instant) {
        self.0.meant_at(address.parse().unwrap(), at).unwrap();
    }
}

#[test]
fn a_name_that_was_used_keeps_its_address_until_it_has_rested() {
    let (two, now) = (Two::new(), Instant::now());
    assert_eq!(two.looks_up("one.example", now), Some(1));
    assert_eq!(two.looks_up("two.example", now), Some(2));
    two.uses("198.18.0.1:80", now);
    two.uses("198.18.0.2:80", now);
    assert_eq!(two.looks_up("three.example", now + TOLD_REST), None, "both are in use");
    let later = now + REST / 2;
    assert_eq!(two.looks_up("one.example", later), Some(1));
    assert_eq!(two.looks_up("three.example", now + REST), Some(2), "the one that has rested goes");
    assert_eq!(two.looks_up("two.example", now + REST), None);
    assert_eq!(two.looks_up("two.example", later + REST), Some(2), "first what was only looked up");
    assert_eq!(two.looks_up("four.example", later + REST), Some(1), "then what was used");
}

#[test]
fn a_name_that_was_only_looked_up_goes_first_but_not_while_somebody_may_have_its_address() {
    let (two, now) = (Two::new(), Instant::now());
    two.looks_up("one.example", now);
    two.looks_up("two.example", now);
    two.uses("198.18.0.1:80", now);
    assert_eq!(two.looks_up("three.example", now + TOLD_REST / 2), None);
    assert_eq!(two.looks_up("two.example", now + TOLD_REST / 2), Some(2), "told anew");
    assert_eq!(two.looks_up("three.example", now + TOLD_REST), None);
    assert_eq!(two.looks_up("three.example", now + TOLD_REST / 2 + TOLD_REST), Some(2));
    assert_eq!(two.looks_up("one.example", now + TOLD_REST * 2), Some(1), "it was used");
}

#[test]
fn asking_for_the_name_of_an_address_does_not_keep_it() {
    let (two, now) = (Two::new(), Instant::now());
    two.looks_up("one.example", now);
    two.looks_up("two.example", now);
    two.uses("198.18.0.2:80", now);
    assert_eq!(two.0.name_of("198.18.0.1".parse().unwrap()), Ok(Some(name("one.example"))));
    assert_eq!(two.looks_up("three.example", now + TOLD_REST), Some(1));
}

#[test]
fn a_hundred_thousand_names_that_are_only_looked_up_are_no_lasting_harm() {
    let (names, now) = (names(&["198.18.0.0/15"]).unwrap(), Instant::now());
    let assigned = |text: &str, at| names.assign_at(&name(text), at).is_some();
    assert!(assigned("used.example", now));
    names.meant_at("198.18.0.1:80".parse().unwrap(), now).unwrap();
    let told = (0..100_000).filter(|number| assigned(&format!("host{number}.example"), now)).count();
    assert_eq!(told, MOST_NAMES - 1, "the table is full");
    assert!(!assigned("another.example", now));
    let told =
        (0..100_000).filter(|number| assigned(&format!("later{number}.example"), now + TOLD_REST)).count();
    assert_eq!(told, MOST_NAMES - 1, "all but the name that was used have made room");
    let meant = names.meant_at("198.18.0.1:80".parse().unwrap(), now + TOLD_REST).unwrap();
    assert_eq!(meant.target.to_string(), "used.example:80");
}

#[test]
fn networks_that_cannot_be_used_are_refused() {
    assert!(names(&["198.18.0.0/15", "10.0.0.0/8"]).unwrap_err().contains("second"));
    for network in ["198.18.0.1/32", "198.18.0.0/31", "fd00::/127"] {
        assert!(names(&[network]).unwrap_err().contains("too few"), "{network}");
    }
    assert_eq!(names(&["::/0"]).unwrap().most, MOST_NAMES);
}
