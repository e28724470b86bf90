//! The `rules` section.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use socks_config::{Fields, Finding, Node, value};

use super::element;
use super::read::Reader;
use crate::commands::Commands;
use crate::decision::Grant;
use crate::rule::{Action, Rule};
use crate::trial::REASONS;
use crate::{Egress, Terms, TicketEnd};

/// The most characters of a rule's name: it stands in every record.
const MAX_NAME: usize = 100;

impl<'a> Reader<'a> {
    /// Reads all rules; each comes with the place of its name.
    pub(super) fn rules(&mut self, node: &'a Node) -> (Vec<Rule>, Vec<&'a Node>) {
        let mut names: HashMap<&str, &Node> = HashMap::new();
        let rules = self.findings.note(node.list()).unwrap_or_default();
        rules.iter().filter_map(|rule| self.rule(rule, &mut names)).unzip()
    }

    fn rule(&mut self, node: &'a Node, names: &mut HashMap<&'a str, &'a Node>) -> Option<(Rule, &'a Node)> {
        let mut fields = node.fields(&mut self.findings)?;
        let name = fields.require("name", &mut self.findings).map(|node| (node, rule_name(node, names)));
        let action = fields.require("action", &mut self.findings).map(action);
        let action = action.and_then(|action| self.findings.note(action));
        // A rule whose action is unknown is read on for its other mistakes.
        let mut rule = Rule::new("", action.unwrap_or(Action::Permit));
        rule.line = name.as_ref().map_or(&node.place, |(node, _)| &node.place).line();
        rule.source = self.source(&mut fields);
        rule.listener = self.listener(&mut fields);
        rule.identity = self.identity(&mut fields);
        rule.method = self.method(&mut fields);
        if let Some(level) = self.take(&mut fields, "protection").map(element::level) {
            rule.protection = self.findings.note(level).unwrap_or(rule.protection);
        }
        if let Some(commands) = self.take(&mut fields, "command") {
            rule.commands = self.commands(commands);
        }
        rule.destination = self.destination(&mut fields);
        rule.port = self.port(&mut fields);
        let terms = self.permit_keys(&mut fields, &mut rule);
        fields.finish(&mut self.findings);
        let (node, name) = name?;
        let name = self.findings.note(name)?;
        rule.grant = Arc::new(Grant { rule: name.into(), terms });
        Some((rule, node))
    }

    fn commands(&mut self, node: &'a Node) -> Commands {
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "an empty list matches nothing");
        }
        let commands = node.items().iter().filter_map(|item| self.findings.note(element::command(item)));
        commands.fold(Commands::NONE, Commands::with)
    }

    /// The keys that only a permit rule can have.
    fn permit_keys(&mut self, fields: &mut Fields<'a>, rule: &mut Rule) -> Terms {
        if !rule.permits() {
            for key in ["special-use", "expires", "limits", "egress", "ticket-end"] {
                if let (Some(_), Some(node)) = (fields.take(key), fields.key(key)) {
                    let message = format!("key `{key}` is for permit rules: a deny rule always denies");
                    self.findings.mistake(&node.place, message);
                }
            }
            return Terms::default();
        }
        if let Some(node) = self.take(fields, "special-use") {
            let permit = element::one_of(node, &[("permit", true)]);
            rule.special_use = self.findings.note(permit).unwrap_or(false);
        }
        if let Some(end) = self.take(fields, "expires").map(element::end) {
            rule.expires = self.findings.note(end);
        }
        let mut terms = self.take(fields, "limits").map(|node| self.limits(node)).unwrap_or_default();
        if let Some(node) = self.take(fields, "egress") {
            terms.egress = self.egress(node);
        }
        if let Some(node) = self.take(fields, "ticket-end") {
            let ends = [("keep", TicketEnd::Keep), ("drain", TicketEnd::Drain), ("close", TicketEnd::Close)];
            terms.ticket_end = self.findings.note(element::one_of(node, &ends)).unwrap_or_default();
        }
        terms
    }

    fn limits(&mut self, node: &'a Node) -> Terms {
        let mut terms = Terms::default();
        let Some(mut fields) = node.fields(&mut self.findings) else { return terms };
        let connect = self.take(&mut fields, "connect-timeout").map(duration);
        terms.connect_timeout = connect.and_then(|time| self.findings.note(time));
        let idle = self.take(&mut fields, "idle-timeout").map(duration);
        terms.idle_timeout = idle.and_then(|time| self.findings.note(time));
        let sessions = self.take(&mut fields, "sessions").map(sessions);
        terms.sessions = sessions.and_then(|sessions| self.findings.note(sessions));
        fields.finish(&mut self.findings);
        terms
    }

    fn egress(&mut self, node: &'a Node) -> Egress {
        let mut egress = Egress::default();
        for item in node.items() {
            let address = egress_address(item);
            let is_second = match self.findings.note(address) {
                Some(IpAddr::V4(ip)) => egress.v4.replace(ip).is_some(),
                Some(IpAddr::V6(ip)) => egress.v6.replace(ip).is_some(),
                None => false,
            };
            if is_second {
                self.findings.mistake(&item.place, "a second egress address of the same family");
            }
        }
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "an empty list names no address");
        }
        egress
    }
}

fn rule_name<'a>(node: &'a Node, names: &mut HashMap<&'a str, &'a Node>) -> Result<&'a str, Finding> {
    let name = node.text()?;
    let refuse = |why: String| Err(Finding::mistake(&node.place, format!("rule name `{name}` {why}")));
    if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
        return refuse(format!("is empty, longer than {MAX_NAME} characters, or has control characters"));
    }
    if REASONS.contains(&name) {
        return refuse("is a reason that tests name instead of a rule".into());
    }
    if let Some(first) = names.get(name) {
        return refuse(format!("stands twice, first in line {}", first.place.line()));
    }
    names.insert(name, node);
    Ok(name)
}

fn action(node: &Node) -> Result<Action, Finding> {
    element::one_of(node, &[("permit", Action::Permit), ("deny", Action::Deny)])
}

fn duration(node: &Node) -> Result<Duration, Finding> {
    let time = value::duration(node)?;
    if time.is_zero() {
        Err(Finding::mistake(&node.place, "no time at all permits nothing"))
    } else {
        Ok(time)
    }
}

fn sessions(node: &Node) -> Result<u32, Finding> {
    let text = node.text()?;
    let is_number = text.bytes().all(|octet| octet.is_ascii_digit());
    let number = is_number.then(|| text.parse().ok()).flatten().filter(|number| *number > 0);
    number.ok_or_else(|| node.expected("a number of sessions, 1 or more"))
}

/// An address that a connection can come from.
fn egress_address(node: &Node) -> Result<IpAddr, Finding> {
    let address = element::address(node)?;
    let is_mapped = address.to_canonical() != address;
    if is_mapped || address.is_unspecified() || address.is_multicast() {
        return Err(node.expected("an address that the gateway can send from"));
    }
    Ok(address)
}
