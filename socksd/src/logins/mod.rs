//! Failed logins: slow by name, locked out by name and source together.
//!
//! A name that fails is answered later and later, wherever it is claimed, up to a bound that lets its owner in all the
//! same. A source that fails too often under one name is locked out under that name, and nobody else is. Names count as they
//! are claimed: nothing here knows which of them exist.

mod bounded;
mod guard;
mod tables;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::admission::Source;
use crate::config::LoginLimits;

pub(crate) use guard::Guard;
use tables::{Claim, Found, NameKey, Pair, PairKey, Tables};

/// Characters of a name that are shown.
const MOST_SHOWN: usize = 64;
/// Locks that get an event each within one interval; the next event tells how many had none.
const MOST_EVENTS: u32 = 100;
const EVENTS_EVERY: Duration = Duration::from_secs(60);

/// What one gateway remembers of failed logins; reloads change nothing of it.
#[derive(Debug)]
pub(crate) struct Logins {
    /// Keys of the hashes under which names are kept: nobody can make two names meet.
    keys: [RandomState; 2],
    tables: Mutex<Tables>,
    events: Mutex<Events>,
    locks_begun: AtomicU64,
    delayed: AtomicU64,
}

/// A lock that holds, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LockRow {
    /// The name that was claimed, cut where it is long.
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) source: String,
    pub(crate) failures: u32,
    pub(crate) since: Timestamp,
    pub(crate) seconds_left: u64,
}

/// A lock that has just begun.
#[derive(Debug)]
pub(crate) struct Begun {
    pair: Pair,
    source: Source,
    lasts: Duration,
    /// How many locks before it have had no event; `None`: neither has this one.
    unrecorded: Option<u64>,
}

/// What becomes of a right proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    Locked,
    New,
    Known,
}

#[derive(Debug)]
struct Events {
    since: Instant,
    told: u32,
    unrecorded: u64,
}

impl Logins {
    pub(crate) fn new() -> Self {
        Self {
            keys: [RandomState::new(), RandomState::new()],
            tables: Mutex::new(Tables::new()),
            events: Mutex::new(Events { since: Instant::now(), told: 0, unrecorded: 0 }),
            locks_begun: AtomicU64::new(0),
            delayed: AtomicU64::new(0),
        }
    }

    /// The locks that hold, the oldest first.
    pub(crate) fn locks(&self) -> Vec<LockRow> {
        let now = Instant::now();
        let mut rows: Vec<_> = {
            let tables = self.tables();
            tables.locks(now).map(|(key, pair)| LockRow::of(key, pair, now)).collect()
        };
        rows.sort_unstable_by(|a, b| (a.since, &a.name).cmp(&(b.since, &b.name)));
        rows
    }

    /// How many locks hold.
    pub(crate) fn locked(&self) -> usize {
        self.tables().locks(Instant::now()).count()
    }

    /// Lifts locks, and forgets the failures of these names: those of one name as it is shown, of one source, or of both
    /// together. Tells how many pairs of a name and a source were held back.
    pub(crate) fn lift(&self, name: Option<&str>, source: Option<Source>) -> usize {
        let is_meant = |key: &PairKey, pair: &Pair| {
            name.is_none_or(|name| *name == *pair.shown) && source.is_none_or(|source| source == key.source)
        };
        self.tables().lift(is_meant, Instant::now())
    }

    /// Gives back the room of what is over.
    pub(crate) fn forget(&self) {
        self.tables().forget(Instant::now());
    }

    /// Locks that have begun, and logins that were held back, since the gateway has started.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.locks_begun.load(Ordering::Relaxed), self.delayed.load(Ordering::Relaxed))
    }

    fn claim(&self, method: &Arc<str>, name: &[u8], source: Source) -> Claim {
        let hashed = self.keys.each_ref().map(|key| key.hash_one((&**method, name)));
        Claim { name: NameKey(hashed), source, shown: shown(name), method: method.clone() }
    }

    fn find(&self, claim: &Claim, limits: &LoginLimits) -> Found {
        let found = self.tables().find(claim, limits, Instant::now());
        if !found.delay.is_zero() {
            self.delayed.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    fn fail(&self, claim: &Claim, limits: &LoginLimits) -> Option<Begun> {
        let now = Instant::now();
        let pair = self.tables().fail(claim, limits, now)?;
        self.locks_begun.fetch_add(1, Ordering::Relaxed);
        let unrecorded = lock(&self.events).take(now);
        let lasts = pair.ends.saturating_duration_since(now);
        Some(Begun { pair, source: claim.source, lasts, unrecorded })
    }

    fn pass(&self, claim: &Claim) -> Passed {
        match self.tables().pass(claim, Instant::now()) {
            None => Passed::Locked,
            Some(false) => Passed::New,
            Some(true) => Passed::Known,
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }
}

impl LockRow {
    fn of(key: &PairKey, pair: &Pair, now: Instant) -> Self {
        Self {
            name: pair.shown.to_string(),
            method: pair.method.to_string(),
            source: key.source.to_string(),
            failures: pair.failures,
            since: pair.locked.unwrap_or_default(),
            seconds_left: pair.ends.saturating_duration_since(now).as_secs(),
        }
    }
}

impl Events {
    /// Room for one event, with how many have had none before it.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if now.saturating_duration_since(self.since) >= EVENTS_EVERY {
            (self.since, self.told) = (now, 0);
        }
        if self.told >= MOST_EVENTS {
            self.unrecorded = self.unrecorded.saturating_add(1);
            return None;
        }
        self.told += 1;
        Some(std::mem::take(&mut self.unrecorded))
    }
}

/// A name for people: escaped, and cut where it is long.
fn shown(name: &[u8]) -> Arc<str> {
    let text = match str::from_utf8(name) {
        Ok(text) if !text.contains(char::is_control) => text.to_owned(),
        _ => name.get(..name.len().min(MOST_SHOWN)).unwrap_or(name).escape_ascii().to_string(),
    };
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// Each change is one step, so what a panicking holder of the lock left behind is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
