//! Handshakes that stop half way, many at a time: others still get in, all end in time, nothing is kept.
//!
//! The whole flood is `#[ignore]`d and run by `make test-long`; a smaller copy runs every time.

use std::thread;
use std::time::{Duration, Instant};

use socks_core::Level;
use socks_gssapi::Message;
use tests::client::End;
use tests::kerberos::{ABORT, Plan, SERVICE, Site, alone, tokens};
use tests::{Client, DEADLINE, process};

/// Descriptors that test and gateway need beside those of the handshakes.
const OTHER_DESCRIPTORS: usize = 600;

#[test]
fn some_hundred_half_finished_handshakes_keep_nobody_out_and_leave_nothing() {
    alone("some_hundred_half_finished_handshakes_keep_nobody_out_and_leave_nothing", || {
        flood(500, Duration::from_secs(6));
    });
}

#[test]
#[ignore = "long: run by `make test-long`"]
fn ten_thousand_half_finished_handshakes_keep_nobody_out_and_leave_nothing() {
    alone("ten_thousand_half_finished_handshakes_keep_nobody_out_and_leave_nothing", || {
        flood(10_000, Duration::from_secs(60));
    });
}

/// The most memory that a half-finished handshake may take, in KiB, whatever it has announced.
const MOST_EACH: u64 = 16;
/// Memory that has nothing to do with their number, in KiB: threads that accept contexts, and what the allocator keeps.
const OVERHEAD: u64 = 4 * 1024;
/// Waves of them: what each adds to the memory was kept of those before.
const WAVES: usize = 3;

fn flood(count: usize, patience: Duration) {
    // The gateway inherits the limit, and takes no session that it could not give a target.
    let needed = count * 2 + OTHER_DESCRIPTORS;
    let allowed = process::allow_descriptors(u64::try_from(needed).expect("a small number"));
    let possible = (usize::try_from(allowed).expect("a small number") - OTHER_DESCRIPTORS) / 2;
    let (wanted, count) = (count, count.min(possible));
    if count < wanted {
        println!("only {count} handshakes instead of {wanted}: this machine allows {allowed} descriptors");
    }
    assert!(count * 20 >= wanted * 19, "{allowed} descriptors are too few for {wanted} (`ulimit -Hn`)");
    let seconds = format!("{}s", patience.as_secs());
    let site = Plan::new().limit("handshake-timeout", &seconds).limit("max-sessions", "20000").start();
    site.expect_service();
    let pid = site.gateway.pid();
    let (descriptors, quiet) = (process::descriptors(pid), process::resident(pid));
    let kib = |octets: u64| octets.saturating_sub(quiet) / 1024;
    println!(
        "{count} half-finished handshakes: KiB above the idle gateway, with all of them and after them:"
    );
    let memory: Vec<_> = (0..WAVES)
        .map(|_| {
            let busy = wave(&site, count, patience);
            wait_until(|| process::descriptors(pid) <= descriptors + 8);
            site.expect_service();
            let left = process::resident(pid);
            println!("  {} {}", kib(busy), kib(left));
            (busy, left)
        })
        .collect();
    let count = u64::try_from(count).expect("a small number");
    let most = memory.iter().map(|(busy, _)| kib(*busy)).max().unwrap_or_default();
    assert!(most < count * MOST_EACH + OVERHEAD, "half-finished handshakes take too much: {most} KiB");
    let after = |wave: usize| memory.get(wave).map_or(0, |(_, left)| kib(*left));
    let (first, last) = (after(0), after(WAVES - 1));
    assert!(last < first + count + OVERHEAD, "memory grows with each wave: {first} KiB, then {last}");
}

/// Clients in every stage of a handshake; gives the gateway's memory with all of them.
fn wave(site: &Site, count: usize, patience: Duration) -> u64 {
    let begun = Instant::now();
    let clients: Vec<(Client, Instant)> =
        (0..count).map(|number| (half_finished(site, number), Instant::now())).collect();
    println!("{count} begun within {:?}", begun.elapsed());
    assert!(begun.elapsed() < patience, "this machine is too slow to have them all at a time");
    // While they all wait, others get in.
    let started = Instant::now();
    site.expect_service();
    assert!(started.elapsed() < DEADLINE, "others have to wait: {:?}", started.elapsed());
    let busy = process::resident(site.gateway.pid());
    for (mut client, since) in clients {
        client.stream().set_read_timeout(Some(patience + DEADLINE)).expect("not zero");
        assert_eq!(client.receive_all(), (ABORT.to_vec(), End::Closed));
        // The gateway's own clock began a little before.
        assert!(since.elapsed() + Duration::from_secs(2) >= patience, "after {:?}", since.elapsed());
        assert!(since.elapsed() < patience + DEADLINE, "after {:?}", since.elapsed());
    }
    busy
}

/// A client that has stopped in one of four stages.
fn half_finished(site: &Site, number: usize) -> Client {
    if number % 4 == 3 {
        let mut peer = site.established();
        let level = peer.level_message(&[2], Level::Integrity);
        peer.client.send(level.split_at(level.len() / 2).0);
        return peer.client;
    }
    let mut client = site.greeted();
    match number % 4 {
        0 => {}
        1 => client.send(&[0x01, 0x01, 0xFF, 0xFF, 0x60]),
        _ => {
            let (token, _) = tokens(&site.alice, &format!("{SERVICE}@EXAMPLE.TEST"));
            let request = Message::Authentication(token).octets().expect("it fits");
            client.send(request.split_at(request.len() - 1).0);
        }
    }
    client
}

#[track_caller]
fn wait_until(done: impl Fn() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < until, "it is not so in time");
        thread::sleep(Duration::from_millis(20));
    }
}
