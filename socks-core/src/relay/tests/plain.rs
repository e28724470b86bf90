//! Octets, unprotected.

use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use super::*;

#[tokio::test]
async fn bulk_arrives_unchanged_both_ways_at_once() {
    let setup = Setup::default();
    let relayer = Arc::clone(&setup.relayer);
    let Tunnel { mut client, mut target, progress, relay } = setup.start().await;
    let (up, down) = (noise(1, 24 * MEGABYTE), noise(2, 17 * MEGABYTE + 1));
    let (mut client_read, mut client_write) = client.split();
    let (mut target_read, mut target_write) = target.split();
    let (mut at_target, mut at_client) = (Vec::new(), Vec::new());
    let client_sends = async {
        client_write.write_all(&up).await.unwrap();
        client_write.shutdown().await.unwrap();
    };
    let target_sends = async {
        target_write.write_all(&down).await.unwrap();
        target_write.shutdown().await.unwrap();
    };
    let arrived = async {
        let (up, down) =
            tokio::join!(target_read.read_to_end(&mut at_target), client_read.read_to_end(&mut at_client));
        (up.unwrap(), down.unwrap())
    };
    tokio::join!(client_sends, target_sends, arrived);
    assert!(at_target == up && at_client == down);
    assert!(matches!(relay.await.unwrap(), RelayEnd::Closed));
    assert_eq!((progress.up(), progress.down()), (up.len() as u64, down.len() as u64));
    let pipes = &relayer.pools.pipes;
    assert_eq!(
        pipes.opened() > 0,
        cfg!(target_os = "linux"),
        "a transfer of this size is spliced if it can be"
    );
    assert_eq!(pipes.lent(), 0);
}

#[tokio::test]
async fn bulk_arrives_unchanged_where_there_is_no_pipe() {
    let setup = Setup::with(&RelayerOptions { pipes: 0, ..RelayerOptions::default() });
    let relayer = Arc::clone(&setup.relayer);
    let mut tunnel = setup.start().await;
    for way in [Way::Up, Way::Down] {
        let (source, sink) = tunnel.ends(way);
        transfer(source, sink, &noise(3, 5 * MEGABYTE + 7)).await;
    }
    assert!(matches!(tunnel.relay.await.unwrap(), RelayEnd::Closed));
    assert_eq!(relayer.pools.pipes.opened(), 0);
}

#[tokio::test]
async fn bulk_and_single_words_can_alternate() {
    let mut tunnel = Setup::default().start().await;
    for round in 0..6 {
        for way in [Way::Up, Way::Down] {
            let (source, sink) = tunnel.ends(way);
            say(source, sink, b"word").await;
            let octets = noise(round, 3 * MEGABYTE);
            let mut received = vec![0; octets.len()];
            let (sent, read) = tokio::join!(source.write_all(&octets), sink.read_exact(&mut received));
            sent.unwrap();
            read.unwrap();
            assert!(received == octets);
        }
    }
    assert!(matches!(tunnel.finish().await, RelayEnd::Closed));
}

#[tokio::test]
async fn octets_sent_before_the_reply_arrive_first() {
    let mut tunnel = Setup { early: b"early ", ..Setup::default() }.start().await;
    tunnel.client.write_all(b"late").await.unwrap();
    let mut heard = [0; 10];
    tunnel.target.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"early late");
    let progress = Arc::clone(&tunnel.progress);
    tunnel.finish().await;
    assert_eq!(progress.up(), 10);
}

#[tokio::test]
async fn early_octets_arrive_even_if_the_client_has_ended_by_then() {
    let mut tunnel = Setup { early: b"early", ..Setup::default() }.start().await;
    tunnel.client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    tunnel.target.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"early");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn urgent_octets_keep_their_place_while_copying_and_while_splicing() {
    use rustix::net::{SendFlags, send};
    let mut tunnel = Setup::default().start().await;
    for bulk in [0, 6 * MEGABYTE] {
        let mut expected = noise(9, bulk);
        let (source, sink) = tunnel.ends(Way::Up);
        let sending = async {
            source.write_all(&expected).await.unwrap();
            source.writable().await.unwrap();
            assert_eq!(send(&*source, b"!", SendFlags::OOB).unwrap(), 1);
            source.write_all(b"after").await.unwrap();
        };
        let mut received = vec![0; bulk + 6];
        let (_, read) = tokio::join!(sending, sink.read_exact(&mut received));
        read.unwrap();
        expected.extend_from_slice(b"!after");
        assert!(received == expected, "with {bulk} octets before it");
    }
}

#[tokio::test]
async fn a_tunnel_that_waits_is_small() {
    let relayer = Relayer::default();
    let (_client, near_client) = connection().await;
    let (near_target, _target) = connection().await;
    let client = ClientStream::Plain(ClientIo::new(near_client));
    let tunnel = relayer.run(client, near_target, Terms::new(HOUR));
    assert!(size_of_val(&tunnel) <= 672, "a tunnel takes {} octets", size_of_val(&tunnel));
}

#[tokio::test]
async fn an_idle_tunnel_holds_neither_buffer_nor_pipe() {
    let setup = Setup::default();
    let relayer = Arc::clone(&setup.relayer);
    let mut tunnel = setup.start().await;
    for way in [Way::Up, Way::Down] {
        let (source, sink) = tunnel.ends(way);
        say(source, sink, &noise(4, MEGABYTE / 8)).await;
    }
    assert!(relayer.pools.buffers.spare() > 0, "buffers were used");
    assert_eq!((relayer.pools.buffers.lent(), relayer.pools.pipes.lent()), (0, 0));
}

#[tokio::test]
async fn a_busy_tunnel_lets_others_run() {
    let mut tunnel = Setup::default();
    let progress = Arc::clone(&tunnel.terms.progress);
    let (mut client, near_client) = connection().await;
    let (near_target, mut target) = connection().await;
    let relayer = Arc::clone(&tunnel.relayer);
    let terms = std::mem::replace(&mut tunnel.terms, Terms::new(HOUR));
    let relay = tokio::spawn(async move {
        let client = ClientStream::Plain(ClientIo::new(near_client));
        let mut relay = std::pin::pin!(relayer.run(client, near_target, terms));
        let mut most = 0;
        std::future::poll_fn(|cx| {
            let before = progress.total();
            let polled = relay.as_mut().poll(cx);
            most = most.max(progress.total() - before);
            polled.map(|_| ())
        })
        .await;
        most
    });
    let ends = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let octets = noise(5, 48 * MEGABYTE);
            // The far ends belong to the other runtime, which drives them while this one only waits.
            transfer(&mut client, &mut target, &octets).await;
            target.shutdown().await.unwrap();
        });
    });
    let most = relay.await.unwrap();
    ends.join().unwrap();
    let bound = plain_bound();
    assert!(most <= bound, "one turn moved {most} octets of at most {bound}");
}

/// What one turn of a plain tunnel may move: the quantum each way, and one splice beyond it.
fn plain_bound() -> u64 {
    2 * (crate::relay::plain::QUANTUM + RelayerOptions::default().pipe_size) as u64
}

/// A meter with a bucket of its own.
#[derive(Debug, Default)]
struct Bucket(Mutex<Level>);

#[derive(Debug, Default)]
struct Level {
    left: usize,
    waiting: Option<Waker>,
    asked: [usize; 2],
}

impl Bucket {
    fn pour(&self, octets: usize) {
        let mut level = self.0.lock().unwrap();
        level.left += octets;
        if let Some(waker) = level.waiting.take() {
            waker.wake();
        }
    }
}

impl Meter for Bucket {
    fn poll_grant(&self, way: Way, want: usize, cx: &mut Context<'_>) -> Poll<usize> {
        let mut level = self.0.lock().unwrap();
        level.asked[way as usize] += 1;
        if level.left == 0 {
            level.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let granted = want.min(level.left).min(LEASE);
        level.left -= granted;
        Poll::Ready(granted)
    }

    fn give_back(&self, _way: Way, unused: usize) {
        self.0.lock().unwrap().left += unused;
    }
}

#[tokio::test]
async fn no_octet_passes_that_the_meter_has_not_granted() {
    for pipes in [0, 4] {
        let bucket = Arc::new(Bucket::default());
        let mut setup = Setup::with(&RelayerOptions { pipes, ..RelayerOptions::default() });
        setup.terms.meter = Arc::clone(&bucket) as Arc<dyn Meter>;
        let Tunnel { mut client, mut target, progress, .. } = setup.start().await;
        let octets = noise(6, 4 * MEGABYTE);
        let sending = async { client.write_all(&octets).await.unwrap() };
        let metering = async {
            let mut received = Vec::new();
            for portion in [1, 1000, LEASE, 3 * LEASE + 1, MEGABYTE, 2 * MEGABYTE] {
                bucket.pour(portion);
                let mut part = vec![0; portion];
                target.read_exact(&mut part).await.unwrap();
                received.extend(part);
                assert_eq!(progress.up(), received.len() as u64, "nothing beyond what was poured");
                assert_eq!(bucket.0.lock().unwrap().left, 0);
            }
            bucket.pour(4 * MEGABYTE);
            let mut rest = vec![0; octets.len() - received.len()];
            target.read_exact(&mut rest).await.unwrap();
            received.extend(rest);
            received
        };
        let (_, received) = tokio::join!(sending, metering);
        assert!(received == octets);
        target.write_all(b"answer").await.unwrap();
        client.read_exact(&mut [0; 6]).await.unwrap();
        let level = bucket.0.lock().unwrap();
        let moved = octets.len() + 6;
        let poured = 1 + 1000 + LEASE + 3 * LEASE + 1 + 7 * MEGABYTE;
        assert_eq!(level.left, poured - moved, "what was granted and not used comes back");
        assert!(level.asked.iter().all(|asked| *asked > 0), "both ways ask");
    }
}
