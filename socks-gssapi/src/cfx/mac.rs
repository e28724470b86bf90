//! Check values: the HMAC of each encryption type, cut to its length.

use std::slice;

use hmac::Hmac;
use sha2::{Sha256, Sha384};

use super::chain::LANES;
use super::enctype::Enctype;
use super::hash::KeyedHash;
use super::sha1::HmacSha1;
use super::token::HEADER;

pub(super) type HmacSha256 = Hmac<Sha256>;
pub(super) type HmacSha384 = Hmac<Sha384>;

/// An HMAC key, prepared so that a message costs no key set-up.
pub(super) enum Mac {
    Sha1(HmacSha1),
    Sha256(HmacSha256),
    Sha384(HmacSha384),
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

/// A message whose check value is to be verified.
#[derive(Default)]
pub(super) struct Checking<'a> {
    /// What the check value stands for; what is encrypted is decrypted in place.
    pub(super) content: &'a mut [u8],
    /// Signed behind the content, if it was signed only.
    pub(super) header: Option<[u8; HEADER]>,
    /// The check value.
    pub(super) tag: &'a [u8],
    /// The verdict.
    pub(super) authentic: bool,
}

impl Mac {
    /// Prepares a key.
    pub(super) fn new(enctype: Enctype, key: &[u8]) -> Self {
        const ANY: &str = "HMAC takes keys of any length";
        use cipher::KeyInit as _;
        match enctype {
            Enctype::Aes128Sha1 | Enctype::Aes256Sha1 => Self::Sha1(HmacSha1::new(key)),
            Enctype::Aes128Sha256 => Self::Sha256(Hmac::new_from_slice(key).expect(ANY)),
            Enctype::Aes256Sha384 => Self::Sha384(Hmac::new_from_slice(key).expect(ANY)),
        }
    }

    /// Signs several messages side by side.
    pub(super) fn sign_all(&self, messages: &mut [Signing<'_>]) {
        for messages in messages.chunks_mut(LANES) {
            match self {
                Self::Sha1(key) => sign(key, messages),
                Self::Sha256(key) => sign(key, messages),
                // SHA-512 and its kin keep a processor busy by themselves.
                Self::Sha384(key) => messages.iter_mut().for_each(|one| sign(key, slice::from_mut(one))),
            }
        }
    }

    /// Verifies the check values of several messages side by side, each over `first` and the message.
    pub(super) fn verify_all(&self, first: &[u8], messages: &mut [Checking<'_>]) {
        for messages in messages.chunks_mut(LANES) {
            match self {
                Self::Sha1(key) => verify(&with_first(key, first), messages),
                Self::Sha256(key) => verify(&with_first(key, first), messages),
                Self::Sha384(key) => {
                    let key = with_first(key, first);
                    messages.iter_mut().for_each(|one| verify(&key, slice::from_mut(one)));
                }
            }
        }
    }
}

fn with_first<M: KeyedHash>(key: &M, first: &[u8]) -> M {
    let mut key = key.clone();
    key.update(first);
    key
}

fn sign<M: KeyedHash>(key: &M, messages: &mut [Signing<'_>]) {
    match messages {
        [_] => sign_lanes::<M, 1>(key, messages),
        _ => sign_lanes::<M, LANES>(key, messages),
    }
}

fn verify<M: KeyedHash>(key: &M, messages: &mut [Checking<'_>]) {
    match messages {
        [_] => verify_lanes::<M, 1>(key, messages),
        _ => verify_lanes::<M, LANES>(key, messages),
    }
}

fn sign_lanes<M: KeyedHash, const N: usize>(key: &M, messages: &mut [Signing<'_>]) {
    let macs = hashed::<M, N>(key, messages.iter().map(|message| message.plaintext));
    for (message, mut mac) in messages.iter_mut().zip(macs) {
        mac.update(&message.header);
        mac.write(message.tag);
    }
}

fn verify_lanes<M: KeyedHash, const N: usize>(key: &M, messages: &mut [Checking<'_>]) {
    let macs = hashed::<M, N>(key, messages.iter().map(|message| &*message.content));
    for (message, mut mac) in messages.iter_mut().zip(macs) {
        mac.update(message.header.as_ref().map_or(&[], |header| header));
        message.authentic = mac.confirms(message.tag);
    }
}

/// Hashes up to N messages side by side.
fn hashed<'a, M: KeyedHash, const N: usize>(key: &M, mut messages: impl Iterator<Item = &'a [u8]>) -> [M; N] {
    let mut macs = std::array::from_fn(|_| key.clone());
    M::update_all(&mut macs, std::array::from_fn(|_| messages.next().unwrap_or_default()));
    macs
}
