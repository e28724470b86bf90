//! Limits by the second: a bucket of octets, or of new sessions, with a line in front of it.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use socks_core::relay::LEASE;
use tokio::time::Instant;

/// The most that one place in the line is for is what comes in this part of a second: so the line moves on often.
const LEASES_PER_SECOND: u64 = 20;
/// A place in the line is for so many octets at least, or else everybody would come back for every few.
const LEAST_LEASE: u64 = 1024;
/// While others wait, datagrams go ahead of them with one of so many octets that come.
const AHEAD: u64 = 2;
/// New sessions of so many seconds can be saved up.
const SECONDS_OF_SESSIONS: u64 = 10;
const NANOSECONDS: u64 = 1_000_000_000;

/// Octets that come at a steady rate; those of one second can be saved up, and 64 KiB in any case, so that the
/// largest datagram fits. Or new sessions, of which those of ten seconds can be saved up: a browser opens many at once.
///
/// Octets are numbered. Whoever wants some takes the next numbers, and has his turn once the rate has come so far:
/// all who wait are served in the order in which they asked, and nobody has to be told.
///
/// Datagrams cannot wait. While others do, they go ahead of the line within bounds, and all turns come so much later: what
/// is given is the rate in any case, and neither sort starves.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: NonZeroU64,
    kind: Kind,
    /// The last number that was given to anybody.
    issued: u64,
    /// The last number whose turn has come.
    served: u64,
    /// Numbers whose owners have left the line, each run by its number before the first, with how many they are. Runs that
    /// meet are one, so there are no more than there are owners who wait.
    gone: BTreeMap<u64, u64>,
    /// What datagrams may still take ahead of the line, in parts of an octet: each octet that comes earns one of [`AHEAD`].
    ahead: u64,
    /// When that was counted; the time behind the last whole octet is kept for the next one.
    counted: Instant,
}

/// What is in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Octets,
    Sessions,
}

impl Bucket {
    /// A full bucket of octets.
    pub(super) fn new(rate: NonZeroU64, now: Instant) -> Self {
        Self::of(Kind::Octets, rate, now)
    }

    /// A full bucket of new sessions.
    pub(super) fn of_sessions(rate: NonZeroU32, now: Instant) -> Self {
        Self::of(Kind::Sessions, rate.into(), now)
    }

    fn of(kind: Kind, rate: NonZeroU64, now: Instant) -> Self {
        let served = kind.burst(rate);
        let mut bucket =
            Self { rate, kind, issued: 0, served, gone: BTreeMap::new(), ahead: 0, counted: now };
        bucket.ahead = bucket.most_ahead();
        bucket
    }

    /// Goes on at another rate.
    pub(super) fn change(&mut self, rate: NonZeroU64, now: Instant) {
        self.refill(now);
        self.rate = rate;
        self.ahead = self.ahead.min(self.most_ahead());
        self.spill();
    }

    /// How many octets a place in the line may be for.
    pub(super) fn lease(&self) -> usize {
        let lease = (self.rate.get() / LEASES_PER_SECOND).max(LEAST_LEASE);
        usize::try_from(lease).unwrap_or(LEASE).min(LEASE)
    }

    /// Takes the next place in the line, and gives the number of its last octet.
    pub(super) fn reserve(&mut self, octets: usize) -> u64 {
        self.issued += octets as u64;
        self.issued
    }

    /// How long until the turn of a place that ends with that number.
    pub(super) fn left(&mut self, end: u64, now: Instant) -> Duration {
        self.refill(now);
        let gone: u64 = self.gone.range(..end).map(|(_, octets)| octets).sum();
        let missing = u128::from(end.saturating_sub(self.served).saturating_sub(gone));
        let nanoseconds = (missing * u128::from(NANOSECONDS)).div_ceil(u128::from(self.rate.get()));
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }

    /// Takes octets without standing in line; `false`: they are not there, and there is nobody, or nobody any more, whom
    /// they could be taken from.
    pub(super) fn take(&mut self, octets: usize, now: Instant) -> bool {
        self.refill(now);
        let octets = octets as u64;
        if self.served.saturating_sub(self.issued) >= octets {
            self.issued += octets;
            return true;
        }
        let is_waited = self.served < self.issued;
        is_waited && self.go_ahead(octets)
    }

    /// Gives back what was taken so.
    pub(super) fn untake(&mut self, octets: usize) {
        self.give_back(octets);
        self.ahead = (self.ahead + AHEAD * octets as u64).min(self.most_ahead());
    }

    /// Gives up a place in the line that ends with that number: those behind have their turn so much sooner, and nobody
    /// before it has.
    pub(super) fn leave(&mut self, end: u64, octets: usize) {
        debug_assert!(end <= self.issued, "a place has a number that was given");
        let (mut first, mut octets) = (end.saturating_sub(octets as u64), octets as u64);
        octets += self.gone.remove(&end).unwrap_or_default();
        if let Some((&before, &run)) = self.gone.range(..first).next_back()
            && before + run == first
        {
            self.gone.remove(&before);
            (first, octets) = (before, octets + run);
        }
        self.gone.insert(first, octets);
        self.skip();
    }

    /// Takes octets back that had their turn: all who wait have theirs so much sooner.
    pub(super) fn give_back(&mut self, octets: usize) {
        self.served += octets as u64;
        self.skip();
    }

    /// Tells whether nobody waits, and no more can be saved up.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.served == self.issued + self.kind.burst(self.rate)
    }

    fn refill(&mut self, now: Instant) {
        let rate = u128::from(self.rate.get());
        let passed = now.saturating_duration_since(self.counted).as_nanos();
        let new = passed * rate / u128::from(NANOSECONDS);
        if new == 0 {
            return;
        }
        // Rounded up: what is lost of a nanosecond would otherwise be given twice.
        let took = (new * u128::from(NANOSECONDS)).div_ceil(rate);
        self.counted += Duration::from_nanos(u64::try_from(took).unwrap_or(u64::MAX));
        let new = u64::try_from(new).unwrap_or(u64::MAX);
        self.served = self.served.saturating_add(new);
        self.ahead = self.ahead.saturating_add(new).min(self.most_ahead());
        self.skip();
    }

    /// Takes octets from all who wait: their turns come later.
    fn go_ahead(&mut self, octets: u64) -> bool {
        let (ahead, served) = (self.ahead.checked_sub(AHEAD * octets), self.served.checked_sub(octets));
        let (Some(ahead), Some(served)) = (ahead, served) else { return false };
        (self.ahead, self.served) = (ahead, served);
        true
    }

    /// What datagrams may take ahead of the line at once, in parts of an octet: no more than would be one place there,
    /// but the largest datagram in any case.
    fn most_ahead(&self) -> u64 {
        (self.rate.get() / LEASES_PER_SECOND).max(LEASE as u64).saturating_mul(AHEAD)
    }

    /// Passes the numbers that nobody waits for any more.
    fn skip(&mut self) {
        while let Some(run) = self.gone.first_entry().filter(|run| *run.key() <= self.served) {
            self.served += run.remove();
        }
        self.spill();
    }

    /// Loses what cannot be saved up.
    fn spill(&mut self) {
        self.served = self.served.min(self.issued + self.kind.burst(self.rate));
    }
}

impl Kind {
    /// How much can be saved up.
    fn burst(self, rate: NonZeroU64) -> u64 {
        match self {
            Self::Octets => rate.get().max(LEASE as u64),
            Self::Sessions => rate.get().saturating_mul(SECONDS_OF_SESSIONS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn bucket(rate: u64) -> (Bucket, Instant) {
        let now = Instant::now();
        (Bucket::new(NonZeroU64::new(rate).unwrap(), now), now)
    }

    #[test]
    fn a_second_can_be_spent_at_once_and_then_it_goes_at_the_rate() {
        let (mut bucket, start) = bucket(1_000_000);
        let end = bucket.reserve(1_000_000);
        assert_eq!(bucket.left(end, start), Duration::ZERO);
        let end = bucket.reserve(500_000);
        assert_eq!(bucket.left(end, start), SECOND / 2);
        assert_eq!(bucket.left(end, start + SECOND / 4), SECOND / 4);
        assert_eq!(bucket.left(end, start + SECOND / 2), Duration::ZERO);
        assert!(!bucket.is_full(start + SECOND));
        assert!(bucket.is_full(start + 2 * SECOND));
    }

    #[test]
    fn all_who_wait_are_served_in_the_order_in_which_they_asked() {
        let (mut bucket, start) = bucket(100_000);
        bucket.reserve(100_000);
        let ends = [10_000, 1, 20_000].map(|octets| bucket.reserve(octets));
        let lefts = ends.map(|end| bucket.left(end, start));
        assert!(lefts.is_sorted() && lefts[0] == SECOND / 10, "{lefts:?}");
    }

    #[test]
    fn datagrams_pass_those_who_wait_within_bounds_and_all_turns_come_later() {
        let (mut bucket, start) = bucket(100_000);
        assert!(bucket.take(100_000, start) && !bucket.take(1, start), "nobody waits, and nothing is there");
        let end = bucket.reserve(10_000);
        assert_eq!(bucket.left(end, start), SECOND / 10);
        assert!(bucket.take(50_000, start));
        assert_eq!(bucket.left(end, start), SECOND * 6 / 10);
        assert!(!bucket.take(20_000, start), "no more than the largest datagram");
        bucket.untake(50_000);
        assert_eq!(bucket.left(end, start), SECOND / 10);
        assert!(bucket.take(65_507, start) && !bucket.take(100, start));
        let later = start + SECOND / 10;
        assert!(!bucket.take(5_100, later) && bucket.take(5_000, later), "one of two octets that come");
        assert_eq!(bucket.left(end, later), Duration::from_nanos(705_070_000));
    }

    #[test]
    fn who_used_less_makes_room() {
        let (mut bucket, start) = bucket(100_000);
        bucket.reserve(100_000);
        let end = bucket.reserve(100_000);
        assert_eq!(bucket.left(end, start), SECOND);
        bucket.give_back(50_000);
        assert_eq!(bucket.left(end, start), SECOND / 2);
        bucket.give_back(u32::MAX as usize);
        assert_eq!(bucket.left(end, start), Duration::ZERO);
        assert!(bucket.take(100_000, start) && !bucket.take(1, start), "no more than can be saved up");
    }

    #[test]
    fn who_leaves_the_line_makes_room_for_those_behind_alone() {
        let (mut bucket, start) = bucket(100_000);
        bucket.reserve(100_000);
        let ends = [(); 5].map(|()| bucket.reserve(50_000));
        let mut lefts = || ends.map(|end| bucket.left(end, start).as_millis());
        assert_eq!(lefts(), [500, 1000, 1500, 2000, 2500]);
        bucket.leave(ends[3], 50_000);
        let mut lefts = || ends.map(|end| bucket.left(end, start).as_millis());
        assert_eq!(lefts()[..3], [500, 1000, 1500]);
        assert_eq!(lefts()[4], 2000);
        bucket.leave(ends[1], 50_000);
        bucket.leave(ends[2], 50_000);
        assert_eq!(bucket.gone.len(), 1, "runs that meet are one");
        assert_eq!(bucket.left(ends[0], start), SECOND / 2);
        assert_eq!(bucket.left(ends[4], start), SECOND);
        assert_eq!(bucket.left(ends[4], start + SECOND / 2), SECOND / 2);
        assert!(bucket.gone.is_empty());
        assert_eq!(bucket.left(ends[4], start + SECOND), Duration::ZERO);
        assert!(bucket.is_full(start + 2 * SECOND));
    }

    #[test]
    fn a_line_that_everybody_has_left_takes_nothing() {
        let (mut bucket, start) = bucket(100_000);
        bucket.reserve(100_000);
        let first = bucket.reserve(50_000);
        for _ in 0..1000 {
            let end = bucket.reserve(50_000);
            bucket.leave(end, 50_000);
            assert!(bucket.gone.len() <= 1);
        }
        bucket.leave(first, 50_000);
        assert!(!bucket.take(1, start), "what was used is used");
        assert!(bucket.take(100_000, start + SECOND));
    }

    #[test]
    fn another_rate_counts_from_now_on() {
        let (mut bucket, start) = bucket(100_000);
        bucket.reserve(100_000);
        let end = bucket.reserve(100_000);
        bucket.change(NonZeroU64::new(1_000_000).unwrap(), start + SECOND / 2);
        assert_eq!(bucket.left(end, start + SECOND / 2), SECOND / 20);
    }

    #[test]
    fn octets_come_at_the_rate_however_often_they_are_asked_for() {
        for rate in [1, 7, 1000, 999_999_937, 100_000_000_000] {
            let (mut bucket, start) = bucket(rate);
            assert!(bucket.take(usize::try_from(bucket.kind.burst(bucket.rate)).unwrap(), start));
            let mut got = 0;
            for ms in 1..=1000 {
                let now = start + Duration::from_millis(ms);
                while bucket.take(usize::try_from(rate.div_ceil(5000)).unwrap(), now) {
                    got += rate.div_ceil(5000);
                }
            }
            assert!(got <= rate && rate - got <= 1 + rate / 1000, "{got} of {rate} within a second");
        }
    }

    #[test]
    fn sessions_of_ten_seconds_may_come_at_once() {
        let start = Instant::now();
        let mut bucket = Bucket::of_sessions(NonZeroU32::new(2).unwrap(), start);
        let come = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(1, now)).count();
        assert_eq!(come(&mut bucket, start), 20);
        assert_eq!(come(&mut bucket, start + SECOND / 2), 1);
        assert_eq!(come(&mut bucket, start + 60 * SECOND), 20);
    }

    #[test]
    fn the_smallest_rate_still_lets_the_largest_datagram_through() {
        let (mut bucket, start) = bucket(1);
        assert!(bucket.take(65_507, start));
        assert!(bucket.lease() >= 1024 && bucket.lease() as u64 <= bucket.kind.burst(bucket.rate));
    }
}
