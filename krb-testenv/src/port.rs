//! A free port on loopback that stays free until the KDC has it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::error::{Error, Result};

/// How many ports are tried before giving up: each was free for TCP, so UDP is rarely in the way.
const TRIES: usize = 64;

/// A port held for both UDP and TCP.
///
/// krb5kdc shares its port with whoever asks (SO_REUSEPORT), so two that were told the same number would both start
/// and take each other's requests. While this value lives the kernel gives the number to nobody who asks for a free
/// one; the KDC, which asks for it by number and with SO_REUSEADDR, gets it.
#[derive(Debug)]
pub(crate) struct Reservation {
    port: u16,
    _tcp: OwnedFd,
    _udp: Option<OwnedFd>,
}

impl Reservation {
    /// Finds a free port and holds it.
    pub(crate) fn any() -> Result<Self> {
        for _ in 0..TRIES {
            match Self::bind(0) {
                Ok(reservation) => return Ok(reservation),
                Err(Errno::ADDRINUSE) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(Error::NoPort)
    }

    /// Holds a port for TCP alone, so that nobody else takes it and whoever calls there is refused at once.
    pub(crate) fn refusing(port: u16) -> Result<Self> {
        let tcp = tcp(port).map_err(failed)?;
        Ok(Self { port, _tcp: tcp, _udp: None })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn bind(port: u16) -> rustix::io::Result<Self> {
        let tcp = tcp(port)?;
        let port = local_port(&tcp)?;
        // Alone at first: with SO_REUSEADDR on both sides UDP would share the port of somebody else.
        let udp =
            rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::bind(&udp, &loopback(port))?;
        sockopt::set_socket_reuseaddr(&udp, true)?;
        Ok(Self { port, _tcp: tcp, _udp: Some(udp) })
    }
}

/// A socket that is bound and does not listen.
fn tcp(port: u16) -> rustix::io::Result<OwnedFd> {
    let tcp = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&tcp, true)?;
    rustix::net::bind(&tcp, &loopback(port))?;
    Ok(tcp)
}

fn loopback(port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

fn local_port(socket: &OwnedFd) -> rustix::io::Result<u16> {
    let address = SocketAddr::try_from(rustix::net::getsockname(socket)?)?;
    Ok(address.port())
}

fn failed(error: Errno) -> Error {
    Error::io("bind", "127.0.0.1")(error.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    #[test]
    fn held_ports_are_all_different_and_taken() {
        let held: Vec<_> = (0..64).map(|_| Reservation::any().unwrap()).collect();
        let ports: BTreeSet<_> = held.iter().map(Reservation::port).collect();
        assert_eq!(ports.len(), held.len());
        for port in ports {
            assert!(UdpSocket::bind(("127.0.0.1", port)).is_err(), "UDP port {port} is free");
        }
    }

    #[test]
    fn caller_at_a_held_port_is_refused() {
        let port = Reservation::any().unwrap().port();
        let held = Reservation::refusing(port).unwrap();
        assert!(TcpStream::connect(("127.0.0.1", held.port())).is_err());
    }

    #[test]
    fn listener_with_the_number_gets_a_held_port() {
        let held = Reservation::any().unwrap();
        // The standard library sets SO_REUSEADDR, as krb5kdc does.
        TcpListener::bind(("127.0.0.1", held.port())).unwrap();
    }
}
