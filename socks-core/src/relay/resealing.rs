//! From one protected end to another: frames are opened in place, and their plaintext is sealed anew.
//!
//! The plaintext is copied once, into the frames of the other end: theirs have other lengths, and other room around.

use std::io;
use std::ops::Range;
use std::task::{Context, Poll, ready};

use super::buffer::Buffer;
use super::path::{Fault, Path, Quantum};
use super::pieces::{self, Pieces};
use super::protected::{BUFFER, QUANTUM};
use super::sealing::MESSAGE;
use crate::{OpenError, Protection, SealError, Sealing as Message};

/// The direction that opens and seals.
pub(super) struct Resealing<'a> {
    path: Path<'a>,
    /// Octets that were opened before the tunnel was there.
    early: Vec<u8>,
    /// What was received and is not opened yet.
    received: Option<Buffer<'a>>,
    /// How many octets the frame has of which only a part is there; 0 if that is not known yet.
    wanted: usize,
    /// Frames that are being written.
    sealed: Vec<u8>,
    frames: Pieces,
    /// A frame that was refused; what came before it is delivered first.
    refused: Option<OpenError>,
    ended: bool,
    abandoned: bool,
}

impl<'a> Resealing<'a> {
    /// A direction that starts with octets already opened, and frames already received.
    pub(super) fn new(path: Path<'a>, plaintext: &[u8], frames: &[u8]) -> Self {
        Self {
            early: plaintext.to_vec(),
            received: (!frames.is_empty()).then(|| path.pools.frames.holding(frames.to_vec())),
            path,
            wanted: 0,
            sealed: Vec::new(),
            frames: Pieces::default(),
            refused: None,
            ended: false,
            abandoned: false,
        }
    }

    /// Moves what can be moved, from frames of `open` to frames of `seal`; `Ready(Ok(()))` is the end in order.
    pub(super) fn poll(
        &mut self,
        open: &mut Protection,
        seal: &mut Protection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let polled = self.poll_moves(open, seal, cx);
        if polled.is_pending() {
            self.sealed.shrink_to_fit();
            if let Some(received) = &mut self.received {
                received.shrink();
            }
        }
        polled
    }

    /// Tells whether frames wait for the other end.
    pub(super) fn is_loaded(&self) -> bool {
        !self.frames.is_empty()
    }

    /// The end of the source's stream is no end in order any more.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    fn poll_moves(
        &mut self,
        open: &mut Protection,
        seal: &mut Protection,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Fault>> {
        let mut quantum = Quantum::new(QUANTUM);
        while !self.ended {
            ready!(self.poll_deliver(cx)).map_err(Fault::Sink)?;
            if let Some(error) = self.refused.take() {
                return Poll::Ready(Err(Fault::Open(error)));
            }
            ready!(quantum.poll_left(cx));
            self.reseal(open, seal).map_err(Fault::Seal)?;
            if self.is_loaded() || self.refused.is_some() {
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
        while self.is_loaded() {
            let delivered = ready!(self.frames.poll_write(self.path.sink, &self.sealed, cx))?;
            self.path.delivered(delivered);
        }
        self.sealed.clear();
        Poll::Ready(Ok(()))
    }

    /// Opens the frames that are whole, as many as one write can take, and seals what is in them.
    fn reseal(&mut self, open: &mut Protection, seal: &mut Protection) -> Result<(), SealError> {
        let early = std::mem::take(&mut self.early);
        self.seal(seal, &early)?;
        let Some(mut received) = self.received.take() else { return Ok(()) };
        while self.frames.len() < pieces::MOST {
            let octets = received.held_mut();
            match open_first(open, octets) {
                Ok(First::Part { wanted }) => {
                    self.wanted = wanted;
                    break;
                }
                Ok(First::Whole { len, plaintext }) => {
                    self.seal(seal, octets.get(plaintext).unwrap_or_default())?;
                    received.release(len);
                }
                Err(error) => {
                    self.refused = Some(error);
                    break;
                }
            }
        }
        self.received = Some(received).filter(|received| !received.is_empty());
        Ok(())
    }

    /// Makes frames of octets, behind those that are there.
    fn seal(&mut self, protection: &mut Protection, octets: &[u8]) -> Result<(), SealError> {
        let room = protection.seal.room();
        for plaintext in octets.chunks(protection.seal.max_plaintext().clamp(1, MESSAGE)) {
            let start = self.sealed.len();
            self.sealed.resize(start + room.head, 0);
            self.sealed.extend_from_slice(plaintext);
            self.sealed.resize(self.sealed.len() + room.tail, 0);
            let range = room.head..room.head + plaintext.len();
            let buffer = self.sealed.get_mut(start..).unwrap_or_default();
            let mut message = Message { buffer, range };
            protection.seal(&mut message)?;
            let frame = start + message.range.start..start + message.range.end;
            self.frames.push(frame, plaintext.len());
        }
        Ok(())
    }

    /// Reads once, behind the part of a frame that is there; 0 is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let have = self.received.as_ref().map_or(0, |received| received.held().len());
        let size = BUFFER.max(self.wanted).max(have + 1);
        let granted = ready!(self.path.poll_grant(cx, size - have))?;
        let received = self.received.get_or_insert_with(|| self.path.pools.frames.take());
        received.make_room(size);
        let room = received.room().get_mut(..granted).unwrap_or_default();
        let polled = self.path.source.poll_read(cx, room);
        let read = if let Poll::Ready(Ok(read)) = &polled { *read } else { 0 };
        self.path.settle(granted, read);
        received.filled(read);
        self.received.take_if(|received| received.is_empty());
        polled
    }

    /// The source has ended its stream: in order only between two frames.
    fn end(&mut self) -> Result<(), Fault> {
        self.ended = true;
        match self.received.take() {
            _ if self.abandoned => Ok(()),
            Some(_) => Err(Fault::CutFrame),
            None => self.path.sink.end().map_err(Fault::Sink),
        }
    }
}

/// What is at the front of received octets.
enum First {
    /// A frame that is not whole.
    Part { wanted: usize },
    /// A frame of that length, opened.
    Whole { len: usize, plaintext: Range<usize> },
}

/// Opens the first frame, if it is whole.
fn open_first(protection: &mut Protection, octets: &mut [u8]) -> Result<First, OpenError> {
    let Some(len) = protection.frame_len(octets)? else { return Ok(First::Part { wanted: 0 }) };
    let Some(frame) = octets.get_mut(..len) else { return Ok(First::Part { wanted: len }) };
    let opened = protection.open(frame)?;
    Ok(First::Whole { len, plaintext: opened.plaintext })
}
