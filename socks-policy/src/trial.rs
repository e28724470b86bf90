//! The `tests` section: questions with the answers that the author of the policy expects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use socks_config::{Finding, Place};
use socks_core::Identity;
use socks_core::wire::{DomainName, Host, Target};

use self::answer::OTHER_PEER;
pub(crate) use self::answer::{Answer, REASONS, Reply};
use crate::explain::{Considered, Explanation, NOT_ADMITTED, Outcome};
use crate::{BindPeerRule, Decision, ExpectedPeer, Fact, Operation, Permit, Query, Ruleset};

mod answer;

/// Stands for the address of a name when a test gives none: an ordinary address of RFC 5737.
pub(crate) const STAND_IN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The most rules that a failed test shows one by one.
const SHOWN_RULES: usize = 30;

/// One entry of `tests`.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) name: Box<str>,
    pub(crate) place: Place,
    pub(crate) listener: Box<str>,
    pub(crate) source: IpAddr,
    pub(crate) identity: Identity,
    pub(crate) wish: Wish,
    /// The peer that arrives at a BIND.
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) resolves: Vec<IpAddr>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) expected: Reply,
}

/// What the client of a test wants.
#[derive(Debug)]
pub(crate) enum Wish {
    Connect(Target),
    Bind(Option<Target>),
    Associate,
    Datagram(Target),
}

impl Wish {
    fn operation(&self) -> Operation<'_> {
        match self {
            Self::Connect(target) => Operation::Connect(target),
            Self::Bind(None) => Operation::BindListen(ExpectedPeer::Unknown),
            Self::Bind(Some(target)) => Operation::BindListen(target.into()),
            Self::Associate => Operation::Associate,
            Self::Datagram(target) => Operation::Datagram(target),
        }
    }

    /// The host name that it is about.
    pub(crate) fn name(&self) -> Option<&DomainName> {
        match self {
            Self::Connect(Target { host: Host::Name(name), .. })
            | Self::Bind(Some(Target { host: Host::Name(name), .. }))
            | Self::Datagram(Target { host: Host::Name(name), .. }) => Some(name),
            _ => None,
        }
    }
}

/// How a test of the policy has ended.
#[derive(Debug, Clone)]
pub struct TestResult {
    name: Box<str>,
    place: Place,
    failure: Option<Failure>,
}

#[derive(Debug, Clone)]
struct Failure {
    expected: Reply,
    came: Reply,
    address: Option<IpAddr>,
    is_stand_in: bool,
    explanation: Explanation,
}

impl TestResult {
    /// The test's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the test stands in its file.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Tells whether the answer was the expected one.
    pub fn passed(&self) -> bool {
        self.failure.is_none()
    }

    /// A failed test as a mistake with its place, what was expected, what came, and why.
    pub fn finding(&self) -> Option<Finding> {
        let failure = self.failure.as_ref()?;
        let name = &self.name;
        let message =
            format!("test `{name}` expects `{}`, but the answer is `{}`", failure.expected, failure.came);
        Some(Finding::mistake(&self.place, message).with_help(failure.to_string()))
    }
}

impl fmt::Display for TestResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            None => write!(f, "test `{}` passed", self.name),
            Some(failure) => {
                let Failure { expected, came, .. } = failure;
                writeln!(f, "{}: test `{}` failed", self.place, self.name)?;
                write!(f, "expected `{expected}`, but the answer is `{came}`\n{failure}")
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.address {
            let why =
                if self.is_stand_in { ", which stands in because the test has no `resolves`" } else { "" };
            writeln!(f, "at address {address}{why}:")?;
        }
        // A policy may have many rules: those that could not matter are left out then.
        let is_long = self.explanation.rules.len() > SHOWN_RULES;
        let matters = |rule: &Considered| {
            rule.outcome != Outcome::DoesNotMatch || self.expected.answer.rule() == Some(rule.rule.as_str())
        };
        if is_long {
            let (shown, left_out): (Vec<_>, Vec<_>) =
                self.explanation.rules.iter().cloned().partition(|rule| matters(rule));
            writeln!(f, "{} rules that do not match are left out", left_out.len())?;
            return Explanation { rules: shown, ..self.explanation.clone() }.fmt(f);
        }
        self.explanation.fmt(f)
    }
}

impl Ruleset {
    /// Runs the policy's own tests, in the file's order.
    pub fn run_tests(&self) -> Vec<TestResult> {
        let result = |trial: &Trial| TestResult {
            name: trial.name.clone(),
            place: trial.place.clone(),
            failure: self.run(trial),
        };
        self.trials.iter().map(result).collect()
    }

    /// The first answer to the trial that is not the expected one.
    fn run(&self, trial: &Trial) -> Option<Failure> {
        if let Some(peer) = trial.peer {
            return self.run_arrival(trial, peer);
        }
        let fail = |address, is_stand_in| self.compare(trial, address, is_stand_in);
        let is_open = matches!(self.decide(&trial.query(self, None)), Decision::Needs(Fact::Address));
        if trial.wish.name().is_none() || !is_open {
            return fail(None, false);
        }
        if trial.resolves.is_empty() {
            return fail(Some(STAND_IN), true);
        }
        trial.resolves.iter().find_map(|address| fail(Some(*address), false))
    }

    /// A BIND and the peer that arrives: listening must be permitted, and the peer permitted as well; it must be
    /// the expected one where either rule asks for it.
    fn run_arrival(&self, trial: &Trial, peer: SocketAddr) -> Option<Failure> {
        let is_expected = trial.expects(peer.ip());
        let other = trial.resolves.first().copied().unwrap_or(STAND_IN);
        let listen = trial.query(self, Some(if is_expected { peer.ip() } else { other }));
        let (came, query) = match self.decide(&listen) {
            Decision::Permit(permit) if !is_expected && wants_named(&permit) => {
                (self.reply(&listen, Some(Answer::Refuse(OTHER_PEER))), listen)
            }
            Decision::Permit(_) => {
                let name = trial.wish.name().filter(|_| is_expected);
                let arrival = Query { operation: Some(Operation::BindPeer { peer, name }), ..listen };
                let refused = match self.decide(&arrival) {
                    Decision::Permit(permit) if !is_expected && wants_named(&permit) => {
                        Some(Answer::Refuse(OTHER_PEER))
                    }
                    _ => None,
                };
                (self.reply(&arrival, refused), arrival)
            }
            Decision::Deny(_) | Decision::Needs(_) => (self.reply(&listen, None), listen),
        };
        let explain = || Failure {
            expected: trial.expected.clone(),
            came: came.clone().only_asked_by(&trial.expected),
            address: None,
            is_stand_in: false,
            explanation: self.explain(&query),
        };
        (!came.is(&trial.expected)).then(explain)
    }

    fn compare(&self, trial: &Trial, address: Option<IpAddr>, is_stand_in: bool) -> Option<Failure> {
        let query = trial.query(self, address);
        let came = self.reply(&query, None);
        if came.is(&trial.expected) {
            return None;
        }
        let came = came.only_asked_by(&trial.expected);
        let explanation = self.explain(&query);
        Some(Failure { expected: trial.expected.clone(), came, address, is_stand_in, explanation })
    }

    /// The answer of `clients`, or else of `known`, or else of the rules.
    fn reply(&self, query: &Query<'_>, known: Option<Answer>) -> Reply {
        let silent = |answer| Reply { answer, logged_by: Some(Vec::new()) };
        match (self.admits(query), known) {
            (Some(false), _) => silent(Answer::Refuse(NOT_ADMITTED)),
            (_, Some(known)) => silent(known),
            (_, None) => {
                let decision = self.decide(query);
                let logged_by = decision.logged_by().iter().map(|name| Box::from(&**name)).collect();
                Reply { answer: Answer::from(&decision), logged_by: Some(logged_by) }
            }
        }
    }
}

impl Trial {
    /// Tells whether a peer at that address is one that the client expects. A name without `resolves` is
    /// taken to be at it.
    fn expects(&self, address: IpAddr) -> bool {
        let Operation::BindListen(ExpectedPeer::Known(target)) = self.wish.operation() else { return true };
        let is_same = |other: &IpAddr| other.to_canonical() == address.to_canonical();
        match &target.host {
            Host::Ip(ip) => is_same(ip),
            Host::Name(_) => self.resolves.is_empty() || self.resolves.iter().any(is_same),
        }
    }

    fn query(&self, ruleset: &Ruleset, address: Option<IpAddr>) -> Query<'_> {
        Query {
            listener: &self.listener,
            client: SocketAddr::new(self.source, 0),
            identity: Some(&self.identity),
            operation: Some(self.wish.operation()),
            address,
            gateway: &[],
            now: self.at.unwrap_or(ruleset.loaded),
        }
    }
}

/// Tells whether the rule takes no other peer than the one that the client names.
fn wants_named(permit: &Permit) -> bool {
    permit.terms().bind.peer == BindPeerRule::Named
}

#[cfg(test)]
mod tests;
