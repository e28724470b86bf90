//! What all sessions share.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use socks_core::relay::{Relayer, RelayerOptions};
use tokio::sync::Semaphore;
use tracing::warn;

use crate::admission::{Admission, RuleSessions};
use crate::audit::Audit;
use crate::config::OnAuditFailure;
use crate::metrics::Metrics;
use crate::refusals::Refusals;
use crate::roster::{Roster, SessionId};
use crate::snapshot::Snapshot;
use crate::throttle::Throttle;

/// One running gateway.
pub(crate) struct Gateway {
    /// Configuration, authenticators and policy as one piece; a session keeps the one it began with.
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// The addresses that this gateway itself listens on; the policy treats them as special.
    pub(crate) own: ArcSwap<Vec<SocketAddr>>,
    /// The sessions that are open.
    pub(crate) roster: Roster,
    pub(crate) admission: Admission,
    pub(crate) rule_sessions: RuleSessions,
    /// Associations alone, for the rules that limit them.
    pub(crate) rule_associations: RuleSessions,
    pub(crate) refusals: Refusals,
    pub(crate) audit: Audit,
    pub(crate) metrics: Metrics,
    pub(crate) relayer: Relayer,
    pub(crate) throttle: Throttle,
    /// One for each address that is tried while another one of the same target is.
    pub(crate) racing: Semaphore,
    started: Timestamp,
    sessions: AtomicU64,
    draining: AtomicBool,
    stopping: AtomicBool,
}

impl Gateway {
    pub(crate) fn new(snapshot: Snapshot, audit: Audit, relay: &RelayerOptions, racing: usize) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            own: ArcSwap::default(),
            roster: Roster::default(),
            admission: Admission::new(),
            rule_sessions: RuleSessions::default(),
            rule_associations: RuleSessions::default(),
            refusals: Refusals::new(),
            audit,
            metrics: Metrics::new(),
            relayer: Relayer::new(relay),
            throttle: Throttle::default(),
            racing: Semaphore::new(racing),
            started: Timestamp::now(),
            sessions: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn next_session(&self) -> SessionId {
        let boot = u64::try_from(self.started.as_millisecond()).unwrap_or_default();
        SessionId { boot, number: self.sessions.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// When it started.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// Says that no new sessions are taken from now on, and those that are open come to their end.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Why no new session would be served; `None`: it would.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        let is_strict = self.snapshot.load().settings.audit.on_failure == OnAuditFailure::Refuse;
        if self.draining.load(Ordering::Relaxed) {
            Some("the gateway stops")
        } else if is_strict && self.audit.is_failing() {
            Some("the audit file cannot be written")
        } else {
            None
        }
    }

    /// Says that sessions which are dropped from now on end because the gateway stops.
    pub(crate) fn stop(&self) {
        self.audit.be_patient();
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Learns the addresses behind the listening sockets, as they are now.
    pub(crate) fn learn_own_addresses(&self, listening: &[SocketAddr]) {
        match own_addresses(listening) {
            Ok(own) => self.own.store(Arc::new(own)),
            // What was known is better than nothing.
            Err(error) if self.throttle.allow("interfaces") => {
                warn!(%error, "addresses of this machine cannot be read; the gateway's own are those known before");
            }
            Err(_) => {}
        }
    }
}

/// The addresses that reach these listeners; a wildcard stands for each address of the machine.
pub(crate) fn own_addresses(listening: &[SocketAddr]) -> nix::Result<Vec<SocketAddr>> {
    let interfaces = interfaces()?;
    let mut own = listening.to_vec();
    for wildcard in listening.iter().filter(|address| address.ip().is_unspecified()) {
        // A wildcard of IPv6 takes IPv4 as well, unless the system says otherwise.
        own.extend(interfaces.iter().map(|ip| SocketAddr::new(ip.to_canonical(), wildcard.port())));
    }
    Ok(own)
}

/// The addresses of this machine's interfaces.
fn interfaces() -> nix::Result<Vec<IpAddr>> {
    let address = |interface: InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    Ok(getifaddrs()?.filter_map(address).collect())
}
