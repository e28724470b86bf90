//! What sessions use of what they are allowed: an account for each source, identity and rule that has a limit.
//!
//! All sessions that count together hold one [`Account`], and draw from it before octets move: as a tunnel waits
//! its turn, and as a datagram is dropped. [`Accounts`] has them all, and stays bounded whatever clients do.

mod beginning;
mod bucket;
mod day;
mod drawing;
mod meter;
mod table;
mod tally;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use socks_core::Identity;
use socks_policy::{Allowance, Permit};
use tokio::time::Instant;

use crate::admission::Source;
use crate::config::Limits;
use crate::record::Holder;

pub(crate) use beginning::Beginning;
use bucket::Bucket;
use day::Day;
pub(crate) use day::{Date, Neighbour};
use drawing::Drawing;
pub(crate) use meter::Meter;
pub(crate) use table::Accounts;
pub(crate) use tally::{Tallies, Tally};

/// Whose account it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Owner {
    /// An address, or the network of a site.
    Source(Source),
    /// An identity under all rules; an anonymous client counts by its source.
    Identity(Box<str>),
    /// All sessions of a rule.
    Rule(Box<str>),
    /// An identity under one rule.
    RuleIdentity(Box<str>, Box<str>),
    /// Those of one sort that found no room for an account of their own; for the last sort, under one rule.
    Others(Sort, Option<Box<str>>),
}

/// The sorts of owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Sort {
    Source,
    Identity,
    Rule,
    RuleIdentity,
}

impl Sort {
    /// All of them, in the order of their declaration.
    pub(crate) const ALL: [Self; 4] = [Self::Source, Self::Identity, Self::Rule, Self::RuleIdentity];

    /// The word for it in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Identity => "identity",
            Self::Rule => "rule",
            Self::RuleIdentity => "rule-identity",
        }
    }
}

impl Sort {
    /// The same in words.
    pub(crate) fn as_words(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Identity => "identity",
            Self::Rule => "rule",
            Self::RuleIdentity => "identity under this rule",
        }
    }
}

impl Owner {
    /// The owner of that sort for a session of this holder under this rule.
    fn of(sort: Sort, rule: &str, holder: Holder<'_>) -> Self {
        match sort {
            Sort::Source => Self::Source(holder.source()),
            Sort::Identity => Self::Identity(holder.into()),
            Sort::Rule => Self::Rule(rule.into()),
            Sort::RuleIdentity => Self::RuleIdentity(rule.into(), holder.into()),
        }
    }

    pub(crate) fn sort(&self) -> Sort {
        match self {
            Self::Source(_) => Sort::Source,
            Self::Identity(_) => Sort::Identity,
            Self::Rule(_) => Sort::Rule,
            Self::RuleIdentity(..) => Sort::RuleIdentity,
            Self::Others(sort, _) => *sort,
        }
    }

    /// With whom it shares an account where there is no room for one of its own.
    fn others(&self) -> Self {
        let rule = match self {
            Self::RuleIdentity(rule, _) => Some(rule.clone()),
            _ => None,
        };
        Self::Others(self.sort(), rule)
    }
}

/// A limit that counts sessions together: whose, what they may, and by which generation of the policy.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) owner: Owner,
    pub(crate) allowance: Allowance,
    pub(crate) generation: u64,
}

impl Claim {
    /// The limits that hold for a session which that permit lets go on; sorts without a limit are left out.
    ///
    /// The narrowest comes first, and last what others share: who is refused by his own limit does not come so far.
    pub(crate) fn all(
        limits: &Limits,
        client: SocketAddr,
        identity: &Identity,
        permit: &Permit,
    ) -> impl Iterator<Item = Self> {
        let terms = permit.terms();
        let limited = [
            (Sort::RuleIdentity, terms.per_identity),
            (Sort::Identity, limits.per_identity),
            (Sort::Source, limits.per_source),
            (Sort::Rule, terms.together),
        ];
        let limited = limited.into_iter().filter(|(_, allowance)| *allowance != Allowance::default());
        limited.map(move |(sort, allowance)| {
            let owner = Owner::of(sort, permit.rule(), Holder::of(identity, client));
            Self { owner, allowance, generation: permit.generation() }
        })
    }

    /// The limits of a source alone, before anything else is known of a client.
    pub(crate) fn of_source(limits: &Limits, source: Source, generation: u64) -> Option<Self> {
        let allowance = limits.per_source;
        let claim = Self { owner: Owner::Source(source), allowance, generation };
        claim.limits_beginnings().then_some(claim)
    }

    /// Tells whether it is about octets.
    pub(crate) fn limits_octets(&self) -> bool {
        self.allowance.rate.is_some() || self.allowance.daily.is_some()
    }

    /// Tells whether it is about the beginning of sessions.
    pub(crate) fn limits_beginnings(&self) -> bool {
        self.allowance.new_sessions.is_some() || self.allowance.daily.is_some()
    }
}

/// What one owner has used.
#[derive(Debug)]
pub(crate) struct Account {
    sort: Sort,
    usage: Mutex<Usage>,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Usage {
    /// Octets in each second.
    octets: Option<Bucket>,
    /// New sessions in each second.
    sessions: Option<Bucket>,
    /// Octets of a day.
    day: Day,
    /// The policy that the limits are from.
    generation: u64,
}

/// What an account has no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortage {
    /// New sessions, for a moment.
    Rate,
    /// Octets, up to the end of the day.
    Day,
}

/// A place in the line of an account.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The number of its last octet.
    end: u64,
    /// How long until its turn, if nothing changes.
    left: Duration,
}

impl Account {
    fn new(sort: Sort, tally: Arc<Tally>) -> Self {
        Self {
            sort,
            usage: Mutex::new(Usage { octets: None, sessions: None, day: Day::default(), generation: 0 }),
            tally,
        }
    }

    /// Takes over limits, unless those of a later policy are there.
    fn allow(&self, allowance: &Allowance, generation: u64, now: Instant) {
        let mut usage = self.usage();
        if generation < usage.generation {
            return;
        }
        usage.generation = generation;
        usage.day.most = allowance.daily;
        match (&mut usage.octets, allowance.rate) {
            (Some(bucket), Some(rate)) => bucket.change(rate, now),
            (octets, rate) => *octets = rate.map(|rate| Bucket::new(rate, now)),
        }
        match (&mut usage.sessions, allowance.new_sessions) {
            (Some(bucket), Some(rate)) => bucket.change(rate.into(), now),
            (sessions, rate) => *sessions = rate.map(|rate| Bucket::of_sessions(rate, now)),
        }
    }

    /// The most octets that one session may ask for at once.
    fn lease(&self) -> usize {
        self.usage().octets.as_ref().map_or(usize::MAX, Bucket::lease)
    }

    /// Stands in line for so many octets.
    fn reserve(&self, octets: usize, now: Instant) -> Place {
        self.usage().octets.as_mut().map_or(Place::default(), |bucket| {
            let end = bucket.reserve(octets);
            Place { end, left: bucket.left(end, now) }
        })
    }

    /// How long until the turn of a place that ends there.
    fn left(&self, end: u64, now: Instant) -> Duration {
        self.usage().octets.as_mut().map_or(Duration::ZERO, |bucket| bucket.left(end, now))
    }

    /// Takes octets if they are there.
    fn take(&self, octets: usize, now: Instant) -> bool {
        self.usage().octets.as_mut().is_none_or(|bucket| bucket.take(octets, now))
    }

    /// Gives up a place that ends there.
    fn leave(&self, end: u64, octets: usize) {
        if let Some(bucket) = &mut self.usage().octets {
            bucket.leave(end, octets);
        }
    }

    /// Takes octets back that were not used.
    fn give_back(&self, octets: usize) {
        let mut usage = self.usage();
        usage.day.give_back(octets as u64);
        if let Some(bucket) = &mut usage.octets {
            bucket.give_back(octets);
        }
    }

    /// Gives octets back that were taken without standing in line.
    fn untake(&self, octets: usize) {
        if let Some(bucket) = &mut self.usage().octets {
            bucket.untake(octets);
        }
    }

    /// Takes octets back into the line alone.
    fn refund(&self, octets: usize) {
        if let Some(bucket) = &mut self.usage().octets {
            bucket.give_back(octets);
        }
    }

    /// Takes octets of the day back that were not used.
    fn unspend(&self, octets: usize) {
        self.usage().day.give_back(octets as u64);
    }

    /// Counts octets among those of the day; `false`: none are left.
    fn spend(&self, octets: usize, today: Date) -> bool {
        self.usage().day.spend(octets as u64, today)
    }

    /// Counts a new session, if there may be one.
    fn begin_session(&self, now: Instant, today: Date) -> Result<(), Shortage> {
        let mut usage = self.usage();
        if usage.day.is_used_up(today) {
            return Err(Shortage::Day);
        }
        let begins = usage.sessions.as_mut().is_none_or(|bucket| bucket.take(1, now));
        if begins { Ok(()) } else { Err(Shortage::Rate) }
    }

    /// A session that was counted has not begun after all.
    fn take_session_back(&self) {
        if let Some(bucket) = &mut self.usage().sessions {
            bucket.give_back(1);
        }
    }

    /// Tells whether nothing would be forgotten with it.
    fn is_blank(&self, now: Instant) -> bool {
        let Usage { octets, sessions, day, .. } = &mut *self.usage();
        day.used(Date::today()) == 0
            && [octets, sessions].into_iter().flatten().all(|bucket| bucket.is_full(now))
    }

    /// Each change is one step, so what a panicking holder of the lock left behind is whole.
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
