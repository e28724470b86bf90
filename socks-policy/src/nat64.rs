//! The prefix of a network's translator from IPv6 to IPv4 (NAT64), and the addresses behind it.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::Ipv6Net;

use crate::special;

/// The prefix for every network (RFC 6052 section 2.1).
const WELL_KNOWN: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// The octet that stays zero (RFC 6052 section 2.2).
const U: usize = 8;

/// A prefix behind which a translator reaches IPv4 addresses (RFC 6052).
///
/// ```
/// let prefix: socks_policy::Nat64 = "2001:db8:64::/96".parse()?;
/// let address = prefix.embed("198.51.100.7".parse()?);
/// assert_eq!(address, Some("2001:db8:64::198.51.100.7".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat64(Ipv6Net);

/// What is said of a text that is no prefix.
const NO_PREFIX: &str = "is no NAT64 prefix such as `64:ff9b::/96`, of 32, 40, 48, 56, 64 or 96 bits";

impl Nat64 {
    /// The IPv6 address that leads to an IPv4 one; `None` for an address that no translator may reach: a
    /// [special-use](crate::SpecialUse) one, and behind the well-known prefix a private one.
    pub fn embed(&self, address: Ipv4Addr) -> Option<Ipv6Addr> {
        // RFC 6052 section 3.1: the well-known prefix is not for addresses that are not global.
        let is_shared = matches!(address.octets(), [100, 64..=127, ..]);
        let is_local = self.0.network() == WELL_KNOWN && (address.is_private() || is_shared);
        if is_local || special::of_v4(address).is_some() {
            return None;
        }
        let mut octets = self.0.network().octets();
        for (at, octet) in self.places().zip(address.octets()) {
            *octets.get_mut(at)? = octet;
        }
        Some(octets.into())
    }

    /// The IPv4 address that an IPv6 one leads to; `None`: it is not behind the prefix.
    pub fn extract(&self, address: Ipv6Addr) -> Option<Ipv4Addr> {
        if !self.0.contains(&address) {
            return None;
        }
        let octets = address.octets();
        let mut found = self.places().filter_map(|at| octets.get(at).copied());
        Some(Ipv4Addr::from([found.next()?, found.next()?, found.next()?, found.next()?]))
    }

    /// Where the four octets stand: behind the prefix, and around the one that stays zero.
    fn places(&self) -> impl Iterator<Item = usize> + use<> {
        (usize::from(self.0.prefix_len() / 8)..16).filter(|at| *at != U).take(4)
    }
}

impl FromStr for Nat64 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network: Ipv6Net = text.parse().map_err(|_| NO_PREFIX)?;
        let is_known = matches!(network.prefix_len(), 32 | 40 | 48 | 56 | 64 | 96);
        // RFC 6052 section 2.2: the octet stays zero in a prefix of 96 bits as well.
        let is_plain = network.addr() == network.network() && network.addr().octets().get(U) == Some(&0);
        if is_known && is_plain { Ok(Self(network)) } else { Err(NO_PREFIX) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stand_behind_prefixes_of_every_length() {
        // RFC 6052 section 2.4.
        let table = [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
            ("64:ff9b::/96", "64:ff9b::192.0.2.33"),
        ];
        let v4 = Ipv4Addr::new(192, 0, 2, 33);
        for (prefix, address) in table {
            let prefix: Nat64 = prefix.parse().unwrap();
            assert_eq!(prefix.embed(v4), Some(address.parse().unwrap()), "{address}");
            assert_eq!(prefix.extract(address.parse().unwrap()), Some(v4), "{address}");
            assert_eq!(prefix.extract("fd00::1".parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn what_no_translator_may_reach_is_not_embedded() {
        let table = [
            ("198.51.100.7", true, true),
            ("10.1.2.3", false, true),
            ("172.31.0.1", false, true),
            ("192.168.1.1", false, true),
            ("100.64.0.1", false, true),
            ("127.0.0.1", false, false),
            ("169.254.169.254", false, false),
            ("224.0.0.1", false, false),
            ("0.0.0.0", false, false),
        ];
        let well_known: Nat64 = "64:ff9b::/96".parse().unwrap();
        let own: Nat64 = "2001:db8:64::/96".parse().unwrap();
        for (address, by_well_known, by_own) in table {
            let address = address.parse().unwrap();
            assert_eq!(well_known.embed(address).is_some(), by_well_known, "{address}");
            assert_eq!(own.embed(address).is_some(), by_own, "{address}");
        }
    }

    #[test]
    fn other_texts_are_no_prefix() {
        let others = [
            "",
            "64:ff9b::",
            "64:ff9b::1/96",
            "64:ff9b::/95",
            "64:ff9b::/128",
            "10.0.0.0/8",
            "2001:db8:0:0:100::/96",
        ];
        for text in others {
            assert_eq!(text.parse::<Nat64>(), Err(NO_PREFIX), "{text}");
        }
    }
}
