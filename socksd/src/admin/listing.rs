//! A part of the open sessions, in an order: however many there are, only so many are kept and shown.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use socks_core::relay::Way;

use crate::roster::{Facts, Live, Rates, Roster, SessionId, Stage};

use super::rows::Row;

/// The most sessions of one answer.
pub(crate) const MOST_ROWS: usize = 1000;
/// Those of an answer for which no number was asked.
pub(super) const USUAL_ROWS: usize = 100;

/// Which sessions come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Order {
    #[default]
    Newest,
    Oldest,
    /// Those whose octets flow fastest now.
    Rate,
    /// Those that have carried most.
    Octets,
}

/// Which part of the list is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) order: Order,
    pub(super) limit: usize,
    /// Only those behind this one, which ended a part before.
    pub(super) after: Option<SessionId>,
}

/// Sessions as an answer has them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Listing {
    /// How many are open.
    pub(crate) open: usize,
    /// How many of them are meant.
    pub(crate) matching: usize,
    /// How fast the octets of those flow.
    pub(crate) rates: Rates,
    /// How far those have come.
    pub(crate) stages: Stages,
    /// The first of those, in order.
    pub(crate) sessions: Vec<Row>,
    /// The same of all that are open, meant or not.
    #[serde(skip)]
    pub(super) all: Totals,
}

/// What goes on in several sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) rates: Rates,
    pub(crate) stages: Stages,
}

/// How many sessions have come how far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stages {
    pub(crate) greeting: usize,
    pub(crate) authenticated: usize,
    pub(crate) opening: usize,
    pub(crate) open: usize,
}

impl Order {
    /// Tells whether a list in this order can be asked for in parts.
    pub(crate) fn is_by_age(self) -> bool {
        matches!(self, Self::Newest | Self::Oldest)
    }

    /// What sessions are compared by: the larger comes first.
    fn key(self, live: &Live, facts: &Facts, rates: Rates) -> (u64, u64) {
        let number = live.id.number;
        match self {
            Self::Newest => (number, 0),
            Self::Oldest => (u64::MAX - number, 0),
            Self::Rate => (rates.sum(), number),
            Self::Octets => {
                (live.octets(facts, Way::Up).saturating_add(live.octets(facts, Way::Down)), number)
            }
        }
    }
}

impl Part {
    fn is_behind(&self, live: &Live) -> bool {
        self.after.is_none_or(|after| match self.order {
            Order::Oldest => live.id.number > after.number,
            _ => live.id.number < after.number,
        })
    }
}

impl Listing {
    /// Looks at every session once, and keeps no more than the part has.
    pub(super) fn of(roster: &Roster, part: Part, is_meant: impl Fn(&Live, &Facts) -> bool) -> Self {
        let mut listing = Self {
            open: 0,
            matching: 0,
            rates: Rates::default(),
            stages: Stages::default(),
            sessions: Vec::new(),
            all: Totals::default(),
        };
        let mut first = First::new(part.limit);
        roster.for_each(|live| {
            let mut facts = live.facts();
            if facts.is_over() {
                return;
            }
            let (rates, stage) = (live.rates(&mut facts), facts.stage());
            listing.open += 1;
            listing.all.rates.add(rates);
            listing.all.stages.count(stage);
            if !is_meant(live, &facts) {
                return;
            }
            listing.matching += 1;
            listing.rates.add(rates);
            listing.stages.count(stage);
            if part.is_behind(live) {
                first.offer(part.order.key(live, &facts, rates), live);
            }
        });
        listing.sessions = first.in_order().iter().filter_map(|live| Row::of(live)).collect();
        listing
    }
}

impl Stages {
    fn count(&mut self, stage: Stage) {
        let count = match stage {
            Stage::Greeting => &mut self.greeting,
            Stage::Authenticated => &mut self.authenticated,
            Stage::Opening => &mut self.opening,
            Stage::Open => &mut self.open,
        };
        *count += 1;
    }
}

/// The sessions with the largest keys, at most so many.
struct First {
    most: usize,
    kept: BinaryHeap<Reverse<Ranked>>,
}

impl First {
    fn new(most: usize) -> Self {
        Self { most, kept: BinaryHeap::new() }
    }

    fn offer(&mut self, key: (u64, u64), live: &Arc<Live>) {
        if self.kept.len() < self.most {
            self.kept.push(Reverse(Ranked { key, live: live.clone() }));
        } else if let Some(mut last) = self.kept.peek_mut()
            && last.0.key < key
        {
            *last = Reverse(Ranked { key, live: live.clone() });
        }
    }

    fn in_order(self) -> Vec<Arc<Live>> {
        // Smallest of the reversed first: the largest key.
        self.kept.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.live).collect()
    }
}

struct Ranked {
    key: (u64, u64),
    live: Arc<Live>,
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listeners::Entrance;

    fn roster(count: u64) -> Roster {
        let roster = Roster::default();
        for number in 1..=count {
            let id = SessionId { boot: 1, number };
            roster.enter(id, (Entrance::none(), "main".into()), ([192, 0, 2, 1], 1).into());
        }
        roster
    }

    fn numbers(roster: &Roster, order: Order, limit: usize, after: Option<u64>) -> Vec<String> {
        let after = after.map(|number| SessionId { boot: 1, number });
        let listing = Listing::of(roster, Part { order, limit, after }, |_, _| true);
        listing.sessions.into_iter().map(|row| row.session).collect()
    }

    #[test]
    fn a_list_in_parts_has_every_session_once() {
        let roster = roster(10);
        assert_eq!(numbers(&roster, Order::Newest, 3, None), ["1-a", "1-9", "1-8"]);
        assert_eq!(numbers(&roster, Order::Newest, 3, Some(8)), ["1-7", "1-6", "1-5"]);
        assert_eq!(numbers(&roster, Order::Oldest, 4, None), ["1-1", "1-2", "1-3", "1-4"]);
        assert_eq!(numbers(&roster, Order::Oldest, 4, Some(8)), ["1-9", "1-a"]);
        assert!(numbers(&roster, Order::Oldest, 0, None).is_empty());
    }

    #[test]
    fn those_with_the_largest_keys_are_kept() {
        let (roster, mut first) = (roster(5), First::new(3));
        for (number, key) in [(1, 0), (2, 70), (3, 0), (4, 900), (5, 1)] {
            first.offer((key, number), &roster.find(SessionId { boot: 1, number }).unwrap());
        }
        let kept: Vec<_> = first.in_order().iter().map(|live| live.id.number).collect();
        assert_eq!(kept, [4, 2, 5]);
    }

    #[test]
    fn what_is_left_out_is_counted_and_what_has_ended_is_not_shown() {
        let roster = roster(9);
        roster.find(SessionId { boot: 1, number: 9 }).unwrap().facts().take();
        let part = Part { order: Order::Newest, limit: 2, after: None };
        let listing = Listing::of(&roster, part, |live, _| live.id.number != 8);
        assert_eq!((listing.open, listing.matching, listing.sessions.len()), (8, 7, 2));
        assert_eq!(listing.stages, Stages { greeting: 7, ..Stages::default() });
        assert_eq!(listing.all.stages, Stages { greeting: 8, ..Stages::default() });
        assert_eq!(listing.sessions[0].session, "1-7");
    }
}
