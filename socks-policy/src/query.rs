//! What is asked of a ruleset: the facts that are known so far of a session.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Serialize;
use socks_core::Identity;
use socks_core::wire::{Command, DomainName, Host, Target};

/// What is known of a session when the ruleset is asked; `None` always means: not yet known.
///
/// No authentication is an identity ([`Identity::anonymous`]), not a missing one.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The name of the listener that the client came to.
    pub listener: &'a str,
    /// The client's address.
    pub client: SocketAddr,
    /// Who the client is, once authenticated.
    pub identity: Option<&'a Identity>,
    /// What the client wants, once it has said so.
    pub operation: Option<Operation<'a>>,
    /// One address that the name in `operation` resolves to, once looked up; not used with literal addresses.
    pub address: Option<IpAddr>,
    /// The addresses and ports on which the gateway itself listens, and those on which it awaits the peer of a BIND
    /// or the datagrams of a client; reaching them is special-use. A socket on the unspecified address stands here
    /// as the addresses of all interfaces.
    pub gateway: &'a [SocketAddr],
    /// The time to judge for.
    pub now: Timestamp,
}

/// What a client wants to do, as the ruleset judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation<'a> {
    /// CONNECT to that target.
    Connect(&'a Target),
    /// BIND: listen for that peer.
    BindListen(ExpectedPeer<'a>),
    /// BIND: take a peer that has arrived.
    BindPeer {
        /// Its address.
        peer: SocketAddr,
        /// The name that the request gave its peer, only if `peer` is at an address which that name was resolved to.
        name: Option<&'a DomainName>,
    },
    /// UDP ASSOCIATE: open an association, whose datagrams are judged one by one.
    Associate,
    /// Send a datagram to that target, within an association.
    Datagram(&'a Target),
}

impl Operation<'_> {
    /// The operation without what it is about.
    pub fn kind(&self) -> OperationKind {
        match self {
            Self::Connect(_) => OperationKind::Connect,
            Self::BindListen(_) => OperationKind::BindListen,
            Self::BindPeer { .. } => OperationKind::BindPeer,
            Self::Associate => OperationKind::Associate,
            Self::Datagram(_) => OperationKind::Datagram,
        }
    }
}

/// The peer that a BIND request names (RFC 1928 section 4, DST.ADDR and DST.PORT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpectedPeer<'a> {
    /// None: the address is all zero.
    Unknown,
    /// That one.
    Known(&'a Target),
}

impl<'a> From<&'a Target> for ExpectedPeer<'a> {
    fn from(target: &'a Target) -> Self {
        match &target.host {
            Host::Ip(ip) if ip.to_canonical().is_unspecified() => Self::Unknown,
            _ => Self::Known(target),
        }
    }
}

/// The kinds of [`Operation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// [`Operation::Connect`].
    Connect,
    /// [`Operation::BindListen`].
    BindListen,
    /// [`Operation::BindPeer`].
    BindPeer,
    /// [`Operation::Associate`].
    Associate,
    /// [`Operation::Datagram`].
    Datagram,
}

impl OperationKind {
    /// The command it belongs to, as `command` in a rule names it.
    pub fn command(self) -> Command {
        match self {
            Self::Connect => Command::Connect,
            Self::BindListen | Self::BindPeer => Command::Bind,
            Self::Associate | Self::Datagram => Command::UdpAssociate,
        }
    }
}

/// A fact that a decision may need, cheapest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fact {
    /// Who the client is.
    Identity,
    /// What it wants.
    Operation,
    /// Which address the name it wants resolves to.
    Address,
}

impl Fact {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Operation => "operation",
            Self::Address => "address",
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
