//! The `rules` section.

use std::collections::HashMap;
use std::sync::Arc;

use socks_config::{Finding, Item, Node};

use super::element;
use super::read::Reader;
use crate::commands::Commands;
use crate::decision::Grant;
use crate::rule::{Action, Rule};
use crate::trial::REASONS;

/// The most characters of a rule's name: it stands in every record.
const MAX_NAME: usize = 100;

impl<'a> Reader<'a> {
    /// Reads all rules; each comes with the place of its name.
    pub(super) fn rules(&mut self, node: &'a Node) -> (Vec<Rule>, Vec<&'a Node>) {
        let mut names: HashMap<&str, &Node> = HashMap::new();
        let rules = self.findings.note(node.list()).unwrap_or_default();
        rules.iter().filter_map(|rule| self.rule(rule, &mut names)).unzip()
    }

    fn rule(&mut self, whole: &'a Node, names: &mut HashMap<&'a str, &'a Node>) -> Option<(Rule, &'a Node)> {
        let mut fields = whole.fields(&mut self.findings)?;
        let name = fields.require("name", &mut self.findings).map(|node| (node, rule_name(node, names)));
        let action = fields.require("action", &mut self.findings).map(action);
        let action = action.and_then(|action| self.findings.note(action));
        // A rule whose action is unknown is read on for its other mistakes.
        let mut rule = Rule::new("", action.unwrap_or(Action::Permit));
        rule.line = name.as_ref().map_or(&whole.place, |(node, _)| &node.place).line();
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
        rule.when = self.when(&mut fields);
        let terms = self.permit_keys(&mut fields, &mut rule);
        fields.finish(&mut self.findings);
        let (node, name) = name?;
        let name = self.findings.note(name)?;
        rule.grant = Arc::new(Grant { rule: name.into(), terms });
        rule.written = Some(Item::new(name, whole, |_| false).without("name"));
        Some((rule, node))
    }

    fn commands(&mut self, node: &'a Node) -> Commands {
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "an empty list matches nothing");
        }
        let commands = node.items().iter().filter_map(|item| self.findings.note(element::command(item)));
        commands.fold(Commands::NONE, Commands::with)
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
    element::one_of(
        node,
        &[("permit", Action::Permit), ("deny", Action::Deny), ("log-only", Action::LogOnly)],
    )
}
