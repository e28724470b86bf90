//! A mistake on its way from serde to a finding, in the words of an operator.

use std::fmt;

use serde::de::{Error, Expected, Unexpected};

use crate::{Finding, Node, Place, fields};

/// A mistake that serde met in a [`Node`], and that may not know its place yet; [`Node::read`] knows it.
#[derive(Debug)]
pub struct ReadError(Box<Finding>);

impl ReadError {
    /// What stands in a node is not what the visitor takes.
    pub(super) fn mismatch(node: &Node, expected: &dyn Expected) -> Self {
        node.expected(&plain_words(expected)).into()
    }

    /// The same mistake, here unless something inside has already given it a place.
    pub(super) fn at(mut self, place: &Place) -> Self {
        self.0.place.get_or_insert_with(|| place.clone());
        self
    }

    pub(super) fn finding(self, place: &Place) -> Finding {
        *self.at(place).0
    }

    fn new(message: String) -> Self {
        Self(Box::new(Finding::unplaced(message)))
    }

    /// The same mistake with the likely word among those known, or all of them.
    fn with_words(self, text: &str, words: &[&str], kind: &str) -> Self {
        let finding = match crate::nearest(text, words) {
            Some(_) => self.0.with_nearest(text, words),
            None if words.is_empty() => self.0.with_help(format!("no {kind} is known here")),
            None => self.0.with_help(format!("known {kind}s: {}", fields::list_words(words))),
        };
        Self(Box::new(finding))
    }
}

impl From<Finding> for ReadError {
    fn from(finding: Finding) -> Self {
        Self(Box::new(finding))
    }
}

impl Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {}", plain_words(expected), shown(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(len: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {}, found {len} items", plain_words(expected)))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("unknown value `{variant}`")).with_words(variant, known, "value")
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        Self::new(format!("unknown key `{field}`")).with_words(field, known, "key")
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("missing key `{field}`"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("duplicate key `{field}`"))
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for ReadError {}

fn shown(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Unsigned(value) => format!("`{value}`"),
        Unexpected::Signed(value) => format!("`{value}`"),
        Unexpected::Float(value) => format!("`{value}`"),
        Unexpected::Char(value) => format!("`{value}`"),
        Unexpected::Str(value) | Unexpected::Other(value) => format!("`{value}`"),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        Unexpected::UnitVariant => "a word".to_owned(),
        Unexpected::NewtypeVariant | Unexpected::StructVariant | Unexpected::TupleVariant => {
            "a value behind the word".to_owned()
        }
        other => other.to_string(),
    }
}

/// What a visitor expects, without the names of types.
fn plain_words(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    let first = text.split_whitespace().next().unwrap_or_default();
    match (first, text.as_str()) {
        ("struct", _) | (_, "a map") => "a mapping".to_owned(),
        ("tuple" | "enum" | "unit", _) => "another form".to_owned(),
        (_, "a sequence") => "a list".to_owned(),
        (_, "a string" | "a borrowed string" | "identifier" | "field identifier" | "variant identifier") => {
            "text".to_owned()
        }
        (_, "a boolean") => "`true` or `false`".to_owned(),
        (_, "f32" | "f64") => "a number".to_owned(),
        _ => whole_numbers(&text),
    }
}

/// `a nonzero u16` says nothing to an operator.
fn whole_numbers(text: &str) -> String {
    let is_type = |word: &str| {
        word.strip_prefix(['u', 'i'])
            .is_some_and(|width| matches!(width, "8" | "16" | "32" | "64" | "128" | "size"))
    };
    let words = text.split(' ').map(|word| if is_type(word) { "whole number" } else { word });
    words.collect::<Vec<_>>().join(" ")
}
