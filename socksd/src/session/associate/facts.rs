//! What the policy says to an association's client, by all that is known of it.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use socks_core::Identity;
use socks_core::wire::Target;
use socks_policy::{Decision, Operation, Permit, Query, TicketEnd, UdpReplies};
use tracing::{debug, warn};

use crate::gateway::Gateway;
use crate::roster::Live;
use crate::shadow::Seen;
use crate::snapshot::Snapshot;
use crate::upstream::UpstreamError;

/// Who the client is, as the ruleset wants to know it.
pub(super) struct Facts {
    pub(super) gateway: Arc<Gateway>,
    live: Arc<Live>,
    /// Its proof counts as good here: what becomes of the association when it ends is the rule's `ticket-end`.
    identity: Option<Identity>,
    /// When the proof ends.
    valid_until: Option<Timestamp>,
}

/// Why there is no permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Denied,
    /// It depends on the address.
    Open,
}

impl Facts {
    pub(super) fn new(gateway: Arc<Gateway>, live: Arc<Live>, identity: Option<&Identity>) -> Self {
        let valid_until = identity.and_then(|identity| identity.valid_until);
        let mut identity = identity.cloned();
        if let Some(identity) = &mut identity {
            identity.valid_until = None;
        }
        Self { gateway, live, identity, valid_until }
    }

    /// From whom a policy that has come since then lets datagrams in.
    pub(super) fn replies(&self, snapshot: &Snapshot) -> UdpReplies {
        let decision = snapshot.ruleset.decide(&Query {
            listener: snapshot.listener_of(&self.live),
            client: self.live.client(),
            identity: self.identity.as_ref(),
            operation: Some(Operation::Associate),
            address: None,
            gateway: &self.gateway.own_for(None),
            now: Timestamp::now(),
        });
        match decision {
            Decision::Permit(permit) => permit.terms().udp.replies,
            Decision::Deny(_) | Decision::Needs(_) => UdpReplies::SentTo,
        }
    }

    /// The permit for a datagram to `target`, at one of its addresses if it is a name.
    pub(super) fn permit(
        &self,
        snapshot: &Snapshot,
        target: &Target,
        address: Option<IpAddr>,
    ) -> Result<Permit, Refusal> {
        let (now, operation) = (Timestamp::now(), Some(Operation::Datagram(target)));
        let query = Query {
            listener: snapshot.listener_of(&self.live),
            client: self.live.client(),
            identity: self.identity.as_ref(),
            operation,
            address,
            gateway: &self.gateway.own_for(operation),
            now,
        };
        let decision = snapshot.ruleset.decide(&query);
        if let Some(shadow) = &snapshot.shadow {
            shadow.watch(Seen::of(&self.live, &query), &decision, &self.gateway.metrics);
        }
        if !decision.logged_by().is_empty() {
            self.live.facts().note_logged_by(decision.logged_by());
        }
        match decision {
            Decision::Permit(permit) if self.is_over(&permit, now) => Err(Refusal::Denied),
            Decision::Permit(permit) => Ok(permit),
            Decision::Deny(_) => Err(Refusal::Denied),
            Decision::Needs(_) => Err(Refusal::Open),
        }
    }

    /// Notes that datagrams go through an upstream gateway, or tells the operator that they cannot.
    pub(super) fn tell_upstream(&self, name: &Arc<str>, opened: Result<(), UpstreamError>) {
        match opened {
            Ok(()) => self.live.facts().add_upstream(name),
            Err(error) if self.gateway.throttle.allow("upstream-association") => {
                warn!(session = %self.live.id, %error, "no datagrams through an upstream gateway");
            }
            Err(error) => debug!(session = %self.live.id, %error, "no datagrams through an upstream gateway"),
        }
    }

    /// The proof has ended, and the rule for this destination wants one.
    fn is_over(&self, permit: &Permit, now: Timestamp) -> bool {
        permit.terms().ticket_end != TicketEnd::Keep && self.valid_until.is_some_and(|end| end <= now)
    }
}
