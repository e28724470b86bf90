//! A window of time in which a server is watched, and the load generator with it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::{Contender, Quantity, Sample};
use crate::process;

/// The part of the time that a thread works which has no time left.
const BUSY: f64 = 0.9;
/// The part of all processors that is used when none has time left.
const FULL: f64 = 0.95;

/// What the clocks of server and load generator showed between two moments.
///
/// The generator is all of this process: clients and targets.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The time on the clock.
    pub wall: Duration,
    /// The processor time of the server with all its children.
    pub server: Duration,
    /// That of this process.
    pub generator: Duration,
    /// That of the thread of this process which worked most.
    pub busiest: Duration,
}

/// The clocks at the beginning of a window.
#[derive(Debug)]
pub struct Clocks {
    begin: Instant,
    server: Duration,
    own: Duration,
    threads: BTreeMap<u32, Duration>,
}

impl Clocks {
    /// Reads all clocks but the server's, which shows this.
    pub fn begin(server: Duration) -> Self {
        let (threads, own) = (process::thread_times(), process::own_time());
        Self { begin: Instant::now(), server, own, threads }
    }

    /// Reads them again.
    pub fn end(self, server: Duration) -> Window {
        let wall = self.begin.elapsed();
        let server = server.saturating_sub(self.server);
        let generator = process::own_time().saturating_sub(self.own);
        let used = process::thread_times()
            .into_iter()
            .map(|(id, time)| time.saturating_sub(self.threads.get(&id).copied().unwrap_or(Duration::ZERO)));
        Window { wall, server, generator, busiest: used.max().unwrap_or(Duration::ZERO) }
    }
}

impl Window {
    /// Watches for a time.
    pub fn watch(server: &Contender, time: Duration) -> Self {
        let clocks = Clocks::begin(server.cpu_time());
        thread::sleep(time);
        clocks.end(server.cpu_time())
    }

    /// Of the time on the clock.
    fn part(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.wall.as_secs_f64()
    }

    /// Tells whether the rate may have been limited by the generator rather than by the server.
    ///
    /// That is so when one of its threads had no time left, or when no processor had any left and the generator
    /// used more of them than the server. What the server's work costs is true all the same.
    pub fn generator_limits(&self, processors: f64) -> bool {
        let (server, generator) = (self.part(self.server), self.part(self.generator));
        let full = server + generator >= FULL * processors && generator > server;
        full || self.part(self.busiest) >= BUSY
    }

    /// What it says of so much work; `Server` is left out for traffic without one.
    #[expect(clippy::cast_precision_loss, reason = "there are few processors")]
    pub fn sample(&self, work: f64, units: Units) -> Sample {
        let processors = thread::available_parallelism().map_or(1.0, |count| count.get() as f64);
        let sample = Sample::new()
            .with(Quantity::Rate, work / self.wall.as_secs_f64(), units.rate)
            .with(Quantity::Generator, self.part(self.generator), "cores")
            .limited(self.generator_limits(processors));
        if self.server.is_zero() || work <= 0.0 {
            return sample;
        }
        let cost = self.server.as_secs_f64() * units.cpu_scale / work;
        sample.with(Quantity::Cpu, cost, units.cpu).with(Quantity::Server, self.part(self.server), "cores")
    }
}

/// The units in which a kind of work is told.
#[derive(Debug, Clone, Copy)]
pub struct Units {
    rate: &'static str,
    cpu: &'static str,
    cpu_scale: f64,
}

impl Units {
    /// GiB.
    pub const GIB: Self = Self { rate: "GiB/s", cpu: "s/GiB", cpu_scale: 1.0 };
    /// Whatever is counted by pieces, such as sessions.
    pub const PIECES: Self = Self { rate: "1/s", cpu: "µs", cpu_scale: 1e6 };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(server: u64, generator: u64, busiest: u64) -> Window {
        let millis = Duration::from_millis;
        let (server, generator, busiest) = (millis(server), millis(generator), millis(busiest));
        Window { wall: millis(1000), server, generator, busiest }
    }

    #[test]
    fn the_generator_limits_with_a_busy_thread_or_when_it_takes_the_processors() {
        assert!(!window(900, 600, 500).generator_limits(2.0), "half a processor is idle");
        assert!(window(700, 1000, 950).generator_limits(2.0), "one of its threads has no time left");
        assert!(window(900, 1050, 600).generator_limits(2.0), "it took more than the server");
        assert!(!window(1200, 790, 600).generator_limits(2.0), "the server took more");
    }

    #[test]
    fn work_is_told_in_its_units() {
        let sample = window(500, 250, 250).sample(2.0, Units::GIB);
        assert_eq!(sample.figures.get(&Quantity::Rate), Some(&(2.0, "GiB/s")));
        assert_eq!(sample.figures.get(&Quantity::Cpu), Some(&(0.25, "s/GiB")));
        assert_eq!(sample.figures.get(&Quantity::Server), Some(&(0.5, "cores")));
        let sample = window(0, 250, 250).sample(1000.0, Units::PIECES);
        assert_eq!(sample.figures.get(&Quantity::Rate), Some(&(1000.0, "1/s")));
        assert_eq!(sample.figures.get(&Quantity::Cpu), None, "there is no server");
    }
}
