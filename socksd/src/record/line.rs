//! The shapes of a session's records, as lines of the audit stream.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Serialize;
use socks_policy::SpecialUse;

use crate::shadow::Difference;

/// What is known of a session once it is open: its start record, if those are wanted.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Opening<'a> {
    pub(super) v: u8,
    pub(super) event: &'static str,
    pub(super) session: String,
    pub(super) time: Timestamp,
    pub(super) started: Timestamp,
    pub(super) listener: &'a str,
    pub(super) client: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) via: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) groups: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) groups_missing: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) groups_unknown: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attributes: Option<&'a BTreeMap<Box<str>, Box<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protection: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) valid_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) addresses: &'a [IpAddr],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) judged: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dialled: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bound: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advertised: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) logged_by: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<u64>,
}

/// The end record of a session. All fields are described in `docs/audit.md` and `docs/schema/audit.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Line<'a> {
    #[serde(flatten)]
    pub(super) opening: Opening<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) claimed_identity: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) expired: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) refused_peers: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rules_before: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) shadow: Vec<&'a Difference>,
    pub(super) verdict: &'static str,
    pub(super) cause: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) special_use: Option<SpecialUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply: Option<u8>,
    pub(super) up: u64,
    pub(super) down: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) datagrams_up: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) datagrams_down: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) destinations: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) drops: BTreeMap<&'static str, u64>,
    pub(super) seconds: f64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
