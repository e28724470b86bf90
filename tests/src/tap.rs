//! A listener on the way to a gateway that keeps what passes.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::targets::{self, Server};

/// Stands between clients and a gateway, and keeps what it sees of both sides.
#[derive(Debug)]
pub struct Tap {
    server: Server,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    /// Before a gateway, on a free port.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn before(gateway: SocketAddr) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let server = targets::serve(move |near, _| {
            let far = TcpStream::connect(gateway).expect("the gateway listens");
            let back = (far.try_clone().expect("a socket"), near.try_clone().expect("a socket"));
            let other = Arc::clone(&kept);
            let backward = thread::spawn(move || copy(&back.0, &back.1, &other));
            copy(&near, &far, &kept);
            drop(backward.join());
        });
        Self { server, seen }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// All octets so far, in the order in which they passed.
    ///
    /// # Panics
    /// When a copier has.
    pub fn seen(&self) -> Vec<u8> {
        self.seen.lock().expect("no copier panics").clone()
    }
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, seen: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let octets = buffer.get(..len).unwrap_or_default();
        seen.lock().expect("no copier panics").extend_from_slice(octets);
        if to.write_all(octets).is_err() {
            return;
        }
    }
    drop(to.shutdown(Shutdown::Write));
}
