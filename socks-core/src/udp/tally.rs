//! What an association has carried and dropped, readable by everybody while it runs.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::relay::Way;

/// Why a datagram was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum DropCause {
    /// It came to the client's socket from another address or port. What comes after the port was locked is
    /// dropped by the kernel, and not counted.
    NotTheClient,
    /// Its header is none, it ends inside its header, or its frame has another length than it says.
    Malformed,
    /// Its check value is wrong, or it was only signed where encryption was agreed.
    Forged,
    /// It came twice, or is older than the window.
    Replayed,
    /// It is a fragment, and those are not taken; or one that cannot become part of a datagram any more.
    Fragment,
    /// The policy refuses its destination, or a reply's origin.
    Denied,
    /// Its host name has no usable address.
    Unresolved,
    /// There were too many in a short time, or too many octets.
    RateLimited,
    /// It is a reply from where nothing was sent to.
    NotAskedFor,
    /// It does not fit into one datagram with its header, or its frame.
    TooLarge,
    /// There was no room for it: too many wait for a name, or the socket takes no more.
    Full,
    /// The system knows no way to its destination, or no socket of its family is open.
    Unreachable,
    /// The gateway that it has to go through cannot be reached, or does not carry it.
    Upstream,
}

impl DropCause {
    /// Every cause, in the order of their declaration.
    pub const ALL: [Self; 13] = [
        Self::NotTheClient,
        Self::Malformed,
        Self::Forged,
        Self::Replayed,
        Self::Fragment,
        Self::Denied,
        Self::Unresolved,
        Self::RateLimited,
        Self::NotAskedFor,
        Self::TooLarge,
        Self::Full,
        Self::Unreachable,
        Self::Upstream,
    ];

    /// The word that the record uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotTheClient => "not-the-client",
            Self::Malformed => "malformed",
            Self::Forged => "forged",
            Self::Replayed => "replayed",
            Self::Fragment => "fragment",
            Self::Denied => "denied",
            Self::Unresolved => "unresolved",
            Self::RateLimited => "rate-limited",
            Self::NotAskedFor => "not-asked-for",
            Self::TooLarge => "too-large",
            Self::Full => "full",
            Self::Unreachable => "unreachable",
            Self::Upstream => "upstream-failed",
        }
    }
}

impl fmt::Display for DropCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Datagrams of one way.
#[derive(Debug, Default)]
struct Carried {
    datagrams: AtomicU64,
    octets: AtomicU64,
}

/// What an association has carried and dropped so far.
#[derive(Debug, Default)]
pub struct Tally {
    up: Carried,
    down: Carried,
    destinations: AtomicU64,
    dropped: [AtomicU64; DropCause::ALL.len()],
}

impl Tally {
    /// Counts one more destination that nothing was sent to before.
    pub fn count_destination(&self) {
        self.destinations.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn carried(&self, way: Way, datagrams: u64, octets: u64) {
        let carried = self.way(way);
        carried.datagrams.fetch_add(datagrams, Ordering::Relaxed);
        carried.octets.fetch_add(octets, Ordering::Relaxed);
    }

    pub(super) fn drop_one(&self, cause: DropCause) {
        self.drop_many(cause, 1);
    }

    pub(super) fn drop_many(&self, cause: DropCause, datagrams: usize) {
        if let Some(dropped) = self.dropped.get(cause as usize) {
            dropped.fetch_add(datagrams as u64, Ordering::Relaxed);
        }
    }

    /// Datagrams that were sent on that way. One that came in fragments counts once.
    pub fn datagrams(&self, way: Way) -> u64 {
        self.way(way).datagrams.load(Ordering::Relaxed)
    }

    /// Octets of user data, without headers, that were sent on that way.
    pub fn octets(&self, way: Way) -> u64 {
        self.way(way).octets.load(Ordering::Relaxed)
    }

    /// How many distinct addresses the client's datagrams went to.
    pub fn destinations(&self) -> u64 {
        self.destinations.load(Ordering::Relaxed)
    }

    /// How many datagrams of both ways were dropped for that cause.
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped.get(cause as usize).map_or(0, |dropped| dropped.load(Ordering::Relaxed))
    }

    /// The causes that have come up, with how many datagrams were dropped for each.
    pub fn drops(&self) -> impl Iterator<Item = (DropCause, u64)> + '_ {
        DropCause::ALL.into_iter().map(|cause| (cause, self.dropped(cause))).filter(|(_, count)| *count > 0)
    }

    fn way(&self, way: Way) -> &Carried {
        match way {
            Way::Up => &self.up,
            Way::Down => &self.down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_its_own_count_and_word() {
        let tally = Tally::default();
        for (index, cause) in DropCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, index, "{cause} is at its place");
            tally.drop_many(cause, index + 1);
        }
        let counts: Vec<u64> = tally.drops().map(|(_, count)| count).collect();
        assert_eq!(counts, (1..=DropCause::ALL.len() as u64).collect::<Vec<_>>());
        let words: std::collections::HashSet<_> = DropCause::ALL.map(DropCause::as_str).into();
        assert_eq!(words.len(), DropCause::ALL.len());
    }
}
