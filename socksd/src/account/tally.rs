//! What limits have done, for the metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Sort;

/// A tally for each sort of account.
#[derive(Debug, Default)]
pub(crate) struct Tallies([Arc<Tally>; Sort::ALL.len()]);

/// What the limits of one sort have done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    waits: AtomicU64,
    waited: AtomicU64,
    dropped: AtomicU64,
    refused: AtomicU64,
}

impl Tallies {
    pub(crate) fn of(&self, sort: Sort) -> &Arc<Tally> {
        let [source, identity, rule, rule_identity] = &self.0;
        match sort {
            Sort::Source => source,
            Sort::Identity => identity,
            Sort::Rule => rule,
            Sort::RuleIdentity => rule_identity,
        }
    }
}

impl Tally {
    /// A tunnel has waited so long for octets.
    pub(super) fn count_wait(&self, waited: Duration) {
        self.waits.fetch_add(1, Ordering::Relaxed);
        let waited = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.waited.fetch_add(waited, Ordering::Relaxed);
    }

    /// A datagram was dropped.
    pub(super) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// A new session was refused, because too many had begun.
    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// How many new sessions were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How often tunnels have waited for octets.
    pub(crate) fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// How long they have waited, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        Duration::from_micros(self.waited.load(Ordering::Relaxed)).as_secs_f64()
    }

    /// How many datagrams were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
