//! Datagrams through associations: what each costs, and how long one is away.
//!
//! Each association keeps some datagrams in flight to an echo; each way counts.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use socks_client::Level;
use socks_core::wire::Target;
use tests::bench::{Contender, Quantity, Sample, Units};
use tests::targets;
use tests::udp::{Association, ProtectedAssociation, datagram};

use crate::bench::Bench;
use crate::load::{Poll, READ, Run};

/// Datagrams in flight in all associations together; each has some.
const WINDOW: usize = 32;
const LEAST: usize = 4;
/// After so long without an answer, what is in flight is lost.
const LOST: Duration = Duration::from_millis(200);
/// Those that have no UDP.
const WITHOUT: [&str; 2] = [Contender::SPLICE, "microsocks"];

pub(crate) const SIZES: [usize; 2] = [64, 1200];
pub(crate) const ASSOCIATIONS: [usize; 2] = [1, 16];

/// What is sent, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) size: usize,
    pub(crate) associations: usize,
    /// Sealed at this level.
    pub(crate) level: Option<Level>,
}

pub(crate) fn measure(bench: &mut Bench) {
    let all = SIZES
        .into_iter()
        .flat_map(|size| ASSOCIATIONS.map(|associations| Case { size, associations, level: None }));
    let cases = bench.wanted(all, Case::name);
    let names = Contender::plain().filter(|name| !WITHOUT.contains(name));
    let contenders = bench.start(&cases, names);
    run(bench, &cases, &contenders);
}

/// Measures these contenders in each of these cases.
pub(crate) fn run(bench: &mut Bench, cases: &[Case], contenders: &[Contender]) {
    let (echo, time) = (targets::udp_echo(IpAddr::V4(Ipv4Addr::LOCALHOST)).address, bench.options.time);
    for case in cases {
        bench.scenario([&case.name(), &case.title()], contenders, |it| case.carry(it, echo, time));
    }
}

impl Case {
    pub(crate) fn name(&self) -> String {
        let Self { size, associations, level } = self;
        match level {
            None => format!("udp/{size}/{associations}"),
            Some(level) => format!("gssapi/udp/{level}/{size}/{associations}"),
        }
    }

    fn title(&self) -> String {
        let Self { size, associations, level } = self;
        let level = level.map_or_else(String::new, |level| format!(" at {level}"));
        format!("Datagrams of {size} octets{level}, {associations} association(s)")
    }

    fn carry(&self, contender: &Contender, echo: SocketAddr, time: Duration) -> Sample {
        let run = Run::default();
        let (window, done, mut told) = thread::scope(|scope| {
            let clients = scope.spawn(|| {
                let flows = (0..self.associations).map(|_| Flow::open(contender, echo, self)).collect();
                send_and_receive(flows, &run)
            });
            let (window, done) = run.watch(contender, time);
            (window, done, clients.join().expect("the clients do their work"))
        });
        let sample = window.sample(done, Units::PIECES).with_times(&mut told.times);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let lost = told.lost as f64;
        sample.with(Quantity::Failed, lost, "")
    }
}

/// What the clients have seen.
#[derive(Default)]
struct Told {
    /// How long datagrams were away, in nanoseconds.
    times: Vec<u32>,
    lost: usize,
}

/// One association, or a socket that needs none.
struct Flow {
    socket: UdpSocket,
    source: Source,
    window: usize,
    /// When those in flight were sent, the first one first: on loopback none overtakes another.
    away: VecDeque<Instant>,
    heard: Instant,
}

/// What is sent next.
enum Source {
    Same { octets: Vec<u8>, _association: Option<Association> },
    Sealed { association: Box<ProtectedAssociation>, target: Target, data: Vec<u8> },
}

impl Flow {
    fn open(contender: &Contender, echo: SocketAddr, case: &Case) -> Self {
        let data = vec![7; case.size];
        let (socket, relay, source) = match (contender.address(), case.level) {
            (None, _) => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
                (socket, echo, Source::Same { octets: data, _association: None })
            }
            (Some(server), None) => {
                let association = Association::open(server);
                let socket = association.socket().try_clone().expect("a descriptor is left");
                let (relay, octets) = (association.relay(), datagram(0, &echo.into(), &data));
                (socket, relay, Source::Same { octets, _association: Some(association) })
            }
            (Some(server), Some(level)) => {
                let association = Box::new(ProtectedAssociation::open(server, level));
                let socket = association.socket().try_clone().expect("a descriptor is left");
                let relay = association.relay();
                (socket, relay, Source::Sealed { association, target: echo.into(), data })
            }
        };
        socket.connect(relay).expect("a socket of the same family");
        socket.set_nonblocking(true).expect("sockets can do that");
        let window = (WINDOW / case.associations).max(LEAST);
        Self { socket, source, window, away: VecDeque::with_capacity(window), heard: Instant::now() }
    }

    /// Sends until enough are in flight.
    fn fill(&mut self) {
        while self.away.len() < self.window {
            let sent = match &mut self.source {
                Source::Same { octets, .. } => self.socket.send(octets),
                Source::Sealed { association, target, data } => {
                    self.socket.send(&association.seal(target, data))
                }
            };
            sent.expect("the relay is there");
            self.away.push_back(Instant::now());
        }
    }

    /// Takes one that has come back; when it was sent.
    fn take(&mut self) -> Option<Instant> {
        self.socket.recv(&mut [0; 2048]).ok()?;
        self.heard = Instant::now();
        self.away.pop_front()
    }
}

fn send_and_receive(mut flows: Vec<Flow>, run: &Run) -> Told {
    let (mut poll, mut told) = (Poll::new(), Told::default());
    flows.iter().enumerate().for_each(|(number, flow)| poll.add(&flow.socket, number, READ));
    flows.iter_mut().for_each(Flow::fill);
    while !run.is_over() {
        for (number, _) in poll.wait() {
            let flow = flows.get_mut(number).expect("the number of a flow");
            while let Some(sent) = flow.take() {
                run.keep(&mut told.times, sent);
                run.add(2);
            }
            flow.fill();
        }
        for flow in flows.iter_mut().filter(|flow| flow.heard.elapsed() > LOST) {
            if run.counts() {
                told.lost += flow.away.len();
            }
            (flow.heard, flow.away) = (Instant::now(), VecDeque::new());
            flow.fill();
        }
    }
    told
}
