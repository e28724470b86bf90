//! Octets that can be made anywhere and checked anywhere: a fixed pseudo-random sequence and its checksum.

use std::io::{self, Read, Write};

/// The first `len` octets of the sequence, to be read.
#[derive(Debug, Clone)]
pub struct Pattern {
    word: u64,
    rest: [u8; 8],
    spare: usize,
    left: u64,
}

impl Pattern {
    /// A sequence of `len` octets.
    pub fn new(len: u64) -> Self {
        Self { word: 0, rest: [0; 8], spare: 0, left: len }
    }

    fn next_word(&mut self) -> [u8; 8] {
        // The finaliser of splitmix64: cheap, and no two words of a test are alike.
        self.word = self.word.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.word;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    }
}

impl Read for Pattern {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let mut space = buffer.get_mut(..len).unwrap_or_default();
        while !space.is_empty() {
            if self.spare == 0 {
                self.rest = self.next_word();
                self.spare = 8;
            }
            let rest = self.rest.get(8 - self.spare..).unwrap_or_default();
            let taken = rest.len().min(space.len());
            let (head, tail) = space.split_at_mut(taken);
            head.copy_from_slice(rest.get(..taken).unwrap_or_default());
            space = tail;
            self.spare -= taken;
        }
        self.left -= len as u64;
        Ok(len)
    }
}

/// A 64-bit checksum of octets in order, with their number; writing to it adds them.
///
/// It tells a wrong, missing, doubled or moved octet, and is fast without optimisation; it is no defence
/// against anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    state: u64,
    part: [u8; 8],
    filled: usize,
    len: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self { state: 0x243F_6A88_85A3_08D3, part: [0; 8], filled: 0, len: 0 }
    }
}

impl Digest {
    /// The digest of everything that a reader gives.
    ///
    /// # Errors
    /// The reader's own.
    pub fn of(mut reader: impl Read) -> io::Result<Self> {
        let mut digest = Self::default();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(digest),
                len => digest.write_all(buffer.get(..len).unwrap_or_default())?,
            }
        }
    }

    /// How many octets went in.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Tells whether nothing went in yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Length and checksum as text: equal texts, equal octets.
    pub fn text(&self) -> String {
        let mut last = self.clone();
        last.absorb(u64::from_le_bytes(self.part) ^ self.filled as u64);
        format!("{} {:016x}", self.len, last.state)
    }

    fn absorb(&mut self, word: u64) {
        self.state = (self.state ^ word).wrapping_mul(0x9FB2_1C65_1E98_DF25).rotate_left(29);
    }
}

impl Write for Digest {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut rest = octets;
        while !rest.is_empty() {
            let space = self.part.get_mut(self.filled..).unwrap_or_default();
            let taken = space.len().min(rest.len());
            let (head, tail) = rest.split_at(taken);
            space.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
            self.filled += taken;
            rest = tail;
            if self.filled == 8 {
                self.absorb(u64::from_le_bytes(self.part));
                (self.part, self.filled) = ([0; 8], 0);
            }
        }
        self.len += octets.len() as u64;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(len: u64) -> Vec<u8> {
        let mut all = Vec::new();
        Pattern::new(len).read_to_end(&mut all).unwrap();
        all
    }

    #[test]
    fn the_sequence_is_the_same_in_whatever_pieces_it_is_read() {
        let whole = octets(1000);
        let mut pieces = Vec::new();
        let mut pattern = Pattern::new(1000);
        for size in [1, 7, 8, 9, 300, 700] {
            let mut part = vec![0; size];
            let len = pattern.read(&mut part).unwrap();
            pieces.extend_from_slice(&part[..len]);
        }
        assert_eq!(pieces, whole);
    }

    #[test]
    fn the_digest_does_not_depend_on_the_pieces() {
        let whole = octets(1003);
        let mut digest = Digest::default();
        for piece in whole.chunks(13) {
            digest.write_all(piece).unwrap();
        }
        assert_eq!(digest.text(), Digest::of(Pattern::new(1003)).unwrap().text());
    }

    #[test]
    fn the_digest_tells_changed_missing_and_moved_octets() {
        let right = Digest::of(Pattern::new(64)).unwrap().text();
        let mut changed = octets(64);
        changed[40] ^= 1;
        let mut moved = octets(64);
        moved.swap(3, 4);
        let mut longer = octets(64);
        longer.push(0);
        for wrong in [changed, moved, longer, octets(63)] {
            assert_ne!(Digest::of(&wrong[..]).unwrap().text(), right);
        }
    }
}
