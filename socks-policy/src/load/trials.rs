//! The `tests` section.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use socks_config::{Fields, Finding, Node};
use socks_core::wire::{Command, Target};
use socks_core::{Identity, Level, Principal};

use super::element;
use super::read::Reader;
use crate::pattern::is_word;
use crate::rule::{Action, Rule};
use crate::trial::{Answer, REASONS, Reply, Trial, Wish};

/// The facts of a test that make its identity.
struct Who<'a> {
    identity: Option<&'a Node>,
    method: Option<&'a Node>,
    groups: Option<&'a Node>,
    groups_missing: Option<&'a Node>,
    protection: Option<&'a Node>,
}

impl<'a> Reader<'a> {
    /// Reads all tests; the rules that they expect must exist.
    pub(super) fn trials(&mut self, node: &'a Node, rules: &[Rule]) -> Vec<Trial> {
        let rules: HashMap<&str, Action> = rules.iter().map(|rule| (&**rule.name(), rule.action)).collect();
        let mut names: HashMap<&str, usize> = HashMap::new();
        let trials = self.findings.note(node.list()).unwrap_or_default();
        let mut read = Vec::new();
        for trial in trials {
            let Some(trial) = self.trial(trial, &rules) else { continue };
            if let Some(line) = names.insert(trial.0, trial.1.place.line()) {
                let message = format!("test `{}` stands twice, first in line {line}", trial.0);
                self.findings.mistake(&trial.1.place, message);
            }
            read.push(trial.1);
        }
        read
    }

    fn trial(&mut self, node: &'a Node, rules: &HashMap<&str, Action>) -> Option<(&'a str, Trial)> {
        let mut fields = node.fields(&mut self.findings)?;
        let name = fields.require("name", &mut self.findings);
        let given = fields.require("given", &mut self.findings);
        let expected = fields.require("expect", &mut self.findings);
        fields.finish(&mut self.findings);
        let text = name.and_then(|name| self.findings.note(name.text()));
        let place = name.map_or(&node.place, |name| &name.place).clone();
        let expected = expected.and_then(|expected| self.expected(expected, rules));
        let trial = given.and_then(|given| self.given(given));
        let (text, trial, expected) = (text?, trial?, expected?);
        Some((text, Trial { name: text.into(), place, expected, ..trial }))
    }

    /// The facts of a test; name, place and expectation are filled in by the caller.
    fn given(&mut self, node: &'a Node) -> Option<Trial> {
        let mut fields = node.fields(&mut self.findings)?;
        let source = fields.require("source", &mut self.findings).map(element::address);
        let source = source.and_then(|source| self.findings.note(source));
        let listener = self.take(&mut fields, "listener").map(|node| {
            node.text().and_then(|name| self.check_listener(node, name).map(|()| Box::from(name)))
        });
        let listener = listener.and_then(|listener| self.findings.note(listener));
        let who = Who {
            identity: self.take(&mut fields, "identity"),
            method: self.take(&mut fields, "method"),
            groups: self.take(&mut fields, "groups"),
            groups_missing: self.take(&mut fields, "groups-missing"),
            protection: self.take(&mut fields, "protection"),
        };
        let identity = self.who(&who);
        let wish = self.wish(&mut fields);
        let resolves = self.resolves(&mut fields, wish.as_ref());
        let peer = self.peer(&mut fields, wish.as_ref());
        let at = self.take(&mut fields, "at").map(|node| node.parse::<Timestamp>());
        let at = at.and_then(|at| self.findings.note(at));
        fields.finish(&mut self.findings);
        Some(Trial {
            name: Box::default(),
            place: node.place.clone(),
            listener: listener.unwrap_or_default(),
            source: source?,
            identity: identity?,
            wish: wish?,
            peer,
            resolves,
            at,
            expected: Reply { answer: Answer::Refuse("undecided"), logged_by: None },
        })
    }

    fn who(&mut self, who: &Who<'a>) -> Option<Identity> {
        let identity = match who.identity {
            None => Ok(Identity::anonymous().by("none".into())),
            Some(node) => identity(node),
        };
        let mut identity = self.findings.note(identity)?;
        if let Some(node) = who.method {
            let method =
                method(node, &identity).and_then(|name| self.check_method(node, name).map(|()| name));
            identity = identity.by(Arc::from(self.findings.note(method)?));
        } else if let Some(node) = who.identity {
            let checked = self.check_method(node, &identity.method);
            self.findings.note(checked)?;
        }
        for group in who.groups.map(Node::items).unwrap_or_default() {
            identity.groups.extend(self.findings.note(group.text()).map(Box::from));
        }
        if let Some(node) = who.groups_missing {
            let why = groups_missing(node, who.groups);
            identity = identity.without_groups(self.findings.note(why)?);
        }
        identity.level = match who.protection.map(element::level) {
            Some(level) => self.findings.note(level)?,
            None => Level::None,
        };
        Some(identity)
    }

    fn wish(&mut self, fields: &mut Fields<'a>) -> Option<Wish> {
        let command = self.take(fields, "command").map(element::command);
        let command = command.unwrap_or(Ok(Command::Connect));
        let command = self.findings.note(command);
        let node = match command {
            Some(Command::Connect) => fields.require("destination", &mut self.findings),
            _ => self.take(fields, "destination"),
        };
        let target = match node.map(target) {
            Some(target) => Some(self.findings.note(target)?),
            None => None,
        };
        Some(match (command?, target) {
            (Command::Connect, target) => Wish::Connect(target?),
            (Command::Bind, target) => Wish::Bind(target),
            (Command::UdpAssociate, None) => Wish::Associate,
            (Command::UdpAssociate, Some(target)) => Wish::Datagram(target),
        })
    }

    fn resolves(&mut self, fields: &mut Fields<'a>, wish: Option<&Wish>) -> Vec<IpAddr> {
        let Some(node) = self.take(fields, "resolves") else { return Vec::new() };
        if wish.is_some_and(|wish| wish.name().is_none()) {
            self.findings.mistake(&node.place, "only a destination with a host name resolves to addresses");
        }
        node.items().iter().filter_map(|item| self.findings.note(element::address(item))).collect()
    }

    fn peer(&mut self, fields: &mut Fields<'a>, wish: Option<&Wish>) -> Option<SocketAddr> {
        let node = self.take(fields, "peer")?;
        if wish.is_some_and(|wish| !matches!(wish, Wish::Bind(_))) {
            self.findings.mistake(&node.place, "only at a `bind` does a peer arrive");
        }
        let peer = node.text().and_then(|text| {
            text.parse().map_err(|_| node.expected("`ADDRESS:PORT`, with an IPv6 address in brackets"))
        });
        self.findings.note(peer)
    }

    fn expected(&mut self, node: &'a Node, rules: &HashMap<&str, Action>) -> Option<Reply> {
        let mut fields = node.fields(&mut self.findings)?;
        let permit = self.take(&mut fields, "permit");
        let deny = self.take(&mut fields, "deny");
        let logged_by = fields.take("logged-by");
        fields.finish(&mut self.findings);
        let answer = match (permit, deny) {
            (Some(permit), None) => {
                expected_rule(permit, Action::Permit, rules).map(|it| Answer::Permit(it.into()))
            }
            (None, Some(deny)) => expected_denial(deny, rules),
            _ => Err(node.expected("`permit: RULE`, `deny: RULE` or `deny: REASON`")),
        };
        // An empty list says that no rule logs it.
        let names = logged_by.map(Node::items).unwrap_or_default().iter();
        let names: Vec<_> =
            names.map(|name| expected_rule(name, Action::LogOnly, rules).map(Box::from)).collect();
        let names = names.into_iter().filter_map(|name| self.findings.note(name)).collect();
        let answer = self.findings.note(answer)?;
        Some(Reply { answer, logged_by: logged_by.map(|_| names) })
    }
}

/// The identity that a text means, by the authenticator that proves such ones by default.
fn identity(node: &Node) -> Result<Identity, Finding> {
    let text = node.text()?;
    if text == "anonymous" {
        return Ok(Identity::anonymous().by("none".into()));
    }
    if let Some((method, name)) =
        text.split_once(':').filter(|(method, name)| is_word(method) && !name.is_empty())
    {
        return Ok(Identity::user(name).by(method.into()));
    }
    let principal = text.parse::<Principal>().map_err(|error| {
        let help = "an identity of a test is `alice@REALM`, `password:alice` or `anonymous`";
        Finding::mistake(&node.place, format!("`{text}` {error}")).with_help(help)
    })?;
    Ok(Identity::principal(principal).by("gssapi".into()))
}

/// The method of a test, which must not contradict its identity.
fn method<'a>(node: &'a Node, identity: &Identity) -> Result<&'a str, Finding> {
    let name = node.text()?;
    if matches!(identity.name, socks_core::IdentityName::User(_)) && *identity.method != *name {
        let message = format!("identity `{identity}` is not proven by `{name}`");
        return Err(Finding::mistake(&node.place, message));
    }
    Ok(name)
}

/// Why the groups of a test's identity could not be learned; there can be none beside it.
fn groups_missing<'a>(node: &'a Node, groups: Option<&Node>) -> Result<&'a str, Finding> {
    if groups.is_some() {
        let message = "`groups-missing` is for groups that could not be learned, but `groups` tells them";
        return Err(Finding::mistake(&node.place, message));
    }
    let why = node.text()?;
    if why.is_empty() { Err(node.expected("why the groups could not be learned")) } else { Ok(why) }
}

fn target(node: &Node) -> Result<Target, Finding> {
    let text = node.text()?;
    text.parse::<Target>().map_err(|_| node.expected("`HOST:PORT`, with an IPv6 address in brackets"))
}

fn expected_denial(node: &Node, rules: &HashMap<&str, Action>) -> Result<Answer, Finding> {
    let text = node.text()?;
    match REASONS.into_iter().find(|reason| *reason == text) {
        Some(reason) => Ok(Answer::Refuse(reason)),
        None => expected_rule(node, Action::Deny, rules).map(|rule| Answer::Deny(rule.into())),
    }
}

fn expected_rule<'a>(
    node: &'a Node,
    action: Action,
    rules: &HashMap<&str, Action>,
) -> Result<&'a str, Finding> {
    let name = node.text()?;
    match rules.get(name) {
        Some(own) if *own == action => Ok(name),
        Some(own) => Err(Finding::mistake(&node.place, format!("rule `{name}` is a {own} rule"))),
        None => {
            let mut known: Vec<&str> = rules.keys().copied().collect();
            if action == Action::Deny {
                known.extend(REASONS);
            }
            known.sort_unstable();
            Err(Finding::mistake(&node.place, format!("rule `{name}` is missing")).with_nearest(name, &known))
        }
    }
}
