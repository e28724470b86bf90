//! What is known of a session: its record, lists and metrics are made of that.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use socks_core::Identity;
use socks_core::udp::Tally;
use socks_core::wire::{Command, Target};
use socks_policy::{OnRevoke, OperationKind, Permit};

use crate::shadow::Difference;

use super::Stage;
use super::pace::Pace;

/// How many rules are noted that held a session one after the other.
const MAX_RULES_BEFORE: usize = 16;
/// How many rules that only log are noted of one session, whose datagrams may each meet others.
const MAX_LOGGED_BY: usize = 16;
/// How many addresses of a name are noted.
const MAX_ADDRESSES: usize = 16;
/// How many differences to the shadow policy are noted of one session.
const MAX_SHADOW: usize = 16;

/// What is learned of a session while it runs. It is kept small, because most sessions idle most of the time.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// The authenticator that was chosen.
    pub(crate) method: Option<Arc<str>>,
    /// Who the client is, once it is proven.
    pub(crate) identity: Option<Arc<Identity>>,
    /// Why the groups of the name that a login proved could not be learned, also where it was refused then.
    pub(crate) groups_missing: Option<Box<str>>,
    /// What it asked for.
    pub(crate) command: Option<Command>,
    /// Where to.
    pub(crate) asked: Option<Asked>,
    /// The rule that permitted or denied.
    pub(crate) rule: Option<Arc<str>>,
    /// What becomes of the session when a later policy takes that permit away.
    pub(crate) on_revoke: OnRevoke,
    /// The addresses of the name that it asked for.
    pub(crate) addresses: Box<[IpAddr]>,
    /// The address that the permit is for, where there is one.
    pub(crate) judged: Option<IpAddr>,
    /// The peer of a BIND is at an address of the name that the request has.
    pub(crate) peer_is_named: bool,
    /// The generation of the policy that decided.
    pub(crate) generation: u64,
    /// The address that was dialled.
    pub(crate) dialled: Option<SocketAddr>,
    /// The gateway's own end of that connection; for BIND, where it listened.
    pub(crate) bound: Option<SocketAddr>,
    /// Datagrams of an association, which count in place of [`Live::progress`](super::Live::progress).
    pub(crate) association: Option<Arc<Tally>>,
    /// How fast octets flow, once somebody has looked.
    pub(crate) pace: Option<Box<Pace>>,
    /// What few sessions have.
    pub(crate) rare: Option<Box<Rare>>,
    /// The session has ended, and its record has taken all that was known.
    pub(crate) is_over: bool,
}

/// What is learned of few sessions.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// It has lost its permit, and may go on until then.
    pub(crate) drains_until: Option<tokio::time::Instant>,
    /// The upstream gateway that the connection goes through.
    pub(crate) upstream: Option<Arc<str>>,
    /// The rules that held it before, while it was open.
    pub(crate) rules_before: Vec<Arc<str>>,
    /// The rules that only log and that matched.
    pub(crate) logged_by: Vec<Arc<str>>,
    /// How the shadow policy would have decided otherwise, and in what trial of it that came up last.
    pub(crate) shadow: Vec<(Difference, Timestamp)>,
    /// Where the client was told that the gateway listens, if that is another address.
    pub(crate) advertised: Option<SocketAddr>,
    /// The peer of a BIND.
    pub(crate) peer: Option<SocketAddr>,
    /// How many others came in its place.
    pub(crate) refused_peers: u64,
}

/// Of all others.
static NOTHING_RARE: Rare = Rare {
    drains_until: None,
    upstream: None,
    rules_before: Vec::new(),
    logged_by: Vec::new(),
    shadow: Vec::new(),
    advertised: None,
    peer: None,
    refused_peers: 0,
};

/// The target of a request.
#[derive(Debug, Clone)]
pub(crate) enum Asked {
    /// One that could be read.
    For(Target),
    /// A name that is none, escaped.
    Odd(Box<str>),
}

impl Facts {
    /// What few sessions have.
    pub(crate) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NOTHING_RARE)
    }

    /// The same, to note something there.
    pub(crate) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Takes all that is known, for the end record; what is left says that the session is over.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self { is_over: true, ..Self::default() })
    }

    /// Tells whether there is nothing here to show any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(crate) fn stage(&self) -> Stage {
        match (&self.identity, self.command) {
            _ if self.is_open() => Stage::Open,
            (_, Some(_)) => Stage::Opening,
            (Some(_), None) => Stage::Authenticated,
            (None, None) => Stage::Greeting,
        }
    }

    /// Notes by which permit an open session goes on; tells whether that is one of another rule.
    pub(crate) fn go_on(&mut self, permit: &Permit) -> bool {
        let before = self.rule.clone().filter(|rule| rule != permit.rule());
        self.hold(permit);
        let Some(before) = before else { return false };
        if self.rule.as_ref() == Some(permit.rule()) && self.rare().rules_before.len() < MAX_RULES_BEFORE {
            self.rare_mut().rules_before.push(before);
        }
        true
    }

    /// Notes by which permit the session goes on.
    pub(crate) fn hold(&mut self, permit: &Permit) {
        // A policy that came later has had its say.
        if permit.generation() < self.generation {
            return;
        }
        if let Some(rare) = &mut self.rare {
            rare.drains_until = None;
        }
        self.rule = Some(permit.rule().clone());
        self.on_revoke = permit.terms().on_revoke;
        self.generation = permit.generation();
        if permit.kind() == OperationKind::Connect {
            self.judged = permit.address().map(|address| address.ip());
        }
    }

    /// Notes the addresses of the name that was asked for, as far as there is room.
    pub(crate) fn note_addresses(&mut self, addresses: &[IpAddr]) {
        self.addresses = addresses.iter().copied().take(MAX_ADDRESSES).collect();
    }

    /// Notes that datagrams go through an upstream gateway, too.
    pub(crate) fn add_upstream(&mut self, name: &str) {
        let upstream = &mut self.rare_mut().upstream;
        *upstream = Some(match upstream {
            None => name.into(),
            Some(names) if names.split(", ").any(|known| known == name) => names.clone(),
            Some(names) => format!("{names}, {name}").into(),
        });
    }

    /// Notes rules that only log, each once.
    pub(crate) fn note_logged_by(&mut self, rules: &[Arc<str>]) {
        for rule in rules {
            let known = &self.rare().logged_by;
            if known.len() < MAX_LOGGED_BY && !known.contains(rule) {
                self.rare_mut().logged_by.push(Arc::clone(rule));
            }
        }
    }

    /// Notes how the shadow policy differs, in the trial of it that began then; `false`: that is no news, or there
    /// is no room for it.
    pub(crate) fn note_shadow(&mut self, found: &Difference, trial: Timestamp) -> bool {
        let shadow = &mut self.rare_mut().shadow;
        if let Some((_, last)) = shadow.iter_mut().find(|(known, _)| known == found) {
            return std::mem::replace(last, trial) != trial;
        }
        let has_room = shadow.len() < MAX_SHADOW;
        if has_room {
            shadow.push((found.clone(), trial));
        }
        has_room
    }

    /// Tells whether octets could flow. A socket that listens is not yet a connection.
    pub(crate) fn is_open(&self) -> bool {
        match self.command {
            Some(Command::Bind) => self.rare().peer.is_some(),
            _ => self.bound.is_some(),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::For(target) => target.fmt(f),
            Self::Odd(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_is_open_once_its_peer_is_there() {
        let bound = Some(([192, 0, 2, 1], 1).into());
        let mut facts = Facts { command: Some(Command::Bind), bound, ..Facts::default() };
        assert!(!facts.is_open());
        facts.rare_mut().peer = bound;
        assert!(facts.is_open());
        facts = Facts { command: Some(Command::Connect), bound, ..Facts::default() };
        assert!(facts.is_open());
    }
}
