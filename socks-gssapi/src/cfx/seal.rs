//! The sealing half: plaintexts become frames, in place.

use socks_core::{Level, Room, Seal, SealError, Sealing};

use super::chain::{Body, Encryptor, LANES};
use super::confounder::Confounders;
use super::derive::{DerivedKey, Purpose};
use super::enctype::Enctype;
use super::mac::{Mac, Signing};
use super::token::{CONFOUNDER, HEADER, Header, flag};
use super::{ContextKeys, KeyOrigin, Role};
use crate::frame;

/// Seals messages with the keys of one context, in one direction.
///
/// It allocates nothing per message. Its keys are erased when it goes.
pub struct Sealer {
    enctype: Enctype,
    encryption: Encryptor,
    integrity: Mac,
    checksum: Mac,
    flags: u8,
    /// The number of the next message; `None` when all are used up.
    sequence: Option<u64>,
    confounders: Confounders,
}

impl Sealer {
    pub(super) fn new(enctype: Enctype, keys: &ContextKeys) -> Self {
        let derive =
            |purpose| DerivedKey::derive(enctype, &keys.protocol_key, keys.role.sending_usage(), purpose);
        let mut flags = match keys.role {
            Role::Initiator => 0,
            Role::Acceptor => flag::SENT_BY_ACCEPTOR,
        };
        if keys.origin == KeyOrigin::AcceptorSubkey {
            flags |= flag::ACCEPTOR_SUBKEY;
        }
        Self {
            enctype,
            encryption: Encryptor::new(derive(Purpose::Encryption).octets()),
            integrity: Mac::new(enctype, derive(Purpose::Integrity).octets()),
            checksum: Mac::new(enctype, derive(Purpose::Checksum).octets()),
            flags,
            sequence: Some(keys.send_sequence),
            confounders: Confounders::default(),
        }
    }

    fn next_header(&mut self, flags: u8) -> Result<Header, SealError> {
        let sequence = self.sequence.ok_or(SealError::Exhausted)?;
        self.sequence = sequence.checked_add(1);
        Ok(Header::new(self.flags | flags, sequence))
    }

    /// Makes up to [`LANES`] tokens that are only signed: header, plaintext, check value.
    fn sign(&mut self, messages: &mut [Sealing<'_>]) -> Result<(), SealError> {
        let tag_len = self.enctype.tag_len();
        let mut signings: [Signing<'_>; LANES] = Default::default();
        let count = messages.len();
        for (message, signing) in messages.iter_mut().zip(&mut signings) {
            let header = self.next_header(0)?;
            let token = framed(message, HEADER, tag_len)?;
            let (head, plaintext, tag) = parts(token, HEADER, tag_len)?;
            // RFC 4121 section 4.2.4: signed with both counts zero, sent with the check value's length.
            let extra_count = u16::try_from(tag_len).map_err(|_| SealError::Room)?;
            head.copy_from_slice(&Header { extra_count, ..header }.octets());
            *signing = Signing { plaintext, header: header.octets(), tag };
        }
        self.checksum.sign_all(signings.get_mut(..count).ok_or(SealError::Room)?);
        Ok(())
    }

    /// Makes up to [`LANES`] encrypted tokens: header, then confounder, plaintext and header again encrypted,
    /// then the check value.
    fn encrypt(&mut self, messages: &mut [Sealing<'_>]) -> Result<(), SealError> {
        let tag_len = self.enctype.tag_len();
        let mut bodies: [Body<'_>; LANES] = Default::default();
        let count = messages.len();
        for (message, body) in messages.iter_mut().zip(&mut bodies) {
            let header = self.next_header(flag::SEALED)?.octets();
            let token = framed(message, HEADER + CONFOUNDER, HEADER + tag_len)?;
            let (head, octets, tag) = parts(token, HEADER, tag_len)?;
            head.copy_from_slice(&header);
            *body = Body { octets, tag };
            let (confounder, _, copy) = parts(body.octets, CONFOUNDER, HEADER)?;
            confounder.copy_from_slice(&self.confounders.next()?);
            copy.copy_from_slice(&header);
        }
        let bodies = bodies.get_mut(..count).ok_or(SealError::Room)?;
        self.encryption.seal(&self.integrity, self.enctype.profile(), bodies);
        Ok(())
    }
}

impl Seal for Sealer {
    fn room(&self) -> Room {
        Room { head: frame::HEAD + HEADER + CONFOUNDER, tail: HEADER + self.enctype.tag_len() }
    }

    fn max_plaintext(&self) -> usize {
        frame::MOST_TOKEN - CONFOUNDER - 2 * HEADER - self.enctype.tag_len()
    }

    fn seal(&mut self, message: &mut Sealing<'_>, level: Level) -> Result<(), SealError> {
        self.seal_all(std::slice::from_mut(message), level)
    }

    fn seal_all(&mut self, messages: &mut [Sealing<'_>], level: Level) -> Result<(), SealError> {
        let mut lanes = messages.chunks_mut(LANES);
        match level {
            Level::Confidentiality => lanes.try_for_each(|messages| self.encrypt(messages)),
            _ => lanes.try_for_each(|messages| self.sign(messages)),
        }
    }
}

/// Makes the message's range that of the whole frame, writes the frame's head, and gives the token.
fn framed<'a>(message: &'a mut Sealing<'_>, before: usize, behind: usize) -> Result<&'a mut [u8], SealError> {
    let start = message.range.start.checked_sub(frame::HEAD + before).ok_or(SealError::Room)?;
    let end = message.range.end.checked_add(behind).ok_or(SealError::Room)?;
    let whole = message.buffer.get_mut(start..end).ok_or(SealError::Room)?;
    let (head, token) = whole.split_at_mut_checked(frame::HEAD).ok_or(SealError::Room)?;
    head.copy_from_slice(&frame::head(frame::mtyp::DATA, token.len()).ok_or(SealError::Room)?);
    message.range = start..end;
    Ok(token)
}

/// The first octets, what is between, and the last octets.
type Parts<'a> = (&'a mut [u8], &'a mut [u8], &'a mut [u8]);

fn parts(octets: &mut [u8], first: usize, last: usize) -> Result<Parts<'_>, SealError> {
    let (first, rest) = octets.split_at_mut_checked(first).ok_or(SealError::Room)?;
    let middle = rest.len().checked_sub(last).ok_or(SealError::Room)?;
    let (middle, last) = rest.split_at_mut_checked(middle).ok_or(SealError::Room)?;
    Ok((first, middle, last))
}
