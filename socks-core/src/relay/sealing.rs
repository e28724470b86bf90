//! From a target to its protected client: octets are read where their frames will be, and sealed in place.

use std::array;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::task::{Context, Poll, ready};

use super::buffer::Buffer;
use super::path::{Fault, Path, Quantum};
use super::pieces::Pieces;
use super::protected::QUANTUM;
use crate::{Protection, SealError, Sealing as Message};

/// The most octets of user data in one frame; less if the protection wants less.
pub(super) const MESSAGE: usize = 16 * 1024;
/// The most messages that are read together and sent with one write: the reader sleeps while we seal, and waking it
/// costs as much as sealing some KiB. On loopback 16 take a sixth less processor time than 8.
const LANES: usize = 16;
/// The most messages that are sealed before other tasks have their turn.
const SEALED_AT_ONCE: usize = QUANTUM / MESSAGE;

/// The size of a buffer for them, in octets, with some room around each message.
pub(super) const BATCH: usize = LANES * (MESSAGE + 512);

/// The direction that seals.
pub(super) struct Sealing<'a> {
    path: Path<'a>,
    /// What was read, then frames that are being written.
    buffer: Option<Buffer<'a>>,
    /// Which octets of what was read are not sealed yet; it begins with a message.
    unsealed: Range<usize>,
    frames: Pieces,
    /// Octets that were read before the tunnel was there.
    early: Vec<u8>,
    ended: bool,
    abandoned: bool,
}

/// How messages lie in a buffer: head room, plaintext, tail room, and the next.
#[derive(Clone, Copy)]
struct Layout {
    head: usize,
    message: usize,
    stride: usize,
    lanes: usize,
}

impl Layout {
    fn of(protection: &Protection) -> Self {
        let room = protection.seal.room();
        let message = protection.seal.max_plaintext().clamp(1, MESSAGE);
        let stride = room.head + message + room.tail;
        Self { head: room.head, message, stride, lanes: (BATCH / stride).clamp(1, LANES) }
    }

    /// How many octets of `total` go into each message.
    fn lengths(self, total: usize) -> [usize; LANES] {
        array::from_fn(|lane| total.saturating_sub(lane * self.message).min(self.message))
    }
}

impl<'a> Sealing<'a> {
    /// A direction in which nothing has come yet but some octets.
    pub(super) fn new(path: Path<'a>, early: Vec<u8>) -> Self {
        let frames = Pieces::default();
        Self { path, buffer: None, unsealed: 0..0, frames, early, ended: false, abandoned: false }
    }

    /// Moves what can be moved; `Ready(Ok(()))` is the end in order.
    pub(super) fn poll(
        &mut self,
        protection: &mut Protection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let polled = self.poll_moves(protection, cx);
        if polled.is_pending()
            && let Some(buffer) = &mut self.buffer
        {
            buffer.shrink();
        }
        polled
    }

    /// Tells whether frames wait for the client.
    pub(super) fn is_loaded(&self) -> bool {
        !self.frames.is_empty()
    }

    /// The end of the target's stream is no end in order any more.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    fn poll_moves(&mut self, protection: &mut Protection, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let mut quantum = Quantum::new(QUANTUM);
        while !self.ended {
            if self.unsealed.is_empty() {
                ready!(self.poll_deliver(cx)).map_err(Fault::Sink)?;
            }
            ready!(quantum.poll_left(cx));
            let layout = Layout::of(protection);
            if !self.unsealed.is_empty() {
                quantum.count(self.seal(protection, layout).map_err(Fault::Seal)?);
                continue;
            }
            let read = match self.take_early(layout) {
                0 => ready!(self.poll_read(layout, cx)).map_err(Fault::Source)?,
                taken => taken,
            };
            self.unsealed = 0..read;
            if read == 0 {
                self.ended = true;
                self.buffer = None;
                if !self.abandoned {
                    self.path.sink.end().map_err(Fault::Sink)?;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(buffer) = self.buffer.as_ref().filter(|_| !self.frames.is_empty()) {
            let delivered = ready!(self.frames.poll_write(self.path.sink, buffer.held(), cx))?;
            self.path.delivered(delivered);
        }
        self.buffer = None;
        Poll::Ready(Ok(()))
    }

    /// Puts what came early into the places of the messages, and tells how much of it.
    fn take_early(&mut self, layout: Layout) -> usize {
        if self.early.is_empty() {
            return 0;
        }
        let taken = self.early.len().min(layout.lanes * layout.message);
        let mut buffer = self.path.pools.frames.take();
        buffer.make_room(layout.stride);
        let lanes = buffer.room().chunks_exact_mut(layout.stride);
        for (lane, message) in lanes.zip(self.early.drain(..taken).as_slice().chunks(layout.message)) {
            let place = lane.get_mut(layout.head..layout.head + message.len());
            place.unwrap_or_default().copy_from_slice(message);
        }
        self.early.shrink_to_fit();
        buffer.filled(taken.div_ceil(layout.message) * layout.stride);
        self.buffer = Some(buffer);
        taken
    }

    /// Reads once, into the places of the messages; 0 is the end.
    fn poll_read(&mut self, layout: Layout, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let granted = ready!(self.path.poll_grant(cx, layout.lanes * layout.message))?;
        let mut buffer = self.path.pools.frames.take();
        buffer.make_room(layout.stride);
        let mut lanes = buffer.room().chunks_exact_mut(layout.stride);
        let mut places = layout.lengths(granted).map(|len| {
            let place = lanes.next().and_then(|lane| lane.get_mut(layout.head..layout.head + len));
            IoSliceMut::new(place.unwrap_or_default())
        });
        let wanted = places.iter().map(|place| place.len()).sum();
        let polled = self.path.source.poll_read_vectored(cx, &mut places, wanted);
        let read = if let Poll::Ready(Ok(read)) = &polled { *read } else { 0 };
        self.path.settle(granted, read);
        if read > 0 {
            buffer.filled(read.div_ceil(layout.message) * layout.stride);
            self.buffer = Some(buffer);
        }
        polled
    }

    /// Makes frames of some of what was read, and tells of how many octets.
    fn seal(&mut self, protection: &mut Protection, layout: Layout) -> Result<usize, SealError> {
        let Some(buffer) = &mut self.buffer else { return Err(SealError::Room) };
        let Range { start, end } = self.unsealed;
        let total = (end - start).min(SEALED_AT_ONCE * layout.message);
        let (first, lengths) = (start / layout.message, layout.lengths(total));
        let mut lanes = buffer.held_mut().chunks_exact_mut(layout.stride).skip(first);
        let mut messages = lengths.map(|len| Message {
            buffer: lanes.next().unwrap_or_default(),
            range: layout.head..layout.head + len,
        });
        let count = total.div_ceil(layout.message);
        protection.seal_all(messages.get_mut(..count).ok_or(SealError::Room)?)?;
        for (lane, (message, len)) in (first..).zip(messages.iter().zip(lengths)).take(count) {
            let place = lane * layout.stride;
            self.frames.push(place + message.range.start..place + message.range.end, len);
        }
        self.unsealed.start += total;
        Ok(total)
    }
}
