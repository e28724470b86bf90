//! Large transfers: octets per second and processor time for a GiB, with few streams and with many.

use std::fmt;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use tests::bench::{Contender, Sample, Units};

use crate::bench::Bench;
use crate::load::{Poll, READ, Run, Tunnels, WRITE};

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// What a source writes at a time, always the same octets.
static CHUNK: [u8; 256 * 1024] = [0; 256 * 1024];
/// What a sink throws away at a time.
const SINK: usize = 1024 * 1024;

/// Which way octets go.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    way: &'static str,
    /// The clients send.
    up: bool,
    /// The target sends.
    down: bool,
    streams: usize,
}

/// What is done at one end of the tunnels.
#[derive(Clone, Copy)]
struct Work {
    sends: bool,
    receives: bool,
}

pub(crate) fn measure(bench: &mut Bench) {
    let ways = [("down", false, true), ("up", true, false), ("both", true, true)];
    let cases = ways
        .into_iter()
        .flat_map(|(way, up, down)| [1, 16, 256].map(|streams| Case { way, up, down, streams }));
    let cases = bench.wanted(cases, Case::to_string);
    let contenders = bench.start(&cases, Contender::plain());
    let time = bench.options.time;
    for case in cases {
        let title = format!("Large transfers {}, {} stream(s)", case.words(), case.streams);
        bench.scenario([&case.to_string(), &title], &contenders, |it| carry(it, case, time));
    }
}

impl Case {
    /// To the clients.
    pub(crate) fn down(streams: usize) -> Self {
        Self { way: "down", up: false, down: true, streams }
    }

    fn words(&self) -> &'static str {
        match (self.up, self.down) {
            (true, true) => "both ways at once",
            (true, false) => "to the target",
            _ => "to the client",
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bulk/{}/{}", self.way, self.streams)
    }
}

/// What one server does with so many streams.
pub(crate) fn carry(contender: &Contender, case: Case, time: Duration) -> Sample {
    let (tunnels, run) = (Tunnels::open(contender, case.streams), Run::default());
    let near = Work { sends: case.up, receives: case.down };
    let far = Work { sends: case.down, receives: case.up };
    let (window, octets) = thread::scope(|scope| {
        scope.spawn(|| pump(&tunnels.near, near, &run));
        scope.spawn(|| pump(&tunnels.far, far, &run));
        run.watch(contender, time)
    });
    window.sample(octets / GIB, Units::GIB)
}

/// Sends and receives at one end of all tunnels until the run is over; what is received is not even read.
fn pump(ends: &[TcpStream], work: Work, run: &Run) {
    let (mut poll, mut room) = (Poll::new(), vec![0; SINK]);
    for (number, socket) in ends.iter().enumerate() {
        let flags = if work.receives { READ } else { WRITE };
        poll.add(socket, number, if work.sends { flags | WRITE } else { flags });
    }
    while !run.is_over() {
        for (number, flags) in poll.wait() {
            let socket = ends.get(number).expect("the number of an end");
            if flags.contains(READ) {
                run.add(discard(socket, &mut room));
            }
            if flags.contains(WRITE) {
                send(socket);
            }
        }
    }
}

fn discard(socket: &TcpStream, room: &mut [u8]) -> u64 {
    match recv(socket, room, RecvFlags::TRUNC) {
        Ok((_, 0)) => panic!("a stream ended early"),
        Ok((_, count)) => count as u64,
        Err(Errno::AGAIN | Errno::INTR) => 0,
        Err(error) => panic!("a stream ended early: {error}"),
    }
}

fn send(mut socket: &TcpStream) {
    match socket.write(&CHUNK) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
        Err(error) => panic!("a stream ended early: {error}"),
    }
}
