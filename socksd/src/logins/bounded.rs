//! A table that holds no more than so many rows, and knows which of them matter least.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

/// What a bounded table holds.
pub(super) trait Row {
    /// How much it matters: when there is no room, those of the lowest rank go first.
    type Rank: Ord;

    /// Its rank; `None`: its time is over.
    fn rank(&self, now: Instant) -> Option<Self::Rank>;
}

/// Rows by their keys, at most so many.
#[derive(Debug)]
pub(super) struct Bounded<K, V> {
    rows: HashMap<K, V>,
    most: usize,
}

impl<K: Hash + Eq + Copy + Ord, V: Row> Bounded<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self { rows: HashMap::new(), most }
    }

    /// The row of that key, if its time is not over.
    pub(super) fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.rows.get(key).filter(|row| row.rank(now).is_some())
    }

    /// Puts a row in the place of the one before it. When the table is full, rows whose time is over leave it, and where
    /// that is not enough a sixteenth of all, those that matter least: so that the search for them is a rare one.
    pub(super) fn put(&mut self, key: K, row: V, now: Instant) -> Vec<K> {
        let mut gone = Vec::new();
        if self.rows.len() >= self.most && !self.rows.contains_key(&key) {
            gone = self.forget(now);
            let room = (self.most / 16).max(1);
            let surplus = (self.rows.len() + room).saturating_sub(self.most);
            gone.extend(self.forget_least(surplus, now));
        }
        self.rows.insert(key, row);
        gone
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.rows.remove(key)
    }

    /// Takes out the rows whose time is over.
    pub(super) fn forget(&mut self, now: Instant) -> Vec<K> {
        self.rows.extract_if(|_, row| row.rank(now).is_none()).map(|(key, _)| key).collect()
    }

    /// The rows whose time is not over.
    pub(super) fn iter(&self, now: Instant) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().filter(move |(_, row)| row.rank(now).is_some())
    }

    /// How many rows there are, those among them whose time is over.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    fn forget_least(&mut self, count: usize, now: Instant) -> Vec<K> {
        if count == 0 {
            return Vec::new();
        }
        let mut ranks: Vec<_> = self.rows.iter().map(|(key, row)| (row.rank(now), *key)).collect();
        if count < ranks.len() {
            ranks.select_nth_unstable(count);
            ranks.truncate(count);
        }
        let keys: Vec<K> = ranks.into_iter().map(|(_, key)| key).collect();
        for key in &keys {
            self.rows.remove(key);
        }
        keys
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Weight(u32, Instant);

    impl Row for Weight {
        type Rank = u32;

        fn rank(&self, now: Instant) -> Option<u32> {
            (now < self.1).then_some(self.0)
        }
    }

    #[test]
    fn a_full_table_gives_up_what_is_over_and_then_what_matters_least() {
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_secs(9));
        let mut table = Bounded::new(32);
        for key in 0..32_u32 {
            assert!(table.put(key, Weight(key, if key == 31 { now } else { later }), now).is_empty());
        }
        assert!(table.get(&31, now).is_none(), "its time is over");
        let mut gone = table.put(99, Weight(0, later), now);
        gone.sort_unstable();
        assert_eq!(gone, [0, 31], "two places are made: one was over, one weighs least");
        assert!(table.put(100, Weight(0, later), now).is_empty(), "there was room for another");
        assert_eq!(table.len(), 32);
        assert!(
            table.put(5, Weight(7, later), now).is_empty(),
            "a row in the place of its own takes no room"
        );
    }
}
