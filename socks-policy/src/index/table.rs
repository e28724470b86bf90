//! Hash tables from what rules name to the rules that name it, read without building a key.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::bits::List;
use crate::set::{Condition, Set};

/// A hash of a key's parts. Keys come from the policy file, so that no stranger can make them collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyHash(u64);

impl KeyHash {
    pub(super) const START: Self = Self(0x9E37_79B9_7F4A_7C15);

    /// The hash of a number of 128 bits, in one step.
    #[inline]
    pub(super) fn of_wide(high: u64, low: u64) -> Self {
        let low = low.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(32);
        Self((high ^ low).wrapping_mul(0x517C_C1B7_2722_0A95))
    }

    /// Takes a number in.
    #[inline]
    pub(super) fn number(self, number: u64) -> Self {
        Self((self.0.rotate_left(5) ^ number).wrapping_mul(0x517C_C1B7_2722_0A95))
    }

    /// Takes a text in, with its length.
    pub(super) fn text(self, text: &str) -> Self {
        let octets = text.as_bytes();
        let hash = self.number(octets.len() as u64);
        // The last octets overlap with those before them, which costs less than to single out the rest.
        let Some(last) = octets.last_chunk::<8>() else { return hash.number(short(octets)) };
        let (chunks, _) = octets.as_chunks::<8>();
        let hash = chunks.iter().fold(hash, |hash, chunk| hash.number(u64::from_le_bytes(*chunk)));
        hash.number(u64::from_le_bytes(*last))
    }
}

/// Up to 7 octets as one number.
fn short(octets: &[u8]) -> u64 {
    match (octets.first_chunk::<4>(), octets.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
        }
        _ => octets.iter().fold(0, |word, octet| word << 8 | u64::from(*octet)),
    }
}

/// A table whose keys are compared by the caller.
#[derive(Debug)]
pub(super) struct Table<K> {
    /// 1 plus the place in `entries`, or 0; a power of two of them, at most half in use. None in an empty table.
    slots: Box<[u32]>,
    entries: Box<[Entry<K>]>,
    lists: Box<[List]>,
}

#[derive(Debug)]
struct Entry<K> {
    hash: KeyHash,
    key: K,
    list: u32,
}

impl<K> Table<K> {
    /// The rules of the key with that hash for which `is_key` holds.
    #[inline]
    pub(super) fn get(&self, hash: KeyHash, is_key: impl Fn(&K) -> bool) -> Option<&List> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = start(hash);
        loop {
            let entry = self.slots.get(at & mask)?.checked_sub(1)?;
            let entry = self.entries.get(usize::try_from(entry).ok()?)?;
            if entry.hash == hash && is_key(&entry.key) {
                return self.lists.get(usize::try_from(entry.list).ok()?);
            }
            at = at.wrapping_add(1);
        }
    }

    /// Tells whether there is no key at all.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.entries.iter().map(|entry| &entry.key)
    }

    fn new(keys: Vec<(KeyHash, K, u32)>, lists: Vec<List>) -> Self {
        let size = if keys.is_empty() { 0 } else { (keys.len() * 2).next_power_of_two() };
        let mut slots = vec![0; size].into_boxed_slice();
        for (entry, (hash, ..)) in (1..).zip(&keys) {
            let free = (0..size).map(|step| start(*hash).wrapping_add(step) & (size - 1));
            let slot = free.into_iter().find(|at| slots.get(*at) == Some(&0));
            if let Some(slot) = slot.and_then(|at| slots.get_mut(at)) {
                *slot = entry;
            }
        }
        let entries = keys.into_iter().map(|(hash, key, list)| Entry { hash, key, list }).collect();
        Self { slots, entries, lists: lists.into() }
    }
}

fn start(hash: KeyHash) -> usize {
    // The upper bits of a product are the better ones.
    usize::try_from(hash.0 >> 32).unwrap_or(0)
}

/// The sets of one kind with the rules that name them.
#[derive(Debug)]
pub(super) struct Usage<'a, T> {
    sets: BTreeMap<usize, (&'a Set<T>, Vec<u32>)>,
    rules: usize,
}

impl<'a, T> Usage<'a, T> {
    /// Who names what: `condition` picks the condition of a rule, `None` where it has none.
    pub(super) fn of<R>(rules: &'a [R], condition: impl Fn(&'a R) -> Option<&'a Condition<T>>) -> Self {
        let mut sets: BTreeMap<usize, (&Set<T>, Vec<u32>)> = BTreeMap::new();
        for (number, rule) in (0..).zip(rules) {
            for set in condition(rule).into_iter().flat_map(|condition| &condition.sets) {
                let set: &Arc<Set<T>> = set;
                let (_, users) = sets.entry(set.id).or_insert_with(|| (set, Vec::new()));
                if users.last() != Some(&number) {
                    users.push(number);
                }
            }
        }
        Self { sets, rules: rules.len() }
    }

    /// Everything in all the sets.
    pub(super) fn elements(&self) -> impl Iterator<Item = &'a T> {
        self.sets.values().flat_map(|(set, _)| &set.elements)
    }

    /// The rules of each set that has more than `limit` elements.
    pub(super) fn large(&self, limit: usize) -> BTreeMap<usize, List> {
        let large = self.sets.iter().filter(|(_, (set, _))| set.elements.len() > limit);
        large.map(|(id, (_, users))| (*id, List::new(users.clone(), self.rules))).collect()
    }

    /// The table of the keys that `keys` makes of the elements.
    pub(super) fn table<K: Hash + Eq + Clone, I: IntoIterator<Item = K>>(
        &self,
        keys: impl Fn(&'a T) -> I,
        hash: impl Fn(&K) -> KeyHash,
    ) -> Table<K> {
        let mut holders: HashMap<K, Vec<usize>> = HashMap::new();
        let mut order = Vec::new();
        for (id, (set, _)) in &self.sets {
            for key in set.elements.iter().flat_map(&keys) {
                let sets = holders.entry(key.clone()).or_default();
                if sets.is_empty() {
                    order.push(key);
                }
                if sets.last() != Some(id) {
                    sets.push(*id);
                }
            }
        }
        // Keys that are in the same sets share one list of rules.
        let mut lists = Vec::new();
        let mut known: HashMap<&[usize], u32> = HashMap::new();
        let mut keyed = Vec::with_capacity(order.len());
        for key in order {
            let Some(sets) = holders.get(&key) else { continue };
            let list = *known.entry(sets).or_insert_with(|| {
                lists.push(self.merge(sets));
                u32::try_from(lists.len() - 1).unwrap_or(u32::MAX)
            });
            keyed.push((hash(&key), key, list));
        }
        Table::new(keyed, lists)
    }

    fn merge(&self, sets: &[usize]) -> List {
        let users = sets.iter().filter_map(|id| self.sets.get(id)).flat_map(|(_, users)| users);
        let mut rules: Vec<u32> = users.copied().collect();
        rules.sort_unstable();
        rules.dedup();
        List::new(rules, self.rules)
    }
}
