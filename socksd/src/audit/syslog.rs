//! Records as syslog messages, RFC 5424, over a socket of this machine, UDP (RFC 5426) or TCP (RFC 6587).

mod message;

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use crate::config::{SyslogAddress, SyslogConfig};

use super::writer::{Sink, split_lines};

use message::Form;

/// How long a server may take to be connected to, and for one message.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest message in one datagram: what common servers take unless they are told otherwise.
const DATAGRAM: usize = 8 * 1024;
/// The largest message on a connection.
const FRAME: usize = 64 * 1024;

/// A server, and the connection to it once there is one.
#[derive(Debug)]
pub(super) struct Syslog {
    address: SyslogAddress,
    form: Form,
    link: Option<Link>,
}

#[derive(Debug)]
enum Link {
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Tcp(TcpStream),
}

impl Syslog {
    /// A server that need not be there yet.
    pub(super) fn new(config: &SyslogConfig) -> Self {
        let most = match config.address {
            SyslogAddress::Tcp(_) => FRAME,
            SyslogAddress::Unix(_) | SyslogAddress::Udp(_) => DATAGRAM,
        };
        Self { address: config.address.clone(), form: Form::new(config, most), link: None }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let link = match &mut self.link {
            Some(link) => link,
            none => none.insert(Link::open(&self.address)?),
        };
        let sent = link.send(message);
        if sent.is_err() {
            // A frame may be cut: the next one needs a new connection.
            self.link = None;
        }
        sent
    }
}

impl Sink for Syslog {
    fn append(&mut self, rest: &mut &[u8]) -> io::Result<()> {
        if self.link.as_ref().is_some_and(Link::was_closed) {
            self.link = None;
        }
        while !rest.is_empty() {
            let (line, later) = split_lines(rest, 1);
            if let Some(message) = self.form.message(line.trim_ascii_end()) {
                self.send(&message)?;
            }
            *rest = later;
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.link = None;
        Ok(())
    }
}

impl Link {
    fn open(address: &SyslogAddress) -> io::Result<Self> {
        match address {
            SyslogAddress::Unix(path) => unix(path).map(Self::Unix),
            SyslogAddress::Udp(server) => udp(server).map(Self::Udp),
            SyslogAddress::Tcp(server) => tcp(server).map(Self::Tcp),
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(socket) => socket.send(message).map(drop),
            Self::Udp(socket) => socket.send(message).map(drop),
            Self::Tcp(stream) => {
                // RFC 6587 section 3.4.1: octet counting.
                let frame = [format!("{} ", message.len()).as_bytes(), message].concat();
                stream.write_all(&frame)
            }
        }
    }

    /// Tells whether the server has closed a connection: what is written to it then would be lost.
    fn was_closed(&self) -> bool {
        let Self::Tcp(stream) = self else { return false };
        let mut octet = [0];
        if stream.set_nonblocking(true).is_err() {
            return true;
        }
        let peeked = stream.peek(&mut octet);
        let is_open = match &peeked {
            // Nothing is ever said in answer, but it does no harm.
            Ok(count) => *count > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        !is_open || stream.set_nonblocking(false).is_err()
    }
}

fn unix(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.connect(path)?;
    Ok(socket)
}

fn udp(server: &str) -> io::Result<UdpSocket> {
    let address = first_address(server)?;
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    Ok(socket)
}

fn tcp(server: &str) -> io::Result<TcpStream> {
    let mut last = None;
    for address in server.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_write_timeout(Some(PATIENCE))?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(no_address))
}

fn first_address(server: &str) -> io::Result<SocketAddr> {
    server.to_socket_addrs()?.next().ok_or_else(no_address)
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

#[cfg(test)]
mod tests;
