//! The last step: the relay.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use socks_core::ClientStream;
use socks_core::relay::{Cutoff, RelayEnd, Terms};
use socks_policy::{Permit, TicketEnd};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::admission::Ticket;
use crate::gateway::Gateway;
use crate::outcome::End;
use crate::record::Record;

use super::Session;

/// How long nothing may move in a tunnel that outlives its ticket and is to be drained.
const DRAIN_QUIET: Duration = Duration::from_secs(30);

/// A client that was told that its connection is open.
pub(super) struct Connected {
    client: ClientStream,
    target: Far,
    cutoff: Option<Box<Cutoff>>,
}

/// The other end of a tunnel.
pub(super) enum Far {
    Direct(TcpStream),
    /// The stream to an upstream gateway, in a box because most targets have none.
    Upstream(Box<ClientStream>),
}

impl Connected {
    /// A tunnel that is open under the terms of the rule that permits it.
    pub(super) fn under(permit: &Permit, client: ClientStream, target: Far, session: &Session) -> Self {
        session.go_on_under(permit);
        Self { client, target, cutoff: cutoff_of(permit, session).map(Box::new) }
    }
}

/// When the session has to end because its proof of identity does; `None`: the rule lets it go on.
pub(super) fn cutoff_of(permit: &Permit, session: &Session) -> Option<Cutoff> {
    let valid_until = session.record.identity().and_then(|identity| identity.valid_until);
    cutoff(valid_until?, permit.terms().ticket_end, Timestamp::now())
}

/// When a tunnel ends whose client's proof ends at `end`; `None`: the rule lets it go on.
fn cutoff(end: Timestamp, ticket_end: TicketEnd, now: Timestamp) -> Option<Cutoff> {
    let quiet = match ticket_end {
        TicketEnd::Keep => return None,
        TicketEnd::Drain => DRAIN_QUIET,
        TicketEnd::Close => Duration::ZERO,
    };
    let left = Duration::try_from(end.duration_since(now)).unwrap_or_default();
    // An end that the clock cannot count to never comes.
    Instant::now().checked_add(left).map(|at| Cutoff { at, quiet })
}

/// An open tunnel and what it holds: little, because most tunnels idle most of the time.
pub(super) struct Tunnel {
    connected: Connected,
    gateway: Arc<Gateway>,
    record: Record,
    ticket: Ticket,
}

impl Tunnel {
    pub(super) fn new(connected: Connected, session: Session) -> Self {
        Self { connected, gateway: session.gateway, record: session.record, ticket: session.ticket }
    }

    /// Carries octets to the end. The future holds the relay in a box, and nothing twice.
    pub(super) fn run(self) -> impl Future<Output = ()> + Send + 'static {
        let Self { connected: Connected { client, target, cutoff }, gateway, mut record, ticket } = self;
        let live = record.live();
        let idle_timeout = live.meter.idle_timeout().unwrap_or(Duration::MAX);
        let terms = Terms { idle_timeout, meter: live.clone(), progress: live.progress.clone(), cutoff };
        let relay: Pin<Box<dyn Future<Output = RelayEnd> + Send>> = match target {
            Far::Direct(target) => Box::pin(gateway.relayer.run(client, target, terms)),
            Far::Upstream(upstream) => Box::pin(gateway.relayer.run_chained(client, *upstream, terms)),
        };
        async move {
            let end = relay.await;
            record.finish(&End::Relayed(end));
            drop(ticket);
        }
    }
}
