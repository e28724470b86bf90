//! The table of names, with time as a value.

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

#[test]
fn a_name_keeps_its_address_until_it_has_rested() {
    // Two names fit into four addresses.
    let (names, now) = (names(&["198.18.0.0/30"]).unwrap(), Instant::now());
    let assigned =
        |text: &str, at| names.assign_at(&name(text), at).map(|fakes| fakes.v4.unwrap().octets()[3]);
    assert_eq!(assigned("one.example", now), Some(1));
    assert_eq!(assigned("two.example", now), Some(2));
    assert_eq!(assigned("three.example", now), None, "both are in use");
    let later = now + REST / 2;
    assert_eq!(assigned("one.example", later), Some(1));
    assert_eq!(assigned("three.example", now + REST), Some(2), "the one that has rested goes");
    assert_eq!(assigned("two.example", now + REST), None);
    assert_eq!(assigned("two.example", later + REST), Some(1));
}

#[test]
fn networks_that_cannot_be_used_are_refused() {
    assert!(names(&["198.18.0.0/15", "10.0.0.0/8"]).unwrap_err().contains("second"));
    for network in ["198.18.0.1/32", "198.18.0.0/31", "fd00::/127"] {
        assert!(names(&[network]).unwrap_err().contains("too few"), "{network}");
    }
    assert_eq!(names(&["::/0"]).unwrap().most, MOST_NAMES);
}
