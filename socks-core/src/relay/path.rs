//! What the two kinds of direction have in common: from where, to where, and who counts.

use std::io;
use std::task::{Context, Poll};

use super::meter::Way;
use super::socket::Socket;
use super::{Pools, Terms};
use crate::{OpenError, SealError};

/// One direction's ends, and what it runs under.
#[derive(Clone, Copy)]
pub(super) struct Path<'a> {
    pub(super) way: Way,
    pub(super) source: Socket<'a>,
    pub(super) sink: Socket<'a>,
    pub(super) pools: &'a Pools,
    pub(super) terms: &'a Terms,
}

impl<'a> Path<'a> {
    /// The way back between the same ends.
    pub(super) fn back(self) -> Self {
        Self { way: self.way.back(), source: self.sink, sink: self.source, ..self }
    }

    /// Waits until the source has something and the meter grants 1 to `want` octets of it.
    pub(super) fn poll_grant(&self, cx: &mut Context<'_>, want: usize) -> Poll<io::Result<usize>> {
        std::task::ready!(self.source.poll_readable(cx))?;
        match self.terms.meter.poll_grant(self.way, want, cx) {
            Poll::Ready(0) | Poll::Pending => Poll::Pending,
            Poll::Ready(granted) => Poll::Ready(Ok(granted.min(want))),
        }
    }

    /// Gives back what was granted and not read.
    pub(super) fn settle(&self, granted: usize, read: usize) {
        if granted > read {
            self.terms.meter.give_back(self.way, granted - read);
        }
    }

    /// Counts octets that the sink has taken.
    pub(super) fn delivered(&self, octets: usize) {
        self.terms.progress.add(self.way, octets);
    }
}

/// The octets that a direction may still move before it lets other tasks run.
///
/// tokio counts a call as one unit of work, whatever it moved; this counts octets.
pub(super) struct Quantum(usize);

impl Quantum {
    pub(super) fn new(octets: usize) -> Self {
        Self(octets)
    }

    pub(super) fn count(&mut self, octets: usize) {
        self.0 = self.0.saturating_sub(octets);
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.0 == 0
    }

    /// Ready while something is left; else pending, with a wake-up behind the tasks that wait already.
    pub(super) fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_used_up() {
            // Behind all that is ready, and behind a look at the sockets.
            let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// Why a direction stopped before its end.
#[derive(Debug)]
pub(super) enum Fault {
    /// The end that is read from failed.
    Source(io::Error),
    /// The end that is written to failed.
    Sink(io::Error),
    /// The source ended inside a protected frame.
    CutFrame,
    /// A protected frame was refused.
    Open(OpenError),
    /// A frame could not be sealed.
    Seal(SealError),
}

/// Both directions of a tunnel, polled from one task.
pub(super) trait Duplex {
    /// Moves what can be moved one way; `Ready(Ok(()))` when that way has ended in order.
    ///
    /// While it waits it holds no buffer and no pipe, unless octets are in flight.
    fn poll_way(&mut self, way: Way, cx: &mut Context<'_>) -> Poll<Result<(), Fault>>;

    /// Tells whether octets were read that could not be delivered yet.
    fn is_loaded(&self) -> bool;

    /// From now on the end of that way is not passed on: its source has failed, and is only read empty.
    fn abandon(&mut self, way: Way);
}
