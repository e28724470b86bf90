//! Targets for datagrams.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// A server that sends each datagram back to where it came from.
#[derive(Debug, Clone)]
pub struct UdpEcho {
    /// Where it is reached.
    pub address: SocketAddr,
    received: Arc<AtomicU64>,
}

impl UdpEcho {
    /// How many datagrams have come.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }
}

/// Sends datagrams back, on a free port of an address of this machine, until the process ends.
///
/// # Panics
/// When the address is none of this machine's.
pub fn udp_echo(ip: IpAddr) -> UdpEcho {
    let socket = UdpSocket::bind((ip, 0)).unwrap_or_else(|error| panic!("{ip}: {error}"));
    let address = socket.local_addr().expect("a bound socket");
    let echo = UdpEcho { address, received: Arc::default() };
    let received = Arc::clone(&echo.received);
    thread::spawn(move || {
        let mut octets = vec![0; 65_536];
        loop {
            // What a receiver that is gone makes of a datagram is no concern of the next one.
            let Ok((len, from)) = socket.recv_from(&mut octets) else { continue };
            received.fetch_add(1, Ordering::SeqCst);
            drop(socket.send_to(octets.get(..len).unwrap_or_default(), from));
        }
    });
    echo
}
