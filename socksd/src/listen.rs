//! Where the gateway listens for the peer of a BIND, and what its client is told of that.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use socket2::SockRef;
use socks_policy::{Egress, Permit, PortRange};
use tokio::net::{TcpListener, TcpSocket};

use crate::config::Advertised;
use crate::dial::egress_for;
use crate::egress;
use crate::own::{OwnSocket, OwnSockets, Transport};

/// Connections that may wait while another one is judged.
const BACKLOG: u32 = 16;
/// The most ports of a range that are tried for one request.
const MOST_TRIES: u16 = 1024;
/// Addresses for documentation (RFC 5737, RFC 3849): no more than a question which way the default route goes.
const ELSEWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];
/// RFC 863's port; nothing is sent to it.
const DISCARD: u16 = 9;

/// What is known of the place where a peer is to be met.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Site {
    /// The unspecified address of the family that the peer comes by.
    pub(crate) wildcard: IpAddr,
    /// The gateway's own end of the client's connection.
    pub(crate) local: SocketAddr,
    /// Where the peer is expected from.
    pub(crate) expected: Option<IpAddr>,
    /// The addresses by which others know the gateway.
    pub(crate) advertised: Advertised,
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) socket: TcpListener,
    /// Where it listens.
    pub(crate) bound: SocketAddr,
    /// Where peers reach it.
    pub(crate) told: SocketAddr,
    /// Keeps others from being led to it.
    pub(crate) own: OwnSocket,
}

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    #[error("no free port found in `{first}-{last}`; give the rule more `ports`")]
    PortsUsedUp { first: u16, last: u16 },
    #[error("{address}: {error}")]
    Failed { address: IpAddr, error: io::Error },
}

/// Listens as the rule of `permit` says.
///
/// The socket takes what is sent to the one address that the client is told, so that no other network of the
/// gateway's reaches it; to all of them only if the client is told an address that others translate.
pub(crate) fn listen(permit: &Permit, site: Site, own: &OwnSockets) -> Result<Front, ListenError> {
    let failed = |address| move |error| ListenError::Failed { address, error };
    let near = site.near(permit).map_err(failed(site.wildcard))?;
    let socket = socket(near).map_err(failed(near.ip()))?;
    egress::apply(&socket, &permit.terms().egress).map_err(failed(near.ip()))?;
    bind(&socket, near, permit.terms().bind.ports)?;
    let open = || {
        let bound = socket.local_addr()?;
        // Before it listens: nobody is there earlier.
        let own = own.enter(Transport::Tcp, bound);
        Ok(Front { socket: socket.listen(BACKLOG)?, bound, told: site.advertised.instead_of(bound), own })
    };
    open().map_err(failed(near.ip()))
}

impl Site {
    /// The gateway's own address to listen on, with port 0.
    fn near(&self, permit: &Permit) -> io::Result<SocketAddr> {
        let wildcard = SocketAddr::new(self.wildcard, 0);
        match egress_for(wildcard, permit)? {
            Some(egress) => Ok(SocketAddr::new(egress, 0)),
            None if self.advertised.instead_of(wildcard) != wildcard => Ok(wildcard),
            None => self.facing(&permit.terms().egress),
        }
    }

    /// The address that a peer reaches: the one from which packets to it leave.
    fn facing(&self, egress: &Egress) -> io::Result<SocketAddr> {
        if let Some(expected) = self.expected {
            return source_towards(expected, self.wildcard, egress);
        }
        let local = SocketAddr::new(self.local.ip().to_canonical(), 0);
        // Who comes by the rule's interface reaches the address that the gateway has there.
        if local.is_ipv6() != self.wildcard.is_ipv6() || egress.interface.is_some() {
            let elsewhere =
                ELSEWHERE.into_iter().find(|address| address.is_ipv6() == self.wildcard.is_ipv6());
            return source_towards(elsewhere.unwrap_or(self.wildcard), self.wildcard, egress);
        }
        // An address that is good on one link only is none without the link.
        let mut near = if local.is_ipv6() { self.local } else { local };
        near.set_port(0);
        Ok(near)
    }
}

/// Asks the kernel for its own address on the way to another one. No packet is sent.
fn source_towards(other: IpAddr, wildcard: IpAddr, egress: &Egress) -> io::Result<SocketAddr> {
    let probe = UdpSocket::bind((wildcard, 0))?;
    egress::apply(&probe, egress)?;
    probe.connect((other, DISCARD))?;
    let mut near = probe.local_addr()?;
    near.set_port(0);
    Ok(near)
}

fn socket(near: SocketAddr) -> io::Result<TcpSocket> {
    // Addresses are not used again while connections of theirs are open: a peer must not be met by the wrong one.
    if near.is_ipv4() {
        return TcpSocket::new_v4();
    }
    let socket = TcpSocket::new_v6()?;
    // The peers of the other family are not those that were permitted.
    SockRef::from(&socket).set_only_v6(true)?;
    Ok(socket)
}

/// Takes a port of the range, from a random one on; any port, if there is no range.
fn bind(socket: &TcpSocket, near: SocketAddr, ports: Option<PortRange>) -> Result<(), ListenError> {
    let failed = |error| ListenError::Failed { address: near.ip(), error };
    let Some(ports) = ports else { return socket.bind(near).map_err(failed) };
    for port in tries(ports).map_err(failed)? {
        match socket.bind(SocketAddr::new(near.ip(), port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            done => return done.map_err(failed),
        }
    }
    Err(ListenError::PortsUsedUp { first: ports.first(), last: ports.last() })
}

/// The ports of a range, each once and at most 1024, from a random one on.
pub(crate) fn tries(ports: PortRange) -> io::Result<impl Iterator<Item = u16>> {
    let count = u32::from(ports.last() - ports.first()) + 1;
    let start = getrandom::u32().map_err(io::Error::other)? % count;
    let port = move |step: u16| {
        let offset = (start + u32::from(step)) % count;
        ports.first() + u16::try_from(offset).unwrap_or_default()
    };
    let most = u16::try_from(count).map_or(MOST_TRIES, |count| count.min(MOST_TRIES));
    Ok((0..most).map(port))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

    #[test]
    fn each_port_of_a_range_is_tried_once_and_no_more_than_1024_of_it() {
        for (range, count) in [("7-7", 1), ("65530-65535", 6), ("0-65535", 1024), ("40000-41023", 1024)] {
            let ports: PortRange = range.parse().unwrap();
            let tried: Vec<u16> = tries(ports).unwrap().collect();
            assert_eq!((tried.len(), tried.iter().collect::<BTreeSet<_>>().len()), (count, count), "{range}");
            assert!(tried.iter().all(|port| ports.contains(*port)), "{range}");
        }
    }

    #[test]
    fn what_is_told_leads_to_the_expected_peer_or_to_where_the_client_came() {
        let table = [
            (V4, "127.0.0.9:1080", None, "127.0.0.9:0"),
            (V4, "[::ffff:127.0.0.9]:1080", None, "127.0.0.9:0"),
            (V4, "[::1]:1080", Some("127.0.0.1"), "127.0.0.1:0"),
            (V6, "127.0.0.9:1080", Some("::1"), "[::1]:0"),
            (V6, "[fe80::1%7]:1080", None, "[fe80::1%7]:0"),
        ];
        for (wildcard, local, expected, near) in table {
            let expected = expected.map(|address| address.parse().unwrap());
            let (local, advertised) = (local.parse().unwrap(), Advertised::default());
            let site = Site { wildcard, local, expected, advertised };
            assert_eq!(site.facing(&Egress::default()).unwrap(), near.parse().unwrap(), "{site:?}");
        }
    }
}
