//! Which of a target's permitted addresses a datagram goes to.

use std::net::{IpAddr, SocketAddr};

use socks_policy::{Egress, Nat64, Permit};

use crate::route::Route;

use super::reach::Reach;

/// The sockets that an association has, as far as choosing an address takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Routes {
    /// The addresses that they are bound to, where the association's rule says so.
    pub(super) egress: Egress,
    /// There is one for IPv4.
    pub(super) v4: bool,
    /// There is one for IPv6.
    pub(super) v6: bool,
}

/// A way to a judged address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) judged: SocketAddr,
    /// The judged address itself, or the one that the network's translator has for it.
    pub(super) destination: SocketAddr,
}

impl Routes {
    /// The way for a datagram; `None`: by these sockets no way of their own rules leads to any of the addresses.
    pub(super) fn choose(&self, permits: &[Permit], nat64: Option<&Nat64>, reach: &mut Reach) -> Option<Way> {
        let mut ways: Vec<Way> = permits.iter().flat_map(|permit| self.ways(permit, nat64)).collect();
        // IPv6 first, where the rule leaves both (RFC 6724 section 2.1 prefers it as well), and the translator last.
        ways.sort_by_key(|way| (way.judged != way.destination, way.judged.is_ipv4()));
        match ways.as_slice() {
            [only] => Some(*only),
            several => {
                let reached = several.iter().find(|way| reach.has_route(way.destination));
                reached.or(several.first()).copied()
            }
        }
    }

    /// The ways that the rule of the permit has, as far as there is a socket that is right for them.
    fn ways(&self, permit: &Permit, nat64: Option<&Nat64>) -> impl Iterator<Item = Way> {
        let egress = permit.terms().egress;
        let route = permit.address().zip(Route::of(permit, nat64));
        let ways = route
            .into_iter()
            .flat_map(|(judged, route)| route.ways().map(move |destination| Way { judged, destination }));
        ways.filter(move |way| {
            let exists = if way.destination.is_ipv4() { self.v4 } else { self.v6 };
            exists && self.leaves_by(egress, way.destination.ip())
        })
    }

    /// The rule for this datagram may name an egress of its own: the sockets must have just that.
    fn leaves_by(&self, wanted: Egress, address: IpAddr) -> bool {
        let differs = |wanted: bool, same: bool| wanted && !same;
        if differs(wanted.interface.is_some(), wanted.interface == self.egress.interface)
            || differs(wanted.mark.is_some(), wanted.mark == self.egress.mark)
        {
            return false;
        }
        match address {
            IpAddr::V4(_) if wanted.v4.is_some() => wanted.v4 == self.egress.v4,
            IpAddr::V6(_) if wanted.v6.is_some() => wanted.v6 == self.egress.v6,
            // A rule that names addresses of one family does not let the other one out.
            _ => wanted.v4.is_none() && wanted.v6.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use socks_config::Document;
    use socks_core::Identity;
    use socks_policy::{Context, Decision, Interface, Operation, Query, Ruleset};

    use super::*;

    const NONE: Egress = Egress { interface: None, mark: None, v4: None, v6: None };
    const BOTH: Routes = Routes { egress: NONE, v4: true, v6: true };
    const V4: &str = "198.51.100.7:53";
    const V6: &str = "[2001:db8::7]:53";
    const BEHIND: &str = "[2001:db8:64::c633:6407]:53";

    /// The permit of a rule with these keys.
    fn permit(keys: &str, address: &str) -> Permit {
        let text = format!(
            "version: 1\nclients: [{{ methods: [none] }}]\nrules: [{{ name: r, action: permit{keys} }}]\n"
        );
        let ruleset = Ruleset::load(&Document::parse("policy.yaml", text).unwrap(), &Context::default());
        let (target, nobody) = (address.parse().unwrap(), Identity::anonymous());
        let decision = ruleset.unwrap().ruleset.decide(&Query {
            listener: "main",
            client: "10.0.0.1:5000".parse().unwrap(),
            identity: Some(&nobody),
            operation: Some(Operation::Datagram(&target)),
            address: None,
            gateway: &[],
            now: jiff::Timestamp::UNIX_EPOCH,
        });
        match decision {
            Decision::Permit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    /// The ways that the sockets have to an address under a rule with these keys.
    fn ways(routes: Routes, keys: &str, address: &str, nat64: Option<&Nat64>) -> Vec<String> {
        let permit = permit(keys, address);
        let ways = routes.ways(&permit, nat64);
        ways.inspect(|way| assert_eq!(way.judged, address.parse().unwrap()))
            .map(|way| way.destination.to_string())
            .collect()
    }

    #[test]
    fn a_way_needs_a_socket_that_is_right_for_its_own_rule() {
        let bound = |v4: &str| Routes { egress: Egress { v4: v4.parse().ok(), ..NONE }, v4: true, v6: false };
        let (first, second) = (bound("192.0.2.1"), bound("192.0.2.2"));
        let only_v6 = Routes { v4: false, ..BOTH };
        let marked = Egress { mark: std::num::NonZeroU32::new(16), ..NONE };
        let marked = Routes { egress: Egress { interface: Interface::new("eth1"), ..marked }, ..BOTH };
        let table: [(Routes, &str, &str, bool); 18] = [
            (BOTH, "", V4, true),
            (BOTH, "", V6, true),
            (BOTH, ", family: v6", V4, false),
            (BOTH, ", family: v4", V6, false),
            (only_v6, "", V4, false),
            (first, "", V4, true),
            (first, "", V6, false),
            (first, ", egress: 192.0.2.1", V4, true),
            (second, ", egress: 192.0.2.1", V4, false),
            (BOTH, ", egress: 192.0.2.1", V4, false),
            (BOTH, ", egress: 192.0.2.1", V6, false),
            (marked, "", V4, true),
            (marked, ", egress: { interface: eth1 }", V6, true),
            (marked, ", egress: { interface: eth1, mark: 0x10 }", V4, true),
            (marked, ", egress: { interface: eth2, mark: 0x10 }", V4, false),
            (marked, ", egress: { interface: eth1, mark: 17 }", V4, false),
            (BOTH, ", egress: { interface: eth1 }", V4, false),
            (BOTH, ", egress: { mark: 1 }", V6, false),
        ];
        for (routes, keys, address, expected) in table {
            let found = ways(routes, keys, address, None);
            assert_eq!(found == [address], expected, "{address} with `{keys}` by {routes:?}: {found:?}");
            assert!(expected || found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn a_translator_is_the_way_to_ipv4_where_there_is_no_other() {
        let nat64: Nat64 = "2001:db8:64::/96".parse().unwrap();
        let only_v6 = Routes { v4: false, ..BOTH };
        assert_eq!(ways(BOTH, "", V4, Some(&nat64)), [V4, BEHIND]);
        assert_eq!(ways(BOTH, ", family: v6", V4, Some(&nat64)), [BEHIND]);
        assert_eq!(ways(only_v6, "", V4, Some(&nat64)), [BEHIND]);
        assert_eq!(ways(BOTH, "", V6, Some(&nat64)), [V6]);
        let way = only_v6.choose(&[permit("", V4)], Some(&nat64), &mut Reach::by(NONE)).unwrap();
        assert_eq!((way.judged, way.destination), (V4.parse().unwrap(), BEHIND.parse().unwrap()));
    }
}
