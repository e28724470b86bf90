//! How fast messages are sealed and opened on one thread: megabytes (10^6) of plaintext in a second of its
//! processor time.
//!
//! `cargo bench -p socks-gssapi --bench cfx`

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use socks_core::{Level, Open, Opening, Seal, Sealing};
use socks_gssapi::cfx::{self, ContextKeys, Enctype, KeyOrigin, Opener, Role, Sealer};

const ROUND: Duration = Duration::from_millis(200);
const ROUNDS: usize = 5;

/// What is sealed and opened.
#[derive(Clone, Copy)]
struct Messages {
    enctype: Enctype,
    level: Level,
    len: usize,
    /// How many are sealed or opened together.
    lanes: usize,
}

fn main() {
    println!("{:28} {:>6} {:>5}  {:>8} {:>8}", "enctype", "octets", "lanes", "seal", "open");
    for enctype in [Enctype::Aes256Sha1, Enctype::Aes256Sha384, Enctype::Aes128Sha256] {
        for level in [Level::Confidentiality, Level::Integrity] {
            for (len, lanes) in
                [(1024, 1), (1024, 8), (16384, 1), (16384, 2), (16384, 4), (16384, 8), (61440, 1), (61440, 4)]
            {
                let messages = Messages { enctype, level, len, lanes };
                let (seal, open) =
                    (best(|time| sealing(messages, time)), best(|time| opening(messages, time)));
                println!("{enctype:28} {len:6} {lanes:5}  {seal:8.0} {open:8.0}  {level}");
            }
        }
    }
}

/// The best of some rounds of `work`, which tells how many octets it has done and in what time.
fn best(work: impl Fn(Duration) -> (usize, Duration)) -> f64 {
    let rounds = (0..ROUNDS).map(|_| work(ROUND));
    rounds.map(|(octets, time)| octets as f64 / time.as_secs_f64() / 1e6).fold(0.0, f64::max)
}

/// The processor time that this thread has used.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::from_secs(time.tv_sec as u64) + Duration::from_nanos(time.tv_nsec as u64)
}

fn halves(enctype: Enctype, role: Role) -> (Sealer, Opener) {
    let keys = ContextKeys {
        role,
        enctype: enctype.number(),
        protocol_key: vec![7; enctype.key_len()].into(),
        origin: KeyOrigin::AcceptorSubkey,
        send_sequence: 0,
        receive_sequence: 0,
    };
    cfx::halves(&keys).expect("the key fits")
}

fn sealing(messages: Messages, time: Duration) -> (usize, Duration) {
    let Messages { enctype, level, len, lanes } = messages;
    let (mut seal, _) = halves(enctype, Role::Acceptor);
    let room = seal.room();
    let mut buffers = vec![vec![0_u8; room.head + len + room.tail]; lanes];
    let (start, mut octets) = (used(), 0);
    while used() - start < time {
        let mut messages: Vec<_> =
            buffers.iter_mut().map(|buffer| Sealing { buffer, range: room.head..room.head + len }).collect();
        seal.seal_all(black_box(&mut messages), level).expect("the messages fit");
        octets += len * lanes;
    }
    (octets, used() - start)
}

/// Counts the time of opening only: what is opened must be sealed before, in batches.
fn opening(messages: Messages, time: Duration) -> (usize, Duration) {
    let Messages { enctype, level, len, lanes } = messages;
    let ((mut seal, _), (_, mut open)) = (halves(enctype, Role::Acceptor), halves(enctype, Role::Initiator));
    let room = seal.room();
    let (mut spent, mut octets) = (Duration::ZERO, 0);
    while spent < time {
        let mut buffers = vec![vec![0_u8; room.head + len + room.tail]; 16];
        let mut messages: Vec<_> =
            buffers.iter_mut().map(|buffer| Sealing { buffer, range: room.head..room.head + len }).collect();
        seal.seal_all(&mut messages, level).expect("the messages fit");
        let mut frames: Vec<_> = messages
            .iter_mut()
            .map(|message| {
                let frame =
                    message.buffer.get_mut(message.range.clone()).expect("the frame is in the buffer");
                Opening { frame, opened: None }
            })
            .collect();
        let start = used();
        for frames in frames.chunks_mut(lanes) {
            open.open_all(black_box(frames)).expect("the frames are good");
        }
        spent += used() - start;
        octets += len * messages.len();
    }
    (octets, spent)
}
