//! The fourth step: the connection to the target, and the reply.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use socks_core::ClientStream;
use socks_core::wire::{Reply, Target};
use socks_policy::{Decision, Operation, Permit};
use tokio::time::timeout;

use crate::admission::{RuleHolder, RuleTicket};
use crate::dial::{Dialled, Road, dial};
use crate::outcome::End;
use crate::record::holder;

use super::chained::Chain;
use super::connected::{Connected, Far};
use super::{Ended, Session};

/// How long a client may take to have room for its reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// A client whose request is permitted, for at least one address.
pub(super) struct Permitted {
    stream: ClientStream,
    target: Target,
    permits: Vec<Permit>,
}

impl Permitted {
    /// The permits are for the addresses of `target`, or one for its name; never none.
    pub(super) fn new(stream: ClientStream, target: Target, permits: Vec<Permit>) -> Self {
        Self { stream, target, permits }
    }

    pub(super) async fn dial(self, session: &mut Session) -> Result<Connected, Ended> {
        let (tickets, mut permits) = match tickets(self.permits, session) {
            Ok(admitted) => admitted,
            Err(end) => return Err(Ended::with_reply(self.stream, end)),
        };
        // One way for all: that of the first address.
        let upstream = permits.first().and_then(|permit| permit.terms().upstream.clone());
        permits.retain(|permit| permit.terms().upstream == upstream);
        let most = permits.iter().filter_map(|permit| permit.terms().connect_timeout).min();
        let most = most.unwrap_or(session.snapshot.settings.limits.connect_timeout);
        if let Some(name) = upstream {
            let chain = Chain { name, target: self.target, permits, tickets, most };
            return chain.connect(self.stream, session).await;
        }
        let nat64 = session.snapshot.settings.nat64.as_ref();
        let operation = Operation::Connect(&self.target);
        let is_still_good = |permit: &Permit| {
            let address = permit.address().map(|address| address.ip());
            // Another rule may want another way to it.
            matches!(session.decide(Some(operation), address), Decision::Permit(now) if now.rule() == permit.rule())
        };
        let road = Road { racing: &session.gateway.racing, nat64, is_still_good: &is_still_good };
        let begun = Instant::now();
        match dial(permits, most, road).await {
            Ok(dialled) => {
                session.gateway.metrics.connect(begun.elapsed());
                session.rule_ticket =
                    tickets.into_iter().find(|ticket| ticket.rule() == &**dialled.permit.rule());
                reply(self.stream, dialled, session).await
            }
            Err(error) => Err(Ended::with_reply(self.stream, End::Dial(error))),
        }
    }
}

/// A place in each rule that limits its sessions. Addresses whose rule has none left are not dialled.
pub(super) fn tickets(
    permits: Vec<Permit>,
    session: &mut Session,
) -> Result<(Vec<RuleTicket>, Vec<Permit>), End> {
    let mut tickets: Vec<RuleTicket> = Vec::new();
    let mut admitted = Vec::with_capacity(permits.len());
    for permit in permits {
        session.record.facts().rule = Some(permit.rule().clone());
        let Some(most) = permit.terms().sessions else {
            admitted.push(permit);
            continue;
        };
        if !tickets.iter().any(|ticket| ticket.rule() == &**permit.rule()) {
            let Some(ticket) = ticket(&permit, most, session) else { continue };
            tickets.push(ticket);
        }
        admitted.push(permit);
    }
    if admitted.is_empty() { Err(End::RuleFull) } else { Ok((tickets, admitted)) }
}

/// A place in the rule that permits, if it has one left.
pub(super) fn ticket(permit: &Permit, most: u32, session: &Session) -> Option<RuleTicket> {
    let identity = session.record.identity()?;
    let holder = holder(&identity, session.record.client());
    session.gateway.rule_sessions.admit(RuleHolder { rule: permit.rule().clone(), holder }, most)
}

async fn reply(
    mut stream: ClientStream,
    dialled: Dialled,
    session: &mut Session,
) -> Result<Connected, Ended> {
    let Dialled { socket, permit, address } = dialled;
    session.record.learn(|facts| {
        facts.hold(&permit);
        facts.dialled = Some(address);
    });
    let bound = match socket.local_addr() {
        Ok(bound) => SocketAddr::new(bound.ip().to_canonical(), bound.port()),
        Err(error) => return Err(Ended::silently(End::Reply(error))),
    };
    session.record.facts().bound = Some(bound);
    grant(&mut stream, bound).await?;
    Ok(Connected::under(&permit, stream, Far::Direct(socket), session))
}

/// Tells the client that what it asked for is granted, and with which address.
pub(super) async fn grant(stream: &mut ClientStream, address: SocketAddr) -> Result<(), Ended> {
    let sent = timeout(REPLY_TIMEOUT, stream.send(&Reply::succeeded(address))).await;
    sent.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        .map_err(|error| Ended::silently(End::Reply(error)))
}
