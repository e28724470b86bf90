//! A raw client of UDP ASSOCIATE with a Kerberos ticket: it seals, repeats, cuts and forges as a test wants.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use socks_client::Level;
use socks_core::wire::{Command, Reply, ReplyCode, Request, Target};
use socks_core::{ClientStream, Protection};
use tokio::runtime::Builder;

use super::{datagram, parse, receive, socket};
use crate::sealed::{log_in, seal};

/// An open association whose datagrams are sealed.
///
/// It takes the ticket of the process's environment: see [`site::inside`](crate::site::inside).
#[derive(Debug)]
pub struct ProtectedAssociation {
    control: TcpStream,
    socket: UdpSocket,
    relay: SocketAddr,
    protection: Protection,
}

impl ProtectedAssociation {
    /// Logs in and opens one, for datagrams from any port of the client's.
    ///
    /// # Panics
    /// When the gateway does not grant it.
    #[track_caller]
    pub fn open(gateway: SocketAddr, level: Level) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let (stream, bound) = runtime.block_on(associate(gateway, level));
        let ClientStream::Protected(stream) = stream else { unreachable!("it was made of a protection") };
        let control = stream.io.socket.into_std().expect("a socket");
        let mut protection = stream.protection;
        protection.open.accept_any_order();
        let ip = control.local_addr().expect("a connected socket").ip();
        Self { control, socket: socket(ip), relay: bound, protection }
    }

    /// The client's own end of the control connection.
    pub fn client(&self) -> SocketAddr {
        self.control.local_addr().expect("a connected socket")
    }

    /// The client's socket.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Where datagrams are sent to: what the gateway's reply has said.
    pub fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// The two halves that protect it.
    pub fn protection(&mut self) -> &mut Protection {
        &mut self.protection
    }

    /// The frame of a datagram (RFC 1961 section 5); each has a number of its own, in the order of sealing.
    #[track_caller]
    pub fn seal(&mut self, target: &Target, data: &[u8]) -> Vec<u8> {
        self.seal_octets(&datagram(0, target, data))
    }

    /// The frame of octets that may be no datagram.
    #[track_caller]
    pub fn seal_octets(&mut self, octets: &[u8]) -> Vec<u8> {
        seal(&mut self.protection, octets)
    }

    /// The frame of a datagram that is only signed, whatever was agreed.
    #[track_caller]
    pub fn sign(&mut self, target: &Target, data: &[u8]) -> Vec<u8> {
        let agreed = std::mem::replace(&mut self.protection.level, Level::Integrity);
        let frame = self.seal(target, data);
        self.protection.level = agreed;
        frame
    }

    /// Sends octets to the relay as they are.
    #[track_caller]
    pub fn send_raw(&self, octets: &[u8]) {
        self.socket.send_to(octets, self.relay).expect("a socket takes a datagram");
    }

    /// Sends user data to a target.
    #[track_caller]
    pub fn send(&mut self, target: &Target, data: &[u8]) {
        let frame = self.seal(target, data);
        self.send_raw(&frame);
    }

    /// Receives a datagram: where it came from, and the user data.
    ///
    /// # Panics
    /// When none comes in time, or what comes is not protected as was agreed.
    #[track_caller]
    pub fn receive(&mut self) -> (SocketAddr, Vec<u8>) {
        let (mut frame, from) = receive(&self.socket);
        assert_eq!(from, self.relay, "datagrams come from where they are sent to");
        let opened = self.protection.open(&mut frame).expect("a frame of this association's");
        parse(frame.get(opened.plaintext).expect("the plaintext is in the frame"))
    }

    /// Sends user data to an echo and checks that it comes back from there.
    #[track_caller]
    pub fn expect_echo(&mut self, echo: SocketAddr, data: &[u8]) {
        self.send(&echo.into(), data);
        assert_eq!(self.receive(), (echo, data.to_vec()), "what comes back from {echo}");
    }

    /// Ends the control connection and gives its address, by which the record is found.
    pub fn end(self) -> SocketAddr {
        self.client()
    }
}

async fn associate(gateway: SocketAddr, level: Level) -> (ClientStream, SocketAddr) {
    let (io, protection) = log_in(gateway, level).await;
    let mut stream = ClientStream::new(io, Some(protection));
    let anybody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into();
    let request = Request { command: Command::UdpAssociate, target: anybody };
    stream.send(&request).await.expect("the gateway takes a request");
    let reply: Reply = stream.receive().await.expect("the gateway replies");
    assert_eq!(reply.code, ReplyCode::SUCCEEDED, "the association is granted");
    (stream, reply.bound.to_string().parse().expect("an address"))
}
