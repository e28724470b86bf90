//! The seam at which a relay asks for leave before it moves octets.

use std::fmt;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// The largest grant that a metering [`Meter`] should give at once, in octets.
///
/// It bounds how far a tunnel can run ahead of a bucket that others draw from too.
pub const LEASE: usize = 64 * 1024;

/// Which way octets go through a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the client to the target.
    Up,
    /// From the target to the client.
    Down,
}

impl Way {
    /// The opposite way.
    #[must_use]
    pub fn back(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

/// What a relay asks before each read or splice, and before each datagram: one value per session, shared buckets
/// behind it.
///
/// A tunnel asks only when the socket has something to read, so an idle tunnel holds no grant. Octets that
/// came with the handshake are already read and are passed on without asking. In protected tunnels the
/// octets of the client's side are those of frames, for they are what is read.
pub trait Meter: fmt::Debug + Send + Sync {
    /// Asks for up to `want` octets (never 0) to be read.
    ///
    /// `Ready(n)` grants `1..=want`; a meter that limits grants at most [`LEASE`]. `Pending` makes this way
    /// wait, and the waker of `cx` is to be woken when asking again makes sense. The two ways of a tunnel
    /// ask from one task, so a meter may keep one waker for both.
    fn poll_grant(&self, way: Way, want: usize, cx: &mut Context<'_>) -> Poll<usize>;

    /// Takes back octets of the last grant that were not there to be read.
    fn give_back(&self, way: Way, unused: usize);

    /// Tells whether a datagram of so many octets may go now; it will not wait.
    fn admits(&self, _way: Way, _octets: usize) -> bool {
        true
    }

    /// How long nothing may move, where that can change while the relay runs; `None`: it stays as it began.
    fn idle_timeout(&self) -> Option<Duration> {
        None
    }

    /// Gives the waker of the relay, once, when it begins: it is to be woken when its idle timeout has changed.
    fn attach(&self, _relay: &Waker) {}
}

/// The meter that grants everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl Meter for Unlimited {
    fn poll_grant(&self, _way: Way, want: usize, _cx: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(want)
    }

    fn give_back(&self, _way: Way, _unused: usize) {}
}
