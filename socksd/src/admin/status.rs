//! How the gateway as a whole is doing.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::gateway::Gateway;

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
    /// The policy's generation: 1 at the start, and one more with each reload.
    pub(crate) policy: u64,
    pub(crate) rules: usize,
    /// When the files that are in force were read.
    pub(crate) loaded: Timestamp,
    pub(crate) warnings: Vec<String>,
    pub(crate) listeners: Vec<Address>,
}

/// A listener.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
}

impl Status {
    pub(super) fn of(gateway: &Gateway) -> Self {
        let snapshot = gateway.snapshot.load();
        let listeners = snapshot.listeners.iter();
        Self {
            version: Version::own().version,
            pid: std::process::id(),
            started: gateway.started(),
            unready: gateway.unready().map(str::to_owned),
            sessions: gateway.admission.open(),
            policy: snapshot.ruleset.generation(),
            rules: snapshot.ruleset.rule_count(),
            loaded: snapshot.loaded,
            warnings: snapshot.warnings.clone(),
            listeners: listeners
                .map(|listener| Address { name: listener.name.to_string(), address: listener.address })
                .collect(),
        }
    }
}
