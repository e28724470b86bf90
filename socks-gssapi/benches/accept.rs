//! What accepting a context costs, from the client's token to keys and name, in processor time of one thread, and
//! how many a second several threads accept, each with a credential of its own.
//!
//! `cargo bench -p socks-gssapi --bench accept`

use std::env;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use krb_testenv::Realm;
use rustix::time::{ClockId, clock_gettime};
use socks_gssapi::{Accepted, Acceptor, ClientRules, Initiated, Initiator, ReplayCache, Rules, TargetName};

const COUNT: usize = 3000;
const KEYTAB: &str = "BENCH_KEYTAB";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Some(keytab) = env::var_os(KEYTAB) else {
        // The library reads its environment, so the work is a child's.
        let realm = Realm::start()?;
        let keytab = realm.folder().join("socks.keytab");
        realm.keytab(&["socks/localhost", "rcmd/localhost"], &keytab)?;
        let cache = realm.folder().join("rcache");
        let mut child = Command::new(env::current_exe()?);
        realm.kinit("alice")?.env().apply(&mut child);
        child.env(KEYTAB, keytab).env("KRB5RCACHENAME", format!("file2:{}", cache.display()));
        child.status()?;
        return Ok(());
    };
    for replay_cache in [ReplayCache::None, ReplayCache::Default] {
        let rules = Arc::new(Rules { replay_cache, ..Rules::new(&keytab) });
        for threads in [1, 2, 4] {
            let (cost, rate) = accepting(&rules, threads);
            println!("{:?}, {threads} threads: {cost:?} each, {rate:.0} a second", rules.replay_cache);
        }
    }
    Ok(())
}

/// Processor time for one, and how many a second in all.
fn accepting(rules: &Arc<Rules>, threads: usize) -> (Duration, f64) {
    let work: Vec<Vec<Vec<u8>>> = (0..threads).map(|_| (0..COUNT).map(|_| request()).collect()).collect();
    let start = Instant::now();
    let costs: Vec<Duration> = std::thread::scope(|scope| {
        let workers: Vec<_> = work.iter().map(|tokens| scope.spawn(|| accept_all(rules, tokens))).collect();
        workers.into_iter().map(|worker| worker.join().expect("worker does not panic")).collect()
    });
    let total = COUNT * threads;
    let cost = costs.iter().sum::<Duration>().div_f64(total as f64);
    (cost, total as f64 / start.elapsed().as_secs_f64())
}

fn accept_all(rules: &Arc<Rules>, tokens: &[Vec<u8>]) -> Duration {
    let mut acceptor = Acceptor::acquire(Arc::clone(rules)).expect("keytab is there");
    let start = used();
    for token in tokens {
        let accepted = acceptor.step(None, token).expect("token is good");
        assert!(matches!(accepted, Accepted::Complete { .. }));
    }
    used() - start
}

fn request() -> Vec<u8> {
    let target = TargetName::HostBased("socks@localhost".into());
    let initiator = Initiator::new(&target, &ClientRules::default()).expect("there is a ticket");
    match initiator.step(&[]).expect("key distribution centre answers") {
        Initiated::Continue { token, .. } => token,
        Initiated::Complete { .. } => unreachable!("server has yet to answer"),
    }
}

/// The processor time that this thread has used.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::from_secs(time.tv_sec as u64) + Duration::from_nanos(time.tv_nsec as u64)
}
