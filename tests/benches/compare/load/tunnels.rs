//! Tunnels with both ends in this process.

use std::net::{SocketAddr, TcpListener, TcpStream};

use tests::bench::Contender;
use tests::targets;

/// Open tunnels; their sockets do not block.
#[derive(Debug)]
pub(crate) struct Tunnels {
    /// The clients' ends.
    pub(crate) near: Vec<TcpStream>,
    /// The target's ends.
    pub(crate) far: Vec<TcpStream>,
}

impl Tunnels {
    /// Opens so many, one after the other.
    pub(crate) fn open(contender: &Contender, count: usize) -> Self {
        Self::with(count, |target| contender.tunnel(target))
    }

    /// Opens so many, each by its own means.
    pub(crate) fn with(count: usize, mut open: impl FnMut(SocketAddr) -> TcpStream) -> Self {
        let listener = targets::listen();
        let target = listener.local_addr().expect("a bound listener");
        let (near, far) = (0..count).map(|_| (ready(open(target)), accept(&listener))).unzip();
        Self { near, far }
    }
}

fn accept(listener: &TcpListener) -> TcpStream {
    ready(listener.accept().expect("the tunnel has reached its target").0)
}

fn ready(socket: TcpStream) -> TcpStream {
    socket.set_nodelay(true).expect("a connected socket");
    socket.set_nonblocking(true).expect("sockets can do that");
    socket
}
