//! AES in CBC mode with ciphertext stealing (RFC 3962 section 5), in place; several messages at a time.

use aes::{Aes128Dec, Aes256Dec};
use cipher::array::Array;
use cipher::{
    BlockCipherDecBackend, BlockCipherDecClosure, BlockCipherDecrypt, BlockSizeUser, KeyInit, ParBlocks,
};

/// Octets of a block.
pub(super) const BLOCK: usize = 16;

pub(super) type Block = aes::Block;

/// The key of the opening side.
pub(super) enum Decryptor {
    Aes128(Aes128Dec),
    Aes256(Aes256Dec),
}

pub(super) const KEY_LEN: &str = "a derived key has 16 or 32 octets";

impl Decryptor {
    /// A key of 16 or 32 octets.
    pub(super) fn new(key: &[u8]) -> Self {
        match key.len() {
            16 => Self::Aes128(Aes128Dec::new_from_slice(key).expect(KEY_LEN)),
            _ => Self::Aes256(Aes256Dec::new_from_slice(key).expect(KEY_LEN)),
        }
    }

    /// Decrypts a message of more than [`BLOCK`] octets in place.
    pub(super) fn decrypt(&self, message: &mut [u8]) {
        let Some((last_chained, rest)) = split_last(message) else { return };
        let mut last = *last_chained;
        self.decrypt_block(&mut last);
        // `last` is now the padded end of the plaintext, added to the block that was stolen from.
        let mut stolen = last;
        stolen.iter_mut().zip(rest.iter()).for_each(|(to, from)| *to = *from);
        xor(&mut last, &stolen);
        rest.iter_mut().zip(last.iter()).for_each(|(to, from)| *to = *from);
        *last_chained = stolen;
        let chained = BlocksInPlace(chained(message));
        match self {
            Self::Aes128(key) => key.decrypt_with_backend(chained),
            Self::Aes256(key) => key.decrypt_with_backend(chained),
        }
    }

    fn decrypt_block(&self, block: &mut Block) {
        match self {
            Self::Aes128(key) => key.decrypt_block(block),
            Self::Aes256(key) => key.decrypt_block(block),
        }
    }
}

/// All blocks but the last, which has 1 to 16 octets.
pub(super) fn chained(message: &mut [u8]) -> &mut [Block] {
    let end = message.len().saturating_sub(1) / BLOCK * BLOCK;
    Array::slice_as_chunks_mut(message.get_mut(..end).unwrap_or_default()).0
}

/// The last whole block before the end of the message, and the 1 to 16 octets behind it.
pub(super) fn split_last(message: &mut [u8]) -> Option<(&mut Block, &mut [u8])> {
    let end = message.len().checked_sub(1)? / BLOCK * BLOCK;
    let (chained, rest) = message.split_at_mut_checked(end)?;
    Some((Array::slice_as_chunks_mut(chained).0.last_mut()?, rest))
}

pub(super) fn xor(to: &mut Block, from: &Block) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to ^= *from);
}

struct BlocksInPlace<'a>(&'a mut [Block]);

impl BlockSizeUser for BlocksInPlace<'_> {
    type BlockSize = cipher::consts::U16;
}

impl BlockCipherDecClosure for BlocksInPlace<'_> {
    #[inline(always)]
    fn call<B: BlockCipherDecBackend<BlockSize = Self::BlockSize>>(self, backend: &B) {
        let mut before = Block::default();
        let (batches, tail) = ParBlocks::<B>::slice_as_chunks_mut(self.0);
        for batch in batches {
            let ciphertext = batch.clone();
            backend.decrypt_par_blocks_inplace(batch);
            for (block, sealed) in batch.iter_mut().zip(&ciphertext) {
                xor(block, &before);
                before = *sealed;
            }
        }
        for block in tail {
            let sealed = *block;
            backend.decrypt_block_inplace(block);
            xor(block, &before);
            before = sealed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfx::chain::{Body, Encryptor, LANES};
    use crate::cfx::enctype::{Enctype, Profile};
    use crate::cfx::mac::Mac;
    use crate::cfx::testing::unhex;

    /// Encrypts messages side by side; their check values are not asked for.
    fn encrypt(key: &Encryptor, messages: &mut [&mut [u8]]) {
        let mac = Mac::new(Enctype::Aes256Sha1, &[]);
        let mut bodies: Vec<Body<'_>> =
            messages.iter_mut().map(|octets| Body { octets, tag: &mut [] }).collect();
        key.seal(&mac, Profile::Simplified, &mut bodies);
    }

    #[test]
    fn ciphertexts_are_those_of_rfc_3962_appendix_b() {
        let key = unhex("636869636b656e207465726979616b69");
        let plaintext = b"I would like the General Gau's Chicken, please, and wonton soup.";
        let table = [
            (17, "c6353568f2bf8cb4d8a580362da7ff7f97"),
            (31, "fc00783e0efdb2c1d445d4c8eff7ed2297687268d6ecccc0c07b25e25ecfe5"),
            (32, "39312523a78662d5be7fcbcc98ebf5a897687268d6ecccc0c07b25e25ecfe584"),
            (
                47,
                "97687268d6ecccc0c07b25e25ecfe584b3fffd940c16a18c1b5549d2f838029e39312523a78662d5be7fcbcc98ebf5",
            ),
            (
                48,
                "97687268d6ecccc0c07b25e25ecfe5849dad8bbb96c4cdc03bc103e1a194bbd839312523a78662d5be7fcbcc98ebf5a8",
            ),
            (
                64,
                "97687268d6ecccc0c07b25e25ecfe58439312523a78662d5be7fcbcc98ebf5a84807efe836ee89a526730dbc2f7bc8409dad8bbb96c4cdc03bc103e1a194bbd8",
            ),
        ];
        for (len, expected) in table {
            let mut message = plaintext[..len].to_vec();
            encrypt(&Encryptor::new(&key), &mut [&mut message]);
            assert_eq!(message, unhex(expected), "{len} octets");
            Decryptor::new(&key).decrypt(&mut message);
            assert_eq!(message, plaintext[..len], "{len} octets");
        }
    }

    #[test]
    fn lanes_of_any_number_and_length_give_what_one_gives() {
        let key = Encryptor::new(&[7; 32]);
        for count in 0..=LANES {
            let plain: Vec<Vec<u8>> = (0..count).map(|lane| vec![lane as u8; 17 + 100 * lane]).collect();
            let mut together = plain.clone();
            let mut lanes: Vec<&mut [u8]> = together.iter_mut().map(Vec::as_mut_slice).collect();
            encrypt(&key, &mut lanes);
            for (mut alone, together) in plain.into_iter().zip(together) {
                encrypt(&key, &mut [&mut alone]);
                assert_eq!(alone, together);
            }
        }
    }

    #[test]
    fn check_values_of_messages_side_by_side_are_those_of_each_alone_around_the_ends_of_pieces() {
        for enctype in Enctype::ALL {
            let (key, mac) = (Encryptor::new(&vec![7; enctype.key_len()]), Mac::new(enctype, b"integrity"));
            let sealed = |plain: &[Vec<u8>]| {
                let mut messages: Vec<_> = plain.iter().map(|octets| (octets.clone(), [0; 24])).collect();
                let bodies = messages.iter_mut().map(|(octets, tag)| Body { octets, tag });
                key.seal(&mac, enctype.profile(), &mut bodies.collect::<Vec<_>>());
                messages
            };
            for len in [63, 64, 65, 80, 81, 1008, 1023, 1024, 1025, 1040, 1041, 2064] {
                for count in 1..=LANES {
                    let plain: Vec<Vec<u8>> =
                        (0..count).map(|lane| vec![lane as u8; len + lane % 3]).collect();
                    let alone: Vec<_> =
                        plain.iter().flat_map(|one| sealed(std::slice::from_ref(one))).collect();
                    assert_eq!(sealed(&plain), alone, "{enctype:?}, {count} of {len} octets");
                }
            }
        }
    }

    #[test]
    fn messages_of_every_length_survive() {
        let (seal, open) = (Encryptor::new(&[3; 32]), Decryptor::new(&[3; 32]));
        for len in 17..1200 {
            let plain: Vec<u8> = (0..len).map(|index| (index * 5) as u8).collect();
            let mut message = plain.clone();
            encrypt(&seal, &mut [&mut message]);
            assert_ne!(message, plain);
            open.decrypt(&mut message);
            assert_eq!(message, plain, "{len} octets");
        }
    }
}
