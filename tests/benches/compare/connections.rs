//! Short sessions: how many a second, and what each costs.
//!
//! A session is: connect, greeting, request, one octet from the target, end. One thread runs all clients, another
//! one is the target.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use std::{mem, thread};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use tests::bench::{Contender, Quantity, Sample, Units};
use tests::client::connect_request;
use tests::targets;

use crate::bench::Bench;
use crate::load::{Poll, READ_AT_EDGES, Run};

pub(crate) fn measure(bench: &mut Bench) {
    let cases = bench.wanted([1, 64, 512], |in_flight| name(*in_flight));
    let contenders = bench.start(&cases, Contender::plain());
    let (target, time) = (targets::one_octet(), bench.options.time);
    for in_flight in cases {
        let title = format!("Short sessions, {in_flight} in flight");
        bench.scenario([&name(in_flight), &title], &contenders, |it| sessions(it, target, in_flight, time));
    }
}

fn name(in_flight: usize) -> String {
    format!("connections/{in_flight}")
}

/// What one server does with so many sessions at a time.
pub(crate) fn sessions(
    contender: &Contender,
    target: SocketAddr,
    in_flight: usize,
    time: Duration,
) -> Sample {
    let run = Run::default();
    let (window, done, mut told) = thread::scope(|scope| {
        let clients = scope.spawn(|| Clients::new(contender, target, &run).run(in_flight));
        let (window, done) = run.watch(contender, time);
        (window, done, clients.join().expect("the clients do their work"))
    });
    let sample = window.sample(done, Units::PIECES).with_times(&mut told.times);
    sample.with(Quantity::Failed, told.failed, "")
}

/// All clients of a run.
struct Clients<'a> {
    poll: Poll,
    /// Where clients connect to: the server, or the target without one.
    first: SocketAddr,
    /// What a server is asked for.
    request: Option<Vec<u8>>,
    run: &'a Run,
    told: Told,
}

/// What the clients have seen.
#[derive(Default)]
struct Told {
    /// How long sessions took, in nanoseconds.
    times: Vec<u32>,
    failed: f64,
}

struct Session {
    socket: OwnedFd,
    begun: Instant,
    greeted: bool,
    asked: bool,
    heard: Vec<u8>,
}

/// How far a session is after an event.
enum Step {
    Goes,
    Done,
    Failed,
}

impl<'a> Clients<'a> {
    fn new(contender: &Contender, target: SocketAddr, run: &'a Run) -> Self {
        let server = contender.address();
        let request = server.map(|_| connect_request(target));
        Self { poll: Poll::new(), first: server.unwrap_or(target), request, run, told: Told::default() }
    }

    fn run(mut self, in_flight: usize) -> Told {
        let mut sessions: Vec<_> = (0..in_flight).map(|number| self.begin(number, Vec::new())).collect();
        while !self.run.is_over() {
            for (number, flags) in self.poll.wait() {
                let session = sessions.get_mut(number).expect("the number of a session");
                match session.go_on(flags, self.request.as_deref()) {
                    Step::Goes => continue,
                    Step::Done => {
                        self.run.keep(&mut self.told.times, session.begun);
                        self.run.add(1);
                    }
                    Step::Failed if self.run.counts() => self.told.failed += 1.0,
                    Step::Failed => {}
                }
                let heard = mem::take(&mut session.heard);
                // Its socket is closed here.
                *session = self.begin(number, heard);
            }
        }
        self.told
    }

    /// Connects; the room for what is heard comes from the session before.
    fn begin(&self, number: usize, mut heard: Vec<u8>) -> Session {
        heard.clear();
        let begun = Instant::now();
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
        let socket = socket.expect("a descriptor is left");
        match net::connect(&socket, &self.first) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => panic!("connecting to {}: {error}", self.first),
        }
        let mut session =
            Session { socket, begun, greeted: self.request.is_none(), asked: self.request.is_none(), heard };
        // On loopback the connection is there already; if not, the socket says when it is.
        session.greet();
        self.poll.add(&session.socket, number, READ_AT_EDGES);
        session
    }
}

impl Session {
    fn greet(&mut self) {
        if !self.greeted {
            self.greeted = self.send(&[0x05, 0x01, 0x00]);
        }
    }

    fn send(&self, octets: &[u8]) -> bool {
        net::send(&self.socket, octets, SendFlags::NOSIGNAL).is_ok()
    }

    fn go_on(&mut self, flags: EventFlags, request: Option<&[u8]>) -> Step {
        self.greet();
        let ended = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        loop {
            let mut room = [0; 64];
            match net::recv(&self.socket, &mut room, RecvFlags::empty()) {
                Ok((_, 0)) => return if self.is_whole() { Step::Done } else { Step::Failed },
                Ok((_, count)) => self.heard.extend_from_slice(room.get(..count).unwrap_or_default()),
                Err(Errno::AGAIN | Errno::INTR) => return Step::Goes,
                Err(_) => return Step::Failed,
            }
            if let (false, Some(request), [0x05, 0x00, ..]) = (self.asked, request, self.heard.as_slice()) {
                self.asked = self.send(request);
            }
            if !ended {
                // What comes later brings an event of its own.
                return Step::Goes;
            }
        }
    }

    /// Tells whether everything was heard that belongs to a session.
    fn is_whole(&self) -> bool {
        match self.heard.as_slice() {
            [b'x'] => true,
            [0x05, 0x00, 0x05, 0x00, 0x00, 0x01, rest @ ..] => rest.len() == 7 && rest.ends_with(b"x"),
            [0x05, 0x00, 0x05, 0x00, 0x00, 0x04, rest @ ..] => rest.len() == 19 && rest.ends_with(b"x"),
            _ => false,
        }
    }
}
