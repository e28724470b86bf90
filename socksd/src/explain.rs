//! What the policy says to one client's request, and why: asked on the command line or of the running gateway.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use socks_core::wire::{DomainName, Host, Target};
use socks_core::{Identity, Level, Principal};
use socks_policy::{
    BindPeerRule, Decision, ExpectedPeer, Explanation, Fact, Operation, Query, Ruleset, Verdict,
};
use tokio::runtime::Handle;

use crate::config::is_word;
use crate::snapshot::Snapshot;

/// What the operator asks about.
#[derive(Debug, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Question {
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: IpAddr,
    /// Who it is: `password:alice`, `alice@REALM`, or `anonymous`
    #[arg(long, value_name = "IDENTITY", default_value = "anonymous")]
    #[serde(default = "anonymous")]
    identity: String,
    /// A group it belongs to; may be given several times
    #[arg(long, value_name = "GROUP")]
    #[serde(default)]
    group: Vec<Box<str>>,
    /// Its groups could not be learned, for that reason: what would the policy say?
    #[arg(long, value_name = "REASON", conflicts_with = "group")]
    groups_missing: Option<Box<str>>,
    /// The authenticator that proved it; by default the one in the identity, `gssapi` for a principal, `none` for anonymous
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// The protection of the session: `none`, `integrity`, `confidentiality` or `selective`
    #[arg(long, value_name = "LEVEL", default_value = "none", value_parser = level)]
    #[serde(default = "unprotected", deserialize_with = "read_level")]
    protection: Level,
    /// The listener it came to; by default the first one
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// What it asks for: `connect`, `bind` or `udp-associate`
    #[arg(long, value_name = "COMMAND", default_value = "connect", value_parser = ["connect", "bind", "udp-associate"])]
    #[serde(default = "connect")]
    pub(crate) command: String,
    /// Where it wants to go; for `bind` the peer it expects, by default anybody; for `udp-associate` where a datagram
    /// goes, by default the association itself is judged. An IPv6 address in brackets
    #[arg(long, value_name = "HOST:PORT", value_parser = target)]
    #[serde(default, deserialize_with = "read_target")]
    pub(crate) to: Option<Target>,
    /// For `bind`: the peer that arrives
    #[arg(long, value_name = "ADDRESS:PORT")]
    peer: Option<SocketAddr>,
    /// Ask the shadow policy in place of the one in force
    #[arg(long)]
    #[serde(default)]
    shadow: bool,
    /// When, for rules that expire or have hours; by default now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

fn level(text: &str) -> Result<Level, String> {
    Level::ALL.into_iter().find(|level| level.as_str() == text).ok_or_else(|| {
        let known = Level::ALL.map(Level::as_str).join("`, `");
        format!("not one of `{known}`")
    })
}

fn target(text: &str) -> Result<Target, String> {
    text.parse::<Target>().map_err(|error| format!("host {error}, or the port is missing (`host:443`)"))
}

fn anonymous() -> String {
    "anonymous".into()
}

fn unprotected() -> Level {
    Level::None
}

fn connect() -> String {
    "connect".into()
}

fn read_level<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Level, D::Error> {
    level(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

fn read_target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Target>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.filter(|text| !text.is_empty()).map(|text| target(&text)).transpose().map_err(D::Error::custom)
}

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Answer {
    /// What the policy says to the request itself; for a name this may be that it needs the addresses.
    pub(crate) request: Explanation,
    /// For a name that has to be looked up: what it resolves to, and the verdict for each address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resolved: Option<Resolved>,
    /// What it says to the peer that arrives at a BIND.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) arrival: Option<Arrival>,
}

/// What a name resolves to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Resolved {
    /// What becomes of the addresses that are permitted.
    #[serde(skip)]
    used: &'static str,
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) addresses: Vec<Address>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Address {
    pub(crate) address: IpAddr,
    pub(crate) explanation: Explanation,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    /// Whether the client named this peer, or none.
    pub(crate) expected: bool,
    /// Whether the rule that lets the client listen, or the one that permits the peer, takes no other than the one
    /// that the client named.
    pub(crate) only_expected: bool,
    pub(crate) explanation: Explanation,
}

impl Question {
    /// The answer, and about whom it is. It may look a name up: not for a reactor.
    ///
    /// # Errors
    /// What the question lacks.
    pub(crate) fn answer(
        &self,
        snapshot: &Snapshot,
        own: &[SocketAddr],
        runtime: &Handle,
    ) -> Result<(Identity, Answer), String> {
        if self.peer.is_some() && self.command != "bind" {
            return Err("`peer` is for the command `bind`: no other command has a peer that arrives".into());
        }
        if self.to.is_none() && self.command == "connect" {
            return Err("`to` is missing: where does it want to connect to?".into());
        }
        if !["connect", "bind", "udp-associate"].contains(&self.command.as_str()) {
            return Err(format!("`{}` is no command", self.command));
        }
        let ruleset = self.ruleset(snapshot)?;
        let identity = self.identity()?;
        let listener = self.listener(snapshot)?;
        let query = |address| Query {
            listener: &listener,
            client: SocketAddr::new(self.from, 0),
            identity: Some(&identity),
            operation: Some(self.operation()),
            address,
            gateway: own,
            now: self.at.unwrap_or_else(Timestamp::now),
        };
        let mut answer = self.request(runtime, (snapshot, ruleset), &query);
        answer.arrival = self.arrival(&answer, ruleset, &query);
        Ok((identity, answer))
    }

    /// The policy that is asked.
    fn ruleset<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a Ruleset, String> {
        match &snapshot.shadow {
            _ if !self.shadow => Ok(&snapshot.ruleset),
            Some(shadow) => Ok(&shadow.policy.ruleset),
            None => Err("no `shadow-policy` is configured".into()),
        }
    }

    /// The answer to the request, with the addresses of its name.
    fn request<'a>(
        &self,
        runtime: &Handle,
        (snapshot, ruleset): (&Snapshot, &Ruleset),
        query: &impl Fn(Option<IpAddr>) -> Query<'a>,
    ) -> Answer {
        let request = ruleset.explain(&query(None));
        let mut answer = Answer { request, resolved: None, arrival: None };
        // A client that is not admitted is denied without a lookup, here as in the gateway.
        let name =
            self.name().filter(|_| matches!(answer.request.verdict, Verdict::Needs { fact: Fact::Address }));
        if let Some(name) = name {
            let most = snapshot.settings.limits.resolve_timeout;
            let looked_up = runtime.block_on(snapshot.resolver.lookup(name, most));
            let explain = |address| Address { address, explanation: ruleset.explain(&query(Some(address))) };
            answer.resolved = Some(Resolved {
                used: self.use_of_addresses(),
                name: name.to_string(),
                error: looked_up.as_ref().err().map(ToString::to_string),
                addresses: looked_up.unwrap_or_default().into_iter().map(explain).collect(),
            });
        }
        answer
    }

    /// What is said of the peer that arrives.
    fn arrival<'a>(
        &'a self,
        answer: &Answer,
        ruleset: &Ruleset,
        query: &impl Fn(Option<IpAddr>) -> Query<'a>,
    ) -> Option<Arrival> {
        let peer = self.peer?;
        let resolved =
            || answer.resolved.iter().flat_map(|resolved| &resolved.addresses).map(|it| it.address);
        let arrived = peer.ip().to_canonical();
        let expected = match self.operation() {
            Operation::BindListen(ExpectedPeer::Known(Target { host: Host::Ip(ip), .. })) => {
                ip.to_canonical() == arrived
            }
            Operation::BindListen(ExpectedPeer::Known(_)) => resolved().any(|ip| ip == arrived),
            _ => true,
        };
        let listen = query(if expected { Some(arrived) } else { resolved().next() });
        let name = self.name().filter(|_| expected);
        let arrival = Query { operation: Some(Operation::BindPeer { peer, name }), ..listen };
        let wants_named = |query: &Query<'_>| {
            matches!(
                ruleset.decide(query),
                Decision::Permit(permit) if permit.terms().bind.peer == BindPeerRule::Named
            )
        };
        let only_expected = wants_named(&listen) || wants_named(&arrival);
        Some(Arrival { peer, expected, only_expected, explanation: ruleset.explain(&arrival) })
    }

    /// The name that it asks about.
    fn name(&self) -> Option<&DomainName> {
        match &self.to.as_ref()?.host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        }
    }

    pub(crate) fn operation(&self) -> Operation<'_> {
        match (self.command.as_str(), &self.to) {
            ("bind", Some(target)) => Operation::BindListen(target.into()),
            ("connect", Some(target)) => Operation::Connect(target),
            (_, Some(target)) => Operation::Datagram(target),
            ("bind", None) => Operation::BindListen(ExpectedPeer::Unknown),
            // CONNECT without a target is refused by the command line.
            (_, None) => Operation::Associate,
        }
    }

    fn identity(&self) -> Result<Identity, String> {
        let (identity, method) = match (self.identity.as_str(), self.identity.split_once(':')) {
            ("anonymous", _) => (Identity::anonymous(), "none"),
            (_, Some((method, name))) if !name.is_empty() && is_word(method) => {
                (Identity::user(name), method)
            }
            (text, _) => match text.parse::<Principal>() {
                Ok(principal) => (Identity::principal(principal), "gssapi"),
                Err(error) => {
                    return Err(format!(
                        "identity `{text}` is neither `anonymous` nor `METHOD:NAME`, and it {error}"
                    ));
                }
            },
        };
        let mut identity = identity.by(self.method.as_deref().unwrap_or(method).into());
        identity.groups.clone_from(&self.group);
        identity.level = self.protection;
        Ok(match &self.groups_missing {
            Some(why) => identity.without_groups(why.clone()),
            None => identity,
        })
    }

    /// What becomes of an address that is permitted.
    fn use_of_addresses(&self) -> &'static str {
        match self.command.as_str() {
            "connect" => "dialled",
            "bind" => "expected",
            _ => "sent to",
        }
    }

    fn listener(&self, snapshot: &Snapshot) -> Result<String, String> {
        let known: Vec<&str> = snapshot.listeners.iter().map(|listener| &*listener.name).collect();
        match &self.listener {
            None => Ok(known.first().copied().unwrap_or_default().to_owned()),
            Some(name) if known.contains(&name.as_str()) => Ok(name.clone()),
            Some(name) => Err(format!("listener `{name}` is none of `{}`", known.join("`, `"))),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.request.fmt(f)?;
        if let Some(resolved) = &self.resolved {
            write!(f, "\n{resolved}")?;
        }
        if let Some(arrival) = &self.arrival {
            write!(f, "\n{arrival}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { used, name, error, addresses } = self;
        match error {
            Some(error) => write!(f, "`{name}`: {error}")?,
            None => {
                let all: Vec<_> = addresses.iter().map(|address| address.address.to_string()).collect();
                let all = all.join(", ");
                write!(
                    f,
                    "`{name}` resolves to {all}; each address is judged by itself, and only permitted ones are {used}:"
                )?;
            }
        }
        for Address { address, explanation } in addresses {
            write!(f, "\n\n{address}:\n{explanation}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Arrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, expected, only_expected, explanation } = self;
        let note = match (expected, only_expected) {
            (true, _) => "",
            (false, true) => ", which is not the expected peer and refused for that:",
            (false, false) => ", which is not the expected peer:",
        };
        write!(f, "\n{peer} arrives{note}\n{explanation}")
    }
}
