//! The sockets of an association: one towards the client, and one of each family towards the destinations.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use socks_core::udp::Outer;
use socks_policy::{Egress, Permit, PortRange};
use tokio::net::UdpSocket;

use crate::egress;
use crate::listen::{ListenError, tries};
use crate::own::{OwnSocket, OwnSockets, Transport};

use super::route::Routes;

/// Octets of datagrams that may wait in a socket; the system may allow fewer, and counts generously.
const ROOM: usize = 1024 * 1024;

/// Sockets that are open.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) client: UdpSocket,
    /// Where the client's is bound.
    pub(super) bound: SocketAddr,
    pub(super) outer: Outer,
    pub(super) routes: Routes,
}

impl Sockets {
    /// Opens them as the rule of `permit` says. `local` is the gateway's end of the control connection: the client
    /// reaches that address, and nobody on another network of the gateway's does. The entry among the gateway's own
    /// sockets is for the client's.
    pub(super) fn open(
        local: SocketAddr,
        permit: &Permit,
        own: &OwnSockets,
    ) -> Result<(Self, OwnSocket), ListenError> {
        let egress = permit.terms().egress;
        let client = facing(local, permit.terms().udp.ports)?;
        let failed = |error| ListenError::Failed { address: local.ip(), error };
        let bound = client.local_addr().map_err(failed)?;
        let own = own.enter(Transport::Udp, bound);
        let outer = outer(egress)?;
        let routes = Routes { egress, v4: outer.v4.is_some(), v6: outer.v6.is_some() };
        Ok((Self { client, bound, outer, routes }, own))
    }
}

/// The client's: at the address that it came to, on a port of the range, or any.
fn facing(local: SocketAddr, ports: Option<PortRange>) -> Result<UdpSocket, ListenError> {
    let failed = |error| ListenError::Failed { address: local.ip().to_canonical(), error };
    // An address that is good on one link only is none without the link.
    let mut near = match local.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), 0),
        IpAddr::V6(_) => local,
    };
    near.set_port(0);
    let Some(ports) = ports else { return bound(near, &Egress::default()).map_err(failed) };
    for port in tries(ports).map_err(failed)? {
        near.set_port(port);
        match bound(near, &Egress::default()) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            opened => return opened.map_err(failed),
        }
    }
    Err(ListenError::PortsUsedUp { first: ports.first(), last: ports.last() })
}

/// Those towards the destinations: of both families, unless the rule names egress addresses of one only.
fn outer(egress: Egress) -> Result<Outer, ListenError> {
    let any = egress.v4.is_none() && egress.v6.is_none();
    let v4 = egress.v4.or(any.then_some(Ipv4Addr::UNSPECIFIED)).map(IpAddr::from);
    let v6 = egress.v6.or(any.then_some(Ipv6Addr::UNSPECIFIED)).map(IpAddr::from);
    let open = |ip: Option<IpAddr>| {
        let Some(address) = ip else { return Ok(None) };
        match bound(SocketAddr::new(address, 0), &egress) {
            Ok(socket) => Ok(Some(socket)),
            // A machine without that family; the other one is there.
            Err(error) if any && is_no_family(&error) => Ok(None),
            Err(error) => Err(ListenError::Failed { address, error }),
        }
    };
    Ok(Outer { v4: open(v4)?, v6: open(v6)? })
}

fn is_no_family(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

/// A socket at that address that leaves as a rule says.
fn bound(address: SocketAddr, egress: &Egress) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // The destinations of the other family have a socket of their own.
        socket.set_only_v6(true)?;
    }
    socket.set_recv_buffer_size(ROOM)?;
    socket.set_send_buffer_size(ROOM)?;
    socket.set_nonblocking(true)?;
    egress::apply(&socket, egress)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
