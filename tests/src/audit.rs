//! The audit file as a test reads it.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use jsonschema::JSONSchema;
use serde_json::Value;

use crate::program;

/// One line of the audit file.
#[derive(Debug, Clone, PartialEq)]
pub struct Record(pub Value);

impl Record {
    /// A field that is text; empty when the record has none of that name.
    pub fn text(&self, field: &str) -> &str {
        self.0.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A field that is a number; 0 when the record has none of that name.
    pub fn number(&self, field: &str) -> u64 {
        self.0.get(field).and_then(Value::as_u64).unwrap_or_default()
    }

    /// Octets from the client to the target.
    pub fn up(&self) -> u64 {
        self.number("up")
    }

    /// Octets from the target to the client.
    pub fn down(&self) -> u64 {
        self.number("down")
    }

    /// Tells whether it is the end record of one session.
    pub fn is_session(&self) -> bool {
        self.text("event") == "session"
    }

    /// Tells whether it is the record of the session of this client.
    pub fn is_of(&self, client: SocketAddr) -> bool {
        self.is_session() && self.text("client") == client.to_string()
    }

    /// Checks several text fields at once; `""` means that the field is not there.
    ///
    /// # Panics
    /// When one is different, with the whole record.
    #[track_caller]
    pub fn expect(&self, fields: &[(&str, &str)]) -> &Self {
        for (field, value) in fields {
            assert_eq!(self.text(field), *value, "field `{field}` of {self}");
        }
        self
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// All records that stand in a file; a last line that is only half written is left out.
///
/// # Panics
/// When a whole line is no record as the schema says.
pub fn read(path: &Path) -> Vec<Record> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    whole.lines().map(parse).collect()
}

/// The record that a line is.
///
/// # Panics
/// When it is none as the schema says.
pub fn parse(line: &str) -> Record {
    let record = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    if let Err(mistakes) = schema().validate(&record) {
        let mistakes: Vec<_> =
            mistakes.map(|mistake| format!("{mistake} at `{}`", mistake.instance_path)).collect();
        panic!("{mistakes:?}: {line}");
    }
    Record(record)
}

/// The shape that `docs/schema/audit.json` promises.
fn schema() -> &'static JSONSchema {
    static SCHEMA: OnceLock<JSONSchema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let path = program::workspace().join("docs/schema/audit.json");
        let text = fs::read_to_string(path).expect("the schema");
        let schema = serde_json::from_str(&text).expect("the schema is JSON");
        JSONSchema::compile(&schema).expect("a valid schema")
    })
}

/// Reads a file again and again until its records are as wanted; `None` when they never are.
pub fn wait_for<T>(path: &Path, within: Duration, mut pick: impl FnMut(&[Record]) -> Option<T>) -> Option<T> {
    let until = Instant::now() + within;
    loop {
        if let Some(found) = pick(&read(path)) {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}
