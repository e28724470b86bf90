//! The `tests` section: questions with the answers that the author of the policy expects.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use jiff::Timestamp;
use socks_config::{Finding, Place};
use socks_core::Identity;
use socks_core::wire::{Host, Target};

use crate::explain::{Considered, Explanation, NOT_ADMITTED, Outcome};
use crate::{Decision, DenyReason, ExpectedPeer, Fact, Operation, Query, Ruleset};

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
    pub(crate) resolves: Vec<IpAddr>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) expected: Answer,
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

    /// Tells whether it is about a host name.
    pub(crate) fn is_by_name(&self) -> bool {
        match self {
            Self::Connect(target) | Self::Bind(Some(target)) | Self::Datagram(target) => {
                matches!(target.host, Host::Name(_))
            }
            Self::Bind(None) | Self::Associate => false,
        }
    }
}

/// An answer, as a test expects it and as it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Permitted by that rule.
    Permit(Box<str>),
    /// Denied by that rule.
    Deny(Box<str>),
    /// Denied without a rule, for that reason: one of [`REASONS`].
    Refuse(&'static str),
}

/// The reasons for which something is denied without a rule that says so.
pub(crate) const REASONS: [&str; 4] = ["no-match", "special-use", "identity-expired", NOT_ADMITTED];

impl Answer {
    /// The rule that answers.
    fn rule(&self) -> Option<&str> {
        match self {
            Self::Permit(rule) | Self::Deny(rule) => Some(rule),
            Self::Refuse(_) => None,
        }
    }
}

impl From<&Decision> for Answer {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::Permit(permit) => Self::Permit((**permit.rule()).into()),
            Decision::Deny(denial) => match (&denial.rule, denial.reason) {
                (Some(rule), DenyReason::Rule | DenyReason::GroupsMissing) => Self::Deny((**rule).into()),
                (_, reason) => Self::Refuse(reason.as_str()),
            },
            Decision::Needs(_) => Self::Refuse("undecided"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permit(rule) => write!(f, "permit: {rule}"),
            Self::Deny(rule) => write!(f, "deny: {rule}"),
            Self::Refuse(reason) => write!(f, "deny: {reason}"),
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
    expected: Answer,
    came: Answer,
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
            rule.outcome != Outcome::DoesNotMatch || self.expected.rule() == Some(rule.rule.as_str())
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
        let fail = |address, is_stand_in| self.compare(trial, address, is_stand_in);
        let is_open = matches!(self.decide(&trial.query(self, None)), Decision::Needs(Fact::Address));
        if !trial.wish.is_by_name() || !is_open {
            return fail(None, false);
        }
        if trial.resolves.is_empty() {
            return fail(Some(STAND_IN), true);
        }
        trial.resolves.iter().find_map(|address| fail(Some(*address), false))
    }

    fn compare(&self, trial: &Trial, address: Option<IpAddr>, is_stand_in: bool) -> Option<Failure> {
        let query = trial.query(self, address);
        let came = match self.admits(&query) {
            Some(false) => Answer::Refuse(NOT_ADMITTED),
            _ => Answer::from(&self.decide(&query)),
        };
        if came == trial.expected {
            return None;
        }
        let explanation = self.explain(&query);
        Some(Failure { expected: trial.expected.clone(), came, address, is_stand_in, explanation })
    }
}

impl Trial {
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

#[cfg(test)]
mod tests;
