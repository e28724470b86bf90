//! A tunnel through a server, with its client's end in blocking octets.
//!
//! What it receives is thrown away without being read. That the octets are right is for the tests to show.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use rustix::net::RecvFlags;
use socks_client::{Level, Parts};
use socks_core::{ClientStream, ProtectedStream, Protection, Sealing};
use tokio::runtime::Builder;

use super::site::alice;

/// The user data of one message, as the gateway's and our client's own.
pub(super) const MESSAGE: usize = 16 * 1024;
/// The messages that are sealed together.
pub(super) const LANES: usize = 16;

/// The client's end.
pub(super) struct Tunnel {
    socket: TcpStream,
    protection: Option<Protection>,
}

impl Tunnel {
    /// Logs in and connects.
    pub(super) fn open(server: SocketAddr, level: Level, target: SocketAddr) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let (socket, protection) = runtime.block_on(async {
            let connection = alice(server, level).connect(target.into()).await;
            let connection = connection.unwrap_or_else(|error| panic!("{server} at {level}: {error}"));
            let Parts { stream, .. } = connection.into_parts();
            let ClientStream::Protected(stream) = stream else { panic!("{server} protects nothing") };
            let ProtectedStream { io, protection, .. } = *stream;
            (io.socket.into_std().expect("a socket"), protection)
        });
        socket.set_nonblocking(false).expect("sockets can do that");
        Self { socket, protection: Some(protection) }
    }

    /// A client's end without protection.
    pub(super) fn plain(socket: TcpStream) -> Self {
        Self { socket, protection: None }
    }

    /// What a client sends for this user data.
    pub(super) fn sealed(&mut self, octets: &[u8]) -> Vec<u8> {
        let Some(protection) = &mut self.protection else { return octets.to_vec() };
        let room = protection.seal.room();
        let mut sealed = Vec::with_capacity(octets.len() + octets.len() / 64);
        for batch in octets.chunks(MESSAGE * LANES) {
            let mut buffers: Vec<Vec<u8>> = batch
                .chunks(MESSAGE)
                .map(|message| [&vec![0; room.head], message, &vec![0; room.tail]].concat())
                .collect();
            let mut messages: Vec<_> = buffers
                .iter_mut()
                .map(|buffer| Sealing { range: room.head..buffer.len() - room.tail, buffer })
                .collect();
            protection.seal_all(&mut messages).expect("the messages have room");
            for message in messages {
                sealed.extend_from_slice(
                    message.buffer.get(message.range).expect("the frame is in the buffer"),
                );
            }
        }
        sealed
    }

    /// Sends what was sealed.
    pub(super) fn send(&mut self, sealed: &[u8]) {
        self.socket.write_all(sealed).expect("the server takes octets");
    }

    /// The socket, once more.
    pub(super) fn socket(&self) -> TcpStream {
        self.socket.try_clone().expect("a descriptor is left")
    }

    /// Receives until the end, and counts what came, protection and all.
    pub(super) fn drain(&mut self) -> u64 {
        discard(&self.socket, u64::MAX)
    }
}

/// Receives so many octets, or all until the end, without copying them; gives how many came.
pub(super) fn discard(socket: &TcpStream, octets: u64) -> u64 {
    let (mut room, mut left) = (vec![0; 1024 * 1024], octets);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(room.len());
        let place = room.get_mut(..most).expect("no more than the room");
        match rustix::net::recv(socket, place, RecvFlags::TRUNC) {
            Ok((_, 0)) => break,
            Ok((_, count)) => left -= count as u64,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the stream ended early: {error}"),
        }
    }
    octets - left
}
