//! How the gateway as a whole is doing.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::gateway::Gateway;
use crate::last_reload::Reload;
use crate::listeners::{Listeners, Listening};

/// Which program answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Version {
    pub(super) fn own() -> Self {
        Self { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() }
    }
}

/// The state of a running gateway. `docs/admin.md` describes each field.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Status {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) started: Timestamp,
    /// Why no new session is served; none: they are.
    pub(crate) unready: Option<String>,
    pub(crate) sessions: usize,
    /// How many there were since the start, and how many of them were denied.
    pub(crate) begun: u64,
    pub(crate) denied: u64,
    /// Sources that are locked out under a name.
    #[serde(default)]
    pub(crate) locked_logins: usize,
    /// The policy's generation: 1 at the start, and one more with each reload.
    pub(crate) policy: u64,
    pub(crate) rules: usize,
    /// When the files that are in force were read.
    pub(crate) loaded: Timestamp,
    /// What the last reload came to; none: there was none.
    pub(crate) last_reload: Option<Reload>,
    pub(crate) warnings: Vec<String>,
    pub(crate) listeners: Vec<Address>,
    /// Processes that this one has taken over from, and that still have sessions.
    pub(crate) predecessors: Vec<Earlier>,
}

/// A process that has handed over.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Earlier {
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) sessions: usize,
}

/// An open listener.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
}

impl Address {
    fn of(open: &Listening) -> Self {
        Self { name: open.entry().name.to_string(), address: open.local() }
    }
}

impl Status {
    pub(super) fn of(gateway: &Gateway, listeners: &Listeners) -> Self {
        let snapshot = gateway.snapshot.load();
        Self {
            version: Version::own().version,
            pid: std::process::id(),
            started: gateway.started(),
            unready: gateway.unready().map(str::to_owned),
            sessions: gateway.admission.open(),
            begun: gateway.begun(),
            denied: gateway.denials.count(),
            locked_logins: gateway.logins.locked(),
            policy: snapshot.ruleset.generation(),
            rules: snapshot.ruleset.rule_count(),
            loaded: snapshot.loaded,
            last_reload: gateway.last_reload.get().map(|last| Reload::clone(&last)),
            warnings: snapshot.warnings.clone(),
            listeners: listeners.iter().map(|open| Address::of(open)).collect(),
            predecessors: Vec::new(),
        }
    }
}
