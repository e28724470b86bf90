//! The last step: the relay.

use std::sync::Arc;
use std::time::Duration;

use socks_core::ClientStream;
use socks_core::relay::{Terms, Unlimited};
use tokio::net::TcpStream;

use crate::admission::{RuleTicket, Ticket};
use crate::gateway::Gateway;
use crate::outcome::End;
use crate::record::Record;

use super::Session;

/// A client that was told that its connection is open.
pub(super) struct Connected {
    client: ClientStream,
    target: TcpStream,
    idle_timeout: Duration,
}

impl Connected {
    pub(super) fn new(client: ClientStream, target: TcpStream, idle_timeout: Duration) -> Self {
        Self { client, target, idle_timeout }
    }
}

/// An open tunnel and what it holds: little, because most tunnels idle most of the time.
pub(super) struct Tunnel {
    connected: Connected,
    gateway: Arc<Gateway>,
    record: Box<Record>,
    _ticket: Ticket,
    _rule_ticket: Option<RuleTicket>,
}

impl Tunnel {
    pub(super) fn new(connected: Connected, session: Session) -> Self {
        Self {
            connected,
            gateway: session.gateway,
            record: Box::new(session.record),
            _ticket: session.ticket,
            _rule_ticket: session.rule_ticket,
        }
    }

    pub(super) async fn run(mut self) {
        let Connected { client, target, idle_timeout } = self.connected;
        let terms =
            Terms { idle_timeout, meter: Arc::new(Unlimited), progress: self.record.progress.clone() };
        let end = self.gateway.relayer.run(client, target, terms).await;
        self.record.finish(&End::Relayed(end));
    }
}
