//! What one session leaves behind: exactly one end record, whatever happens to it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, MutexGuard};

use jiff::Timestamp;
use socks_core::relay::Way;
use socks_core::wire::{Command, ReplyCode};
use socks_core::{Identity, IdentityName};
use tracing::{debug, error, info, warn};

use crate::admission::Source;
use crate::audit::VERSION;
use crate::gateway::Gateway;
use crate::listeners::Entrance;
use crate::outcome::{Concern, End, Verdict};
use crate::roster::{Facts, Live};

mod line;

use line::{Line, Opening};

/// One session as it sees itself. Dropping it writes the end record, if nobody has yet.
pub(crate) struct Record {
    gateway: Arc<Gateway>,
    live: Arc<Live>,
    written: bool,
}

impl Record {
    pub(crate) fn open(gateway: Arc<Gateway>, listener: (Entrance, Arc<str>), client: SocketAddr) -> Self {
        let live = gateway.roster.enter(gateway.next_session(), listener, client);
        Self { gateway, live, written: false }
    }

    /// The session as others see it.
    pub(crate) fn live(&self) -> &Arc<Live> {
        &self.live
    }

    pub(crate) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// The client's address, canonical.
    pub(crate) fn client(&self) -> SocketAddr {
        self.live.client()
    }

    /// What is known of the session; hold it for a moment only, and never across an await.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.live.facts()
    }

    /// Notes what has become known.
    pub(crate) fn learn(&self, note: impl FnOnce(&mut Facts)) {
        note(&mut self.facts());
    }

    /// Who the client is, once it is proven.
    pub(crate) fn identity(&self) -> Option<Arc<Identity>> {
        self.facts().identity.clone()
    }

    /// Writes the end record. The first end counts; a second one changes nothing.
    pub(crate) fn finish(&mut self, end: &End) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        self.gateway.roster.leave(self.live.id);
        self.live.free_places();
        // Nobody looks for it any more, so what is known can be taken.
        let facts = self.facts().take();
        self.tell_operator(end);
        self.gateway.metrics.end(&self.live, &facts, end);
        if verdict(&facts, end) == Verdict::Deny {
            self.gateway.denials.note(&self.live, &facts, end);
        }
        // A scan must not fill the disk: what was never authenticated is counted per source.
        let counts = facts.identity.is_none() || self.is_check(&facts);
        if counts && self.gateway.refusals.count(self.client().ip(), end) {
            debug!(session = %self.live.id, client = %self.client(), cause = end.cause(), detail = end.detail(), "refused");
            return;
        }
        self.write(&facts, end);
    }

    /// A load balancer's own connection that has asked for nothing: it looks whether the gateway is there.
    fn is_check(&self, facts: &Facts) -> bool {
        self.live.via() == Some(self.client()) && facts.command.is_none()
    }

    /// Clients can cause these at will, so each sort is told seldom; the records tell all.
    fn tell_operator(&self, end: &End) {
        let concern = end.concern();
        if concern == Concern::Record || !self.gateway.throttle.allow(end.cause()) {
            return;
        }
        let (session, client, cause, detail) = (self.live.id, self.client(), end.cause(), end.detail());
        if concern == Concern::Bug {
            error!(%session, %client, cause, "session ended by a bug of the gateway");
        } else {
            warn!(%session, %client, cause, detail, "session failed on this gateway");
        }
    }

    /// Writes the start record, if those are wanted: octets may flow from now on.
    pub(crate) fn open_up(&self, wanted: bool) {
        if wanted {
            let facts = self.facts();
            let opening = self.opening(&facts, "session-start", Timestamp::now());
            self.gateway.audit.write(&opening);
        }
    }

    fn write(&self, facts: &Facts, end: &End) {
        let line = self.line(facts, end);
        let opening = &line.opening;
        info!(
            session = opening.session,
            client = %opening.client,
            via = opening.via.map(tracing::field::display),
            method = opening.method,
            identity = opening.identity,
            groups_missing = opening.groups_missing,
            protection = opening.protection,
            command = opening.command,
            target = opening.target.as_deref(),
            upstream = opening.upstream,
            dialled = opening.dialled.map(tracing::field::display),
            peer = opening.peer.map(tracing::field::display),
            rule = opening.rule,
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

    fn opening<'a>(&'a self, facts: &'a Facts, event: &'static str, time: Timestamp) -> Opening<'a> {
        let identity = facts.identity.as_deref();
        Opening {
            v: VERSION,
            event,
            session: self.live.id.to_string(),
            time,
            started: self.live.started,
            listener: &self.live.listener,
            client: self.client(),
            via: self.live.via(),
            method: facts.method.as_deref(),
            identity: identity.map(ToString::to_string),
            groups: identity.map_or(&[][..], |identity| &identity.groups),
            groups_missing: facts.groups_missing.as_deref(),
            groups_unknown: facts.groups_missing.is_none()
                && identity.is_some_and(|identity| identity.groups_missing.is_some()),
            attributes: identity.map(|identity| &identity.attributes).filter(|map| !map.is_empty()),
            protection: identity.map(|identity| identity.level.as_str()),
            valid_until: identity.and_then(|identity| identity.valid_until),
            command: facts.command.map(command_word),
            target: facts.asked.as_ref().map(ToString::to_string),
            addresses: &facts.addresses,
            judged: judged(facts),
            upstream: facts.rare().upstream.as_deref(),
            dialled: facts.dialled,
            bound: facts.bound,
            advertised: facts.rare().advertised,
            peer: facts.rare().peer,
            rule: facts.rule.as_deref(),
            logged_by: facts.rare().logged_by.iter().map(|rule| &**rule).collect(),
            policy: (facts.generation > 0).then_some(facts.generation),
        }
    }

    fn line<'a>(&'a self, facts: &'a Facts, end: &'a End) -> Line<'a> {
        let time = Timestamp::now();
        let identity = facts.identity.as_deref();
        Line {
            opening: self.opening(facts, "session", time),
            claimed_identity: end.claimed().map(|name| name.escape_debug().to_string()),
            expired: facts.is_open() && identity.is_some_and(|identity| identity.has_expired(time)),
            refused_peers: facts.rare().refused_peers,
            rules_before: facts.rare().rules_before.iter().map(|rule| &**rule).collect(),
            shadow: facts.rare().shadow.iter().map(|(difference, _)| difference).collect(),
            verdict: verdict(facts, end).as_str(),
            cause: end.cause(),
            special_use: end.special_use(),
            detail: Some(end.detail()).filter(|detail| !detail.is_empty()),
            reply: reply(facts, end).map(|code| code.0),
            up: self.live.octets(facts, Way::Up),
            down: self.live.octets(facts, Way::Down),
            datagrams_up: facts.association.as_ref().map(|tally| tally.datagrams(Way::Up)),
            datagrams_down: facts.association.as_ref().map(|tally| tally.datagrams(Way::Down)),
            destinations: facts.association.as_ref().map(|tally| tally.destinations()),
            drops: drops(facts),
            seconds: (self.live.clock.elapsed().as_secs_f64() * 1e3).round() / 1e3,
        }
    }
}

/// Once a connection was open, a rule has permitted the session, however it ended.
pub(crate) fn verdict(facts: &Facts, end: &End) -> Verdict {
    if facts.is_open() { Verdict::Permit } else { end.verdict() }
}

/// The address that was judged, where the record would not tell it otherwise: it is one of several, and an upstream or
/// a translator stands between.
fn judged(facts: &Facts) -> Option<IpAddr> {
    let judged = facts.judged.filter(|_| !facts.addresses.is_empty())?;
    let dialled = facts.dialled.map(|address| address.ip().to_canonical());
    (dialled != Some(judged)).then_some(judged)
}

fn reply(facts: &Facts, end: &End) -> Option<ReplyCode> {
    if facts.is_open() { Some(ReplyCode::SUCCEEDED) } else { end.reply() }
}

/// Datagrams that were dropped, by cause.
fn drops(facts: &Facts) -> BTreeMap<&'static str, u64> {
    let drops = facts.association.iter().flat_map(|tally| tally.drops());
    drops.map(|(cause, count)| (cause.as_str(), count)).collect()
}

impl Drop for Record {
    fn drop(&mut self) {
        let end = if std::thread::panicking() {
            End::Panicked
        } else if let Some(ending) = self.live.ending() {
            End::Outside(ending.clone())
        } else if self.gateway.is_stopping() {
            End::Stopped
        } else {
            End::Dropped
        };
        self.finish(&end);
    }
}

pub(crate) fn command_word(command: Command) -> &'static str {
    match command {
        Command::Connect => "connect",
        Command::Bind => "bind",
        Command::UdpAssociate => "udp-associate",
    }
}

/// Who holds a session through a rule that counts: the identity, or the source of an anonymous client. Its text is made
/// only where something counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holder<'a> {
    identity: &'a Identity,
    client: SocketAddr,
}

impl<'a> Holder<'a> {
    pub(crate) fn of(identity: &'a Identity, client: SocketAddr) -> Self {
        Self { identity, client }
    }

    /// Where the session comes from.
    pub(crate) fn source(self) -> Source {
        Source::of(self.client.ip())
    }
}

impl From<Holder<'_>> for Box<str> {
    fn from(holder: Holder<'_>) -> Self {
        match holder.identity.name {
            IdentityName::Anonymous => holder.source().to_string().into(),
            _ => holder.identity.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests;
