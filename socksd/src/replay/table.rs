//! What would change, by the rules then and now, in a room that does not grow with the file.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use jiff::Timestamp;
use serde::Serialize;

use crate::judgement::{Answer, Said};

use super::line::Line;
use super::request::is_same;

/// How many changes are told apart; what comes after them is counted as others.
const MOST: usize = 1000;
/// How many identities of each are counted; there may be more.
const IDENTITIES: usize = 1000;
/// How many requests of each are shown.
const EXAMPLES: usize = 3;

/// The sorts of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    PermittedToDenied,
    DeniedToPermitted,
    /// The answer is the same, by another rule or for another reason.
    OtherRule,
    /// The policy needs a fact that the record has not.
    Undecided,
}

/// Changes, counted.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Key, Entry>,
    counts: HashMap<Change, u64>,
    others: u64,
    hasher: RandomState,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    change: Change,
    then: Said,
    now: Said,
}

#[derive(Debug, Default)]
struct Entry {
    count: u64,
    /// Their hashes.
    identities: HashSet<u64>,
    examples: Vec<Example>,
}

/// What a policy said then, or says now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Side {
    pub(crate) answer: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// Of a denial its reason, of what is undecided the fact that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
}

/// One change with its requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    pub(crate) change: Change,
    pub(crate) then: Side,
    pub(crate) now: Side,
    pub(crate) count: u64,
    /// How many different ones.
    pub(crate) identities: usize,
    /// There may be more identities than that.
    pub(crate) more_identities: bool,
    pub(crate) examples: Vec<Example>,
}

/// A request that would be decided otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Example {
    pub(crate) session: String,
    pub(crate) started: Timestamp,
    pub(crate) client: SocketAddr,
    pub(crate) identity: String,
    pub(crate) command: String,
    pub(crate) target: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<SocketAddr>,
}

impl Change {
    /// All of them, the worst first.
    pub(crate) const ALL: [Self; 4] =
        [Self::PermittedToDenied, Self::DeniedToPermitted, Self::OtherRule, Self::Undecided];

    fn between(then: &Said, now: &Said) -> Option<Self> {
        match (then.answer, now.answer) {
            (_, Answer::Undecided) => Some(Self::Undecided),
            (Answer::Permit, Answer::Deny) => Some(Self::PermittedToDenied),
            (Answer::Deny, Answer::Permit) => Some(Self::DeniedToPermitted),
            _ => (!is_same(now, then)).then_some(Self::OtherRule),
        }
    }
}

impl Table {
    /// Counts what has changed of that record, if anything.
    pub(super) fn add(&mut self, line: &Line, then: &Said, now: &Said) {
        let Some(change) = Change::between(then, now) else { return };
        *self.counts.entry(change).or_default() += 1;
        let key = Key { change, then: then.clone(), now: now.clone() };
        if self.entries.len() >= MOST && !self.entries.contains_key(&key) {
            self.others += 1;
            return;
        }
        let entry = self.entries.entry(key).or_default();
        entry.count += 1;
        if entry.identities.len() < IDENTITIES {
            entry.identities.insert(self.hasher.hash_one(&line.identity));
        }
        if entry.examples.len() < EXAMPLES {
            entry.examples.push(Example::of(line));
        }
    }

    pub(super) fn count(&self, change: Change) -> u64 {
        self.counts.get(&change).copied().unwrap_or_default()
    }

    pub(super) fn others(&self) -> u64 {
        self.others
    }

    /// The changes, sort by sort, and the most frequent first.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |(key, entry): (&Key, &Entry)| Row {
            change: key.change,
            then: Side::from(&key.then),
            now: Side::from(&key.now),
            count: entry.count,
            identities: entry.identities.len(),
            more_identities: entry.identities.len() >= IDENTITIES,
            examples: entry.examples.clone(),
        };
        let mut rows: Vec<Row> = self.entries.iter().map(row).collect();
        rows.sort_unstable_by(|one, other| {
            let first = |row: &Row| row.examples.first().map(|example| example.started);
            let by_count = one.change.cmp(&other.change).then(other.count.cmp(&one.count));
            by_count.then_with(|| first(one).cmp(&first(other)))
        });
        rows
    }
}

impl From<&Said> for Side {
    fn from(said: &Said) -> Self {
        Self { answer: said.answer, rule: said.rule.as_ref().map(ToString::to_string), reason: said.reason }
    }
}

impl Example {
    fn of(line: &Line) -> Self {
        Self {
            session: line.session.clone(),
            started: line.started,
            client: line.client,
            identity: line.identity.clone().unwrap_or_default(),
            command: line.command.clone().unwrap_or_default(),
            target: line.target.clone().unwrap_or_default(),
            peer: line.peer,
        }
    }
}
