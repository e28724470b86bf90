//! `socksd policy explain`: who, from where, what; and the policy's answer, rule by rule.

use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Serialize;
use socks_auth::Registry;
use socks_core::wire::{DomainName, Host, Target};
use socks_core::{Identity, Level, Principal};
use socks_policy::{
    BindPeerRule, Decision, ExpectedPeer, Explanation, Fact, Operation, Query, Ruleset, Verdict,
};
use tokio::runtime::Runtime;

use crate::config::is_word;
use crate::gateway::own_addresses;
use crate::snapshot::Snapshot;

use super::{ConfigArgument, Exit, fail, load, say};

/// What the operator asks about.
#[derive(Debug, clap::Args)]
pub(super) struct Explain {
    #[command(flatten)]
    config: ConfigArgument,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    from: IpAddr,
    /// Who it is: `password:alice`, `alice@REALM`, or `anonymous`
    #[arg(long, value_name = "IDENTITY", default_value = "anonymous")]
    identity: String,
    /// A group it belongs to; may be given several times
    #[arg(long, value_name = "GROUP")]
    group: Vec<Box<str>>,
    /// Its groups could not be learned, for that reason: what would the policy say?
    #[arg(long, value_name = "REASON", conflicts_with = "group")]
    groups_missing: Option<Box<str>>,
    /// The authenticator that proved it; by default the one in the identity, `gssapi` for a principal, `none` for anonymous
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// The protection of the session: `none`, `integrity`, `confidentiality` or `selective`
    #[arg(long, value_name = "LEVEL", default_value = "none", value_parser = level)]
    protection: Level,
    /// The listener it came to; by default the first one
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// What it asks for: `connect`, `bind` or `udp-associate`
    #[arg(long, value_name = "COMMAND", default_value = "connect", value_parser = ["connect", "bind", "udp-associate"])]
    command: String,
    /// Where it wants to go; for `bind` the peer it expects, by default anybody; for `udp-associate` where a datagram
    /// goes, by default the association itself is judged. An IPv6 address in brackets
    #[arg(long, value_name = "HOST:PORT", value_parser = target)]
    to: Option<Target>,
    /// For `bind`: the peer that arrives
    #[arg(long, value_name = "ADDRESS:PORT")]
    peer: Option<SocketAddr>,
    /// When, for rules that expire; by default now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
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

/// The whole answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    /// What the policy says to the request itself; for a name this may be that it needs the addresses.
    request: Explanation,
    /// For a name that has to be looked up: what it resolves to, and the verdict for each address.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolved: Option<Resolved>,
    /// What it says to the peer that arrives at a BIND.
    #[serde(skip_serializing_if = "Option::is_none")]
    arrival: Option<Arrival>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Resolved {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    addresses: Vec<Address>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Address {
    address: IpAddr,
    explanation: Explanation,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Arrival {
    peer: SocketAddr,
    /// Whether the client named this peer, or none.
    expected: bool,
    /// Whether the rule that lets the client listen takes no other peer than the one it named.
    only_expected: bool,
    explanation: Explanation,
}

impl Explain {
    pub(super) fn run(self, registry: &Registry) -> Result<Exit, Exit> {
        let runtime =
            Runtime::new().map_err(|error| fail(Exit::System, format_args!("no runtime: {error}")))?;
        let _guard = runtime.enter();
        if self.peer.is_some() && self.command != "bind" {
            return Err(fail(
                Exit::Usage,
                "`--peer` is for `--command bind`: no other command has a peer that arrives",
            ));
        }
        if self.to.is_none() && self.command == "connect" {
            return Err(fail(Exit::Usage, "`--to HOST:PORT` is missing: where does it want to connect to?"));
        }
        let snapshot = load(&self.config, registry)?.snapshot;
        let identity = self.identity().map_err(|text| fail(Exit::Usage, text))?;
        let listener = self.listener(&snapshot)?;
        let listening: Vec<SocketAddr> = snapshot.listeners.iter().map(|listener| listener.address).collect();
        let own = own_addresses(&listening)
            .map_err(|error| fail(Exit::System, format_args!("addresses of this machine: {error}")))?;
        let query = |address| Query {
            listener: &listener,
            client: SocketAddr::new(self.from, 0),
            identity: Some(&identity),
            operation: Some(self.operation()),
            address,
            gateway: &own,
            now: self.at.unwrap_or_else(Timestamp::now),
        };
        let mut answer = self.answer(&runtime, &snapshot, &query);
        answer.arrival = self.arrival(&answer, &snapshot.ruleset, &query);
        self.show(&identity, &answer)
    }

    /// The answer to the request, with the addresses of its name.
    fn answer<'a>(
        &self,
        runtime: &Runtime,
        snapshot: &Snapshot,
        query: &impl Fn(Option<IpAddr>) -> Query<'a>,
    ) -> Answer {
        let request = snapshot.ruleset.explain(&query(None));
        let mut answer = Answer { request, resolved: None, arrival: None };
        // A client that is not admitted is denied without a lookup, here as in the gateway.
        let name =
            self.name().filter(|_| matches!(answer.request.verdict, Verdict::Needs { fact: Fact::Address }));
        if let Some(name) = name {
            let most = snapshot.settings.limits.resolve_timeout;
            let looked_up = runtime.block_on(snapshot.resolver.lookup(name, most));
            let explain =
                |address| Address { address, explanation: snapshot.ruleset.explain(&query(Some(address))) };
            answer.resolved = Some(Resolved {
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
        let only_expected = matches!(
            ruleset.decide(&listen),
            Decision::Permit(permit) if permit.terms().bind.peer == BindPeerRule::Named
        );
        let name = self.name().filter(|_| expected);
        let arrival = Query { operation: Some(Operation::BindPeer { peer, name }), ..listen };
        Some(Arrival { peer, expected, only_expected, explanation: ruleset.explain(&arrival) })
    }

    /// The name that it asks about.
    fn name(&self) -> Option<&DomainName> {
        match &self.to.as_ref()?.host {
            Host::Name(name) => Some(name),
            Host::Ip(_) => None,
        }
    }

    fn operation(&self) -> Operation<'_> {
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

    fn listener(&self, snapshot: &Snapshot) -> Result<String, Exit> {
        let known: Vec<&str> = snapshot.listeners.iter().map(|listener| &*listener.name).collect();
        match &self.listener {
            None => Ok(known.first().copied().unwrap_or_default().to_owned()),
            Some(name) if known.contains(&name.as_str()) => Ok(name.clone()),
            Some(name) => {
                let text = format!("listener `{name}` is none of `{}`", known.join("`, `"));
                Err(fail(Exit::Usage, text))
            }
        }
    }

    fn show(&self, identity: &Identity, answer: &Answer) -> Result<Exit, Exit> {
        if self.json {
            let text = serde_json::to_string_pretty(answer)
                .map_err(|error| fail(Exit::Software, format_args!("no JSON: {error}")))?;
            say(text);
            return Ok(Exit::Done);
        }
        let Self { from, command, to, .. } = self;
        match (to, command.as_str()) {
            (Some(to), "bind") => {
                say(format_args!("`{identity}` from {from} asks for `bind` and expects `{to}`"));
            }
            (Some(to), _) => say(format_args!("`{identity}` from {from} asks for `{command}` to `{to}`")),
            (None, _) => say(format_args!("`{identity}` from {from} asks for `{command}`")),
        }
        say(&answer.request);
        if let Some(resolved) = &answer.resolved {
            resolved.show(command);
        }
        if let Some(arrival) = &answer.arrival {
            arrival.show();
        }
        Ok(Exit::Done)
    }
}

impl Resolved {
    fn show(&self, command: &str) {
        let used = match command {
            "connect" => "dialled",
            "bind" => "expected",
            _ => "sent to",
        };
        match &self.error {
            Some(error) => say(format_args!("`{}`: {error}", self.name)),
            None => say(format_args!(
                "`{}` resolves to {}; each address is judged by itself, and only permitted ones are {used}:",
                self.name,
                self.addresses
                    .iter()
                    .map(|address| address.address.to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
        }
        for Address { address, explanation } in &self.addresses {
            say(format_args!("\n{address}:\n{explanation}"));
        }
    }
}

impl Arrival {
    fn show(&self) {
        let Self { peer, expected, only_expected, explanation } = self;
        let note = match (expected, only_expected) {
            (true, _) => "",
            (false, true) => ", which is not the expected peer and refused for that:",
            (false, false) => ", which is not the expected peer:",
        };
        say(format_args!("\n{peer} arrives{note}\n{explanation}"));
    }
}
