//! The opening half: frames become plaintexts, in place.

use std::ops::Range;

use socks_core::{Level, Open, OpenError, Opened};

use super::decryption::Decryption;
use super::derive::{DerivedKey, Purpose};
use super::enctype::Enctype;
use super::mac::Mac;
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

    /// Opens a token and tells where in it the plaintext lies.
    fn open_token(&mut self, token: &mut [u8]) -> Result<Opened, OpenError> {
        let (head, body) = token.split_first_chunk_mut::<HEADER>().ok_or(OpenError::NotAFrame)?;
        let header = Header::read(*head).ok_or(OpenError::NotAFrame)?;
        // A message of our own that comes back has the wrong direction. One made without the acceptor's
        // subkey could be from a recorded session, whose ticket was accepted again.
        if header.flags & DIRECTION_AND_KEY != self.flags {
            return Err(OpenError::Forged);
        }
        turn_back(body, header.right_rotation);
        let (plaintext, level) = if header.is_sealed() {
            (self.decrypt(header, body)?, Level::Confidentiality)
        } else {
            (self.verify(header, body)?, Level::Integrity)
        };
        Ok(Opened { plaintext, level, sequence: self.order.admit(header.sequence)? })
    }

    /// Opens what follows the header of an encrypted token; the range counts from the header's end.
    fn decrypt(&self, header: Header, body: &mut [u8]) -> Result<Range<usize>, OpenError> {
        let (ciphertext, tag) = self.split_tag(body)?;
        let filler = usize::from(header.extra_count);
        let end = ciphertext.len().checked_sub(HEADER + filler).ok_or(OpenError::Forged)?;
        if end < CONFOUNDER {
            return Err(OpenError::Forged);
        }
        let authentic = self.decryption.decrypt(ciphertext, tag);
        // The whole header must be the one that was encrypted, its counts too; the rotation is not known then.
        let copy = Header { right_rotation: 0, ..header }.octets();
        if !authentic || !ciphertext.ends_with(&copy) {
            return Err(OpenError::Forged);
        }
        Ok(CONFOUNDER..end)
    }

    /// Checks what follows the header of a signed token; the range counts from the header's end.
    fn verify(&self, header: Header, body: &mut [u8]) -> Result<Range<usize>, OpenError> {
        let (plaintext, tag) = self.split_tag(body)?;
        // RFC 4121 section 4.2.4: signed with both counts zero.
        let signed = Header { extra_count: 0, right_rotation: 0, ..header }.octets();
        if usize::from(header.extra_count) != tag.len() || !self.checksum.verify(plaintext, &signed, tag) {
            return Err(OpenError::Forged);
        }
        Ok(0..plaintext.len())
    }

    fn split_tag<'a>(&self, body: &'a mut [u8]) -> Result<(&'a mut [u8], &'a [u8]), OpenError> {
        let end = body.len().checked_sub(self.enctype.tag_len()).ok_or(OpenError::Forged)?;
        let (content, tag) = body.split_at_mut_checked(end).ok_or(OpenError::Forged)?;
        Ok((content, tag))
    }
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
        let mut opened = self.open_token(frame::data_token(frame)?)?;
        let offset = frame::HEAD + HEADER;
        opened.plaintext = opened.plaintext.start + offset..opened.plaintext.end + offset;
        Ok(opened)
    }

    fn accept_any_order(&mut self) {
        self.order.accept_any();
    }
}
