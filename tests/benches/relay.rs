//! CPU time for each GiB that is relayed, beside microsocks and Debian's danted, with 1 and with 16 streams.
//!
//! `cargo bench -p tests --bench relay [-- --check] [--rounds N]`; with `--check` it fails when the gateway
//! takes more than half of danted's time.

use std::io::Read;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use tests::measure::{Contender, Options, in_turns, median_of, print};
use tests::targets::Server;
use tests::{Client, process, targets};

const GIB: u64 = 1 << 30;
/// What one measurement relays over all its streams, in octets.
const AMOUNT: u64 = 2 * GIB;
/// The most of danted's CPU time that the gateway may take.
const BOUND: f64 = 0.5;

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let (contenders, source) = (Contender::all(), targets::source());
    let mut missed = false;
    for streams in [1, 16] {
        let mut speeds = Vec::new();
        let series = in_turns(&contenders, options.rounds, |contender| {
            let (cpu, speed) = relay(contender, &source, streams);
            speeds.push(format!("{} {speed:.2}", contender.name));
            cpu
        });
        print(format!("CPU-seconds per GiB, {streams} stream(s)"), &series);
        println!("GiB per second in each run: {}", speeds.join(", "));
        let ratio = median_of(&series, "socksd") / median_of(&series, "danted");
        println!("socksd takes {ratio:.2} of danted's CPU time (bound: {BOUND})");
        missed |= ratio > BOUND;
    }
    if options.check && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Relays the amount; CPU-seconds per GiB and GiB per second.
fn relay(contender: &Contender, source: &Server, streams: u64) -> (f64, f64) {
    let (before, started) = (process::cpu_time(contender.pid), Instant::now());
    thread::scope(|scope| {
        for _ in 0..streams {
            scope.spawn(|| download(contender, source, AMOUNT / streams));
        }
    });
    let wall = started.elapsed().as_secs_f64();
    let cpu = process::cpu_time(contender.pid).saturating_sub(before).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a few GiB")]
    let gibs = AMOUNT as f64 / GIB as f64;
    (cpu / gibs, gibs / wall)
}

fn download(contender: &Contender, source: &Server, amount: u64) {
    let client = Client::tunnel(contender.address, source.address);
    let mut buffer = vec![0; 256 * 1024];
    let mut left = amount;
    while left > 0 {
        match client.stream().read(&mut buffer) {
            Ok(len @ 1..) => left = left.saturating_sub(len as u64),
            other => panic!("{} ended early: {other:?}", contender.name),
        }
    }
}
