//! From a protected client to its target: frames are opened in place and their plaintext is written.

use std::io;
use std::task::{Context, Poll, ready};

use super::buffer::Buffer;
use super::path::{Fault, Path, Quantum};
use super::pieces::{self, Pieces};
use super::protected::{BUFFER, QUANTUM};
use crate::{OpenError, Opened, Opening as Frame, Protection};

/// The direction that opens.
pub(super) struct Opening<'a> {
    path: Path<'a>,
    /// Opened frames with their plaintext in them, and behind them what is not opened yet.
    buffer: Option<Buffer<'a>>,
    plaintext: Pieces,
    /// Where in the octets in flight those begin that are not opened yet.
    opened: usize,
    /// How many octets the frame has of which only a part is there; 0 if that is not known yet.
    wanted: usize,
    /// A frame that was refused; what came before it is delivered first.
    refused: Option<OpenError>,
    ended: bool,
    abandoned: bool,
}

impl<'a> Opening<'a> {
    /// A direction that starts with octets already opened, and frames already received.
    pub(super) fn new(path: Path<'a>, plaintext: &[u8], frames: &[u8]) -> Self {
        let mut pieces = Pieces::default();
        pieces.push(0..plaintext.len(), plaintext.len());
        let early = [plaintext, frames].concat();
        Self {
            buffer: (!early.is_empty()).then(|| path.pools.frames.holding(early)),
            path,
            plaintext: pieces,
            opened: plaintext.len(),
            wanted: 0,
            refused: None,
            ended: false,
            abandoned: false,
        }
    }

    /// Moves what can be moved; `Ready(Ok(()))` is the end in order.
    pub(super) fn poll(
        &mut self,
        protection: &mut Protection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let mut quantum = Quantum::new(QUANTUM);
        let polled = self.poll_moves(protection, &mut quantum, cx);
        if polled.is_pending() && !quantum.is_used_up() {
            self.rest();
        }
        polled
    }

    /// Tells whether opened octets wait for the target.
    pub(super) fn is_loaded(&self) -> bool {
        !self.plaintext.is_empty()
    }

    /// The end of the client's stream is no end in order any more.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    fn poll_moves(
        &mut self,
        protection: &mut Protection,
        quantum: &mut Quantum,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        while !self.ended {
            ready!(self.poll_deliver(cx)).map_err(Fault::Sink)?;
            if let Some(error) = self.refused.take() {
                return Poll::Ready(Err(Fault::Open(error)));
            }
            ready!(quantum.poll_left(cx));
            self.open(protection);
            if !self.plaintext.is_empty() || self.refused.is_some() {
                continue;
            }
            let read = ready!(self.poll_read(cx)).map_err(Fault::Source)?;
            quantum.count(read);
            if read == 0 {
                self.end()?;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(buffer) = self.buffer.as_ref().filter(|_| !self.plaintext.is_empty()) {
            let delivered = ready!(self.plaintext.poll_write(self.path.sink, buffer.held(), cx))?;
            self.path.delivered(delivered);
        }
        Poll::Ready(Ok(()))
    }

    /// Opens the frames that are whole, as many as one write can take.
    fn open(&mut self, protection: &mut Protection) {
        while self.plaintext.is_empty() && self.refused.is_none() {
            // Frames without plaintext are behind us; there may be others.
            if self.open_some(protection) < pieces::MOST {
                return;
            }
        }
    }

    /// Opens up to [`pieces::MOST`] frames together; tells how many there were.
    fn open_some(&mut self, protection: &mut Protection) -> usize {
        let Some(buffer) = &mut self.buffer else { return 0 };
        let rest = buffer.held_mut().get_mut(self.opened..).unwrap_or_default();
        let mut frames: [Frame<'_>; pieces::MOST] = Default::default();
        let (count, behind) = cut(protection, rest, &mut frames);
        let frames = frames.get_mut(..count).unwrap_or_default();
        let refused = protection.open_all(frames).err();
        for Frame { frame, opened } in frames {
            let Some(Opened { plaintext, .. }) = opened else { break };
            let place = self.opened + plaintext.start..self.opened + plaintext.end;
            self.plaintext.push(place, plaintext.len());
            self.opened += frame.len();
        }
        self.refused = refused.or(behind.err());
        self.wanted = behind.unwrap_or(0);
        count
    }

    /// Reads once, behind the part of a frame that is there; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.release();
        let have = self.buffer.as_ref().map_or(0, |buffer| buffer.held().len());
        let size = BUFFER.max(self.wanted).max(have + 1);
        let granted = ready!(self.path.poll_grant(cx, size - have))?;
        let buffer = self.buffer.get_or_insert_with(|| self.path.pools.frames.take());
        buffer.make_room(size);
        let room = buffer.room().get_mut(..granted).unwrap_or_default();
        let polled = self.path.source.poll_read(cx, room);
        let read = if let Poll::Ready(Ok(read)) = &polled { *read } else { 0 };
        self.path.settle(granted, read);
        buffer.filled(read);
        polled
    }

    /// Lets go of the frames that were opened and delivered.
    fn release(&mut self) {
        if let Some(buffer) = &mut self.buffer {
            buffer.release(std::mem::take(&mut self.opened));
            self.buffer.take_if(|buffer| buffer.is_empty());
        }
    }

    /// The client has ended its stream: in order only between two frames.
    fn end(&mut self) -> Result<(), Fault> {
        self.ended = true;
        self.release();
        match self.buffer.take() {
            _ if self.abandoned => Ok(()),
            Some(_) => Err(Fault::CutFrame),
            None => self.path.sink.end().map_err(Fault::Sink),
        }
    }

    /// Keeps no more than the octets in flight while waiting.
    fn rest(&mut self) {
        if self.plaintext.is_empty() {
            self.release();
        }
        if let Some(buffer) = &mut self.buffer {
            buffer.shrink();
        }
    }
}

/// Cuts whole frames off the front of received octets, as many as there are places for.
///
/// Tells how many, and how long the frame will be of which a part stands behind them: 0 if that is not known yet.
fn cut<'b>(
    protection: &Protection,
    mut octets: &'b mut [u8],
    frames: &mut [Frame<'b>],
) -> (usize, Result<usize, OpenError>) {
    for (count, place) in frames.iter_mut().enumerate() {
        let len = match protection.frame_len(octets) {
            Ok(Some(len)) => len,
            Ok(None) => return (count, Ok(0)),
            Err(error) => return (count, Err(error)),
        };
        if octets.len() < len {
            return (count, Ok(len));
        }
        let (frame, rest) = octets.split_at_mut(len);
        place.frame = frame;
        octets = rest;
    }
    (frames.len(), Ok(0))
}
