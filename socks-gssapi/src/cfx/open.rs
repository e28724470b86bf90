//! The opening half: frames become plaintexts, in place.

use std::ops::Range;
use std::slice;

use socks_core::{Level, Open, OpenError, Opened, Opening};

use super::chain::LANES;
use super::decryption::Decryption;
use super::derive::{DerivedKey, Purpose};
use super::enctype::Enctype;
use super::mac::{Checking, Mac};
use super::sequence::Order;
use super::token::{CONFOUNDER, HEADER, Header, flag};
use super::{ContextKeys, KeyOrigin, Role};
use crate::frame;

/// Opens messages with the keys of one context, in one direction.
///
/// It allocates nothing per message. Its keys are erased when it goes.
pub struct Opener {
    enctype: Enctype,
    decryption: Decryption,
    checksum: Mac,
    /// The flags that every message of the peer must have, among [`DIRECTION_AND_KEY`].
    flags: u8,
    order: Order,
}

/// The flags that say who sent a message, and with which key.
const DIRECTION_AND_KEY: u8 = flag::SENT_BY_ACCEPTOR | flag::ACCEPTOR_SUBKEY;

impl Opener {
    pub(super) fn new(enctype: Enctype, keys: &ContextKeys) -> Self {
        let (key, usage) = (&keys.protocol_key, keys.role.receiving_usage());
        let checksum = DerivedKey::derive(enctype, key, usage, Purpose::Checksum);
        let mut flags = match keys.role {
            Role::Initiator => flag::SENT_BY_ACCEPTOR,
            Role::Acceptor => 0,
        };
        if keys.origin == KeyOrigin::AcceptorSubkey {
            flags |= flag::ACCEPTOR_SUBKEY;
        }
        Self {
            enctype,
            decryption: Decryption::new(enctype, key, usage),
            checksum: Mac::new(enctype, checksum.octets()),
            flags,
            order: Order::strict(keys.receive_sequence),
        }
    }

    /// Opens up to N frames that are all encrypted or all only signed.
    fn open_lanes<const N: usize>(&mut self, frames: &mut [Opening<'_>]) -> Result<(), OpenError> {
        let found: [_; N] = self.authenticate(frames);
        for (opening, found) in frames.iter_mut().zip(found) {
            let Found { header, plaintext } = found?;
            let level = if header.is_sealed() { Level::Confidentiality } else { Level::Integrity };
            let sequence = self.order.admit(header.sequence)?;
            opening.opened = Some(Opened { plaintext, level, sequence });
        }
        Ok(())
    }

    /// Decrypts and verifies frames side by side, up to one that is none.
    fn authenticate<const N: usize>(&self, frames: &mut [Opening<'_>]) -> [Result<Found, OpenError>; N] {
        let mut found = [const { Err(OpenError::NotAFrame) }; N];
        let mut checkings: [Checking<'_>; N] = std::array::from_fn(|_| Checking::default());
        let mut count = 0;
        for ((opening, found), checking) in frames.iter_mut().zip(&mut found).zip(&mut checkings) {
            *found = self.prepare(opening.frame, checking);
            if found.is_err() {
                break;
            }
            count += 1;
        }
        let checkings = checkings.get_mut(..count).unwrap_or_default();
        match found.first() {
            Some(Ok(first)) if first.header.is_sealed() => self.decryption.decrypt_all(checkings),
            _ => self.checksum.verify_all(&[], checkings),
        }
        for (found, checking) in found.iter_mut().zip(checkings) {
            if !found.as_ref().is_ok_and(|found| found.is_confirmed_by(checking)) {
                *found = Err(OpenError::Forged);
            }
        }
        found
    }

    /// Reads a frame up to where its keys are needed.
    fn prepare<'f>(&self, frame: &'f mut [u8], checking: &mut Checking<'f>) -> Result<Found, OpenError> {
        let token = frame::data_token(frame)?;
        let (head, body) = token.split_first_chunk_mut::<HEADER>().ok_or(OpenError::NotAFrame)?;
        let header = Header::read(*head).ok_or(OpenError::NotAFrame)?;
        // A message of our own that comes back has the wrong direction. One made without the acceptor's
        // subkey could be from a recorded session, whose ticket was accepted again.
        if header.flags & DIRECTION_AND_KEY != self.flags {
            return Err(OpenError::Forged);
        }
        turn_back(body, header.right_rotation);
        let end = body.len().checked_sub(self.enctype.tag_len()).ok_or(OpenError::Forged)?;
        let (content, tag) = body.split_at_mut_checked(end).ok_or(OpenError::Forged)?;
        let (plaintext, signed) = header.describe(content.len(), tag.len()).ok_or(OpenError::Forged)?;
        *checking = Checking { content, header: signed, tag, authentic: false };
        let offset = frame::HEAD + HEADER;
        Ok(Found { header, plaintext: plaintext.start + offset..plaintext.end + offset })
    }
}

/// A frame that is not proven yet.
struct Found {
    header: Header,
    /// Where in the frame the plaintext will be.
    plaintext: Range<usize>,
}

impl Found {
    /// Tells whether its keys prove it.
    fn is_confirmed_by(&self, checking: &Checking<'_>) -> bool {
        // The whole header must be the one that was encrypted, its counts too; the rotation is not known then.
        let copy = || Header { right_rotation: 0, ..self.header }.octets();
        checking.authentic && (!self.header.is_sealed() || checking.content.ends_with(&copy()))
    }
}

impl Header {
    /// Where the plaintext is in so many octets behind the head, and with which header it was signed if it was only
    /// that; `None` when the counts contradict each other.
    fn describe(self, content: usize, tag: usize) -> Option<(Range<usize>, Option<[u8; HEADER]>)> {
        let extra_count = usize::from(self.extra_count);
        if self.is_sealed() {
            let end = content.checked_sub(HEADER + extra_count)?;
            return (CONFOUNDER <= end).then_some((CONFOUNDER..end, None));
        }
        // RFC 4121 section 4.2.4: signed with both counts zero.
        let signed = Self { extra_count: 0, right_rotation: 0, ..self }.octets();
        (extra_count == tag).then_some((0..content, Some(signed)))
    }
}

/// Tells whether a frame says that it is encrypted.
fn says_sealed(opening: &Opening<'_>) -> bool {
    opening.frame.get(frame::HEAD + 2).is_some_and(|flags| flags & flag::SEALED != 0)
}

/// RFC 4121 section 4.2.5: any count must be understood, also one beyond the length.
fn turn_back(body: &mut [u8], right_rotation: u16) {
    if let Some(turn) = usize::from(right_rotation).checked_rem(body.len()) {
        body.rotate_left(turn);
    }
}

impl Open for Opener {
    fn max_frame(&self) -> usize {
        frame::HEAD + frame::MOST_TOKEN
    }

    fn frame_len(&self, head: &[u8]) -> Result<Option<usize>, OpenError> {
        frame::data_frame_len(head)
    }

    fn open(&mut self, frame: &mut [u8]) -> Result<Opened, OpenError> {
        let mut opening = Opening { frame, opened: None };
        self.open_lanes::<1>(slice::from_mut(&mut opening))?;
        opening.opened.ok_or(OpenError::Engine("frame was left out"))
    }

    fn open_all(&mut self, frames: &mut [Opening<'_>]) -> Result<(), OpenError> {
        let mut alike = frames.chunk_by_mut(|one, other| says_sealed(one) == says_sealed(other));
        alike.try_for_each(|frames| {
            frames.chunks_mut(LANES).try_for_each(|frames| match frames {
                [_] => self.open_lanes::<1>(frames),
                _ => self.open_lanes::<LANES>(frames),
            })
        })
    }

    fn accept_any_order(&mut self) {
        self.order.accept_any();
    }
}
