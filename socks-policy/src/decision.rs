//! What a ruleset answers: a permit with its terms, a denial with its reason, or the fact it needs.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use socks_core::wire::Command;

use crate::{Fact, OperationKind, SpecialUse, Terms};

/// The answer to a [`Query`](crate::Query).
#[must_use]
#[derive(Debug)]
pub enum Decision {
    /// The operation is permitted, to exactly the address in the permit.
    Permit(Permit),
    /// It is denied, whatever else becomes known.
    Deny(Denial),
    /// It depends on a fact that is not yet known; the cheapest of those that are missing.
    Needs(Fact),
}

impl Decision {
    /// The rules of `action: log-only` that matched before the one that decides, the first 16 of them; none as long
    /// as a fact is missing.
    pub fn logged_by(&self) -> &[Arc<str>] {
        match self {
            Self::Permit(permit) => &permit.noted.0,
            Self::Deny(denial) => &denial.noted.0,
            Self::Needs(_) => &[],
        }
    }
}

/// The proof that a rule permits an operation; only [`Ruleset::decide`](crate::Ruleset::decide) makes one.
///
/// Whoever dials, binds or associates takes a permit and no other address.
#[must_use]
#[derive(Debug)]
pub struct Permit {
    pub(crate) grant: Arc<Grant>,
    pub(crate) kind: OperationKind,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) generation: u64,
    pub(crate) noted: Noted,
}

impl Permit {
    /// The name of the rule that permits it.
    pub fn rule(&self) -> &Arc<str> {
        &self.grant.rule
    }

    /// What is permitted.
    pub fn kind(&self) -> OperationKind {
        self.kind
    }

    /// The command that it belongs to.
    pub fn command(&self) -> Command {
        self.kind.command()
    }

    /// The address that was judged, IPv4 in IPv4's own form: always there for an arrived BIND peer and a datagram;
    /// for a BIND listener only if the client named its peer; for CONNECT always, unless the rule goes through an
    /// [upstream gateway](Terms::upstream) and permits the name that was asked for, whatever its address is.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What the rule grants.
    pub fn terms(&self) -> &Terms {
        &self.grant.terms
    }

    /// The generation of the ruleset that judged ([`Ruleset::generation`](crate::Ruleset::generation)).
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// The names of rules that matched and only log. None of them costs no memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Noted(Vec<Arc<str>>);

impl Noted {
    /// How many are noted; those behind them are left out.
    pub(crate) const MAX: usize = 16;

    /// Notes one more.
    pub(crate) fn add(&mut self, rule: &Arc<str>) {
        if self.0.len() < Self::MAX {
            self.0.push(Arc::clone(rule));
        }
    }
}

/// A permit rule's name and terms, shared by all its permits.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) rule: Arc<str>,
    pub(crate) terms: Terms,
}

/// A denial with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The rule that denies; with [`DenyReason::SpecialUse`] the one that would permit; `None`: no rule at all.
    pub rule: Option<Arc<str>>,
    /// Why.
    pub reason: DenyReason,
    pub(crate) noted: Noted,
}

impl Denial {
    pub(crate) fn without_rule(reason: DenyReason) -> Self {
        Self { rule: None, reason, noted: Noted::default() }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.rule, self.reason) {
            (Some(rule), DenyReason::Rule) => write!(f, "rule `{rule}` denies"),
            (Some(rule), DenyReason::GroupsMissing) => {
                write!(f, "rule `{rule}` denies a group, and the groups of the identity could not be learned")
            }
            (Some(rule), DenyReason::SpecialUse(class)) => {
                write!(f, "rule `{rule}` would permit, but not a special-use address ({class})")
            }
            (_, reason) => reason.fmt(f),
        }
    }
}

/// Why something is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DenyReason {
    /// A deny rule matches.
    Rule,
    /// A deny rule names a group, and the groups of the identity could not be learned: it matches.
    GroupsMissing,
    /// No rule matches.
    NoMatch,
    /// No rule matches but one that does not say `special-use: permit`, and the address is of that class.
    SpecialUse(SpecialUse),
    /// The proof of identity has ended.
    IdentityExpired,
}

impl DenyReason {
    /// The word that the policy's tests and the record use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::GroupsMissing => "groups-missing",
            Self::NoMatch => "no-match",
            Self::SpecialUse(_) => "special-use",
            Self::IdentityExpired => "identity-expired",
        }
    }
}

impl fmt::Display for DenyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule => f.write_str("a rule denies"),
            Self::GroupsMissing => f.write_str("the groups of the identity could not be learned"),
            Self::NoMatch => f.write_str("no rule matches"),
            Self::SpecialUse(class) => write!(f, "special-use address ({class})"),
            Self::IdentityExpired => f.write_str("the proof of identity has expired"),
        }
    }
}
