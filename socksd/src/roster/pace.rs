//! How fast a session's octets flow, measured by those who look: nobody pays for it while nobody does.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// A shorter time tells nothing of a rate.
const LEAST_SPAN: Duration = Duration::from_secs(1);

/// Octets per second, each way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rates {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

/// What was seen when somebody looked last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    seen: Option<Instant>,
    octets: Rates,
    rates: Rates,
}

impl Pace {
    /// The rates since somebody looked last, or since the session `began`; what was measured before, if that is
    /// not yet a second.
    pub(crate) fn look(&mut self, began: Instant, now: Instant, octets: Rates) -> Rates {
        let span = now.saturating_duration_since(self.seen.unwrap_or(began));
        if span >= LEAST_SPAN {
            let rate = |now: u64, before: u64| per_second(now.saturating_sub(before), span);
            self.rates =
                Rates { up: rate(octets.up, self.octets.up), down: rate(octets.down, self.octets.down) };
            self.octets = octets;
            self.seen = Some(now);
        }
        self.rates
    }
}

impl Rates {
    /// Both ways together.
    pub(crate) fn sum(self) -> u64 {
        self.up.saturating_add(self.down)
    }

    /// Those of several sessions together.
    pub(crate) fn add(&mut self, other: Self) {
        self.up = self.up.saturating_add(other.up);
        self.down = self.down.saturating_add(other.down);
    }
}

fn per_second(octets: u64, span: Duration) -> u64 {
    let millis = span.as_millis().max(1);
    u64::try_from(u128::from(octets) * 1000 / millis).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_measured_from_look_to_look_and_not_within_a_second() {
        let (mut pace, began) = (Pace::default(), Instant::now());
        let mut look = |millis, up, down| {
            let rates = pace.look(began, began + Duration::from_millis(millis), Rates { up, down });
            (rates.up, rates.down)
        };
        assert_eq!(look(500, 9_000, 0), (0, 0), "too early to tell");
        assert_eq!(look(2_000, 10_000, 4), (5_000, 2));
        assert_eq!(look(2_900, 99_000, 4), (5_000, 2), "as before");
        assert_eq!(look(4_000, 110_000, 4), (50_000, 0));
        assert_eq!(look(14_000, 110_000, 4), (0, 0), "idle since");
    }
}
