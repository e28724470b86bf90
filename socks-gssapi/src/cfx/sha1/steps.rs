//! The steps of SHA-1 (FIPS 180-4 section 6.1.2): of one message, and of several side by side.
//!
//! Its one unsafe call reaches code that is made for processors with instructions for SHA-1, once they are found.

/// Octets of a block.
pub(super) const BLOCK: usize = 64;
/// The most messages side by side. Two take little more time than one, and four about twice as much.
pub(super) const LANES: usize = 4;

pub(super) type Block = [u8; BLOCK];
pub(super) type State = [u32; 5];

/// The state before the first block.
pub(super) const START: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// Hashes blocks of one message.
pub(super) fn alone(state: &mut State, blocks: &[Block]) {
    sha1::block_api::compress(state, blocks);
}

/// Hashes as many blocks of each message as the shortest has, and tells how many that were.
pub(super) fn side_by_side<const N: usize>(states: &mut [State; N], blocks: [&[Block]; N]) -> usize {
    let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or_default();
    #[cfg(target_arch = "x86_64")]
    if instructions::are_here() {
        #[allow(unsafe_code)]
        // SAFETY: it needs sha, ssse3 and sse4.1, which were just found, and sse2, which every x86-64 has.
        unsafe {
            instructions::hash(states, blocks, count);
        }
        return count;
    }
    in_turns(states, blocks, count);
    count
}

/// Hashes so many blocks of each message, one at a time: the processor then does at once what it can.
fn in_turns<const N: usize>(states: &mut [State; N], blocks: [&[Block]; N], count: usize) {
    for at in 0..count {
        for (state, blocks) in states.iter_mut().zip(blocks) {
            alone(state, blocks.get(at..=at).unwrap_or_default());
        }
    }
}

/// The processor's own instructions, in turns for all messages.
#[cfg(target_arch = "x86_64")]
#[expect(
    clippy::indexing_slicing,
    clippy::needless_range_loop,
    reason = "messages and words are as many as the arrays hold, and no more blocks are asked for than the shortest message has"
)]
mod instructions {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128,
        _mm_sha1msg1_epu32, _mm_sha1msg2_epu32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32, _mm_shuffle_epi8,
        _mm_xor_si128,
    };

    use super::{Block, State};

    pub(super) fn are_here() -> bool {
        is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1")
    }

    /// Four rounds of all messages: `$to` is the new state, and `$from` what becomes its fifth word.
    macro_rules! rounds {
        ($to:ident, $from:ident, $words:expr, $function:literal) => {
            for lane in 0..N {
                let words = _mm_sha1nexte_epu32($to[lane], $words[lane]);
                $to[lane] = _mm_sha1rnds4_epu32::<$function>($from[lane], words);
            }
        };
    }

    /// The next four words of all messages, in the place of the oldest.
    macro_rules! schedule {
        ($words:ident, $at:literal) => {
            for lane in 0..N {
                let mixed = _mm_sha1msg1_epu32($words[$at][lane], $words[($at + 1) % 4][lane]);
                let mixed = _mm_xor_si128(mixed, $words[($at + 2) % 4][lane]);
                $words[$at][lane] = _mm_sha1msg2_epu32(mixed, $words[($at + 3) % 4][lane]);
            }
        };
        ($words:ident, $at:literal, $to:ident, $from:ident, $function:literal) => {
            schedule!($words, $at);
            rounds!($to, $from, $words[$at], $function);
        };
    }

    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    pub(super) fn hash<const N: usize>(states: &mut [State; N], blocks: [&[Block]; N], count: usize) {
        let nothing = [_mm_setzero_si128(); N];
        let (mut first, mut fifth) = (nothing, nothing);
        for lane in 0..N {
            let [a, b, c, d, e] = states[lane].map(u32::cast_signed);
            first[lane] = _mm_set_epi32(a, b, c, d);
            fifth[lane] = _mm_set_epi32(e, 0, 0, 0);
        }
        for at in 0..count {
            let mut words = [nothing; 4];
            for (quarter, words) in words.iter_mut().enumerate() {
                for lane in 0..N {
                    words[lane] = load(&blocks[lane][at], quarter);
                }
            }
            let (mut even, mut odd) = (first, nothing);
            for lane in 0..N {
                odd[lane] = _mm_sha1rnds4_epu32::<0>(even[lane], _mm_add_epi32(fifth[lane], words[0][lane]));
            }
            rounds!(even, odd, words[1], 0);
            rounds!(odd, even, words[2], 0);
            rounds!(even, odd, words[3], 0);
            schedule!(words, 0, odd, even, 0);
            schedule!(words, 1, even, odd, 1);
            schedule!(words, 2, odd, even, 1);
            schedule!(words, 3, even, odd, 1);
            schedule!(words, 0, odd, even, 1);
            schedule!(words, 1, even, odd, 1);
            schedule!(words, 2, odd, even, 2);
            schedule!(words, 3, even, odd, 2);
            schedule!(words, 0, odd, even, 2);
            schedule!(words, 1, even, odd, 2);
            schedule!(words, 2, odd, even, 2);
            schedule!(words, 3, even, odd, 3);
            schedule!(words, 0, odd, even, 3);
            schedule!(words, 1, even, odd, 3);
            schedule!(words, 2, odd, even, 3);
            schedule!(words, 3, even, odd, 3);
            for lane in 0..N {
                first[lane] = _mm_add_epi32(first[lane], even[lane]);
                fifth[lane] = _mm_sha1nexte_epu32(odd[lane], fifth[lane]);
            }
        }
        for lane in 0..N {
            let (words, fifth) = (first[lane], fifth[lane]);
            states[lane] = [
                _mm_extract_epi32::<3>(words),
                _mm_extract_epi32::<2>(words),
                _mm_extract_epi32::<1>(words),
                _mm_extract_epi32::<0>(words),
                _mm_extract_epi32::<3>(fifth),
            ]
            .map(i32::cast_unsigned);
        }
    }

    /// Four words of a block.
    #[target_feature(enable = "sse2,ssse3")]
    #[inline]
    fn load(block: &Block, quarter: usize) -> __m128i {
        let halves = block.as_chunks::<8>().0;
        let [low, high] = [halves[2 * quarter], halves[2 * quarter + 1]].map(i64::from_le_bytes);
        let turned = _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f);
        _mm_shuffle_epi8(_mm_set_epi64x(high, low), turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages<const N: usize>(count: usize) -> [Vec<Block>; N] {
        let block =
            |lane: usize, at: usize| std::array::from_fn(|octet| (lane * 83 + at * 7 + octet * 5) as u8);
        std::array::from_fn(|lane| (0..count + lane).map(|at| block(lane, at)).collect())
    }

    fn assert_alike<const N: usize>(count: usize) {
        let messages = messages::<N>(count);
        let start: [State; N] = std::array::from_fn(|lane| START.map(|word| word.rotate_left(lane as u32)));
        let (mut together, mut in_their_turns, mut alone) = (start, start, start);
        assert_eq!(side_by_side(&mut together, messages.each_ref().map(Vec::as_slice)), count);
        in_turns(&mut in_their_turns, messages.each_ref().map(Vec::as_slice), count);
        for (state, blocks) in alone.iter_mut().zip(&messages) {
            super::alone(state, &blocks[..count]);
        }
        assert_eq!(together, alone, "{N} messages of {count} blocks");
        assert_eq!(in_their_turns, alone, "{N} messages of {count} blocks");
    }

    #[test]
    fn messages_side_by_side_and_in_turns_get_what_each_gets_alone() {
        for count in [0, 1, 2, 3, 16, 17, 100] {
            assert_alike::<1>(count);
            assert_alike::<2>(count);
            assert_alike::<3>(count);
            assert_alike::<4>(count);
        }
    }
}
