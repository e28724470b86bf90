//! CPU time for each datagram that is relayed, beside Debian's danted, and beside Dante with GSSAPI.
//!
//! A client keeps 32 datagrams of 64 or of 1,200 octets in flight to an echo; each way counts. `cargo bench -p
//! tests --bench udp [-- --check] [--rounds N]`; with `--check` it fails when the gateway takes more than a
//! third of danted's time, or loses a datagram.

use std::env;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

use krb_testenv::{Enctype, Realm};
use socks_client::Level;
use tests::dante::Sockd;
use tests::measure::{Options, Series, median_of, print};
use tests::rivals::Rival;
use tests::udp::{Association, ProtectedAssociation, datagram};
use tests::{Folder, Gateway, Setup, process};

/// Datagrams in flight.
const WINDOW: usize = 32;
/// Round trips of one measurement.
const TRIPS: usize = 100_000;
/// After so long without an answer, what is in flight is lost.
const LOST: Duration = Duration::from_millis(200);
/// The most of danted's CPU time that the gateway may take.
const BOUND: f64 = 1.0 / 3.0;
/// Names the servers' keytab to the child that does the work.
const KEYTAB: &str = "BENCH_KEYTAB";
const POLICY: &str = "\
version: 1
clients: [{ methods: [gssapi], protection: [integrity, confidentiality] }]
rules: [{ name: users, action: permit, identity: '*@EXAMPLE.TEST', special-use: permit }]
";

/// One server that is measured, without protection if there is no level.
struct Contender {
    name: &'static str,
    address: SocketAddr,
    pid: u32,
    level: Option<Level>,
}

/// What one measurement gave.
struct Carried {
    /// CPU time of the server for a datagram, in microseconds.
    micros: f64,
    lost: usize,
    /// Datagrams in a second, both ways.
    rate: f64,
}

fn main() -> ExitCode {
    let options = Options::from_arguments();
    let Some(keytab) = env::var_os(KEYTAB) else { return run_in_realm() };
    let (ours, theirs) = (Setup::new().start(), Rival::danted());
    let plain = [contender("socksd", &ours, None), rival("danted", &theirs, None)];
    let mut missed = compare(&plain, options, Some(BOUND));
    let (site, keytab) = (Folder::new(), PathBuf::from(keytab));
    let (ours, theirs) = (gateway(&site, &keytab), sockd(&site, &keytab));
    for level in [Level::Integrity, Level::Confidentiality] {
        println!("\nprotected: {level}");
        let pair = [contender("socksd", &ours, Some(level)), rival("dante", &theirs, Some(level))];
        missed |= compare(&pair, options, None);
    }
    if options.check && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Measures both sizes; true if the gateway has missed the bound, or lost anything.
fn compare(contenders: &[Contender], options: Options, bound: Option<f64>) -> bool {
    let echo = echo();
    let mut missed = false;
    for size in [64, 1200] {
        let mut lines = Vec::new();
        let series = turns(contenders, options.rounds, |contender| {
            let carried = carry(contender, echo, size);
            missed |= carried.lost > 0 && contender.name == "socksd";
            lines.push(format!("{} {:.0} ({} lost)", contender.name, carried.rate, carried.lost));
            carried.micros
        });
        print(format!("CPU microseconds per datagram of {size} octets, {WINDOW} in flight"), &series);
        println!("datagrams per second in each run: {}", lines.join(", "));
        let [ours, theirs] = contenders else { continue };
        let ratio = median_of(&series, ours.name) / median_of(&series, theirs.name);
        match bound {
            Some(bound) => {
                println!("socksd takes {ratio:.2} of {}'s CPU time (bound: {bound:.2})", theirs.name);
            }
            None => println!("socksd takes {ratio:.2} of {}'s CPU time", theirs.name),
        }
        missed |= bound.is_some_and(|bound| ratio > bound);
    }
    missed
}

/// Measures all in turns, so that what disturbs the machine disturbs them alike; the first round only warms up.
fn turns(contenders: &[Contender], rounds: usize, mut measure: impl FnMut(&Contender) -> f64) -> Vec<Series> {
    let mut all: Vec<_> =
        contenders.iter().map(|contender| Series { name: contender.name, figures: Vec::new() }).collect();
    for round in 0..=rounds {
        let mut pairs: Vec<_> = contenders.iter().zip(&mut all).collect();
        if round % 2 == 1 {
            pairs.reverse();
        }
        for (contender, series) in pairs {
            let figure = measure(contender);
            if round > 0 {
                series.figures.push(figure);
            }
        }
    }
    all
}

fn carry(contender: &Contender, echo: SocketAddr, size: usize) -> Carried {
    let (target, data) = (echo.into(), vec![7; size]);
    match contender.level {
        None => {
            let association = Association::open(contender.address);
            let octets = datagram(0, &target, &data);
            timed(contender.pid, association.socket(), association.relay(), |_| &octets)
        }
        Some(level) => {
            let mut association = ProtectedAssociation::open(contender.address, level);
            // Sealed before the clock runs: the client must not be what is measured.
            let frames: Vec<_> = (0..2 * TRIPS).map(|_| association.seal(&target, &data)).collect();
            timed(contender.pid, association.socket(), association.relay(), |number| {
                frames.get(number).map_or(&[], Vec::as_slice)
            })
        }
    }
}

/// Sends and receives until all answers have come, with [`WINDOW`] in flight.
fn timed<'a>(pid: u32, socket: &UdpSocket, relay: SocketAddr, octets: impl Fn(usize) -> &'a [u8]) -> Carried {
    socket.connect(relay).expect("a socket of the same family");
    socket.set_read_timeout(Some(LOST)).expect("not zero");
    let (before, started) = (process::cpu_time(pid), Instant::now());
    let (mut sent, mut back, mut lost, mut room) = (0, 0, 0, [0; 2048]);
    while back < TRIPS {
        while sent - back - lost < WINDOW {
            socket.send(octets(sent)).expect("the relay is there");
            sent += 1;
        }
        match socket.recv(&mut room) {
            Ok(_) => back += 1,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                lost = sent - back;
                assert!(lost < TRIPS, "nothing comes back");
            }
            Err(error) => panic!("the relay is gone: {error}"),
        }
    }
    let (wall, cpu) = (started.elapsed(), process::cpu_time(pid).saturating_sub(before));
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let datagrams = (2 * back) as f64;
    Carried { micros: cpu.as_secs_f64() * 1e6 / datagrams, lost, rate: datagrams / wall.as_secs_f64() }
}

/// An echo in a thread of this process, whose time is not the servers'.
fn echo() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
    let address = socket.local_addr().expect("a bound socket");
    thread::spawn(move || {
        let mut room = [0; 2048];
        while let Ok((len, from)) = socket.recv_from(&mut room) {
            // A server that has gone meanwhile is no concern of the next one.
            drop(socket.send_to(room.get(..len).unwrap_or_default(), from));
        }
    });
    address
}

/// Starts a realm and runs this program once more in it: MIT's library reads its environment.
fn run_in_realm() -> ExitCode {
    let realm = Realm::builder("EXAMPLE.TEST").enctypes(&[Enctype::Aes256Sha1]);
    let realm = realm.user("alice", "secret").service("socks/localhost").start().expect("a realm");
    let keytab = realm.folder().join("bench.keytab");
    realm.keytab(&["socks/localhost"], &keytab).expect("the service is there");
    let alice = realm.kinit("alice").expect("the password is right");
    let mut child = Command::new(env::current_exe().expect("a program knows where it lies"));
    alice.env().apply(&mut child);
    child.args(env::args_os().skip(1)).env(KEYTAB, keytab);
    let done = child.status().expect("this program can be started");
    if done.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn gateway(site: &Folder, keytab: &std::path::Path) -> Gateway {
    let auth = format!("  - kind: gssapi\n    options: {{ keytab: {} }}\n", keytab.display());
    let cache = format!("file2:{}", site.file("replay-socksd").display());
    let variables = [(OsStr::new("KRB5RCACHENAME"), OsStr::new(&cache))];
    Setup::new().auth(&auth).policy(POLICY).environment(variables.into_iter()).start()
}

fn sockd(site: &Folder, keytab: &std::path::Path) -> Rival {
    let cache = format!("file2:{}", site.file("replay-dante").display());
    let variables = [(OsStr::new("KRB5RCACHENAME"), OsStr::new(&cache))];
    Sockd::new(keytab).environment(variables.into_iter()).start()
}

fn contender(name: &'static str, gateway: &Gateway, level: Option<Level>) -> Contender {
    Contender { name, address: gateway.address(), pid: gateway.pid(), level }
}

fn rival(name: &'static str, rival: &Rival, level: Option<Level>) -> Contender {
    Contender { name, address: rival.address(), pid: rival.pid(), level }
}
