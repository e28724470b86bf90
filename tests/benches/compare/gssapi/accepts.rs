//! Contexts per second with one accepting thread and with two.
//!
//! The pool is the gateway's own, in this process; the clients' requests are made before the clock runs, and the
//! replay cache is on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use socks_gssapi::{
    Accepted, ClientRules, Initiated, Initiator, Pool, PoolSize, ReplayCache, Rules, TargetName,
};
use tests::bench::{Quantity, Sample};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use super::site::{SERVICE, Site};
use crate::bench::Bench;

pub(super) const NAME: &str = "gssapi/accepts";
/// The names of the two pools.
const POOLS: [&str; 2] = ["one-thread", "two-threads"];

pub(super) fn measure(bench: &mut Bench, site: &Site) {
    if !bench.options.want(NAME) {
        return;
    }
    // Some thousand in a second.
    let count = usize::try_from(bench.options.time.as_millis()).unwrap_or(1000).min(1000) * 3;
    bench.scenario([NAME, "Contexts accepted by a pool in this process"], &POOLS, |name| {
        let threads = if *name == "one-thread" { 1 } else { 2 };
        let time = accepts(site, threads, count);
        #[expect(clippy::cast_precision_loss, reason = "some thousand")]
        let rate = count as f64 / time.as_secs_f64();
        Sample::new().with(Quantity::Rate, rate, "1/s")
    });
}

fn accepts(site: &Site, threads: usize, count: usize) -> Duration {
    let replay_cache = ReplayCache::File(site.replay_cache(&format!("accepts-{threads}")));
    let rules = Rules { replay_cache, ..Rules::new(&site.keytab) };
    let pool = Arc::new(Pool::new(Arc::new(rules), PoolSize { threads, queue: count }));
    pool.check().expect("the keytab is there");
    let requests: Vec<_> = (0..count).map(|_| request()).collect();
    let runtime = Builder::new_multi_thread().worker_threads(1).build().expect("a runtime can be made");
    let start = Instant::now();
    runtime.block_on(async {
        let mut steps = JoinSet::new();
        for token in requests {
            let pool = Arc::clone(&pool);
            steps.spawn(async move { pool.step(None, token).await });
        }
        for accepted in steps.join_all().await {
            assert!(matches!(accepted, Ok(Accepted::Complete { .. })), "{accepted:?}");
        }
    });
    start.elapsed()
}

/// What alice says first to the service.
pub(super) fn request() -> Vec<u8> {
    let target = TargetName::Principal(SERVICE.into());
    let initiator = Initiator::new(&target, &ClientRules::default()).expect("there is a ticket");
    match initiator.step(&[]).expect("the ticket is good") {
        Initiated::Continue { token, .. } => token,
        Initiated::Complete { .. } => unreachable!("the server has yet to answer"),
    }
}
