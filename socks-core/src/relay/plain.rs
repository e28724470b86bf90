//! A tunnel without protection: octets are copied at first, and spliced once they come in bulk.

use std::io;
use std::task::{Context, Poll, ready};

use super::buffer::Buffer;
use super::meter::Way;
use super::path::{Duplex, Fault, Path, Quantum};
use super::pipe::PipeLoan;

/// How many full reads in a row make a direction change to splice(2).
///
/// A request and its answer seldom fill one buffer; what fills two is a transfer.
const FULL_READS: u8 = 2;

/// How many octets one direction moves before it lets other tasks run; one splice may go beyond it.
///
/// Yielding often costs nothing that can be measured, and what gathers meanwhile makes the next splice larger.
pub(super) const QUANTUM: usize = 256 * 1024;
/// The first splices of a transfer move at most so many octets.
const FIRST_REACH: usize = 64 * 1024;
/// A splice reaches for this part of what the transfer has spliced so far.
///
/// The more octets one splice moves the cheaper they are, but what is stuck in front of a reader that stalls
/// may have to be kept in memory. Before a reader stalls the sockets take up to some 10 MiB.
const REACH_PART: usize = 64;

/// A tunnel whose two directions copy or splice.
pub(super) struct Plain<'a> {
    up: Direction<'a>,
    down: Direction<'a>,
}

impl<'a> Plain<'a> {
    /// A tunnel from and to a client; `early` octets of the client go before all others.
    pub(super) fn new(up: Path<'a>, early: Vec<u8>) -> Self {
        let mut tunnel = Self { up: Direction::new(up), down: Direction::new(up.back()) };
        if !early.is_empty() {
            tunnel.up.flight = Flight::Buffer(up.pools.buffers.holding(early));
        }
        tunnel
    }

    /// The same with octets of the target that go before all others.
    pub(super) fn answered(mut self, early: Vec<u8>) -> Self {
        if !early.is_empty() {
            self.down.flight = Flight::Buffer(self.down.path.pools.buffers.holding(early));
        }
        self
    }

    fn direction(&mut self, way: Way) -> &mut Direction<'a> {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

impl Duplex for Plain<'_> {
    fn poll_way(&mut self, way: Way, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        // The sockets are closed once both ways have ended, and that ends both streams.
        let is_last = self.direction(way.back()).ended;
        self.direction(way).poll(is_last, cx)
    }

    fn is_loaded(&self) -> bool {
        [&self.up, &self.down].iter().any(|direction| !matches!(direction.flight, Flight::Nothing))
    }

    fn abandon(&mut self, way: Way) {
        self.direction(way).abandoned = true;
    }
}

/// One direction: what was read is written before anything else is read.
struct Direction<'a> {
    path: Path<'a>,
    flight: Flight<'a>,
    /// Octets spliced since the direction last changed to splicing.
    spliced: usize,
    /// How many of them had been spliced when the source was last seen empty.
    last_empty: usize,
    full_reads: u8,
    ended: bool,
    abandoned: bool,
}

/// Where the octets are that were read and not yet written.
enum Flight<'a> {
    Nothing,
    Buffer(Buffer<'a>),
    Pipe(PipeLoan<'a>),
}

impl<'a> Direction<'a> {
    fn new(path: Path<'a>) -> Self {
        Self {
            path,
            flight: Flight::Nothing,
            spliced: 0,
            last_empty: 0,
            full_reads: 0,
            ended: false,
            abandoned: false,
        }
    }

    /// Moves what can be moved; the end of the last way is left to whoever closes the sockets.
    fn poll(&mut self, is_last: bool, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let polled = self.poll_moves(is_last, cx);
        if polled.is_pending() {
            self.rest().map_err(Fault::Source)?;
        }
        polled
    }

    fn poll_moves(&mut self, is_last: bool, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut quantum = Quantum::new(QUANTUM);
        while !self.ended {
            ready!(self.poll_drain(cx)).map_err(Fault::Sink)?;
            ready!(quantum.poll_left(cx));
            let read = ready!(self.poll_fill(cx)).map_err(Fault::Source)?;
            quantum.count(read);
            if read == 0 {
                self.ended = true;
                self.flight = Flight::Nothing;
                if !self.abandoned && !is_last {
                    self.path.sink.end().map_err(Fault::Sink)?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is in flight, and gives its buffer or pipe back.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let (moved, done) = match &mut self.flight {
                Flight::Nothing => return Poll::Ready(Ok(())),
                Flight::Pipe(pipe) => {
                    let moved = ready!(pipe.poll_drain(self.path.sink, cx))?;
                    (moved, pipe.is_empty())
                }
                Flight::Buffer(buffer) => {
                    let moved = ready!(self.path.sink.poll_write(cx, buffer.held()))?;
                    buffer.release(moved);
                    (moved, buffer.is_empty())
                }
            };
            self.path.delivered(moved);
            if done {
                self.flight = Flight::Nothing;
            }
        }
    }

    /// Reads once, when there is something to read; 0 is the end.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.full_reads >= FULL_READS
            && let Some(read) = ready!(self.poll_splice(cx))?
        {
            return Poll::Ready(Ok(read));
        }
        self.poll_copy(cx)
    }

    /// Splices once; `None` when there is no pipe, or splice(2) got nothing and reading must tell why.
    fn poll_splice(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let pipes = &self.path.pools.pipes;
        let reach = (self.spliced / REACH_PART).clamp(FIRST_REACH, pipes.size().max(FIRST_REACH));
        let granted = ready!(self.path.poll_grant(cx, reach))?;
        let Some(mut pipe) = pipes.take() else {
            self.path.settle(granted, 0);
            return Poll::Ready(Ok(None));
        };
        let filled = pipe.fill(self.path.source, granted);
        self.path.settle(granted, filled.as_ref().ok().copied().flatten().unwrap_or(0));
        match filled? {
            Some(read) => {
                self.spliced = self.spliced.saturating_add(read);
                self.flight = Flight::Pipe(pipe);
                Poll::Ready(Ok(Some(read)))
            }
            None => {
                if self.spliced - self.last_empty < FIRST_REACH {
                    (self.full_reads, self.spliced) = (0, 0);
                }
                self.last_empty = self.spliced;
                Poll::Ready(Ok(None))
            }
        }
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let buffers = &self.path.pools.buffers;
        let granted = ready!(self.path.poll_grant(cx, buffers.size()))?;
        let mut buffer = buffers.take();
        let room = buffer.room().get_mut(..granted).unwrap_or_default();
        let polled = self.path.source.poll_read(cx, room);
        let read = match &polled {
            Poll::Ready(Ok(read)) => *read,
            _ => 0,
        };
        self.path.settle(granted, read);
        if read > 0 {
            buffer.filled(read);
            self.flight = Flight::Buffer(buffer);
        }
        if polled.is_ready() {
            let full = read == granted && granted > buffers.size() / 2;
            self.full_reads = if full { self.full_reads.saturating_add(1) } else { 0 };
        }
        polled
    }

    /// Keeps no more than needed while waiting: what is in flight, and a pipe only if few others do the same.
    fn rest(&mut self) -> io::Result<()> {
        match &mut self.flight {
            Flight::Nothing => {}
            Flight::Buffer(buffer) => buffer.shrink(),
            Flight::Pipe(pipe) => {
                if !pipe.park() {
                    let octets = pipe.unload()?;
                    self.flight = Flight::Buffer(self.path.pools.buffers.holding(octets));
                }
            }
        }
        Ok(())
    }
}
