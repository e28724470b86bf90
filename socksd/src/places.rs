//! The places of a session wherever sessions are counted together: in its rule, and among those of its holder.

use std::sync::Arc;

use socks_policy::Permit;

use crate::account::{Shortage, Sort};
use crate::admission::{Counted, RuleSessions, RuleTicket};
use crate::config::Limits;

/// The places that one rule's permit takes; they are free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Places {
    rule: Arc<str>,
    held: Vec<RuleTicket>,
}

/// All places of a session.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Among those of its holder.
    pub(crate) own: Option<RuleTicket>,
    /// In the rule that permits it.
    pub(crate) of_rule: Option<Places>,
}

/// A limit that keeps a session out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionLimit {
    /// Sessions at once of an identity under a rule.
    RuleHolder,
    /// Sessions at once under a rule.
    Rule,
    /// Sessions at once of an identity.
    Holder,
    /// Sessions that begin in a second.
    Beginning(Sort),
    /// Octets of a day.
    UsedUp(Sort),
}

impl From<(Sort, Shortage)> for SessionLimit {
    fn from((sort, shortage): (Sort, Shortage)) -> Self {
        match shortage {
            Shortage::Rate => Self::Beginning(sort),
            Shortage::Day => Self::UsedUp(sort),
        }
    }
}

impl SessionLimit {
    /// A stable word for the record.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RuleHolder => "too-many-sessions-of-rule",
            Self::Rule => "too-many-sessions-of-rule-in-all",
            Self::Holder => "too-many-sessions-of-identity",
            Self::Beginning(Sort::Source) => "too-many-new-sessions-of-source",
            Self::Beginning(Sort::Identity) => "too-many-new-sessions-of-identity",
            Self::Beginning(Sort::Rule) => "too-many-new-sessions-of-rule",
            Self::Beginning(Sort::RuleIdentity) => "too-many-new-sessions-of-rule-identity",
            Self::UsedUp(_) => "quota-used-up",
        }
    }
}

impl Held {
    /// The places of a session that is open already, and goes on by that permit: it counts even where there is no place left.
    pub(crate) fn keep(
        permit: &Permit,
        holder: impl Copy + Into<Box<str>>,
        limits: &Limits,
        sessions: &RuleSessions,
    ) -> Self {
        let own = limits.max_sessions_per_identity.map(|_| sessions.count(Counted::Holder(holder.into())));
        let held: Vec<_> = counted(permit, holder).map(|(counted, ..)| sessions.count(counted)).collect();
        let of_rule = (!held.is_empty()).then(|| Places { rule: permit.rule().clone(), held });
        Self { own, of_rule }
    }

    /// Tells whether the session is counted nowhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_none() && self.of_rule.as_ref().is_none_or(|places| places.held.is_empty())
    }
}

impl Places {
    /// Takes the places of a new session in its rule, as far as they are limited.
    pub(crate) fn take(
        permit: &Permit,
        holder: impl Copy + Into<Box<str>>,
        sessions: &RuleSessions,
    ) -> Result<Self, SessionLimit> {
        let mut held = Vec::new();
        for (counted, most, limit) in counted(permit, holder) {
            held.push(sessions.admit(counted, most).ok_or(limit)?);
        }
        Ok(Self { rule: permit.rule().clone(), held })
    }

    /// Tells whether they are those of that rule.
    pub(crate) fn are_of(&self, rule: &str) -> bool {
        *self.rule == *rule
    }
}

/// What a permit counts by, each with the most sessions that there may be.
fn counted(
    permit: &Permit,
    holder: impl Into<Box<str>>,
) -> impl Iterator<Item = (Counted, u32, SessionLimit)> {
    let (rule, terms) = (permit.rule(), permit.terms());
    let in_all = terms.sessions_in_all.map(|most| (Counted::Rule((**rule).into()), most, SessionLimit::Rule));
    let of_holder = terms
        .sessions
        .map(|most| (Counted::RuleHolder((**rule).into(), holder.into()), most, SessionLimit::RuleHolder));
    // His own limit first: who is refused by it does not take, even for a moment, what others may have.
    of_holder.into_iter().chain(in_all)
}

/// The place of a holder's session among all of that holder's, if they are limited.
pub(crate) fn of_holder(
    limits: &Limits,
    holder: impl Into<Box<str>>,
    sessions: &RuleSessions,
) -> Result<Option<RuleTicket>, SessionLimit> {
    let Some(most) = limits.max_sessions_per_identity else { return Ok(None) };
    sessions.admit(Counted::Holder(holder.into()), most).map(Some).ok_or(SessionLimit::Holder)
}

#[cfg(test)]
mod tests {
    use socks_config::Document;
    use socks_core::Identity;
    use socks_core::wire::Target;
    use socks_policy::{Context, Decision, Operation, Query, Ruleset};

    use super::*;

    fn permit(limits: &str) -> Permit {
        let text = format!(
            "version: 1\nclients: [{{ methods: [none] }}]\nrules: [{{ name: r, action: permit, limits: {{ {limits} }} }}]\n"
        );
        let ruleset = Ruleset::load(&Document::parse("policy.yaml", text).unwrap(), &Context::default());
        let (target, nobody) =
            (Target::from("192.0.2.1:80".parse::<std::net::SocketAddr>().unwrap()), Identity::anonymous());
        let query = Query {
            listener: "main",
            client: "10.0.0.1:5000".parse().unwrap(),
            identity: Some(&nobody),
            operation: Some(Operation::Connect(&target)),
            address: None,
            gateway: &[],
            now: jiff::Timestamp::UNIX_EPOCH,
        };
        match ruleset.unwrap().ruleset.decide(&query) {
            Decision::Permit(permit) => permit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rule_counts_all_its_sessions_and_those_of_each_holder() {
        let (sessions, permit) = (RuleSessions::default(), permit("sessions: 1, sessions-in-all: 2"));
        let take = |holder| Places::take(&permit, holder, &sessions);
        let alice = take("alice").unwrap();
        assert_eq!(take("alice").unwrap_err(), SessionLimit::RuleHolder);
        let _bob = take("bob").unwrap();
        assert_eq!(take("carol").unwrap_err(), SessionLimit::Rule);
        drop(alice);
        assert!(take("carol").is_ok(), "who is refused by one limit leaves the other as it was");
    }

    #[test]
    fn who_is_open_already_counts_even_where_there_is_no_place() {
        let (sessions, permit) = (RuleSessions::default(), permit("sessions: 1"));
        let limits = Limits { max_sessions_per_identity: Some(1), ..Limits::default() };
        let open = [(); 2].map(|()| Held::keep(&permit, "alice", &limits, &sessions));
        assert_eq!(Places::take(&permit, "alice", &sessions).unwrap_err(), SessionLimit::RuleHolder);
        assert_eq!(of_holder(&limits, "alice", &sessions).unwrap_err(), SessionLimit::Holder);
        drop(open);
        assert!(Places::take(&permit, "alice", &sessions).is_ok());
        assert!(of_holder(&limits, "alice", &sessions).unwrap().is_some());
        assert!(of_holder(&Limits::default(), "alice", &sessions).unwrap().is_none());
    }
}
