//! How one policy differs from another, for a person who is about to exchange them.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;

use socks_config::{Change, KeyChange, Way};

use crate::Ruleset;
use crate::rule::Rule;
use crate::set::{Elements, NamedSet};

/// How many elements of a set are named.
const FEW: usize = 5;

/// How a policy differs from the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyChanges {
    /// Rules by their names, with those that have changed their places among the others, and those that a rule before
    /// them leaves nothing any more.
    pub rules: Vec<Change>,
    /// Rows of `clients`.
    pub clients: Vec<Change>,
    /// Named sets, with the number of their elements and a few of those that came and went.
    pub sets: Vec<Change>,
}

impl Ruleset {
    /// How `now` differs from this policy.
    pub fn changes_to(&self, now: &Self) -> PolicyChanges {
        PolicyChanges {
            rules: self.rule_changes(now),
            clients: self.row_changes(now),
            sets: self.set_changes(now),
        }
    }

    fn rule_changes(&self, now: &Self) -> Vec<Change> {
        let items = |ruleset: &Self| -> Vec<_> {
            ruleset.rules.iter().filter_map(|rule| rule.written.clone()).collect()
        };
        let mut changes = Change::between(&items(self), &items(now));
        changes.extend(self.moves(now));
        let before = self.shadowed();
        let newly = now.shadowed().into_iter().filter(|(rule, _)| !before.contains_key(rule));
        let mut newly: Vec<_> = newly.collect();
        newly.sort_unstable_by_key(|(_, by)| by.line);
        changes.extend(newly.into_iter().map(|(rule, by)| {
            let by = format!("{} (line {})", by.name(), by.line);
            Change::new(Way::Shadowed, rule).with(KeyChange::new("shadowed-by", None, Some(by)))
        }));
        changes
    }

    /// The rules that never match, with those because of which.
    fn shadowed(&self) -> HashMap<&str, &Rule> {
        let rules = (0..).zip(&self.rules);
        rules.filter_map(|(number, rule)| Some((name_of(rule), self.covering(number)?))).collect()
    }

    /// The fewest rules of both whose moves make the one order of the other.
    fn moves(&self, now: &Self) -> Vec<Change> {
        let before: HashMap<&str, usize> =
            (1..).zip(&self.rules).map(|(at, rule)| (name_of(rule), at)).collect();
        let both: Vec<(&str, usize, usize)> = (1..)
            .zip(&now.rules)
            .filter_map(|(at, rule)| Some((name_of(rule), *before.get(name_of(rule))?, at)))
            .collect();
        let places: Vec<usize> = both.iter().map(|(_, before, _)| *before).collect();
        let stays = longest_rise(&places);
        let moved = both.iter().filter(|(_, before, _)| !stays.contains(before));
        moved
            .map(|(name, before, at)| {
                let place = KeyChange::new("place", Some(before.to_string()), Some(at.to_string()));
                Change::new(Way::Moved, name).with(place)
            })
            .collect()
    }

    /// Rows have no names: those that are the same at both ends stay, and what is between is compared as it stands.
    fn row_changes(&self, now: &Self) -> Vec<Change> {
        let rows = |ruleset: &Self| -> Vec<Box<str>> {
            ruleset.clients.iter().map(|row| row.written.clone()).collect()
        };
        let (before, after) = (rows(self), rows(now));
        let same = |pairs: &mut dyn Iterator<Item = (&Box<str>, &Box<str>)>| {
            pairs.take_while(|(before, after)| before == after).count()
        };
        let head = same(&mut before.iter().zip(&after));
        let rest = before.len().min(after.len()) - head;
        let tail = same(&mut before.iter().rev().zip(after.iter().rev()).take(rest));
        let old = before.get(head..before.len() - tail).unwrap_or_default();
        let new = after.get(head..after.len() - tail).unwrap_or_default();
        (0..old.len().max(new.len()))
            .filter_map(|at| {
                let [old, new] = [old, new].map(|rows| rows.get(at).map(ToString::to_string));
                let change = match (&old, &new) {
                    (Some(_), Some(_)) if old == new => return None,
                    (Some(_), Some(_)) => Way::Changed,
                    (Some(_), None) => Way::Removed,
                    _ => Way::Added,
                };
                let name = format!("row {}", head + at + 1);
                Some(Change::new(change, &name).with(KeyChange::new("", old, new)))
            })
            .collect()
    }

    fn set_changes(&self, now: &Self) -> Vec<Change> {
        let old: HashMap<&str, &NamedSet> = self.sets.iter().map(|set| (&*set.name, set)).collect();
        let new: HashSet<&str> = now.sets.iter().map(|set| &*set.name).collect();
        let changed = now.sets.iter().filter_map(|set| match old.get(&*set.name) {
            None => {
                let count = KeyChange::new("elements", None, Some(set.elements.count().to_string()));
                Some(Change::new(Way::Added, &set.name).with(count))
            }
            Some(old) => Change::of_keys(&set.name, old.elements.changes_to(&set.elements)),
        });
        let gone = self.sets.iter().filter(|set| !new.contains(&*set.name));
        changed.chain(gone.map(|set| Change::new(Way::Removed, &set.name))).collect()
    }
}

impl Elements {
    fn count(&self) -> usize {
        match self {
            Self::Networks(set) => set.elements.len(),
            Self::Hosts(set) => set.elements.len(),
            Self::Identities(set) => set.elements.len(),
            Self::Ports(set) => set.elements.len(),
            Self::Times(set) => set.elements.len(),
        }
    }

    fn changes_to(&self, now: &Self) -> Vec<KeyChange> {
        match (self, now) {
            (Self::Networks(before), Self::Networks(now)) => differ(&before.elements, &now.elements),
            (Self::Hosts(before), Self::Hosts(now)) => differ(&before.elements, &now.elements),
            (Self::Identities(before), Self::Identities(now)) => differ(&before.elements, &now.elements),
            (Self::Ports(before), Self::Ports(now)) => differ(&before.elements, &now.elements),
            (Self::Times(before), Self::Times(now)) => {
                let [before, now] =
                    [before, now].map(|set| set.elements.iter().map(ToString::to_string).collect::<Vec<_>>());
                differ(&before, &now)
            }
            // Names begin with the section.
            _ => Vec::new(),
        }
    }
}

/// How many elements there are, and a few of those that came and went.
fn differ<T: Eq + Hash + Display>(before: &[T], now: &[T]) -> Vec<KeyChange> {
    let [old, new] = [before, now].map(|elements| elements.iter().collect::<HashSet<_>>());
    let lacking = |of: &[T], all: &HashSet<&T>| -> Option<String> {
        let lacking = || of.iter().filter(|element| !all.contains(element));
        let count = lacking().count();
        let mut few: Vec<String> = lacking().take(FEW).map(ToString::to_string).collect();
        if count > FEW {
            few.push(format!("and {} more", count - FEW));
        }
        (count > 0).then(|| few.join(", "))
    };
    let (gone, come) = (lacking(before, &new), lacking(now, &old));
    if gone.is_none() && come.is_none() {
        return Vec::new();
    }
    let counts = [old.len(), new.len()].map(|count| Some(count.to_string()));
    let [old, new] = counts;
    let come = come.map(|come| KeyChange::new("more", None, Some(come)));
    let gone = gone.map(|gone| KeyChange::new("less", Some(gone), None));
    [KeyChange::new("elements", old, new)].into_iter().chain(come).chain(gone).collect()
}

fn name_of(rule: &Rule) -> &str {
    rule.name()
}

/// The members of a longest rising part of the sequence, which has no number twice.
fn longest_rise(sequence: &[usize]) -> HashSet<usize> {
    // The smallest number with which a part of each length ends, and what comes before each number in its part.
    let (mut ends, mut before) = (Vec::<usize>::new(), HashMap::<usize, usize>::new());
    for number in sequence {
        let place = ends.partition_point(|end| end < number);
        if let Some(previous) = place.checked_sub(1).and_then(|place| ends.get(place)) {
            before.insert(*number, *previous);
        }
        match ends.get_mut(place) {
            Some(end) => *end = *number,
            None => ends.push(*number),
        }
    }
    let last = ends.last().copied();
    std::iter::successors(last, |number| before.get(number).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Context;
    use socks_config::Document;

    fn ruleset(text: &str) -> Ruleset {
        let document = Document::parse("policy.yaml", format!("version: 1\n{text}")).unwrap();
        Ruleset::load(&document, &Context::default()).unwrap().ruleset
    }

    /// Each change in one line.
    fn shown(changes: &[Change]) -> Vec<String> {
        let key = |key: &KeyChange| {
            let or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            format!(" {}: {} > {}", key.key, or_nothing(&key.before), or_nothing(&key.after))
        };
        changes
            .iter()
            .map(|change| {
                let keys: String = change.keys.iter().map(key).collect();
                format!("{:?} {}{keys}", change.change, change.name)
            })
            .collect()
    }

    const CLIENTS: &str = "clients: [{ methods: [none] }]\n";

    fn rules(rules: &str) -> Ruleset {
        ruleset(&format!("{CLIENTS}rules:\n{rules}"))
    }

    #[test]
    fn a_policy_does_not_differ_from_itself() {
        let text = format!(
            "sets: {{ ports: {{ web: [80] }} }}\n{CLIENTS}rules: [{{ name: a, action: permit, port: web }}]\n"
        );
        assert_eq!(ruleset(&text).changes_to(&ruleset(&text)), PolicyChanges::default());
    }

    #[test]
    fn rules_come_go_change_and_lose_their_effect() {
        let before = rules(
            "  - { name: a, action: permit, port: 80, limits: { sessions: 2 } }\n  - { name: b, action: deny, port: 25 }\n  - { name: c, action: permit, port: 443 }\n",
        );
        let now = rules(
            "  - { name: all, action: permit, port: 100 }\n  - { name: a, action: permit, port: [80, 8080], limits: { sessions: 3 } }\n  - { name: c, action: permit, port: 100 }\n",
        );
        let expected = [
            "Added all",
            "Changed a port: 80 > [80, 8080] limits.sessions: 2 > 3",
            "Changed c port: 443 > 100",
            "Removed b",
            "Shadowed c shadowed-by: - > all (line 4)",
        ];
        assert_eq!(shown(&before.changes_to(&now).rules), expected);
    }

    #[test]
    fn what_moves_is_told_and_what_others_moves_shift_is_not() {
        let of = |names: &[&str]| {
            let rules_of = |name: &&str| format!("  - {{ name: {name}, action: permit, port: 1 }}\n");
            rules(&names.iter().map(rules_of).collect::<String>())
        };
        let moved = |before: &[&str], now: &[&str]| {
            let changes = of(before).changes_to(&of(now)).rules;
            shown(&changes.into_iter().filter(|change| change.change == Way::Moved).collect::<Vec<_>>())
        };
        assert_eq!(moved(&["a", "b", "c", "d"], &["d", "a", "b", "c"]), ["Moved d place: 4 > 1"]);
        assert_eq!(moved(&["a", "b", "c"], &["b", "c"]), [""; 0]);
        assert_eq!(moved(&["a", "b", "c"], &["new", "a", "b", "c"]), [""; 0]);
        assert_eq!(moved(&["a", "b"], &["b", "a"]).len(), 1);
    }

    #[test]
    fn rows_are_compared_between_those_that_stay() {
        let of = |rows: &str| ruleset(&format!("clients: [{rows}]\nrules: []\n"));
        let (a, b, c) =
            ("{ source: 10.0.0.0/8, methods: [none] }", "{ methods: [none] }", "{ methods: [password] }");
        let changes = |before: &[&str], now: &[&str]| {
            shown(&of(&before.join(", ")).changes_to(&of(&now.join(", "))).clients)
        };
        assert_eq!(changes(&[a, c], &[a, b, c]), [format!("Added row 2 : - > {b}")]);
        assert_eq!(changes(&[a, b, c], &[a, c]), [format!("Removed row 2 : {b} > -")]);
        assert_eq!(changes(&[a, b], &[c, b]), [format!("Changed row 1 : {a} > {c}")]);
        assert_eq!(changes(&[b, b], &[b]).len(), 1);
    }

    #[test]
    fn sets_tell_how_many_came_and_a_few_of_them() {
        let of = |sets: &str| ruleset(&format!("sets: {sets}\n{CLIENTS}rules: []\n"));
        let before = of("{ hosts: { git: [a.example, '*.b.example'] }, ports: { web: [80], old: [1] } }");
        let now = of(
            "{ hosts: { git: ['*.b.example', c.example, d.example, e.example, f.example, g.example, h.example] }, ports: { web: [80, 8000-8080] }, identities: { staff: [alice@A, '*@B', 'password:x'] } }",
        );
        let expected = [
            "Changed hosts.git elements: 2 > 7 more: - > c.example, d.example, e.example, f.example, g.example, and 1 more less: a.example > -",
            "Added identities.staff elements: - > 3",
            "Changed ports.web elements: 1 > 2 more: - > 8000-8080",
            "Removed ports.old",
        ];
        assert_eq!(shown(&before.changes_to(&now).sets), expected);
        let back = shown(&now.changes_to(&of("{ identities: { staff: [bob/admin@A] } }")).sets);
        assert_eq!(
            back[0],
            "Changed identities.staff elements: 3 > 1 more: - > bob/admin@A less: alice@A, *@B, password:x > -"
        );
    }
}
