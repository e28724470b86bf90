//! Connections that a load balancer passes on: first it says for whom (PROXY protocol), then its client speaks.

use socks_core::wire::ProxyHeader;
use tokio::time::timeout_at;

use crate::admission::Source;
use crate::outcome::End;
use crate::session::{Arrival, serve};

/// A load balancer's connection, of which is not yet known for whom it is.
pub(crate) struct Awaited(Arrival);

impl Awaited {
    /// The arrival has the balancer for its client, and counts for no source.
    pub(crate) fn new(arrival: Arrival) -> Self {
        Self(arrival)
    }

    /// Reads the header, and serves the client that it names.
    pub(crate) async fn serve(self) {
        let Self(mut arrival) = self;
        // In a box of its own: what the header needs is gone when the session goes on.
        match Box::pin(told(&mut arrival)).await {
            Ok(()) => serve(arrival).await,
            Err(end) => arrival.record.finish(&end),
        }
    }
}

/// Learns who the client is, and takes its place among those of its source.
async fn told(arrival: &mut Arrival) -> Result<(), End> {
    let client = match header(arrival).await? {
        ProxyHeader::Forwarded { source, .. } => Some(source),
        ProxyHeader::Own => None,
    };
    arrival.record.live().tell(client);
    let source = Source::of(arrival.record.client().ip());
    arrival.ticket.of(source).map_err(End::Full)?;
    arrival.record.gateway().begin_session_of(source).map_err(End::Full)
}

/// Reads the header; what stands behind it stays for the session.
async fn header(arrival: &mut Arrival) -> Result<ProxyHeader, End> {
    let patience = arrival.record.gateway().snapshot.load().settings.limits.handshake_timeout;
    let receiving = arrival.io.receive();
    let received = match arrival.record.live().arrived().checked_add(patience) {
        Some(until) => timeout_at(until, receiving).await.map_err(|_| End::HandshakeTimeout(patience))?,
        None => receiving.await,
    };
    received.map_err(End::ProxyHeader)
}
