//! Round trips of 64 octets through open tunnels, one at a time in each.

use std::borrow::Cow;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tests::bench::{Contender, Sample, Units};

use crate::bench::Bench;
use crate::load::{Poll, READ, Run, Tunnels};

/// What goes there and back.
pub(crate) const MESSAGE: [u8; 64] = [7; 64];
pub(crate) const TUNNELS: [usize; 2] = [1, 64];

/// What a client sends next: the message, or its next frame, which is as long as what comes back.
pub(crate) type Next = Box<dyn FnMut() -> Cow<'static, [u8]> + Send>;

pub(crate) fn measure(bench: &mut Bench) {
    let cases = bench.wanted(TUNNELS, |tunnels| name(*tunnels));
    let contenders = bench.start(&cases, Contender::plain());
    let time = bench.options.time;
    for count in cases {
        let title = format!("Round trips of {} octets, {count} tunnel(s)", MESSAGE.len());
        bench.scenario([&name(count), &title], &contenders, |it| trips(it, count, time));
    }
}

fn name(tunnels: usize) -> String {
    format!("trips/{tunnels}")
}

fn trips(contender: &Contender, count: usize, time: Duration) -> Sample {
    let same = |_| Box::new(|| Cow::Borrowed(&MESSAGE[..])) as Next;
    run(contender, &Tunnels::open(contender, count), (0..count).map(same).collect(), time)
}

/// What one server does with these tunnels, in each of which the client sends its own messages.
pub(crate) fn run(contender: &Contender, tunnels: &Tunnels, messages: Vec<Next>, time: Duration) -> Sample {
    let run = Run::default();
    let (window, done, mut times) = thread::scope(|scope| {
        scope.spawn(|| echo(&tunnels.far, &run));
        let clients = scope.spawn(|| ping(&tunnels.near, messages, &run));
        let (window, done) = run.watch(contender, time);
        (window, done, clients.join().expect("the clients do their work"))
    });
    window.sample(done, Units::PIECES).with_times(&mut times)
}

/// Sends back what comes.
fn echo(ends: &[TcpStream], run: &Run) {
    let mut poll = waiting(ends);
    while !run.is_over() {
        for (number, _) in poll.wait() {
            let (mut socket, mut room) = (ends.get(number).expect("the number of an end"), [0; 1024]);
            let count = receive(socket, &mut room);
            let octets = room.get(..count).unwrap_or_default();
            socket.write_all(octets).expect("a tunnel takes a message");
        }
    }
}

/// A client's end of a tunnel.
struct Pinger<'a> {
    socket: &'a TcpStream,
    next: Next,
    sent: Instant,
    /// How many octets are yet to come back.
    away: usize,
}

impl Pinger<'_> {
    fn send(&mut self) {
        let octets = (self.next)();
        (self.sent, self.away) = (Instant::now(), octets.len());
        self.socket.write_all(&octets).expect("a tunnel takes a message");
    }
}

/// Sends the next message when one has come back; how long each was away.
fn ping(ends: &[TcpStream], messages: Vec<Next>, run: &Run) -> Vec<u32> {
    let (mut poll, mut times) = (waiting(ends), Vec::new());
    let both = ends.iter().zip(messages);
    let mut pingers: Vec<_> =
        both.map(|(socket, next)| Pinger { socket, next, sent: Instant::now(), away: 0 }).collect();
    pingers.iter_mut().for_each(Pinger::send);
    while !run.is_over() {
        for (number, _) in poll.wait() {
            let pinger = pingers.get_mut(number).expect("the number of an end");
            pinger.away = pinger.away.saturating_sub(receive(pinger.socket, &mut [0; 256]));
            if pinger.away == 0 {
                run.keep(&mut times, pinger.sent);
                run.add(1);
                pinger.send();
            }
        }
    }
    times
}

fn waiting(ends: &[TcpStream]) -> Poll {
    let poll = Poll::new();
    ends.iter().enumerate().for_each(|(number, socket)| poll.add(socket, number, READ));
    poll
}

fn receive(mut socket: &TcpStream, room: &mut [u8]) -> usize {
    match socket.read(room) {
        Ok(0) => panic!("a tunnel ended early"),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("a tunnel ended early: {error}"),
    }
}
