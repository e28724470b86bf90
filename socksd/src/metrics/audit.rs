//! How the targets of the audit stream do.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::audit::Audit;

use super::signed;

/// The numbers of all targets; there are as few as the configuration names.
#[derive(Debug, Default)]
pub(super) struct AuditMetrics {
    failing: Family<OfTarget, Gauge>,
    waiting: Family<OfTarget, Gauge>,
    written: Family<OfTarget, Counter>,
    lost: Family<OfTarget, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTarget {
    target: String,
}

impl AuditMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("audit_failing", "1 while records cannot be written", self.failing.clone());
        let text = "Records that wait to be written";
        registry.register("audit_waiting_records", text, self.waiting.clone());
        registry.register("audit_written_records", "Records written", self.written.clone());
        registry.register("audit_lost_records", "Records that found no room", self.lost.clone());
    }

    pub(super) fn look(&self, audit: &Audit) {
        // A reload may have taken targets away.
        self.failing.clear();
        self.waiting.clear();
        self.written.clear();
        self.lost.clear();
        for counts in audit.counts() {
            let target = OfTarget { target: counts.place };
            self.failing.get_or_create(&target).set(i64::from(counts.failing));
            self.waiting.get_or_create(&target).set(signed(counts.waiting));
            self.written.get_or_create(&target).inner().store(counts.written, Ordering::Relaxed);
            self.lost.get_or_create(&target).inner().store(counts.lost, Ordering::Relaxed);
        }
    }
}
