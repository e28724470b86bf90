//! The names by their places, and which of them goes when all places are taken.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use socks_core::wire::DomainName;

/// How long an address keeps its name after it was last used; then it may get another.
pub(super) const REST: Duration = Duration::from_secs(3600);
/// How long it keeps a name that was only looked up: twice as long as answers may be kept.
pub(super) const TOLD_REST: Duration = Duration::from_secs(120);
/// A use that comes so soon after another one changes nothing: a stream of datagrams uses its name all the time.
const GRAIN: Duration = Duration::from_secs(10);

/// Slots in the order of the addresses.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    by_name: HashMap<DomainName, usize>,
    /// The slots whose names were only looked up, longest ago first.
    told: BTreeMap<Turn, usize>,
    /// Those that were used, longest ago first.
    used: BTreeMap<Turn, usize>,
    last: u64,
}

#[derive(Debug)]
struct Slot {
    name: DomainName,
    turn: Turn,
    is_used: bool,
}

/// When a slot was last told or used; two of one time are told apart by the number.
type Turn = (Instant, u64);

impl Table {
    /// The slot of a name: its own, a new one, or that of a name which has rested. `None`: all are in use.
    pub(super) fn assign(&mut self, name: &DomainName, most: usize, now: Instant) -> Option<usize> {
        if let Some(&slot) = self.by_name.get(name) {
            self.touch(slot, now, false);
            return Some(slot);
        }
        let turn = self.turn(now);
        let new = Slot { name: name.clone(), turn, is_used: false };
        let slot = if self.slots.len() < most {
            self.slots.push(new);
            self.slots.len() - 1
        } else {
            let slot = self.rested(now)?;
            let old = std::mem::replace(self.slots.get_mut(slot)?, new);
            self.by_name.remove(&old.name);
            slot
        };
        self.told.insert(turn, slot);
        self.by_name.insert(name.clone(), slot);
        Some(slot)
    }

    /// The name in a slot, whose address somebody uses.
    pub(super) fn use_slot(&mut self, slot: usize, now: Instant) -> Option<DomainName> {
        self.touch(slot, now, true);
        self.name_of(slot)
    }

    /// The name in a slot.
    pub(super) fn name_of(&self, slot: usize) -> Option<DomainName> {
        Some(self.slots.get(slot)?.name.clone())
    }

    fn touch(&mut self, slot: usize, now: Instant, uses: bool) {
        let turn = self.turn(now);
        let Some(held) = self.slots.get_mut(slot) else { return };
        let is_used = held.is_used || uses;
        if is_used == held.is_used && now.saturating_duration_since(held.turn.0) < GRAIN {
            return;
        }
        let old = if held.is_used { &mut self.used } else { &mut self.told };
        old.remove(&held.turn);
        (held.turn, held.is_used) = (turn, is_used);
        let new = if is_used { &mut self.used } else { &mut self.told };
        new.insert(turn, slot);
    }

    /// Takes out a slot whose name nobody has used for so long that nobody has its address any more: first of those
    /// that were only looked up.
    fn rested(&mut self, now: Instant) -> Option<usize> {
        for (queue, rest) in [(&mut self.told, TOLD_REST), (&mut self.used, REST)] {
            if let Some(oldest) = queue.first_entry()
                && now.saturating_duration_since(oldest.key().0) >= rest
            {
                return Some(oldest.remove());
            }
        }
        None
    }

    fn turn(&mut self, now: Instant) -> Turn {
        self.last = self.last.wrapping_add(1);
        (now, self.last)
    }
}
