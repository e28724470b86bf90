//! How long nothing more is asked of a gateway that has refused.

use std::time::Duration;

use tokio::time::Instant;

/// The pause after a first failure.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(16);

/// A pause that grows with each failure in a row.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Instant>,
    length: Duration,
}

impl Pause {
    /// Begins a pause, twice as long as the last one.
    pub(super) fn begin(&mut self, now: Instant) {
        self.length = (self.length * 2).clamp(FIRST, LONGEST);
        self.until = now.checked_add(self.length);
    }

    /// Forgets all failures.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    pub(super) fn lasts(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_a_success_ends_them() {
        let (mut pause, mut now) = (Pause::default(), Instant::now());
        assert!(!pause.lasts(now));
        for seconds in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 16.0] {
            pause.begin(now);
            let length = Duration::from_secs_f64(seconds);
            assert!(pause.lasts(now + length - Duration::from_millis(1)), "{seconds} s");
            now += length;
            assert!(!pause.lasts(now), "{seconds} s");
        }
        pause.end();
        pause.begin(now);
        assert!(!pause.lasts(now + FIRST));
    }
}
