//! HMAC with SHA-1 (RFC 2104), of several messages side by side.
//!
//! A step of SHA-1 waits for the step before it most of the time. Processors with instructions for it do the steps of
//! four messages in the time of two of them, when they are told of all at once.

mod steps;

use std::array;

use hmac::digest::CtOutput;
use sha1::{Digest, Sha1};
use zeroize::Zeroize;

use self::steps::{BLOCK, Block, LANES, START, State};
use super::hash::KeyedHash;

/// Octets of a check value.
const TAG: usize = 20;
/// Octets of the length at the end of what is hashed.
const LENGTH: usize = 8;
/// RFC 2104 section 2: what a key is mixed with.
const INNER: u8 = 0x36;
const OUTER: u8 = 0x5c;

/// A check value on its way; before the first octet, a prepared key.
#[derive(Clone)]
pub(super) struct HmacSha1 {
    inner: State,
    outer: State,
    /// Octets that are hashed or wait, those of the key's block included.
    length: u64,
    /// Octets that are not yet a whole block.
    waiting: Block,
}

impl HmacSha1 {
    /// Prepares a key of any length.
    pub(super) fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        if key.len() > BLOCK {
            block.iter_mut().zip(Sha1::digest(key)).for_each(|(to, from)| *to = from);
        } else {
            block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        }
        let keyed = |pad: u8| {
            let (mut state, mut mixed) = (START, [[pad; BLOCK]]);
            mixed.as_flattened_mut().iter_mut().zip(&block).for_each(|(to, octet)| *to ^= *octet);
            steps::alone(&mut state, &mixed);
            mixed.zeroize();
            state
        };
        let (inner, outer) = (keyed(INNER), keyed(OUTER));
        block.zeroize();
        Self { inner, outer, length: BLOCK as u64, waiting: [0; BLOCK] }
    }

    fn tag(&self) -> [u8; TAG] {
        let waiting = self.waiting.get(..self.waiting()).unwrap_or_default();
        let inner = ended(self.inner, waiting, self.length);
        ended(self.outer, &inner, (BLOCK + TAG) as u64)
    }

    fn waiting(&self) -> usize {
        // Less than a block.
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of 64")]
        let waiting = (self.length % BLOCK as u64) as usize;
        waiting
    }
}

impl KeyedHash for HmacSha1 {
    fn piece(messages: usize) -> usize {
        // Several are hashed at once as it is, and longer pieces save the way there and back.
        if messages == 1 { BLOCK } else { 16 * BLOCK }
    }

    fn update(&mut self, mut octets: &[u8]) {
        let waiting = self.waiting();
        self.length += octets.len() as u64;
        if waiting > 0 {
            let room = self.waiting.get_mut(waiting..).unwrap_or_default();
            let (now, later) = octets.split_at(room.len().min(octets.len()));
            room.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
            if now.len() < room.len() {
                return;
            }
            steps::alone(&mut self.inner, &[self.waiting]);
            octets = later;
        }
        let (blocks, rest) = octets.as_chunks();
        steps::alone(&mut self.inner, blocks);
        self.waiting.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    }

    fn update_all<const N: usize>(hashes: &mut [Self; N], mut octets: [&[u8]; N]) {
        for (hashes, octets) in hashes.chunks_mut(LANES).zip(octets.chunks_mut(LANES)) {
            while advance(hashes, octets) {}
        }
        for (hash, rest) in hashes.iter_mut().zip(octets) {
            hash.update(rest);
        }
    }

    fn write(self, tag: &mut [u8]) {
        tag.iter_mut().zip(self.tag()).for_each(|(to, from)| *to = from);
    }

    fn confirms(self, tag: &[u8]) -> bool {
        let right = self.tag();
        let mut claimed = right;
        match claimed.get_mut(..tag.len()) {
            None | Some([]) => false,
            Some(beginning) => {
                beginning.copy_from_slice(tag);
                // Equal in a time that does not depend on the octets.
                CtOutput::<Sha1>::new(right.into()) == CtOutput::new(claimed.into())
            }
        }
    }
}

impl Drop for HmacSha1 {
    /// Erases what the key has become. Octets of a message stay, as they do in the buffers that they came in.
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// A message that others are hashed beside.
type Lane<'a, 'b> = (&'a mut HmacSha1, &'a mut &'b [u8]);

/// Hashes whole blocks of messages side by side, as many as the shortest has that has any; no less than two messages.
fn advance(hashes: &mut [HmacSha1], octets: &mut [&[u8]]) -> bool {
    let lanes = hashes.iter_mut().zip(octets);
    let mut lanes = lanes.filter(|(hash, octets)| octets.len() >= BLOCK && hash.waiting() == 0);
    let lanes: [Option<Lane<'_, '_>>; LANES] = array::from_fn(|_| lanes.next());
    match lanes {
        [Some(one), Some(other), None, ..] => advance_lanes([one, other].map(Some)),
        [Some(_), Some(_), ..] => advance_lanes(lanes),
        _ => return false,
    }
    true
}

/// Hashes as many blocks of each as the shortest has. In the place of one that is missing another is hashed once more,
/// and forgotten.
fn advance_lanes<const N: usize>(mut lanes: [Option<Lane<'_, '_>>; N]) {
    let some = lanes.iter().flatten().next().map(|(_, octets)| octets.as_chunks().0);
    let mut blocks = [some.unwrap_or_default(); N];
    let mut states = [START; N];
    for ((hash, octets), (blocks, state)) in lanes.iter().flatten().zip(blocks.iter_mut().zip(&mut states)) {
        (*blocks, *state) = (octets.as_chunks().0, hash.inner);
    }
    let hashed = steps::side_by_side(&mut states, blocks) * BLOCK;
    for ((hash, octets), state) in lanes.iter_mut().flatten().zip(&states) {
        hash.inner = *state;
        hash.length += hashed as u64;
        **octets = octets.get(hashed..).unwrap_or_default();
    }
    states.zeroize();
}

/// The hash of a message: its state before the last octets, these (less than a block), and the length of all.
fn ended(mut state: State, last: &[u8], length: u64) -> [u8; TAG] {
    let mut padded = [0; 2 * BLOCK];
    // FIPS 180-4 section 5.1.1: a bit, zeros, and the length in bits.
    padded.iter_mut().zip(last.iter().chain(&[0x80])).for_each(|(to, from)| *to = *from);
    let (one, two) = padded.split_at_mut(BLOCK);
    let is_one = last.len() < BLOCK - LENGTH;
    let end = if is_one { &mut *one } else { two };
    end.iter_mut().rev().zip((length * 8).to_le_bytes()).for_each(|(to, from)| *to = from);
    let (blocks, _) = padded.as_chunks();
    steps::alone(&mut state, if is_one { blocks.get(..1).unwrap_or_default() } else { blocks });
    let mut tag = [0; TAG];
    tag.as_chunks_mut().0.iter_mut().zip(&state).for_each(|(to, word)| *to = word.to_be_bytes());
    state.zeroize();
    tag
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use proptest::prelude::*;

    use super::*;
    use crate::cfx::testing::unhex;

    fn tag(key: &[u8], octets: &[u8]) -> [u8; TAG] {
        let mut hash = HmacSha1::new(key);
        hash.update(octets);
        hash.tag()
    }

    #[test]
    fn check_values_are_those_of_rfc_2202_section_3() {
        let table: [(&[u8], &[u8], &str); 5] = [
            (&[0x0b; 20], b"Hi There", "b617318655057264e28bc0b6fb378c8ef146be00"),
            (b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (&[0xaa; 20], &[0xdd; 50], "125d7342b9ac11cd91a39af48aa17b4f63f175d3"),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
            (
                &[0xaa; 80],
                b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
                "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
            ),
        ];
        for (key, octets, expected) in table {
            assert_eq!(tag(key, octets)[..], unhex(expected));
        }
    }

    #[test]
    fn only_the_beginning_of_the_check_value_is_confirmed() {
        let right = tag(b"key", b"message");
        let confirmed = |tag: &[u8]| {
            let mut hash = HmacSha1::new(b"key");
            hash.update(b"message");
            hash.confirms(tag)
        };
        assert!(confirmed(&right) && confirmed(&right[..12]) && confirmed(&right[..1]));
        assert!(!confirmed(&[]) && !confirmed(&[&right[..], &[0]].concat()) && !confirmed(&right[1..]));
        for at in 0..TAG {
            let mut wrong = right;
            wrong[at] ^= 0x80;
            assert!(!confirmed(&wrong), "octet {at}");
        }
    }

    /// Pieces of a message.
    fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..4)
    }

    proptest! {
        #[test]
        fn messages_side_by_side_in_any_pieces_get_what_each_gets_elsewhere(
            key in proptest::collection::vec(any::<u8>(), 0..100),
            messages in proptest::array::uniform7(pieces()),
        ) {
            let mut hashes = array::from_fn::<_, 7, _>(|_| HmacSha1::new(&key));
            for round in 0..4 {
                let piece = |lane: usize| messages[lane].get(round).map_or(&[][..], Vec::as_slice);
                HmacSha1::update_all(&mut hashes, array::from_fn(piece));
            }
            for (hash, message) in hashes.into_iter().zip(messages) {
                let elsewhere = Hmac::<Sha1>::new_from_slice(&key).unwrap().chain_update(message.concat());
                prop_assert_eq!(hash.tag()[..].to_vec(), elsewhere.finalize().into_bytes().to_vec());
            }
        }
    }
}
