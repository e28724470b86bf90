//! By which addresses a target is reached, once its own address was judged: the rule's family, and NAT64.

use std::net::{IpAddr, SocketAddr};

use socks_policy::{Family, Nat64, Permit};

/// The addresses that lead to one judged address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// The judged address itself, unless the rule's family is another.
    pub(crate) direct: Option<SocketAddr>,
    /// The address of an IPv4 target behind the network's translator: for rules that use IPv6 only, and where
    /// this host has no way to the address itself.
    pub(crate) translated: Option<SocketAddr>,
}

impl Route {
    /// The route to the address in `permit`; `None`: the rule uses no address that leads there.
    pub(crate) fn of(permit: &Permit, nat64: Option<&Nat64>) -> Option<Self> {
        Self::to(permit.address()?, permit.terms().family, nat64)
    }

    /// The route to a judged address under a rule with that family.
    pub(crate) fn to(address: SocketAddr, family: Family, nat64: Option<&Nat64>) -> Option<Self> {
        let direct = family.allows(address.ip()).then_some(address);
        let translated = match (address.ip(), family) {
            (IpAddr::V6(_), _) | (_, Family::V4) => None,
            (IpAddr::V4(ip), _) => nat64.and_then(|prefix| prefix.embed(ip)),
        };
        let translated = translated.map(|ip| SocketAddr::new(ip.into(), address.port()));
        (direct.is_some() || translated.is_some()).then_some(Self { direct, translated })
    }

    /// The addresses in the order in which they are tried.
    pub(crate) fn ways(self) -> impl Iterator<Item = SocketAddr> {
        self.direct.into_iter().chain(self.translated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rules_family_and_the_translator_say_which_addresses_lead_to_a_target() {
        use Family::*;
        const V4: &str = "198.51.100.7:80";
        const V6: &str = "[2001:db8::7]:80";
        const BEHIND: &str = "[64:ff9b::198.51.100.7]:80";
        let prefix: Nat64 = "64:ff9b::/96".parse().unwrap();
        let table: [(&str, Family, &[&str], &[&str]); 10] = [
            (V4, Any, &[V4], &[V4, BEHIND]),
            (V4, PreferV6, &[V4], &[V4, BEHIND]),
            (V4, Family::V4, &[V4], &[V4]),
            (V4, Family::V6, &[], &[BEHIND]),
            (V6, Any, &[V6], &[V6]),
            (V6, PreferV6, &[V6], &[V6]),
            (V6, Family::V4, &[], &[]),
            (V6, Family::V6, &[V6], &[V6]),
            // RFC 6052 section 3.1; and what is special never goes through a translator.
            ("10.1.2.3:80", Family::V6, &[], &[]),
            ("127.0.0.1:80", Any, &["127.0.0.1:80"], &["127.0.0.1:80"]),
        ];
        for (address, family, without, with) in table {
            for (nat64, expected) in [(None, without), (Some(&prefix), with)] {
                let route = Route::to(address.parse().unwrap(), family, nat64);
                let ways: Vec<SocketAddr> = route.into_iter().flat_map(Route::ways).collect();
                let expected: Vec<SocketAddr> = expected.iter().map(|it| it.parse().unwrap()).collect();
                assert_eq!(ways, expected, "{address} by {family:?}, {nat64:?}");
            }
        }
    }
}
