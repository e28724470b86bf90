//! Contexts per second with one accepting thread and with two.
//!
//! The pool is the gateway's own, in this process; the clients' requests are made before the clock runs, and the
//! replay cache is on.

use std::sync::Arc;
use std::time::Instant;

use socks_gssapi::{
    Accepted, ClientRules, Initiated, Initiator, Pool, PoolSize, ReplayCache, Rules, TargetName,
};
use tests::measure::{self, Bounds, Options, Series, print};
use tokio::runtime::Builder;
use tokio::task::JoinSet;

use crate::site::{SERVICE, Site};

/// Contexts in one measurement.
const COUNT: usize = 3000;
/// How much faster two threads must be, on two processors that also run what feeds them.
const BOUND: f64 = 1.5;

/// Measures one thread and two.
pub(crate) fn measure(site: &Site, options: Options, bounds: &mut Bounds) {
    let all = measure::turns(&[1, 2], options.rounds, |&threads| accepts(site, threads));
    let named = ["one thread", "two threads"].into_iter().zip(all);
    let series: Vec<_> = named.map(|(name, figures)| Series { name, figures }).collect();
    print("contexts accepted per second", &series);
    let ratio = measure::median_of(&series, "two threads") / measure::median_of(&series, "one thread");
    bounds.at_least("contexts: times the rate of one thread with two", ratio, BOUND);
}

fn accepts(site: &Site, threads: usize) -> f64 {
    let replay_cache = ReplayCache::File(site.replay_cache(&format!("accepts-{threads}")));
    let rules = Rules { replay_cache, ..Rules::new(&site.keytab) };
    let pool = Arc::new(Pool::new(Arc::new(rules), PoolSize { threads, queue: COUNT }));
    pool.check().expect("the keytab is there");
    let requests: Vec<_> = (0..COUNT).map(|_| request()).collect();
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
    #[expect(clippy::cast_precision_loss, reason = "some thousand")]
    let count = COUNT as f64;
    count / start.elapsed().as_secs_f64()
}

/// What alice says first to the service.
pub(crate) fn request() -> Vec<u8> {
    let target = TargetName::Principal(SERVICE.into());
    let initiator = Initiator::new(&target, &ClientRules::default()).expect("there is a ticket");
    match initiator.step(&[]).expect("the ticket is good") {
        Initiated::Continue { token, .. } => token,
        Initiated::Complete { .. } => unreachable!("the server has yet to answer"),
    }
}
