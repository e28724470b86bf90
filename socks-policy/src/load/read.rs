//! What all sections share: the sets, the names that may be referred to, and conditions.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use socks_config::{Fields, Finding, Findings, Node, Place};

use super::Context;
use super::element::{self, Element};
use crate::pattern::{HostPattern, IdentityPattern, PortRange};
use crate::set::{Condition, Elements, NamedSet, Set, Sets};
use crate::times::Window;

/// A policy file that is being read.
pub(super) struct Reader<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) findings: Findings,
    pub(super) networks: Section<IpNet>,
    pub(super) hosts: Section<HostPattern>,
    pub(super) identities: Section<IdentityPattern>,
    /// Names for groups; their sets are numbered among those of `identities`.
    pub(super) groups: Section<IdentityPattern>,
    pub(super) ports: Section<PortRange>,
    pub(super) times: Section<Window>,
    pub(super) words: Sets<Box<str>>,
    /// How many elements came from files that are included.
    pub(super) included: usize,
}

/// The named sets of one kind.
pub(super) struct Section<T> {
    /// Its key under `sets`.
    pub(super) key: &'static str,
    pub(super) pool: Sets<T>,
    pub(super) named: BTreeMap<Box<str>, Named<T>>,
}

/// A named set.
pub(super) struct Named<T> {
    pub(super) set: Arc<Set<T>>,
    pub(super) place: Place,
    pub(super) is_used: bool,
}

impl<T> Section<T> {
    fn new(key: &'static str) -> Self {
        Self { key, pool: Sets::default(), named: BTreeMap::new() }
    }

    /// The set of that name, which is used from now on.
    pub(super) fn refer(&mut self, name: &str) -> Option<Arc<Set<T>>> {
        let named = self.named.get_mut(name)?;
        named.is_used = true;
        Some(Arc::clone(&named.set))
    }

    /// All of them.
    pub(super) fn all(&self, of: impl Fn(Arc<Set<T>>) -> Elements) -> impl Iterator<Item = NamedSet> {
        self.named.iter().map(move |(name, named)| NamedSet {
            name: format!("{}.{name}", self.key).into(),
            elements: of(Arc::clone(&named.set)),
        })
    }

    /// The mistake of a name that no set has.
    pub(super) fn missing(&self, node: &Node, name: &str) -> Finding {
        let known: Vec<&str> = self.named.keys().map(|name| &**name).collect();
        let message = format!("set `{name}` is missing in `sets.{}`", self.key);
        Finding::mistake(&node.place, message).with_nearest(name, &known)
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        Self {
            context,
            findings: Findings::default(),
            networks: Section::new("networks"),
            hosts: Section::new("hosts"),
            identities: Section::new("identities"),
            groups: Section::new("groups"),
            ports: Section::new("ports"),
            times: Section::new("times"),
            words: Sets::default(),
            included: 0,
        }
    }

    /// The value of a key; a key without a value is a mistake here, because a missing one matches everything.
    pub(super) fn take(&mut self, fields: &mut Fields<'a>, key: &'static str) -> Option<&'a Node> {
        let value = fields.take(key);
        if let (None, Some(node)) = (value, fields.key(key)) {
            self.findings.mistake(&node.place, format!("key `{key}` has no value"));
        }
        value
    }

    pub(super) fn source(&mut self, fields: &mut Fields<'a>) -> Option<Condition<IpNet>> {
        let node = self.take(fields, "source")?;
        self.condition(node, |reader, node| match element::network(node)? {
            Element::Own(network) => Ok(reader.networks.pool.single(network)),
            Element::Word(name) => {
                reader.networks.refer(name).ok_or_else(|| reader.networks.missing(node, name))
            }
        })
    }

    pub(super) fn identity(&mut self, fields: &mut Fields<'a>) -> Option<Condition<IdentityPattern>> {
        let node = self.take(fields, "identity")?;
        self.condition(node, |reader, node| match element::identity(node)? {
            Element::Own(pattern) => {
                if let Some(method) = pattern.method() {
                    reader.check_method(node, method)?;
                }
                let named = reader.groups_named(&pattern);
                Ok(named.unwrap_or_else(|| reader.identities.pool.single(pattern)))
            }
            Element::Word("anonymous") if !reader.identities.named.contains_key("anonymous") => {
                Err(Finding::mistake(&node.place, "`anonymous` is nobody's identity").with_help(
                    "name the authenticator in `method` to mean clients that nobody asked who they are",
                ))
            }
            Element::Word(name) => {
                reader.identities.refer(name).ok_or_else(|| reader.identities.missing(node, name))
            }
        })
    }

    pub(super) fn destination(&mut self, fields: &mut Fields<'a>) -> Option<Condition<HostPattern>> {
        let node = self.take(fields, "destination")?;
        self.condition(node, |reader, node| match element::host(node)? {
            Element::Own(host) => Ok(reader.hosts.pool.single(host)),
            Element::Word(name) => reader.refer_host(node, name),
        })
    }

    /// A set of hosts, or one of networks.
    fn refer_host(&mut self, node: &Node, name: &str) -> Result<Arc<Set<HostPattern>>, Finding> {
        if let Some(set) = self.hosts.refer(name) {
            return Ok(set);
        }
        let key = format!("networks/{name}");
        if let Some(networks) = self.networks.refer(name) {
            if let Some(set) = self.hosts.refer(&key) {
                return Ok(set);
            }
            let set = self
                .hosts
                .pool
                .several(networks.elements.iter().map(|it| HostPattern::Network(*it)).collect());
            let named = Named { set: Arc::clone(&set), place: node.place.clone(), is_used: true };
            self.hosts.named.insert(key.into(), named);
            return Ok(set);
        }
        let finding = self.hosts.missing(node, name);
        let has_help = finding.help.is_some();
        let help = format!("for a host name of one label write `host:{name}`");
        Err(if has_help { finding } else { finding.with_help(help) })
    }

    pub(super) fn port(&mut self, fields: &mut Fields<'a>) -> Option<Condition<PortRange>> {
        let node = self.take(fields, "port")?;
        self.condition(node, |reader, node| match element::port(node)? {
            Element::Own(range) => Ok(reader.ports.pool.single(range)),
            Element::Word(name) => reader.ports.refer(name).ok_or_else(|| reader.ports.missing(node, name)),
        })
    }

    pub(super) fn listener(&mut self, fields: &mut Fields<'a>) -> Option<Condition<Box<str>>> {
        let node = self.take(fields, "listener")?;
        self.condition(node, |reader, node| {
            let name = node.text()?;
            reader.check_listener(node, name)?;
            Ok(reader.words.single(name.into()))
        })
    }

    pub(super) fn method(&mut self, fields: &mut Fields<'a>) -> Option<Condition<Box<str>>> {
        let node = self.take(fields, "method")?;
        self.condition(node, |reader, node| {
            let name = node.text()?;
            reader.check_method(node, name)?;
            Ok(reader.words.single(name.into()))
        })
    }

    pub(super) fn check_method(&self, node: &Node, name: &str) -> Result<(), Finding> {
        known(node, name, self.context.authenticators, "authenticator")
    }

    pub(super) fn check_listener(&self, node: &Node, name: &str) -> Result<(), Finding> {
        known(node, name, self.context.listeners, "listener")
    }

    /// A condition: one thing or a list of them.
    fn condition<T>(
        &mut self,
        node: &'a Node,
        read: impl Fn(&mut Self, &'a Node) -> Result<Arc<Set<T>>, Finding>,
    ) -> Option<Condition<T>> {
        let items = node.items();
        if items.is_empty() {
            self.findings.mistake(&node.place, "an empty list matches nothing");
            return None;
        }
        let mut sets = Vec::new();
        for item in items {
            let set = read(self, item);
            sets.extend(self.findings.note(set));
        }
        let texts: Vec<&str> = items.iter().filter_map(|item| item.text().ok()).collect();
        Some(Condition { sets, text: texts.join(", ").into() })
    }
}

/// Checks a name against those that are known.
pub(super) fn known(node: &Node, name: &str, known: Option<&[&str]>, what: &str) -> Result<(), Finding> {
    match known {
        Some(known) if !known.contains(&name) => {
            let finding = Finding::mistake(&node.place, format!("{what} `{name}` is not configured"));
            Err(finding.with_nearest(name, known))
        }
        _ => Ok(()),
    }
}
