//! An established tunnel alone, and while others begin one bad login after the other.
//!
//! A bad login is the dearest there is: a request for the service with a true ticket, changed at its very end, so
//! that the gateway decrypts all of it before it refuses.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socks_client::Level;
use socks_core::relay::Way;
use tests::DEADLINE;
use tests::measure::{self, Bounds, Options, Series, median_of, print};

use crate::accepts;
use crate::carry::{Targets, thread_time};
use crate::site::Site;
use crate::tunnel::Tunnel;

/// Connections of the flood at a time.
const CONNECTIONS: u32 = 4;
/// Logins per second of all of them; their own work must leave the processors to the gateway.
const RATE: u32 = 2000;
/// What the tunnel carries in one measurement.
const AMOUNT: u64 = 1 << 30;
/// The least part of its rate that a tunnel keeps.
const BOUND: f64 = 0.8;

/// Measures the tunnel's rate, alone and in the flood.
pub(crate) fn measure(site: &Site, options: Options, bounds: &mut Bounds) {
    let (gateway, targets) = (site.gateway("socksd", "own"), Targets::start());
    let login = bad_login();
    let mut floods = Vec::new();
    let all = measure::turns(&[false, true], options.rounds, |&flooded| {
        let carry = || rate(gateway.address, &targets);
        if !flooded {
            return carry();
        }
        let (rate, flood) = in_flood(gateway.address, &login, carry);
        floods.push(flood);
        rate
    });
    let named = ["alone", "in a flood"].into_iter().zip(all);
    let series: Vec<_> = named.map(|(name, figures)| Series { name, figures }).collect();
    print(format!("MiB per second of a tunnel, {RATE} bad logins a second wanted"), &series);
    println!(
        "bad logins a second, and the part of a processor that their clients took: {}",
        floods.join(", ")
    );
    let kept = median_of(&series, "in a flood") / median_of(&series, "alone");
    bounds.at_least("flood: part of its rate that a tunnel keeps", kept, BOUND);
}

fn rate(gateway: SocketAddr, targets: &Targets) -> f64 {
    let tunnel = Tunnel::open(gateway, Level::Confidentiality, targets.address(Way::Down));
    let carried = targets.carry(tunnel, Way::Down, AMOUNT);
    #[expect(clippy::cast_precision_loss, reason = "a GiB")]
    let mibs = AMOUNT as f64 / f64::from(1 << 20);
    mibs / carried.wall.as_secs_f64()
}

/// Does something while the flood lasts, and tells how the flood was.
fn in_flood(gateway: SocketAddr, login: &[u8], work: impl FnOnce() -> f64) -> (f64, String) {
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
        (result, format!("{logins:.0} {:.2}", cpu.as_secs_f64() / wall))
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

/// The message with a request whose last octet was changed.
fn bad_login() -> Vec<u8> {
    let mut token = accepts::request();
    *token.last_mut().expect("a request has octets") ^= 0x01;
    let len = u16::try_from(token.len()).expect("no PAC makes it long").to_be_bytes();
    [&[0x01, 0x01], len.as_slice(), &token].concat()
}
