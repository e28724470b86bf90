//! A mapping whose keys the program knows: each is taken once, and what is left over is a mistake.

use std::collections::HashMap;

use crate::{Finding, Findings, Node, Value};

/// The fields of a mapping.
///
/// Take every key that may be there, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct Fields<'a> {
    map: &'a Node,
    entries: Vec<(&'a str, &'a Node, &'a Node)>,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(map: &'a Node, entries: Vec<(&'a str, &'a Node, &'a Node)>) -> Self {
        Self { map, entries, asked: Vec::new() }
    }

    /// The mapping itself.
    pub fn map(&self) -> &'a Node {
        self.map
    }

    /// The value of a key; a key without a value counts as absent.
    pub fn take(&mut self, key: &'static str) -> Option<&'a Node> {
        self.asked.push(key);
        let (_, _, value) = self.entries.iter().find(|(name, _, _)| *name == key)?;
        (!value.is_null()).then_some(value)
    }

    /// The value of a key that must be there; notes a mistake when it is not.
    pub fn require(&mut self, key: &'static str, findings: &mut Findings) -> Option<&'a Node> {
        let value = self.take(key);
        if value.is_none() {
            let place = self.key(key).map_or(&self.map.place, |key| &key.place);
            findings.mistake(place, format!("missing key `{key}`"));
        }
        value
    }

    /// The key itself, where it stands in the file.
    pub fn key(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|(name, _, _)| *name == key).map(|(_, key, _)| *key)
    }

    /// Notes each key that was never asked for as a mistake.
    pub fn finish(self, findings: &mut Findings) {
        for (name, key, _) in &self.entries {
            if !self.asked.contains(name) {
                findings.push(unknown_key(key, name, &self.asked));
            }
        }
    }
}

/// The mistake of a key that nobody knows.
fn unknown_key(key: &Node, name: &str, known: &[&str]) -> Finding {
    let finding = Finding::mistake(&key.place, format!("unknown key `{name}`"));
    match crate::nearest(name, known) {
        Some(_) => finding.with_nearest(name, known),
        None if known.is_empty() => finding.with_help("no key is known here"),
        None => finding.with_help(format!("known keys: {}", list_words(known))),
    }
}

/// Words in backticks, with commas between them.
pub(crate) fn list_words(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// A mapping's entries with their keys' texts; see [`Node::entries`].
pub(crate) fn entries<'a>(
    map: &'a Node,
    findings: &mut Findings,
) -> Option<Vec<(&'a str, &'a Node, &'a Node)>> {
    let Value::Map(pairs) = &map.value else {
        findings.push(map.expected("a mapping"));
        return None;
    };
    let mut first = HashMap::with_capacity(pairs.len());
    let mut entries = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let Value::Scalar(scalar) = &key.value else {
            findings.mistake(&key.place, format!("expected text as a key, found {}", key.describe()));
            continue;
        };
        match first.insert(scalar.text(), key) {
            None => entries.push((scalar.text(), key, value)),
            Some(earlier) => {
                findings.push(duplicate_key(key, earlier));
                first.insert(scalar.text(), earlier);
            }
        }
    }
    Some(entries)
}

/// The mistake of a key that stands twice in one mapping.
pub(crate) fn duplicate_key(key: &Node, earlier: &Node) -> Finding {
    let place = &earlier.place;
    let message =
        format!("duplicate key {}, first in line {} column {}", key.found(), place.line(), place.column());
    Finding::mistake(&key.place, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    fn check(text: &str) -> Vec<String> {
        let document = Document::parse("f", text.to_owned()).unwrap();
        let mut findings = Findings::default();
        if let Some(mut fields) = document.root.fields(&mut findings) {
            fields.require("source", &mut findings);
            fields.take("port");
            fields.finish(&mut findings);
        }
        findings.sort();
        findings.iter().map(|it| it.to_string().lines().next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn all_mistakes_of_a_mapping_are_found() {
        let found = check("prot: 1\nport: 2\nport: 3\nport: 4\n[a]: 5\nxyzzy: 6\n");
        let expected = [
            "f:1:1: mistake: missing key `source`",
            "f:1:1: mistake: unknown key `prot`",
            "f:3:1: mistake: duplicate key `port`, first in line 2 column 1",
            "f:4:1: mistake: duplicate key `port`, first in line 2 column 1",
            "f:5:1: mistake: expected text as a key, found a list",
            "f:6:1: mistake: unknown key `xyzzy`",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_key_without_a_value_is_missing_where_it_stands() {
        assert_eq!(check("port: 1\nsource:\n"), ["f:2:1: mistake: missing key `source`"]);
    }

    #[test]
    fn what_is_no_mapping_says_what_it_is() {
        for (text, found) in [("[1]", "a list"), ("x", "`x`"), ("", "nothing")] {
            assert_eq!(check(text), [format!("f:1:1: mistake: expected a mapping, found {found}")]);
        }
    }
}
