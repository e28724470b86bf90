//! What an open tunnel takes of memory through which nothing goes.

use std::net::{IpAddr, Ipv4Addr, TcpStream};

use tests::bench::{Contender, Quantity, Sample};
use tests::{Client, targets};

use crate::bench::Bench;

/// The first tunnels pay for what is there once, and are not counted.
const FIRST: usize = 100;
/// Descriptors that a server and this process need beside those of the tunnels.
const OTHER_DESCRIPTORS: usize = 600;
/// A server with a process for a few tunnels each would take gigabytes for thousands of them.
const WITH_PROCESSES: usize = 500;

pub(crate) fn measure(bench: &mut Bench) {
    for wanted in bench.wanted([2000, 10_000], |tunnels| name(*tunnels)) {
        let possible = (bench.descriptors - OTHER_DESCRIPTORS) / 2;
        // The relay of the baseline is nobody's server, and without one there is nothing to measure.
        let names = Contender::plain().filter(|name| ![Contender::DIRECT, Contender::SPLICE].contains(name));
        // Started once to know which are there; each measurement has a server of its own.
        let here: Vec<_> = names.filter_map(|name| bench.start_one(name).map(|it| it.name())).collect();
        let title = format!("Memory of idle tunnels, {wanted} of them");
        bench.scenario([&name(wanted), &title], &here, |it| {
            let most = if *it == "danted" { WITH_PROCESSES } else { possible };
            let count = wanted.min(most);
            let sample = idle(&Contender::start(it).expect("it was here before"), count);
            if count < wanted { sample.note(format!("measured with {count} tunnels")) } else { sample }
        });
    }
}

fn name(tunnels: usize) -> String {
    format!("idle/{tunnels}")
}

fn idle(contender: &Contender, count: usize) -> Sample {
    let (server, target) = (contender.address().expect("a server"), targets::handing());
    let mut ends: Vec<(Client, TcpStream)> = Vec::with_capacity(count);
    let mut open = |number: usize| {
        // Many sources, so that no address runs out of ports.
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(number % 200).expect("small") + 1);
        let mut client = Client::connect_from(IpAddr::V4(source), server);
        client.open(target.address);
        ends.push((client, target.accept()));
    };
    let memory = || contender.memory().expect("a server");
    (0..FIRST).for_each(&mut open);
    let before = memory();
    (FIRST..count).for_each(&mut open);
    let all = memory();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let kibibytes = |octets: u64| octets as f64 / 1024.0;
    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    let each = kibibytes(all.saturating_sub(before)) / (count - FIRST) as f64;
    Sample::new().with(Quantity::Tunnel, each, "KiB").with(Quantity::Memory, kibibytes(all) / 1024.0, "MiB")
}
