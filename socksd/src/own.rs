//! The sockets on which sessions await their own client or peer: nobody else is led to them through the gateway.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// In how many parts the changes are counted: a verdict on one port seldom has to be given anew for another one.
const PARTS: usize = 1024;

/// The open sockets of all sessions, by their ports.
///
/// There are never more than sessions, so it has no bound of its own.
#[derive(Debug, Clone)]
pub(crate) struct OwnSockets(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    by_port: Mutex<HashMap<(Transport, u16), Vec<IpAddr>>>,
    changes: [AtomicU64; PARTS],
}

/// What a socket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Transport {
    /// The peer of a BIND.
    Tcp,
    /// The datagrams of an association's client.
    Udp,
}

/// An entry of a socket; dropping it takes the socket out.
#[derive(Debug)]
#[must_use]
pub(crate) struct OwnSocket {
    sockets: OwnSockets,
    transport: Transport,
    bound: SocketAddr,
}

impl OwnSockets {
    /// No socket.
    pub(crate) fn new() -> Self {
        let changes = std::array::from_fn(|_| AtomicU64::new(0));
        Self(Arc::new(Shared { by_port: Mutex::default(), changes }))
    }

    /// Enters a socket that is bound there, until the entry is dropped. To be done before anybody is told of it.
    pub(crate) fn enter(&self, transport: Transport, bound: SocketAddr) -> OwnSocket {
        let bound = SocketAddr::new(bound.ip().to_canonical(), bound.port());
        self.by_port().entry((transport, bound.port())).or_default().push(bound.ip());
        self.count(bound.port());
        OwnSocket { sockets: self.clone(), transport, bound }
    }

    /// The addresses at which sockets are open on a port; unspecified, if one takes what is sent to all.
    pub(crate) fn at(&self, transport: Transport, port: u16) -> Vec<IpAddr> {
        self.by_port().get(&(transport, port)).cloned().unwrap_or_default()
    }

    /// How often sockets on this port, and on a few others, have come and gone: a verdict on the port is good as
    /// long as this does not change.
    pub(crate) fn changes(&self, port: u16) -> u64 {
        self.part(port).load(Ordering::Acquire)
    }

    fn count(&self, port: u16) {
        self.part(port).fetch_add(1, Ordering::Release);
    }

    fn part(&self, port: u16) -> &AtomicU64 {
        let [first, ..] = &self.0.changes;
        self.0.changes.get(usize::from(port) % PARTS).unwrap_or(first)
    }

    fn by_port(&self) -> MutexGuard<'_, HashMap<(Transport, u16), Vec<IpAddr>>> {
        self.0.by_port.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        let key = (self.transport, self.bound.port());
        let mut by_port = self.sockets.by_port();
        if let Some(addresses) = by_port.get_mut(&key) {
            if let Some(place) = addresses.iter().position(|ip| *ip == self.bound.ip()) {
                addresses.swap_remove(place);
            }
            if addresses.is_empty() {
                by_port.remove(&key);
            }
        }
        drop(by_port);
        self.sockets.count(self.bound.port());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_socket_is_there_as_long_as_its_entry() {
        let sockets = OwnSockets::new();
        let v4 = sockets.enter(Transport::Udp, address("10.0.0.1:4000"));
        let v6 = sockets.enter(Transport::Udp, address("[fd00::1]:4000"));
        assert_eq!(
            sockets.at(Transport::Udp, 4000),
            [address("10.0.0.1:0").ip(), address("[fd00::1]:0").ip()]
        );
        assert!(sockets.at(Transport::Tcp, 4000).is_empty(), "another transport");
        assert!(sockets.at(Transport::Udp, 4001).is_empty(), "another port");
        drop(v4);
        assert_eq!(sockets.at(Transport::Udp, 4000), [address("[fd00::1]:0").ip()]);
        drop(v6);
        assert!(sockets.by_port().is_empty(), "nothing is left of a port without sockets");
    }

    #[test]
    fn two_entries_of_one_address_are_two() {
        let sockets = OwnSockets::new();
        let first = sockets.enter(Transport::Tcp, address("[::ffff:10.0.0.1]:4000"));
        let second = sockets.enter(Transport::Tcp, address("10.0.0.1:4000"));
        drop(first);
        assert_eq!(sockets.at(Transport::Tcp, 4000), [address("10.0.0.1:0").ip()]);
        drop(second);
        assert!(sockets.at(Transport::Tcp, 4000).is_empty());
    }

    #[test]
    fn whoever_remembers_a_verdict_sees_that_a_socket_has_come_or_gone_at_its_port() {
        let sockets = OwnSockets::new();
        let (before, elsewhere) = (sockets.changes(4000), sockets.changes(4001));
        let entry = sockets.enter(Transport::Udp, address("10.0.0.1:4000"));
        let open = sockets.changes(4000);
        assert_ne!(before, open);
        drop(entry);
        assert_ne!(open, sockets.changes(4000));
        assert_eq!(elsewhere, sockets.changes(4001), "no verdict on another port is touched");
    }
}
