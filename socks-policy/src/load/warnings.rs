//! What is no mistake, and probably not meant.

use socks_config::{Finding, Node};

use super::read::{Reader, Section};
use crate::Ruleset;

impl Reader<'_> {
    /// Warns of rules that never match or have ended, and of sets that nobody uses.
    pub(super) fn warn(&mut self, ruleset: &Ruleset, places: &[&Node]) {
        for ((number, rule), node) in (0..).zip(&ruleset.rules).zip(places) {
            if rule.has_expired(self.context.now) {
                let message = format!("rule `{}` has expired", rule.name());
                self.findings.warning(&node.place, message);
            }
            if let Some(earlier) = ruleset.covering(number) {
                let (name, line) = (earlier.name(), earlier.line);
                let message = format!("rule `{}` never matches", rule.name());
                let help = format!("rule `{name}` in line {line} matches whenever it would");
                self.findings.push(Finding::warning(&node.place, message).with_help(help));
            }
        }
        let unused = [
            unused(&self.networks),
            unused(&self.hosts),
            unused(&self.groups),
            unused(&self.identities),
            unused(&self.ports),
            unused(&self.times),
        ];
        self.findings.extend(unused.into_iter().flatten());
    }
}

fn unused<T>(section: &Section<T>) -> Vec<Finding> {
    let unused = section.named.iter().filter(|(_, set)| !set.is_used);
    unused.map(|(name, set)| Finding::warning(&set.place, format!("set `{name}` is not used"))).collect()
}
