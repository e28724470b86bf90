//! Tunnels over real loopback sockets.

mod chained;
mod ends;
mod plain;
mod protected;
mod scarcity;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::ClientIo;

const HOUR: Duration = Duration::from_secs(3600);
const MEGABYTE: usize = 1 << 20;

/// A running tunnel with the far ends of its sockets.
struct Tunnel {
    client: TcpStream,
    target: TcpStream,
    progress: Arc<Progress>,
    relay: JoinHandle<RelayEnd>,
}

/// What a test says about its tunnel.
struct Setup {
    relayer: Arc<Relayer>,
    terms: Terms,
    early: &'static [u8],
}

impl Default for Setup {
    fn default() -> Self {
        Self::with(&RelayerOptions::default())
    }
}

impl Setup {
    fn with(options: &RelayerOptions) -> Self {
        Self { relayer: Arc::new(Relayer::new(options)), terms: Terms::new(HOUR), early: b"" }
    }

    fn sharing(relayer: &Arc<Relayer>) -> Self {
        Self { relayer: Arc::clone(relayer), terms: Terms::new(HOUR), early: b"" }
    }

    async fn start(self) -> Tunnel {
        let (client, near_client) = connection().await;
        let (near_target, target) = connection().await;
        let progress = Arc::clone(&self.terms.progress);
        let io = ClientIo { socket: near_client, received: BytesMut::from(self.early) };
        let relay =
            tokio::spawn(
                async move { self.relayer.run(ClientStream::Plain(io), near_target, self.terms).await },
            );
        Tunnel { client, target, progress, relay }
    }
}

impl Tunnel {
    /// The end that octets going that way start from, and the end where they arrive.
    fn ends(&mut self, way: Way) -> (&mut TcpStream, &mut TcpStream) {
        match way {
            Way::Up => (&mut self.client, &mut self.target),
            Way::Down => (&mut self.target, &mut self.client),
        }
    }

    /// Closes both ends in order, and tells how the relay ended.
    async fn finish(mut self) -> RelayEnd {
        self.client.shutdown().await.unwrap();
        self.target.shutdown().await.unwrap();
        self.relay.await.unwrap()
    }

    /// Sends into one end, which the other does not read, until nothing more goes; tells how much went.
    async fn fill(&mut self, way: Way) -> usize {
        let octets = noise(way as u64, CYCLE);
        let (source, _) = self.ends(way);
        let (mut sent, mut refusals) = (0, 0);
        while refusals < 300 {
            match source.try_write(&octets[sent % CYCLE..]) {
                Ok(count) => (sent, refusals) = (sent + count, 0),
                Err(_) => refusals += 1,
            }
            // The relay runs on this thread too: it has its turn, with what the sockets tell, on each of these.
            for _ in 0..64 {
                tokio::task::yield_now().await;
            }
        }
        sent
    }

    /// Reads what [`Tunnel::fill`] has sent and checks every octet.
    async fn read_filled(&mut self, way: Way, sent: usize) {
        let mut received = vec![0; sent];
        self.ends(way).1.read_exact(&mut received).await.unwrap();
        assert!(was_filled(way, &received), "octets going {way} were changed");
    }
}

/// After how many octets [`Tunnel::fill`] repeats itself: no multiple of any buffer.
const CYCLE: usize = MEGABYTE + 7;

fn was_filled(way: Way, octets: &[u8]) -> bool {
    let expected = noise(way as u64, CYCLE);
    octets.chunks(CYCLE).all(|chunk| *chunk == expected[..chunk.len()])
}

/// Two ends of one connection.
async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    prepare(&listener);
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(connecting, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// Octets that look random and are the same each time.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut octets = Vec::with_capacity(len + 8);
    while octets.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        octets.extend_from_slice(&state.to_le_bytes());
    }
    octets.truncate(len);
    octets
}

/// Sends `octets` from one end, ends that way, and checks that they arrive at the other, and the end behind them.
async fn transfer(source: &mut TcpStream, sink: &mut TcpStream, octets: &[u8]) {
    let sending = async {
        source.write_all(octets).await.unwrap();
        source.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let receiving = async { sink.read_to_end(&mut received).await.unwrap() };
    tokio::join!(sending, receiving);
    assert_eq!(received.len(), octets.len());
    assert!(received == octets, "octets were changed on the way");
}

async fn say(source: &mut TcpStream, sink: &mut TcpStream, word: &[u8]) {
    source.write_all(word).await.unwrap();
    let mut heard = vec![0; word.len()];
    sink.read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, word);
}
