//! What a document says, kept to be compared with what it says later.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Node, Value};

/// A named part of a document, with its keys as they are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is called; no other one beside it is called so.
    pub name: Box<str>,
    keys: Vec<(Box<str>, Written)>,
}

/// What stands under a key.
#[derive(Clone, PartialEq, Eq)]
enum Written {
    Shown(Box<str>),
    /// Something that nobody is to see.
    Hidden(Box<str>),
}

/// How a named part of a document differs from what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// In which way.
    pub change: Way,
    /// Of what.
    pub name: String,
    /// In which respects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyChange>,
}

/// The ways in which a part can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// It was not there.
    Added,
    /// It is there no longer.
    Removed,
    /// It says something else.
    Changed,
    /// It stands elsewhere among the others.
    Moved,
    /// It has no effect any more, because of another one.
    Shadowed,
}

/// One respect in which a part differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct KeyChange {
    /// The key, or what is counted.
    pub key: String,
    /// What was there; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What is there now; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl Item {
    /// An item of that name with the keys of a mapping, those of mappings within it joined by a dot. A value that is
    /// none has the key "".
    ///
    /// What stands below a key of which `is_secret` is compared and never shown.
    pub fn new(name: &str, node: &Node, is_secret: impl Fn(&str) -> bool) -> Self {
        let mut keys = Vec::new();
        collect(node, String::new(), &is_secret, &mut keys);
        Self { name: name.into(), keys }
    }

    /// The same without a key: it is shown elsewhere.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.keys.retain(|(own, _)| **own != *key);
        self
    }

    /// In which respects `now` differs from this one.
    pub fn changes_to(&self, now: &Self) -> Vec<KeyChange> {
        let gone = self.keys.iter().filter(|(key, _)| now.value(key).is_none());
        let gone = gone.map(|(key, before)| KeyChange::new(key, Some(before.shown()), None));
        let other = now.keys.iter().filter(|(key, after)| self.value(key) != Some(after));
        let other = other.map(|(key, after)| {
            KeyChange::new(key, self.value(key).map(Written::shown), Some(after.shown()))
        });
        gone.chain(other).collect()
    }

    fn value(&self, key: &str) -> Option<&Written> {
        self.keys.iter().find(|(own, _)| **own == *key).map(|(_, value)| value)
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl Written {
    fn shown(&self) -> String {
        match self {
            Self::Shown(text) => text.to_string(),
            Self::Hidden(_) => "(not shown)".into(),
        }
    }
}

impl Change {
    /// How items with names differ, in the order of `now`; those that are gone come last. Their order does not
    /// matter.
    pub fn between(before: &[Item], now: &[Item]) -> Vec<Self> {
        let old: HashMap<&str, &Item> = before.iter().map(|item| (&*item.name, item)).collect();
        let new: HashMap<&str, &Item> = now.iter().map(|item| (&*item.name, item)).collect();
        let changed = now.iter().filter_map(|item| match old.get(&*item.name) {
            None => Some(Self::new(Way::Added, &item.name)),
            Some(old) => Self::of_keys(&item.name, old.changes_to(item)),
        });
        let gone = before.iter().filter(|item| !new.contains_key(&*item.name));
        changed.chain(gone.map(|item| Self::new(Way::Removed, &item.name))).collect()
    }

    /// A change without respects of its own.
    pub fn new(change: Way, name: &str) -> Self {
        Self { change, name: name.to_owned(), keys: Vec::new() }
    }

    /// The change of what is there before and after; `None`: there is none.
    pub fn of_keys(name: &str, keys: Vec<KeyChange>) -> Option<Self> {
        (!keys.is_empty()).then(|| Self { change: Way::Changed, name: name.to_owned(), keys })
    }

    /// The same in one respect more.
    #[must_use]
    pub fn with(mut self, key: KeyChange) -> Self {
        self.keys.push(key);
        self
    }
}

impl KeyChange {
    /// A key's values before and after.
    pub fn new(key: &str, before: Option<String>, after: Option<String>) -> Self {
        let [before, after] = [before, after].map(|text| text.map(cut));
        Self { key: key.to_owned(), before, after }
    }
}

/// Characters of a value that is shown.
const MOST_SHOWN: usize = 200;

fn cut(text: String) -> String {
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn collect(
    node: &Node,
    path: String,
    is_secret: &impl Fn(&str) -> bool,
    keys: &mut Vec<(Box<str>, Written)>,
) {
    match &node.value {
        _ if is_secret(&path) => keys.push((path.into(), Written::Hidden(node.to_string().into()))),
        Value::Map(entries) => {
            for (key, value) in entries {
                let key = key.to_string();
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                collect(value, path, is_secret, keys);
            }
        }
        _ => keys.push((path.into(), Written::Shown(node.to_string().into()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    fn item(text: &str) -> Item {
        let document = Document::parse("x.yaml", text.to_owned()).unwrap();
        Item::new("it", &document.root, |path| path == "options")
    }

    #[test]
    fn keys_are_compared_as_they_are_written() {
        let before = item("a: 1\nlist: [x, y]\nmap: { k: v, gone: 1 }\noptions: { secret: s1 }\n");
        let after =
            item("options: { secret: s2 }\nmap:\n  k: w\nlist:\n  - x\n  - y\na: 1\nnew: { b: '1 2' }\n");
        let changes = before.changes_to(&after);
        let shown: Vec<_> = changes
            .iter()
            .map(|change| (&*change.key, change.before.as_deref(), change.after.as_deref()))
            .collect();
        let hidden = Some("(not shown)");
        let expected = [
            ("map.gone", Some("1"), None),
            ("options", hidden, hidden),
            ("map.k", Some("v"), Some("w")),
            ("new.b", None, Some("1 2")),
        ];
        assert_eq!(shown, expected);
        assert!(before.changes_to(&before).is_empty());
        assert!(item("~").changes_to(&item("~")).is_empty());
    }

    #[test]
    fn a_secret_that_only_moved_is_the_same() {
        let (before, after) = (item("options: { secret: s }\n"), item("\n\noptions:\n  secret: s\n"));
        assert_eq!(before.changes_to(&after), []);
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "ä".repeat(MOST_SHOWN + 1);
        let key = KeyChange::new("k", Some(long), Some("ä".repeat(MOST_SHOWN)));
        assert_eq!(key.before.unwrap().chars().count(), MOST_SHOWN + 1);
        assert_eq!(key.after.unwrap().chars().count(), MOST_SHOWN);
    }
}
