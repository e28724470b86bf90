//! Whole sessions with their Kerberos logins: how many a second, and what each costs the server.
//!
//! The clients' part of the logins is done in this process, on the same processors, and costs about as much as the
//! server's: it limits the sessions per second, but is not in the cost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socks_client::{Client, Level};
use tests::bench::{Contender, Sample, Units};
use tests::targets;
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::site::{Site, alice};
use super::{LEVELS, PREFIX};
use crate::bench::Bench;
use crate::load::Run;

const IN_FLIGHT: usize = 64;

pub(super) fn names() -> Vec<String> {
    LEVELS.iter().map(name).collect()
}

fn name(level: &Level) -> String {
    format!("{PREFIX}connections/{level}/{IN_FLIGHT}")
}

pub(super) fn measure(bench: &mut Bench, site: &Site) {
    let levels = bench.wanted(LEVELS, name);
    let servers = site.servers(bench, &levels);
    let (target, time) = (targets::one_octet(), bench.options.time);
    let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime can be made");
    for level in levels {
        let title = format!("Short sessions with a login at {level}, {IN_FLIGHT} in flight");
        bench.scenario([&name(&level), &title], &servers, |server| {
            let client = alice(server.address().expect("a server"), level);
            sessions(&runtime, server, &client, (target, time))
        });
    }
}

fn sessions(
    runtime: &Runtime,
    server: &Contender,
    client: &Client,
    (target, time): (SocketAddr, Duration),
) -> Sample {
    let run = Arc::new(Run::default());
    let mut clients = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (client, run) = (client.clone(), Arc::clone(&run));
        let work = async move {
            let mut times = Vec::new();
            while !run.is_over() {
                let begun = Instant::now();
                session(&client, target).await;
                run.keep(&mut times, begun);
                run.add(1);
            }
            times
        };
        clients.spawn_on(work, runtime.handle());
    }
    let (window, done) = run.watch(server, time);
    let mut times = runtime.block_on(clients.join_all()).concat();
    window.sample(done, Units::PIECES).with_times(&mut times)
}

async fn session(client: &Client, target: SocketAddr) {
    let mut connection = client.connect(target.into()).await.unwrap_or_else(|error| panic!("{error}"));
    let mut said = Vec::new();
    connection.read_to_end(&mut said).await.expect("the target ends in order");
    assert_eq!(said, b"x", "what the target says");
}
