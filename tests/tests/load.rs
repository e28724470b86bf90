//! Many at once: idle tunnels that cost next to nothing, and stalled readers that cost the others nothing.
//!
//! The whole loads are `#[ignore]`d and run by `make test-long`; smaller copies run every time.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use tests::bench::median;
use tests::targets::Server;
use tests::{Client, Gateway, Setup, process, targets};

const MIB: u64 = 1 << 20;
/// The most resident memory that an idle tunnel may take, in octets.
const MOST_PER_TUNNEL: u64 = 2560;

#[test]
fn a_thousand_idle_tunnels_take_at_most_2560_octets_each_and_all_live() {
    idle_tunnels(1_000);
}

#[test]
#[ignore = "long: run by `make test-long`"]
fn ten_thousand_idle_tunnels_take_at_most_2560_octets_each_and_all_live() {
    idle_tunnels(10_000);
}

/// The first tunnels pay for what is there once, and are not counted.
const FIRST: usize = 100;
/// Descriptors that gateway and test need beside those of the tunnels: pipes, races, those kept free.
const OTHER_DESCRIPTORS: usize = 600;

fn idle_tunnels(wanted: usize) {
    // Both ends of every tunnel are in this process; the gateway inherits the limit.
    let needed = wanted * 2 + OTHER_DESCRIPTORS;
    let allowed = process::allow_descriptors(u64::try_from(needed).expect("a small number"));
    let possible = (usize::try_from(allowed).expect("a small number") - OTHER_DESCRIPTORS) / 2;
    let count = wanted.min(possible);
    if count < wanted {
        println!("only {count} tunnels instead of {wanted}: this machine allows {allowed} descriptors");
    }
    assert!(
        count * 20 >= wanted * 19,
        "{allowed} descriptors are too few for {wanted} tunnels (`ulimit -Hn`)"
    );
    let gateway = Setup::new().limit("max-sessions", "20000").start();
    let target = targets::handing();
    let mut ends: Vec<(Client, TcpStream)> = Vec::with_capacity(count);
    let mut open = |number: usize| {
        // Many sources, so that no address runs out of ports.
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 200).expect("small") + 1);
        let mut client = Client::connect_from(IpAddr::V4(source), gateway.address());
        client.open(target.address);
        ends.push((client, target.accept()));
    };
    (0..FIRST).for_each(&mut open);
    let before = process::resident(gateway.pid());
    (FIRST..count).for_each(&mut open);
    let grown = process::resident(gateway.pid()).saturating_sub(before);
    let each = grown / u64::try_from(count - FIRST).expect("a small number");
    println!("{count} idle tunnels: {each} octets of resident memory each");
    for (client, _) in &mut ends {
        client.send(b"?");
    }
    for (_, stream) in &mut ends {
        let mut octet = [0];
        stream.read_exact(&mut octet).expect("the tunnel is open");
        stream.write_all(b"!").expect("the tunnel is open");
    }
    assert!(ends.iter_mut().all(|(client, _)| client.receive(1) == b"!"), "every tunnel lives");
    assert!(each <= MOST_PER_TUNNEL, "{each} octets for each idle tunnel");
}

#[test]
fn two_hundred_stalled_readers_keep_nobody_waiting() {
    let (quiet, crowded) = (unprivileged(65_534), unprivileged(65_533));
    let source = targets::source();
    let _stalled = stall(&crowded, &source, 200);
    // The best of a few, because other tests run beside this one; the whole test measures it well.
    let mut best = [0.0, 0.0];
    for _ in 0..3 {
        for (gateway, best) in [&quiet, &crowded].into_iter().zip(&mut best) {
            *best = f64::max(*best, download(gateway, &source, 128 * MIB));
        }
    }
    assert!(best[1] > best[0] / 3.0, "MiB/s without and with stalled readers: {best:?}");
}

#[test]
#[ignore = "long: run by `make test-long`"]
fn two_thousand_stalled_readers_leave_the_others_their_speed() {
    assert!(process::allow_descriptors(8_000) >= 8_000, "8,000 descriptors are needed (`ulimit -Hn`)");
    let (quiet, crowded) = (unprivileged(65_534), unprivileged(65_533));
    let source = targets::source();
    let _stalled = stall(&crowded, &source, 2_000);
    let mut both = [(&quiet, Vec::new()), (&crowded, Vec::new())];
    // Many short ones rather than a few long ones: the shorter a pair, the more alike is the machine for both. An even
    // number of rounds: afterwards they stand as they stood.
    for round in 0..192 {
        for (gateway, figures) in &mut both {
            let speed = download(gateway, &source, 64 * MIB);
            // The first rounds warm up.
            if round >= 16 {
                figures.push(speed);
            }
        }
        // They take turns in going first.
        both.reverse();
    }
    let [(_, alone), (_, beside)] = both;
    // Of the pairs, because what else the machine does comes and goes, and meets both of a pair alike.
    let ratios: Vec<f64> = alone.iter().zip(&beside).map(|(alone, beside)| beside / alone).collect();
    let ratio = median(&ratios);
    let (alone, beside) = (median(&alone), median(&beside));
    println!("MiB/s: {alone:.0} alone, {beside:.0} beside 2,000 stalled readers: {ratio:.2}");
    assert!(ratio >= 0.9, "{beside:.0} MiB/s instead of {alone:.0}: {ratio:.2}");
}

/// A gateway without privileges. Where root runs the tests each has a user of its own, because the kernel counts
/// a user's pipes; otherwise both share the count, and neither is better off.
fn unprivileged(user: u32) -> Gateway {
    Setup::new().unprivileged(user).start()
}

/// Tunnels whose clients do not read, each with its target blocked.
fn stall(gateway: &Gateway, source: &Server, count: usize) -> Vec<Client> {
    let clients: Vec<_> = (0..count)
        .map(|_| {
            let mut client = Client::connect_narrow(gateway.address());
            client.open(source.address);
            client
        })
        .collect();
    // Stalled is who has something to read and leaves it; the first octet tells.
    for client in &clients {
        client.stream().peek(&mut [0]).expect("the source sends");
    }
    clients
}

/// MiB per second through a fresh tunnel.
fn download(gateway: &Gateway, source: &Server, amount: u64) -> f64 {
    let client = Client::tunnel(gateway.address(), source.address);
    let started = Instant::now();
    let mut buffer = vec![0; 256 * 1024];
    let mut left = amount;
    while left > 0 {
        let len = client.stream().read(&mut buffer).expect("the source sends");
        assert!(len > 0, "the source has no end");
        left = left.saturating_sub(u64::try_from(len).expect("small"));
    }
    let seconds = started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let mibs = (amount / MIB) as f64;
    mibs / seconds
}
