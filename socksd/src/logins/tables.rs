//! What is remembered of failed logins: by name and source together, by name alone, and who has ever come in from where.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::admission::Source;
use crate::config::{LoginLimits, LoginLock};

use super::bounded::{Bounded, Row};

/// Pairs of a name and a source with failures.
pub(super) const MOST_PAIRS: usize = 65_536;
/// Names with failures.
pub(super) const MOST_NAMES: usize = 65_536;
/// Pairs of a name and a source from which it has logged in.
pub(super) const MOST_PROVEN: usize = 65_536;
/// Names of one source that are told apart; failures under more names count as those of one.
pub(super) const MOST_NAMES_OF_SOURCE: usize = 1024;
/// How long it counts that a name has logged in from somewhere.
const PROVEN_FOR: Duration = Duration::from_secs(24 * 60 * 60);
/// The delay after one failure.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The keyed hash of a method and a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NameKey(pub(super) [u64; 2]);

/// A name, and from where it is claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PairKey {
    /// `None`: any name that has no row of its own.
    pub(super) name: Option<NameKey>,
    pub(super) source: Source,
}

/// The failures of a pair.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    /// The name as it is shown.
    pub(super) shown: Arc<str>,
    pub(super) method: Arc<str>,
    pub(super) failures: u32,
    /// When the count ends, or the lock.
    pub(super) ends: Instant,
    last: Instant,
    /// Since when it is locked.
    pub(super) locked: Option<Timestamp>,
}

impl Row for Pair {
    /// Locks matter most, the one that ends last most of all; then the most failures, and the latest.
    type Rank = (Option<Instant>, u32, Instant);

    fn rank(&self, now: Instant) -> Option<Self::Rank> {
        (now < self.ends).then_some((self.locked.map(|_| self.ends), self.failures, self.last))
    }
}

/// The failures of a name, wherever they came from.
#[derive(Debug, Clone, Copy)]
struct Name {
    failures: u32,
    last: Instant,
    ends: Instant,
}

impl Row for Name {
    type Rank = (u32, Instant);

    fn rank(&self, now: Instant) -> Option<Self::Rank> {
        (now < self.ends).then_some((self.failures, self.last))
    }
}

/// When a name logged in from a source.
#[derive(Debug, Clone, Copy)]
struct Proven(Instant);

impl Row for Proven {
    type Rank = Instant;

    fn rank(&self, now: Instant) -> Option<Self::Rank> {
        (now.saturating_duration_since(self.0) < PROVEN_FOR).then_some(self.0)
    }
}

/// A login as the tables know it.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) name: NameKey,
    pub(super) source: Source,
    pub(super) shown: Arc<str>,
    pub(super) method: Arc<str>,
}

/// All that is remembered. It knows no clock but the one that it is told.
#[derive(Debug)]
pub(super) struct Tables {
    pairs: Bounded<PairKey, Pair>,
    names: Bounded<NameKey, Name>,
    proven: Bounded<PairKey, Proven>,
    /// How many pairs each source has.
    of_source: HashMap<Source, usize>,
}

/// What earlier failures mean for a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) is_locked: bool,
    pub(super) delay: Duration,
}

impl Tables {
    pub(super) fn new() -> Self {
        Self {
            pairs: Bounded::new(MOST_PAIRS),
            names: Bounded::new(MOST_NAMES),
            proven: Bounded::new(MOST_PROVEN),
            of_source: HashMap::new(),
        }
    }

    pub(super) fn find(&self, claim: &Claim, limits: &LoginLimits, now: Instant) -> Found {
        let pair = self.pairs.get(&self.key(claim, now), now);
        let by_pair = pair.map_or(0, |pair| pair.failures);
        let by_name = self.names.get(&claim.name, now).map_or(0, |name| name.failures);
        Found {
            is_locked: pair.is_some_and(|pair| pair.locked.is_some()),
            delay: delay(by_pair.max(by_name), limits.longest_delay),
        }
    }

    /// Counts a failure; gives the row if it locks the pair.
    pub(super) fn fail(&mut self, claim: &Claim, limits: &LoginLimits, now: Instant) -> Option<Pair> {
        self.fail_name(claim, limits, now);
        let key = self.key(claim, now);
        let before = self.pairs.get(&key, now);
        // Those that were judged when the lock began change nothing: it ends when it was said to.
        if before.is_some_and(|pair| pair.locked.is_some()) {
            return None;
        }
        let (failures, ends) = match before {
            Some(pair) => (pair.failures.saturating_add(1), pair.ends),
            None => (1, after(now, limits.within)),
        };
        let shown = if key.name.is_some() { claim.shown.clone() } else { OTHER_NAMES.into() };
        let mut pair = Pair { shown, method: claim.method.clone(), failures, ends, last: now, locked: None };
        let locks = limits.lock.filter(|lock| failures >= lock.after);
        if let Some(LoginLock { lasts, .. }) = locks {
            pair.locked = Some(Timestamp::now());
            pair.ends = after(now, lasts);
        }
        let begun = locks.map(|_| pair.clone());
        self.put(key, pair, now);
        begun
    }

    /// Notes that a name logged in from a source. `None`: the pair is locked; else whether it had done so before.
    pub(super) fn pass(&mut self, claim: &Claim, now: Instant) -> Option<bool> {
        if self.pairs.get(&self.key(claim, now), now).is_some_and(|pair| pair.locked.is_some()) {
            return None;
        }
        let key = exact(claim);
        self.remove(&key);
        let is_known = self.proven.get(&key, now).is_some();
        self.proven.put(key, Proven(now), now);
        Some(is_known)
    }

    /// Takes out all pairs that are meant, and what is held against their names alone; tells how many there were.
    pub(super) fn lift(&mut self, is_meant: impl Fn(&PairKey, &Pair) -> bool, now: Instant) -> usize {
        let meant = self.pairs.iter(now).filter(|(key, pair)| is_meant(key, pair));
        let meant: Vec<PairKey> = meant.map(|(key, _)| *key).collect();
        for key in &meant {
            self.remove(key);
            key.name.and_then(|name| self.names.remove(&name));
        }
        meant.len()
    }

    /// The locks that hold.
    pub(super) fn locks(&self, now: Instant) -> impl Iterator<Item = (&PairKey, &Pair)> {
        self.pairs.iter(now).filter(|(_, pair)| pair.locked.is_some())
    }

    /// Gives back the room of what is over.
    pub(super) fn forget(&mut self, now: Instant) {
        let gone = self.pairs.forget(now);
        self.discount(gone);
        self.names.forget(now);
        self.proven.forget(now);
    }

    /// Under which key a login counts. A source that has used up its names counts for all others as one; a name that has
    /// logged in from there always counts as itself.
    fn key(&self, claim: &Claim, now: Instant) -> PairKey {
        let own = exact(claim);
        let has_room = self.of_source.get(&claim.source).is_none_or(|count| *count < MOST_NAMES_OF_SOURCE);
        if has_room || self.pairs.get(&own, now).is_some() || self.proven.get(&own, now).is_some() {
            own
        } else {
            PairKey { name: None, source: claim.source }
        }
    }

    fn fail_name(&mut self, claim: &Claim, limits: &LoginLimits, now: Instant) {
        let failures = self.names.get(&claim.name, now).map_or(0, |name| name.failures).saturating_add(1);
        self.names.put(claim.name, Name { failures, last: now, ends: after(now, limits.within) }, now);
    }

    fn put(&mut self, key: PairKey, pair: Pair, now: Instant) {
        // What is there and over counts already.
        self.remove(&key);
        let gone = self.pairs.put(key, pair, now);
        *self.of_source.entry(key.source).or_default() += 1;
        self.discount(gone);
    }

    fn remove(&mut self, key: &PairKey) {
        if self.pairs.remove(key).is_some() {
            self.discount([*key]);
        }
    }

    fn discount(&mut self, gone: impl IntoIterator<Item = PairKey>) {
        for key in gone {
            if let Some(count) = self.of_source.get_mut(&key.source) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.of_source.remove(&key.source);
                }
            }
        }
    }
}

/// What stands for the names of a source that are not told apart.
const OTHER_NAMES: &str = "(other names)";

fn exact(claim: &Claim) -> PairKey {
    PairKey { name: Some(claim.name), source: claim.source }
}

/// A hundred milliseconds after the first failure, twice as long after each that follows.
fn delay(failures: u32, longest: Option<Duration>) -> Duration {
    let Some((longest, doublings)) = longest.zip(failures.checked_sub(1)) else { return Duration::ZERO };
    let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
    FIRST_DELAY.saturating_mul(factor).min(longest)
}

fn after(now: Instant, time: Duration) -> Instant {
    now.checked_add(time).unwrap_or(now)
}

#[cfg(test)]
mod tests;
