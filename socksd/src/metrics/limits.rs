//! What limits on what sessions use together have done.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::account::{Accounts, Sort};

use super::signed;

/// The numbers of all accounts, by their sort.
#[derive(Debug, Default)]
pub(super) struct LimitMetrics {
    accounts: Family<OfSort, Gauge>,
    waits: Family<OfSort, Counter>,
    waited: Family<OfSort, Counter<f64, AtomicU64>>,
    dropped: Family<OfSort, Counter>,
    refused: Family<OfSort, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSort {
    of: &'static str,
}

impl LimitMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let text = "Sources, identities and rules whose use is counted at the moment";
        registry.register("limit_accounts", text, self.accounts.clone());
        let text = "How often tunnels have waited for octets because of a rate";
        registry.register("rate_waits", text, self.waits.clone());
        let text = "How long they have waited";
        registry.register("rate_waited_seconds", text, self.waited.clone());
        let text = "Datagrams dropped because of a rate of octets";
        registry.register("rate_dropped_datagrams", text, self.dropped.clone());
        let text = "Sessions refused because too many had begun in a short time";
        registry.register("rate_refused_sessions", text, self.refused.clone());
    }

    pub(super) fn look(&self, accounts: &Accounts) {
        for sort in Sort::ALL {
            let (of, tally) = (OfSort { of: sort.as_str() }, accounts.tallies.of(sort));
            self.accounts.get_or_create(&of).set(signed(accounts.count(sort)));
            self.waits.get_or_create(&of).inner().store(tally.waits(), Ordering::Relaxed);
            self.waited.get_or_create(&of).inner().store(tally.seconds().to_bits(), Ordering::Relaxed);
            self.dropped.get_or_create(&of).inner().store(tally.dropped(), Ordering::Relaxed);
            self.refused.get_or_create(&of).inner().store(tally.refused(), Ordering::Relaxed);
        }
    }
}
