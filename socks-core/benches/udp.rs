//! What an association costs: CPU time of its own thread per datagram, for several batches and sizes.
//!
//! `cargo bench -p socks-core --bench udp` sends 400,000 datagrams to an echo over loopback for each line, with a
//! window of 32; a number as argument sends that many. Every answer is waited for, so a loss shows as a failure.
//! Without `--bench` (as `cargo test --benches` runs it) it only shows that it works.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use socks_core::relay::Way;
use socks_core::udp::{
    Association, AssociationTerms, ClientLock, DropCause, Gate, MOST_BATCHED, Outer, Tally, Verdict,
};
use socks_core::wire::{Host, Target, UdpHeader};
use socks_core::{ClientIo, ClientStream};
use tokio::runtime::{Builder, Runtime};

/// By this name the thread is found whose time counts.
const THREAD: &str = "association";
/// How many datagrams are under way at once.
const WINDOW: usize = 32;
const IDLE: Duration = Duration::from_secs(60);

/// Lets every address pass.
struct Open;

impl Gate for Open {
    fn judge(&mut self, target: &Target) -> Verdict {
        match target.host {
            Host::Ip(ip) => Verdict::Send(SocketAddr::new(ip, target.port)),
            Host::Name(_) => Verdict::Drop(DropCause::Unresolved),
        }
    }

    fn poll_resolved(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    fn admit(&mut self, _: SocketAddr) -> Result<(), DropCause> {
        Ok(())
    }

    fn take(&mut self, _: Way, datagrams: usize) -> usize {
        datagrams
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let asked = arguments.iter().find_map(|argument| argument.parse::<usize>().ok());
    let datagrams = if measured { asked.unwrap_or(400_000) } else { 2_000 };
    let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(THREAD).enable_all().build();
    let runtime = runtime.expect("a runtime can be made");
    println!("{:>6} {:>7} {:>22} {:>14}", "batch", "octets", "CPU-ns per datagram", "datagrams/s");
    for size in [64, 1200] {
        for batch in [1, 4, 16, MOST_BATCHED] {
            run(&runtime, batch, size, datagrams);
        }
    }
}

/// Sends so many datagrams there and back; each way counts as one.
fn run(runtime: &Runtime, batch: usize, size: usize, datagrams: usize) {
    let echo = bind();
    let server = echo.local_addr().expect("it is bound");
    let client = bind();
    let (control, tally) = associate(runtime, &client, batch);
    let echoing = thread::spawn(move || echo_back(&echo, datagrams));
    let mut datagram = [0; UdpHeader::MAX_ORIGIN].to_vec();
    let header = UdpHeader::write_before(server, &mut datagram).expect("a header has room");
    datagram.drain(..datagram.len() - header);
    datagram.resize(header + size, 0x5A);
    let (before, start) = (cpu_time(), Instant::now());
    let (mut sent, mut answered) = (0, 0);
    let mut answer = [0; 2048];
    while answered < datagrams {
        while sent < datagrams && sent - answered < WINDOW {
            client.send(&datagram).expect("the association takes datagrams");
            sent += 1;
        }
        // Half a window at a time, as a client does that is woken for what has come.
        for _ in 0..(WINDOW / 2).min(datagrams - answered) {
            let len = client.recv(&mut answer).expect("no datagram is lost");
            assert_eq!(answer.get(..len), Some(&datagram[..]), "the answer is what was sent");
            answered += 1;
        }
    }
    let (cpu, wall) = (cpu_time() - before, start.elapsed());
    let carried = tally.datagrams(Way::Up) + tally.datagrams(Way::Down);
    let (each, rate) = (cpu.as_nanos() as f64 / carried as f64, carried as f64 / wall.as_secs_f64());
    println!("{batch:>6} {size:>7} {each:>22.0} {rate:>14.0}");
    drop(control);
    echoing.join().expect("the echo does its part");
}

/// Starts an association for a client, and gives its control connection.
fn associate(runtime: &Runtime, client: &UdpSocket, batch: usize) -> (TcpStream, Arc<Tally>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let far = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (near, peer) = listener.accept().expect("it was connected to");
    near.set_nonblocking(true).expect("sockets can do that");
    let (inner, outer) = (bind(), bind());
    client.connect(inner.local_addr().expect("it is bound")).expect("loopback can be reached");
    let named = Target::from(client.local_addr().expect("it is bound"));
    let mut terms = AssociationTerms::new(IDLE);
    terms.batch = batch;
    let tally = Arc::clone(&terms.tally);
    runtime.spawn(async move {
        let control = tokio::net::TcpStream::from_std(near).expect("the socket is a stream");
        let association = Association {
            control: ClientStream::Plain(ClientIo::new(control)),
            client: asynchronous(inner),
            outer: Outer { v4: Some(asynchronous(outer)), v6: None },
            lock: ClientLock::new(peer, &named),
            gate: Open,
            terms,
        };
        association.run().await
    });
    (far, tally)
}

fn asynchronous(socket: UdpSocket) -> tokio::net::UdpSocket {
    socket.set_nonblocking(true).expect("sockets can do that");
    tokio::net::UdpSocket::from_std(socket).expect("the socket is for datagrams")
}

/// A blocking socket whose waits end.
fn bind() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    socket.set_read_timeout(Some(Duration::from_secs(5))).expect("5 s are not zero");
    socket
}

fn echo_back(socket: &UdpSocket, datagrams: usize) {
    let mut octets = [0; 2048];
    for _ in 0..datagrams {
        let (len, source) = socket.recv_from(&mut octets).expect("no datagram is lost");
        socket.send_to(octets.get(..len).unwrap_or_default(), source).expect("it goes back");
    }
}

/// The time that the association's thread has spent on a processor.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is there");
    let nanoseconds = tasks.flatten().map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let times = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let running = times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
        if name.trim() == THREAD { running } else { 0 }
    });
    Duration::from_nanos(nanoseconds.sum())
}
