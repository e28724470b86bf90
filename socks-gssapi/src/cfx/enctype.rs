//! The encryption types whose messages the engine protects, and the sizes that follow from each.

use std::fmt;

/// A Kerberos encryption type that is made of AES and HMAC (RFC 3962, RFC 8009).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Enctype {
    /// `aes128-cts-hmac-sha1-96` (RFC 3962).
    Aes128Sha1 = 17,
    /// `aes256-cts-hmac-sha1-96` (RFC 3962).
    Aes256Sha1 = 18,
    /// `aes128-cts-hmac-sha256-128` (RFC 8009).
    Aes128Sha256 = 19,
    /// `aes256-cts-hmac-sha384-192` (RFC 8009).
    Aes256Sha384 = 20,
}

/// How a check value is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// Over the plaintext (RFC 3961 section 5.3).
    Simplified,
    /// Over the ciphertext (RFC 8009 section 5).
    EncryptThenMac,
}

impl Enctype {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Aes128Sha1, Self::Aes256Sha1, Self::Aes128Sha256, Self::Aes256Sha384];

    /// The encryption type of that number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|enctype| enctype.number() == number)
    }

    /// Its assigned number.
    pub fn number(self) -> u32 {
        u32::from(self as u8)
    }

    /// Its name as Kerberos configuration writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aes128Sha1 => "aes128-cts-hmac-sha1-96",
            Self::Aes256Sha1 => "aes256-cts-hmac-sha1-96",
            Self::Aes128Sha256 => "aes128-cts-hmac-sha256-128",
            Self::Aes256Sha384 => "aes256-cts-hmac-sha384-192",
        }
    }

    /// Octets of a protocol key, which are those of an encryption key too.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128Sha1 | Self::Aes128Sha256 => 16,
            Self::Aes256Sha1 | Self::Aes256Sha384 => 32,
        }
    }

    /// Octets of a message's check value.
    pub fn tag_len(self) -> usize {
        match self {
            Self::Aes128Sha1 | Self::Aes256Sha1 => 12,
            Self::Aes128Sha256 => 16,
            Self::Aes256Sha384 => 24,
        }
    }

    /// Octets of an integrity or checksum key.
    pub(super) fn mac_key_len(self) -> usize {
        match self {
            Self::Aes256Sha384 => 24,
            other => other.key_len(),
        }
    }

    pub(super) fn profile(self) -> Profile {
        match self {
            Self::Aes128Sha1 | Self::Aes256Sha1 => Profile::Simplified,
            Self::Aes128Sha256 | Self::Aes256Sha384 => Profile::EncryptThenMac,
        }
    }
}

impl fmt::Display for Enctype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
