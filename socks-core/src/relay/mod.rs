//! The TCP relay: carries octets between a client and its target until both have ended.
//!
//! A [`Relayer`] is what all tunnels of a process share: buffers and pipes. [`Relayer::run`] is one tunnel, a
//! small future with both directions in it that holds neither buffer nor pipe while nothing moves. Dropping
//! it ends the tunnel.
//!
//! Without protection octets are copied at first and moved by splice(2) once they come in bulk; with
//! protection frames are opened and sealed in place. A half-close passes through, a reset passes as a reset,
//! and an end that nobody made in order (idle timeout, refused frame) is shown to both sides as a reset.
//!
//! A target may stand behind another gateway: [`Relayer::run_chained`] takes a stream to that one in place of the
//! target's socket, protected or not.

mod buffer;
mod drive;
mod meter;
mod opening;
mod path;
mod pieces;
#[cfg(not(target_os = "linux"))]
#[path = "no_pipe.rs"]
mod pipe;
#[cfg(target_os = "linux")]
mod pipe;
mod plain;
mod protected;
mod resealing;
mod sealing;
mod socket;

pub use meter::{LEASE, Meter, Unlimited, Way};
pub use socket::prepare;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use self::buffer::BufferPool;
use self::drive::drive;
use self::path::Path;
use self::pipe::PipePool;
use self::plain::Plain;
use self::protected::{Protected, Resealed};
use self::socket::Socket;
use crate::{ClientStream, OpenError, ProtectedStream, SealError};

/// Octets relayed so far, readable by everybody while the session runs.
#[derive(Debug, Default)]
pub struct Progress {
    up: AtomicU64,
    down: AtomicU64,
}

impl Progress {
    /// Octets of user data from the client that the target's socket has taken.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Octets of user data from the target that the client's socket has taken.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    fn total(&self) -> u64 {
        self.up().wrapping_add(self.down())
    }

    fn add(&self, way: Way, octets: usize) {
        let counter = match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        };
        counter.fetch_add(octets as u64, Ordering::Relaxed);
    }
}

/// What one tunnel runs under.
#[derive(Debug)]
pub struct Terms {
    /// How long no octet may be delivered in either direction, unless the meter says otherwise.
    pub idle_timeout: Duration,
    /// Who grants the octets.
    pub meter: Arc<dyn Meter>,
    /// Where delivered octets are counted.
    pub progress: Arc<Progress>,
    /// When the tunnel has to end, moving or not; in a box because most tunnels have no such time.
    pub cutoff: Option<Box<Cutoff>>,
}

/// A time after which a tunnel is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cutoff {
    /// The time.
    pub at: Instant,
    /// How long no octet may be delivered from then on; zero: the tunnel ends at that time, whatever it carries.
    pub quiet: Duration,
}

impl Terms {
    /// Terms with an idle timeout and nothing else: unlimited, counted from zero.
    pub fn new(idle_timeout: Duration) -> Self {
        Self { idle_timeout, meter: Arc::new(Unlimited), progress: Arc::default(), cutoff: None }
    }

    /// How long no octet may be delivered, as it is now.
    fn idle_timeout(&self) -> Duration {
        self.meter.idle_timeout().unwrap_or(self.idle_timeout)
    }
}

/// Why a relay ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum RelayEnd {
    /// Both sides closed in order.
    Closed,
    /// No octet was delivered for the idle timeout; both sides were reset.
    Idle,
    /// Its [`Cutoff`] has come; both sides were reset.
    Cutoff,
    /// The client's socket failed (a reset, mostly); the target was reset too.
    ClientFailed(io::Error),
    /// The target's socket failed; the client was reset too.
    TargetFailed(io::Error),
    /// The client's stream ended inside a protected frame; both sides were reset.
    CutFrame,
    /// A protected frame was refused; both sides were reset.
    Open(OpenError),
    /// A frame could not be sealed; both sides were reset.
    Seal(SealError),
}

/// Sizes and bounds of a [`Relayer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayerOptions {
    /// The most pipes for splice(2); 0: always copy. Each takes two descriptors.
    pub pipes: usize,
    /// The size of a pipe in octets. Without privileges the kernel gives all processes of a user 64 MiB
    /// (`pipe-user-pages-soft`) together; what is beyond shrinks, is refused here, and those tunnels copy.
    pub pipe_size: usize,
    /// The size of a buffer for copying, in octets.
    pub buffer_size: usize,
    /// How many buffers of each sort are kept when nobody uses them.
    pub spare_buffers: usize,
    /// How long an end that was reset is still read empty while nothing can be delivered, before the other
    /// end is reset too.
    pub reset_grace: Duration,
}

impl RelayerOptions {
    /// The most descriptors that the relay uses beside the sockets.
    pub fn descriptors(&self) -> usize {
        self.pipes.saturating_mul(2)
    }
}

impl Default for RelayerOptions {
    /// Chosen by `cargo bench -p socks-core --bench relay`, 2 cores, kernel 6.18, CPU-seconds per GiB with 1 and
    /// with 16 streams: copying through 16 KiB 0.79 and 0.96, 64 KiB 0.48 and 0.72, 256 KiB 0.54 and 0.54;
    /// splice(2) through 64 KiB 0.44 and 0.59, 256 KiB 0.40 and 0.24, 1 MiB 0.24 and 0.29.
    ///
    /// 1 MiB is also the most that an unprivileged pipe may have (`pipe-max-size`), and 32 of them are half of
    /// what such a user may have. A tunnel borrows one only while a thread moves its octets, so 32 are plenty.
    fn default() -> Self {
        Self {
            pipes: 32,
            pipe_size: 1024 * 1024,
            buffer_size: 64 * 1024,
            spare_buffers: 64,
            reset_grace: Duration::from_secs(1),
        }
    }
}

/// What all tunnels of a process share.
#[derive(Debug)]
pub struct Relayer {
    pools: Arc<Pools>,
    reset_grace: Duration,
}

/// What tunnels borrow while octets are in flight.
#[derive(Debug)]
struct Pools {
    buffers: BufferPool,
    frames: BufferPool,
    pipes: PipePool,
}

impl Relayer {
    /// Makes a relayer; nothing is allocated before a tunnel needs it.
    pub fn new(options: &RelayerOptions) -> Self {
        let pools = Pools {
            buffers: BufferPool::new(options.buffer_size.max(1), options.spare_buffers),
            frames: BufferPool::new(sealing::BATCH.max(protected::BUFFER), options.spare_buffers),
            pipes: PipePool::new(options.pipes, options.pipe_size),
        };
        Self { pools: Arc::new(pools), reset_grace: options.reset_grace }
    }

    /// Carries octets both ways until both sides have ended, or one has failed.
    ///
    /// What the client has sent already and nobody has taken goes to the target first. The target's socket is
    /// [prepared](prepare) here; the client's is by whoever accepted it. Dropping the future at any time closes
    /// both. It outlives the relayer, so that whoever serves many can keep each in a box that is not larger.
    pub fn run(
        &self,
        client: ClientStream,
        target: TcpStream,
        terms: Terms,
    ) -> impl Future<Output = RelayEnd> + Send + use<> {
        let (client, start) = Start::from(client);
        let (pools, grace) = (self.pools.clone(), self.reset_grace);
        async move {
            let (client, target) = (Socket(&client), Socket(&target));
            prepare(target.0);
            let up = Path { way: Way::Up, source: client, sink: target, pools: &pools, terms: &terms };
            match start {
                Start::Plain(early) => drive(Plain::new(up, early), up, grace).await,
                Start::Protected(start) => {
                    Box::pin(drive(Protected::new(up, *start, Vec::new()), up, grace)).await
                }
            }
        }
    }

    /// As [`Relayer::run`], to a target behind another gateway, by a stream on which that has granted the request.
    ///
    /// What was received from there already goes to the client first. Without protection at both ends octets are
    /// copied or spliced; with protection at one end frames are opened and sealed in place; with protection at
    /// both, each octet is opened, copied once and sealed. A frame from the other gateway that is refused or cut is
    /// a [`RelayEnd::TargetFailed`].
    pub fn run_chained(
        &self,
        client: ClientStream,
        upstream: ClientStream,
        terms: Terms,
    ) -> impl Future<Output = RelayEnd> + Send + use<> {
        let ((client, near), (upstream, far)) = (Start::from(client), Start::from(upstream));
        let (pools, grace) = (self.pools.clone(), self.reset_grace);
        async move {
            let (client, target) = (Socket(&client), Socket(&upstream));
            prepare(target.0);
            let up = Path { way: Way::Up, source: client, sink: target, pools: &pools, terms: &terms };
            match (near, far) {
                (Start::Plain(early), Start::Plain(answer)) => {
                    drive(Plain::new(up, early).answered(answer), up, grace).await
                }
                (Start::Protected(near), Start::Plain(answer)) => {
                    Box::pin(drive(Protected::new(up, *near, answer), up, grace)).await
                }
                (Start::Plain(early), Start::Protected(far)) => {
                    Box::pin(drive(Protected::new(up.back(), *far, early), up, grace)).await
                }
                (Start::Protected(near), Start::Protected(far)) => {
                    Box::pin(drive(Resealed::new(up, *near, *far), up, grace)).await
                }
            }
        }
    }
}

impl Default for Relayer {
    fn default() -> Self {
        Self::new(&RelayerOptions::default())
    }
}

/// What a tunnel starts with beside its sockets.
enum Start {
    Plain(Vec<u8>),
    Protected(Box<protected::Start>),
}

impl Start {
    fn from(client: ClientStream) -> (TcpStream, Self) {
        match client {
            ClientStream::Plain(io) => (io.socket, Self::Plain(io.received.to_vec())),
            ClientStream::Protected(stream) => {
                let ProtectedStream { io, protection, plaintext } = *stream;
                let start = protected::Start { protection, plaintext, frames: io.received };
                (io.socket, Self::Protected(Box::new(start)))
            }
        }
    }
}

#[cfg(test)]
mod tests;
