//! A TOY CIPHER. It protects nothing; it only shows the shape of a protection.
//!
//! Frame: length of the rest (2 octets, big-endian), sequence number (1 octet), every octet of the plaintext
//! XORed with the key, and one octet with the sum of them all.

use socks_core::{Level, Open, OpenError, Opened, Room, Seal, SealError, Sealing, Sequence};

const HEAD: usize = 3;
const TAIL: usize = 1;
const MAX_PLAINTEXT: usize = 16 * 1024;

/// The half that makes frames.
#[derive(Debug)]
pub struct ToySeal {
    key: u8,
    sequence: u8,
}

impl ToySeal {
    /// Frames under that key.
    pub fn new(key: u8) -> Self {
        Self { key, sequence: 0 }
    }
}

impl Seal for ToySeal {
    fn room(&self) -> Room {
        Room { head: HEAD, tail: TAIL }
    }

    fn max_plaintext(&self) -> usize {
        MAX_PLAINTEXT
    }

    fn seal(&mut self, message: &mut Sealing<'_>, _: Level) -> Result<(), SealError> {
        let (start, end) = (message.range.start, message.range.end);
        let rest = u16::try_from(end.saturating_sub(start) + 1 + TAIL).map_err(|_| SealError::Room)?;
        let range = start.checked_sub(HEAD).ok_or(SealError::Room)?..end + TAIL;
        let frame = message.buffer.get_mut(range.clone()).ok_or(SealError::Room)?;
        frame[..2].copy_from_slice(&rest.to_be_bytes());
        frame[2] = self.sequence;
        let sum_at = frame.len() - TAIL;
        frame[HEAD..sum_at].iter_mut().for_each(|octet| *octet ^= self.key);
        frame[sum_at] = sum(&frame[2..sum_at]);
        self.sequence = self.sequence.wrapping_add(1);
        message.range = range;
        Ok(())
    }
}

/// The half that opens frames.
#[derive(Debug)]
pub struct ToyOpen {
    key: u8,
    sequence: u8,
    any_order: bool,
}

impl ToyOpen {
    /// Frames under that key.
    pub fn new(key: u8) -> Self {
        Self { key, sequence: 0, any_order: false }
    }
}

impl Open for ToyOpen {
    fn max_frame(&self) -> usize {
        HEAD + MAX_PLAINTEXT + TAIL
    }

    fn frame_len(&self, head: &[u8]) -> Result<Option<usize>, OpenError> {
        let Some((rest, _)) = head.split_first_chunk() else { return Ok(None) };
        match 2 + usize::from(u16::from_be_bytes(*rest)) {
            len if len > self.max_frame() => Err(OpenError::TooLong),
            len if len < HEAD + TAIL => Err(OpenError::NotAFrame),
            len => Ok(Some(len)),
        }
    }

    fn open(&mut self, frame: &mut [u8]) -> Result<Opened, OpenError> {
        let Some((said, body)) = frame.split_last() else { return Err(OpenError::NotAFrame) };
        if body.len() < HEAD || *said != sum(&body[2..]) {
            return Err(OpenError::Forged);
        }
        let sequence = match frame[2] == self.sequence {
            true => Sequence::Next,
            false if self.any_order => Sequence::Moved,
            false => return Err(OpenError::OutOfOrder),
        };
        self.sequence = frame[2].wrapping_add(1);
        let plaintext = HEAD..frame.len() - TAIL;
        frame[plaintext.clone()].iter_mut().for_each(|octet| *octet ^= self.key);
        Ok(Opened { plaintext, level: Level::Confidentiality, sequence })
    }

    fn accept_any_order(&mut self) {
        self.any_order = true;
    }
}

fn sum(octets: &[u8]) -> u8 {
    octets.iter().fold(0, |sum, octet| sum.wrapping_add(*octet))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_again_and_a_changed_octet_is_found() {
        let mut buffer = *b"...hello.";
        let mut message = Sealing { buffer: &mut buffer, range: 3..8 };
        ToySeal::new(7).seal(&mut message, Level::Confidentiality).unwrap();
        assert_eq!(message.range, 0..9);
        assert_ne!(&buffer[3..8], b"hello");
        let mut forged = buffer;
        forged[4] ^= 1;
        assert_eq!(ToyOpen::new(7).open(&mut forged), Err(OpenError::Forged));
        assert_eq!(ToyOpen::new(7).open(&mut buffer).unwrap().plaintext, 3..8);
        assert_eq!(&buffer[3..8], b"hello");
    }
}
