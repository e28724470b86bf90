//! The last sessions that were denied, for those who ask why: few, with texts of bounded length.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use socks_core::{Identity, IdentityName};

use crate::outcome::End;
use crate::record::command_word;
use crate::roster::{Facts, Live};

/// Denials that are kept of those whose client is known; as many of the others, so that a scan drives out none.
const MOST: usize = 100;
/// Octets of a text.
const MOST_TEXT: usize = 300;
/// Groups of an identity.
const MOST_GROUPS: usize = 64;

/// The last denials.
#[derive(Debug, Default)]
pub(crate) struct Denials {
    known: Mutex<Ring>,
    unknown: Mutex<Ring>,
    /// All since the start.
    count: AtomicU64,
    keys: RandomState,
}

/// The newest comes last. What happens again takes no place of its own.
#[derive(Debug, Default)]
struct Ring(VecDeque<Slot>);

#[derive(Debug, Clone)]
struct Slot {
    key: u64,
    count: u64,
    time: Timestamp,
    denied: Arc<Denied>,
}

/// A denial and how often it has happened.
#[derive(Debug, Serialize)]
pub(crate) struct Told {
    /// When it happened last.
    pub(crate) time: Timestamp,
    /// How often the same client was denied the same for the same reason.
    pub(crate) count: u64,
    #[serde(flatten)]
    pub(crate) denied: Denied,
}

/// What was denied. The fields have the names and the meaning of the record's (`docs/audit.md`).
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Denied {
    pub(crate) session: String,
    pub(crate) listener: String,
    pub(crate) client: SocketAddr,
    pub(crate) via: Option<SocketAddr>,
    pub(crate) method: Option<String>,
    pub(crate) identity: Option<String>,
    pub(crate) claimed_identity: Option<String>,
    pub(crate) groups: Vec<String>,
    /// It has more groups than are kept here.
    pub(crate) groups_left_out: usize,
    pub(crate) groups_missing: Option<String>,
    pub(crate) protection: Option<&'static str>,
    pub(crate) command: Option<&'static str>,
    pub(crate) target: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) policy: Option<u64>,
    pub(crate) cause: &'static str,
    pub(crate) detail: String,
    /// The identity as a question about it has it.
    #[serde(skip)]
    pub(crate) asks_as: Option<String>,
}

impl Denials {
    /// Keeps a session that was denied.
    pub(crate) fn note(&self, live: &Live, facts: &Facts, end: &End) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let key = self.key(live, facts, end);
        let ring = if facts.identity.is_some() { &self.known } else { &self.unknown };
        let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.note(key, || Denied::of(live, facts, end));
    }

    /// How many there were since the start.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The last ones, the newest first.
    pub(crate) fn last(&self, most: usize) -> Vec<Told> {
        let mut slots = Vec::with_capacity(2 * MOST);
        for ring in [&self.known, &self.unknown] {
            slots.extend(ring.lock().unwrap_or_else(PoisonError::into_inner).0.iter().cloned());
        }
        slots.sort_by_key(|slot| std::cmp::Reverse(slot.time));
        slots.truncate(most);
        let told = |Slot { count, time, denied, .. }| Told { time, count, denied: Denied::clone(&denied) };
        slots.into_iter().map(told).collect()
    }

    /// The same for the same: no attacker can choose two that collide.
    fn key(&self, live: &Live, facts: &Facts, end: &End) -> u64 {
        let mut hash = Hashed(self.keys.build_hasher());
        let identity = facts.identity.as_deref();
        // Writing to a hash cannot fail.
        let _ = write!(hash, "{}\0{:?}\0{:?}\0", live.client().ip(), facts.command, end.claimed());
        let _ = write!(hash, "{}\0{:?}\0", end.cause(), facts.rule);
        if let Some(identity) = identity {
            let _ = write!(hash, "{identity}");
        }
        if let Some(asked) = &facts.asked {
            let _ = write!(hash, "\0{asked}");
        }
        hash.0.finish()
    }
}

impl Ring {
    fn note(&mut self, key: u64, denied: impl FnOnce() -> Denied) {
        let before = self.0.iter().position(|slot| slot.key == key);
        let mut slot = match before.and_then(|place| self.0.remove(place)) {
            Some(slot) => slot,
            None => Slot { key, count: 0, time: Timestamp::now(), denied: Arc::new(denied()) },
        };
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        slot.count += 1;
        slot.time = Timestamp::now();
        self.0.push_back(slot);
    }
}

impl Denied {
    fn of(live: &Live, facts: &Facts, end: &End) -> Self {
        let identity = facts.identity.as_deref();
        let groups = identity.map_or(&[][..], |identity| &identity.groups);
        let short = |text: &str| cut(text.to_owned());
        Self {
            session: live.id.to_string(),
            listener: short(&live.listener),
            client: live.client(),
            via: live.via(),
            method: facts.method.as_deref().map(short),
            identity: identity.map(|identity| cut(identity.to_string())),
            claimed_identity: end.claimed().map(|name| cut(name.escape_debug().to_string())),
            groups: groups.iter().take(MOST_GROUPS).map(|group| short(group)).collect(),
            groups_left_out: groups.len().saturating_sub(MOST_GROUPS),
            groups_missing: facts.groups_missing.as_deref().map(short),
            protection: identity.map(|identity| identity.level.as_str()),
            command: facts.command.map(command_word),
            target: facts.asked.as_ref().map(|asked| cut(asked.to_string())),
            rule: facts.rule.as_deref().map(short),
            policy: (facts.generation > 0).then_some(facts.generation),
            cause: end.cause(),
            detail: cut(end.detail()),
            asks_as: identity.map(|identity| cut(plain(identity))),
        }
    }
}

/// An identity as the policy's questions take it: a user's name is not escaped there.
fn plain(identity: &Identity) -> String {
    match &identity.name {
        IdentityName::User(user) => format!("{}:{user}", identity.method),
        _ => identity.to_string(),
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MOST_TEXT {
        text.truncate(text.floor_char_boundary(MOST_TEXT));
        text.push('…');
    }
    text
}

struct Hashed<H>(H);

impl<H: Hasher> Write for Hashed<H> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::places::SessionLimit;
    use socks_auth::AuthError;

    use super::*;
    use crate::listeners::Entrance;
    use crate::roster::{Asked, Roster, SessionId};

    fn deny(denials: &Denials, number: u64, facts: &Facts, end: &End) {
        let client = ([192, 0, 2, (number % 250) as u8], 1).into();
        let door = (Entrance::none(), "main".into());
        let live = Roster::default().enter(SessionId { boot: 1, number }, door, client);
        denials.note(&live, facts, end);
    }

    fn of_user(target: &str) -> Facts {
        let identity = Identity::user("o'neil").by("password".into());
        let asked = Some(Asked::For(target.parse().unwrap()));
        Facts { identity: Some(Arc::new(identity)), asked, ..Facts::default() }
    }

    #[test]
    fn a_scan_drives_out_no_denial_of_somebody_known() {
        let denials = Denials::default();
        deny(&denials, 0, &of_user("a.example:1"), &End::Limited(SessionLimit::RuleHolder));
        for number in 0..10_000 {
            let claimed = End::Auth(AuthError::refused_for(format!("user{number}"), "no such user"));
            deny(&denials, number, &Facts::default(), &claimed);
        }
        let last = denials.last(usize::MAX);
        assert_eq!((last.len(), denials.count()), (MOST + 1, 10_001));
        let known = &last.last().unwrap().denied;
        assert_eq!(known.target.as_deref(), Some("a.example:1"));
        assert_eq!(known.asks_as.as_deref(), Some("password:o'neil"));
        assert_eq!(last[0].denied.claimed_identity.as_deref(), Some("user9999"));
    }

    #[test]
    fn what_happens_again_is_counted_and_comes_first() {
        let denials = Denials::default();
        for target in ["a.example:1", "b.example:1", "a.example:1"] {
            deny(&denials, 7, &of_user(target), &End::Limited(SessionLimit::RuleHolder));
        }
        let last = denials.last(10);
        let told: Vec<_> = last.iter().map(|told| (told.denied.target.as_deref(), told.count)).collect();
        assert_eq!(told, [(Some("a.example:1"), 2), (Some("b.example:1"), 1)]);
    }

    #[test]
    fn every_text_is_cut() {
        let denials = Denials::default();
        let long = "ü".repeat(1000);
        let mut identity = Identity::user(long.as_str()).by("password".into());
        identity.groups = vec![long.as_str().into(); 200];
        let end = End::Auth(AuthError::refused_for(long.as_str(), long.as_str()));
        let facts = Facts {
            identity: Some(Arc::new(identity)),
            rule: Some(long.as_str().into()),
            asked: Some(Asked::Odd(long.as_str().into())),
            ..Facts::default()
        };
        deny(&denials, 1, &facts, &end);
        let last = denials.last(1);
        let json = serde_json::to_string(&last).unwrap();
        assert!(json.len() < (MOST_GROUPS + 10) * (MOST_TEXT + 40), "{} octets", json.len());
        assert_eq!(last[0].denied.groups_left_out, 200 - MOST_GROUPS);
    }
}
