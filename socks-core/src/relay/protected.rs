//! A tunnel with protected frames at one of its ends, opened in place one way and sealed in place the other; or with
//! frames at both ends, opened and sealed anew.

use std::task::{Context, Poll};

use bytes::BytesMut;

use super::meter::Way;
use super::opening::Opening;
use super::path::{Duplex, Fault, Path};
use super::resealing::Resealing;
use super::sealing::Sealing;
use crate::Protection;

/// How many octets of frames are received together: eight of our own, or two of RFC 1961's greatest length.
pub(super) const BUFFER: usize = 132 * 1024;
/// How many octets one direction opens or seals before it lets other tasks run: about 100 µs of computing.
pub(super) const QUANTUM: usize = 128 * 1024;

/// What a protected tunnel starts with beside its sockets.
pub(super) struct Start {
    pub(super) protection: Protection,
    /// Octets that were opened and not yet taken.
    pub(super) plaintext: BytesMut,
    /// Frames, or the beginning of one, that were received and not yet opened.
    pub(super) frames: BytesMut,
}

/// A tunnel with one protected end; its two halves share the task, and no lock.
pub(super) struct Protected<'a> {
    protection: Protection,
    /// The way that begins at the protected end.
    opens: Way,
    opening: Opening<'a>,
    sealing: Sealing<'a>,
}

impl<'a> Protected<'a> {
    /// A tunnel whose protected end is the source of `path`; the other one has sent some octets already.
    pub(super) fn new(path: Path<'a>, start: Start, early: Vec<u8>) -> Self {
        Self {
            opens: path.way,
            opening: Opening::new(path, &start.plaintext, &start.frames),
            sealing: Sealing::new(path.back(), early),
            protection: start.protection,
        }
    }
}

impl Duplex for Protected<'_> {
    fn poll_way(&mut self, way: Way, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if way == self.opens {
            self.opening.poll(&mut self.protection, cx)
        } else {
            self.sealing.poll(&mut self.protection, cx)
        }
    }

    fn is_loaded(&self) -> bool {
        self.opening.is_loaded() || self.sealing.is_loaded()
    }

    fn abandon(&mut self, way: Way) {
        if way == self.opens { self.opening.abandon() } else { self.sealing.abandon() }
    }
}

/// A tunnel with both ends protected.
pub(super) struct Resealed<'a> {
    near: Protection,
    far: Protection,
    up: Resealing<'a>,
    down: Resealing<'a>,
}

impl<'a> Resealed<'a> {
    /// A tunnel from and to a client, by a protected stream to its target.
    pub(super) fn new(up: Path<'a>, near: Start, far: Start) -> Self {
        Self {
            up: Resealing::new(up, &near.plaintext, &near.frames),
            down: Resealing::new(up.back(), &far.plaintext, &far.frames),
            near: near.protection,
            far: far.protection,
        }
    }
}

impl Duplex for Resealed<'_> {
    fn poll_way(&mut self, way: Way, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Self { near, far, up, down } = self;
        match way {
            Way::Up => up.poll(near, far, cx),
            Way::Down => down.poll(far, near, cx),
        }
    }

    fn is_loaded(&self) -> bool {
        self.up.is_loaded() || self.down.is_loaded()
    }

    fn abandon(&mut self, way: Way) {
        match way {
            Way::Up => self.up.abandon(),
            Way::Down => self.down.abandon(),
        }
    }
}
