//! Targets for one stream at a time, and the clock around what they send and receive.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use socks_core::relay::Way;
use tests::{DEADLINE, targets};

use crate::tunnel::{Tunnel, discard};

/// What an upload seals before it sends it, in octets.
const BATCH: u64 = 64 << 20;

/// A target that sends as many zeros as it is asked for and ends, and one that tells when it has received as many
/// octets as were announced. Both are spoken to in numbers of 8 octets.
pub(crate) struct Targets {
    source: SocketAddr,
    sink: SocketAddr,
    arrived: Mutex<Receiver<()>>,
}

/// The time that some user data took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried {
    /// From the first octet to the last.
    pub(crate) wall: Duration,
    /// The processor time of the client's thread meanwhile.
    pub(crate) client: Duration,
}

impl Targets {
    pub(crate) fn start() -> Self {
        let source = targets::serve(|stream, _| send(stream));
        let (tell, arrived) = mpsc::channel();
        let sink = targets::serve(move |mut stream, _| {
            while let Some(count) = number(&mut stream) {
                if discard(&stream, count) < count || tell.send(()).is_err() {
                    return;
                }
            }
        });
        Self { source: source.address, sink: sink.address, arrived: Mutex::new(arrived) }
    }

    /// The target for octets that go this way.
    pub(crate) fn address(&self, way: Way) -> SocketAddr {
        match way {
            Way::Down => self.source,
            Way::Up => self.sink,
        }
    }

    /// Carries so many octets through a tunnel to [`address`](Self::address).
    pub(crate) fn carry(&self, mut tunnel: Tunnel, way: Way, octets: u64) -> Carried {
        match way {
            Way::Down => {
                let asked = tunnel.sealed(&octets.to_be_bytes());
                timed(|| {
                    tunnel.send(&asked);
                    let came = tunnel.drain();
                    assert!(came >= octets, "the server ended after {came} of {octets} octets");
                })
            }
            Way::Up => {
                let mut all = Carried { wall: Duration::ZERO, client: Duration::ZERO };
                for batch in batches(octets) {
                    let sealed = tunnel.sealed(&announced(batch));
                    let one = timed(|| {
                        tunnel.send(&sealed);
                        let arrived = self.arrived.lock().expect("nobody else carries");
                        arrived.recv_timeout(DEADLINE).expect("all octets arrive");
                    });
                    all = Carried { wall: all.wall + one.wall, client: all.client + one.client };
                }
                all
            }
        }
    }
}

fn batches(octets: u64) -> impl Iterator<Item = u64> {
    (0..octets.div_ceil(BATCH)).map(move |number| BATCH.min(octets - number * BATCH))
}

/// So many zeros with their number before them.
fn announced(octets: u64) -> Vec<u8> {
    let mut all = octets.to_be_bytes().to_vec();
    all.resize(all.len() + usize::try_from(octets).expect("a batch fits the memory"), 0);
    all
}

fn send(mut stream: TcpStream) {
    static ZEROS: [u8; 256 * 1024] = [0; 256 * 1024];
    let Some(mut left) = number(&mut stream) else { return };
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(ZEROS.len());
        match stream.write(ZEROS.get(..most).unwrap_or_default()) {
            Ok(count @ 1..) => left -= count as u64,
            _ => return,
        }
    }
}

/// The next number that a client says; `None` at the end.
fn number(stream: &mut TcpStream) -> Option<u64> {
    let mut octets = [0; 8];
    stream.read_exact(&mut octets).ok()?;
    Some(u64::from_be_bytes(octets))
}

fn timed(work: impl FnOnce()) -> Carried {
    let (start, before) = (Instant::now(), thread_time());
    work();
    Carried { wall: start.elapsed(), client: thread_time().saturating_sub(before) }
}

/// The processor time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
