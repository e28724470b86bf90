//! A protection that protects nothing, in frames that look the same in both directions.

use async_trait::async_trait;
use socks_core::wire::Method;
use socks_core::{Level, Open, OpenError, Opened, Protection, Room, Seal, SealError, Sealing, Sequence};

use crate::{ClientAuth, Exchange, Fault};

/// 0x5A, level, length in two octets; then the plaintext xor 0x55, and one octet of sum.
#[derive(Debug)]
struct Toy;

const FIRST: u8 = 0x5A;
const HEAD: usize = 4;
const TAIL: usize = 1;
const LARGEST: usize = 10_000;

impl Seal for Toy {
    fn room(&self) -> Room {
        // More than it needs, as is allowed.
        Room { head: HEAD + 3, tail: TAIL + 2 }
    }

    fn max_plaintext(&self) -> usize {
        LARGEST
    }

    fn seal(&mut self, message: &mut Sealing<'_>, level: Level) -> Result<(), SealError> {
        let plaintext = message.buffer.get(message.range.clone()).ok_or(SealError::Room)?;
        let frame = toy_frame(level, plaintext);
        let start = message.range.start.checked_sub(HEAD).ok_or(SealError::Room)?;
        message.range = start..message.range.end + TAIL;
        let place = message.buffer.get_mut(message.range.clone()).ok_or(SealError::Room)?;
        place.copy_from_slice(&frame);
        Ok(())
    }
}

impl Open for Toy {
    fn max_frame(&self) -> usize {
        HEAD + LARGEST + TAIL
    }

    fn frame_len(&self, head: &[u8]) -> Result<Option<usize>, OpenError> {
        match *head {
            [first, ..] if first != FIRST => Err(OpenError::NotAFrame),
            [_, _, high, low, ..] => {
                let len = HEAD + usize::from(u16::from_be_bytes([high, low])) + TAIL;
                if len > self.max_frame() { Err(OpenError::TooLong) } else { Ok(Some(len)) }
            }
            _ => Ok(None),
        }
    }

    fn open(&mut self, frame: &mut [u8]) -> Result<Opened, OpenError> {
        let level = frame.get(1).and_then(|octet| Level::from_octet(*octet)).ok_or(OpenError::Forged)?;
        let end = frame.len().checked_sub(TAIL).ok_or(OpenError::Forged)?;
        let (content, tag) = frame.split_at_mut_checked(end).ok_or(OpenError::Forged)?;
        let plaintext = content.get_mut(HEAD..).ok_or(OpenError::Forged)?;
        plaintext.iter_mut().for_each(|octet| *octet ^= 0x55);
        if *tag != [sum(plaintext)] {
            return Err(OpenError::Forged);
        }
        Ok(Opened { plaintext: HEAD..end, level, sequence: Sequence::Next })
    }

    fn accept_any_order(&mut self) {}
}

fn sum(octets: &[u8]) -> u8 {
    octets.iter().fold(0, |sum, octet| sum.wrapping_add(*octet))
}

/// A frame of the toy protection, "encrypted" or "signed".
pub fn toy_frame(level: Level, plaintext: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(plaintext.len()).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = vec![FIRST, level as u8, high, low];
    frame.extend(plaintext.iter().map(|octet| octet ^ 0x55));
    frame.push(sum(plaintext));
    frame
}

/// The toy protection at a level.
pub fn toy_protection(level: Level) -> Protection {
    Protection { level, seal: Box::new(Toy), open: Box::new(Toy) }
}

/// A private method (0x80) that says nothing and brings the toy protection at this level.
#[derive(Debug, Clone, Copy)]
pub struct ToyAuth(pub Level);

#[async_trait]
impl ClientAuth for ToyAuth {
    fn method(&self) -> Method {
        Method(0x80)
    }

    async fn authenticate(&self, _: &mut Exchange<'_>) -> Result<Option<Protection>, Fault> {
        Ok(Some(toy_protection(self.0)))
    }
}
