//! A stream in protected frames, polled.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use socks_core::{Level, OpenError, ProtectedStream, SealError, Sealing};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;

/// The most octets of plaintext in one frame; less if the protection wants less.
const MESSAGE: usize = 16 * 1024;
/// The most frames that one write seals together.
const LANES: usize = 4;
/// Octets read at a time.
const READ: usize = 64 * 1024;

/// The stream, with sealed octets that the socket has not taken.
#[derive(Debug)]
pub(super) struct Protected {
    stream: ProtectedStream,
    unsent: BytesMut,
    /// A frame that was refused: nothing behind it can be trusted.
    refused: Option<OpenError>,
}

impl Protected {
    pub(super) fn new(stream: ProtectedStream) -> Self {
        Self { stream, unsent: BytesMut::new(), refused: None }
    }

    pub(super) fn into_parts(self) -> (ProtectedStream, BytesMut) {
        (self.stream, self.unsent)
    }

    pub(super) fn level(&self) -> Level {
        self.stream.protection.level
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream.io.socket
    }

    pub(super) fn socket_mut(&mut self) -> &mut TcpStream {
        &mut self.stream.io.socket
    }

    /// Waits for opened octets; none is the end.
    pub(super) fn poll_plaintext(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut BytesMut>> {
        while self.stream.plaintext.is_empty() {
            if self.open_next()? {
                continue;
            }
            if ready!(self.poll_receive(cx))? == 0 {
                if self.stream.io.received.is_empty() {
                    break;
                }
                let cut = "gateway hung up inside a protected frame";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, cut)));
            }
        }
        Poll::Ready(Ok(&mut self.stream.plaintext))
    }

    /// Opens the first of the received frames, if it is whole.
    fn open_next(&mut self) -> io::Result<bool> {
        let opened = match self.refused {
            None => self.try_open(),
            Some(error) => Err(error),
        };
        opened.map_err(|error| {
            self.refused = Some(error);
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }

    fn try_open(&mut self) -> Result<bool, OpenError> {
        let ProtectedStream { io, protection, plaintext } = &mut self.stream;
        let Some(len) = protection.open.frame_len(&io.received)? else { return Ok(false) };
        if len == 0 || len > protection.open.max_frame() {
            return Err(OpenError::NotAFrame);
        }
        if io.received.len() < len {
            return Ok(false);
        }
        let mut frame = io.received.split_to(len);
        let opened = protection.open(&mut frame)?;
        if opened.plaintext.end > len || opened.plaintext.start > opened.plaintext.end {
            return Err(OpenError::Engine("plaintext reaches beyond its frame"));
        }
        frame.truncate(opened.plaintext.end);
        frame.advance(opened.plaintext.start);
        plaintext.unsplit(frame);
        Ok(true)
    }

    /// Reads once; 0 is the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let io = &mut self.stream.io;
        loop {
            ready!(io.socket.poll_read_ready(cx))?;
            io.received.reserve(READ);
            let mut limited = (&mut io.received).limit(READ);
            match io.socket.try_read_buf(&mut limited) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
        }
    }

    /// Seals octets once those sealed before are gone, and tells how many.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_drain(cx))?;
        let sealed = self.seal(octets).map_err(io::Error::other)?;
        // What the socket does not take now goes with the next write or flush.
        match self.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(sealed)),
        }
    }

    /// Makes frames of the first octets and tells how many went in.
    fn seal(&mut self, octets: &[u8]) -> Result<usize, SealError> {
        let protection = &mut self.stream.protection;
        let room = protection.seal.room();
        let message = protection.seal.max_plaintext().clamp(1, MESSAGE);
        let octets = octets.get(..message * LANES).unwrap_or(octets);
        let mut frames: Vec<_> = octets
            .chunks(message)
            .map(|chunk| {
                let mut frame = BytesMut::with_capacity(room.head + chunk.len() + room.tail);
                frame.put_bytes(0, room.head);
                frame.put_slice(chunk);
                frame.put_bytes(0, room.tail);
                frame
            })
            .collect();
        let mut messages: Vec<_> = frames
            .iter_mut()
            .map(|frame| {
                let range = room.head..frame.len() - room.tail;
                Sealing { buffer: frame, range }
            })
            .collect();
        protection.seal_all(&mut messages)?;
        for Sealing { buffer, range } in messages {
            self.unsent.put_slice(buffer.get(range).ok_or(SealError::Room)?);
        }
        Ok(octets.len())
    }

    /// Waits until the socket has taken everything.
    pub(super) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let written = ready!(Pin::new(&mut self.stream.io.socket).poll_write(cx, &self.unsent))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}
