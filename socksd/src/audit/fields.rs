//! A record's fields as names and values, for targets that have no use for JSON.

use serde_json::{Map, Value};

/// One record, taken apart.
#[derive(Debug, Clone)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a line that this gateway has written; `None` for anything else.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok().map(Self)
    }

    /// A field that is text; empty when there is none of that name.
    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// All fields, `a` of an object `o` as `o.a`, and those of a list one by one under the same name.
    pub(super) fn flat(&self) -> Vec<(String, String)> {
        let mut flat = Vec::with_capacity(self.0.len());
        for (name, value) in &self.0 {
            flatten(name, value, &mut flat);
        }
        flat
    }

    /// The record as one line without an end, of at most `most` octets: the longest fields are left out, and
    /// `truncated` names them.
    pub(super) fn within(mut self, most: usize) -> String {
        let mut left_out: Vec<Value> = Vec::new();
        loop {
            let text = Value::Object(self.0.clone()).to_string();
            if text.len() <= most {
                return text;
            }
            let removable = self.0.iter().filter(|(name, _)| !KEPT.contains(&name.as_str()));
            let longest = removable.max_by_key(|(_, value)| value.to_string().len());
            let Some(name) = longest.map(|(name, _)| name.clone()) else { return text };
            self.0.remove(&name);
            left_out.push(name.into());
            self.0.insert("truncated".into(), Value::Array(left_out.clone()));
        }
    }
}

/// Fields that are short, and without which a record says nothing.
const KEPT: [&str; 6] = ["v", "event", "session", "time", "client", "truncated"];

fn flatten(name: &str, value: &Value, flat: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::String(text) => flat.push((name.to_owned(), text.clone())),
        Value::Bool(_) | Value::Number(_) => flat.push((name.to_owned(), value.to_string())),
        Value::Array(items) => items.iter().for_each(|item| flatten(name, item, flat)),
        Value::Object(map) => {
            for (key, value) in map {
                flatten(&format!("{name}.{key}"), value, flat);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_objects_are_taken_apart() {
        let fields =
            Fields::read(br#"{"v":1,"groups":["a","b"],"drops":{"denied":2},"expired":true}"#).unwrap();
        let flat = fields.flat();
        let shown: Vec<_> = flat.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["drops.denied=2", "expired=true", "groups=a", "groups=b", "v=1"]);
    }

    #[test]
    fn a_record_that_is_too_long_leaves_out_its_longest_fields_and_says_so() {
        let line = format!(
            r#"{{"v":1,"event":"session","groups":["{}"],"detail":"{}"}}"#,
            "g".repeat(900),
            "d".repeat(600)
        );
        let fields = Fields::read(line.as_bytes()).unwrap();
        let cut = |most| serde_json::from_str::<Value>(&fields.clone().within(most)).unwrap();
        assert!(cut(line.len()).get("truncated").is_none());
        assert_eq!(cut(1000)["truncated"], serde_json::json!(["groups"]));
        assert_eq!(cut(1000)["detail"].as_str().map(str::len), Some(600));
        assert_eq!(
            cut(200),
            serde_json::json!({"v": 1, "event": "session", "truncated": ["groups", "detail"]})
        );
    }
}
