//! Counts by key: those of this process and those that another one tells of, which serves beside it for a while.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// Counts by key; a key without a count takes no room.
#[derive(Debug)]
pub(crate) struct Tallies<K> {
    own: HashMap<K, usize>,
    elsewhere: HashMap<K, usize>,
    /// What has changed since somebody was told; `None`: nobody wants to know.
    changed: Option<HashSet<K>>,
}

impl<K> Default for Tallies<K> {
    fn default() -> Self {
        Self { own: HashMap::new(), elsewhere: HashMap::new(), changed: None }
    }
}

impl<K: Hash + Eq + Clone> Tallies<K> {
    /// Counts one more, unless that would be more than `most` in all processes; tells whether it did.
    pub(crate) fn add(&mut self, key: &K, most: usize) -> bool {
        if self.count(key) >= most {
            return false;
        }
        *self.own.entry(key.clone()).or_default() += 1;
        self.note(key);
        true
    }

    /// Counts one less.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(count) = self.own.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.own.remove(key);
            }
            self.note(key);
        }
    }

    /// Learns what another process counts.
    pub(crate) fn learn(&mut self, counts: impl IntoIterator<Item = (K, usize)>) {
        for (key, count) in counts {
            self.note(&key);
            if count == 0 {
                self.elsewhere.remove(&key);
            } else {
                self.elsewhere.insert(key, count);
            }
        }
    }

    /// The other process is gone.
    pub(crate) fn forget(&mut self) {
        for key in std::mem::take(&mut self.elsewhere).into_keys() {
            self.note(&key);
        }
    }

    /// What somebody has not been told of yet, himself counted by another process: everything, the first time.
    pub(crate) fn news(&mut self) -> Vec<(K, usize)> {
        let changed = self.changed.replace(HashSet::new());
        let changed =
            changed.unwrap_or_else(|| self.own.keys().chain(self.elsewhere.keys()).cloned().collect());
        changed.into_iter().map(|key| (key.clone(), self.count(&key))).collect()
    }

    /// Nobody wants to know what changes any more.
    pub(crate) fn keep_to_itself(&mut self) {
        self.changed = None;
    }

    fn count(&self, key: &K) -> usize {
        let of = |counts: &HashMap<K, usize>| counts.get(key).copied().unwrap_or_default();
        of(&self.own).saturating_add(of(&self.elsewhere))
    }

    fn note(&mut self, key: &K) {
        if let Some(changed) = &mut self.changed {
            changed.insert(key.clone());
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty() && self.elsewhere.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_both_processes_until_the_other_one_is_gone() {
        let mut tallies = Tallies::default();
        tallies.learn([("a", 2), ("b", 1)]);
        assert!(tallies.add(&"a", 3) && !tallies.add(&"a", 3));
        tallies.learn([("a", 1)]);
        assert!(tallies.add(&"a", 3) && !tallies.add(&"a", 3));
        tallies.forget();
        assert!(tallies.add(&"a", 3) && !tallies.add(&"a", 3));
        (0..3).for_each(|_| tallies.remove(&"a"));
        assert!(tallies.is_empty());
    }

    #[test]
    fn news_are_everything_first_and_then_what_has_changed() {
        let mut tallies = Tallies::default();
        tallies.learn([("far", 4)]);
        tallies.add(&"near", 9);
        let mut all = tallies.news();
        all.sort_unstable();
        assert_eq!(all, [("far", 4), ("near", 1)]);
        assert!(tallies.news().is_empty());
        tallies.remove(&"near");
        assert_eq!(tallies.news(), [("near", 0)]);
        tallies.forget();
        assert_eq!(tallies.news(), [("far", 0)]);
    }
}
