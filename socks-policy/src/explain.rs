//! The decision with its reasons, rule by rule, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use crate::rule::{Action, Check, Rule, groups_missing};
use crate::view::View;
use crate::{Decision, DenyReason, Fact, Query, Ruleset};

/// The reason of a denial by `clients`, in one word.
pub(crate) const NOT_ADMITTED: &str = "not-admitted";

/// Why the ruleset decides as it does.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Explanation {
    /// Whether a row of `clients` lets the identity in with its method and protection; `None`: not yet known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admitted: Option<bool>,
    /// Why the groups of the identity could not be learned: a rule that denies a group then matches, and one that
    /// permits a group does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups_missing: Option<String>,
    /// Every rule in order, up to the first that matches for certain and does not only log.
    pub rules: Vec<Considered>,
    /// How many rules stand behind that one.
    pub not_reached: usize,
    /// The rules of `action: log-only` that the decision notes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logged_by: Vec<String>,
    /// What `clients` and the rules say: where `clients` does not admit the identity, a denial for the reason
    /// `not-admitted`, whatever the rules would say.
    pub verdict: Verdict,
}

/// One rule and how it compares with what is known.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Considered {
    /// Its name.
    pub rule: String,
    /// Its line in the file.
    pub line: usize,
    /// What it does when it matches.
    pub action: Action,
    /// How it compares.
    pub outcome: Outcome,
    /// The first reason why it does not match, what has to be known to tell, or the groups that could not be
    /// learned and that alone make it match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a rule compares with what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It matches.
    Matches,
    /// It may match.
    MayMatch,
    /// It does not.
    DoesNotMatch,
}

/// The decision, as [`Decision`], or the denial by `clients`, to be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Verdict {
    /// Permitted.
    Permit {
        /// The rule that permits.
        rule: String,
        /// The address that may be used.
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<SocketAddr>,
        /// The gateway that it goes through.
        #[serde(skip_serializing_if = "Option::is_none")]
        upstream: Option<String>,
        /// The rule's own limits, by their keys.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        limits: BTreeMap<&'static str, String>,
    },
    /// Denied.
    Deny {
        /// The rule that denies, or that would permit if the address were not special.
        #[serde(skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
        /// The reason, in one word.
        reason: &'static str,
        /// The reason in a sentence.
        text: String,
    },
    /// Not yet to be told.
    Needs {
        /// What has to be known first.
        fact: Fact,
    },
}

impl Verdict {
    /// The denial by `clients`, and what of it is due to groups that could not be learned.
    fn not_admitted(unsure: Option<&str>) -> Self {
        let mut text = format!("{NOT_ADMITTED}: no row of `clients` lets this client in");
        if let Some(why) = unsure {
            text += &format!(" for certain, and {}", groups_missing(why));
        }
        Self::Deny { rule: None, reason: NOT_ADMITTED, text }
    }

    /// The decision, with the reason why groups could not be learned where that made it.
    fn of(decision: &Decision, missing: Option<&str>) -> Self {
        let by_groups =
            matches!(decision, Decision::Deny(denial) if denial.reason == DenyReason::GroupsMissing);
        match (Self::from(decision), missing) {
            (Self::Deny { rule, reason, text }, Some(why)) if by_groups => {
                Self::Deny { rule, reason, text: format!("{text} ({why})") }
            }
            (verdict, _) => verdict,
        }
    }
}

impl From<&Decision> for Verdict {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::Permit(permit) => {
                let upstream = permit.terms().upstream.as_ref().map(ToString::to_string);
                let (rule, limits) = (permit.rule().to_string(), permit.terms().limits());
                Self::Permit { rule, address: permit.address(), upstream, limits }
            }
            Decision::Deny(denial) => Self::Deny {
                rule: denial.rule.as_ref().map(ToString::to_string),
                reason: denial.reason.as_str(),
                text: denial.to_string(),
            },
            Decision::Needs(fact) => Self::Needs { fact: *fact },
        }
    }
}

impl Ruleset {
    /// Decides as [`decide`](Self::decide) for a client that `clients` admits, and tells for each rule in order how
    /// it compares. One that is not admitted is denied; the rules are compared nevertheless.
    pub fn explain(&self, query: &Query<'_>) -> Explanation {
        let view = self.view(query);
        let mut rules = Vec::new();
        if !query.identity.is_some_and(|identity| identity.has_expired(query.now)) {
            for (number, rule) in (0..).zip(&self.rules) {
                let mut considered = Considered::new(rule, &view);
                let is_first = rules.iter().all(Considered::lets_pass);
                if is_first && considered.outcome == Outcome::MayMatch && self.is_by_name(number, rule, &view)
                {
                    considered.outcome = Outcome::Matches;
                    considered.reason = Some("by the name alone, which its upstream looks up".into());
                }
                let is_last = considered.outcome == Outcome::Matches && rule.decides();
                rules.push(considered);
                if is_last {
                    break;
                }
            }
        }
        let missing = query.identity.and_then(|identity| identity.groups_missing.as_deref());
        let (admitted, decision) = (self.admits(query), self.decide(query));
        let verdict = match admitted {
            Some(false) => Verdict::not_admitted(missing.filter(|_| self.is_unsure(query))),
            _ => Verdict::of(&decision, missing),
        };
        let logged_by = decision.logged_by().iter().map(ToString::to_string).collect();
        let not_reached = self.rules.len() - rules.len();
        let groups_missing = missing.map(str::to_owned);
        Explanation { admitted, groups_missing, rules, not_reached, logged_by, verdict }
    }

    /// Tells whether `clients` lets the identity in as it is.
    ///
    /// Which methods can protect is not known here: a row without `protection` admits every method at every
    /// level, also one that could protect and does not. The gateway, which knows, refuses that one.
    pub(crate) fn admits(&self, query: &Query<'_>) -> Option<bool> {
        let identity = query.identity?;
        let levels = self.levels(query.listener, query.client.ip(), identity);
        Some(levels.is_some_and(|levels| levels.allow(identity.level)))
    }

    /// Tells whether groups that could not be learned had a part in that.
    fn is_unsure(&self, query: &Query<'_>) -> bool {
        let standing = |identity| self.standing(query.listener, query.client.ip(), identity);
        query.identity.is_some_and(|identity| standing(identity).is_unsure)
    }
}

impl Considered {
    fn new(rule: &Rule, view: &View<'_>) -> Self {
        let (outcome, reason) = match rule.check(view) {
            Check::Matches => (Outcome::Matches, rule.unknown_groups(view).map(groups_missing)),
            Check::Needs(fact) => (Outcome::MayMatch, Some(format!("depends on the {fact}"))),
            Check::No(reason) => (Outcome::DoesNotMatch, Some(reason)),
        };
        Self { rule: rule.name().to_string(), line: rule.line, action: rule.action, outcome, reason }
    }

    /// Tells whether the decision is left to the rules behind it for certain.
    fn lets_pass(&self) -> bool {
        self.outcome == Outcome::DoesNotMatch || self.action == Action::LogOnly
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.admitted == Some(false) {
            writeln!(f, "clients: no row lets this client in with this method and protection")?;
        }
        for considered in &self.rules {
            writeln!(f, "{considered}")?;
        }
        if self.not_reached > 0 {
            writeln!(f, "rules behind it, not reached: {}", self.not_reached)?;
        }
        write!(f, "verdict: {}", self.verdict)
    }
}

impl fmt::Display for Considered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule `{}` (line {}, {}) {}", self.rule, self.line, self.action, self.outcome)?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matches => "matches",
            Self::MayMatch => "may match",
            Self::DoesNotMatch => "does not match",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permit { rule, address, upstream, limits } => {
                write!(f, "permitted by rule `{rule}`")?;
                if let Some(address) = address {
                    write!(f, " to {address}")?;
                }
                if let Some(upstream) = upstream {
                    write!(f, " through the upstream `{upstream}`")?;
                }
                for (number, (key, value)) in limits.iter().enumerate() {
                    write!(f, "{} `{key}: {value}`", if number == 0 { " with" } else { "," })?;
                }
                Ok(())
            }
            Self::Deny { text, .. } => write!(f, "denied: {text}"),
            Self::Needs { fact } => write!(f, "depends on the {fact}"),
        }
    }
}
