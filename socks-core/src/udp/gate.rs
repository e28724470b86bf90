//! The seam at which an association asks where its datagrams may go, and which may come back.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::tally::DropCause;
use crate::relay::Way;
use crate::wire::Target;

/// What an association asks about its datagrams; whoever starts it answers, from its policy.
///
/// Everything but [`Gate::poll_resolved`] is asked in the hot path, once for each datagram or batch: it has
/// to be cheap, and must not wait. Addresses of both sides are canonical: an IPv4-mapped one is IPv4.
///
/// The gate alone remembers destinations, so it bounds them, and counts the distinct ones with
/// [`Tally::count_destination`](super::Tally::count_destination).
pub trait Gate: Send {
    /// Where a datagram of the client to `target` goes: to an address that was judged.
    fn judge(&mut self, target: &Target) -> Verdict;

    /// Looks up the names, and opens the ways, for which [`Gate::judge`] has answered [`Verdict::Resolve`].
    ///
    /// Ready when at least one of them has become known since the last call; waiting datagrams are then judged
    /// again, and the answer for that name must no longer be [`Verdict::Resolve`]. Called only while datagrams wait.
    fn poll_resolved(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Tells whether a datagram from `origin` may go to the client: it comes from an address that the
    /// association has sent to, or the rule lets in others too.
    ///
    /// # Errors
    /// The cause under which it is dropped, [`DropCause::NotAskedFor`] mostly.
    fn admit(&mut self, origin: SocketAddr) -> Result<(), DropCause>;

    /// The address of an admitted `origin` as the client is told it: its own, unless the client has asked for it by
    /// another address, which a translator between the networks has.
    fn shown(&mut self, origin: SocketAddr) -> SocketAddr {
        origin
    }

    /// Takes a datagram for which [`Gate::judge`] has just answered [`Verdict::Forward`], and brings it on its way.
    ///
    /// # Errors
    /// The cause under which it is dropped.
    fn forward(&mut self, target: &Target, octets: &[u8]) -> Result<(), DropCause> {
        let _ = (target, octets);
        Err(DropCause::Unreachable)
    }

    /// Puts the user data of a datagram that came back by a way of the gate's own into `room`.
    fn poll_forwarded(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<Forwarded> {
        let _ = (cx, room);
        Poll::Pending
    }

    /// How many of `datagrams` that have come together may go that way now; the rest is dropped.
    ///
    /// Those that are certainly not of this client are not among them.
    fn take(&mut self, way: Way, datagrams: usize) -> usize;
}

/// What a [`Gate`] says about a datagram of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to that address.
    Send(SocketAddr),
    /// It goes nowhere.
    Drop(DropCause),
    /// The gate takes it itself: it goes by a way of the gate's own.
    Forward,
    /// Its name has to be looked up first, or its way opened; the datagram waits, if there is room.
    Resolve,
}

/// A datagram that came back by a way of a gate's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarded {
    /// How many octets of user data it has.
    pub len: usize,
    /// Where it came from, if it may go to the client; else why it is dropped.
    pub origin: Result<SocketAddr, DropCause>,
}
