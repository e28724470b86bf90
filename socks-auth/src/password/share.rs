//! Which source holds how many of the places for logins: none may hold them all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

/// Where logins come from: an IPv4 address, or the /64 of an IPv6 address, which is one customer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(it) => Ipv6Addr::from_bits(it.to_bits() & (u128::MAX << 64)).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

/// The sources that hold places now; those that hold none are forgotten.
#[derive(Debug)]
pub(super) struct Shares {
    /// How many places one source may hold.
    most: usize,
    held: Mutex<HashMap<Source, Held>>,
}

/// What one source holds.
#[derive(Debug)]
struct Held {
    places: usize,
    turn: Arc<Semaphore>,
}

impl Shares {
    /// A quarter of the places for each source, at least one.
    pub(super) fn of(places: usize) -> Arc<Self> {
        Arc::new(Self { most: (places / 4).max(1), held: Mutex::default() })
    }

    /// Counts one more place of the source; `None`: it holds as many as it may.
    pub(super) fn take(self: &Arc<Self>, source: Source) -> Option<Share> {
        let mut held = self.lock();
        let new = || Held { places: 0, turn: Arc::new(Semaphore::new(1)) };
        let own = held.entry(source).or_insert_with(new);
        if own.places >= self.most {
            return None;
        }
        own.places += 1;
        Some(Share { shares: Arc::clone(self), source, turn: Arc::clone(&own.turn) })
    }

    /// How many sources are remembered.
    #[cfg(test)]
    pub(super) fn sources(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Source, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One place that is counted for a source until this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    source: Source,
    turn: Arc<Semaphore>,
}

impl Share {
    /// Who of the source stands in the line that all sources share: one at a time, so that each has its turn.
    pub(super) fn turn(&self) -> Arc<Semaphore> {
        Arc::clone(&self.turn)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Entry::Occupied(mut own) = self.shares.lock().entry(self.source) {
            match own.get().places {
                0 | 1 => drop(own.remove()),
                _ => own.get_mut().places -= 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        for (one, other, is_same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            assert_eq!(source(one) == source(other), is_same, "{one} {other}");
        }
    }

    #[test]
    fn a_source_holds_a_quarter_and_at_least_one() {
        for (places, expected) in [(1, 1), (4, 1), (8, 2), (65, 16)] {
            let shares = Shares::of(places);
            let held: Vec<_> = (0..places + 1).map_while(|_| shares.take(source("192.0.2.1"))).collect();
            assert_eq!(held.len(), expected, "{places}");
            assert!(shares.take(source("192.0.2.2")).is_some(), "{places}");
        }
    }

    #[test]
    fn a_source_that_holds_nothing_is_forgotten() {
        let shares = Shares::of(8);
        let held = (shares.take(source("192.0.2.1")), shares.take(source("192.0.2.1")));
        assert!(shares.take(source("192.0.2.1")).is_none());
        drop(held.0);
        assert_eq!(shares.sources(), 1);
        assert!(shares.take(source("192.0.2.1")).is_some());
        drop(held.1);
        assert_eq!(shares.sources(), 0);
    }
}
