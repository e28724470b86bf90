//! A node of a document: a value and where it stands.

use std::fmt::{self, Display};
use std::str::FromStr;

use crate::{Fields, Finding, Findings, Place};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What stands there.
    pub value: Value,
}

/// What can stand at a place.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A text, not yet taken for anything else.
    Scalar(Scalar),
    /// Values in order.
    List(Vec<Node>),
    /// Keys with their values in the file's order; a key may occur twice ([`Node::fields`] reports that).
    Map(Vec<(Node, Node)>),
}

/// A text as it stands in the file: `22`, `0x16`, `10.0` and `yes` are kept unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    text: Box<str>,
    plain: bool,
}

impl Scalar {
    pub(crate) fn new(text: impl Into<Box<str>>, plain: bool) -> Self {
        Self { text: text.into(), plain }
    }

    /// The text, without quotes and escapes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Tells whether it stands there without quotes, so that it may be a number or a switch.
    pub fn is_plain(&self) -> bool {
        self.plain
    }
}

impl Node {
    /// The text of a scalar.
    ///
    /// # Errors
    /// A mistake here when this is no scalar.
    pub fn text(&self) -> Result<&str, Finding> {
        match &self.value {
            Value::Scalar(scalar) => Ok(scalar.text()),
            _ => Err(self.expected("text")),
        }
    }

    /// A scalar's text, read as a `T`.
    ///
    /// # Errors
    /// A mistake here when this is no scalar, or with the text and what `T` says of it.
    pub fn parse<T>(&self) -> Result<T, Finding>
    where
        T: FromStr,
        T::Err: Display,
    {
        let text = self.text()?;
        text.parse().map_err(|error| Finding::mistake(&self.place, format!("`{text}`: {error}")))
    }

    /// The items of a list; any other value is a list of one, and nothing is an empty list.
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Null => &[],
            _ => std::slice::from_ref(self),
        }
    }

    /// The items of a list, where a single value is not taken for one.
    ///
    /// # Errors
    /// A mistake here when this is no list.
    pub fn list(&self) -> Result<&[Node], Finding> {
        match &self.value {
            Value::List(items) => Ok(items),
            _ => Err(self.expected("a list")),
        }
    }

    /// The entries of a mapping whose keys are names of the file's own choice.
    ///
    /// Keys that are no text and keys that occur twice are noted as mistakes and left out.
    pub fn entries<'a>(&'a self, findings: &mut Findings) -> Option<Vec<(&'a str, &'a Node, &'a Node)>> {
        crate::fields::entries(self, findings)
    }

    /// The fields of a mapping whose keys the program knows.
    ///
    /// Notes a mistake, and gives `None`, when this is no mapping; keys that are no text and keys that occur
    /// twice are mistakes too.
    pub fn fields<'a>(&'a self, findings: &mut Findings) -> Option<Fields<'a>> {
        self.entries(findings).map(|entries| Fields::new(self, entries))
    }

    /// Tells whether nothing stands here.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// What stands here, as a mistake's text names it.
    pub fn describe(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The mistake that something else was expected here.
    pub fn expected(&self, what: &str) -> Finding {
        Finding::mistake(&self.place, format!("expected {what}, found {}", self.found()))
    }

    /// What stands here: a scalar by its text, anything else by its kind.
    pub(crate) fn found(&self) -> String {
        match &self.value {
            Value::Scalar(scalar) => format!("`{}`", scalar.text()),
            _ => self.describe().to_owned(),
        }
    }
}

/// On one line, as a person would write it in YAML; quotes and comments are lost.
impl Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("~"),
            Value::Scalar(scalar) => write!(f, "{}", scalar.text().escape_debug()),
            Value::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Value::Map(entries) if entries.is_empty() => f.write_str("{}"),
            Value::Map(entries) => {
                for (at, (key, value)) in entries.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if at > 0 { ", " } else { "{ " })?;
                }
                f.write_str(" }")
            }
        }
    }
}
