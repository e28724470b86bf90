//! What one session leaves behind: exactly one end record, whatever happens to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;
use socks_core::relay::Progress;
use socks_core::wire::{Command, ReplyCode};
use socks_core::{Identity, IdentityName};
use tracing::{debug, error, info, warn};

use crate::gateway::Gateway;
use crate::outcome::{Concern, End, Verdict};

/// The version of the record's shape; it grows when a field changes its meaning or goes away.
const VERSION: u8 = 1;

/// The facts of one session, gathered while it runs. Dropping it writes the end record, if nobody has yet.
pub(crate) struct Record {
    gateway: Arc<Gateway>,
    written: bool,
    id: SessionId,
    started: Timestamp,
    clock: Instant,
    /// The listener's name.
    pub(crate) listener: Arc<str>,
    /// The client's address, canonical.
    pub(crate) client: SocketAddr,
    /// The authenticator that was chosen.
    pub(crate) method: Option<Arc<str>>,
    /// Who the client is, once it is proven.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Why the groups of the name that a login proved could not be learned, also where it was refused then.
    pub(crate) groups_missing: Option<Box<str>>,
    /// What it asked for.
    pub(crate) command: Option<Command>,
    /// The target as asked: escaped, if it could not be read.
    pub(crate) target: Option<Box<str>>,
    /// The rule that permitted or denied.
    pub(crate) rule: Option<Arc<str>>,
    /// The generation of the policy that decided.
    pub(crate) generation: u64,
    /// The address that was dialled.
    pub(crate) dialled: Option<SocketAddr>,
    /// The gateway's own end of that connection; for BIND, where it listened.
    pub(crate) bound: Option<SocketAddr>,
    /// Where the client was told that the gateway listens, if that is another address.
    pub(crate) advertised: Option<SocketAddr>,
    /// The peer of a BIND.
    pub(crate) peer: Option<SocketAddr>,
    /// How many others came in its place.
    pub(crate) refused_peers: u64,
    /// Octets relayed.
    pub(crate) progress: Arc<Progress>,
}

/// A number that no other session of this gateway has, before or after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionId {
    pub(crate) boot: u64,
    pub(crate) number: u64,
}

impl std::fmt::Display for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:x}", self.boot, self.number)
    }
}

impl Record {
    pub(crate) fn open(gateway: Arc<Gateway>, listener: Arc<str>, client: SocketAddr) -> Self {
        Self {
            id: gateway.next_session(),
            gateway,
            written: false,
            started: Timestamp::now(),
            clock: Instant::now(),
            listener,
            client,
            method: None,
            identity: None,
            groups_missing: None,
            command: None,
            target: None,
            rule: None,
            generation: 0,
            dialled: None,
            bound: None,
            advertised: None,
            peer: None,
            refused_peers: 0,
            progress: Arc::default(),
        }
    }

    /// Writes the end record. The first end counts; a second one changes nothing.
    pub(crate) fn finish(&mut self, end: &End) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        self.tell_operator(end);
        // A scan must not fill the disk: what was never authenticated is counted per source.
        if self.identity.is_none() && self.gateway.refusals.count(self.client.ip(), end) {
            debug!(session = %self.id, client = %self.client, cause = end.cause(), detail = end.detail(), "refused");
            return;
        }
        self.write(end);
    }

    /// Clients can cause these at will, so each sort is told seldom; the records tell all.
    fn tell_operator(&self, end: &End) {
        let concern = end.concern();
        if concern == Concern::Record || !self.gateway.throttle.allow(end.cause()) {
            return;
        }
        let (session, client, cause, detail) = (self.id, self.client, end.cause(), end.detail());
        if concern == Concern::Bug {
            error!(%session, %client, cause, "session ended by a bug of the gateway");
        } else {
            warn!(%session, %client, cause, detail, "session failed on this gateway");
        }
    }

    fn write(&self, end: &End) {
        let line = self.line(end);
        info!(
            session = line.session,
            client = %self.client,
            method = line.method,
            identity = line.identity,
            groups_missing = line.groups_missing,
            protection = line.protection,
            command = line.command,
            target = line.target,
            dialled = line.dialled.map(tracing::field::display),
            peer = line.peer.map(tracing::field::display),
            rule = line.rule,
            verdict = line.verdict,
            cause = line.cause,
            detail = line.detail,
            up = line.up,
            down = line.down,
            seconds = line.seconds,
            "session"
        );
        self.gateway.audit.write(&line);
    }

    fn line(&self, end: &End) -> Line<'_> {
        let identity = self.identity.as_deref();
        let claimed = end.claimed();
        let time = Timestamp::now();
        Line {
            v: VERSION,
            event: "session",
            session: self.id.to_string(),
            time,
            started: self.started,
            listener: &self.listener,
            client: self.client,
            method: self.method.as_deref(),
            identity: identity.map(ToString::to_string),
            claimed_identity: claimed.map(|name| name.escape_debug().to_string()),
            groups: identity.map_or(&[][..], |identity| &identity.groups),
            groups_missing: self.groups_missing.as_deref(),
            attributes: identity.map(|identity| &identity.attributes).filter(|map| !map.is_empty()),
            protection: identity.map(|identity| identity.level.as_str()),
            valid_until: identity.and_then(|identity| identity.valid_until),
            expired: self.was_open() && identity.is_some_and(|identity| identity.has_expired(time)),
            command: self.command.map(command_word),
            target: self.target.as_deref(),
            dialled: self.dialled,
            bound: self.bound,
            advertised: self.advertised,
            peer: self.peer,
            refused_peers: self.refused_peers,
            rule: self.rule.as_deref(),
            policy: (self.generation > 0).then_some(self.generation),
            verdict: self.verdict(end).as_str(),
            cause: end.cause(),
            detail: Some(end.detail()).filter(|detail| !detail.is_empty()),
            reply: self.reply(end).map(|code| code.0),
            up: self.progress.up(),
            down: self.progress.down(),
            seconds: (self.clock.elapsed().as_secs_f64() * 1e3).round() / 1e3,
        }
    }

    /// Once a connection was open, a rule has permitted the session, however it ended.
    fn verdict(&self, end: &End) -> Verdict {
        if self.was_open() { Verdict::Permit } else { end.verdict() }
    }

    fn reply(&self, end: &End) -> Option<ReplyCode> {
        if self.was_open() { Some(ReplyCode::SUCCEEDED) } else { end.reply() }
    }

    /// A socket that listens is not yet a connection.
    fn was_open(&self) -> bool {
        match self.command {
            Some(Command::Bind) => self.peer.is_some(),
            _ => self.bound.is_some(),
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let end = if std::thread::panicking() {
            End::Panicked
        } else if self.gateway.is_stopping() {
            End::Stopped
        } else {
            End::Dropped
        };
        self.finish(&end);
    }
}

fn command_word(command: Command) -> &'static str {
    match command {
        Command::Connect => "connect",
        Command::Bind => "bind",
        Command::UdpAssociate => "udp-associate",
    }
}

/// Who holds a session through a rule that counts: the identity, or the source of an anonymous client.
pub(crate) fn holder(identity: &Identity, client: SocketAddr) -> Box<str> {
    match identity.name {
        IdentityName::Anonymous => crate::admission::Source::of(client.ip()).to_string().into(),
        _ => identity.to_string().into(),
    }
}

/// One line of the audit file. Its fields are described in `docs/audit.md`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Line<'a> {
    v: u8,
    event: &'static str,
    session: String,
    time: Timestamp,
    started: Timestamp,
    listener: &'a str,
    client: SocketAddr,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claimed_identity: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    groups: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    groups_missing: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a std::collections::BTreeMap<Box<str>, Box<str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protection: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Timestamp>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    expired: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dialled: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    advertised: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<SocketAddr>,
    #[serde(skip_serializing_if = "is_zero")]
    refused_peers: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<u64>,
    verdict: &'static str,
    cause: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply: Option<u8>,
    up: u64,
    down: u64,
    seconds: f64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[cfg(test)]
mod tests;
