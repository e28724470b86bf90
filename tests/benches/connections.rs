//! Sessions per second with 64 in flight, beside microsocks and Debian's danted.
//!
//! A session is: connect, greeting, request, one octet from the target, end. `cargo bench -p tests --bench
//! connections [-- --check] [--rounds N]`; with `--check` it fails when microsocks is as fast.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tests::client::Client;
use tests::measure::{Contender, Options, in_turns, median_of, print};
use tests::targets;

const IN_FLIGHT: usize = 64;
/// How long one measurement goes on.
const TIME: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let (contenders, target) = (Contender::all(), targets::one_octet());
    let series = in_turns(&contenders, options.rounds, |contender| sessions(contender.address, target));
    print(format!("sessions per second, {IN_FLIGHT} in flight"), &series);
    let ratio = median_of(&series, "socksd") / median_of(&series, "microsocks");
    println!("socksd does {ratio:.2} times what microsocks does (bound: more than 1)");
    if options.check && ratio <= 1.0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn sessions(gateway: SocketAddr, target: SocketAddr) -> f64 {
    let (done, started) = (AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        for _ in 0..IN_FLIGHT {
            scope.spawn(|| {
                while started.elapsed() < TIME {
                    let mut client = Client::tunnel(gateway, target);
                    assert_eq!(client.receive_all().0, b"x", "what the target says");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = done.into_inner() as f64;
    count / started.elapsed().as_secs_f64()
}
