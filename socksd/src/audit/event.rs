//! Events of the audit stream that belong to no session.
//!
//! A new one takes a variant here, a section in `docs/audit.md`, and a definition in `docs/schema/audit.json`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::VERSION;

/// Something that happened to the gateway.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum Event<'a> {
    /// The listeners are open.
    GatewayStart {
        /// What the numbers of its sessions begin with.
        boot: &'a str,
        version: &'a str,
        pid: u32,
        /// Generation of the policy.
        policy: u64,
    },
    /// The last session has ended.
    GatewayStop {
        boot: &'a str,
        pid: u32,
        /// How long it ran.
        seconds: f64,
        /// How many sessions it had, refused connections among them.
        sessions: u64,
    },
    /// Configuration and policy were read anew.
    Reload {
        #[serde(flatten)]
        by: Agent<'a>,
        result: ReloadResult,
        /// Generation of the policy that is in force now.
        policy: u64,
        #[serde(skip_serializing_if = "is_zero")]
        warnings: usize,
        /// What was wrong, the first line of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
    },
    /// An operator did something by the admin listener.
    Admin {
        who: &'a str,
        act: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        about: Option<&'a str>,
        result: &'a str,
    },
    /// Too many logins under one name have failed from one source: no more are judged for a while.
    LoginLock {
        method: &'a str,
        claimed_identity: &'a str,
        source: &'a str,
        failures: u32,
        until: Timestamp,
        /// Locks before it that have no record, because there were too many at a time.
        #[serde(skip_serializing_if = "is_none_yet")]
        unrecorded: u64,
    },
    /// A target had no room for records.
    AuditLost {
        place: &'a str,
        count: u64,
        /// When the first one was dropped.
        since: Timestamp,
    },
}

/// How somebody acts on the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub(crate) enum Agent<'a> {
    /// A signal to the process.
    Signal,
    /// The admin listener, for somebody.
    Admin { who: &'a str },
    /// Nobody: the process that had taken over is lost, and this one serves again.
    TakeBack,
}

/// What a reload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ReloadResult {
    Applied,
    /// Everything is as before.
    Refused,
}

impl ReloadResult {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Refused => "refused",
        }
    }
}

/// An event as its line has it.
#[derive(Debug, Serialize)]
pub(crate) struct Dated<'a> {
    v: u8,
    time: Timestamp,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

impl Event<'_> {
    /// The event with the time.
    pub(crate) fn now(&self) -> Dated<'_> {
        Dated { v: VERSION, time: Timestamp::now(), event: self }
    }
}

fn is_none_yet(count: &u64) -> bool {
    *count == 0
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}
