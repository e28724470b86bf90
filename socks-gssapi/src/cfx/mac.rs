//! Check values: the HMAC of each encryption type, cut to its length.

use hmac::{Hmac, Mac as Hash};
use sha1::Sha1;
use sha2::{Sha256, Sha384};

use super::chain::LANES;
use super::enctype::Enctype;
use super::token::HEADER;

/// Octets that are hashed before it is the next message's turn: those of one step of SHA-1 and SHA-256.
const PIECE: usize = 64;

pub(super) type HmacSha256 = Hmac<Sha256>;
pub(super) type HmacSha384 = Hmac<Sha384>;

/// An HMAC key, prepared so that a message costs no key set-up.
pub(super) enum Mac {
    Sha1(Hmac<Sha1>),
    Sha256(HmacSha256),
    Sha384(HmacSha384),
}

/// Runs the same lines for each kind of HMAC, on a copy of the prepared key.
macro_rules! with_copy {
    ($self:expr, $mac:ident => $lines:expr) => {
        match $self {
            Mac::Sha1(key) => {
                let mut $mac = key.clone();
                $lines
            }
            Mac::Sha256(key) => {
                let mut $mac = key.clone();
                $lines
            }
            Mac::Sha384(key) => {
                let mut $mac = key.clone();
                $lines
            }
        }
    };
}

/// A message that is to be signed.
#[derive(Default)]
pub(super) struct Signing<'a> {
    pub(super) plaintext: &'a [u8],
    /// Signed behind the plaintext.
    pub(super) header: [u8; HEADER],
    /// Where the check value goes.
    pub(super) tag: &'a mut [u8],
}

impl Mac {
    /// Prepares a key.
    pub(super) fn new(enctype: Enctype, key: &[u8]) -> Self {
        const ANY: &str = "HMAC takes keys of any length";
        use cipher::KeyInit as _;
        match enctype {
            Enctype::Aes128Sha1 | Enctype::Aes256Sha1 => Self::Sha1(Hmac::new_from_slice(key).expect(ANY)),
            Enctype::Aes128Sha256 => Self::Sha256(Hmac::new_from_slice(key).expect(ANY)),
            Enctype::Aes256Sha384 => Self::Sha384(Hmac::new_from_slice(key).expect(ANY)),
        }
    }

    /// Signs several messages, piece by piece in turns: the hash of one need not wait for that of another.
    pub(super) fn sign_all(&self, messages: &mut [Signing<'_>]) {
        for messages in messages.chunks_mut(LANES) {
            match self {
                Self::Sha1(key) => sign_lanes(key, messages),
                Self::Sha256(key) => sign_lanes(key, messages),
                Self::Sha384(key) => sign_lanes(key, messages),
            }
        }
    }

    /// Tells whether `tag` is the check value over `first` and `second`, in a time that says nothing about it.
    pub(super) fn verify(&self, first: &[u8], second: &[u8], tag: &[u8]) -> bool {
        with_copy!(self, mac => {
            mac.update(first);
            mac.update(second);
            mac.verify_truncated_left(tag).is_ok()
        })
    }
}

fn sign_lanes<M: Hash + Clone>(key: &M, messages: &mut [Signing<'_>]) {
    // Alone, a message is hashed at one go.
    let piece = if messages.len() == 1 { usize::MAX } else { PIECE };
    let mut lanes: [_; LANES] = std::array::from_fn(|lane| {
        messages.get(lane).map(|message| (message.plaintext.chunks(piece), key.clone()))
    });
    let mut done = false;
    while !done {
        done = true;
        for (pieces, mac) in lanes.iter_mut().flatten() {
            if let Some(piece) = pieces.next() {
                mac.update(piece);
                done = false;
            }
        }
    }
    for (message, (_, mut mac)) in messages.iter_mut().zip(lanes.into_iter().flatten()) {
        mac.update(&message.header);
        message.tag.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
    }
}
