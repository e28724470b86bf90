//! How a session ended, and what that means for the client, the log and the record. Nowhere else is it decided.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use socks_auth::AuthError;
use socks_client::{Fault, Step};
use socks_core::ReceiveError;
use socks_core::relay::RelayEnd;
use socks_core::udp::AssociationEnd;
use socks_core::wire::{DecodeError, Host, NameError, ReplyCode};
use socks_policy::{Denial, DenyReason, SpecialUse};

use crate::account::Sort;
use crate::admission::Full;
use crate::dial::DialError;
use crate::listen::ListenError;
use crate::places::SessionLimit;
use crate::resolve::ResolveError;
use crate::roster::Ending;
use crate::upstream::UpstreamError;

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum End {
    /// No rule could ever permit anything to this source.
    SourceDenied(Denial),
    /// The policy's `clients` offer this source no method.
    NoMethodForSource,
    /// A limit on sessions is reached.
    Full(Full),
    /// Records cannot be written, and the configuration does not let sessions go on without.
    AuditFailing,
    /// A load balancer did not say for whom its connection is.
    ProxyHeader(ReceiveError),
    /// The connection begins with a PROXY header, and comes from nobody who may send one.
    ProxyHeaderRefused,
    /// The client's greeting is none.
    Greeting(ReceiveError),
    /// The client offered no method that the policy allows it.
    NoAcceptableMethod,
    /// Authentication did not succeed.
    Auth(AuthError),
    /// The authenticator let the client in at a protection level that the policy does not allow.
    LevelNotAllowed,
    /// Greeting, authentication and request took too long.
    HandshakeTimeout(Duration),
    /// The client's request is none.
    Request(ReceiveError),
    /// CONNECT to port 0.
    PortZero,
    /// The ruleset denies it.
    Denied(Denial),
    /// A rule permits it, but uses no address of the target's family; `literal`: the address that was asked for.
    OtherFamily { rule: Arc<str>, literal: Option<IpAddr> },
    /// The ruleset asks for a fact that there cannot be.
    Undecided,
    /// A limit on sessions that counts them by rule or identity is reached.
    Limited(SessionLimit),
    /// The rule's own limit on associations is reached.
    AssociationsFull,
    /// There is a place for a session, but none for the sockets of an association.
    SocketsFull(Full),
    /// The target's name gave no address.
    Resolve(ResolveError),
    /// No address of the target could be reached.
    Dial(DialError),
    /// There is no connection through the rule's upstream gateway.
    Upstream(UpstreamError),
    /// The gateway cannot listen for the peer of a BIND.
    Listen(ListenError),
    /// The right peer of a BIND has not come in time.
    NoPeer(Duration),
    /// The one peer that an upstream gateway has taken for a BIND is not the right one.
    PeerRefused(SocketAddr),
    /// The peer of a BIND was lost when it had just come.
    Peer(io::Error),
    /// The client hung up while its peer was awaited.
    ClientLeft(io::Error),
    /// The client did not take its reply.
    Reply(io::Error),
    /// Octets were relayed until this.
    Relayed(RelayEnd),
    /// Datagrams were carried until this.
    Associated(AssociationEnd),
    /// Somebody else ended it.
    Outside(Ending),
    /// A bug of ours.
    Panicked,
    /// The gateway stopped.
    Stopped,
    /// The session's task was dropped.
    Dropped,
}

/// The record's word for how far the session came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A rule permitted it, and octets could flow.
    Permit,
    /// The policy said no.
    Deny,
    /// It did not come so far, or the network said no.
    Fail,
}

impl Verdict {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::Fail => "fail",
        }
    }
}

/// Who can do something about an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Concern {
    /// Nobody has to: the session's own line says it all.
    Record,
    /// The operator: a warning.
    Operator,
    /// Us: an error.
    Bug,
}

impl End {
    /// What ends a request whose target has no address that the rule uses.
    pub(crate) fn other_family(rule: &Arc<str>, host: &Host) -> Self {
        let literal = match host {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        };
        Self::OtherFamily { rule: rule.clone(), literal }
    }

    /// The rule that refuses, for the record.
    pub(crate) fn rule(&self) -> Option<&Arc<str>> {
        match self {
            Self::Denied(denial) => denial.rule.as_ref(),
            Self::OtherFamily { rule, .. } => Some(rule),
            _ => None,
        }
    }

    /// The reply that refuses the request; `None` where no reply can be sent any more, or yet.
    pub(crate) fn reply(&self) -> Option<ReplyCode> {
        Some(match self {
            Self::Request(ReceiveError::Decode(error)) => malformed_request(error),
            Self::Denied(_) => ReplyCode::NOT_ALLOWED,
            Self::OtherFamily { literal: Some(_), .. } => ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED,
            // For this rule the name has no address.
            Self::OtherFamily { literal: None, .. } => ReplyCode::HOST_UNREACHABLE,
            Self::PortZero
            | Self::Limited(_)
            | Self::AssociationsFull
            | Self::SocketsFull(_)
            | Self::Undecided => ReplyCode::GENERAL_FAILURE,
            Self::Resolve(_) | Self::Dial(DialError::Timeout(_)) => ReplyCode::HOST_UNREACHABLE,
            Self::Dial(DialError::Failed { error, .. }) => dial_failure(error),
            Self::Upstream(error) => upstream_failure(error),
            Self::Listen(ListenError::PortsUsedUp { .. }) | Self::Peer(_) => ReplyCode::GENERAL_FAILURE,
            Self::Listen(ListenError::Failed { error, .. }) => dial_failure(error),
            Self::NoPeer(_) => ReplyCode::TTL_EXPIRED,
            Self::PeerRefused(_) => ReplyCode::NOT_ALLOWED,
            _ => return None,
        })
    }

    pub(crate) fn verdict(&self) -> Verdict {
        match self {
            Self::Relayed(_) | Self::Associated(_) => Verdict::Permit,
            Self::SourceDenied(_)
            | Self::NoMethodForSource
            | Self::Full(_)
            | Self::ProxyHeaderRefused
            | Self::NoAcceptableMethod
            | Self::LevelNotAllowed
            | Self::Auth(
                AuthError::Refused { .. } | AuthError::LevelRefused { .. } | AuthError::LockedOut { .. },
            )
            | Self::Limited(_)
            | Self::OtherFamily { .. }
            | Self::PeerRefused(_)
            | Self::AssociationsFull
            | Self::SocketsFull(_)
            | Self::Denied(_) => Verdict::Deny,
            Self::Request(ReceiveError::Decode(DecodeError::Name { why: NameError::OddAddress, .. })) => {
                Verdict::Deny
            }
            _ => Verdict::Fail,
        }
    }

    /// A stable word for the record: kebab-case, never changed once it was released.
    pub(crate) fn cause(&self) -> &'static str {
        match self {
            Self::SourceDenied(_) => "source-denied",
            Self::NoMethodForSource => "no-method-for-source",
            Self::Full(Full::Total) | Self::SocketsFull(Full::Total) => "too-many-sessions",
            Self::Full(Full::Source) | Self::SocketsFull(Full::Source) => "too-many-sessions-of-source",
            Self::Full(Full::Unknown) | Self::SocketsFull(Full::Unknown) => "too-many-pending-headers",
            Self::Full(Full::SourceRate) | Self::SocketsFull(Full::SourceRate) => {
                SessionLimit::Beginning(Sort::Source).as_str()
            }
            Self::Full(Full::SourceUsedUp)
            | Self::SocketsFull(Full::SourceUsedUp)
            | Self::Outside(Ending::UsedUp(_)) => SessionLimit::UsedUp(Sort::Source).as_str(),
            Self::AuditFailing => "audit-failing",
            Self::ProxyHeader(error) => header_cause(error),
            Self::ProxyHeaderRefused => "proxy-header-refused",
            Self::Greeting(error) => greeting_cause(error),
            Self::NoAcceptableMethod => "no-acceptable-method",
            Self::Auth(error) => auth_cause(error),
            Self::LevelNotAllowed => "protection-not-allowed",
            Self::HandshakeTimeout(_) => "handshake-timeout",
            Self::Request(error) => request_cause(error),
            Self::PortZero => "port-zero",
            Self::Denied(denial) => denial_cause(denial),
            Self::OtherFamily { .. } => "family-not-allowed",
            Self::Undecided => "undecided",
            Self::Limited(limit) => limit.as_str(),
            Self::AssociationsFull => "too-many-associations-of-rule",
            Self::Resolve(ResolveError::NotFound) => "name-not-found",
            Self::Resolve(_) => "name-lookup-failed",
            Self::Dial(DialError::Timeout(_)) => "connect-timeout",
            Self::Dial(DialError::Failed { error, .. }) => dial_cause(error),
            Self::Upstream(error) => upstream_cause(error),
            Self::Listen(ListenError::PortsUsedUp { .. }) => "no-free-port",
            Self::Listen(ListenError::Failed { error, .. }) if !is_local(error) => dial_cause(error),
            Self::Listen(ListenError::Failed { .. }) => "listen-failed",
            Self::NoPeer(_) => "no-peer",
            Self::PeerRefused(_) => "peer-refused",
            Self::Peer(_) => "target-failed",
            Self::Reply(_) | Self::ClientLeft(_) => "client-lost",
            Self::Relayed(end) => relay_cause(end),
            Self::Associated(end) => association_cause(end),
            Self::Outside(Ending::Killed { .. }) => "killed",
            Self::Outside(Ending::Revoked(_)) => "permit-revoked",
            Self::Outside(Ending::Drained) | Self::Stopped => "gateway-stopped",
            Self::Panicked => "internal-error",
            Self::Dropped => "cancelled",
        }
    }

    /// What an operator wants to know beyond the cause; empty where there is nothing more.
    pub(crate) fn detail(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = match self {
            Self::SourceDenied(denial) | Self::Denied(denial) => write!(text, "{denial}"),
            Self::ProxyHeader(error) | Self::Greeting(error) | Self::Request(error) => {
                write!(text, "{error}")
            }
            Self::Auth(AuthError::Refused { reason, .. }) => write!(text, "{reason}"),
            Self::Auth(error) => write!(text, "{error}"),
            Self::HandshakeTimeout(most) => write!(text, "not finished within {} s", most.as_secs_f32()),
            Self::OtherFamily { rule, literal: Some(ip) } => {
                write!(text, "rule `{rule}` permits {ip}, but its `family` is the other one")
            }
            Self::OtherFamily { rule, literal: None } => {
                write!(text, "rule `{rule}` permits the name, which has no address of its `family`")
            }
            Self::Resolve(error) => write!(text, "{error}"),
            Self::Dial(error) => write!(text, "{error}"),
            Self::Upstream(error) => write!(text, "{error}"),
            Self::Listen(error) => write!(text, "{error}"),
            Self::NoPeer(most) => write!(text, "not within {} s", most.as_secs_f32()),
            Self::PeerRefused(peer) => write!(text, "peer {peer}"),
            Self::Peer(error) => write!(text, "peer: {error}"),
            Self::ClientLeft(error) => write!(text, "while its peer was awaited: {error}"),
            Self::Reply(error) => write!(text, "{error}"),
            Self::Relayed(RelayEnd::ClientFailed(error)) => write!(text, "client: {error}"),
            Self::Relayed(RelayEnd::TargetFailed(error)) => write!(text, "target: {error}"),
            Self::Relayed(RelayEnd::Open(error)) => write!(text, "{error}"),
            Self::Relayed(RelayEnd::Seal(error)) => write!(text, "{error}"),
            Self::Associated(AssociationEnd::ClientFailed(error)) => write!(text, "client: {error}"),
            Self::Associated(AssociationEnd::SocketFailed(_, error)) => write!(text, "socket: {error}"),
            Self::Associated(AssociationEnd::Seal(error)) => write!(text, "{error}"),
            Self::Outside(Ending::Killed { by }) => write!(text, "by {by}"),
            Self::Outside(Ending::Revoked(why)) => write!(text, "{why}"),
            Self::Outside(Ending::UsedUp(sort)) | Self::Limited(SessionLimit::UsedUp(sort)) => {
                write!(text, "octets of the day of this {}", sort.as_words())
            }
            _ => Ok(()),
        };
        text
    }

    /// The class of the address that was denied for being special.
    pub(crate) fn special_use(&self) -> Option<SpecialUse> {
        match self {
            Self::Denied(Denial { reason: DenyReason::SpecialUse(class), .. }) => Some(*class),
            _ => None,
        }
    }

    /// The name that the client claimed when it was refused.
    pub(crate) fn claimed(&self) -> Option<&str> {
        match self {
            Self::Auth(AuthError::Refused { claimed, .. } | AuthError::LevelRefused { claimed }) => {
                claimed.as_deref()
            }
            Self::Auth(AuthError::LockedOut { claimed }) => Some(claimed),
            _ => None,
        }
    }

    pub(crate) fn concern(&self) -> Concern {
        match self {
            Self::Panicked | Self::Undecided => Concern::Bug,
            Self::Auth(AuthError::Unavailable(_)) | Self::LevelNotAllowed => Concern::Operator,
            // A load balancer says what its operator lets it say.
            Self::ProxyHeader(ReceiveError::Decode(_)) => Concern::Operator,
            Self::Dial(DialError::Failed { error, .. }) if is_local(error) => Concern::Operator,
            Self::Upstream(error) if upstream_failure(error) == ReplyCode::GENERAL_FAILURE => {
                Concern::Operator
            }
            Self::Listen(ListenError::PortsUsedUp { .. }) => Concern::Operator,
            Self::Listen(ListenError::Failed { error, .. }) if is_local(error) => Concern::Operator,
            _ => Concern::Record,
        }
    }
}

/// RFC 1928 section 6, for requests that are none.
fn malformed_request(error: &DecodeError) -> ReplyCode {
    match error {
        DecodeError::Command(_) => ReplyCode::COMMAND_NOT_SUPPORTED,
        DecodeError::AddressType(_) => ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED,
        DecodeError::Name { why: NameError::OddAddress, .. } => ReplyCode::NOT_ALLOWED,
        // A name that cannot exist names no host.
        DecodeError::Name { .. } => ReplyCode::HOST_UNREACHABLE,
        _ => ReplyCode::GENERAL_FAILURE,
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw_os_error)
}

/// RFC 1928 section 6, for connections that cannot be opened. 06 is never guessed: it says that a BIND was in vain.
fn dial_failure(error: &io::Error) -> ReplyCode {
    match errno(error) {
        Some(Errno::CONNREFUSED | Errno::CONNRESET) => ReplyCode::CONNECTION_REFUSED,
        Some(Errno::NETUNREACH | Errno::NETDOWN | Errno::AFNOSUPPORT) => ReplyCode::NETWORK_UNREACHABLE,
        Some(Errno::HOSTUNREACH | Errno::HOSTDOWN | Errno::TIMEDOUT) => ReplyCode::HOST_UNREACHABLE,
        _ => ReplyCode::GENERAL_FAILURE,
    }
}

/// Failures whose reason lies on the gateway itself: a packet filter, no descriptors, no ports.
fn is_local(error: &io::Error) -> bool {
    dial_failure(error) == ReplyCode::GENERAL_FAILURE
}

fn dial_cause(error: &io::Error) -> &'static str {
    match dial_failure(error) {
        ReplyCode::CONNECTION_REFUSED => "connection-refused",
        ReplyCode::NETWORK_UNREACHABLE => "network-unreachable",
        ReplyCode::HOST_UNREACHABLE => "host-unreachable",
        _ => "connect-failed",
    }
}

fn header_cause(error: &ReceiveError) -> &'static str {
    match error {
        ReceiveError::Decode(DecodeError::NoProxyHeader) => "no-proxy-header",
        ReceiveError::Decode(_) => "malformed-proxy-header",
        _ => "client-lost",
    }
}

/// RFC 1928 section 6, for what an upstream gateway does not reach: its own reply, if there is one. What goes wrong on
/// the way to it says nothing of the target.
fn upstream_failure(error: &UpstreamError) -> ReplyCode {
    match error {
        UpstreamError::Timeout { .. } => ReplyCode::HOST_UNREACHABLE,
        UpstreamError::Unknown(_) | UpstreamError::Nowhere { .. } => ReplyCode::GENERAL_FAILURE,
        UpstreamError::Failed { error, .. } => match error.reply() {
            // RFC 1928 section 6: X'09' to X'FF' are unassigned.
            Some(code) if code.0 <= 0x08 => code,
            _ => ReplyCode::GENERAL_FAILURE,
        },
    }
}

fn upstream_cause(error: &UpstreamError) -> &'static str {
    let UpstreamError::Failed { error, .. } = error else {
        return match error {
            UpstreamError::Timeout { .. } => "connect-timeout",
            _ => "upstream-failed",
        };
    };
    match (error.step, &error.fault) {
        (_, Fault::Refused(_)) => "upstream-refused",
        (Step::ResolvingGateway | Step::ConnectingToGateway, _) => "upstream-unreachable",
        (Step::MethodChoice | Step::Authentication | Step::ProtectionLevel, _) => "upstream-login-failed",
        _ => "upstream-failed",
    }
}

fn greeting_cause(error: &ReceiveError) -> &'static str {
    match error {
        ReceiveError::Decode(DecodeError::Version { found: 0x04, .. }) => "socks4",
        ReceiveError::Decode(_) => "malformed-greeting",
        _ => "client-lost",
    }
}

fn auth_cause(error: &AuthError) -> &'static str {
    match error {
        AuthError::Refused { .. } => "authentication-refused",
        AuthError::LevelRefused { .. } => "protection-not-allowed",
        AuthError::LockedOut { .. } => "locked-out",
        AuthError::Malformed(_) => "malformed-authentication",
        AuthError::Unavailable(_) => "authenticator-failed",
        _ => "client-lost",
    }
}

fn request_cause(error: &ReceiveError) -> &'static str {
    match error {
        ReceiveError::Decode(DecodeError::Command(_)) => "unknown-command",
        ReceiveError::Decode(DecodeError::AddressType(_)) => "unknown-address-type",
        ReceiveError::Decode(DecodeError::Name { .. }) => "malformed-name",
        ReceiveError::Decode(_) => "malformed-request",
        ReceiveError::Open(_) => "protection-violated",
        _ => "client-lost",
    }
}

fn denial_cause(denial: &Denial) -> &'static str {
    match denial.reason {
        DenyReason::NoMatch => "denied-by-default",
        DenyReason::SpecialUse(_) => "special-use",
        DenyReason::IdentityExpired => "identity-expired",
        _ => "denied",
    }
}

fn relay_cause(end: &RelayEnd) -> &'static str {
    match end {
        RelayEnd::Closed => "closed",
        RelayEnd::Idle => "idle-timeout",
        RelayEnd::Cutoff => "ticket-expired",
        RelayEnd::ClientFailed(_) => "client-failed",
        RelayEnd::TargetFailed(_) => "target-failed",
        RelayEnd::CutFrame => "cut-frame",
        RelayEnd::Open(_) => "protection-violated",
        RelayEnd::Seal(_) => "protection-failed",
        _ => "relay-failed",
    }
}

fn association_cause(end: &AssociationEnd) -> &'static str {
    match end {
        AssociationEnd::Closed => "closed",
        AssociationEnd::Idle => "idle-timeout",
        AssociationEnd::Cutoff => "ticket-expired",
        AssociationEnd::ClientFailed(_) => "client-failed",
        AssociationEnd::Talkative => "client-talkative",
        AssociationEnd::Seal(_) => "protection-failed",
        _ => "relay-failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_to_connect_has_its_reply_code() {
        let table = [
            (Errno::CONNREFUSED, 0x05),
            (Errno::CONNRESET, 0x05),
            (Errno::NETUNREACH, 0x03),
            (Errno::HOSTUNREACH, 0x04),
            (Errno::TIMEDOUT, 0x04),
            (Errno::PERM, 0x01),
            (Errno::MFILE, 0x01),
            (Errno::ADDRNOTAVAIL, 0x01),
        ];
        for (errno, code) in table {
            let address = ([192, 0, 2, 1], 80).into();
            let end = End::Dial(DialError::Failed { address, error: errno.into() });
            assert_eq!(end.reply(), Some(ReplyCode(code)), "{errno}");
        }
    }

    #[test]
    fn a_target_without_an_address_of_the_rules_family_says_which_rule_and_why() {
        let rule: Arc<str> = "six".into();
        let literal = End::other_family(&rule, &Host::Ip([192, 0, 2, 1].into()));
        assert_eq!(literal.reply(), Some(ReplyCode::ADDRESS_TYPE_NOT_SUPPORTED));
        assert_eq!(literal.detail(), "rule `six` permits 192.0.2.1, but its `family` is the other one");
        let name = End::other_family(&rule, &Host::Name("x.example".parse().unwrap()));
        assert_eq!(name.reply(), Some(ReplyCode::HOST_UNREACHABLE));
        assert_eq!(name.detail(), "rule `six` permits the name, which has no address of its `family`");
        assert_eq!((name.rule(), name.cause()), (Some(&rule), "family-not-allowed"));
    }

    #[test]
    fn every_bind_in_vain_has_its_reply_code_and_its_cause() {
        let failed =
            |errno: Errno| ListenError::Failed { address: [192, 0, 2, 1].into(), error: errno.into() };
        let table = [
            (End::NoPeer(Duration::from_secs(1)), Some(0x06), "no-peer", Concern::Record),
            (
                End::Listen(ListenError::PortsUsedUp { first: 1, last: 2 }),
                Some(0x01),
                "no-free-port",
                Concern::Operator,
            ),
            (End::Listen(failed(Errno::NETUNREACH)), Some(0x03), "network-unreachable", Concern::Record),
            (End::Listen(failed(Errno::ADDRNOTAVAIL)), Some(0x01), "listen-failed", Concern::Operator),
            (End::ClientLeft(io::ErrorKind::UnexpectedEof.into()), None, "client-lost", Concern::Record),
        ];
        for (end, code, cause, concern) in table {
            assert_eq!((end.reply(), end.cause()), (code.map(ReplyCode), cause), "{end:?}");
            assert_eq!(end.concern(), concern, "{end:?}");
        }
    }

    #[test]
    fn every_malformed_request_has_its_reply_code() {
        let name = |why| DecodeError::Name { name: "x".into(), why };
        let table = [
            (DecodeError::Command(9), 0x07),
            (DecodeError::AddressType(2), 0x08),
            (DecodeError::Reserved(1), 0x01),
            (DecodeError::Version { found: 4, expected: 5 }, 0x01),
            (name(NameError::Empty), 0x04),
            (name(NameError::NotAHostName), 0x04),
            (name(NameError::OddAddress), 0x02),
        ];
        for (error, code) in table {
            let end = End::Request(ReceiveError::Decode(error));
            assert_eq!(end.reply(), Some(ReplyCode(code)), "{end:?}");
        }
    }

    #[test]
    fn a_full_gateway_concerns_nobody_but_no_descriptors_concern_the_operator() {
        assert_eq!(End::Full(Full::Total).concern(), Concern::Record);
        let address = ([192, 0, 2, 1], 80).into();
        let end = End::Dial(DialError::Failed { address, error: Errno::MFILE.into() });
        assert_eq!(end.concern(), Concern::Operator);
    }
}
