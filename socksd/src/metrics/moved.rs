//! What sessions have moved: those that have ended, and those that are open so far.
//!
//! Sessions count for themselves, and add what they have counted when they end. A scrape adds what the open ones have
//! counted by then, so nothing is counted where octets move.

use std::array;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use socks_core::relay::Way;
use socks_core::udp::DropCause;

use crate::roster::{Facts, Live};

use super::{OfCause, OfWay};

pub(super) const WAYS: [(Way, &str); 2] = [(Way::Up, "up"), (Way::Down, "down")];

/// Octets and datagrams.
#[derive(Debug, Default)]
pub(super) struct Moved {
    ended: Sums<AtomicU64>,
    octets: Family<OfWay, Counter>,
    datagrams: Family<OfWay, Counter>,
    dropped: Family<OfCause, Counter>,
}

/// One number of each.
#[derive(Debug, Default)]
struct Sums<T> {
    octets: [T; WAYS.len()],
    datagrams: [T; WAYS.len()],
    dropped: [T; DropCause::ALL.len()],
}

/// All that has moved, as a scrape comes to know it.
#[derive(Debug)]
pub(super) struct Count(Sums<u64>);

impl Moved {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("relayed_octets", "Octets relayed for clients", self.octets.clone());
        registry.register("datagrams", "Datagrams carried for clients", self.datagrams.clone());
        registry.register("datagrams_dropped", "Datagrams dropped, by cause", self.dropped.clone());
    }

    /// A session has ended. It is no longer among the open ones.
    pub(super) fn end(&self, live: &Live, facts: &Facts) {
        let moved = Sums::of(live, facts);
        for (sum, more) in self.ended.all().zip(moved.all()) {
            sum.fetch_add(*more, Ordering::Relaxed);
        }
    }

    /// Begins to count, with the sessions that have ended; the open ones are yet to be [added](Count::add).
    ///
    /// In this order, because a session that ends meanwhile is then missing at most, and never counts twice.
    pub(super) fn count(&self) -> Count {
        let now = |sums: &[AtomicU64], at: usize| sums.get(at).map_or(0, |sum| sum.load(Ordering::Relaxed));
        Count(Sums {
            octets: array::from_fn(|at| now(&self.ended.octets, at)),
            datagrams: array::from_fn(|at| now(&self.ended.datagrams, at)),
            dropped: array::from_fn(|at| now(&self.ended.dropped, at)),
        })
    }

    /// Shows what was counted. What was missing of it for a moment does not make the numbers go back.
    pub(super) fn show(&self, Count(sums): &Count) {
        for ((_, direction), (octets, datagrams)) in
            WAYS.into_iter().zip(sums.octets.iter().zip(&sums.datagrams))
        {
            let of_way = OfWay { direction };
            self.octets.get_or_create(&of_way).inner().fetch_max(*octets, Ordering::Relaxed);
            self.datagrams.get_or_create(&of_way).inner().fetch_max(*datagrams, Ordering::Relaxed);
        }
        for (cause, count) in DropCause::ALL.into_iter().zip(&sums.dropped) {
            let of_cause = OfCause { cause: cause.as_str() };
            self.dropped.get_or_create(&of_cause).inner().fetch_max(*count, Ordering::Relaxed);
        }
    }
}

impl Count {
    /// Adds an open session.
    pub(super) fn add(&mut self, live: &Live, facts: &Facts) {
        let moved = Sums::of(live, facts);
        for (sum, more) in self.0.all_mut().zip(moved.all()) {
            *sum = sum.saturating_add(*more);
        }
    }
}

impl Sums<u64> {
    /// What one session has moved so far.
    fn of(live: &Live, facts: &Facts) -> Self {
        let tally = facts.association.as_deref();
        Self {
            octets: WAYS.map(|(way, _)| live.octets(facts, way)),
            datagrams: WAYS.map(|(way, _)| tally.map_or(0, |tally| tally.datagrams(way))),
            dropped: DropCause::ALL.map(|cause| tally.map_or(0, |tally| tally.dropped(cause))),
        }
    }
}

impl<T> Sums<T> {
    fn all(&self) -> impl Iterator<Item = &T> {
        self.octets.iter().chain(&self.datagrams).chain(&self.dropped)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.octets.iter_mut().chain(&mut self.datagrams).chain(&mut self.dropped)
    }
}
