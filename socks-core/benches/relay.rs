//! What the relay costs: CPU seconds of its own threads per GiB, for several sizes of buffers and pipes.
//!
//! `cargo bench -p socks-core --bench relay` moves 4 GiB over loopback for each line; a number as argument
//! moves that many GiB. The last lines show one stream beside 2,000 whose readers have stalled. Without `--bench` (as `cargo test --benches` runs it) it only shows that it works.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use socks_core::relay::{self, Relayer, RelayerOptions, Terms};
use socks_core::{ClientIo, ClientStream};
use tokio::runtime::{Builder, Runtime};

const KIB: usize = 1024;
const GIB: u64 = 1 << 30;
/// By this name the threads are found whose time counts.
const THREADS: &str = "relay";
const IDLE: Duration = Duration::from_secs(60);

/// One line of the table.
struct Case {
    name: String,
    options: RelayerOptions,
}

/// What one case took.
struct Cost {
    cpu: Duration,
    wall: Duration,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let asked = arguments.iter().find_map(|argument| argument.parse::<u64>().ok());
    let octets = if measured { asked.unwrap_or(4) * GIB } else { GIB / 256 };
    println!("{:<22} {:>8} {:>18} {:>10}", "relay", "streams", "CPU-seconds/GiB", "GiB/s");
    for streams in [1, 16] {
        for case in cases() {
            let bench = Bench::new(&case.options);
            bench.run(streams, octets / streams).print(&case.name, streams, octets);
        }
    }
    let bench = Bench::new(&RelayerOptions::default());
    bench.run(1, octets).print("none stalled", 1, octets);
    let stalled: Vec<_> = (0..if measured { 2000 } else { 8 }).map(|_| bench.stall()).collect();
    bench.run(1, octets).print("readers stalled", 1, octets);
    drop(stalled);
}

fn cases() -> Vec<Case> {
    let copying = [16, 32, 64, 128, 256].map(|size| Case {
        name: format!("copy {size} KiB"),
        options: RelayerOptions { pipes: 0, buffer_size: size * KIB, ..RelayerOptions::default() },
    });
    let splicing = [64, 128, 256, 512, 1024].map(|size| Case {
        name: format!("splice {size} KiB"),
        options: RelayerOptions { pipe_size: size * KIB, ..RelayerOptions::default() },
    });
    copying.into_iter().chain(splicing).collect()
}

impl Cost {
    fn print(&self, name: &str, streams: u64, octets: u64) {
        let gib = octets as f64 / GIB as f64;
        let (cpu, rate) = (self.cpu.as_secs_f64() / gib, gib / self.wall.as_secs_f64());
        println!("{name:<22} {streams:>8} {cpu:>18.3} {rate:>10.2}");
    }
}

/// A relay on a thread of its own.
struct Bench {
    relayer: Arc<Relayer>,
    runtime: Runtime,
}

impl Bench {
    fn new(options: &RelayerOptions) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(THREADS).enable_all().build();
        Self { relayer: Arc::new(Relayer::new(options)), runtime: runtime.expect("a runtime can be made") }
    }

    /// Moves `octets` through each of so many tunnels at once.
    fn run(&self, streams: u64, octets: u64) -> Cost {
        let before = cpu_time();
        let start = Instant::now();
        let far_ends: Vec<_> = (0..streams)
            .flat_map(|_| {
                let (client, target) = self.tunnel();
                [thread::spawn(move || send(client, octets)), thread::spawn(move || receive(&target, octets))]
            })
            .collect();
        for end in far_ends {
            end.join().expect("a far end does its part");
        }
        Cost { wall: start.elapsed(), cpu: cpu_time() - before }
    }

    /// Makes a tunnel whose target sends until nothing more goes, because its client does not read.
    fn stall(&self) -> (TcpStream, TcpStream) {
        let (client, mut target) = self.tunnel();
        // Only what the relay holds is to count, not what the far end would like to send.
        rustix::net::sockopt::set_socket_send_buffer_size(&target, 64 * KIB).expect("the size is allowed");
        target.set_write_timeout(Some(Duration::from_millis(20))).expect("20 ms are not zero");
        let chunk = vec![0x5A; 256 * KIB];
        while target.write(&chunk).is_ok() {}
        (client, target)
    }

    /// Starts a tunnel and gives its far ends.
    fn tunnel(&self) -> (TcpStream, TcpStream) {
        let (client, near_client) = connection();
        let (target, near_target) = connection();
        let relayer = Arc::clone(&self.relayer);
        self.runtime.spawn(async move {
            let near_client = tokio::net::TcpStream::from_std(near_client).expect("the socket is a stream");
            let near_target = tokio::net::TcpStream::from_std(near_target).expect("the socket is a stream");
            relay::prepare(&near_client);
            let client = ClientStream::Plain(ClientIo::new(near_client));
            relayer.run(client, near_target, Terms::new(IDLE)).await
        });
        (client, target)
    }
}

/// A blocking end, and one that does not block.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let far = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
    let (near, _) = listener.accept().expect("it was connected to");
    near.set_nonblocking(true).expect("sockets can do that");
    (far, near)
}

fn send(mut client: TcpStream, octets: u64) {
    let chunk = vec![0xA5; 256 * KIB];
    let mut left = octets;
    while left > 0 {
        let part = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        client.write_all(chunk.get(..part).unwrap_or_default()).expect("the relay takes octets");
        left -= part as u64;
    }
}

/// Receives without copying, so that the far ends leave the processor to the relay.
fn receive(target: &TcpStream, octets: u64) {
    let mut left = octets;
    let mut chunk = vec![0; 1024 * KIB];
    while left > 0 {
        let (_, count) = rustix::net::recv(target, &mut chunk[..], RecvFlags::TRUNC).expect("octets come");
        assert!(count > 0, "the relay ended with {left} octets missing");
        left -= count as u64;
    }
}

/// The time that the relay's threads have spent on a processor.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("/proc is there");
    let nanoseconds = tasks.flatten().map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let times = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        let running = times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
        if name.trim() == THREADS { running } else { 0 }
    });
    Duration::from_nanos(nanoseconds.sum())
}
