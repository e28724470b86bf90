//! A bounded map that forgets what was not used for longest, roughly.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

/// A map of at most `most` entries, which always holds the half of them that was used last.
///
/// Whatever number of keys somebody comes up with, it costs no more than that. Each step is a step or two in a
/// hash map: there are two of them, and when the younger one is full it becomes the older one, whose entries
/// are forgotten unless they are used before the next change.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// An empty map; `most` is rounded up to an even number, and never less than 2.
    pub(super) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: most.div_ceil(2).max(1) }
    }

    /// What stands under the key, which counts as used now.
    pub(super) fn get<Q: Hash + Eq + ?Sized>(&mut self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get(key)
    }

    /// Puts a value under a key, which counts as used now.
    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    /// Forgets a key.
    pub(super) fn remove<Q: Hash + Eq + ?Sized>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
    {
        self.young.remove(key);
        self.old.remove(key);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_keys_take_no_more_room_than_the_bound() {
        let mut recent = Recent::new(1024);
        for key in 0..100_000 {
            recent.insert(key, ());
            assert!(recent.young.len() + recent.old.len() <= 1024);
        }
        assert!((100_000 - 512..100_000).all(|key| recent.get(&key).is_some()), "the latest half is known");
        assert_eq!(recent.get(&0), None);
    }

    #[test]
    fn what_is_used_again_and_again_is_never_forgotten() {
        let mut recent = Recent::new(8);
        recent.insert(0, "kept");
        for key in 1..1000 {
            recent.insert(key, "passing");
            assert_eq!(recent.get(&0), Some(&"kept"), "after {key}");
        }
    }

    #[test]
    fn a_key_has_one_value_in_whichever_half_it_stands() {
        let mut recent = Recent::new(2);
        recent.insert(1, 'a');
        recent.insert(2, 'b');
        recent.insert(1, 'c');
        assert_eq!(recent.get(&1), Some(&'c'));
        recent.remove(&1);
        assert_eq!(recent.get(&1), None);
        recent.insert(3, 'd');
        recent.clear();
        assert_eq!(recent.get(&3), None);
    }
}
