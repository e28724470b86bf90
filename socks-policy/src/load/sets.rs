//! The `sets` section.

use std::sync::Arc;

use socks_config::{Finding, Node};

use super::Context;
use super::element::{self, Element};
use super::read::{Named, Reader, Section, known};
use crate::pattern::{HostPattern, IdentityPattern, is_word};
use crate::set::{Elements, NamedSet, Set};

impl<'a> Reader<'a> {
    /// Reads all named sets.
    pub(super) fn sets(&mut self, node: &'a Node) {
        let Some(mut fields) = node.fields(&mut self.findings) else { return };
        if let Some(networks) = self.take(&mut fields, "networks") {
            self.set_section(networks, |reader| &mut reader.networks, element::network);
        }
        if let Some(hosts) = self.take(&mut fields, "hosts") {
            self.set_section(hosts, |reader| &mut reader.hosts, host);
            self.check_shared_names();
        }
        // Sets of identities may mean sets of groups.
        if let Some(groups) = self.take(&mut fields, "groups") {
            self.set_section(groups, |reader| &mut reader.groups, element::group);
            for named in self.groups.named.values_mut() {
                named.set = self.identities.pool.several(named.set.elements.clone());
            }
        }
        if let Some(identities) = self.take(&mut fields, "identities") {
            let context = self.context;
            self.set_section(identities, |reader| &mut reader.identities, |node| identity(node, context));
            self.resolve_groups();
        }
        if let Some(ports) = self.take(&mut fields, "ports") {
            self.set_section(ports, |reader| &mut reader.ports, element::port);
        }
        if let Some(times) = self.take(&mut fields, "times") {
            self.times(times);
        }
        fields.finish(&mut self.findings);
    }

    fn set_section<T: Clone + Eq + std::hash::Hash>(
        &mut self,
        node: &'a Node,
        section: impl Fn(&mut Self) -> &mut Section<T>,
        read: impl for<'n> Fn(&'n Node) -> Result<Element<'n, T>, Finding>,
    ) {
        for (name, key, value) in node.entries(&mut self.findings).unwrap_or_default() {
            if self.findings.note(set_name(name, key)).is_none() {
                continue;
            }
            let elements = self.set_elements(value, &read);
            let set: Arc<Set<T>> = section(self).pool.several(elements);
            let named = Named { set, place: key.place.clone(), is_used: false };
            section(self).named.insert(name.into(), named);
        }
    }

    /// All sets with their names.
    pub(super) fn named_sets(&self) -> Vec<NamedSet> {
        let networks = self.networks.all(Elements::Networks);
        let hosts = self.hosts.all(Elements::Hosts);
        let identities =
            self.groups.all(Elements::Identities).chain(self.identities.all(Elements::Identities));
        let ports = self.ports.all(Elements::Ports);
        let times = self.times.all(Elements::Times);
        networks.chain(hosts).chain(identities).chain(ports).chain(times).collect()
    }

    /// The set of groups that `group:NAME` means, if it is the name of one.
    pub(super) fn groups_named(&mut self, pattern: &IdentityPattern) -> Option<Arc<Set<IdentityPattern>>> {
        match pattern {
            IdentityPattern::Group(name) => self.groups.refer(name),
            _ => None,
        }
    }

    /// Puts the members of sets of groups in the place of their names.
    fn resolve_groups(&mut self) {
        let mut sections = std::mem::take(&mut self.identities.named);
        for named in sections.values_mut() {
            let elements = named.set.elements.iter().flat_map(|pattern| match self.groups_named(pattern) {
                Some(groups) => groups.elements.clone(),
                None => vec![pattern.clone()],
            });
            named.set = Arc::new(Set { id: named.set.id, elements: elements.collect() });
        }
        self.identities.named = sections;
    }

    /// `destination` takes sets of hosts and of networks: a name must mean one of them.
    fn check_shared_names(&mut self) {
        for (name, hosts) in &self.hosts.named {
            if let Some(networks) = self.networks.named.get(name) {
                let first = networks.place.line();
                let message = format!("set `{name}` is in `sets.networks` too, in line {first}");
                let help = "`destination` takes both kinds, so that their names must differ";
                self.findings.push(Finding::mistake(&hosts.place, message).with_help(help));
            }
        }
    }
}

/// Checks the name of a set.
pub(super) fn set_name(name: &str, key: &Node) -> Result<(), Finding> {
    let message = || format!("`{name}` is no name for a set: a letter, then letters, digits and hyphens");
    if is_word(name) { Ok(()) } else { Err(Finding::mistake(&key.place, message())) }
}

/// An element of a set of identities; the authenticator that it names must be configured.
fn identity<'n>(node: &'n Node, context: &Context<'_>) -> Result<Element<'n, IdentityPattern>, Finding> {
    let element = element::identity(node)?;
    if let Element::Own(pattern) = &element
        && let Some(method) = pattern.method()
    {
        known(node, method, context.authenticators, "authenticator")?;
    }
    Ok(element)
}

/// An element of a set of hosts, where a word of one label is told how to be written.
fn host(node: &Node) -> Result<Element<'_, HostPattern>, Finding> {
    match element::host(node)? {
        Element::Word(word) => {
            let message = format!("`{word}` is no element of this set, and sets hold no other sets");
            let help = format!("for a host name of one label write `host:{word}`");
            Err(Finding::mistake(&node.place, message).with_help(help))
        }
        own => Ok(own),
    }
}
