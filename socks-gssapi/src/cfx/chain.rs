//! CBC chains of several messages side by side, signed on their way.
//!
//! A chain must wait for each of its blocks, and so must a hash. Processors do both at once when the one does not
//! need what the other makes: so a message is hashed and encrypted piece by piece, and several messages in turns.

use std::slice;

use aes::{Aes128Enc, Aes256Enc};
use cipher::array::Array;
use cipher::{BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser, KeyInit as _};
use hmac::Mac as Hash;

use super::cipher::{BLOCK, Block, KEY_LEN, chained, split_last, xor};
use super::enctype::Profile;
use super::mac::Mac;

/// Blocks that are hashed and encrypted before it is the next message's turn: those of one step of SHA-1 and
/// SHA-256.
const PIECE: usize = 4;
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
    M: Hash + Clone,
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
    M: Hash + Clone,
{
    let mut lanes = bodies.iter_mut();
    let mut macs: [M; N] = std::array::from_fn(|_| mac.clone());
    let mut macs_left = macs.iter_mut();
    let chains = std::array::from_fn(|_| {
        let (body, mac) = (lanes.next()?, macs_left.next()?);
        if profile == Profile::EncryptThenMac {
            // RFC 8009 section 5: the cipher state, which is zero, stands before the ciphertext.
            mac.update(&[0; BLOCK]);
        }
        Some(Chain::new(chained(body.octets), mac))
    });
    key.encrypt_with_backend(Chains::<'_, M, N> { chains, profile });
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
        body.tag.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
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

/// One message's chain: the pieces still to come, and the block before them.
struct Chain<'a, M> {
    pieces: slice::ChunksMut<'a, Block>,
    last: Block,
    mac: &'a mut M,
}

impl<'a, M: Hash> Chain<'a, M> {
    /// A chain over those blocks, beginning with a vector of zeros.
    fn new(blocks: &'a mut [Block], mac: &'a mut M) -> Self {
        Self { pieces: blocks.chunks_mut(PIECE), last: Block::default(), mac }
    }
}

/// Chains that are encrypted side by side.
struct Chains<'a, M, const N: usize> {
    chains: [Option<Chain<'a, M>>; N],
    profile: Profile,
}

impl<M, const N: usize> BlockSizeUser for Chains<'_, M, N> {
    type BlockSize = cipher::consts::U16;
}

impl<M: Hash, const N: usize> BlockCipherEncClosure for Chains<'_, M, N> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = Self::BlockSize>>(mut self, backend: &B) {
        loop {
            let mut pieces: [&mut [Block]; N] = std::array::from_fn(|_| Default::default());
            let mut done = true;
            for (piece, chain) in pieces.iter_mut().zip(self.chains.iter_mut().flatten()) {
                if let Some(next) = chain.pieces.next() {
                    *piece = next;
                    done = false;
                    if self.profile == Profile::Simplified {
                        chain.mac.update(Array::slice_as_flattened(piece));
                    }
                }
            }
            if done {
                return;
            }
            for position in 0..PIECE {
                for (piece, chain) in pieces.iter_mut().zip(self.chains.iter_mut().flatten()) {
                    if let Some(block) = piece.get_mut(position) {
                        xor(&mut chain.last, block);
                        backend.encrypt_block_inplace(&mut chain.last);
                        *block = chain.last;
                    }
                }
            }
            if self.profile == Profile::EncryptThenMac {
                for (piece, chain) in pieces.iter().zip(self.chains.iter_mut().flatten()) {
                    // The last block of all is not yet what it will be.
                    let last = usize::from(chain.pieces.len() == 0);
                    let last = piece.len().saturating_sub(last);
                    chain.mac.update(Array::slice_as_flattened(piece.get(..last).unwrap_or_default()));
                }
            }
        }
    }
}
