//! What an established context hands over: a key, whose it is, and where the numbers of messages begin.

use std::fmt;

use zeroize::Zeroizing;

use super::Enctype;

/// Which side of a context this one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client.
    Initiator,
    /// The server.
    Acceptor,
}

/// Who has chosen the key that protects messages (RFC 4121 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOrigin {
    /// The client or the key distribution centre: the same for each context that this ticket and
    /// authenticator make.
    Context,
    /// The server, freshly for this context; messages made with another key are refused.
    AcceptorSubkey,
}

/// The key of an established context, erased when it goes.
#[derive(Clone)]
pub struct ContextKeys {
    /// Our side.
    pub role: Role,
    /// The number of the key's encryption type.
    pub enctype: u32,
    /// The key's octets.
    pub protocol_key: Zeroizing<Vec<u8>>,
    /// Whose key it is.
    pub origin: KeyOrigin,
    /// The number of the next message from us.
    pub send_sequence: u64,
    /// The number of the next message from the peer.
    pub receive_sequence: u64,
}

/// A key with which the engine cannot protect messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no engine for keys of encryption type {enctype} with {len} octets")]
pub struct UnsupportedKey {
    /// The number of the encryption type.
    pub enctype: u32,
    /// Octets of the key.
    pub len: usize,
}

/// The usage numbers of wrap tokens, encrypted or not (RFC 4121 section 2).
const ACCEPTOR_SEAL: u32 = 22;
const INITIATOR_SEAL: u32 = 24;

impl Role {
    pub(super) fn sending_usage(self) -> u32 {
        match self {
            Self::Initiator => INITIATOR_SEAL,
            Self::Acceptor => ACCEPTOR_SEAL,
        }
    }

    pub(super) fn receiving_usage(self) -> u32 {
        match self {
            Self::Initiator => ACCEPTOR_SEAL,
            Self::Acceptor => INITIATOR_SEAL,
        }
    }
}

impl ContextKeys {
    /// The encryption type, if the engine can protect messages with this key.
    ///
    /// # Errors
    /// [`UnsupportedKey`].
    pub fn supported_enctype(&self) -> Result<Enctype, UnsupportedKey> {
        let len = self.protocol_key.len();
        Enctype::from_number(self.enctype)
            .filter(|enctype| enctype.key_len() == len)
            .ok_or(UnsupportedKey { enctype: self.enctype, len })
    }
}

impl fmt::Debug for ContextKeys {
    /// Never the key itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextKeys")
            .field("role", &self.role)
            .field("enctype", &self.enctype)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}
