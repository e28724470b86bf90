//! The compiled form of the rules: which of them can match is found without looking at each.
//!
//! For every condition there is a table from what rules name to the rules that name it, and the set of rules
//! that have no such condition. A decision looks its facts up, and takes the first rule that is in all of
//! the sets found. Sets are bits, 64 rules to a word, so that even rules which differ in nothing but their
//! combinations are passed over quickly.
//!
//! Where a fact is missing, or the operation has no such fact, a permit rule may still match, and a deny rule
//! counts only if it does not ask: that is the three-valued decision in one search. What it finds first is
//! either a rule that denies for certain, or one that may permit.

mod bits;
mod cover;
mod identities;
mod names;
mod prefixes;
mod table;

use std::collections::BTreeMap;

use ipnet::IpNet;
use socks_core::Level;
use socks_core::wire::Command;

use self::bits::{Bits, List, Search};
use self::identities::Identities;
use self::names::{Names, Words};
use self::prefixes::{Networks, Prefix, Prefixes};
use self::table::Usage;
use crate::commands::Commands;
use crate::pattern::{HostPattern, PortRange};
use crate::rule::Rule;
use crate::view::{Site, View};

/// The rules of a ruleset, by what they ask for.
#[derive(Debug)]
pub(crate) struct Index {
    rules: usize,
    source: Dimension<Networks>,
    listener: Dimension<Words>,
    identity: Dimension<Identities>,
    method: Dimension<Words>,
    destination: Dimension<Destinations>,
    port: Dimension<Prefixes>,
    /// The rules that a session without protection, at integrity and at confidentiality satisfies.
    protection: [Bits; 3],
    protection_open: Bits,
    connect: Bits,
    bind: Bits,
    udp_associate: Bits,
    command_open: Bits,
    /// The rules that are good for special-use addresses.
    special_use: Bits,
    denies: List,
}

/// One condition of all rules.
#[derive(Debug)]
struct Dimension<T> {
    /// Whether any rule has the condition.
    is_used: bool,
    /// The rules that do not have it.
    any: Bits,
    /// Those, and all permit rules.
    open: Bits,
    /// The rules that have it, by what they name.
    table: T,
    /// The rules of sets with so many elements that they are only compared as a whole.
    large: BTreeMap<usize, List>,
}

impl<T> Dimension<T> {
    fn new<'a, E>(
        rules: &'a [Rule],
        condition: impl Fn(&'a Rule) -> Option<&'a crate::set::Condition<E>>,
        table: impl FnOnce(&Usage<'a, E>) -> T,
    ) -> Self
    where
        E: 'a,
    {
        let usage = Usage::of(rules, &condition);
        let is_without: Vec<(bool, bool)> =
            rules.iter().map(|rule| (condition(rule).is_none(), rule.permits())).collect();
        Self {
            is_used: is_without.iter().any(|(is_without, _)| !is_without),
            any: Bits::of(&is_without, |(is_without, _)| *is_without),
            open: Bits::of(&is_without, |(is_without, permits)| *is_without || *permits),
            table: table(&usage),
            large: usage.large(cover::MAX_ELEMENTS),
        }
    }

    /// Demands that a rule does not have the condition, or names what `find` then looks up.
    fn demand<'a>(&'a self, search: &mut Search<'a>, find: impl FnOnce(&'a T, &mut Search<'a>)) {
        if self.is_used {
            search.must_be_in(&self.any);
            find(&self.table, search);
        }
    }

    /// Demands that a rule does not have the condition, or permits.
    fn demand_open<'a>(&'a self, search: &mut Search<'a>) {
        if self.is_used {
            search.must_be_in(&self.open);
        }
    }
}

/// The destinations that rules name.
#[derive(Debug)]
struct Destinations {
    names: Names,
    networks: Networks,
    /// The networks of deny rules: they also meet embedded addresses.
    deny_networks: Networks,
    /// The permit rules that name a network: they may match a name whose address is not known.
    network_permits: List,
}

impl Destinations {
    fn find<'a>(&'a self, view: &View<'_>, search: &mut Search<'a>) {
        if let Some(name) = view.name {
            self.names.find(name, search);
        }
        match view.site {
            Site::At(address) => {
                self.networks.find(address, search);
                for address in view.embedded.iter() {
                    self.deny_networks.find(address.into(), search);
                }
            }
            Site::Unresolved => search.or_in(&self.network_permits),
            Site::Unknown | Site::Open => {}
        }
    }
}

impl Index {
    /// Compiles the rules.
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let asks_for = |command: Command| Bits::of(rules, |rule: &Rule| rule.commands.contains(command));
        let content_with = |level: Level| Bits::of(rules, |rule: &Rule| level.is_at_least(rule.protection));
        Self {
            rules: rules.len(),
            source: Dimension::new(rules, |rule| rule.source.as_ref(), |usage| Networks::new(usage, Some)),
            listener: Dimension::new(rules, |rule| rule.listener.as_ref(), words),
            identity: Dimension::new(
                rules,
                |rule| rule.identity.as_ref(),
                |usage| Identities::new(rules, usage),
            ),
            method: Dimension::new(rules, |rule| rule.method.as_ref(), words),
            destination: Dimension::new(
                rules,
                |rule| rule.destination.as_ref(),
                |usage| destinations(rules, usage),
            ),
            port: Dimension::new(
                rules,
                |rule| rule.port.as_ref(),
                |usage| Prefixes::new(usage, |range: &PortRange| Prefix::of_ports(*range)),
            ),
            protection: [Level::None, Level::Integrity, Level::Confidentiality].map(content_with),
            protection_open: Bits::of(rules, |rule| rule.permits() || rule.protection == Level::None),
            connect: asks_for(Command::Connect),
            bind: asks_for(Command::Bind),
            udp_associate: asks_for(Command::UdpAssociate),
            command_open: Bits::of(rules, |rule| rule.permits() || rule.commands == Commands::ALL),
            special_use: Bits::of(rules, |rule| !rule.permits() || rule.special_use),
            denies: numbers(rules, |rule| !rule.permits()),
        }
    }

    /// The first rule that denies for certain or that may permit, and that `accept` takes.
    pub(crate) fn first(&self, view: &View<'_>, accept: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut search = Search::new(self.rules);
        self.demand_operation(view, &mut search);
        self.demand_identity(view, &mut search);
        self.source.demand(&mut search, |table, search| table.find(view.source, search));
        self.listener.demand(&mut search, |table, search| table.find(view.listener, search));
        search.first(accept)
    }

    fn demand_identity<'a>(&'a self, view: &View<'_>, search: &mut Search<'a>) {
        let Some(identity) = view.identity else {
            self.identity.demand_open(search);
            self.method.demand_open(search);
            search.must_be_in(&self.protection_open);
            return;
        };
        self.identity.demand(search, |table, search| table.find(identity, search));
        self.method.demand(search, |table, search| table.find(&identity.method, search));
        search.must_be_in(self.content_with(identity.level));
    }

    fn demand_operation<'a>(&'a self, view: &View<'_>, search: &mut Search<'a>) {
        match view.site {
            Site::Unknown | Site::Open => self.destination.demand_open(search),
            Site::Unresolved | Site::At(_) => {
                self.destination.demand(search, |table, search| table.find(view, search));
            }
        }
        match view.port {
            None => self.port.demand_open(search),
            Some(port) => self.port.demand(search, |table, search| table.find(Prefix::of_port(port), search)),
        }
        search.must_be_in(view.kind.map_or(&self.command_open, |kind| self.asking_for(kind.command())));
        if view.special.is_some() {
            search.must_be_in(&self.special_use);
        }
    }

    fn asking_for(&self, command: Command) -> &Bits {
        match command {
            Command::Connect => &self.connect,
            Command::Bind => &self.bind,
            Command::UdpAssociate => &self.udp_associate,
        }
    }

    fn content_with(&self, level: Level) -> &Bits {
        let [none, integrity, confidentiality] = &self.protection;
        match level {
            Level::None => none,
            Level::Integrity | Level::Selective => integrity,
            Level::Confidentiality => confidentiality,
        }
    }
}

fn words(usage: &Usage<'_, Box<str>>) -> Words {
    Words::new(usage, |word| Some(word))
}

fn destinations<'a>(rules: &'a [Rule], usage: &Usage<'a, HostPattern>) -> Destinations {
    let networks = |usage: &Usage<'a, HostPattern>| Networks::new(usage, network);
    let denies = Usage::of(rules, |rule| rule.destination.as_ref().filter(|_| !rule.permits()));
    let has_network = |rule: &Rule| {
        rule.permits()
            && rule.destination.iter().flat_map(|hosts| hosts.elements()).any(|host| network(host).is_some())
    };
    Destinations {
        names: Names::new(usage),
        networks: networks(usage),
        deny_networks: networks(&denies),
        network_permits: numbers(rules, has_network),
    }
}

fn network(host: &HostPattern) -> Option<&IpNet> {
    match host {
        HostPattern::Network(network) => Some(network),
        _ => None,
    }
}

/// The list of the rules for which `is_in` holds.
fn numbers(rules: &[Rule], is_in: impl Fn(&Rule) -> bool) -> List {
    let numbers = (0..).zip(rules).filter(|(_, rule)| is_in(rule)).map(|(number, _)| number);
    List::new(numbers.collect(), rules.len())
}
