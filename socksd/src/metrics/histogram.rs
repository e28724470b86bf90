//! How long things take, in buckets that sessions add to without waiting for each other or for a scrape.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// The buckets' upper bounds in seconds: a loopback handshake is in the first, a timeout in the last.
const BOUNDS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Durations, counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Histogram(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// One for each bound.
    buckets: [AtomicU64; BOUNDS.len()],
    /// What is longer than all of them.
    longer: AtomicU64,
    microseconds: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().zip(&self.0.buckets).find(|(bound, _)| seconds <= **bound);
        let bucket = bucket.map_or(&self.0.longer, |(_, bucket)| bucket);
        bucket.fetch_add(1, Ordering::Relaxed);
        let microseconds = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let counts = self.0.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let mut buckets: Vec<(f64, u64)> = BOUNDS.into_iter().zip(counts).collect();
        buckets.push((f64::INFINITY, self.0.longer.load(Ordering::Relaxed)));
        let count = buckets.iter().map(|(_, count)| count).sum();
        #[expect(clippy::cast_precision_loss, reason = "a sum of seconds needs no more digits")]
        let seconds = self.0.microseconds.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<[(&str, &str); 0]>(seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn each_duration_is_in_its_bucket_and_in_all_above() {
        let (histogram, mut registry) = (Histogram::default(), Registry::default());
        registry.register("took", "Time", histogram.clone());
        for milliseconds in [0, 1, 3, 20_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "took_bucket{le=\"0.0005\"} 1",
            "took_bucket{le=\"0.001\"} 2",
            "took_bucket{le=\"0.005\"} 3",
            "took_bucket{le=\"10.0\"} 3",
            "took_bucket{le=\"+Inf\"} 4",
            "took_count 4",
            "took_sum 20.004",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
