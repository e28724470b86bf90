//! A raw client with a Kerberos ticket on a TCP connection: what it sends is sealed and cut as a test wants.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use bytes::BytesMut;
use socks_client::{ClientAuth, Exchange, Gssapi, Level};
use socks_core::wire::{Decode, Reply};
use socks_core::{ClientIo, ClientStream, Protection, Sealing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;

use crate::{DEADLINE, client};

/// The services' principal: no name has to be looked up.
const SERVICE: &str = "socks/localhost@EXAMPLE.TEST";

/// A connection that is logged in.
///
/// It takes the ticket of the process's environment: see [`site::inside`](crate::site::inside).
#[derive(Debug)]
pub struct SealedClient {
    socket: TcpStream,
    protection: Protection,
    /// Octets of frames that are not yet opened.
    received: BytesMut,
    /// What was in the others.
    plaintext: BytesMut,
}

impl SealedClient {
    /// Logs in.
    ///
    /// # Panics
    /// When the gateway does not let it.
    #[track_caller]
    pub fn log_in(gateway: SocketAddr, level: Level) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let (io, protection) = runtime.block_on(log_in(gateway, level));
        let socket = io.socket.into_std().expect("a socket");
        socket.set_nonblocking(false).expect("sockets can do that");
        socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
        socket.set_write_timeout(Some(DEADLINE)).expect("not zero");
        Self { socket, protection, received: io.received, plaintext: BytesMut::new() }
    }

    /// The client's own end of the connection.
    pub fn local(&self) -> SocketAddr {
        self.socket.local_addr().expect("a connected socket")
    }

    /// The frame of some octets (RFC 1961 section 5).
    #[track_caller]
    pub fn seal(&mut self, octets: &[u8]) -> Vec<u8> {
        seal(&mut self.protection, octets)
    }

    /// Sends octets as they are.
    #[track_caller]
    pub fn send_raw(&mut self, octets: &[u8]) {
        self.socket.write_all(octets).expect("the gateway takes what is sent");
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.socket.shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// Receives a reply.
    ///
    /// # Panics
    /// When none comes in time, or it names no address.
    #[track_caller]
    pub fn reply(&mut self) -> client::Reply {
        loop {
            if let Some(reply) = Reply::decode(&mut self.plaintext).expect("a valid reply") {
                let bound = reply.bound.to_string().parse().expect("an address");
                return client::Reply { code: reply.code.0, bound };
            }
            self.open_one();
        }
    }

    /// Receives exactly so many octets, from as many frames as they come in.
    #[track_caller]
    pub fn receive(&mut self, len: usize) -> Vec<u8> {
        while self.plaintext.len() < len {
            self.open_one();
        }
        self.plaintext.split_to(len).to_vec()
    }

    #[track_caller]
    fn open_one(&mut self) {
        let len = loop {
            let len = self.protection.frame_len(&self.received).expect("a frame");
            match len.filter(|len| *len <= self.received.len()) {
                Some(len) => break len,
                None => self.read(),
            }
        };
        let mut frame = self.received.split_to(len);
        let opened = self.protection.open(&mut frame).expect("a frame of this connection's");
        self.plaintext.extend_from_slice(frame.get(opened.plaintext).expect("it is in the frame"));
    }

    #[track_caller]
    fn read(&mut self) {
        let mut octets = [0; 4096];
        let len = self.socket.read(&mut octets).unwrap_or_else(|error| panic!("nothing came: {error}"));
        assert!(len > 0, "the gateway has ended the connection");
        self.received.extend_from_slice(octets.get(..len).unwrap_or_default());
    }
}

/// Connects and logs in, over GSSAPI at that level; what was received behind that comes along.
///
/// # Panics
/// When the gateway does not let it.
pub(crate) async fn log_in(gateway: SocketAddr, level: Level) -> (ClientIo, Protection) {
    let mut socket = tokio::net::TcpStream::connect(gateway).await.expect("the gateway listens");
    socket.write_all(&[0x05, 0x01, 0x01]).await.expect("the gateway takes a greeting");
    let mut choice = [0; 2];
    socket.read_exact(&mut choice).await.expect("the gateway answers");
    assert_eq!(choice, [0x05, 0x01], "GSSAPI is chosen");
    let gssapi = Gssapi::new(level).service_name(SERVICE.parse().expect("a principal"));
    let (place, mut received) = (gateway.into(), BytesMut::new());
    let mut exchange = Exchange::new(&mut socket, &mut received, &place);
    let protection = gssapi.authenticate(&mut exchange).await;
    let protection = protection.unwrap_or_else(|error| panic!("the login failed: {error:?}"));
    let ClientStream::Protected(stream) = ClientStream::new(ClientIo { socket, received }, protection) else {
        panic!("{gateway} protects nothing");
    };
    (stream.io, stream.protection)
}

/// The frame of some octets, under the next number of that protection.
#[track_caller]
pub(crate) fn seal(protection: &mut Protection, octets: &[u8]) -> Vec<u8> {
    let room = protection.seal.room();
    let mut buffer = [&vec![0; room.head], octets, &vec![0; room.tail]].concat();
    let mut message = Sealing { range: room.head..room.head + octets.len(), buffer: &mut buffer };
    protection.seal(&mut message).expect("the message has room");
    let range = message.range;
    buffer.get(range).expect("the frame is in the buffer").to_vec()
}
