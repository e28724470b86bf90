//! Targets for protected streams, and the clocks around what they send and receive.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use socks_core::relay::Way;
use tests::bench::{Clocks, Window};
use tests::engine::thread_time;
use tests::{DEADLINE, targets};

use super::tunnel::{Tunnel, discard};

/// A target that sends as many zeros as it is asked for and ends, and one that tells when it has received as many
/// octets as were announced. Both are spoken to in numbers of 8 octets.
pub(super) struct Targets {
    source: SocketAddr,
    sink: SocketAddr,
    arrived: Mutex<Receiver<()>>,
}

impl Targets {
    pub(super) fn start() -> Self {
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
    pub(super) fn address(&self, way: Way) -> SocketAddr {
        match way {
            Way::Down => self.source,
            Way::Up => self.sink,
        }
    }

    /// Carries so many octets through each of these tunnels to [`address`](Self::address), all at the same time.
    ///
    /// `server` tells the server's processor time.
    pub(super) fn carry(
        &self,
        tunnels: Vec<Tunnel>,
        (way, octets): (Way, u64),
        server: &dyn Fn() -> Duration,
    ) -> Window {
        let streams = tunnels.len();
        let loads: Vec<_> = tunnels
            .into_iter()
            .map(|mut tunnel| {
                let sealed = match way {
                    Way::Down => tunnel.sealed(&octets.to_be_bytes()),
                    Way::Up => tunnel.sealed(&announced(octets)),
                };
                (tunnel, sealed)
            })
            .collect();
        let clocks = Clocks::begin(server());
        let busiest = thread::scope(|scope| {
            let load = |(mut tunnel, sealed): (Tunnel, Vec<u8>)| {
                tunnel.send(&sealed);
                if way == Way::Down {
                    let came = tunnel.drain();
                    assert!(came >= octets, "the server ended after {came} of {octets} octets");
                }
                // The tunnel stays open until all has arrived.
                (tunnel, thread_time())
            };
            let threads: Vec<_> = loads.into_iter().map(|it| scope.spawn(move || load(it))).collect();
            if way == Way::Up {
                let arrived = self.arrived.lock().expect("nobody else carries");
                (0..streams).for_each(|_| arrived.recv_timeout(DEADLINE).expect("all octets arrive"));
            }
            threads.into_iter().map(|thread| thread.join().expect("a stream is carried").1).max()
        });
        let window = clocks.end(server());
        // Threads that have ended are not among those that the clocks know.
        Window { busiest: busiest.unwrap_or_default().max(window.busiest), ..window }
    }
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
