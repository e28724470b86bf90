//! The limits of a gateway, all with defaults that an office can live with.

use std::num::NonZeroU32;
use std::time::Duration;

use socks_config::{Findings, Node};
use socks_policy::Allowance;

use super::{LoginLimits, number, octets, time};

/// What one gateway, one source and one session may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// From the first octet to the whole request.
    pub(crate) handshake_timeout: Duration,
    /// For the lookup of one name.
    pub(crate) resolve_timeout: Duration,
    /// For opening a connection, over all addresses of a target.
    pub(crate) connect_timeout: Duration,
    /// How long no octet may move in a tunnel.
    pub(crate) idle_timeout: Duration,
    /// How long a BIND waits for its peer.
    pub(crate) bind_timeout: Duration,
    /// How long open sessions may go on when the gateway is told to stop.
    pub(crate) drain_timeout: Duration,
    /// How long no datagram may move in an association.
    pub(crate) udp_idle_timeout: Duration,
    /// Destinations whose verdicts one association remembers.
    pub(crate) destinations_per_association: usize,
    /// Sessions at once.
    pub(crate) max_sessions: usize,
    /// Sessions at once of one IPv4 address, or of one IPv6 /64.
    pub(crate) max_sessions_per_source: usize,
    /// Sessions at once of one identity, under all rules together; an anonymous client counts by its source.
    pub(crate) max_sessions_per_identity: Option<u32>,
    /// What the sessions of one source may use.
    pub(crate) per_source: Allowance,
    /// What those of one identity may use, under all rules together; an anonymous client counts by its source.
    pub(crate) per_identity: Allowance,
    /// Connections of load balancers that have not yet said for whom they are.
    pub(crate) max_pending_headers: usize,
    /// Descriptors that sessions never use.
    pub(crate) descriptors_kept_free: usize,
    /// What failed logins bring.
    pub(crate) logins: LoginLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            resolve_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3600),
            bind_timeout: Duration::from_secs(120),
            udp_idle_timeout: Duration::from_secs(180),
            drain_timeout: Duration::from_secs(30),
            destinations_per_association: 1024,
            max_sessions: 100_000,
            max_sessions_per_source: 2_000,
            max_sessions_per_identity: None,
            per_source: Allowance::default(),
            per_identity: Allowance::default(),
            max_pending_headers: 1_000,
            descriptors_kept_free: 64,
            logins: LoginLimits::default(),
        }
    }
}

impl Limits {
    pub(super) fn read(node: &Node, findings: &mut Findings) -> Self {
        let mut limits = Self::default();
        let Some(mut fields) = node.fields(findings) else { return limits };
        let times = [
            ("handshake-timeout", &mut limits.handshake_timeout),
            ("resolve-timeout", &mut limits.resolve_timeout),
            ("connect-timeout", &mut limits.connect_timeout),
            ("idle-timeout", &mut limits.idle_timeout),
            ("bind-timeout", &mut limits.bind_timeout),
            ("udp-idle-timeout", &mut limits.udp_idle_timeout),
            ("drain-timeout", &mut limits.drain_timeout),
        ];
        for (key, limit) in times {
            if let Some(time) = time(&mut fields, key, findings) {
                *limit = time;
            }
        }
        let counts = [
            ("destinations-per-association", 1, &mut limits.destinations_per_association),
            ("max-sessions", 1, &mut limits.max_sessions),
            ("max-sessions-per-source", 1, &mut limits.max_sessions_per_source),
            ("max-pending-headers", 1, &mut limits.max_pending_headers),
            ("descriptors-kept-free", 0, &mut limits.descriptors_kept_free),
        ];
        for (key, least, limit) in counts {
            let Some(node) = fields.take(key) else { continue };
            match findings.note(node.parse::<usize>()) {
                Some(count) if count >= least => *limit = count,
                Some(_) => findings.mistake(&node.place, format!("`{key}` must be at least {least}")),
                None => {}
            }
        }
        if let Some(node) = fields.take("logins") {
            limits.logins = LoginLimits::read(node, findings);
        }
        limits.max_sessions_per_identity =
            number(&mut fields, "max-sessions-per-identity", findings).map(NonZeroU32::get);
        limits.per_source.new_sessions = number(&mut fields, "new-sessions-per-source", findings);
        limits.per_identity.new_sessions = number(&mut fields, "new-sessions-per-identity", findings);
        limits.per_source.daily = octets(&mut fields, "daily-per-source", findings);
        limits.per_identity.daily = octets(&mut fields, "daily-per-identity", findings);
        limits.per_source.rate = octets(&mut fields, "rate-per-source", findings);
        limits.per_identity.rate = octets(&mut fields, "rate-per-identity", findings);
        fields.finish(findings);
        limits
    }
}
