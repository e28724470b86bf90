//! Derived keys: what a protocol key becomes for one usage and one purpose (RFC 3961, RFC 8009).

use cipher::KeyInit as _;
use hmac::Mac as _;
use zeroize::Zeroizing;

use super::chain::Encryptor;
use super::cipher::Block;
use super::enctype::{Enctype, Profile};
use super::mac::HmacSha256;
use super::mac::HmacSha384;

/// The longest derived key, in octets.
const MOST_KEY: usize = 32;

/// What a derived key is for; the value is the octet behind the usage number (RFC 3961 section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Purpose {
    Checksum = 0x99,
    Encryption = 0xAA,
    Integrity = 0x55,
}

/// A key for one purpose; its octets are erased when it goes.
pub(super) struct DerivedKey {
    octets: Zeroizing<[u8; MOST_KEY]>,
    len: usize,
}

impl DerivedKey {
    /// Derives the key of a usage and a purpose from a protocol key.
    pub(super) fn derive(enctype: Enctype, protocol_key: &[u8], usage: u32, purpose: Purpose) -> Self {
        let [a, b, c, d] = usage.to_be_bytes();
        let constant = [a, b, c, d, purpose as u8];
        let len = match purpose {
            Purpose::Encryption => enctype.key_len(),
            Purpose::Checksum | Purpose::Integrity => enctype.mac_key_len(),
        };
        let octets = match enctype.profile() {
            Profile::Simplified => fold_and_encrypt(protocol_key, constant),
            Profile::EncryptThenMac => counted_hmac(enctype, protocol_key, constant, len),
        };
        Self { octets, len }
    }

    pub(super) fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }
}

/// DR of RFC 3961 section 5.1, with the random-to-key of AES, which changes nothing (RFC 3962 section 6).
fn fold_and_encrypt(protocol_key: &[u8], constant: [u8; 5]) -> Zeroizing<[u8; MOST_KEY]> {
    let encryptor = Encryptor::new(protocol_key);
    let mut block = Block::default();
    n_fold(&constant, &mut block);
    let mut octets = Zeroizing::new([0; MOST_KEY]);
    for part in octets.chunks_exact_mut(block.len()) {
        encryptor.encrypt_block(&mut block);
        part.copy_from_slice(&block);
    }
    octets
}

/// KDF-HMAC-SHA2 of RFC 8009 section 3, with an empty context.
fn counted_hmac(
    enctype: Enctype,
    protocol_key: &[u8],
    constant: [u8; 5],
    len: usize,
) -> Zeroizing<[u8; MOST_KEY]> {
    let bits = (8 * u32::try_from(len).unwrap_or_default()).to_be_bytes();
    let parts: [&[u8]; 4] = [&[0, 0, 0, 1], &constant, &[0x00], &bits];
    let mut octets = Zeroizing::new([0; MOST_KEY]);
    macro_rules! hmac {
        ($mac:ty) => {{
            let mut mac = <$mac>::new_from_slice(protocol_key).expect("HMAC takes keys of any length");
            parts.iter().for_each(|part| mac.update(part));
            octets.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        }};
    }
    match enctype {
        Enctype::Aes256Sha384 => hmac!(HmacSha384),
        _ => hmac!(HmacSha256),
    }
    octets
}

/// n-fold of RFC 3961 section 5.1: replicates `input`, each time turned right by 13 bits more, and adds the
/// pieces of `output`'s length in ones' complement.
fn n_fold(input: &[u8], output: &mut [u8]) {
    let total = least_common_multiple(input.len(), output.len());
    let mut columns = vec![0_u32; output.len()];
    for position in 0..total {
        let octet = turned_octet(input, position);
        if let Some(column) = columns.get_mut(position % output.len()) {
            *column += u32::from(octet);
        }
    }
    // What the first column carries comes in again at the last.
    let mut carry = 0;
    loop {
        for column in columns.iter_mut().rev() {
            carry += *column;
            *column = carry & 0xFF;
            carry >>= 8;
        }
        if carry == 0 {
            break;
        }
    }
    for (octet, column) in output.iter_mut().zip(columns) {
        *octet = column.to_le_bytes()[0];
    }
}

/// The octet at `position` of the endless row of turned copies.
fn turned_octet(input: &[u8], position: usize) -> u8 {
    let bits = 8 * input.len();
    let turn = 13 * (position / input.len()) % bits;
    let first = (8 * (position % input.len()) + bits - turn) % bits;
    let at = |index: usize| u16::from(input.get(index % input.len()).copied().unwrap_or_default());
    let pair = at(first / 8) << 8 | at(first / 8 + 1);
    (pair << (first % 8)).to_be_bytes()[0]
}

fn least_common_multiple(a: usize, b: usize) -> usize {
    let (mut divisor, mut rest) = (a, b);
    while rest != 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    a / divisor * b
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfx::testing::unhex;

    #[test]
    fn n_fold_gives_the_values_of_rfc_3961_appendix_a1() {
        let table: [(&[u8], &str); 11] = [
            (b"012345", "be072631276b1955"),
            (b"password", "78a07b6caf85fa"),
            (b"Rough Consensus, and Running Code", "bb6ed30870b7f0e0"),
            (b"password", "59e4a8ca7c0385c3c37b3f6d2000247cb6e6bd5b3e"),
            (b"MASSACHVSETTS INSTITVTE OF TECHNOLOGY", "db3b0d8f0b061e603282b308a50841229ad798fab9540c1b"),
            (b"Q", "518a54a2 15a8452a 518a54a2 15a8452a 518a54a2 15"),
            (b"ba", "fb25d531 ae897449 9f52fd92 ea9857c4 ba24cf29 7e"),
            (b"kerberos", "6b65726265726f73"),
            (b"kerberos", "6b65726265726f737b9b5b2b93132b93"),
            (b"kerberos", "8372c236344e5f1550cd0747e15d62ca7a5a3bcea4"),
            (b"kerberos", "6b65726265726f737b9b5b2b93132b935c9bdcdad95c9899c4cae4dee6d6cae4"),
        ];
        for (input, expected) in table {
            let expected = unhex(expected);
            let mut output = vec![0; expected.len()];
            n_fold(input, &mut output);
            assert_eq!(output, expected, "{}", String::from_utf8_lossy(input));
        }
    }

    fn derived(enctype: Enctype, key: &str, purpose: Purpose) -> Vec<u8> {
        DerivedKey::derive(enctype, &unhex(key), 2, purpose).octets().to_vec()
    }

    #[test]
    fn keys_are_those_of_rfc_8009_appendix_a() {
        let key = "3705d96080c17728a0e800eab6e0d23c";
        let table = [
            (Purpose::Checksum, "b31a018a48f54776f403e9a396325dc3"),
            (Purpose::Encryption, "9b197dd1e8c5609d6e67c3e37c62c72e"),
            (Purpose::Integrity, "9fda0e56ab2d85e1569a688696c26a6c"),
        ];
        for (purpose, expected) in table {
            assert_eq!(derived(Enctype::Aes128Sha256, key, purpose), unhex(expected), "{purpose:?}");
        }
        let key = "6d404d37faf79f9df0d33568d320669800eb4836472ea8a026d16b7182460c52";
        let table = [
            (Purpose::Checksum, "ef5718be86cc84963d8bbb5031e9f5c4ba41f28faf69e73d"),
            (Purpose::Encryption, "56ab22bee63d82d7bc5227f6773f8ea7a5eb1c825160c38312980c442e5c7e49"),
            (Purpose::Integrity, "69b16514e3cd8e56b82010d5c73012b622c4d00ffc23ed1f"),
        ];
        for (purpose, expected) in table {
            assert_eq!(derived(Enctype::Aes256Sha384, key, purpose), unhex(expected), "{purpose:?}");
        }
    }
}
