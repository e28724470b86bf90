//! A second policy that judges beside the one in force, and decides nothing: how it would differ is counted and told.
//!
//! It judges the same facts at the same moment and never learns one for itself. No session waits for it, and a bug in
//! it ends its judging and nothing else.

mod difference;
mod tally;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use socks_core::Identity;
use socks_core::wire::Host;
use socks_policy::{ExpectedPeer, Operation, Query};
use tracing::error;

use crate::judgement::{Judge, Policy, Said};
use crate::metrics::Metrics;
use crate::roster::{Facts, Live};

pub(crate) use difference::{Difference, Kind};
use tally::{Example, Row, Shown, Tally};

/// A policy on trial, with what it would have done so far.
#[derive(Debug)]
pub(crate) struct Shadow<J = Policy> {
    pub(crate) policy: J,
    /// Its file.
    file: PathBuf,
    /// Since when it judges beside this very policy in force.
    since: Timestamp,
    /// How many decisions were compared.
    compared: AtomicU64,
    /// It had a bug, and judges no more.
    failed: AtomicBool,
    tally: Mutex<Tally>,
}

/// What became of a shadow policy so far; `docs/admin.md` describes each field.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Report {
    pub(crate) configured: bool,
    pub(crate) file: Option<String>,
    pub(crate) policy: u64,
    pub(crate) rules: usize,
    pub(crate) since: Option<Timestamp>,
    pub(crate) compared: u64,
    pub(crate) failed: bool,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) differences: Vec<Row>,
    pub(crate) others: u64,
    pub(crate) examples: Vec<Shown>,
}

impl<J: Judge> Shadow<J> {
    /// A policy that begins to judge now.
    pub(crate) fn new(policy: J, file: PathBuf) -> Self {
        Self {
            policy,
            file,
            since: Timestamp::now(),
            compared: AtomicU64::new(0),
            failed: AtomicBool::new(false),
            tally: Mutex::default(),
        }
    }

    /// Judges what the policy in force has just decided, and notes it where the two differ.
    pub(crate) fn watch(&self, seen: Seen<'_>, live: impl Into<Said>, metrics: &Metrics) {
        if let Some(found) = self.compare(seen, live) {
            self.note(found, &mut seen.live.facts(), metrics);
        }
    }

    /// How its answer differs from that of the policy in force, made of the same facts.
    pub(crate) fn compare(&self, seen: Seen<'_>, live: impl Into<Said>) -> Option<Found> {
        let live = live.into();
        // As long as that one has not decided, neither counts.
        if !live.is_decided() {
            return None;
        }
        let shadow = self.ask(|policy| policy.judge(&seen.query))?;
        Difference::between(&live, &shadow).map(|difference| Found::new(difference, seen))
    }

    /// How it differs from a refusal, for that reason, of a client before anybody knew who that is. If it offers an
    /// authenticator that the client could use, nobody can tell what would have become of it.
    pub(crate) fn compare_doors(
        &self,
        seen: Seen<'_>,
        reason: &'static str,
        is_usable: impl Fn(&Arc<str>) -> bool,
    ) -> Option<Found> {
        let Query { listener, client, .. } = seen.query;
        let shadow = self.ask(|policy| match policy.judge(&seen.query) {
            said if said.is_decided() => said,
            _ if policy.doors(listener, client.ip()).iter().any(is_usable) => Said::undecided("identity"),
            _ => Said::no(reason),
        })?;
        Difference::between(&Said::no(reason), &shadow).map(|difference| Found::new(difference, seen))
    }

    /// Asks it, unless it has failed.
    fn ask<T>(&self, ask: impl FnOnce(&J) -> T) -> Option<T> {
        if self.failed.load(Ordering::Relaxed) {
            return None;
        }
        self.compared.fetch_add(1, Ordering::Relaxed);
        // It holds no lock and changes nothing, so nothing is left half done.
        let asked = catch_unwind(AssertUnwindSafe(|| ask(&self.policy)));
        if asked.is_err() && !self.failed.swap(true, Ordering::Relaxed) {
            error!(
                "the shadow policy judges no more, for a bug of the gateway's, see above; no session is harmed"
            );
        }
        asked.ok()
    }
}

impl<J> Shadow<J> {
    /// Counts the difference, if it is the first of its sort in the session whose facts these are.
    pub(crate) fn note(&self, found: Found, facts: &mut Facts, metrics: &Metrics) {
        let Found { difference, example } = found;
        if facts.note_shadow(&difference, self.since) {
            metrics.shadow_difference(difference.kind);
            self.tally().add(difference, example);
        }
    }

    /// Tells whether it had a bug.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        // Each change is one step.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    /// What became of it; `policy`: the generation of both policies.
    pub(crate) fn of(shadow: Option<&Shadow>, policy: u64) -> Self {
        let Some(shadow) = shadow else { return Self::none(policy) };
        let tally = shadow.tally();
        Self {
            configured: true,
            file: Some(shadow.file.display().to_string()),
            policy,
            rules: shadow.policy.ruleset.rule_count(),
            since: Some(shadow.since),
            compared: shadow.compared.load(Ordering::Relaxed),
            failed: shadow.has_failed(),
            counts: Kind::ALL.into_iter().map(|kind| (kind.as_str(), tally.count(kind))).collect(),
            differences: tally.rows(),
            others: tally.others(),
            examples: tally.examples(),
        }
    }

    fn none(policy: u64) -> Self {
        Self {
            configured: false,
            file: None,
            policy,
            rules: 0,
            since: None,
            compared: 0,
            failed: false,
            counts: Kind::ALL.into_iter().map(|kind| (kind.as_str(), 0)).collect(),
            differences: Vec::new(),
            others: 0,
            examples: Vec::new(),
        }
    }
}

/// A difference that has just come up, and where.
#[derive(Debug)]
pub(crate) struct Found {
    difference: Difference,
    example: Example,
}

impl Found {
    fn new(difference: Difference, seen: Seen<'_>) -> Self {
        Self { difference, example: seen.example() }
    }
}

/// A session, and what of it was judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    live: &'a Live,
    query: Query<'a>,
}

impl<'a> Seen<'a> {
    /// What the query is about, of that session.
    pub(crate) fn of(live: &'a Live, query: &Query<'a>) -> Self {
        Self { live, query: *query }
    }

    /// The same for a client that was proven to be that.
    pub(crate) fn with(mut self, identity: &'a Identity) -> Self {
        self.query.identity = Some(identity);
        self
    }

    fn example(&self) -> Example {
        let Query { listener, client, identity, operation, address, .. } = self.query;
        let (target, host) = match operation {
            Some(Operation::Connect(target) | Operation::Datagram(target)) => {
                (Some(target.to_string()), Some(&target.host))
            }
            Some(Operation::BindListen(ExpectedPeer::Known(target))) => {
                (Some(target.to_string()), Some(&target.host))
            }
            Some(Operation::BindPeer { peer, .. }) => (Some(peer.to_string()), None),
            Some(Operation::BindListen(ExpectedPeer::Unknown) | Operation::Associate) | None => (None, None),
        };
        let is_name = matches!(host, Some(Host::Name(_)));
        Example {
            time: Timestamp::now(),
            session: self.live.id.to_string(),
            listener: listener.to_owned(),
            client,
            identity: identity.map(ToString::to_string),
            operation: operation.map(|operation| operation.kind()),
            target,
            address: address.filter(|_| is_name),
        }
    }
}

#[cfg(test)]
mod tests;
