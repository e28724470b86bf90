//! Servers for the gateway to reach: each on a free port of loopback, in threads, until the process ends.

mod datagrams;
mod dns;
mod http;
mod unreachable;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use crate::DEADLINE;

pub use datagrams::{UdpEcho, udp_echo};
pub use dns::dns;
pub use http::{http, serve_http};
pub use unreachable::{Deaf, Refusing, is_open};

/// A server that a test has started.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    received: Arc<AtomicU64>,
}

impl Server {
    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    /// How many octets it has received in all, where it counts them.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::SeqCst)
    }
}

/// A server that treats each connection in a thread of its own.
///
/// # Panics
/// When loopback has no free port.
pub fn serve(treat: impl Fn(TcpStream, &AtomicU64) + Send + Sync + 'static) -> Server {
    serve_on(listen(), treat)
}

/// As [`serve`], on a listener that is there already.
///
/// # Panics
/// When the listener is not bound.
pub fn serve_on(
    listener: TcpListener,
    treat: impl Fn(TcpStream, &AtomicU64) + Send + Sync + 'static,
) -> Server {
    let address = listener.local_addr().expect("a bound listener");
    let server = Server { address, accepted: Arc::default(), received: Arc::default() };
    let (own, treat) = (server.clone(), Arc::new(treat));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            own.accepted.fetch_add(1, Ordering::SeqCst);
            let (received, treat) = (Arc::clone(&own.received), Arc::clone(&treat));
            let small = thread::Builder::new().stack_size(128 * 1024);
            small.spawn(move || treat(stream, &received)).expect("a thread");
        }
    });
    server
}

/// A listener on a free port of 127.0.0.1, with room for many that come at once.
///
/// # Panics
/// When loopback has no free port.
pub fn listen() -> TcpListener {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port on loopback");
    socket.listen(4096).expect("a bound socket");
    socket.into()
}

/// Sends back what it gets, and ends when the client has ended.
pub fn echo() -> Server {
    echo_on(listen())
}

/// As [`echo`], on a listener that is there already.
///
/// # Panics
/// When the listener is not bound.
pub fn echo_on(listener: TcpListener) -> Server {
    serve_on(listener, |stream, received| {
        let mut buffer = [0; 16 * 1024];
        while let Ok(len @ 1..) = (&stream).read(&mut buffer) {
            received.fetch_add(len as u64, Ordering::SeqCst);
            if (&stream).write_all(buffer.get(..len).unwrap_or_default()).is_err() {
                return;
            }
        }
        drop(stream.shutdown(Shutdown::Write));
    })
}

/// Swallows what it gets and says nothing.
pub fn sink() -> Server {
    serve(|stream, received| {
        let mut buffer = vec![0; 256 * 1024];
        while let Ok(len @ 1..) = (&stream).read(&mut buffer) {
            received.fetch_add(len as u64, Ordering::SeqCst);
        }
    })
}

/// Sends zeros without an end.
pub fn source() -> Server {
    serve(|mut stream, _| {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        while stream.write_all(&ZEROS).is_ok() {}
    })
}

/// Says one octet, `x`, to everybody who comes, and ends. One thread for all: it costs as little as possible.
///
/// # Panics
/// When loopback has no free port.
pub fn one_octet() -> SocketAddr {
    let listener = listen();
    let address = listener.local_addr().expect("a bound listener");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A session that was cut off at the end of a measurement is no concern of the target.
            drop(stream.write_all(b"x"));
        }
    });
    address
}

/// Sends the octets, then ends its half, and reads on until the client ends too.
pub fn farewell(octets: &'static [u8]) -> Server {
    serve(move |mut stream, received| {
        drop(stream.write_all(octets));
        drop(stream.shutdown(Shutdown::Write));
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut buffer) {
            received.fetch_add(len as u64, Ordering::SeqCst);
        }
    })
}

/// Waits for the client to end its half, and only then answers with how many octets came.
pub fn last_word() -> Server {
    serve(|mut stream, received| {
        let mut all = Vec::new();
        if stream.read_to_end(&mut all).is_ok() {
            received.fetch_add(all.len() as u64, Ordering::SeqCst);
            drop(write!(stream, "{}", all.len()));
        }
    })
}

/// Resets the connection at the first octet it gets.
pub fn resetting() -> Server {
    serve(|mut stream, _| {
        drop(stream.read(&mut [0]));
        drop(socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)));
    })
}

/// A server whose accepted connections the test takes over.
#[derive(Debug)]
pub struct Handing {
    /// Where it listens.
    pub address: SocketAddr,
    streams: Receiver<TcpStream>,
}

impl Handing {
    /// The next connection that was accepted.
    ///
    /// # Panics
    /// When none comes in time.
    #[track_caller]
    pub fn accept(&self) -> TcpStream {
        self.streams.recv_timeout(DEADLINE).expect("the gateway connects to the target")
    }
}

/// Accepts connections for the test to treat.
pub fn handing() -> Handing {
    let (listener, (give, streams)) = (listen(), mpsc::channel());
    let address = listener.local_addr().expect("a bound listener");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let timeouts: io::Result<()> = stream
                .set_read_timeout(Some(DEADLINE))
                .and_then(|()| stream.set_write_timeout(Some(DEADLINE)));
            timeouts.expect("not zero");
            if give.send(stream).is_err() {
                return;
            }
        }
    });
    Handing { address, streams }
}
