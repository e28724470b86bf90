//! An established tunnel alone, and while others begin one bad login after the other.
//!
//! A bad login is garbage, or the dearest there is: a request for the service with a true ticket, changed at its very end,
//! so that the gateway decrypts all of it before it refuses.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socks_client::Level;
use socks_core::relay::Way;
use tests::DEADLINE;
use tests::bench::{Contender, Quantity, Sample};
use tests::engine::thread_time;

use super::accepts;
use super::carry::Targets;
use super::site::Site;
use super::tunnel::Tunnel;
use crate::bench::Bench;

pub(super) const NAME: &str = "gssapi/flood";
/// Connections of the flood at a time.
const CONNECTIONS: u32 = 4;
/// Logins per second of all of them; their own work must leave the processors to the gateway.
const RATE: u32 = 2000;
/// What the tunnel carries in one measurement.
const AMOUNT: u64 = 1 << 29;
/// The tunnel without a flood, in one of garbage, and in one of the dearest logins.
const CASES: [&str; 3] = ["alone", "in-garbage", "in-a-flood"];

/// Measures the tunnel's rate, alone and in the flood.
pub(super) fn measure(bench: &mut Bench, site: &Site) {
    if !bench.options.want(NAME) {
        return;
    }
    let (gateway, targets, request) = (site.gateway(Contender::OURS), Targets::start(), accepts::request());
    let title = format!("A tunnel at confidentiality, and {RATE} bad logins a second wanted");
    bench.scenario([NAME, &title], &CASES, |case| {
        let carry = || rate(&gateway, &targets);
        if *case == "alone" {
            return carry();
        }
        let login = if *case == "in-garbage" { garbage(&request) } else { dearest(&request) };
        let (sample, flood) = in_flood(gateway.address().expect("a server"), &login, carry);
        sample.note(flood)
    });
}

fn rate(gateway: &Contender, targets: &Targets) -> Sample {
    let address = gateway.address().expect("a server");
    let tunnel = Tunnel::open(address, Level::Confidentiality, targets.address(Way::Down));
    let window = targets.carry(vec![tunnel], (Way::Down, AMOUNT), &|| gateway.cpu_time());
    #[expect(clippy::cast_precision_loss, reason = "a GiB")]
    let gibs = AMOUNT as f64 / f64::from(1 << 30);
    Sample::new().with(Quantity::Rate, gibs / window.wall.as_secs_f64(), "GiB/s")
}

/// Does something while the flood lasts, and tells how the flood was.
fn in_flood(gateway: SocketAddr, login: &[u8], work: impl FnOnce() -> Sample) -> (Sample, String) {
    let (over, done, start) = (AtomicBool::new(false), AtomicU64::new(0), Instant::now());
    thread::scope(|scope| {
        let flood = || {
            let (interval, mut due) = (Duration::from_secs(1) * CONNECTIONS / RATE, Instant::now());
            while !over.load(Ordering::Relaxed) {
                refused(gateway, login).expect("the gateway refuses in order");
                done.fetch_add(1, Ordering::Relaxed);
                due = (due + interval).max(Instant::now());
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            thread_time()
        };
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(flood)).collect();
        let result = work();
        over.store(true, Ordering::Relaxed);
        let cpu: Duration = connections.into_iter().map(|it| it.join().expect("no login is let in")).sum();
        let wall = start.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "some thousand")]
        let logins = done.load(Ordering::Relaxed) as f64 / wall;
        let part = cpu.as_secs_f64() / wall;
        (result, format!("{logins:.0} bad logins a second, whose clients took {part:.2} of a processor"))
    })
}

/// One login that fails.
fn refused(gateway: SocketAddr, login: &[u8]) -> io::Result<()> {
    let mut socket = TcpStream::connect(gateway)?;
    socket.set_read_timeout(Some(DEADLINE))?;
    socket.write_all(&[0x05, 0x01, 0x01])?;
    let mut chosen = [0; 2];
    socket.read_exact(&mut chosen)?;
    assert_eq!(chosen, [0x05, 0x01], "the gateway wants GSSAPI");
    socket.write_all(login)?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    // RFC 1961 section 3.4: the abort message.
    assert_eq!(answer, [0x01, 0xFF], "the gateway refuses");
    Ok(())
}

/// A message with a request whose last octet was changed.
fn dearest(request: &[u8]) -> Vec<u8> {
    let mut token = request.to_vec();
    *token.last_mut().expect("a request has octets") ^= 0x01;
    message(&token)
}

/// A message that begins like one with a request, and goes on with anything.
fn garbage(request: &[u8]) -> Vec<u8> {
    let mut token = request.to_vec();
    token.iter_mut().skip(20).for_each(|octet| *octet = octet.wrapping_mul(37) ^ 0x5A);
    message(&token)
}

fn message(token: &[u8]) -> Vec<u8> {
    let len = u16::try_from(token.len()).expect("no PAC makes it long").to_be_bytes();
    [&[0x01, 0x01], len.as_slice(), token].concat()
}
