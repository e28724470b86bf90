//! What a test expects, and what comes instead.

use std::fmt;

use crate::explain::NOT_ADMITTED;
use crate::{Decision, DenyReason};

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
pub(crate) const REASONS: [&str; 5] =
    ["no-match", "special-use", "identity-expired", NOT_ADMITTED, OTHER_PEER];

/// The reason of a rule with `bind: { peer: named }` against a peer that the client has not named.
pub(super) const OTHER_PEER: &str = "other-peer";

/// An answer, and the rules that only log and match: `None` where a test does not ask.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) logged_by: Option<Vec<Box<str>>>,
}

impl Reply {
    /// Tells whether this came when `expected` was expected.
    pub(super) fn is(&self, expected: &Self) -> bool {
        self.answer == expected.answer
            && expected.logged_by.as_ref().is_none_or(|names| Some(names) == self.logged_by.as_ref())
    }

    /// The same, with what `expected` does not ask for left out.
    pub(super) fn only_asked_by(mut self, expected: &Self) -> Self {
        if expected.logged_by.is_none() {
            self.logged_by = None;
        }
        self
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.answer.fmt(f)?;
        match &self.logged_by {
            Some(names) => write!(f, ", logged-by: [{}]", names.join(", ")),
            None => Ok(()),
        }
    }
}

impl Answer {
    /// The rule that answers.
    pub(super) fn rule(&self) -> Option<&str> {
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
