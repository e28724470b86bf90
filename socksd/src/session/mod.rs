//! The way of one session: accepted, authenticated, requested, permitted, connected. A BIND listens in between, and an association comes in place of the connection.
//!
//! Each step is a struct whose one method takes it and gives the next, or how the session [`Ended`]. Facts are
//! gathered in the record outside of them, so that whatever cancels a step loses none.

mod accepted;
mod associate;
mod authenticated;
mod bind;
mod chained;
mod connected;
mod ended;
mod permitted;
mod requested;

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use jiff::Timestamp;
use socks_core::ClientIo;
use socks_core::wire::Command;
use socks_policy::{Decision, Operation, Permit, Query};
use tokio::time::{Instant, timeout_at};

use crate::admission::Ticket;
use crate::config::Advertised;
use crate::gateway::Gateway;
use crate::outcome::End;
use crate::places::Places;
use crate::record::Record;
use crate::roster::Ending;
use crate::shadow::{Found, Seen, Shadow};
use crate::snapshot::Snapshot;
use crate::{rejudge, terms};

use accepted::Accepted;
use associate::{Associated, Opened};
use connected::{Connected, Tunnel};
pub(crate) use ended::Ended;

/// A connection that a listener took, with its place among the sessions.
pub(crate) struct Arrival {
    pub(crate) record: Record,
    pub(crate) ticket: Ticket,
    /// The client's socket, with what was read from it already.
    pub(crate) io: ClientIo,
}

/// What belongs to a session beside its streams.
struct Session {
    gateway: Arc<Gateway>,
    snapshot: Arc<Snapshot>,
    record: Record,
    ticket: Ticket,
    /// How long greeting, authentication and request may take together.
    patience: Duration,
    /// When that is over; a time that the clock cannot count to never comes.
    impatient_at: Option<Instant>,
}

/// Serves one client from its first octet to its end.
pub(crate) fn serve(arrival: Arrival) -> Serving {
    Serving::Establishing(Box::pin(establish(arrival)))
}

/// A session that is served. Each part of it is in a box of its own: the steps before the relay are large, short, and
/// gone when the tunnel idles.
pub(crate) enum Serving {
    Establishing(Pin<Box<dyn Future<Output = Option<Established>> + Send>>),
    Established(Established),
}

/// What a session has become, until its end.
type Established = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Future for Serving {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match &mut *self {
                Self::Establishing(steps) => match ready!(steps.as_mut().poll(cx)) {
                    Some(established) => *self = Self::Established(established),
                    None => return Poll::Ready(()),
                },
                Self::Established(rest) => return rest.as_mut().poll(cx),
            }
        }
    }
}

/// The last step of each command.
enum Step {
    Connected(Connected),
    Opened(Opened),
}

async fn establish(arrival: Arrival) -> Option<Established> {
    let Arrival { record, ticket, io } = arrival;
    let gateway = record.gateway().clone();
    let sweeps = || gateway.sweeps.load(Ordering::SeqCst);
    // Before the policy is taken: if that is an old one, the judging that its successor brings is still to come.
    let judged = sweeps();
    let snapshot = gateway.snapshot.load_full();
    record.facts().generation = snapshot.ruleset.generation();
    let patience = snapshot.settings.limits.handshake_timeout;
    let impatient_at = record.live().arrived().checked_add(patience);
    let mut session = Session { gateway: gateway.clone(), snapshot, record, ticket, patience, impatient_at };
    let result = steps(io, &mut session).await;
    if result.is_ok() {
        // It was permitted while open sessions were judged again, and nobody has looked at it since.
        if sweeps() != judged
            && let Some(why) = rejudge::lost(&gateway, session.record.live())
        {
            session.record.finish(&End::Outside(Ending::Revoked(why.into())));
            return None;
        }
        session.record.open_up(session.snapshot.settings.audit.start);
    }
    match result {
        Ok(Step::Connected(connected)) => Some(Box::pin(Tunnel::new(connected, session).run())),
        Ok(Step::Opened(opened)) => Some(Box::pin(Associated::new(opened, session).run())),
        Err(ended) => {
            ended.close(&mut session.record).await;
            None
        }
    }
}

async fn steps(io: ClientIo, session: &mut Session) -> Result<Step, Ended> {
    let authenticated = Accepted::new(io, session)?.authenticate(session).await?;
    let requested = authenticated.request(session).await?;
    Ok(match requested.command() {
        Command::Connect => Step::Connected(requested.judge(session).await?.dial(session).await?),
        Command::Bind => {
            let listening = requested.judge_bind(session).await?.listen(session).await?;
            Step::Connected(listening.accept(session).await?)
        }
        Command::UdpAssociate => Step::Opened(requested.judge_association(session)?.open(session).await?),
    })
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

    /// Takes the places in the rule of that permit, and leaves those in other rules.
    fn settle(&self, places: Vec<Places>, permit: &Permit) {
        let places = places.into_iter().find(|places| places.are_of(permit.rule()));
        self.record.live().take_places(places);
    }

    /// From now on the terms of the permit hold.
    fn go_on_under(&self, permit: &Permit) {
        let limits = &self.snapshot.settings.limits;
        terms::apply(self.record.live(), permit, limits, &self.gateway.accounts);
    }

    /// The addresses by which others reach what the client of this listener has asked for.
    fn advertised(&self) -> Advertised {
        let listener = self.snapshot.listener(self.record.live().entrance);
        listener.map(|listener| listener.advertise).unwrap_or_default()
    }

    /// What the policy calls the listener that the client came to.
    fn listener(&self) -> &str {
        self.snapshot.listener_of(self.record.live())
    }

    /// Asks the shadow policy about a client that is refused before it has asked for anything.
    fn watch_refusal(&self, found: impl FnOnce(&Shadow, Seen<'_>) -> Option<Found>) {
        let Some(shadow) = &self.snapshot.shadow else { return };
        let query = Query {
            listener: self.listener(),
            client: self.record.client(),
            identity: None,
            operation: None,
            address: None,
            gateway: &[],
            now: Timestamp::now(),
        };
        if let Some(found) = found(shadow, Seen::of(self.record.live(), &query)) {
            shadow.note(found, &mut self.record.facts(), &self.gateway.metrics);
        }
    }

    /// What the policy says to an operation with what is known of it; `None` for one that is not yet known.
    fn decide(&self, operation: Option<Operation<'_>>, address: Option<IpAddr>) -> Decision {
        let identity = self.record.identity();
        let query = Query {
            listener: self.listener(),
            client: self.record.client(),
            identity: identity.as_deref(),
            operation,
            address,
            gateway: &self.gateway.own_for(operation),
            now: Timestamp::now(),
        };
        let decision = self.snapshot.ruleset.decide(&query);
        if let Some(shadow) = &self.snapshot.shadow {
            shadow.watch(Seen::of(self.record.live(), &query), &decision, &self.gateway.metrics);
        }
        if !decision.logged_by().is_empty() {
            self.record.learn(|facts| facts.note_logged_by(decision.logged_by()));
        }
        decision
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::Bench;
