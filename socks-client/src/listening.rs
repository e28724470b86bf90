//! A port of the gateway's that waits for one connection (RFC 1928 section 4, BIND).

use std::fmt;
use std::time::Duration;

use socks_core::wire::{Method, Target};
use socks_core::{ClientStream, Level};
use tracing::debug;

use crate::{ConnectError, Connection, request};

/// A gateway that listens for us, for one peer; dropping it ends that.
pub struct Listening {
    stream: ClientStream,
    address: Target,
    method: Method,
    within: Duration,
}

impl Listening {
    pub(crate) fn new(stream: ClientStream, address: Target, method: Method, within: Duration) -> Self {
        Self { stream, address, method, within }
    }

    /// Where the peer has to connect; to be told to it by other means.
    ///
    /// It is the gateway's first reply; where that names no address, it is the one we know the gateway by.
    pub fn address(&self) -> &Target {
        &self.address
    }

    /// How the octets between us and the gateway are protected.
    pub fn level(&self) -> Level {
        match &self.stream {
            ClientStream::Plain(_) => Level::None,
            ClientStream::Protected(stream) => stream.protection.level,
        }
    }

    /// Waits for the peer, and gives the connection to it with its address as the gateway's second reply names it.
    ///
    /// Waits no longer than [`Timeouts::arrival`](crate::Timeouts::arrival). Dropping the future ends the waiting
    /// at the gateway, too.
    ///
    /// # Errors
    /// [`ConnectError`] at the step [`Step::Arrival`](crate::Step::Arrival).
    pub async fn accept(mut self) -> Result<(Connection, Target), ConnectError> {
        let peer = request::arrival(&mut self.stream, self.within).await?;
        debug!(address = %self.address, %peer, "peer has connected");
        Ok((Connection::new(self.stream, self.address, self.method), peer))
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
