//! The limit on datagrams per second: a token bucket that holds the tokens of one second.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

/// Tokens that come at a steady rate; those of one second can be saved up.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: NonZeroU32,
    tokens: u32,
    /// When the tokens were counted; the time behind the last whole token is kept for the next one.
    counted: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: NonZeroU32, now: Instant) -> Self {
        Self { rate, tokens: rate.get(), counted: now }
    }

    /// Takes as many of `wanted` tokens as are there.
    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        self.refill(now);
        let granted = u32::try_from(wanted).unwrap_or(u32::MAX).min(self.tokens);
        self.tokens -= granted;
        usize::try_from(granted).unwrap_or(wanted)
    }

    fn refill(&mut self, now: Instant) {
        let rate = u64::from(self.rate.get());
        let passed = now.saturating_duration_since(self.counted);
        if passed >= Duration::from_secs(1) {
            (self.tokens, self.counted) = (self.rate.get(), now);
            return;
        }
        // Below 10^9 times 2^32, which is below 2^62.
        let new = u64::from(passed.subsec_nanos()) * rate / 1_000_000_000;
        // Rounded up: at rates near a token for each nanosecond, what is lost would otherwise be given twice.
        self.counted += Duration::from_nanos((new * 1_000_000_000).div_ceil(rate));
        let new = u32::try_from(new).unwrap_or(u32::MAX);
        self.tokens = self.tokens.saturating_add(new).min(self.rate.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(rate: u32) -> (Bucket, Instant) {
        let start = Instant::now();
        (Bucket::new(NonZeroU32::new(rate).unwrap(), start), start)
    }

    #[test]
    fn a_second_can_be_spent_at_once_and_no_more() {
        let (mut bucket, start) = bucket(100);
        assert_eq!(bucket.take(64, start), 64);
        assert_eq!(bucket.take(64, start), 36);
        assert_eq!(bucket.take(1, start), 0);
        assert_eq!(bucket.take(1000, start + Duration::from_secs(3600)), 100);
    }

    #[test]
    fn tokens_come_at_the_rate_however_often_they_are_asked_for() {
        for rate in [1, 7, 1000, 999_999_937, u32::MAX] {
            let (mut bucket, start) = bucket(rate);
            let all = usize::try_from(rate).unwrap();
            assert_eq!(bucket.take(usize::MAX, start), all);
            let got: usize = (1..=1000).map(|ms| bucket.take(all, start + Duration::from_millis(ms))).sum();
            assert!(got <= all && all - got <= 1 + all / 100_000, "{got} of {all} within a second");
        }
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let (mut bucket, start) = bucket(10);
        let later = start + Duration::from_millis(500);
        assert_eq!(bucket.take(10, later), 10);
        assert_eq!(bucket.take(10, start), 0);
        assert_eq!(bucket.take(10, later), 0);
    }
}
