//! What all sessions share.

use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use jiff::Timestamp;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use socks_core::relay::{Relayer, RelayerOptions};
use socks_core::wire::Target;
use socks_policy::Operation;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::account::{Accounts, Claim, Shortage};
use crate::admission::{Admission, Full, RuleSessions, Source};
use crate::audit::{Audit, Event};
use crate::denials::Denials;
use crate::identities::Identities;
use crate::last_reload::LastReload;
use crate::logins::Logins;
use crate::metrics::Metrics;
use crate::own::{OwnSockets, Transport};
use crate::quotas::Quotas;
use crate::refusals::Refusals;
use crate::roster::{Roster, SessionId};
use crate::snapshot::Snapshot;
use crate::takeover::{Peer, Predecessor};
use crate::throttle::Throttle;

/// One running gateway.
pub(crate) struct Gateway {
    /// Configuration, authenticators and policy as one piece; a session keeps the one it began with.
    pub(crate) snapshot: ArcSwap<Snapshot>,
    /// The addresses that this gateway itself listens on for clients; the policy treats them as special.
    own: ArcSwap<Vec<SocketAddr>>,
    /// The addresses of this machine.
    machine: ArcSwap<Vec<IpAddr>>,
    /// The sockets of sessions, special as well.
    pub(crate) own_sockets: OwnSockets,
    /// The sessions that are open.
    pub(crate) roster: Roster,
    pub(crate) admission: Admission,
    /// What sessions use together, as far as that is limited.
    pub(crate) accounts: Accounts,
    /// Keeps of it what a restart must not forget.
    pub(crate) quotas: Quotas,
    pub(crate) rule_sessions: RuleSessions,
    /// Associations alone, for the rules that limit them.
    pub(crate) rule_associations: RuleSessions,
    pub(crate) refusals: Refusals,
    pub(crate) denials: Denials,
    pub(crate) last_reload: LastReload,
    /// What failed logins have brought.
    pub(crate) logins: Logins,
    pub(crate) audit: Audit,
    pub(crate) metrics: Metrics,
    pub(crate) relayer: Relayer,
    pub(crate) identities: Identities,
    pub(crate) throttle: Throttle,
    /// One for each address that is tried while another one of the same target is.
    pub(crate) racing: Semaphore,
    started: Timestamp,
    sessions: AtomicU64,
    /// How often the open sessions were judged again.
    pub(crate) sweeps: AtomicU64,
    draining: AtomicBool,
    /// The process that serves in this one's place.
    successor: ArcSwapOption<Peer>,
    /// The process that this one has taken over from may still serve again.
    on_trial: AtomicBool,
    /// The process that this one has taken over from, as long as it has sessions.
    predecessor: Mutex<Option<Predecessor>>,
    stopping: AtomicBool,
}

impl Gateway {
    pub(crate) fn new(snapshot: Snapshot, audit: Audit, relay: &RelayerOptions, racing: usize) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            own: ArcSwap::default(),
            machine: ArcSwap::default(),
            own_sockets: OwnSockets::new(),
            roster: Roster::default(),
            admission: Admission::new(),
            accounts: Accounts::new(),
            quotas: Quotas::default(),
            rule_sessions: RuleSessions::default(),
            rule_associations: RuleSessions::default(),
            refusals: Refusals::new(),
            denials: Denials::default(),
            last_reload: LastReload::default(),
            logins: Logins::new(),
            audit,
            metrics: Metrics::new(),
            relayer: Relayer::new(relay),
            identities: Identities::default(),
            throttle: Throttle::default(),
            racing: Semaphore::new(racing),
            started: Timestamp::now(),
            sessions: AtomicU64::new(0),
            sweeps: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            successor: ArcSwapOption::empty(),
            on_trial: AtomicBool::new(false),
            predecessor: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn next_session(&self) -> SessionId {
        SessionId { boot: self.boot(), number: self.sessions.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    /// How many sessions there were since it started, those that are open among them.
    pub(crate) fn begun(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// When it started.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// Says that no new sessions are taken from now on, and those that are open come to their end.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Tells whether it takes new sessions, as far as it is not its records that forbid it.
    pub(crate) fn is_serving(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }

    /// Says which process serves new clients from now on; `None`: this one does.
    pub(crate) fn hand_over(&self, process: Option<Arc<Peer>>) {
        self.successor.store(process);
    }

    /// The process that serves in this one's place, as long as it lives.
    pub(crate) fn successor(&self) -> Option<Arc<Peer>> {
        self.successor.load_full().filter(|successor| !successor.is_gone())
    }

    /// Says whether the process that this one takes over from may still serve again.
    pub(crate) fn be_on_trial(&self, is_on_trial: bool) {
        self.on_trial.store(is_on_trial, Ordering::Release);
    }

    /// Says that it does, and that this one is at its end.
    pub(crate) fn be_over(&self, serves: &Arc<Peer>) {
        self.hand_over(Some(serves.clone()));
        self.be_on_trial(false);
    }

    /// Tells whether that may be.
    pub(crate) fn is_on_trial(&self) -> bool {
        self.on_trial.load(Ordering::Acquire)
    }

    /// Says which process still has sessions from before.
    pub(crate) fn follow(&self, predecessor: Option<Predecessor>) {
        *self.predecessor.lock().unwrap_or_else(PoisonError::into_inner) = predecessor;
    }

    /// The process that still has sessions from before.
    pub(crate) fn predecessor(&self) -> Option<Predecessor> {
        self.predecessor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How it does, in a few words.
    pub(crate) fn in_short(&self) -> String {
        let snapshot = self.snapshot.load();
        let (policy, rules) = (snapshot.ruleset.generation(), snapshot.ruleset.rule_count());
        let sessions = self.admission.open();
        match self.unready() {
            None => format!("{sessions} sessions, policy {policy} with {rules} rules"),
            Some(why) => format!("{why}; {sessions} sessions, policy {policy} with {rules} rules"),
        }
    }

    /// Why no new session would be served; `None`: it would.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        if self.draining.load(Ordering::Relaxed) {
            Some("the gateway stops")
        } else if self.successor.load().is_some() {
            Some("another process has taken over")
        } else if self.audit.refuses() {
            Some("records cannot be written")
        } else {
            None
        }
    }

    /// Leaves the record that the gateway begins to serve.
    pub(crate) fn tell_of_start(&self) {
        let (boot, version, pid) =
            (format!("{:x}", self.boot()), env!("CARGO_PKG_VERSION"), std::process::id());
        let policy = self.snapshot.load().ruleset.generation();
        self.audit.tell(&Event::GatewayStart { boot: &boot, version, pid, policy });
    }

    /// Leaves the record that no session will follow.
    pub(crate) fn tell_of_stop(&self) {
        let (boot, pid) = (format!("{:x}", self.boot()), std::process::id());
        let sessions = self.sessions.load(Ordering::Relaxed);
        let seconds = Timestamp::now().duration_since(self.started).as_secs_f64();
        let seconds = (seconds.max(0.0) * 1e3).round() / 1e3;
        self.audit.tell(&Event::GatewayStop { boot: &boot, pid, sessions, seconds });
    }

    /// What the numbers of this gateway's sessions begin with.
    fn boot(&self) -> u64 {
        u64::try_from(self.started.as_millisecond()).unwrap_or_default()
    }

    /// Says that sessions which are dropped from now on end because the gateway stops.
    pub(crate) fn stop(&self) {
        self.audit.be_patient();
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The gateway's own addresses that must not be reached by this operation without a rule that says so: those of
    /// its listeners, and at the port in question those of its sessions' sockets, as they are now.
    ///
    /// A BIND is not led anywhere, so it may well expect a peer that comes through the gateway itself.
    pub(crate) fn own_for(&self, operation: Option<Operation<'_>>) -> Own {
        let listeners = self.own.load();
        let (transport, port) = match operation {
            Some(Operation::Connect(Target { port, .. })) => (Transport::Tcp, *port),
            Some(Operation::Datagram(Target { port, .. })) => (Transport::Udp, *port),
            _ => return Own::Listeners(listeners),
        };
        let sockets = self.own_sockets.at(transport, port);
        if sockets.is_empty() {
            return Own::Listeners(listeners);
        }
        let sockets: Vec<SocketAddr> = sockets.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        let sockets = behind(&sockets, &self.machine.load());
        Own::More(listeners.iter().copied().chain(sockets).collect())
    }

    /// Tells whether an address is one of this machine's.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        self.machine.load().iter().any(|own| own.to_canonical() == address)
    }

    /// Writes down what was used of a day's octets, unless another process does.
    pub(crate) fn save_quotas(&self) {
        let snapshot = self.snapshot.load();
        if let Some(config) = &snapshot.settings.quotas
            && self.successor.load().is_none()
        {
            self.quotas.save(&config.file, &self.accounts);
        }
    }

    /// Counts a session of a source that is about to begin, if there may be one.
    pub(crate) fn begin_session_of(&self, source: Source) -> Result<(), Full> {
        let snapshot = self.snapshot.load();
        let claim = Claim::of_source(&snapshot.settings.limits, source, snapshot.ruleset.generation());
        let begun = claim.map_or(Ok(()), |claim| self.accounts.begin_session(claim));
        begun.map_err(|(_, shortage)| match shortage {
            Shortage::Rate => Full::SourceRate,
            Shortage::Day => Full::SourceUsedUp,
        })
    }

    /// Learns the addresses behind the listening sockets, as they are now.
    pub(crate) fn learn_own_addresses(&self, listening: &[SocketAddr]) {
        match interfaces() {
            Ok(machine) => {
                self.own.store(Arc::new(behind(listening, &machine)));
                self.machine.store(Arc::new(machine));
            }
            Err(error) => {
                // What was known is better than nothing.
                self.own.store(Arc::new(behind(listening, &self.machine.load())));
                if self.throttle.allow("interfaces") {
                    warn!(%error, "addresses of this machine cannot be read; they count as those known before");
                }
            }
        }
    }
}

/// The addresses of the gateway's own to which an operation must not lead unless a rule says so.
pub(crate) enum Own {
    /// Those of the listeners.
    Listeners(Guard<Arc<Vec<SocketAddr>>>),
    /// Those and others.
    More(Vec<SocketAddr>),
}

impl Deref for Own {
    type Target = [SocketAddr];

    fn deref(&self) -> &[SocketAddr] {
        match self {
            Self::Listeners(own) => own,
            Self::More(own) => own,
        }
    }
}

/// The addresses that reach these listeners; a wildcard stands for each address of the machine.
pub(crate) fn own_addresses(listening: &[SocketAddr]) -> nix::Result<Vec<SocketAddr>> {
    Ok(behind(listening, &interfaces()?))
}

/// The same on a machine with these addresses.
fn behind(listening: &[SocketAddr], machine: &[IpAddr]) -> Vec<SocketAddr> {
    let mut own = listening.to_vec();
    for wildcard in listening.iter().filter(|address| address.ip().is_unspecified()) {
        // A wildcard of IPv6 takes IPv4 as well, unless the system says otherwise.
        own.extend(machine.iter().map(|ip| SocketAddr::new(ip.to_canonical(), wildcard.port())));
    }
    own
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
