//! What the engine of RFC 4121 costs beside a bare loop of the same ciphers over the same octets.
//!
//! Instruction counts say nothing of hardware that has instructions for AES and SHA-1; times do, of two loops on one
//! processor in turns.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::hint::black_box;
use std::time::Duration;

use aes::{Aes256Dec, Aes256Enc, Block};
use cbc::cipher::array::Array;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit};
use rustix::time::{ClockId, clock_gettime};
use sha1::{Digest, Sha1};
use socks_core::{Level, Open, Opening, Seal, Sealing};
use socks_gssapi::cfx::{self, ContextKeys, Enctype, KeyOrigin, Opener, Role, Sealer};

use crate::baseline::Baseline;

/// Octets that are sealed or opened between two looks at the clock: they fit into a processor's own cache.
const BATCH: usize = 128 * 1024;
/// How often each side has its turn in a pass.
const TURNS: usize = 500;
/// How often all is measured. The best turns count, because what disturbs the machine only adds; a neighbour on the same
/// core may do so for seconds, and to several lanes more than to one.
const PASSES: usize = 6;

/// The two halves of one side of a context.
///
/// # Panics
/// Never: the key fits.
pub fn halves(enctype: Enctype, role: Role) -> (Sealer, Opener) {
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

/// The processor time that this thread has used.
pub fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The engine's times in thousandths of those of the bare loop.
pub fn ratios() -> Baseline {
    let levels = [Level::Confidentiality, Level::Integrity];
    let sizes = [(longest(), 1), (16 * 1024, 8), (1200, 1)];
    let all = levels.map(|level| sizes.map(|(len, lanes)| Messages { level, len, lanes }));
    let mut all: Vec<_> = all.into_iter().flatten().map(|messages| (messages, Best::default())).collect();
    for _ in 0..PASSES {
        all.iter_mut().for_each(|(messages, best)| messages.measure(best));
    }
    let mut figures = BTreeMap::new();
    for (messages, Best { engine, bare }) in all {
        for ((what, engine), bare) in ["seal", "open"].into_iter().zip(engine).zip(bare) {
            figures.insert(format!("{what}, {messages}"), thousandths(engine, bare));
        }
    }
    Baseline { taken_with: processor(), figures }
}

/// The best times of sealing and opening, and of what the bare loops do in their place.
struct Best {
    engine: [Duration; 2],
    bare: [Duration; 2],
}

impl Default for Best {
    fn default() -> Self {
        Self { engine: [Duration::MAX; 2], bare: [Duration::MAX; 2] }
    }
}

/// The longest plaintext of one frame: nearly 64 KiB.
fn longest() -> usize {
    halves(Enctype::Aes256Sha1, Role::Acceptor).0.max_plaintext()
}

/// What the processor calls itself.
fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_owned()
}

/// What is sealed and opened.
#[derive(Clone, Copy)]
struct Messages {
    level: Level,
    len: usize,
    /// How many at once.
    lanes: usize,
}

impl fmt::Display for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} times {} octets", self.level, self.lanes, self.len)
    }
}

impl Messages {
    /// Lets the two sides take turns, and keeps their best times.
    fn measure(self, best: &mut Best) {
        let (mut engine, mut bare) = (Engine::new(self), Bare::new(self));
        for _ in 0..TURNS {
            for (best, time) in best.engine.iter_mut().zip(engine.turn()) {
                *best = (*best).min(time);
            }
            for (best, time) in best.bare.iter_mut().zip(bare.turn()) {
                *best = (*best).min(time);
            }
        }
    }

    /// How many are in a batch.
    fn count(self) -> usize {
        (BATCH / self.len / self.lanes).max(1) * self.lanes
    }
}

fn thousandths(part: Duration, whole: Duration) -> u64 {
    u64::try_from(part.as_nanos() * 1000 / whole.as_nanos().max(1)).unwrap_or(u64::MAX)
}

/// Our side, with the peer that opens what it seals.
struct Engine {
    messages: Messages,
    seal: Sealer,
    open: Opener,
    buffers: Vec<Vec<u8>>,
}

impl Engine {
    fn new(messages: Messages) -> Self {
        let enctype = Enctype::Aes256Sha1;
        let ((seal, _), (_, open)) = (halves(enctype, Role::Acceptor), halves(enctype, Role::Initiator));
        let room = seal.room();
        let buffers = vec![vec![0; room.head + messages.len + room.tail]; messages.count()];
        Self { messages, seal, open, buffers }
    }

    /// The times of sealing a batch and of opening it.
    fn turn(&mut self) -> [Duration; 2] {
        let Messages { level, len, lanes } = self.messages;
        let head = self.seal.room().head;
        let mut messages: Vec<_> =
            self.buffers.iter_mut().map(|buffer| Sealing { buffer, range: head..head + len }).collect();
        let start = thread_time();
        for messages in messages.chunks_mut(lanes) {
            self.seal.seal_all(black_box(messages), level).expect("the messages fit");
        }
        let sealed = thread_time() - start;
        let mut frames: Vec<_> = messages
            .iter_mut()
            .map(|Sealing { buffer, range }| {
                let frame = buffer.get_mut(range.clone()).expect("the frame is in the buffer");
                Opening { frame, opened: None }
            })
            .collect();
        let start = thread_time();
        for frames in frames.chunks_mut(lanes) {
            self.open.open_all(black_box(frames)).expect("the frames are good");
        }
        [sealed, thread_time() - start]
    }
}

/// The ciphers without anything around them, a message at a time: hash and encrypt, decrypt and hash.
struct Bare {
    level: Level,
    encryption: Aes256Enc,
    decryption: Aes256Dec,
    buffers: Vec<Vec<Block>>,
}

impl Bare {
    fn new(messages: Messages) -> Self {
        let key = [7; 32].into();
        Self {
            level: messages.level,
            encryption: Aes256Enc::new(&key),
            decryption: Aes256Dec::new(&key),
            buffers: vec![vec![Block::default(); messages.len / 16]; messages.count()],
        }
    }

    fn turn(&mut self) -> [Duration; 2] {
        let start = thread_time();
        for blocks in black_box(&mut self.buffers) {
            black_box(Sha1::digest(Array::slice_as_flattened(blocks)));
            if self.level == Level::Confidentiality {
                cbc::Encryptor::inner_iv_init(self.encryption.clone(), &Block::default())
                    .encrypt_blocks(blocks);
            }
        }
        let encrypted = thread_time() - start;
        let start = thread_time();
        for blocks in black_box(&mut self.buffers) {
            if self.level == Level::Confidentiality {
                cbc::Decryptor::inner_iv_init(self.decryption.clone(), &Block::default())
                    .decrypt_blocks(blocks);
            }
            black_box(Sha1::digest(Array::slice_as_flattened(blocks)));
        }
        [encrypted, thread_time() - start]
    }
}
