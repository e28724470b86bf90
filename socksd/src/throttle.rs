//! Warnings that clients can cause at will, each at most once in a while.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one warning keeps others of its sort quiet.
const PAUSE: Duration = Duration::from_secs(10);

/// When which sort of warning was last given.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<HashMap<&'static str, Instant>>);

impl Throttle {
    /// True at most once in ten seconds for each sort; the sorts are words of the program, so they are few.
    pub(crate) fn allow(&self, sort: &'static str) -> bool {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if given.get(sort).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        given.insert(sort, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_once_and_keeps_no_other_quiet() {
        let throttle = Throttle::default();
        let given: Vec<_> = ["a", "a", "b", "a", "b"].map(|sort| throttle.allow(sort)).to_vec();
        assert_eq!(given, [true, false, true, false, false]);
    }
}
