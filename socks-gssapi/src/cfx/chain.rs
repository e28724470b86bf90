//! CBC chains of several messages side by side, signed on their way.
//!
//! A chain must wait for each of its blocks, and so must a hash. Processors do both at once when the one does not
//! need what the other makes: so a message is hashed and encrypted piece by piece, and several messages side by side.

use std::slice;

use aes::{Aes128Enc, Aes256Enc};
use cipher::array::Array;
use cipher::{
    BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit as _, ParBlocks,
};

use super::cipher::{BLOCK, Block, KEY_LEN, chained, split_last, xor};
use super::enctype::Profile;
use super::hash::KeyedHash;
use super::mac::Mac;

/// The most messages whose chains are encrypted side by side.
pub(super) const LANES: usize = 8;

/// The key of the sealing side.
pub(super) enum Encryptor {
    Aes128(Aes128Enc),
    Aes256(Aes256Enc),
}

/// A message that is to be encrypted and signed.
#[derive(Default)]
pub(super) struct Body<'a> {
    /// The octets to encrypt, in place; more than [`BLOCK`].
    pub(super) octets: &'a mut [u8],
    /// Where its check value goes.
    pub(super) tag: &'a mut [u8],
}

impl Encryptor {
    /// A key of 16 or 32 octets.
    pub(super) fn new(key: &[u8]) -> Self {
        match key.len() {
            16 => Self::Aes128(Aes128Enc::new_from_slice(key).expect(KEY_LEN)),
            _ => Self::Aes256(Aes256Enc::new_from_slice(key).expect(KEY_LEN)),
        }
    }

    pub(super) fn encrypt_block(&self, block: &mut Block) {
        match self {
            Self::Aes128(key) => key.encrypt_block(block),
            Self::Aes256(key) => key.encrypt_block(block),
        }
    }

    /// Encrypts messages in place and writes their check values.
    pub(super) fn seal(&self, mac: &Mac, profile: Profile, bodies: &mut [Body<'_>]) {
        for bodies in bodies.chunks_mut(LANES) {
            match (self, mac) {
                (Self::Aes128(key), Mac::Sha1(mac)) => seal(key, mac, profile, bodies),
                (Self::Aes128(key), Mac::Sha256(mac)) => seal(key, mac, profile, bodies),
                (Self::Aes128(key), Mac::Sha384(mac)) => seal(key, mac, profile, bodies),
                (Self::Aes256(key), Mac::Sha1(mac)) => seal(key, mac, profile, bodies),
                (Self::Aes256(key), Mac::Sha256(mac)) => seal(key, mac, profile, bodies),
                (Self::Aes256(key), Mac::Sha384(mac)) => seal(key, mac, profile, bodies),
            }
        }
    }
}

fn seal<K, M>(key: &K, mac: &M, profile: Profile, bodies: &mut [Body<'_>])
where
    K: BlockCipherEncrypt<BlockSize = cipher::consts::U16>,
    M: KeyedHash,
{
    match bodies.len() {
        0 => {}
        1 => seal_lanes::<K, M, 1>(key, mac, profile, bodies),
        2 => seal_lanes::<K, M, 2>(key, mac, profile, bodies),
        3 | 4 => seal_lanes::<K, M, 4>(key, mac, profile, bodies),
        _ => seal_lanes::<K, M, LANES>(key, mac, profile, bodies),
    }
}

fn seal_lanes<K, M, const N: usize>(key: &K, mac: &M, profile: Profile, bodies: &mut [Body<'_>])
where
    K: BlockCipherEncrypt<BlockSize = cipher::consts::U16>,
    M: KeyedHash,
{
    let mut mac = mac.clone();
    if profile == Profile::EncryptThenMac {
        // RFC 8009 section 5: the cipher state, which is zero, stands before the ciphertext.
        mac.update(&[0; BLOCK]);
    }
    let mut macs: [M; N] = std::array::from_fn(|_| mac.clone());
    let mut lanes = bodies.iter_mut();
    let piece = M::piece(N) / BLOCK;
    let pieces = std::array::from_fn(|_| {
        let blocks = lanes.next().map(|body| chained(body.octets));
        blocks.unwrap_or_default().chunks_mut(piece)
    });
    key.encrypt_with_backend(Chains { pieces, macs: &mut macs, profile });
    for (body, mut mac) in bodies.iter_mut().zip(macs) {
        let Some((last, rest)) = split_last(body.octets) else { continue };
        if profile == Profile::Simplified {
            mac.update(rest);
        }
        steal(key, last, rest);
        if profile == Profile::EncryptThenMac {
            mac.update(last);
            mac.update(rest);
        }
        mac.write(body.tag);
    }
}

/// Encrypts what is behind the last chained block and trades places with that block.
fn steal<K>(key: &K, last_chained: &mut Block, rest: &mut [u8])
where
    K: BlockCipherEncrypt<BlockSize = cipher::consts::U16>,
{
    let mut last = Block::default();
    last.iter_mut().zip(rest.iter()).for_each(|(to, from)| *to = *from);
    xor(&mut last, last_chained);
    key.encrypt_block(&mut last);
    rest.iter_mut().zip(last_chained.iter()).for_each(|(to, from)| *to = *from);
    *last_chained = last;
}

/// Chains that are encrypted side by side.
struct Chains<'a, M, const N: usize> {
    /// What is still to come of each, piece by piece; nothing when there is no such message.
    pieces: [slice::ChunksMut<'a, Block>; N],
    macs: &'a mut [M; N],
    profile: Profile,
}

impl<M, const N: usize> BlockSizeUser for Chains<'_, M, N> {
    type BlockSize = cipher::consts::U16;
}

impl<M: KeyedHash, const N: usize> BlockCipherEncClosure for Chains<'_, M, N> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = Self::BlockSize>>(mut self, backend: &B) {
        // Each chain begins with a vector of zeros.
        let mut last = [Block::default(); N];
        loop {
            let mut pieces = self.pieces.each_mut().map(|pieces| pieces.next().unwrap_or_default());
            if pieces.iter().all(|piece| piece.is_empty()) {
                return;
            }
            if self.profile == Profile::Simplified {
                M::update_all(self.macs, pieces.each_ref().map(|piece| Array::slice_as_flattened(piece)));
            }
            encrypt(backend, &mut last, &mut pieces);
            if self.profile == Profile::EncryptThenMac {
                let mut left = self.pieces.iter();
                let encrypted = pieces.each_ref().map(|piece| {
                    // The last block of all is not yet what it will be.
                    let is_last = left.next().is_none_or(|left| left.len() == 0);
                    let end = piece.len().saturating_sub(usize::from(is_last));
                    Array::slice_as_flattened(piece.get(..end).unwrap_or_default())
                });
                M::update_all(self.macs, encrypted);
            }
        }
    }
}

/// Goes on with chains by a piece of each, after the block that was the last of each.
#[inline(always)]
fn encrypt<B: BlockCipherEncBackend<BlockSize = cipher::consts::U16>, const N: usize>(
    backend: &B,
    last: &mut [Block; N],
    pieces: &mut [&mut [Block]; N],
) {
    if let ([last], [piece]) = (last.as_mut_slice(), pieces.as_mut_slice()) {
        for block in piece.iter_mut() {
            xor(last, block);
            backend.encrypt_block_inplace(last);
            *block = *last;
        }
        return;
    }
    for position in 0..pieces.iter().map(|piece| piece.len()).max().unwrap_or_default() {
        for (last, piece) in last.iter_mut().zip(pieces.iter()) {
            piece.get(position).into_iter().for_each(|block| xor(last, block));
        }
        encrypt_all(backend, last);
        for (last, piece) in last.iter().zip(pieces.iter_mut()) {
            piece.get_mut(position).into_iter().for_each(|block| *block = *last);
        }
    }
}

/// Encrypts one block of each chain; all at once where the cipher takes as many as there may be chains, which is so with
/// AES-NI, and one by one where it would rather have more (VAES). What comes of a chain that has ended is nothing that
/// anybody reads: encrypting it with the others costs less than leaving it out.
#[inline(always)]
fn encrypt_all<B: BlockCipherEncBackend<BlockSize = cipher::consts::U16>>(backend: &B, blocks: &mut [Block]) {
    let (batches, single) = ParBlocks::<B>::slice_as_chunks_mut(blocks);
    batches.iter_mut().for_each(|batch| backend.encrypt_par_blocks_inplace(batch));
    single.iter_mut().for_each(|block| backend.encrypt_block_inplace(block));
}
