//! Reading a policy file: section by section and rule by rule, so that one mistake hides no other.

mod clients;
mod egress;
mod element;
mod include;
mod read;
mod rules;
mod sets;
mod terms;
mod times;
mod trials;
mod warnings;

use std::path::Path;

use jiff::Timestamp;
use socks_config::{Document, Fields, Finding, Findings, Node};

pub use self::element::plain_network;
use self::read::Reader;
use crate::Ruleset;

/// What a policy file may refer to beside itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The configured names of the authenticators; `None`: unknown, and not checked.
    pub authenticators: Option<&'a [&'a str]>,
    /// The names of the listeners; `None`: unknown, and not checked.
    pub listeners: Option<&'a [&'a str]>,
    /// The names of the host's network interfaces; `None`: unknown, and not warned of.
    pub interfaces: Option<&'a [String]>,
    /// The folder that the files which sets include are relative to; `None`: nothing can be included.
    pub base: Option<&'a Path>,
    /// The names of the gateways that rules may go through; `None`: unknown, and not checked.
    pub upstreams: Option<&'a [&'a str]>,
    /// The time to load for: rules that have ended by then are warned of, and tests are judged at it.
    pub now: Timestamp,
}

/// A ruleset without mistakes, and what its author should look at.
#[derive(Debug)]
pub struct Loaded {
    /// The ruleset.
    pub ruleset: Ruleset,
    /// Warnings, each with its place.
    pub warnings: Findings,
}

impl Ruleset {
    /// Reads and compiles a policy file, with the files that its sets include.
    ///
    /// # Errors
    /// All mistakes of the file, each with its place, and the warnings that were found until then.
    pub fn load(document: &Document, context: &Context<'_>) -> Result<Loaded, Findings> {
        let mut reader = Reader::new(context);
        let read = reader.document(&document.root);
        match read.filter(|_| !reader.findings.has_mistakes()) {
            Some((ruleset, places)) => {
                reader.warn(&ruleset, &places);
                reader.findings.sort();
                Ok(Loaded { ruleset, warnings: reader.findings })
            }
            None => {
                reader.findings.sort();
                Err(reader.findings)
            }
        }
    }
}

impl<'a> Reader<'a> {
    /// The whole file; rules are given with the places of their names.
    fn document(&mut self, root: &'a Node) -> Option<(Ruleset, Vec<&'a Node>)> {
        let mut fields = root.fields(&mut self.findings)?;
        self.version(&mut fields);
        if let Some(sets) = self.take(&mut fields, "sets") {
            self.sets(sets);
        }
        let clients = self.section(&mut fields, "clients", "nobody would be let in");
        let clients = clients.map(|clients| self.clients(clients)).unwrap_or_default();
        let rules = self.section(&mut fields, "rules", "nothing would be permitted");
        let (rules, places) = rules.map(|rules| self.rules(rules)).unwrap_or_default();
        let trials =
            self.take(&mut fields, "tests").map(|tests| self.trials(tests, &rules)).unwrap_or_default();
        fields.finish(&mut self.findings);
        let ruleset = Ruleset::new(rules, clients, trials, self.context.now).with_sets(self.named_sets());
        Some((ruleset, places))
    }

    fn version(&mut self, fields: &mut Fields<'a>) {
        let Some(version) = fields.require("version", &mut self.findings) else { return };
        if version.text() != Ok("1") {
            self.findings.push(version.expected("`1`, the only version of the policy language"));
        }
    }

    /// A section that must be there; an empty one is written as `[]`.
    fn section(&mut self, fields: &mut Fields<'a>, key: &'static str, means: &str) -> Option<&'a Node> {
        if fields.key(key).is_none() {
            let message = format!("missing key `{key}`: {means}");
            let _absent = fields.take(key);
            let help = format!("if that is meant, write `{key}: []`");
            self.findings.push(Finding::mistake(&fields.map().place, message).with_help(help));
            return None;
        }
        self.take(fields, key)
    }
}

#[cfg(test)]
mod tests;
