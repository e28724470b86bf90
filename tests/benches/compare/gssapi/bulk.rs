//! Protected streams beside MIT's library and Dante's server, and beside what engine and relay cost alone.
//!
//! So that the client is not what limits a server, what it sends is sealed before the clock runs, and what it
//! receives is thrown away. Every stream carries a fixed amount, so that each server takes about the same time.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use socks_client::Level;
use socks_core::relay::Way;
use tests::bench::{Contender, Sample, Units, Window};

use super::carry::Targets;
use super::copying::{self, Copying};
use super::engine;
use super::site::{DANTE, MIT, Site};
use super::tunnel::Tunnel;
use super::{LEVELS, PREFIX};
use crate::bench::{Bench, Named};

const MIB: u64 = 1 << 20;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// What is sealed before the clock runs, in octets for each second.
const MOST_SEALED: u64 = 256 * MIB;
const STREAMS: [usize; 2] = [1, 16];

/// What is measured.
enum Runner {
    Server(Contender),
    Engine,
    Copying(Copying),
}

/// Where the octets go, and how they are protected.
#[derive(Clone, Copy)]
struct Case {
    level: Level,
    way: Way,
    streams: usize,
}

pub(super) fn names() -> Vec<String> {
    cases().iter().map(Case::to_string).collect()
}

fn cases() -> Vec<Case> {
    let ways = LEVELS.into_iter().flat_map(|level| [Way::Down, Way::Up].map(|way| (level, way)));
    ways.flat_map(|(level, way)| STREAMS.map(|streams| Case { level, way, streams })).collect()
}

pub(super) fn measure(bench: &mut Bench, site: &Site) {
    let cases = bench.wanted(cases(), Case::to_string);
    let servers = site.start(bench, &cases, &[Contender::OURS, Contender::FULL, MIT, DANTE]);
    let mut runners: Vec<_> = servers.into_iter().map(Runner::Server).collect();
    if bench.options.want_contender(engine::NAME) {
        runners.push(Runner::Engine);
    }
    if bench.options.want_contender(copying::NAME) {
        runners.push(Runner::Copying(Copying::start()));
    }
    let (targets, time) = (Targets::start(), bench.options.time);
    for case in cases {
        bench.scenario([&case.to_string(), &case.title()], &runners, |runner| {
            runner.run(case, &targets, time)
        });
    }
}

impl Case {
    fn title(&self) -> String {
        let way = if self.way == Way::Up { "to the target" } else { "to the client" };
        format!("Large transfers at {}, {way}, {} stream(s)", self.level, self.streams)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.way == Way::Up { "up" } else { "down" };
        write!(f, "{PREFIX}bulk/{}/{way}/{}", self.level, self.streams)
    }
}

impl Named for Runner {
    fn name(&self) -> &str {
        match self {
            Self::Server(server) => server.name(),
            Self::Engine => engine::NAME,
            Self::Copying(_) => copying::NAME,
        }
    }

    fn memory(&self) -> Option<u64> {
        match self {
            Self::Server(server) => server.memory(),
            Self::Engine | Self::Copying(_) => None,
        }
    }
}

impl Runner {
    /// How much it carries, so that each takes about so long; what is sent to a target is kept in memory.
    fn amount(&self, case: Case, time: Duration) -> u64 {
        let a_second = match self {
            Self::Server(server) if [MIT, DANTE].contains(&server.name()) => 128 * MIB,
            Self::Engine => 256 * MIB,
            Self::Server(_) | Self::Copying(_) => 512 * MIB,
        };
        let a_second = if case.level == Level::Integrity { a_second * 2 } else { a_second };
        let a_second = if case.way == Way::Up { a_second.min(MOST_SEALED) } else { a_second };
        let millis = u64::try_from(time.as_millis()).unwrap_or(1000).min(1000);
        a_second * millis / 1000
    }

    fn run(&self, case: Case, targets: &Targets, time: Duration) -> Sample {
        let octets = self.amount(case, time);
        let carry = |open: &dyn Fn(SocketAddr) -> Tunnel, cpu: &dyn Fn() -> Duration| {
            let tunnels = (0..case.streams).map(|_| open(targets.address(case.way))).collect();
            targets.carry(tunnels, (case.way, octets / case.streams as u64), cpu)
        };
        let window = match self {
            Self::Server(server) => {
                let address = server.address().expect("a server");
                carry(&|target| Tunnel::open(address, case.level, target), &|| server.cpu_time())
            }
            Self::Copying(copying) => {
                let window = carry(&|target| copying.tunnel(target), &|| copying.cpu_time());
                // Its thread is one of this process.
                Window { generator: window.generator.saturating_sub(window.server), ..window }
            }
            Self::Engine => {
                let cpu = engine::work(case.level, case.way, octets);
                Window { wall: cpu, server: cpu, generator: Duration::ZERO, busiest: Duration::ZERO }
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "some GiB")]
        let gibs = octets as f64 / GIB;
        window.sample(gibs, Units::GIB)
    }
}
