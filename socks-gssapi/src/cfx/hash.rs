//! What the ciphers need of a keyed hash: several messages side by side.

use hmac::Mac as Hash;

/// A check value of one message on its way, with a key that is prepared.
pub(super) trait KeyedHash: Clone {
    /// How many octets of each of so many messages are hashed before it is another's turn, or the cipher's: whole blocks
    /// of the cipher. Usually as few as one step takes (SHA-384: half of one), so that the processor does at once what need
    /// not wait for each other.
    fn piece(_messages: usize) -> usize {
        64
    }

    /// Goes on with a message.
    fn update(&mut self, octets: &[u8]);

    /// Goes on with several messages, so that none has to wait for another.
    fn update_all<const N: usize>(hashes: &mut [Self; N], octets: [&[u8]; N]) {
        // Alone, a message is hashed at one go.
        let piece = if N == 1 { usize::MAX } else { Self::piece(N) };
        let mut pieces = octets.map(|octets| octets.chunks(piece));
        let mut done = false;
        while !done {
            done = true;
            for (hash, pieces) in hashes.iter_mut().zip(&mut pieces) {
                if let Some(piece) = pieces.next() {
                    hash.update(piece);
                    done = false;
                }
            }
        }
    }

    /// Writes the check value, or as much of its beginning as there is room for.
    fn write(self, tag: &mut [u8]);

    /// Tells, in a time that says nothing about the right one, whether this is the beginning of the check value: one
    /// octet at least.
    fn confirms(self, tag: &[u8]) -> bool;
}

impl<M: Hash + Clone> KeyedHash for M {
    fn update(&mut self, octets: &[u8]) {
        Hash::update(self, octets);
    }

    fn write(self, tag: &mut [u8]) {
        tag.iter_mut().zip(self.finalize().into_bytes()).for_each(|(to, from)| *to = from);
    }

    fn confirms(self, tag: &[u8]) -> bool {
        self.verify_truncated_left(tag).is_ok()
    }
}
