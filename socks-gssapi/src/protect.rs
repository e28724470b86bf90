//! The two halves that protect a context's messages, whichever engine made them.

use std::fmt;

use socks_core::{Level, Open, OpenError, Protection, Seal, SealError, Sealing};

use crate::frame::{self, mtyp};

/// The sealing and the opening half of one context, before a level is agreed.
pub struct Halves {
    /// From us to the peer.
    pub seal: Box<dyn Seal>,
    /// From the peer to us.
    pub open: Box<dyn Open>,
}

impl Halves {
    /// Two halves that belong together.
    pub fn new(seal: impl Seal + 'static, open: impl Open + 'static) -> Self {
        Self { seal: Box::new(seal), open: Box::new(open) }
    }

    /// The protection of a session at that level; [`Level::None`] needs none.
    pub fn at(self, level: Level) -> Option<Protection> {
        (level != Level::None).then_some(Protection { level, seal: self.seal, open: self.open })
    }

    /// A message of the sub-negotiation that names `level` (RFC 1961 section 4.4: signed, not encrypted).
    pub(crate) fn seal_level(&mut self, level: Level) -> Result<Vec<u8>, SealError> {
        let room = self.seal.room();
        let mut buffer = vec![0; room.head + 1 + room.tail];
        if let Some(octet) = buffer.get_mut(room.head) {
            *octet = level as u8;
        }
        let mut message = Sealing { buffer: &mut buffer, range: room.head..room.head + 1 };
        self.seal.seal(&mut message, Level::Integrity)?;
        let Sealing { range, .. } = message;
        let mut frame = buffer.get(range).unwrap_or_default().to_vec();
        if let Some(message_type) = frame.get_mut(1) {
            *message_type = mtyp::LEVEL;
        }
        Ok(frame)
    }

    /// The octets inside a token of the sub-negotiation; an encrypted one is as good as a signed one.
    pub(crate) fn open_level(&mut self, token: &[u8]) -> Result<Vec<u8>, OpenError> {
        let head = frame::head(mtyp::DATA, token.len()).ok_or(OpenError::TooLong)?;
        let mut frame = [&head, token].concat();
        let opened = self.open.open(&mut frame)?;
        Ok(frame.get(opened.plaintext).unwrap_or_default().to_vec())
    }
}

impl fmt::Debug for Halves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Halves").finish_non_exhaustive()
    }
}
