//! Tunnels to a target behind another gateway: with frames at no end, at either, and at both.

use std::io::ErrorKind;

use super::protected::{frame, frames, toy, unframe};
use super::*;
use crate::Level;

const ENDS: [(bool, bool); 4] = [(false, false), (true, false), (false, true), (true, true)];

/// One end as the relay sees it: with what was read from it already, as plaintext and as octets of its wire.
fn stream(socket: TcpStream, is_protected: bool, plaintext: &[u8], wire: &[u8]) -> ClientStream {
    let io = ClientIo { socket, received: BytesMut::from(wire) };
    let mut stream = ClientStream::new(io, is_protected.then(toy));
    match &mut stream {
        ClientStream::Plain(io) => {
            io.received = BytesMut::from(&[plaintext, wire].concat()[..]);
        }
        ClientStream::Protected(stream) => stream.plaintext.extend_from_slice(plaintext),
    }
    stream
}

/// Octets as they travel at an end.
fn wire(octets: &[u8], is_protected: bool) -> Vec<u8> {
    if is_protected { frames(octets) } else { octets.to_vec() }
}

/// What octets of an end's wire say.
fn heard(wire: Vec<u8>, is_protected: bool) -> Vec<u8> {
    if is_protected { unframe(&wire).0 } else { wire }
}

async fn start((near, far): (bool, bool), up: &[u8], down: &[u8]) -> Tunnel {
    let (client, near_client) = connection().await;
    let (near_target, target) = connection().await;
    let terms = Terms::new(HOUR);
    let progress = Arc::clone(&terms.progress);
    let client_stream = stream(near_client, near, up, &wire(up, near));
    let target_stream = stream(near_target, far, down, &wire(down, far));
    let relay =
        tokio::spawn(
            async move { Relayer::default().run_chained(client_stream, target_stream, terms).await },
        );
    Tunnel { client, target, progress, relay }
}

#[tokio::test]
async fn octets_arrive_whole_behind_those_that_came_early() {
    for (near, far) in ENDS {
        let (early_up, early_down) = (noise(1, 300_001), noise(2, 20_007));
        let (up, down) = (noise(3, 3 * MEGABYTE + 5), noise(4, 2 * MEGABYTE + 7));
        let Tunnel { mut client, mut target, progress, relay } =
            start((near, far), &early_up, &early_down).await;
        let (mut client_read, mut client_write) = client.split();
        let (mut target_read, mut target_write) = target.split();
        let (mut at_client, mut at_target) = (Vec::new(), Vec::new());
        let client_sends = async {
            client_write.write_all(&wire(&up, near)).await.unwrap();
            client_write.shutdown().await.unwrap();
        };
        let target_sends = async {
            target_write.write_all(&wire(&down, far)).await.unwrap();
            target_write.shutdown().await.unwrap();
        };
        let up_arrives = async { target_read.read_to_end(&mut at_target).await.unwrap() };
        let down_arrives = async { client_read.read_to_end(&mut at_client).await.unwrap() };
        tokio::join!(client_sends, target_sends, up_arrives, down_arrives);
        // What was opened early, what was received early, and what came.
        let (up, down) =
            ([&early_up[..], &early_up, &up].concat(), [&early_down[..], &early_down, &down].concat());
        assert!(heard(at_target, far) == up, "up, frames at {near} and {far}");
        assert!(heard(at_client, near) == down, "down, frames at {near} and {far}");
        assert!(matches!(relay.await.unwrap(), RelayEnd::Closed));
        assert_eq!((progress.up(), progress.down()), (up.len() as u64, down.len() as u64));
    }
}

async fn say_slowly(socket: &mut TcpStream, octets: &[u8]) {
    for octet in octets {
        socket.write_all(&[*octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    socket.shutdown().await.unwrap();
}

async fn all(socket: &mut TcpStream) -> Vec<u8> {
    let mut octets = Vec::new();
    socket.read_to_end(&mut octets).await.unwrap();
    octets
}

#[tokio::test]
async fn octets_may_come_one_by_one() {
    for (near, far) in ENDS {
        let Tunnel { mut client, mut target, .. } = start((near, far), b"", b"").await;
        say_slowly(&mut client, &wire(b"hello", near)).await;
        assert_eq!(heard(all(&mut target).await, far), b"hello");
        say_slowly(&mut target, &wire(b"answer", far)).await;
        assert_eq!(heard(all(&mut client).await, near), b"answer");
    }
}

#[tokio::test]
async fn frames_of_the_other_gateway_that_are_cut_or_forged_fail_the_target() {
    let whole = frame(b"whole", Level::Confidentiality);
    let mut forged = whole.clone();
    *forged.last_mut().unwrap() ^= 1;
    for near in [false, true] {
        for (bad, kind) in [(&whole[..7], ErrorKind::UnexpectedEof), (&forged[..], ErrorKind::InvalidData)] {
            let Tunnel { mut client, mut target, relay, .. } = start((near, true), b"", b"").await;
            target.write_all(&[&whole[..], bad].concat()).await.unwrap();
            target.shutdown().await.unwrap();
            let end = relay.await.unwrap();
            assert!(matches!(&end, RelayEnd::TargetFailed(error) if error.kind() == kind), "{end:?}");
            let mut first = vec![0; if near { whole.len() } else { 5 }];
            client.read_exact(&mut first).await.unwrap();
            let end = client.read(&mut [0; 1]).await;
            assert_eq!(
                end.unwrap_err().kind(),
                ErrorKind::ConnectionReset,
                "an end that nobody made in order"
            );
        }
    }
}

#[tokio::test]
async fn a_clients_forged_frame_never_reaches_the_other_gateway() {
    let good = frame(b"good", Level::Confidentiality);
    let mut forged = frame(b"forged", Level::Confidentiality);
    *forged.last_mut().unwrap() ^= 1;
    for far in [false, true] {
        let Tunnel { mut client, mut target, relay, .. } = start((true, far), b"", b"").await;
        client.write_all(&[good.clone(), forged.clone()].concat()).await.unwrap();
        let end = relay.await.unwrap();
        assert!(matches!(&end, RelayEnd::Open(OpenError::Forged)), "{end:?}");
        let mut arrived = vec![0; if far { good.len() } else { 4 }];
        target.read_exact(&mut arrived).await.unwrap();
        assert_eq!(heard(arrived, far), b"good");
        assert_eq!(target.read(&mut [0; 1]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[tokio::test]
async fn a_reader_that_stalls_loses_nothing() {
    for (near, far) in [(true, true), (false, true)] {
        let mut tunnel = start((near, far), b"", b"").await;
        let octets = noise(3, 9 * MEGABYTE);
        let wired = wire(&octets, far);
        let mut begun = 0;
        while let Ok(count) = tunnel.target.try_write(&wired[begun..]) {
            begun += count;
            tokio::task::yield_now().await;
        }
        let mut arrived = Vec::new();
        let (client, target) = (&mut tunnel.client, &mut tunnel.target);
        let sends = async {
            target.write_all(&wired[begun..]).await.unwrap();
            target.shutdown().await.unwrap();
        };
        let reads = async { client.read_to_end(&mut arrived).await.unwrap() };
        tokio::join!(sends, reads);
        assert!(heard(arrived, near) == octets);
        client.shutdown().await.unwrap();
        assert!(matches!(tunnel.relay.await.unwrap(), RelayEnd::Closed));
    }
}
