//! Answers that were given a moment ago.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Groups;

/// The most names whose groups are kept.
const MAX_NAMES: usize = 4096;

/// A bounded memory of answers. Failures are never kept.
#[derive(Debug)]
pub(super) struct Cache {
    lifetime: Duration,
    answers: Mutex<HashMap<Box<str>, (Instant, Groups)>>,
}

impl Cache {
    /// A memory that keeps each answer for `lifetime`; zero: none.
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, answers: Mutex::default() }
    }

    /// The answer for that name, if it is not too old.
    pub(super) fn get(&self, name: &str, now: Instant) -> Option<Groups> {
        let mut answers = self.lock();
        let (since, groups) = answers.get(name)?;
        if now.saturating_duration_since(*since) < self.lifetime {
            return Some(groups.clone());
        }
        answers.remove(name);
        None
    }

    /// Keeps an answer whose lookup began at `now`.
    pub(super) fn keep(&self, name: &str, groups: Groups, now: Instant) {
        if self.lifetime.is_zero() {
            return;
        }
        let mut answers = self.lock();
        if answers.len() >= MAX_NAMES {
            answers.retain(|_, (since, _)| now.saturating_duration_since(*since) < self.lifetime);
        }
        if answers.len() >= MAX_NAMES {
            let oldest = answers.iter().min_by_key(|(_, (since, _))| *since).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| answers.remove(&oldest));
        }
        answers.insert(name.into(), (now, groups));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, (Instant, Groups)>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use socks_core::Timestamp;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    fn groups() -> Groups {
        Groups::new(["a"], Timestamp::from_second(1).unwrap())
    }

    #[test]
    fn an_answer_is_forgotten_after_its_lifetime() {
        let (cache, start) = (Cache::new(LIFETIME), Instant::now());
        assert_eq!(cache.get("bob", start), None);
        cache.keep("bob", groups(), start);
        assert_eq!(cache.get("bob", start + LIFETIME - Duration::from_nanos(1)), Some(groups()));
        assert_eq!(cache.get("alice", start), None);
        assert_eq!(cache.get("bob", start + LIFETIME), None);
        assert_eq!(cache.get("bob", start), None, "what has expired stays forgotten");
    }

    #[test]
    fn without_a_lifetime_nothing_is_kept() {
        let (cache, start) = (Cache::new(Duration::ZERO), Instant::now());
        cache.keep("bob", groups(), start);
        assert!(cache.lock().is_empty());
    }

    #[test]
    fn a_full_cache_forgets_its_oldest() {
        let (cache, start) = (Cache::new(LIFETIME), Instant::now());
        let at = |number: usize| start + Duration::from_millis(number as u64);
        for number in 0..=MAX_NAMES {
            cache.keep(&number.to_string(), groups(), at(number));
        }
        assert_eq!(cache.lock().len(), MAX_NAMES);
        assert_eq!(cache.get("0", at(MAX_NAMES)), None);
        assert_eq!(cache.get("1", at(MAX_NAMES)), Some(groups()));
        cache.keep("late", groups(), start + LIFETIME * 2);
        assert_eq!(cache.lock().len(), 1, "first goes what has expired");
    }
}
