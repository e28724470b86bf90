//! A tunnel whose client speaks in protected frames: opened in place one way, sealed in place the other.

use std::task::{Context, Poll};

use bytes::BytesMut;

use super::meter::Way;
use super::opening::Opening;
use super::path::{Duplex, Fault, Path};
use super::sealing::Sealing;
use crate::Protection;

/// The size of a buffer for frames, in octets: a batch of sealed messages, or two frames of RFC 1961's
/// greatest length.
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

/// A tunnel with a protected client; its two halves share the task, and no lock.
pub(super) struct Protected<'a> {
    protection: Protection,
    up: Opening<'a>,
    down: Sealing<'a>,
}

impl<'a> Protected<'a> {
    /// A tunnel from and to a client.
    pub(super) fn new(up: Path<'a>, start: Start) -> Self {
        Self {
            up: Opening::new(up, &start.plaintext, &start.frames),
            down: Sealing::new(up.back()),
            protection: start.protection,
        }
    }
}

impl Duplex for Protected<'_> {
    fn poll_way(&mut self, way: Way, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        match way {
            Way::Up => self.up.poll(&mut self.protection, cx),
            Way::Down => self.down.poll(&mut self.protection, cx),
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
