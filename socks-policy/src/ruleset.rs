//! The compiled ruleset and its one decision.

use std::sync::Arc;

use jiff::Timestamp;

use crate::clients::Row;
use crate::decision::{Denial, DenyReason, Noted, Permit};
use crate::index::Index;

use crate::rule::Rule;
use crate::set::{Condition, NamedSet};
use crate::trial::Trial;
use crate::view::View;
use crate::{Decision, Fact, Nat64, OperationKind, Query};

/// A policy file, compiled: which doors a client may use, and what it may do then.
#[derive(Debug)]
pub struct Ruleset {
    pub(crate) rules: Vec<Rule>,
    pub(crate) clients: Vec<Row>,
    pub(crate) trials: Vec<Trial>,
    pub(crate) sets: Vec<NamedSet>,
    index: Index,
    nat64: Option<Nat64>,
    names_groups: bool,
    /// The deny rules that name a network: they may meet a name whose address is not known.
    network_denies: Vec<u32>,
    /// The time it was loaded for: what the tests are judged at.
    pub(crate) loaded: Timestamp,
    generation: u64,
}

impl Ruleset {
    pub(crate) fn new(rules: Vec<Rule>, clients: Vec<Row>, trials: Vec<Trial>, loaded: Timestamp) -> Self {
        let index = Index::new(&rules);
        let of_rules = rules.iter().filter_map(|rule| rule.identity.as_ref());
        let mut identities = of_rules.chain(clients.iter().filter_map(|row| row.identity.as_ref()));
        let names_groups = identities.any(Condition::names_group);
        let meets = |rule: &Rule| rule.decides() && !rule.permits() && rule.names_network();
        let network_denies = (0..).zip(&rules).filter(|(_, rule)| meets(rule));
        let network_denies = network_denies.map(|(number, _)| number).collect();
        Self {
            rules,
            clients,
            trials,
            sets: Vec::new(),
            index,
            nat64: None,
            names_groups,
            network_denies,
            loaded,
            generation: 0,
        }
    }

    /// The same ruleset with its named sets, for comparisons.
    pub(crate) fn with_sets(mut self, sets: Vec<NamedSet>) -> Self {
        self.sets = sets;
        self
    }

    /// The same ruleset under another generation; its permits carry the number.
    #[must_use]
    pub fn with_generation(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }

    /// The same ruleset for a network with that translator: an address behind its prefix is judged like those of
    /// other translators.
    #[must_use]
    pub fn with_nat64(mut self, prefix: Option<Nat64>) -> Self {
        self.nat64 = prefix;
        self
    }

    /// Which of the gateway's rulesets this is; 0 unless [set](Self::with_generation).
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many rules there are.
    pub fn rule_count(&self) -> usize {
        self.rules.len()
    }

    /// Tells whether any rule limits the octets of a day.
    pub fn limits_days(&self) -> bool {
        let mut limits = self.rules.iter().flat_map(|rule| {
            let terms = &rule.grant.terms;
            [terms.together, terms.per_identity]
        });
        limits.any(|allowance| allowance.daily.is_some())
    }

    /// Tells whether any rule or row of `clients` asks for a group.
    pub fn names_groups(&self) -> bool {
        self.names_groups
    }

    /// Decides with what is known: the first rule that matches decides, and if none does, the answer is no.
    ///
    /// [`Decision::Deny`] is final: no further fact changes it. It comes as soon as every rule that may
    /// still match denies. [`Decision::Permit`] comes only when identity, operation and address are known and
    /// the first rule that matches permits. Everything else needs a further fact.
    ///
    /// A rule that only logs never decides: what it matches is noted ([`Decision::logged_by`]), as far as it stands
    /// before the rule that decides.
    ///
    /// A rule that goes through an [upstream gateway](crate::Terms::upstream) may permit a CONNECT to a name by
    /// the name alone: if it names no network for it, no deny rule before it might meet the name's address, and
    /// the name is not `localhost`. That gateway looks the name up, and what is special about its address is its
    /// business.
    ///
    /// Where the identity's groups [could not be learned](socks_core::Identity::groups_missing), a group that a
    /// deny rule or one that only logs names is taken as one of them, and a group that a permit rule names is not.
    pub fn decide(&self, query: &Query<'_>) -> Decision {
        if query.identity.is_some_and(|identity| identity.has_expired(query.now)) {
            return Decision::Deny(Denial::without_rule(DenyReason::IdentityExpired));
        }
        let view = self.view(query);
        let mut noted = Noted::default();
        let Some((number, rule)) = self.first(&view, |rule| noted.add(rule.name())) else {
            return Decision::Deny(Denial { noted, ..self.no_match(&view) });
        };
        if !rule.permits() {
            let is_unknown = rule.unknown_groups(&view).is_some();
            let reason = if is_unknown { DenyReason::GroupsMissing } else { DenyReason::Rule };
            return Decision::Deny(Denial { rule: Some(Arc::clone(rule.name())), reason, noted });
        }
        let missing = view.missing().filter(|_| !self.is_by_name(number, rule, &view));
        match (missing, view.kind) {
            (None, Some(kind)) => Decision::Permit(Permit {
                grant: Arc::clone(&rule.grant),
                kind,
                address: view.address,
                generation: self.generation,
                noted,
            }),
            (missing, _) => Decision::Needs(missing.unwrap_or(Fact::Operation)),
        }
    }

    /// The next instant after `now` at which a rule begins or ceases to match for the time alone: a window of its
    /// `when` opens or closes, or it expires. `None`: that never happens.
    ///
    /// What was decided at `now` is decided alike until then, as far as the rules go; proofs of identity have ends of
    /// their own.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        self.rules.iter().filter(|rule| rule.decides()).filter_map(|rule| rule.next_change(now)).min()
    }

    /// What the rules see of a query.
    pub(crate) fn view<'a>(&self, query: &Query<'a>) -> View<'a> {
        View::new(query, self.nat64.as_ref())
    }

    /// The first rule that denies for certain or that may permit, with its number; `pass` gets those before it that
    /// match for certain and do not decide.
    fn first(&self, view: &View<'_>, mut pass: impl FnMut(&Rule)) -> Option<(u32, &Rule)> {
        let mut found = None;
        self.index.first(view, |number| {
            found = self.rule(number).filter(|rule| rule.is_in_force(view.now)).map(|rule| (number, rule));
            if let Some((_, rule)) = found.take_if(|(_, rule)| !rule.decides()) {
                pass(rule);
            }
            found.is_some()
        });
        found
    }

    /// Tells whether the rule of that number, the first that may permit, permits the name of a CONNECT whatever
    /// its address is: another gateway is to look it up.
    pub(crate) fn is_by_name(&self, number: u32, rule: &Rule, view: &View<'_>) -> bool {
        let Some(name) = view.name.filter(|_| view.kind == Some(OperationKind::Connect)) else {
            return false;
        };
        let is_local = name.labels().next_back() == Some("localhost");
        let mut earlier = self.network_denies.iter().take_while(|other| **other < number);
        let may_deny = |other: &u32| self.rule(*other).is_some_and(|rule| rule.may_match(view));
        view.missing() == Some(Fact::Address)
            && rule.grant.terms.upstream.is_some()
            && rule.means_name(view)
            && (rule.special_use || !is_local)
            && !earlier.any(may_deny)
    }

    /// Why nothing matches: perhaps only because the address is special.
    fn no_match(&self, view: &View<'_>) -> Denial {
        let Some(class) = view.special else { return Denial::without_rule(DenyReason::NoMatch) };
        let ordinary = View { special: None, ..*view };
        match self.first(&ordinary, |_| {}).filter(|_| view.missing().is_none()) {
            Some((_, rule)) if rule.permits() => {
                let rule = Some(Arc::clone(rule.name()));
                Denial { rule, ..Denial::without_rule(DenyReason::SpecialUse(class)) }
            }
            _ => Denial::without_rule(DenyReason::NoMatch),
        }
    }

    /// The rule before this one that always matches when it does.
    pub(crate) fn covering(&self, number: u32) -> Option<&Rule> {
        let rule = self.rule(number)?;
        let lasts = |other: u32| self.rule(other).is_some_and(Rule::is_lasting);
        self.index.covering(number, rule, lasts).and_then(|other| self.rule(other))
    }

    fn rule(&self, number: u32) -> Option<&Rule> {
        self.rules.get(usize::try_from(number).ok()?)
    }
}

#[cfg(test)]
mod tests;
