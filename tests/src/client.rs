//! A SOCKS client that says exactly what a test wants said, octet by octet.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::DEADLINE;

/// One connection to the gateway.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
}

/// A reply to a request, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// REP.
    pub code: u8,
    /// BND.ADDR and BND.PORT.
    pub bound: SocketAddr,
}

/// How the gateway ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// In order: end of file.
    Closed,
    /// With a reset.
    Reset,
}

impl Client {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    #[track_caller]
    pub fn connect(gateway: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&gateway, DEADLINE).expect("the gateway listens");
        Self::over(stream)
    }

    /// Connects from an address of this machine's, such as 127.0.0.2.
    ///
    /// # Panics
    /// When nobody listens, or the address is not this machine's.
    #[track_caller]
    pub fn connect_from(source: IpAddr, gateway: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(gateway), Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(source, 0).into()).expect("an address of this machine");
        socket.connect(&gateway.into()).expect("the gateway listens");
        Self::over(socket.into())
    }

    /// Connects with a receive buffer as small as the system allows, for a client that does not read.
    ///
    /// # Panics
    /// When nobody listens.
    #[track_caller]
    pub fn connect_narrow(gateway: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(gateway), Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(1).expect("the smallest there is");
        socket.connect(&gateway.into()).expect("the gateway listens");
        Self::over(socket.into())
    }

    /// On a connection that is there already.
    ///
    /// # Panics
    /// When it is none any more.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
        stream.set_write_timeout(Some(DEADLINE)).expect("not zero");
        stream.set_nodelay(true).expect("a socket");
        Self { stream }
    }

    /// Connects, offers no authentication and asks for a target that must be granted.
    ///
    /// # Panics
    /// When it is not granted.
    #[track_caller]
    pub fn tunnel(gateway: SocketAddr, target: SocketAddr) -> Self {
        let mut client = Self::connect(gateway);
        client.open(target);
        client
    }

    /// Offers no authentication and asks for a target that must be granted.
    ///
    /// # Panics
    /// When it is not granted.
    #[track_caller]
    pub fn open(&mut self, target: SocketAddr) {
        assert_eq!(self.greet(&[0x00]), 0x00, "no authentication is accepted");
        let reply = self.connect_to(target);
        assert_eq!(reply.code, 0x00, "the request for {target} is granted");
    }

    /// The socket alone.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The client's own end of the connection.
    pub fn local(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket")
    }

    /// Sends octets as they are.
    #[track_caller]
    pub fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).expect("the gateway takes what is sent");
    }

    /// Receives exactly so many octets.
    #[track_caller]
    pub fn receive(&mut self, len: usize) -> Vec<u8> {
        let mut octets = vec![0; len];
        self.stream.read_exact(&mut octets).unwrap_or_else(|error| panic!("{len} octets expected: {error}"));
        octets
    }

    /// Receives everything up to the end of the connection, and tells how it ended.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn receive_all(&mut self) -> (Vec<u8>, End) {
        let mut octets = Vec::new();
        match self.stream.read_to_end(&mut octets) {
            Ok(_) => (octets, End::Closed),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => (octets, End::Reset),
            Err(error) => panic!("the connection should have ended: {error}"),
        }
    }

    /// Checks that exactly these octets come, and then an orderly end.
    #[track_caller]
    pub fn expect_last(&mut self, octets: &[u8]) {
        let (got, end) = self.receive_all();
        assert_eq!((got.as_slice(), end), (octets, End::Closed), "the last that the gateway says");
    }

    /// Tells whether a new client, which offers no authentication, is answered; else its connection is closed.
    pub fn is_answered(gateway: SocketAddr) -> bool {
        let client = Self::connect(gateway);
        let mut stream = client.stream();
        // Who is refused may be so before this.
        let _ = stream.write_all(&[0x05, 0x01, 0x00]);
        let mut answer = [0; 2];
        stream.read_exact(&mut answer).is_ok_and(|()| answer == [0x05, 0x00])
    }

    /// Says that nothing more will be sent.
    pub fn finish(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).expect("a socket");
    }

    /// Sends a greeting with these methods and gives the method that the gateway chose.
    #[track_caller]
    pub fn greet(&mut self, methods: &[u8]) -> u8 {
        let mut greeting = vec![0x05, u8::try_from(methods.len()).expect("at most 255 methods")];
        greeting.extend_from_slice(methods);
        self.send(&greeting);
        match *self.receive(2) {
            [0x05, method] => method,
            ref other => panic!("no method choice: {other:02x?}"),
        }
    }

    /// Sends user name and password (RFC 1929) and gives the status.
    #[track_caller]
    pub fn login(&mut self, user: &str, password: &str) -> u8 {
        let mut message = vec![0x01];
        for text in [user, password] {
            message.push(u8::try_from(text.len()).expect("at most 255 octets"));
            message.extend_from_slice(text.as_bytes());
        }
        self.send(&message);
        match *self.receive(2) {
            [0x01, status] => status,
            ref other => panic!("no status: {other:02x?}"),
        }
    }

    /// Asks for a connection to an address and gives the reply.
    #[track_caller]
    pub fn connect_to(&mut self, target: SocketAddr) -> Reply {
        self.send(&connect_request(target));
        self.reply()
    }

    /// Asks for a connection to a name and gives the reply.
    #[track_caller]
    pub fn connect_to_name(&mut self, name: &[u8], port: u16) -> Reply {
        self.send(&name_request(0x01, name, port));
        self.reply()
    }

    /// Asks the gateway to listen for a peer, and gives the first reply; the second one is yet to come.
    #[track_caller]
    pub fn bind(&mut self, peer: SocketAddr) -> Reply {
        self.send(&request(0x02, peer));
        self.reply()
    }

    /// Receives a reply.
    #[track_caller]
    pub fn reply(&mut self) -> Reply {
        let head = self.receive(4);
        let [0x05, code, 0x00, kind] = *head else { panic!("no reply: {head:02x?}") };
        let ip = match kind {
            0x01 => IpAddr::from(<[u8; 4]>::try_from(self.receive(4)).expect("four octets")),
            0x04 => IpAddr::from(<[u8; 16]>::try_from(self.receive(16)).expect("sixteen octets")),
            other => panic!("a reply with address type {other:#04x}"),
        };
        let port = u16::from_be_bytes(self.receive(2).try_into().expect("two octets"));
        Reply { code, bound: SocketAddr::new(ip, port) }
    }

    /// Receives a refusal with this code, checks that nothing but zeros and the end come with it.
    #[track_caller]
    pub fn expect_refusal(&mut self, code: u8) {
        let reply = self.reply();
        assert_eq!(reply.code, code, "the reply code");
        let unspecified = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        assert!(unspecified.contains(&reply.bound.ip()) && reply.bound.port() == 0, "{reply:?}");
        self.expect_last(b"");
    }

    /// Sends octets and checks that they come back, as from an echo.
    #[track_caller]
    pub fn expect_echo(&mut self, octets: &[u8]) {
        self.send(octets);
        assert_eq!(self.receive(octets.len()), octets, "what comes back");
    }
}

/// The octets of a CONNECT to an address.
pub fn connect_request(target: SocketAddr) -> Vec<u8> {
    request(0x01, target)
}

/// The octets of a request with an address.
pub fn request(command: u8, target: SocketAddr) -> Vec<u8> {
    let mut octets = vec![0x05, command, 0x00];
    match target.ip() {
        IpAddr::V4(ip) => {
            octets.push(0x01);
            octets.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            octets.push(0x04);
            octets.extend_from_slice(&ip.octets());
        }
    }
    octets.extend_from_slice(&target.port().to_be_bytes());
    octets
}

/// The octets of a request with a name as it is, valid or not.
///
/// # Panics
/// When the name has more than 255 octets, which no request can hold.
pub fn name_request(command: u8, name: &[u8], port: u16) -> Vec<u8> {
    let mut octets = vec![0x05, command, 0x00, 0x03, u8::try_from(name.len()).expect("at most 255 octets")];
    octets.extend_from_slice(name);
    octets.extend_from_slice(&port.to_be_bytes());
    octets
}
