//! A raw client of UDP ASSOCIATE: it says exactly what a test wants said, datagram by datagram.

mod protected;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use bytes::{Buf, BytesMut};
use socks_core::wire::{Decode, Encode, Host, Target, UdpHeader};

pub use protected::ProtectedAssociation;

use crate::client::{Client, Reply, connect_request};
use crate::{DEADLINE, Record};

/// The largest datagram there is, and one more octet.
const ROOM: usize = 65_536;

/// An open association: its control connection, and a socket of the client's.
#[derive(Debug)]
pub struct Association {
    control: Client,
    socket: UdpSocket,
    relay: SocketAddr,
}

impl Association {
    /// Opens one without authentication, for datagrams from any port of the client's.
    ///
    /// # Panics
    /// When it is not granted.
    #[track_caller]
    pub fn open(gateway: SocketAddr) -> Self {
        let mut control = Client::connect(gateway);
        assert_eq!(control.greet(&[0x00]), 0x00, "no authentication is accepted");
        Self::over(control)
    }

    /// Opens one on a connection that is logged in, for datagrams from any port of the client's.
    ///
    /// # Panics
    /// When it is not granted.
    #[track_caller]
    pub fn over(mut control: Client) -> Self {
        let socket = UdpSocket::bind((control.local().ip(), 0)).expect("a free port");
        let reply = associate(&mut control, SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        assert_eq!(reply.code, 0x00, "the association is granted");
        Self::from_parts(control, socket, reply.bound)
    }

    /// One that was granted.
    pub fn from_parts(control: Client, socket: UdpSocket, relay: SocketAddr) -> Self {
        socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
        Self { control, socket, relay }
    }

    /// Where datagrams are sent to: what the gateway's reply has said.
    pub fn relay(&self) -> SocketAddr {
        self.relay
    }

    /// The control connection.
    pub fn control(&mut self) -> &mut Client {
        &mut self.control
    }

    /// The client's own end of the control connection.
    pub fn client(&self) -> SocketAddr {
        self.control.local()
    }

    /// The client's socket.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Sends octets to the relay as they are.
    #[track_caller]
    pub fn send_raw(&self, octets: &[u8]) {
        self.socket.send_to(octets, self.relay).expect("a socket takes a datagram");
    }

    /// Sends user data to a target.
    #[track_caller]
    pub fn send(&self, target: &Target, data: &[u8]) {
        self.send_raw(&datagram(0, target, data));
    }

    /// Receives a datagram through the relay: where it came from, and the user data.
    ///
    /// # Panics
    /// When none comes in time, or it is none of the relay's.
    #[track_caller]
    pub fn receive(&self) -> (SocketAddr, Vec<u8>) {
        let (octets, from) = receive(&self.socket);
        assert_eq!(from, self.relay, "datagrams come from where they are sent to");
        parse(&octets)
    }

    /// Sends user data to an echo and checks that it comes back from there.
    #[track_caller]
    pub fn expect_echo(&self, target: &Target, from: SocketAddr, data: &[u8]) {
        self.send(target, data);
        assert_eq!(self.receive(), (from, data.to_vec()), "what comes back from {target}");
    }

    /// Ends the control connection and gives its address, by which the record is found.
    pub fn end(self) -> SocketAddr {
        self.control.local()
    }
}

/// Asks for an association for datagrams from `from`; gives the reply.
#[track_caller]
pub fn associate(control: &mut Client, from: SocketAddr) -> Reply {
    let mut request = connect_request(from);
    if let Some(command) = request.get_mut(1) {
        *command = 0x03;
    }
    control.send(&request);
    control.reply()
}

/// A datagram as a client sends it (RFC 1928 section 7).
pub fn datagram(fragment: u8, target: &Target, data: &[u8]) -> Vec<u8> {
    let mut octets = BytesMut::new();
    UdpHeader { fragment, target: target.clone() }.encode(&mut octets);
    octets.extend_from_slice(data);
    octets.to_vec()
}

/// What a datagram of the relay's says: where it came from, and the user data.
///
/// # Panics
/// When it has no whole header, is a fragment, or names no address.
#[track_caller]
pub fn parse(octets: &[u8]) -> (SocketAddr, Vec<u8>) {
    let mut octets = BytesMut::from(octets);
    let header = UdpHeader::decode(&mut octets).expect("a valid header").expect("a whole header");
    assert_eq!(header.fragment, 0, "towards the client nothing is fragmented");
    let Host::Ip(ip) = header.target.host else { panic!("an origin by name: {}", header.target) };
    (SocketAddr::new(ip, header.target.port), octets.copy_to_bytes(octets.len()).to_vec())
}

/// A socket on a free port of an address of this machine, which does not wait for ever.
///
/// # Panics
/// When the address is none of this machine's.
#[track_caller]
pub fn socket(ip: IpAddr) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap_or_else(|error| panic!("{ip}: {error}"));
    socket.set_read_timeout(Some(DEADLINE)).expect("not zero");
    socket
}

/// Receives one datagram and its sender.
///
/// # Panics
/// When none comes in time.
#[track_caller]
pub fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut octets = vec![0; ROOM];
    let (len, from) = socket.recv_from(&mut octets).unwrap_or_else(|error| panic!("no datagram: {error}"));
    octets.truncate(len);
    (octets, from)
}

/// Checks that nothing has come to a socket. To be asked once something behind it has arrived elsewhere.
///
/// # Panics
/// When something has.
#[track_caller]
pub fn expect_nothing(socket: &UdpSocket) {
    socket.set_nonblocking(true).expect("sockets can do that");
    let came = socket.recv_from(&mut [0; 64]);
    assert!(came.is_err(), "a datagram of {came:?} has come");
    socket.set_nonblocking(false).expect("sockets can do that");
}

impl Record {
    /// How many datagrams of an association were dropped for that cause.
    pub fn drops(&self, cause: &str) -> u64 {
        self.0.pointer(&format!("/drops/{cause}")).and_then(serde_json::Value::as_u64).unwrap_or_default()
    }
}
