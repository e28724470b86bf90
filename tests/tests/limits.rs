//! What sources, identities and rules may use: rates that hold, shares that are fair, and reloads that bring others.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::{Duration, Instant};

use socks_core::Level;
use tests::kerberos::{Plan, alone};
use tests::targets::{self, Server, udp_echo};
use tests::udp::Association;
use tests::{Client, DEADLINE, Gateway, Setup};

const MIB: u64 = 1 << 20;

/// A policy that permits everything under these limits.
fn permitting(limits: &str) -> String {
    format!(
        "version: 1\nrules:\n  - {{ name: limited, action: permit, special-use: permit, limits: {{ {limits} }} }}\n"
    )
}

fn limited(limits: &str) -> Gateway {
    Setup::new().policy(&permitting(limits)).start()
}

/// No more than a second's octets at once, and then the rate.
#[track_caller]
fn expect_rate(octets: u64, rate: u64, since: Instant) {
    let most = rate as f64 * (1.0 + since.elapsed().as_secs_f64());
    assert!(octets as f64 <= most, "{octets} octets, and no more than {most} are allowed by now");
}

/// Sends so much, and tells when all of it has arrived.
fn upload(mut client: Client, octets: u64, sink: &Server) {
    let sending = thread::spawn(move || {
        for _ in 0..octets / MIB {
            client.send(&vec![7; 1 << 20]);
        }
        client
    });
    let begun = Instant::now();
    while sink.received() < octets {
        assert!(begun.elapsed() < DEADLINE, "{} octets have come", sink.received());
        thread::sleep(Duration::from_millis(1));
    }
    drop(sending.join());
}

#[test]
fn a_rules_rate_holds_for_a_transfer_however_it_is_moved() {
    // At the first rate octets are copied in small pieces, at the second one they are spliced.
    for (limit, rate, octets) in [("rate: 1MiB", MIB, 2 * MIB), ("rate: 16MiB", 16 * MIB, 32 * MIB)] {
        let (gateway, sink) = (limited(limit), targets::sink());
        let begun = Instant::now();
        upload(Client::tunnel(gateway.address(), sink.address), octets, &sink);
        expect_rate(octets, rate, begun);
    }
}

#[test]
fn octets_of_both_directions_count_together() {
    let (gateway, echo) = (limited("rate: 1MiB"), targets::echo());
    let begun = Instant::now();
    let mut client = Client::tunnel(gateway.address(), echo.address);
    for _ in 0..16 {
        client.expect_echo(&[7; 64 * 1024]);
    }
    expect_rate(2 * MIB, MIB, begun);
}

#[test]
fn sessions_of_a_rule_share_its_rate_alike() {
    let (gateway, source) = (limited("rate: 2MiB"), targets::source());
    let begun = Instant::now();
    let clients: Vec<_> = (0..4).map(|_| Client::tunnel(gateway.address(), source.address)).collect();
    let until = begun + Duration::from_secs(4);
    let readers = clients.into_iter().map(|client| {
        thread::spawn(move || {
            let (mut got, mut room) = (0, vec![0; 64 * 1024]);
            while Instant::now() < until {
                got += client.stream().take(64 * 1024).read(&mut room).expect("octets come") as u64;
            }
            got
        })
    });
    let got: Vec<u64> =
        readers.collect::<Vec<_>>().into_iter().map(|reader| reader.join().unwrap()).collect();
    let sum: u64 = got.iter().sum();
    expect_rate(sum, 2 * MIB, begun);
    assert!(got.iter().all(|one| *one >= sum / 16), "nobody starves: {got:?}");
}

#[test]
fn each_source_has_a_rate_of_its_own() {
    let gateway = Setup::new().limit("rate-per-source", "1MiB").start();
    let begun = Instant::now();
    let sinks: Vec<_> = (2..4_u8)
        .map(|last| {
            let (sink, address) = (targets::sink(), gateway.address());
            let own = sink.clone();
            let upload = thread::spawn(move || {
                let mut client = Client::connect_from(IpAddr::from([127, 0, 0, last]), address);
                client.open(own.address);
                upload(client, 2 * MIB, &own);
            });
            (sink, upload)
        })
        .collect();
    for (sink, upload) in sinks {
        upload.join().unwrap();
        expect_rate(sink.received(), MIB, begun);
    }
}

#[test]
fn an_identity_has_one_rate_for_all_its_sessions() {
    let gateway = Setup::new().user("alice", "secret").limit("rate-per-identity", "1MiB").start();
    let sink = targets::sink();
    let begun = Instant::now();
    let clients: Vec<_> = (0..3)
        .map(|_| {
            let mut client = Client::connect(gateway.address());
            assert_eq!((client.greet(&[0x02]), client.login("alice", "secret")), (0x02, 0x00));
            assert_eq!(client.connect_to(sink.address).code, 0x00);
            thread::spawn(move || client.send(&vec![7; 1 << 20]))
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    let until = Instant::now() + DEADLINE;
    while sink.received() < 3 * MIB {
        assert!(Instant::now() < until, "{} octets have come", sink.received());
        thread::sleep(Duration::from_millis(1));
    }
    expect_rate(3 * MIB, MIB, begun);
}

#[test]
fn a_rate_holds_for_sealed_octets_too() {
    alone("a_rate_holds_for_sealed_octets_too", || {
        let site = Plan::new().limit("rate-per-identity", "512KiB").start();
        let begun = Instant::now();
        let mut peer = site.tunnel(Level::Confidentiality);
        for _ in 0..64 {
            peer.say(&[7; 8 * 1024]);
        }
        let mut heard = 0;
        while heard < 512 * 1024 {
            heard += peer.hear().len();
        }
        expect_rate(MIB, MIB / 2, begun);
    });
}

#[test]
fn datagrams_over_the_rate_are_dropped_and_counted() {
    let gateway = limited("rate: 64KiB");
    let (echo, association) = (udp_echo(Ipv4Addr::LOCALHOST.into()), Association::open(gateway.address()));
    let begun = Instant::now();
    for _ in 0..200 {
        association.send(&echo.address.into(), &[7; 1024]);
        thread::sleep(Duration::from_millis(1));
    }
    let record = gateway.session_of(association.end());
    expect_rate(record.up() + record.down(), 64 * 1024, begun);
    assert!(record.up() >= 16 * 1024 && record.drops("rate-limited") > 0, "{record}");
}

fn reload(gateway: &Gateway, limits: &str, others: &str) {
    gateway.edit("policy.yaml", limits, others);
    gateway.command(&["reload"]).succeeded();
}

#[test]
fn a_reload_brings_another_rate_to_a_tunnel_that_waits() {
    let setup = Setup::new().policy(&permitting("rate: 1kB")).key("admin", "{ socket: admin.sock }");
    let (gateway, sink) = (setup.start(), targets::sink());
    let mut client = Client::tunnel(gateway.address(), sink.address);
    let sending = thread::spawn(move || client.send(&vec![7; 8 << 20]));
    let until = Instant::now() + DEADLINE;
    while sink.received() < 32 * 1024 {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(1));
    }
    // The rest would take more than two hours.
    reload(&gateway, "rate: 1kB", "rate: 1GiB");
    while sink.received() < 8 * MIB {
        assert!(Instant::now() < until, "{} octets have come", sink.received());
        thread::sleep(Duration::from_millis(1));
    }
    sending.join().unwrap();
}

#[test]
fn a_reload_brings_another_idle_timeout_to_sessions_that_idle() {
    let setup = Setup::new().policy(&permitting("idle-timeout: 1h")).key("admin", "{ socket: admin.sock }");
    let (gateway, echo) = (setup.start(), targets::echo());
    let mut tunnel = Client::tunnel(gateway.address(), echo.address);
    let mut association = Association::open(gateway.address());
    tunnel.expect_echo(b"hello");
    reload(&gateway, "idle-timeout: 1h", "idle-timeout: 200ms");
    tunnel.receive_all();
    association.control().receive_all();
    gateway.session_of(tunnel.local()).expect(&[("cause", "idle-timeout")]);
    gateway.session_of(association.client()).expect(&[("cause", "idle-timeout")]);
}
