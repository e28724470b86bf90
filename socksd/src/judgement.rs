//! What a policy as a whole says to a session: `clients` and rules together, in a form that two can be compared in.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;
use socks_auth::Authenticator;
use socks_core::{Identity, Level, Levels};
use socks_policy::{Decision, Query, Ruleset};

/// The reason of a denial by `clients`.
pub(crate) const NOT_ADMITTED: &str = "not-admitted";

/// What one policy says to what is known of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Said {
    pub(crate) answer: Answer,
    /// The rule that says so; with the reason `special-use` the one that would permit.
    pub(crate) rule: Option<Arc<str>>,
    /// Of a denial its reason, of what is undecided the fact that is missing.
    pub(crate) reason: Option<&'static str>,
}

/// The answer without who gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Permit,
    Deny,
    /// It depends on a fact that is not known.
    Undecided,
}

impl Said {
    /// No, for that reason and by no rule.
    pub(crate) fn no(reason: &'static str) -> Self {
        Self { answer: Answer::Deny, rule: None, reason: Some(reason) }
    }

    /// Tells whether no further fact changes it.
    pub(crate) fn is_decided(&self) -> bool {
        self.answer != Answer::Undecided
    }

    /// It cannot be told without that fact.
    pub(crate) fn undecided(missing: &'static str) -> Self {
        Self { answer: Answer::Undecided, rule: None, reason: Some(missing) }
    }
}

impl From<&Decision> for Said {
    fn from(decision: &Decision) -> Self {
        match decision {
            Decision::Permit(permit) => {
                Self { answer: Answer::Permit, rule: Some(permit.rule().clone()), reason: None }
            }
            Decision::Deny(denial) => Self { rule: denial.rule.clone(), ..Self::no(denial.reason.as_str()) },
            Decision::Needs(fact) => Self::undecided(fact.as_str()),
        }
    }
}

/// A ruleset, with what it has to be known of the authenticators to say who is admitted.
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) ruleset: Ruleset,
    /// All authenticators, and whether each can protect.
    pub(crate) methods: Vec<(Arc<str>, bool)>,
}

impl Policy {
    /// The ruleset among these authenticators.
    pub(crate) fn new(ruleset: Ruleset, authenticators: &[(Arc<str>, Arc<dyn Authenticator>)]) -> Self {
        let methods = authenticators.iter().map(|(name, own)| (name.clone(), own.protects())).collect();
        Self { ruleset, methods }
    }

    /// The ruleset where the authenticators are not known: only `gssapi` counts as one that can protect.
    pub(crate) fn alone(ruleset: Ruleset) -> Self {
        Self { ruleset, methods: vec![("gssapi".into(), true)] }
    }

    /// Tells whether `clients` let the identity in at its level of protection.
    pub(crate) fn admits(&self, query: &Query<'_>, identity: &Identity) -> bool {
        let Some(levels) = self.ruleset.levels(query.listener, query.client.ip(), identity) else {
            return false;
        };
        let protects = self.methods.iter().any(|(name, protects)| *protects && *name == identity.method);
        // Where the policy says nothing, a method that can protect must.
        let is_bare = identity.level == Level::None && protects && levels == Levels::Unrestricted;
        !is_bare && levels.allow(identity.level)
    }
}

/// Whoever says something to what is known of a session.
pub(crate) trait Judge {
    /// What `clients` and rules say.
    fn judge(&self, query: &Query<'_>) -> Said;

    /// The authenticators that a client at that address is offered.
    fn doors(&self, listener: &str, client: IpAddr) -> Vec<Arc<str>>;
}

impl Judge for Policy {
    fn judge(&self, query: &Query<'_>) -> Said {
        match query.identity {
            Some(identity) if !self.admits(query, identity) => Said::no(NOT_ADMITTED),
            _ => Said::from(&self.ruleset.decide(query)),
        }
    }

    fn doors(&self, listener: &str, client: IpAddr) -> Vec<Arc<str>> {
        let doors = self.ruleset.doors(listener, client);
        let is_open = |name: &Arc<str>, levels: &Levels| {
            let mut methods = self.methods.iter();
            methods.any(|(own, protects)| own == name && (*protects || levels.allow_unprotected()))
        };
        let open = doors.iter().filter(|door| is_open(door.method(), door.levels()));
        open.map(|door| door.method().clone()).collect()
    }
}
