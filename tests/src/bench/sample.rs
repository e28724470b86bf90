//! What one measurement of one server gave.

use std::collections::BTreeMap;

use super::{Quantity, percentile};

/// Figures with their units, of one round.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Sample {
    pub(super) figures: BTreeMap<Quantity, (f64, &'static str)>,
    pub(super) limited: bool,
    pub(super) note: Option<String>,
}

impl Sample {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a figure.
    pub fn with(mut self, quantity: Quantity, figure: f64, unit: &'static str) -> Self {
        self.figures.insert(quantity, (figure, unit));
        self
    }

    /// With the median and the 99th percentile of times in nanoseconds, if there are any.
    pub fn with_times(mut self, times: &mut [u32]) -> Self {
        for (quantity, percent) in [(Quantity::P50, 50), (Quantity::P99, 99)] {
            if let Some(time) = percentile(times, percent) {
                self = self.with(quantity, f64::from(time) / 1e3, "µs");
            }
        }
        self
    }

    /// As one in which the load generator was what limited the rate.
    pub fn limited(mut self, limited: bool) -> Self {
        self.limited = limited;
        self
    }

    /// With a word on how this server was measured that differs from the others.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }
}
