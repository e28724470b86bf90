//! Which networks this host knows a way to, asked of the kernel and remembered for a moment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use socks_policy::Egress;
use tokio::time::Instant;

use crate::egress;

use super::recent::Recent;

/// How long an answer is good: routes change seldom, and nobody tells us.
const FRESH: Duration = Duration::from_secs(5);
/// The most networks that are remembered.
const MOST: usize = 256;

/// The networks of which was asked lately.
pub(super) struct Reach {
    /// How datagrams leave; the kernel may know other ways for them.
    egress: Egress,
    known: Recent<IpAddr, Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    is_reached: bool,
    until: Instant,
}

impl Reach {
    pub(super) fn by(egress: Egress) -> Self {
        Self { egress, known: Recent::new(MOST) }
    }

    /// Tells whether there is a way to the address, or was a moment ago to its network.
    pub(super) fn has_route(&mut self, address: SocketAddr) -> bool {
        let egress = self.egress;
        self.ask(address, Instant::now(), |address| kernel_has_route(address, &egress))
    }

    fn ask(&mut self, address: SocketAddr, now: Instant, ask: impl FnOnce(SocketAddr) -> bool) -> bool {
        let network = network(address.ip());
        if let Some(known) = self.known.get(&network).filter(|known| now < known.until) {
            return known.is_reached;
        }
        let is_reached = ask(address);
        self.known.insert(network, Known { is_reached, until: now + FRESH });
        is_reached
    }
}

/// The network of an address, so small that a route for a part of it is unlikely: 24 bits of IPv4, 64 of IPv6.
///
/// Behind a translator's prefix of 96 bits all IPv4 addresses are in one.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) & (u32::MAX << 8)).into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & (u128::MAX << 64)).into(),
    }
}

/// Asks the kernel whether it knows the way. No packet is sent.
fn kernel_has_route(address: SocketAddr, egress: &Egress) -> bool {
    let wildcard: IpAddr = if address.is_ipv4() { [0, 0, 0, 0].into() } else { [0_u16; 8].into() };
    let probe = UdpSocket::bind((wildcard, 0));
    let probe = probe.and_then(|probe| egress::apply(&probe, egress).map(|()| probe));
    probe.and_then(|probe| probe.connect(address)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        SocketAddr::new(text.parse().unwrap(), 53)
    }

    #[test]
    fn a_network_is_asked_for_once_in_a_while() {
        let (mut reach, start) = (Reach::by(Egress::default()), Instant::now());
        let never = |_| panic!("it is known");
        assert!(reach.ask(at("198.51.100.1"), start, |_| true));
        assert!(!reach.ask(at("2001:db8:64::1"), start, |_| false));
        assert!(reach.ask(at("198.51.100.254"), start, never));
        assert!(!reach.ask(at("2001:db8:64::c633:6407"), start, never));
        assert!(!reach.ask(at("198.51.101.1"), start, |_| false), "another network");
        assert!(!reach.ask(at("198.51.100.1"), start + FRESH, |_| false), "the way may have gone");
    }

    #[test]
    fn the_kernel_knows_the_way_to_itself() {
        assert!(Reach::by(Egress::default()).has_route(at("127.0.0.1")));
    }
}
