//! BIND under protection (RFC 1961 section 5) by a raw client, which seals each frame itself.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socks_client::Level;
use tests::DEADLINE;
use tests::client::request;
use tests::sealed::SealedClient;
use tests::site::{Inside, inside};

const BOTH: &[&str] = &["integrity", "confidentiality"];

fn log_in(inside: &Inside) -> SealedClient {
    let level = if inside.level == "integrity" { Level::Integrity } else { Level::Confidentiality };
    SealedClient::log_in(inside.gateway, level)
}

/// A request for whoever comes.
fn anybody() -> Vec<u8> {
    request(0x02, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
}

#[track_caller]
fn come(to: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect_timeout(&to, DEADLINE).expect("the gateway listens for a peer");
    peer.set_read_timeout(Some(DEADLINE)).expect("not zero");
    peer
}

/// Octets of which no two parts are alike.
fn pattern(len: u32) -> Vec<u8> {
    (0..len).flat_map(u32::to_be_bytes).collect()
}

/// Checks that the peer gets all these octets and the client an answer, and that the record counts both.
#[track_caller]
fn expect_tunnel(inside: &Inside, mut client: SealedClient, mut peer: TcpStream, sent: &[u8]) {
    let mut heard = vec![0; sent.len()];
    peer.read_exact(&mut heard).expect("all that was sent");
    assert!(heard == sent, "other octets have come than were sent");
    peer.write_all(b"from the peer").expect("an open tunnel");
    assert_eq!(client.receive(13), b"from the peer");
    client.finish();
    assert_eq!(peer.read(&mut [0]).expect("an end in order"), 0, "nothing more was sent");
    drop(peer);
    let record = inside.session_of(client.local());
    record.expect(&[
        ("identity", "alice@EXAMPLE.TEST"),
        ("protection", &inside.level),
        ("command", "bind"),
        ("cause", "closed"),
    ]);
    assert_eq!((record.up(), record.down()), (sent.len() as u64, 13), "{record}");
}

#[test]
fn frames_before_the_second_reply_reach_the_peer_intact_at_both_levels() {
    let name = "frames_before_the_second_reply_reach_the_peer_intact_at_both_levels";
    let Some(inside) = inside(name, BOTH) else { return };
    let mut client = log_in(&inside);
    let asked = client.seal(&anybody());
    client.send_raw(&asked);
    let first = client.reply();
    assert_eq!(first.code, 0x00);
    // More than the gateway keeps, in frames of many lengths; the last one is cut in its middle.
    let sent = pattern(10_000);
    let frames: Vec<u8> = sent.chunks(777).flat_map(|part| client.seal(part)).collect();
    let (early, late) = frames.split_at(frames.len() - 300);
    client.send_raw(early);
    let peer = come(first.bound);
    let second = client.reply();
    assert_eq!((second.code, second.bound), (0x00, peer.local_addr().expect("connected")));
    client.send_raw(late);
    expect_tunnel(&inside, client, peer, &sent);
}

#[test]
fn frames_that_come_together_with_the_request_are_the_peers() {
    let name = "frames_that_come_together_with_the_request_are_the_peers";
    let Some(inside) = inside(name, BOTH) else { return };
    let mut client = log_in(&inside);
    let sent = pattern(500);
    // A request in two frames, data in the next two, and one without octets between them: all in one write.
    let (head, tail) = (&anybody()[..4], &anybody()[4..]);
    let parts = [head, tail, &sent[..1000], b"", &sent[1000..]];
    let octets: Vec<u8> = parts.into_iter().flat_map(|part| client.seal(part)).collect();
    client.send_raw(&octets);
    let first = client.reply();
    assert_eq!(first.code, 0x00);
    let peer = come(first.bound);
    assert_eq!(client.reply().code, 0x00);
    expect_tunnel(&inside, client, peer, &sent);
}

#[test]
fn a_frame_that_was_changed_on_its_way_never_reaches_the_peer() {
    let name = "a_frame_that_was_changed_on_its_way_never_reaches_the_peer";
    let Some(inside) = inside(name, BOTH) else { return };
    let mut client = log_in(&inside);
    let asked = client.seal(&anybody());
    client.send_raw(&asked);
    let first = client.reply();
    let whole = client.seal(b"whole");
    let mut forged = client.seal(b"forged");
    if let Some(last) = forged.last_mut() {
        *last ^= 0x01;
    }
    client.send_raw(&[whole, forged].concat());
    let mut heard = Vec::new();
    // The gateway may have seen it before the peer comes, and awaits none then. Otherwise both connections end at
    // once, perhaps with a reset that overtakes the second reply; what came before was whole.
    if let Ok(mut peer) = TcpStream::connect(first.bound) {
        peer.set_read_timeout(Some(DEADLINE)).expect("not zero");
        drop(peer.read_to_end(&mut heard));
    }
    assert!(b"whole".starts_with(&heard[..]), "{heard:?}");
    let record = inside.session_of(client.local());
    assert_ne!(record.text("cause"), "closed", "{record}");
}
