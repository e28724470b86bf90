//! The peer that a BIND waits for, and the judgement on each one that comes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use socks_core::wire::{Host, Target};
use socks_policy::{BindPeerRule, Decision, DenyReason, Operation, Permit, Terms};

use crate::outcome::End;
use crate::session::Session;

/// Whom the client expects, as DST.ADDR names it.
#[derive(Debug)]
pub(in crate::session) struct Expected {
    target: Target,
    /// The addresses that the policy permits to listen for, canonical; none: the client names nobody.
    addresses: Vec<IpAddr>,
    rule: BindPeerRule,
    /// The gateway by which it comes, if not by this one.
    upstream: Option<Arc<str>>,
}

/// What the policy says of a peer that has come.
pub(super) enum Verdict {
    /// It is the right one.
    Take(Permit),
    /// It is not; the wait goes on.
    Refuse,
    /// No peer can be the right one any more.
    End(End),
}

impl Expected {
    /// The peer that `target` names, at addresses that are permitted, under the terms of the rule that does.
    pub(super) fn new(target: Target, addresses: Vec<IpAddr>, terms: &Terms) -> Self {
        Self { target, addresses, rule: terms.bind.peer, upstream: terms.upstream.clone() }
    }

    /// The first of its addresses.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.addresses.first().copied()
    }

    /// Tells whether the rule that permits the peer takes it as it comes: it may be another one than the rule that
    /// let the gateway listen, and stricter.
    fn suits(&self, permit: &Permit, peer: SocketAddr, is_named: bool) -> bool {
        let wants_named = !self.addresses.is_empty() && permit.terms().bind.peer == BindPeerRule::Named;
        permit.terms().family.allows(peer.ip()) && (is_named || !wants_named)
    }

    /// Tells whether the peer is at an address that the request names.
    pub(super) fn names(&self, peer: SocketAddr) -> bool {
        self.addresses.contains(&peer.ip())
    }

    /// Judges a peer by its canonical address.
    pub(super) fn judge(&self, peer: SocketAddr, session: &Session) -> Verdict {
        let is_named = self.names(peer);
        // RFC 1928 section 4: DST.ADDR is for judging who connects. Its port says nothing: an FTP server's data
        // come from another one than the client has connected to.
        if !is_named && !self.addresses.is_empty() && self.rule == BindPeerRule::Named {
            return Verdict::Refuse;
        }
        let name = match &self.target.host {
            Host::Name(name) if is_named => Some(name),
            _ => None,
        };
        match session.decide(Some(Operation::BindPeer { peer, name }), None) {
            // It has to come by the way that the rule says.
            Decision::Permit(permit) if permit.terms().upstream != self.upstream => Verdict::Refuse,
            Decision::Permit(permit) if self.suits(&permit, peer, is_named) => Verdict::Take(permit),
            Decision::Deny(denial) if denial.reason == DenyReason::IdentityExpired => {
                Verdict::End(End::Denied(denial))
            }
            Decision::Permit(_) | Decision::Deny(_) => Verdict::Refuse,
            Decision::Needs(_) => Verdict::End(End::Undecided),
        }
    }
}
