//! The way of one session: accepted, authenticated, requested, permitted, connected. A BIND listens in between.
//!
//! Each step is a struct whose one method takes it and gives the next, or how the session [`Ended`]. Facts are
//! gathered in the record outside of them, so that whatever cancels a step loses none.

mod accepted;
mod authenticated;
mod bind;
mod connected;
mod ended;
mod permitted;
mod requested;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use socks_core::wire::Command;
use socks_policy::{Decision, Operation, Query};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::admission::{RuleTicket, Ticket};
use crate::config::Advertised;
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
    /// How long greeting, authentication and request may take together.
    patience: Duration,
    /// When that is over; a time that the clock cannot count to never comes.
    impatient_at: Option<Instant>,
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
    let patience = snapshot.settings.limits.handshake_timeout;
    let mut session = Session {
        gateway: arrival.gateway,
        snapshot,
        record,
        ticket: arrival.ticket,
        rule_ticket: None,
        patience,
        impatient_at: Instant::now().checked_add(patience),
    };
    match steps(arrival.socket, &mut session).await {
        Ok(connected) => Some(Tunnel::new(connected, session)),
        Err(ended) => {
            ended.close(&mut session.record).await;
            None
        }
    }
}

async fn steps(socket: TcpStream, session: &mut Session) -> Result<Connected, Ended> {
    let authenticated = Accepted::new(socket, session)?.authenticate(session).await?;
    let requested = authenticated.request(session).await?;
    match requested.command() {
        Command::Connect => requested.judge(session).await?.dial(session).await,
        Command::Bind => requested.judge_bind(session).await?.listen(session).await?.accept(session).await,
        command => Err(requested.refuse(End::NotServed(command), session)),
    }
}

impl Session {
    /// Waits for a client's part in the handshake, until the time for all of that is over.
    ///
    /// # Errors
    /// [`End::HandshakeTimeout`]; whoever has the client's stream in hand may still say something on it.
    async fn in_time<T>(&self, part: impl Future<Output = T>) -> Result<T, End> {
        match self.impatient_at {
            Some(until) => timeout_at(until, part).await.map_err(|_| End::HandshakeTimeout(self.patience)),
            None => Ok(part.await),
        }
    }

    /// The addresses by which others reach what the client of this listener has asked for.
    fn advertised(&self) -> Advertised {
        let mut listeners = self.snapshot.listeners.iter();
        let own = listeners.find(|listener| listener.name == self.record.listener);
        own.map(|listener| listener.advertise).unwrap_or_default()
    }

    /// What the policy says to an operation with what is known of it; `None` for one that is not yet known.
    fn decide(&self, operation: Option<Operation<'_>>, address: Option<IpAddr>) -> Decision {
        self.snapshot.ruleset.decide(&Query {
            listener: &self.record.listener,
            client: self.record.client,
            identity: self.record.identity.as_deref(),
            operation,
            address,
            gateway: &self.gateway.own.load(),
            now: Timestamp::now(),
        })
    }
}

#[cfg(test)]
mod tests;
