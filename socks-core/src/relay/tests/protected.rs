//! Tunnels whose client speaks in frames, of a toy protection that protects nothing.

use std::io::ErrorKind;

use super::*;
use crate::{Level, Open, Opened, Protection, Room, Seal, Sequence};

/// 0x5A, level, length in three octets, the plaintext xor 0x55, one octet of sum.
#[derive(Debug, Default)]
struct Toy {
    sealed: usize,
}

const HEAD: usize = 5;
const TAIL: usize = 1;
const LARGEST: usize = 70_000;

impl Seal for Toy {
    fn room(&self) -> Room {
        Room { head: HEAD + 3, tail: TAIL + 2 }
    }

    fn max_plaintext(&self) -> usize {
        LARGEST
    }

    fn seal(&mut self, message: &mut crate::Sealing<'_>, level: Level) -> Result<(), SealError> {
        if self.sealed == 1_000_000 {
            return Err(SealError::Exhausted);
        }
        self.sealed += 1;
        let plain = message.range.clone();
        let frame = frame(&message.buffer[plain.clone()], level);
        let start = plain.start - HEAD;
        message.range = start..plain.end + TAIL;
        message.buffer[message.range.clone()].copy_from_slice(&frame);
        Ok(())
    }
}

impl Open for Toy {
    fn max_frame(&self) -> usize {
        HEAD + LARGEST + TAIL
    }

    fn frame_len(&self, head: &[u8]) -> Result<Option<usize>, OpenError> {
        match head {
            [first, ..] if *first != 0x5A => Err(OpenError::NotAFrame),
            [_, _, high, middle, low, ..] => {
                let len = usize::from(*high) << 16 | usize::from(*middle) << 8 | usize::from(*low);
                if len > LARGEST { Err(OpenError::TooLong) } else { Ok(Some(HEAD + len + TAIL)) }
            }
            _ => Ok(None),
        }
    }

    fn open(&mut self, frame: &mut [u8]) -> Result<Opened, OpenError> {
        let end = frame.len() - TAIL;
        let level = Level::from_octet(frame[1]).unwrap();
        frame[HEAD..end].iter_mut().for_each(|octet| *octet ^= 0x55);
        if sum(&frame[HEAD..end]) != frame[end] {
            return Err(OpenError::Forged);
        }
        Ok(Opened { plaintext: HEAD..end, level, sequence: Sequence::Next })
    }

    fn accept_any_order(&mut self) {}
}

fn sum(octets: &[u8]) -> u8 {
    octets.iter().fold(0, |sum, octet| sum.wrapping_add(*octet))
}

pub(super) fn frame(plaintext: &[u8], level: Level) -> Vec<u8> {
    let len = u32::try_from(plaintext.len()).unwrap().to_be_bytes();
    let mut frame = vec![0x5A, level as u8, len[1], len[2], len[3]];
    frame.extend(plaintext.iter().map(|octet| octet ^ 0x55));
    frame.push(sum(plaintext));
    frame
}

/// Cuts octets in frames of changing lengths, none and the largest among them.
pub(super) fn frames(octets: &[u8]) -> Vec<u8> {
    let mut lengths = [1, 0, 16_384, 3, 60_000, 100, 4096, LARGEST].into_iter().cycle();
    let (mut framed, mut rest) = (Vec::new(), octets);
    while !rest.is_empty() {
        let (plaintext, after) = rest.split_at(lengths.next().unwrap().min(rest.len()));
        framed.extend(frame(plaintext, Level::Confidentiality));
        rest = after;
    }
    framed
}

/// Opens whole frames one after the other, and tells how many there were.
pub(super) fn unframe(mut octets: &[u8]) -> (Vec<u8>, usize) {
    let (mut toy, mut plaintext, mut count) = (Toy::default(), Vec::new(), 0);
    while !octets.is_empty() {
        let len = toy.frame_len(octets).unwrap().unwrap();
        let (frame, rest) = octets.split_at(len);
        let mut frame = frame.to_vec();
        let opened = toy.open(&mut frame).unwrap();
        assert_eq!(opened.level, Level::Confidentiality);
        assert!(!opened.plaintext.is_empty(), "a frame without octets says the end to some clients");
        plaintext.extend(&frame[opened.plaintext]);
        (octets, count) = (rest, count + 1);
    }
    (plaintext, count)
}

/// A protection of that kind.
pub(super) fn toy() -> Protection {
    Protection {
        level: Level::Confidentiality,
        seal: Box::new(Toy::default()),
        open: Box::new(Toy::default()),
    }
}

#[derive(Default)]
struct Beginning {
    plaintext: Vec<u8>,
    received: Vec<u8>,
    exhausted: bool,
}

async fn start(beginning: Beginning) -> Tunnel {
    let (client, near_client) = connection().await;
    let (near_target, target) = connection().await;
    let sealed = if beginning.exhausted { 1_000_000 } else { 0 };
    let protection = Protection {
        level: Level::Confidentiality,
        seal: Box::new(Toy { sealed }),
        open: Box::new(Toy::default()),
    };
    let received = BytesMut::from(&beginning.received[..]);
    let mut stream = ProtectedStream::new(ClientIo { socket: near_client, received }, protection);
    stream.plaintext.extend_from_slice(&beginning.plaintext);
    let terms = Terms::new(HOUR);
    let progress = Arc::clone(&terms.progress);
    let relay = tokio::spawn(async move {
        Relayer::default().run(ClientStream::Protected(Box::new(stream)), near_target, terms).await
    });
    Tunnel { client, target, progress, relay }
}

#[tokio::test]
async fn frames_are_opened_one_way_and_sealed_the_other() {
    let Tunnel { mut client, mut target, progress, relay } = start(Beginning::default()).await;
    let (up, down) = (noise(1, 5 * MEGABYTE + 3), noise(2, 4 * MEGABYTE + 11));
    let framed = frames(&up);
    let (mut client_read, mut client_write) = client.split();
    let (mut target_read, mut target_write) = target.split();
    let (mut at_target, mut at_client) = (Vec::new(), Vec::new());
    let client_sends = async {
        client_write.write_all(&framed).await.unwrap();
        client_write.shutdown().await.unwrap();
    };
    let target_sends = async {
        target_write.write_all(&down).await.unwrap();
        target_write.shutdown().await.unwrap();
    };
    let up_arrives = async { target_read.read_to_end(&mut at_target).await.unwrap() };
    let down_arrives = async { client_read.read_to_end(&mut at_client).await.unwrap() };
    tokio::join!(client_sends, target_sends, up_arrives, down_arrives);
    let (opened, count) = unframe(&at_client);
    assert!(at_target == up && opened == down);
    assert!(count < down.len() / 4096, "octets in bulk make large frames, not {count} of them");
    assert!(matches!(relay.await.unwrap(), RelayEnd::Closed));
    assert_eq!((progress.up(), progress.down()), (up.len() as u64, down.len() as u64));
}

#[tokio::test]
async fn frames_may_come_octet_by_octet() {
    let Tunnel { mut client, mut target, .. } = start(Beginning::default()).await;
    for octet in frame(b"hello", Level::Confidentiality) {
        client.write_all(&[octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut heard = [0; 5];
    target.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
    target.write_all(b"answer").await.unwrap();
    let mut answer = [0; HEAD + 6 + TAIL];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(unframe(&answer), (b"answer".to_vec(), 1));
}

#[tokio::test]
async fn what_was_opened_goes_first_then_frames_that_were_received() {
    let whole = frame(b" second", Level::Confidentiality);
    let cut = frame(b" third", Level::Confidentiality);
    let (begun, missing) = cut.split_at(7);
    let received = [&whole[..], begun].concat();
    let beginning = Beginning { plaintext: b"first".to_vec(), received, ..Beginning::default() };
    let Tunnel { mut client, mut target, progress, relay } = start(beginning).await;
    client.write_all(missing).await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    target.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"first second third");
    assert_eq!(progress.up(), 18);
    drop(target);
    assert!(matches!(relay.await.unwrap(), RelayEnd::Closed));
}

#[tokio::test]
async fn a_stream_cut_off_inside_a_frame_is_an_error_and_resets_the_target() {
    for cut in [1, HEAD, HEAD + 3] {
        let Tunnel { mut client, mut target, relay, .. } = start(Beginning::default()).await;
        client.write_all(&frame(b"whole", Level::Confidentiality)).await.unwrap();
        client.write_all(&frame(b"cut off", Level::Confidentiality)[..cut]).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(matches!(relay.await.unwrap(), RelayEnd::CutFrame));
        let mut heard = [0; 5];
        target.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"whole");
        let end = target.read(&mut heard).await;
        assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_refused_frame_ends_the_tunnel_after_what_came_before_it() {
    let mut forged = frame(b"forged", Level::Confidentiality);
    *forged.last_mut().unwrap() ^= 1;
    let signed = frame(b"signed", Level::Integrity);
    let table = [
        (forged, OpenError::Forged),
        (signed, OpenError::OnlySigned),
        (vec![0x16, 3, 1], OpenError::NotAFrame),
        (vec![0x5A, 2, 0xFF, 0xFF, 0xFF], OpenError::TooLong),
    ];
    for (bad, expected) in table {
        let Tunnel { mut client, mut target, relay, .. } = start(Beginning::default()).await;
        let good = |plaintext| frame(plaintext, Level::Confidentiality);
        let octets = [good(b"good"), bad, good(b"late")].concat();
        client.write_all(&octets).await.unwrap();
        let mut heard = [0; 4];
        target.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"good");
        let end = relay.await.unwrap();
        assert!(matches!(&end, RelayEnd::Open(error) if *error == expected), "{end:?}");
        assert_eq!(target.read(&mut heard).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(client.read(&mut heard).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn frames_without_octets_hold_nobody_up() {
    let Tunnel { mut client, mut target, .. } = start(Beginning::default()).await;
    let mut octets = frame(b"", Level::Confidentiality).repeat(100);
    octets.extend(frame(b"behind them", Level::Confidentiality));
    client.write_all(&octets).await.unwrap();
    let mut heard = [0; 11];
    target.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"behind them");
}

#[tokio::test]
async fn a_frame_that_cannot_be_sealed_ends_the_tunnel() {
    let beginning = Beginning { exhausted: true, ..Beginning::default() };
    let Tunnel { client: _client, mut target, relay, .. } = start(beginning).await;
    target.write_all(b"hello").await.unwrap();
    assert!(matches!(relay.await.unwrap(), RelayEnd::Seal(SealError::Exhausted)));
}

#[tokio::test]
async fn half_closes_and_resets_pass_through_frames_too() {
    let Tunnel { mut client, mut target, relay, .. } = start(Beginning::default()).await;
    target.write_all(b"answer").await.unwrap();
    target.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(unframe(&heard), (b"answer".to_vec(), 1));
    client.write_all(&frame(b"still here", Level::Confidentiality)).await.unwrap();
    target.read_exact(&mut [0; 10]).await.unwrap();
    client.set_zero_linger().unwrap();
    drop(client);
    assert!(matches!(relay.await.unwrap(), RelayEnd::ClientFailed(_)));
}

#[tokio::test]
async fn readers_that_stall_lose_nothing() {
    let mut tunnel = start(Beginning::default()).await;
    let sent = tunnel.fill(Way::Down).await;
    tunnel.target.shutdown().await.unwrap();
    let mut received = Vec::new();
    tunnel.client.read_to_end(&mut received).await.unwrap();
    let (plaintext, _) = unframe(&received);
    assert!(plaintext.len() == sent && was_filled(Way::Down, &plaintext));

    let mut tunnel = start(Beginning::default()).await;
    let octets = noise(3, 12 * MEGABYTE);
    let framed = frames(&octets);
    let (client, target) = tunnel.ends(Way::Up);
    let mut begun = 0;
    while let Ok(count) = client.try_write(&framed[begun..]) {
        begun += count;
        tokio::task::yield_now().await;
    }
    let mut received = vec![0; octets.len()];
    let (sent, read) = tokio::join!(client.write_all(&framed[begun..]), target.read_exact(&mut received));
    sent.unwrap();
    read.unwrap();
    assert!(received == octets);
    assert!(matches!(tunnel.finish().await, RelayEnd::Closed));
}
