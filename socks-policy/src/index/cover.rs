//! The search for a rule that leaves nothing for a later one.

use socks_core::wire::Command;

use super::bits::Search;
use super::identities::names_group;
use super::prefixes::Prefix;
use super::{Dimension, Index};
use crate::commands::Commands;
use crate::pattern::HostPattern;
use crate::rule::Rule;
use crate::set::{Condition, Set};

/// Sets with more elements than this are covered by nothing but themselves: a limit on the work.
pub(super) const MAX_ELEMENTS: usize = 32;

impl Index {
    /// The first rule before `number` that matches whenever this one does, and that `lasts` holds for.
    ///
    /// What is found is always right; not everything is found: each element of a condition must be covered by one
    /// condition of the other rule, and large sets are covered by themselves only.
    pub(crate) fn covering(&self, number: u32, rule: &Rule, lasts: impl Fn(u32) -> bool) -> Option<u32> {
        let mut search = Search::new(self.rules);
        let search_in = &mut search;
        self.source.demand_cover(rule.source.as_ref(), search_in, |table, network, search| {
            table.find_network(network, search);
        });
        self.listener.demand_cover(rule.listener.as_ref(), search_in, |table, name, search| {
            table.find(name, search);
        });
        self.demand_identity_cover(rule, search_in);
        self.method
            .demand_cover(rule.method.as_ref(), search_in, |table, name, search| table.find(name, search));
        self.port.demand_cover(rule.port.as_ref(), search_in, |table, range, search| {
            // The blocks of one range must all be covered: all but the first are conditions of their own.
            for (at, block) in Prefix::of_ports(*range).into_iter().enumerate() {
                if at > 0 {
                    search.must_be_in(&self.port.any);
                }
                table.find(block, search);
            }
        });
        self.destination.demand_cover(
            rule.destination.as_ref(),
            search_in,
            |table, host, search| match host {
                HostPattern::Network(network) => table.networks.find_network(network, search),
                _ => table.names.find_pattern(host, search),
            },
        );
        self.demand_kind_cover(rule, search_in);
        // The rule itself meets all of it, and ends the search.
        search.first(|other| other >= number || lasts(other)).filter(|other| *other < number)
    }

    fn demand_identity_cover<'a>(&'a self, rule: &Rule, search: &mut Search<'a>) {
        self.identity.demand_cover(rule.identity.as_ref(), search, |table, pattern, search| {
            table.find_pattern(pattern, search);
        });
        if !rule.permits() && names_group(rule) {
            // Where groups could not be learned this rule matches, and a permit rule for the same groups does not.
            search.must_be_in(&self.identity.any);
            search.or_in(&self.denies);
        }
    }

    fn demand_kind_cover<'a>(&'a self, rule: &Rule, search: &mut Search<'a>) {
        search.must_be_in(self.content_with(rule.protection));
        let commands = [Command::Connect, Command::Bind, Command::UdpAssociate];
        for command in commands.into_iter().filter(|command| rule.commands.contains(*command)) {
            search.must_be_in(self.asking_for(command));
        }
        if !rule.permits() || rule.special_use {
            search.must_be_in(&self.special_use);
        }
        if rule.permits() && rule.commands != Commands::NONE.with(Command::Connect) {
            // For an association and a BIND a deny rule does not count if it asks for destination or port.
            self.destination.demand_open(search);
            self.port.demand_open(search);
        }
        let names_network = |hosts: &Condition<HostPattern>| {
            hosts.elements().any(|host| matches!(host, HostPattern::Network(_)))
        };
        if !rule.permits() && rule.destination.as_ref().is_some_and(names_network) {
            // Only deny rules meet embedded addresses; a permit rule without destination does too.
            search.must_be_in(&self.destination.any);
            search.or_in(&self.denies);
        }
    }
}

impl<T> Dimension<T> {
    /// Demands that a rule does not have the condition, or names all that `condition` names.
    fn demand_cover<'a, E>(
        &'a self,
        condition: Option<&Condition<E>>,
        search: &mut Search<'a>,
        find: impl Fn(&'a T, &E, &mut Search<'a>),
    ) {
        let Some(condition) = condition else {
            if self.is_used {
                search.must_be_in(&self.any);
            }
            return;
        };
        for set in &condition.sets {
            self.demand_cover_of(set, search, &find);
        }
    }

    fn demand_cover_of<'a, E>(
        &'a self,
        set: &Set<E>,
        search: &mut Search<'a>,
        find: impl Fn(&'a T, &E, &mut Search<'a>),
    ) {
        if let Some(list) = self.large.get(&set.id) {
            search.must_be_in(&self.any);
            search.or_in(list);
            return;
        }
        for element in &set.elements {
            search.must_be_in(&self.any);
            find(&self.table, element, search);
        }
    }
}
