//! Datagrams in frames, of a toy protection that protects nothing.

use super::*;
use crate::{Level, Open, OpenError, Opened, Room, Seal, SealError, Sealing, Sequence};

/// RFC 1961's head, level, number in two octets, plaintext xor 0x55, one octet of sum.
#[derive(Debug, Default)]
struct Toy {
    number: u16,
    seen: HashSet<u16>,
    any_order: bool,
}

const HEAD: usize = 7;
const LARGEST: usize = 60_000;

impl Seal for Toy {
    fn room(&self) -> Room {
        Room { head: HEAD, tail: 1 }
    }

    fn max_plaintext(&self) -> usize {
        LARGEST
    }

    fn seal(&mut self, message: &mut Sealing<'_>, level: Level) -> Result<(), SealError> {
        let plain = message.range.clone();
        let frame = frame(self.number, &message.buffer[plain.clone()], level);
        self.number = self.number.checked_add(1).ok_or(SealError::Exhausted)?;
        message.range = plain.start - HEAD..plain.end + 1;
        message.buffer[message.range.clone()].copy_from_slice(&frame);
        Ok(())
    }
}

impl Open for Toy {
    fn max_frame(&self) -> usize {
        65_539
    }

    fn frame_len(&self, head: &[u8]) -> Result<Option<usize>, OpenError> {
        match head {
            [1, 3, high, low, ..] => Ok(Some(4 + usize::from(u16::from_be_bytes([*high, *low])))),
            [1, 3, ..] | [] | [1] => Ok(None),
            _ => Err(OpenError::NotAFrame),
        }
    }

    fn open(&mut self, frame: &mut [u8]) -> Result<Opened, OpenError> {
        let (Some(level), end) = (frame.get(4).and_then(|level| Level::from_octet(*level)), frame.len() - 1)
        else {
            return Err(OpenError::Forged);
        };
        if end < HEAD {
            return Err(OpenError::Forged);
        }
        frame[HEAD..end].iter_mut().for_each(|octet| *octet ^= 0x55);
        if sum(&frame[5..end]) != frame[end] {
            return Err(OpenError::Forged);
        }
        let number = u16::from_be_bytes([frame[5], frame[6]]);
        assert!(self.any_order, "datagrams come in any order");
        if !self.seen.insert(number) {
            return Err(OpenError::Duplicate);
        }
        if self.seen.iter().any(|seen| *seen > number.saturating_add(64)) {
            return Err(OpenError::Old);
        }
        Ok(Opened { plaintext: HEAD..end, level, sequence: Sequence::Moved })
    }

    fn accept_any_order(&mut self) {
        self.any_order = true;
    }
}

fn sum(octets: &[u8]) -> u8 {
    octets.iter().fold(1, |sum: u8, octet| sum.wrapping_mul(3).wrapping_add(*octet))
}

fn frame(number: u16, plaintext: &[u8], level: Level) -> Vec<u8> {
    let mut signed = number.to_be_bytes().to_vec();
    signed.extend(plaintext);
    let len = u16::try_from(signed.len() + 2).unwrap().to_be_bytes();
    let mut frame = vec![1, 3, len[0], len[1], level as u8];
    frame.extend(number.to_be_bytes());
    frame.extend(plaintext.iter().map(|octet| octet ^ 0x55));
    frame.push(sum(&signed));
    frame
}

/// A frame of the client to its server.
fn to_server(running: &Running, number: u16, data: &[u8]) -> Vec<u8> {
    frame(number, &datagram(0, &target(&running.server), data), Level::Confidentiality)
}

async fn start() -> Running {
    let protection = Protection {
        level: Level::Confidentiality,
        seal: Box::new(Toy::default()),
        open: Box::new(Toy::default()),
    };
    Setup { protection: Some(protection), ..Setup::default() }.start().await
}

#[tokio::test]
async fn each_datagram_is_one_frame_both_ways() {
    let running = start().await;
    for round in 0..3u16 {
        let burst: Vec<Vec<u8>> = (0..33u16).map(|n| vec![7; usize::from(n * round * 20)]).collect();
        for (number, data) in (0u16..).zip(&burst) {
            running.client.send(&to_server(&running, round * 33 + number, data)).await.unwrap();
        }
        for data in &burst {
            let (octets, source) = receive(&running.server).await;
            assert!(octets == *data);
            running.server.send_to(&octets, source).await.unwrap();
        }
        for (number, data) in (0u16..).zip(&burst) {
            let expected = to_server(&running, round * 33 + number, data);
            assert!(receive(&running.client).await.0 == expected, "frame {number} of round {round}");
        }
    }
    assert_eq!((running.tally.datagrams(Way::Up), running.tally.datagrams(Way::Down)), (99, 99));
    assert_eq!(running.tally.octets(Way::Up), running.tally.octets(Way::Down));
    assert_eq!(running.drops(), []);
}

#[tokio::test]
async fn replayed_ones_are_dropped_and_reordered_ones_are_not() {
    let running = start().await;
    let order = [5, 3, 5, 4, 100, 3, 99, 100, 6, 101];
    for number in order {
        running.client.send(&to_server(&running, number, &[u8::try_from(number).unwrap()])).await.unwrap();
    }
    for number in [5, 3, 4, 100, 99, 101] {
        assert_eq!(receive(&running.server).await.0, [number]);
    }
    assert_eq!(running.drops(), [(DropCause::Replayed, 4)]);
}

#[tokio::test]
async fn truncated_lengthened_changed_and_only_signed_frames_are_dropped() {
    let running = start().await;
    let whole = to_server(&running, 1, b"data");
    let cut: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
    for octets in &cut {
        running.client.send(octets).await.unwrap();
    }
    running.client.send(&[&whole[..], b"x"].concat()).await.unwrap();
    running.client.send(&datagram(0, &target(&running.server), b"clear")).await.unwrap();
    let mut changed = whole.clone();
    changed[20] ^= 1;
    running.client.send(&changed).await.unwrap();
    let plain = datagram(0, &target(&running.server), b"signed");
    running.client.send(&frame(2, &plain, Level::Integrity)).await.unwrap();
    running.client.send(&frame(3, b"\0\0", Level::Confidentiality)).await.unwrap();
    running.client.send(&whole).await.unwrap();
    assert_eq!(receive(&running.server).await.0, b"data");
    let malformed = cut.len() as u64 + 3;
    assert_eq!(running.drops(), [(DropCause::Malformed, malformed), (DropCause::Forged, 2)]);
}

#[tokio::test]
async fn a_frame_that_cannot_be_opened_does_not_lock_the_port() {
    let running = start().await;
    let other_port = bind("127.0.0.1:0").await;
    let mut forged = to_server(&running, 1, b"hijacked");
    forged[15] ^= 1;
    other_port.send_to(&forged, running.inner).await.unwrap();
    running.client.send(&to_server(&running, 1, b"true")).await.unwrap();
    let (octets, source) = receive(&running.server).await;
    assert_eq!(octets, b"true");
    running.server.send_to(b"answer", source).await.unwrap();
    let answer = frame(0, &datagram(0, &target(&running.server), b"answer"), Level::Confidentiality);
    assert_eq!(receive(&running.client).await.0, answer);
}

#[tokio::test]
async fn a_reply_too_long_for_a_frame_is_dropped() {
    let running = start().await;
    running.client.send(&to_server(&running, 1, b"x")).await.unwrap();
    let (_, source) = receive(&running.server).await;
    running.server.send_to(&vec![1; LARGEST - 9], source).await.unwrap();
    running.server.send_to(&vec![2; LARGEST - 10], source).await.unwrap();
    let (octets, _) = receive(&running.client).await;
    assert_eq!(octets.len(), HEAD + LARGEST + 1);
    assert_eq!(running.drops(), [(DropCause::TooLarge, 1)]);
}
