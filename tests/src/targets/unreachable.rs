//! Targets that cannot be reached, each in its way.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, SockAddr, Socket, Type};

/// A port that refuses every connection for as long as this lives.
#[derive(Debug)]
pub struct Refusing {
    /// The port's address.
    pub address: SocketAddr,
    // Bound, so that nobody else gets the port; not listening, so that the kernel refuses.
    _socket: Socket,
}

impl Default for Refusing {
    fn default() -> Self {
        Self::new()
    }
}

impl Refusing {
    /// Takes a port that nobody listens on.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn new() -> Self {
        let socket = bound();
        Self { address: address(&socket), _socket: socket }
    }
}

/// A port that neither accepts nor refuses: connecting to it never ends.
#[derive(Debug)]
pub struct Deaf {
    /// The port's address.
    pub address: SocketAddr,
    _socket: Socket,
    // The connections that fill its queue.
    _queue: Vec<Socket>,
}

impl Default for Deaf {
    fn default() -> Self {
        Self::new()
    }
}

impl Deaf {
    /// Fills a listener's queue, which nobody will ever empty.
    ///
    /// # Panics
    /// When the queue does not fill up.
    pub fn new() -> Self {
        let socket = bound();
        socket.listen(0).expect("a bound socket");
        let address = address(&socket);
        let mut queue = Vec::new();
        // listen(2) with 0 leaves room for one; more are tried for kernels that round up.
        for _ in 0..16 {
            let filler = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let wait = std::time::Duration::from_millis(200);
            let full = filler.connect_timeout(&SockAddr::from(address), wait).is_err();
            queue.push(filler);
            if full {
                return Self { address, _socket: socket, _queue: queue };
            }
        }
        panic!("the listener's queue does not fill up")
    }
}

fn bound() -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port on loopback");
    socket
}

fn address(socket: &Socket) -> SocketAddr {
    socket.local_addr().ok().and_then(|address| address.as_socket()).expect("a bound socket")
}

/// Tells whether a port takes connections.
pub fn is_open(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, std::time::Duration::from_secs(1)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_refuses_and_the_other_never_answers() {
        let (refusing, deaf) = (Refusing::new(), Deaf::new());
        let wait = Duration::from_millis(500);
        let error = |address| TcpStream::connect_timeout(&address, wait).expect_err("nobody listens").kind();
        assert_eq!(error(refusing.address), ErrorKind::ConnectionRefused);
        assert_eq!(error(deaf.address), ErrorKind::TimedOut);
    }
}
