//! Acts that were refused: each leaves a record, unless there are so many that somebody wants to fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long an interval is.
pub(super) const INTERVAL: Duration = Duration::from_secs(10);
/// Refused acts of an interval that get a record each; the rest is counted.
const MOST_SINGLE: u32 = 10;

/// Refused acts of the interval that runs.
#[derive(Debug, Default)]
pub(crate) struct RefusedActs(Mutex<Interval>);

#[derive(Debug, Default)]
struct Interval {
    single: u32,
    rest: u64,
}

impl RefusedActs {
    /// Counts one; true: it deserves a record of its own.
    pub(super) fn count(&self) -> bool {
        let mut interval = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if interval.single < MOST_SINGLE {
            interval.single += 1;
            return true;
        }
        interval.rest += 1;
        false
    }

    /// Begins a new interval, and tells how many of the one before have no record.
    pub(super) fn next_interval(&self) -> u64 {
        let mut interval = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *interval).rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_an_interval_get_a_record_each_and_none_is_forgotten() {
        let refused = RefusedActs::default();
        let singles = |of: u32| (0..of).filter(|_| refused.count()).count();
        assert_eq!((singles(100), refused.next_interval()), (10, 90));
        assert_eq!((singles(3), refused.next_interval()), (3, 0));
    }
}
