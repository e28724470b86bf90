//! What a permit rule grants beside the permission itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Duration;

use socks_config::value::{Size, Span};

use crate::PortRange;

/// What a rule grants beside the permission itself; `None`: the gateway's own default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Terms {
    /// How long connecting may take.
    pub connect_timeout: Option<Duration>,
    /// How long no octet may move.
    pub idle_timeout: Option<Duration>,
    /// Sessions at once, for each identity under this rule; an anonymous client counts by its address.
    pub sessions: Option<u32>,
    /// Sessions at once under this rule, whoever they are of.
    pub sessions_in_all: Option<u32>,
    /// What all sessions under this rule may use together.
    pub together: Allowance,
    /// What those of each identity under this rule may use; an anonymous client counts by its address.
    pub per_identity: Allowance,
    /// Where connections come from, where a BIND listens, and where datagrams come from.
    pub egress: Egress,
    /// Which addresses of the target may be used.
    pub family: Family,
    /// How a BIND is served.
    pub bind: BindTerms,
    /// How an association is served.
    pub udp: UdpTerms,
    /// What becomes of a session whose proof of identity ends.
    pub ticket_end: TicketEnd,
    /// The name of the gateway through which connections go; `None`: they go to the target itself.
    pub upstream: Option<Arc<str>>,
    /// What becomes of a session that a later policy no longer permits.
    pub on_revoke: OnRevoke,
}

impl Terms {
    /// The limits of the rule by the keys of the file, each with its value as it could stand there.
    pub fn limits(&self) -> BTreeMap<&'static str, String> {
        let time = |time: Option<Duration>| time.map(|time| Span(time).to_string());
        let size = |size: Option<NonZeroU64>| size.map(|size| Size(size.get()).to_string());
        let count = |count: Option<NonZeroU32>| count.map(|count| count.to_string());
        let limits = [
            ("connect-timeout", time(self.connect_timeout)),
            ("idle-timeout", time(self.idle_timeout)),
            ("sessions", self.sessions.map(|count| count.to_string())),
            ("sessions-in-all", self.sessions_in_all.map(|count| count.to_string())),
            ("new-sessions", count(self.together.new_sessions)),
            ("new-sessions-per-identity", count(self.per_identity.new_sessions)),
            ("daily", size(self.together.daily)),
            ("daily-per-identity", size(self.per_identity.daily)),
            ("rate", size(self.together.rate)),
            ("rate-per-identity", size(self.per_identity.rate)),
        ];
        limits.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// What sessions that are counted together may use; `None`: as much as there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Octets in each second, those of both directions together.
    pub rate: Option<NonZeroU64>,
    /// Octets of each day (in UTC), those of both directions together.
    pub daily: Option<NonZeroU64>,
    /// New sessions in each second. Those of ten seconds may come at once.
    pub new_sessions: Option<NonZeroU32>,
}

/// What becomes of an open session when a new policy, or the end of a rule's time, takes its permit away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnRevoke {
    /// It goes on to its end.
    #[default]
    Keep,
    /// It may go on for so long.
    Drain(Duration),
    /// It ends at once.
    Close,
}

impl fmt::Display for OnRevoke {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("keep"),
            Self::Drain(time) => write!(f, "drain {time:?}"),
            Self::Close => f.write_str("close"),
        }
    }
}

/// What becomes of a session whose proof of identity (a ticket, an account) ends while it is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TicketEnd {
    /// It goes on; the record tells.
    #[default]
    Keep,
    /// It may finish what flows, and ends as soon as nothing does.
    Drain,
    /// It ends at once.
    Close,
}

/// How a rule's connections leave the gateway; `None`: the kernel chooses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Egress {
    /// The interface that sockets are bound to (`SO_BINDTODEVICE`).
    pub interface: Option<Interface>,
    /// The mark of their packets (`SO_MARK`), by which the host's routing rules and packet filters know them.
    pub mark: Option<NonZeroU32>,
    /// The gateway's own address for IPv4 targets.
    pub v4: Option<Ipv4Addr>,
    /// The gateway's own address for IPv6 targets.
    pub v6: Option<Ipv6Addr>,
}

/// The name of a network interface.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Interface {
    name: [u8; Self::MAX],
    len: usize,
}

impl Interface {
    /// The most octets of a name: Linux takes 16 with the zero at their end.
    const MAX: usize = 15;

    /// The interface of that name, if interfaces can have such names.
    pub fn new(name: &str) -> Option<Self> {
        let is_odd = |letter: char| letter.is_whitespace() || letter.is_control() || "/:".contains(letter);
        if name.is_empty() || name == "." || name == ".." || name.contains(is_odd) {
            return None;
        }
        let mut own = [0; Self::MAX];
        own.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { name: own, len: name.len() })
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        self.name.get(..self.len).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// By which family of addresses a target is reached.
///
/// It never decides whether a rule matches, only which of the addresses that the rule permits are used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Family {
    /// By both; families take turns, IPv6 first (RFC 8305 section 4).
    #[default]
    Any,
    /// By both, and by IPv4 only after all IPv6 addresses have been tried.
    PreferV6,
    /// By IPv6 only.
    V6,
    /// By IPv4 only.
    V4,
}

impl Family {
    /// Tells whether an address of this family may be used as it is; an IPv4-mapped one counts as IPv4.
    pub fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Any | Self::PreferV6 => true,
            Self::V6 => address.to_canonical().is_ipv6(),
            Self::V4 => address.to_canonical().is_ipv4(),
        }
    }
}

/// How a BIND is served (RFC 1928 section 4).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BindTerms {
    /// The ports to listen on; `None`: the kernel chooses one.
    pub ports: Option<PortRange>,
    /// Which peer is taken.
    pub peer: BindPeerRule,
    /// How long the peer is waited for.
    pub timeout: Option<Duration>,
}

/// Which arriving peer a BIND takes; each is judged by the ruleset as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BindPeerRule {
    /// The one at the address that the request names; anyone if it names none.
    #[default]
    Named,
    /// Anyone.
    Any,
}

/// How an association is served (RFC 1928 section 7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UdpTerms {
    /// The ports of the gateway that the client's datagrams are sent to; `None`: the kernel chooses one.
    pub ports: Option<PortRange>,
    /// Whose datagrams reach the client.
    pub replies: UdpReplies,
    /// What becomes of fragments.
    pub fragments: Fragments,
    /// Associations at once, for each identity under this rule, counted like [`Terms::sessions`].
    pub associations: Option<u32>,
    /// Datagrams of the client in each second of each association; more are dropped.
    pub datagrams: Option<NonZeroU32>,
}

/// Whose datagrams reach the client of an association.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UdpReplies {
    /// Those of addresses and ports that it has sent to.
    #[default]
    SentTo,
    /// Those of any origin.
    Any,
}

/// What becomes of fragments that the client of an association sends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fragments {
    /// They are dropped.
    #[default]
    Drop,
    /// They are put together.
    Reassemble,
}
