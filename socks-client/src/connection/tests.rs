//! Connections over real loopback sockets, plain and in frames of the toy protection.

use socks_core::{ClientIo, OpenError, ProtectedStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::testing::{toy_frame, toy_protection};

const LEVEL: Level = Level::Confidentiality;

/// A connection, and the gateway's end of its socket.
async fn pair(received: &[u8], protected: bool) -> (Connection, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(connecting, listener.accept());
    let io = ClientIo { socket: near.unwrap(), received: received.into() };
    let stream = ClientStream::new(io, protected.then(|| toy_protection(LEVEL)));
    let connection = Connection::new(stream, "192.0.2.7:1".parse().unwrap(), Method::NONE);
    (connection, far.unwrap().0)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|position| u8::try_from(position * 7 % 251).unwrap()).collect()
}

/// Opens whole frames one after the other.
fn unframe(mut octets: &[u8]) -> Vec<u8> {
    let mut plaintext = Vec::new();
    while let [_, level, high, low, rest @ ..] = octets {
        assert_eq!(*level, LEVEL as u8);
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        assert!(len > 0, "an empty frame says the end to some servers");
        plaintext.extend(rest[..len].iter().map(|octet| octet ^ 0x55));
        octets = &rest[len + 1..];
    }
    plaintext
}

#[tokio::test]
async fn what_is_written_arrives_in_frames_with_the_end_behind_it() {
    let (mut connection, mut gateway) = pair(b"", true).await;
    let octets = pattern(1_000_000);
    let mut received = Vec::new();
    let writing = async {
        connection.write_all(&octets).await.unwrap();
        connection.shutdown().await.unwrap();
    };
    let (_, read) = tokio::join!(writing, gateway.read_to_end(&mut received));
    read.unwrap();
    assert!(unframe(&received) == octets, "octets were changed on the way");
}

#[tokio::test]
async fn frames_however_cut_become_one_stream() {
    let octets = pattern(100_000);
    let mut framed = Vec::new();
    let (mut rest, mut lengths) = (&octets[..], [1, 0, 9_999, 10_000, 3, 777].into_iter().cycle());
    while !rest.is_empty() {
        let (some, after) = rest.split_at(lengths.next().unwrap().min(rest.len()));
        framed.extend(toy_frame(LEVEL, some));
        rest = after;
    }
    let (early, late) = framed.split_at(5_000);
    let (mut connection, mut gateway) = pair(early, true).await;
    let writing = async {
        for piece in late.chunks(3_001) {
            gateway.write_all(piece).await.unwrap();
        }
        gateway.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let (_, read) = tokio::join!(writing, connection.read_to_end(&mut received));
    read.unwrap();
    assert!(received == octets, "octets were changed on the way");
}

#[tokio::test]
async fn an_end_inside_a_frame_is_an_error() {
    let frame = toy_frame(LEVEL, b"hello");
    for cut in 1..frame.len() {
        let (mut connection, mut gateway) = pair(b"", true).await;
        gateway.write_all(&frame[..cut]).await.unwrap();
        drop(gateway);
        let error = connection.read_to_end(&mut Vec::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "cut at {cut}");
    }
}

#[tokio::test]
async fn nothing_comes_behind_a_frame_that_was_refused() {
    let mut forged = toy_frame(LEVEL, b"world");
    *forged.last_mut().unwrap() ^= 1;
    let signed = toy_frame(Level::Integrity, b"world");
    let foreign = b"plain".to_vec();
    let table =
        [(forged, OpenError::Forged), (signed, OpenError::OnlySigned), (foreign, OpenError::NotAFrame)];
    for (bad, expected) in table {
        let frames = [toy_frame(LEVEL, b"hello"), bad, toy_frame(LEVEL, b"again")].concat();
        let (mut connection, _gateway) = pair(&frames, true).await;
        let mut hello = [0; 5];
        connection.read_exact(&mut hello).await.unwrap();
        for _ in 0..2 {
            let error = connection.read_u8().await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert_eq!(error.get_ref().unwrap().downcast_ref(), Some(&expected));
        }
    }
}

#[tokio::test]
async fn parts_hold_what_was_received_and_what_was_not_sent() {
    let (mut connection, gateway) = pair(&toy_frame(LEVEL, b"hello"), true).await;
    let octets = pattern(50_000);
    let mut written = 0;
    // Nobody reads at the other end: some day the socket takes no more, and sealed octets stay.
    let parts = loop {
        let writing = tokio::time::timeout(std::time::Duration::from_millis(200), connection.write(&octets));
        match writing.await {
            Ok(count) => written += count.unwrap(),
            Err(_) => break connection.into_parts(),
        }
    };
    assert!(!parts.unsent.is_empty());
    let ClientStream::Protected(stream) = parts.stream else { panic!("it was protected") };
    assert_eq!(&stream.io.received[..], toy_frame(LEVEL, b"hello"));
    let ProtectedStream { io: ClientIo { mut socket, .. }, .. } = *stream;
    let sending = async {
        socket.write_all(&parts.unsent).await.unwrap();
        socket.shutdown().await.unwrap();
    };
    let mut received = Vec::new();
    let mut gateway = gateway;
    let (_, read) = tokio::join!(sending, gateway.read_to_end(&mut received));
    read.unwrap();
    assert_eq!(unframe(&received).len(), written);
}

#[tokio::test]
async fn a_plain_connection_gives_first_what_was_received() {
    let (mut connection, mut gateway) = pair(b"hel", false).await;
    gateway.write_all(b"lo").await.unwrap();
    gateway.shutdown().await.unwrap();
    let mut all = Vec::new();
    connection.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"hello");
    let parts = connection.into_parts();
    assert!(matches!(parts.stream, ClientStream::Plain(_)) && parts.unsent.is_empty());
}
