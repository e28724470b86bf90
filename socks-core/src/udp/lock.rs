//! Who may send as the client of an association: its address is fixed, its port is locked once it is known.

use std::net::{IpAddr, SocketAddr};

use crate::wire::{Host, Target};

/// The one address, and in the end the one port, that an association takes the client's datagrams from.
///
/// The address is that of the control connection. The port is the one that the request has named, or that of
/// the first valid datagram: one with a whole header which, under protection, was opened.
#[derive(Debug, Clone)]
pub struct ClientLock {
    ip: IpAddr,
    port: Option<u16>,
    client: Option<SocketAddr>,
}

impl ClientLock {
    /// A lock on the control connection's other end, and on the port if `named` (the request's target) tells it.
    ///
    /// RFC 1928 section 7: the client names the address and port that it is going to send from, or zeros. A
    /// port beside another address says nothing: that client is behind a translator, which changes both.
    pub fn new(peer: SocketAddr, named: &Target) -> Self {
        let ip = peer.ip().to_canonical();
        let is_ours = match &named.host {
            Host::Ip(named) => named.is_unspecified() || named.to_canonical() == ip,
            Host::Name(_) => false,
        };
        Self { ip, port: Some(named.port).filter(|port| is_ours && *port != 0), client: None }
    }

    /// Tells whether a datagram from `source` may be the client's.
    pub(super) fn admits(&self, source: SocketAddr) -> bool {
        source.ip().to_canonical() == self.ip && self.port.is_none_or(|port| port == source.port())
    }

    /// Locks on the source of a valid datagram that was admitted; true if it was not known before.
    pub(super) fn lock(&mut self, source: SocketAddr) -> bool {
        let is_new = self.client.is_none();
        if is_new {
            self.port = Some(source.port());
            self.client = Some(source);
        }
        is_new
    }

    /// Where the client receives, once it has sent.
    pub(super) fn client(&self) -> Option<SocketAddr> {
        self.client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_or_the_first_port_of_the_peer_is_admitted() {
        // The control connection's other end, what the request names, who sends first, who sends then.
        let table = [
            ("192.0.2.1:9", "0.0.0.0:0", "192.0.2.1:5000", true, "192.0.2.1:5000", true),
            ("192.0.2.1:9", "0.0.0.0:0", "192.0.2.1:5000", true, "192.0.2.1:5001", false),
            ("192.0.2.1:9", "0.0.0.0:0", "192.0.2.2:5000", false, "192.0.2.1:5001", true),
            ("192.0.2.1:9", "0.0.0.0:7", "192.0.2.1:5000", false, "192.0.2.1:7", true),
            ("192.0.2.1:9", "192.0.2.1:7", "192.0.2.1:7", true, "192.0.2.1:8", false),
            ("192.0.2.1:9", "192.0.2.1:7", "192.0.2.2:7", false, "192.0.2.1:7", true),
            ("192.0.2.1:9", "10.0.0.1:7", "192.0.2.1:5000", true, "10.0.0.1:7", false),
            ("192.0.2.1:9", "host.example:7", "192.0.2.1:5000", true, "192.0.2.1:7", false),
            ("[::ffff:192.0.2.1]:9", "0.0.0.0:0", "192.0.2.1:5000", true, "192.0.2.1:5001", false),
            ("192.0.2.1:9", "[::]:0", "[::ffff:192.0.2.1]:5", true, "[::ffff:192.0.2.2]:5", false),
            ("[2001:db8::1]:9", "[2001:db8::1]:0", "[2001:db8::1]:5", true, "[2001:db8::2]:5", false),
        ];
        for row in table {
            let (peer, named, first, first_is_admitted, then, then_is_admitted) = row;
            let mut lock = ClientLock::new(peer.parse().unwrap(), &named.parse().unwrap());
            let (first, then): (SocketAddr, SocketAddr) = (first.parse().unwrap(), then.parse().unwrap());
            assert_eq!(lock.admits(first), first_is_admitted, "first of {row:?}");
            if first_is_admitted {
                assert!(lock.lock(first));
            }
            assert_eq!(lock.admits(then), then_is_admitted, "then of {row:?}");
        }
    }

    #[test]
    fn a_datagram_that_was_admitted_but_not_valid_locks_nothing() {
        let lock = ClientLock::new("192.0.2.1:9".parse().unwrap(), &"0.0.0.0:0".parse().unwrap());
        assert!(lock.admits("192.0.2.1:1".parse().unwrap()));
        assert!(lock.admits("192.0.2.1:2".parse().unwrap()));
        assert_eq!(lock.client(), None);
    }
}
