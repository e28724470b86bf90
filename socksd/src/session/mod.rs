//! The way of one session: accepted, authenticated, requested, permitted, connected.
//!
//! Each step is a struct whose one method takes it and gives the next, or how the session [`Ended`]. Facts are
//! gathered in the record outside of them, so that whatever cancels a step loses none.

mod accepted;
mod authenticated;
mod connected;
mod ended;
mod permitted;
mod requested;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use socks_core::wire::Target;
use socks_policy::{Decision, Operation, Query};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::admission::{RuleTicket, Ticket};
use crate::gateway::Gateway;
use crate::outcome::End;
use crate::record::Record;
use crate::snapshot::Snapshot;

use accepted::Accepted;
use connected::{Connected, Tunnel};
pub(crate) use ended::Ended;

/// A connection that a listener took, with its place among the sessions.
pub(crate) struct Arrival {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) ticket: Ticket,
    pub(crate) listener: Arc<str>,
    pub(crate) socket: TcpStream,
    /// Canonical: an IPv4 client of an IPv6 socket has its IPv4 address.
    pub(crate) client: SocketAddr,
}

/// What belongs to a session beside its streams.
struct Session {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    record: Record,
    ticket: Ticket,
    rule_ticket: Option<RuleTicket>,
}

/// Serves one client from its first octet to its end.
pub(crate) async fn serve(arrival: Arrival) {
    // In a box of their own: the steps before the relay are large, short, and gone when the tunnel idles.
    if let Some(tunnel) = Box::pin(establish(arrival)).await {
        tunnel.run().await;
    }
}

async fn establish(arrival: Arrival) -> Option<Tunnel> {
    let snapshot = arrival.gateway.snapshot.load_full();
    let mut record = Record::open(arrival.gateway.clone(), arrival.listener, arrival.client);
    record.generation = snapshot.ruleset.generation();
    let mut session =
        Session { gateway: arrival.gateway, snapshot, record, ticket: arrival.ticket, rule_ticket: None };
    match steps(arrival.socket, &mut session).await {
        Ok(connected) => Some(Tunnel::new(connected, session)),
        Err(ended) => {
            ended.close(&mut session.record).await;
            None
        }
    }
}

async fn steps(socket: TcpStream, session: &mut Session) -> Result<Connected, Ended> {
    let most = session.snapshot.settings.limits.handshake_timeout;
    let requested = timeout(most, async {
        Accepted::new(socket, session)?.authenticate(session).await?.request(session).await
    })
    .await
    .unwrap_or_else(|_| Err(Ended::silently(End::HandshakeTimeout(most))))?;
    requested.judge(session).await?.dial(session).await
}

impl Session {
    /// What the policy says to a CONNECT with what is known of it; `None` for a target that is not yet known.
    fn decide(&self, target: Option<&Target>, address: Option<IpAddr>) -> Decision {
        self.snapshot.ruleset.decide(&Query {
            listener: &self.record.listener,
            client: self.record.client,
            identity: self.record.identity.as_deref(),
            operation: target.map(Operation::Connect),
            address,
            gateway: &self.gateway.own.load(),
            now: Timestamp::now(),
        })
    }
}

#[cfg(test)]
mod tests;
