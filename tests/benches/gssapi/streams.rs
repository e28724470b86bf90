//! One protected stream: octets per second and processor time, side by side with MIT's library and Dante's server,
//! and with what engine and relay cost alone.

use std::fmt;
use std::time::Duration;

use socks_client::Level;
use socks_core::relay::Way;
use tests::measure::{self, Bounds, Contender, Options, Series, median_of, print};
use tests::process;

use crate::carry::{Carried, Targets};
use crate::copying::Copying;
use crate::engine;
use crate::site::Site;
use crate::tunnel::Tunnel;

const MIB: u64 = 1 << 20;
/// The least processor time of the client's thread, as a part of the time on the clock, that limits a server.
const BUSY: f64 = 0.9;

const OURS: &str = "socksd";
const MIT: &str = "socksd mit";
const DANTE: &str = "dante";
const ENGINE: &str = "engine";
const COPYING: &str = "copying";

/// What is measured.
enum Runner {
    Server(Contender),
    Engine,
    Copying(Copying),
}

/// What one measurement gave.
struct Figures {
    /// MiB per second.
    rate: f64,
    /// CPU-seconds per GiB.
    cost: f64,
    /// The part of the time that the client's thread worked.
    client: f64,
}

/// Where the octets go, and how they are protected.
#[derive(Clone, Copy)]
struct Case {
    level: Level,
    way: Way,
}

/// Measures both levels and both ways, as far as they are wanted.
pub(crate) fn measure(site: &Site, options: Options, bounds: &mut Bounds) {
    let levels = [Level::Confidentiality, Level::Integrity];
    let cases = levels.into_iter().flat_map(|level| [Way::Down, Way::Up].map(|way| Case { level, way }));
    let cases: Vec<_> = cases.filter(|case| options.want(&format!("streams: {case}"))).collect();
    if cases.is_empty() {
        return;
    }
    let runners = [
        Runner::Server(site.gateway(OURS, "own")),
        Runner::Server(site.gateway(MIT, "mit")),
        Runner::Server(site.dante()),
        Runner::Engine,
        Runner::Copying(Copying::start()),
    ];
    let targets = Targets::start();
    for case in cases {
        let all = measure::turns(&runners, options.rounds, |runner| runner.run(case, &targets));
        judge(case, &runners, &all, bounds);
    }
}

fn judge(case: Case, runners: &[Runner], all: &[Vec<Figures>], bounds: &mut Bounds) {
    let series = |figure: fn(&Figures) -> f64| -> Vec<Series> {
        let named = runners.iter().zip(all);
        named
            .map(|(runner, all)| Series { name: runner.name(), figures: all.iter().map(figure).collect() })
            .collect()
    };
    let (rates, costs) = (series(|it| it.rate), series(|it| it.cost));
    let title = format!("{case}, one stream");
    print(format!("MiB per second: {title}"), &rates);
    print(format!("CPU-seconds per GiB: {title}"), &costs);
    let busy = series(|it| it.client);
    for series in busy.iter().filter(|series| series.median() >= BUSY) {
        println!(
            "the client was the limit of {}: its thread worked {:.0} %",
            series.name,
            series.median() * 100.0
        );
    }
    let (rate, cost) = (|name| median_of(&rates, name), |name| median_of(&costs, name));
    let secret = case.level == Level::Confidentiality;
    let (to_mit, to_dante) = if secret { (4.0, 5.0) } else { (2.0, 2.0) };
    bounds.at_least(format!("{title}: times the rate of `engine: mit`"), rate(OURS) / rate(MIT), to_mit);
    bounds.at_least(format!("{title}: times the rate of Dante"), rate(OURS) / rate(DANTE), to_dante);
    if secret {
        bounds.at_most(format!("{title}: part of Dante's CPU time"), cost(OURS) / cost(DANTE), 0.2);
    }
    let sum = cost(ENGINE) + cost(COPYING);
    bounds.at_most(format!("{title}: CPU time to that of engine and copying relay"), cost(OURS) / sum, 1.1);
}

impl Runner {
    fn name(&self) -> &'static str {
        match self {
            Self::Server(server) => server.name,
            Self::Engine => ENGINE,
            Self::Copying(_) => COPYING,
        }
    }

    /// How much it carries, so that each takes about half a second.
    fn amount(&self, case: Case) -> u64 {
        match self {
            Self::Server(server) if server.name != OURS && case.level == Level::Integrity => 128 * MIB,
            Self::Server(server) if server.name != OURS => 64 * MIB,
            Self::Server(_) | Self::Copying(_) => 512 * MIB,
            Self::Engine => 256 * MIB,
        }
    }

    fn run(&self, case: Case, targets: &Targets) -> Figures {
        let (octets, Case { level, way }) = (self.amount(case), case);
        let through = |tunnel: Tunnel, cpu: &dyn Fn() -> Duration| {
            let before = cpu();
            let carried = targets.carry(tunnel, way, octets);
            Figures::of(octets, carried, cpu().saturating_sub(before))
        };
        match self {
            Self::Server(server) => {
                let tunnel = Tunnel::open(server.address, level, targets.address(way));
                through(tunnel, &|| process::cpu_time(server.pid))
            }
            Self::Copying(copying) => through(copying.tunnel(targets.address(way)), &|| copying.cpu_time()),
            Self::Engine => {
                let cpu = engine::work(level, way, octets);
                Figures::of(octets, Carried { wall: cpu, client: Duration::ZERO }, cpu)
            }
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = if self.way == Way::Up { "upload" } else { "download" };
        write!(f, "{way} at {}", self.level)
    }
}

impl Figures {
    fn of(octets: u64, carried: Carried, cpu: Duration) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "some hundred MiB")]
        let mibs = octets as f64 / MIB as f64;
        let wall = carried.wall.as_secs_f64();
        Self {
            rate: mibs / wall,
            cost: cpu.as_secs_f64() * 1024.0 / mibs,
            client: carried.client.as_secs_f64() / wall,
        }
    }
}
