//! Sessions as a list shows them, and which of them somebody means.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use socks_core::relay::Way;

use crate::admission::Source;
use crate::record::command_word;
use crate::roster::{Facts, Live, Rates, Stage};

/// One open session. Its fields have the names and the meaning of the end record's (`docs/audit.md`).
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    pub(crate) session: String,
    /// The process that serves it: while one takes over from another, there are two.
    pub(crate) process: u32,
    pub(crate) started: Timestamp,
    pub(crate) seconds: f64,
    pub(crate) listener: String,
    pub(crate) client: SocketAddr,
    pub(crate) via: Option<SocketAddr>,
    pub(crate) stage: Stage,
    pub(crate) method: Option<String>,
    pub(crate) identity: Option<String>,
    pub(crate) protection: Option<String>,
    pub(crate) command: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) dialled: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) rule: Option<String>,
    pub(crate) policy: u64,
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// Octets per second, now.
    pub(crate) rates: Rates,
}

impl Row {
    /// `None`: it has just ended.
    pub(crate) fn of(live: &Live) -> Option<Self> {
        let mut facts = live.facts();
        if facts.is_over() {
            return None;
        }
        let rates = live.rates(&mut facts);
        let text = |shared: &std::sync::Arc<str>| shared.to_string();
        Some(Self {
            session: live.id.to_string(),
            process: std::process::id(),
            started: live.started,
            seconds: (live.clock.elapsed().as_secs_f64() * 1e3).round() / 1e3,
            listener: live.listener.to_string(),
            client: live.client(),
            via: live.via(),
            stage: facts.stage(),
            method: facts.method.as_ref().map(text),
            identity: facts.identity.as_deref().map(ToString::to_string),
            protection: facts.identity.as_deref().map(|identity| identity.level.as_str().to_owned()),
            command: facts.command.map(|command| command_word(command).to_owned()),
            target: facts.asked.as_ref().map(ToString::to_string),
            upstream: facts.rare().upstream.as_ref().map(text),
            dialled: facts.dialled,
            peer: facts.rare().peer,
            rule: facts.rule.as_ref().map(text),
            policy: facts.generation,
            up: live.octets(&facts, Way::Up),
            down: live.octets(&facts, Way::Down),
            rates,
        })
    }
}

/// Which sessions are meant: those to which everything that is given applies.
#[derive(Debug, Default, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// Only those of this identity, as the list shows it
    #[arg(long, value_name = "IDENTITY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<String>,
    /// Only those that this rule permits
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// Only those of clients at this address or in this network
    #[arg(long, value_name = "NETWORK", value_parser = network)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

impl Filter {
    /// Tells whether nothing is given, so that all are meant.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The test, with its network read once.
    ///
    /// # Errors
    /// When the source is neither address nor network.
    pub(crate) fn test(&self) -> Result<impl Fn(&Live, &Facts) -> bool, String> {
        let source = self.source.as_deref().map(parse_network).transpose()?;
        Ok(move |live: &Live, facts: &Facts| {
            source.is_none_or(|source| source.contains(&live.client().ip())) && self.applies(facts)
        })
    }

    fn applies(&self, facts: &Facts) -> bool {
        let identity = || facts.identity.as_deref().map(ToString::to_string);
        self.rule.as_deref().is_none_or(|rule| facts.rule.as_deref() == Some(rule))
            && (self.identity.is_none() || self.identity == identity())
    }
}

/// Whose failed logins are to be forgotten: those to which everything that is given applies.
#[derive(Debug, Default, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockFilter {
    /// The name as `socksd locks` shows it
    #[arg(value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Only from this address; of IPv6, from its /64
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
}

impl LockFilter {
    /// Tells whether nothing is given, so that all are meant.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The source that is meant.
    ///
    /// # Errors
    /// When it is no address.
    pub(crate) fn source(&self) -> Result<Option<Source>, String> {
        self.source.as_deref().map(parse_source).transpose()
    }
}

fn address(text: &str) -> Result<String, String> {
    parse_source(text).map(|_| text.to_owned())
}

/// An address, or an IPv6 /64 as lists show it.
fn parse_source(text: &str) -> Result<Source, String> {
    let address = text.strip_suffix("/64").unwrap_or(text).parse().map(Source::of);
    address.map_err(|_| "not an address".to_owned())
}

fn network(text: &str) -> Result<String, String> {
    parse_network(text).map(|_| text.to_owned())
}

pub(super) fn parse_network(text: &str) -> Result<IpNet, String> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    address.or_else(|_| text.parse()).map_err(|_| "neither an address nor a network".to_owned())
}
