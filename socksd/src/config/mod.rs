//! `socksd.yaml`: how the gateway runs. Every key is described in `docs/configuration.md`.

mod admin;
mod audit;
mod keepalive;
mod limits;
mod listener;
mod logins;
mod quotas;
mod upgrade;
mod upstream;

use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use socks_config::{Document, Fields, Findings, Node, value};
use socks_policy::Nat64;
use tracing_subscriber::filter::LevelFilter;

pub(crate) use admin::{AdminConfig, Member, Token};
#[cfg(test)]
pub(crate) use audit::TargetTerms;
pub(crate) use audit::{
    AuditConfig, Fsync, OnAuditFailure, OnOverflow, SyslogAddress, SyslogConfig, SyslogMessage, TargetConfig,
    TargetKind,
};
pub(crate) use keepalive::Keepalive;
pub(crate) use limits::Limits;
#[cfg(test)]
pub(crate) use listener::Balancers;
pub(crate) use listener::{Advertised, Listener};
pub(crate) use logins::{LoginLimits, LoginLock};
pub(crate) use quotas::QuotaConfig;
pub(crate) use upgrade::UpgradeConfig;
pub(crate) use upstream::UpstreamEntry;

/// A configuration without a mistake; what it names (users, policy) is read by others.
#[derive(Debug)]
pub(crate) struct Config<'a> {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) auth: Vec<AuthEntry<'a>>,
    pub(crate) policy: Option<PolicyFile<'a>>,
    /// The policy that judges beside it, if there is one.
    pub(crate) shadow_policy: Option<PolicyFile<'a>>,
    pub(crate) upstreams: Vec<UpstreamEntry<'a>>,
    pub(crate) settings: Settings,
}

/// What stays in memory of the configuration while the gateway runs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) audit: AuditConfig,
    pub(crate) log: LogConfig,
    /// Where operators ask the running gateway.
    pub(crate) admin: Option<AdminConfig>,
    /// Where a new process takes over.
    pub(crate) upgrade: Option<UpgradeConfig>,
    /// Where it is kept what was used of a day's octets.
    pub(crate) quotas: Option<QuotaConfig>,
    /// The prefix behind which the network's translator reaches IPv4 addresses.
    pub(crate) nat64: Option<Nat64>,
}

/// One authentication method, not yet built.
#[derive(Debug)]
pub(crate) struct AuthEntry<'a> {
    /// The name that the policy uses; by default the kind.
    pub(crate) name: Arc<str>,
    pub(crate) kind: &'a Node,
    pub(crate) options: Option<&'a Node>,
}

/// The policy's file, and the place that names it.
#[derive(Debug)]
pub(crate) struct PolicyFile<'a> {
    pub(crate) path: PathBuf,
    pub(crate) node: &'a Node,
}

impl<'a> PolicyFile<'a> {
    fn read(node: &'a Node, base: &Path, findings: &mut Findings) -> Option<Self> {
        let text = findings.note(node.text())?;
        Some(Self { path: base.join(text), node })
    }
}

/// How the log looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    pub(crate) level: LevelFilter,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: LevelFilter::INFO }
    }
}

/// Text for people, or one JSON object per line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

impl<'a> Config<'a> {
    /// Reads the document; mistakes are added to `findings`, and what could be read is given all the same.
    pub(crate) fn read(document: &'a Document, base: &Path, findings: &mut Findings) -> Self {
        let mut config = Self {
            listeners: Vec::new(),
            auth: Vec::new(),
            policy: None,
            shadow_policy: None,
            upstreams: Vec::new(),
            settings: Settings::default(),
        };
        let Some(mut fields) = document.root.fields(findings) else { return config };
        if let Some(node) = fields.require("listeners", findings) {
            config.listeners = listener::listeners(node, findings);
        }
        if let Some(node) = fields.require("auth", findings) {
            config.auth = auth(node, findings);
        }
        config.policy =
            fields.require("policy", findings).and_then(|node| PolicyFile::read(node, base, findings));
        config.shadow_policy =
            fields.take("shadow-policy").and_then(|node| PolicyFile::read(node, base, findings));
        if let Some(node) = fields.take("upstreams") {
            config.upstreams = upstream::upstreams(node, &config.listeners, findings);
        }
        if let Some(node) = fields.take("limits") {
            config.settings.limits = Limits::read(node, findings);
        }
        if let Some(node) = fields.take("audit") {
            config.settings.audit = AuditConfig::read(node, base, findings);
        }
        if let Some(node) = fields.take("log") {
            config.settings.log = log(node, findings);
        }
        config.settings.upgrade =
            fields.take("upgrade").and_then(|node| UpgradeConfig::read(node, base, findings));
        config.settings.admin = fields.take("admin").and_then(|node| admin::admin(node, base, findings));
        config.settings.quotas =
            fields.take("quotas").and_then(|node| QuotaConfig::read(node, base, findings));
        config.settings.nat64 = fields.take("nat64").and_then(|node| findings.note(node.parse()));
        fields.finish(findings);
        config
    }
}

fn auth<'a>(node: &'a Node, findings: &mut Findings) -> Vec<AuthEntry<'a>> {
    let mut entries: Vec<AuthEntry<'_>> = Vec::new();
    for item in list(node, findings) {
        let Some(mut fields) = item.fields(findings) else { continue };
        let name = fields.take("name");
        let kind = fields.require("kind", findings);
        let options = fields.take("options");
        fields.finish(findings);
        let Some(kind) = kind else { continue };
        let Some(text) = findings.note(name.unwrap_or(kind).text()) else { continue };
        if !is_word(text) {
            let place = &name.unwrap_or(kind).place;
            findings.mistake(
                place,
                format!("name `{text}` is not made of small letters, digits and hyphens, a letter first"),
            );
            continue;
        }
        if RESERVED.contains(&text) {
            let message = format!("name `{text}` has another meaning in the policy; take another one");
            findings.mistake(&name.unwrap_or(kind).place, message);
            continue;
        }
        if entries.iter().any(|entry| &*entry.name == text) {
            let message = format!("authenticator `{text}` is there twice; give one of them another `name`");
            findings.mistake(&name.unwrap_or(kind).place, message);
            continue;
        }
        entries.push(AuthEntry { name: text.into(), kind, options });
    }
    entries
}

/// What stands before a colon in the policy and is no authenticator.
const RESERVED: [&str; 2] = ["group", "host"];

/// The names of authenticators stand before a colon in identities, so they have no odd characters.
pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-')
}

fn log(node: &Node, findings: &mut Findings) -> LogConfig {
    let mut config = LogConfig::default();
    let Some(mut fields) = node.fields(findings) else { return config };
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    if let Some(format) = word(&mut fields, "format", &formats, findings) {
        config.format = format;
    }
    let levels = [
        ("error", LevelFilter::ERROR),
        ("warn", LevelFilter::WARN),
        ("info", LevelFilter::INFO),
        ("debug", LevelFilter::DEBUG),
        ("trace", LevelFilter::TRACE),
    ];
    if let Some(level) = word(&mut fields, "level", &levels, findings) {
        config.level = level;
    }
    fields.finish(findings);
    config
}

/// A list that is not empty; anything else is a mistake.
fn list<'a>(node: &'a Node, findings: &mut Findings) -> &'a [Node] {
    let items = findings.note(node.list());
    if items.is_some_and(<[Node]>::is_empty) {
        findings.mistake(&node.place, "the list is empty");
    }
    items.unwrap_or_default()
}

/// A positive duration under `key`.
fn time(fields: &mut Fields<'_>, key: &'static str, findings: &mut Findings) -> Option<Duration> {
    let node = fields.take(key)?;
    let time = findings.note(value::duration(node))?;
    if time.is_zero() {
        findings.mistake(&node.place, format!("`{key}` must be more than zero"));
        return None;
    }
    Some(time)
}

/// A number under `key` that is more than nothing.
fn number(fields: &mut Fields<'_>, key: &'static str, findings: &mut Findings) -> Option<NonZeroU32> {
    let node = fields.take(key)?;
    let number = NonZeroU32::new(findings.note(node.parse())?);
    if number.is_none() {
        findings.mistake(&node.place, format!("`{key}` must be at least 1"));
    }
    number
}

/// A size under `key` that is more than nothing.
fn octets(fields: &mut Fields<'_>, key: &'static str, findings: &mut Findings) -> Option<NonZeroU64> {
    let node = fields.take(key)?;
    let size = NonZeroU64::new(findings.note(value::size(node))?);
    if size.is_none() {
        findings.mistake(&node.place, format!("`{key}` must be more than zero"));
    }
    size
}

/// One of some words under `key`.
fn word<T: Copy>(
    fields: &mut Fields<'_>,
    key: &'static str,
    words: &[(&'static str, T)],
    findings: &mut Findings,
) -> Option<T> {
    word_of(fields.take(key)?, words, findings)
}

/// The value of one of some words.
fn word_of<T: Copy>(node: &Node, words: &[(&'static str, T)], findings: &mut Findings) -> Option<T> {
    let text = findings.note(node.text())?;
    let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    if found.is_none() {
        let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
        findings.mistake(&node.place, format!("`{text}` is not one of {}", known.join(", ")));
    }
    found
}

#[cfg(test)]
mod tests;
