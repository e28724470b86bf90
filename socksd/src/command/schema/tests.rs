//! The schemas know what the readers know, accept every sample in the tree, and refuse what people get wrong.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jsonschema::{Draft, JSONSchema};
use serde_json::{Map, Value, json};
use socks_auth::{BuildContext, Registry};
use socks_config::{Document, Findings, Node};
use socks_gssapi::GssapiFactory;
use socks_policy::{Context, Ruleset};

use super::File;
use crate::config::Config;
use crate::upstream::Upstream;

/// Folders with other programs' files.
const OTHERS: [&str; 1] = ["deploy/prometheus"];

/// A key that no mapping has.
const UNKNOWN: &str = "zzzzzzzz";

impl File {
    const ALL: [Self; 2] = [Self::Policy, Self::Config];

    fn path(self) -> &'static str {
        match self {
            Self::Policy => "docs/schema/policy.schema.json",
            Self::Config => "docs/schema/socksd.schema.json",
        }
    }

    fn parsed(self) -> Value {
        serde_json::from_str(self.schema()).unwrap()
    }

    fn compiled(self) -> JSONSchema {
        JSONSchema::options().with_draft(Draft::Draft202012).compile(&self.parsed()).unwrap()
    }

    /// What the program itself says of a file with that text; nothing is opened.
    fn read(self, text: &str) -> Findings {
        let document = Document::parse("probe.yaml", text.to_owned()).unwrap();
        let mut findings = Findings::default();
        match self {
            Self::Policy => {
                findings.extend(Ruleset::load(&document, &Context::default()).err().unwrap_or_default());
            }
            Self::Config => {
                let mut registry = Registry::shipped();
                registry.register(GssapiFactory).unwrap();
                let config = Config::read(&document, Path::new("/nowhere"), &mut findings);
                for entry in &config.auth {
                    let context = BuildContext::new(Arc::clone(&entry.name), Path::new("/nowhere"), None);
                    let built = registry.build(entry.kind, entry.options, &context);
                    findings.extend(built.err().unwrap_or_default());
                }
                for entry in &config.upstreams {
                    // What it says is among the findings.
                    let _ = Upstream::build(entry, Path::new("/nowhere"), &mut findings);
                }
            }
        }
        findings
    }
}

/// A mapping of a schema, and a file that has nothing but an unknown key in it.
struct Probe {
    /// Where the file has it, such as `rules[].limits`.
    at: String,
    keys: BTreeSet<String>,
    /// Words that may stand in its place.
    words: BTreeSet<String>,
    file: Value,
}

/// Where a schema applies.
#[derive(Clone, Copy)]
struct Spot<'a> {
    at: &'a str,
    /// Words that may stand in place of a mapping.
    words: &'a BTreeSet<String>,
    /// Puts a value to there in a file.
    file: &'a dyn Fn(Value) -> Value,
}

/// Finds the mappings of a schema.
struct Walk {
    schema: Value,
    probes: Vec<Probe>,
}

impl Walk {
    fn of(schema: Value) -> Vec<Probe> {
        let mut walk = Self { schema, probes: Vec::new() };
        let root = walk.schema.clone();
        walk.step(&root, Spot { at: "", words: &BTreeSet::new(), file: &|value| value });
        walk.probes
    }

    /// Visits all below `schema`.
    fn step(&mut self, schema: &Value, spot: Spot<'_>) {
        let Spot { at, words, file } = spot;
        let none = BTreeSet::new();
        if let Some(pointer) = schema["$ref"].as_str() {
            let target = self.schema.pointer(pointer.trim_start_matches('#')).unwrap().clone();
            self.step(&target, spot);
        }
        if let Some(properties) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], false, "`{at}` must refuse unknown keys");
            let keys = properties.keys().cloned().collect();
            // A mapping that is for one word of a key, such as a `kind`, has that word. Where nothing is read of what
            // is below without another key, that one has an example.
            let value =
                |schema: &Value| schema.get("const").or_else(|| schema.pointer("/examples/0")).cloned();
            let fixed = properties.iter().filter_map(|(key, schema)| Some((key.clone(), value(schema)?)));
            let fixed: Map<String, Value> = fixed.collect();
            let mut probe = fixed.clone();
            probe.insert(UNKNOWN.to_owned(), 1.into());
            let probe = file(Value::Object(probe));
            self.probes.push(Probe { at: at.to_owned(), keys, words: words.clone(), file: probe });
            self.properties(properties, spot, &fixed);
        }
        if schema["additionalProperties"].is_object() {
            let inner = |value| file(json!({ "probe": value }));
            let below = Spot { at: &format!("{at}.*"), words: &none, file: &inner };
            self.step(&schema["additionalProperties"], below);
        }
        if schema["items"].is_object() {
            let inner = |value| file(json!([value]));
            self.step(&schema["items"], Spot { at: &format!("{at}[]"), words: &none, file: &inner });
        }
        for choice in ["anyOf", "oneOf"].iter().filter_map(|key| schema[key].as_array()) {
            let words = choice.iter().flat_map(plain_words).collect();
            choice.iter().for_each(|schema| self.step(schema, Spot { words: &words, ..spot }));
        }
        // Keys that depend on another one: `options` on `kind`.
        for case in schema["allOf"].as_array().into_iter().flatten() {
            let constants = case["if"]["properties"].as_object().unwrap().iter();
            let siblings = constants.map(|(key, schema)| (key.clone(), schema["const"].clone())).collect();
            self.properties(case["then"]["properties"].as_object().unwrap(), spot, &siblings);
        }
    }

    fn properties(&mut self, properties: &Map<String, Value>, spot: Spot<'_>, siblings: &Map<String, Value>) {
        for (key, schema) in properties {
            let inner = |value| {
                let mut map = siblings.clone();
                map.insert(key.clone(), value);
                (spot.file)(Value::Object(map))
            };
            let at = format!("{}.{key}", spot.at);
            let below = Spot { at: at.trim_start_matches('.'), words: &BTreeSet::new(), file: &inner };
            self.step(schema, below);
        }
    }
}

/// The words that a schema takes.
fn plain_words(schema: &Value) -> Vec<String> {
    let words = schema["enum"].as_array().into_iter().flatten().chain([&schema["const"]]);
    words.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The keys that the reader knows where the probe has an unknown one.
fn known_keys(findings: &Findings) -> Option<BTreeSet<String>> {
    let is_it = |message: &str| {
        message == format!("unknown key `{UNKNOWN}`") || message == format!("unknown value `{UNKNOWN}`")
    };
    let finding = findings.iter().find(|finding| is_it(&finding.message))?;
    let help = finding.help.as_deref().unwrap_or_default();
    Some(help.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// A key that only one side knows is named, with what has to be done.
#[test]
fn the_schemas_and_the_readers_know_the_same_keys() {
    let mut complaints = Vec::new();
    for file in File::ALL {
        let probes = Walk::of(file.parsed());
        assert!(probes.len() > 8, "only {} mappings in {}", probes.len(), file.path());
        for Probe { at, keys, words, file: probe } in probes {
            let (path, text) = (file.path(), probe.to_string());
            let Some(known) = known_keys(&file.read(&text)) else {
                complaints.push(format!(
                    "{path} has a mapping at `{at}`, but no reader says what it knows of {text}"
                ));
                continue;
            };
            for key in known.difference(&keys).filter(|key| !words.contains(*key)) {
                complaints.push(format!(
                    "the program reads the key `{key}` at `{at}`: describe it in {path}, beside the others there, and in the page of docs/ for that file"
                ));
            }
            for key in keys.difference(&known) {
                complaints.push(format!(
                    "{path} has the key `{key}` at `{at}`, which the program does not read: take it out"
                ));
            }
        }
    }
    complaints.sort();
    complaints.dedup();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// A document as an editor sees it: what stands without quotes may be a number or a switch.
fn plain(node: &Node) -> Value {
    use socks_config::Value as Yaml;
    match &node.value {
        Yaml::Null => Value::Null,
        Yaml::Scalar(scalar) if scalar.is_plain() => {
            let text = scalar.text();
            let json = serde_json::from_str(text)
                .ok()
                .filter(|value: &Value| value.is_number() || value.is_boolean());
            json.unwrap_or_else(|| text.into())
        }
        Yaml::Scalar(scalar) => scalar.text().into(),
        Yaml::List(items) => items.iter().map(plain).collect(),
        Yaml::Map(pairs) => {
            let entry = |(key, value): &(Node, Node)| (key.text().unwrap().to_owned(), plain(value));
            Value::Object(pairs.iter().map(entry).collect())
        }
    }
}

fn parse(text: &str) -> Value {
    plain(&Document::parse("sample.yaml", text.to_owned()).unwrap_or_else(|it| panic!("{it}\n{text}")).root)
}

/// Every sample of the two files: blocks in the documentation, and files in the tree.
fn samples() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (mut files, mut samples) = (Vec::new(), Vec::new());
    for folder in ["docs", "deploy", "README.md"] {
        collect(&root.join(folder), &mut files);
    }
    for path in files {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let place = path.display().to_string();
        match path.extension().and_then(|end| end.to_str()) {
            Some("yaml" | "yml") => samples.push((place, text)),
            Some("md") => samples.extend(blocks(&text).into_iter().map(|block| (place.clone(), block))),
            _ => {}
        }
    }
    samples
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) {
    if OTHERS.iter().any(|folder| path.ends_with(folder)) {
        return;
    }
    match fs::read_dir(path) {
        Ok(entries) => entries.for_each(|entry| collect(&entry.unwrap().path(), files)),
        Err(_) => files.push(path.to_owned()),
    }
}

/// The YAML blocks of a page, without the indentation that they have in a list.
fn blocks(page: &str) -> Vec<String> {
    let mut lines = page.lines();
    let mut blocks = Vec::new();
    while let Some(fence) = lines.find(|line| line.trim_start() == "```yaml") {
        let indent = fence.len() - fence.trim_start().len();
        let body = lines.by_ref().take_while(|line| line.trim_start() != "```");
        blocks.push(body.flat_map(|line| [line.get(indent..).unwrap_or_default(), "\n"]).collect());
    }
    blocks
}

/// The file that a sample is, whole or in part; what it leaves out is added.
fn completed(sample: &Value) -> Option<(File, Value)> {
    let keys = sample.as_object()?;
    let file = File::ALL.into_iter().find(|file| {
        let schema = file.parsed();
        // Files of other programs have a version too.
        keys.keys().any(|key| key != "version" && schema["properties"].get(key).is_some())
    })?;
    let least = match file {
        File::Policy => json!({ "version": 1, "clients": [], "rules": [] }),
        File::Config => {
            json!({ "listeners": [{ "address": "127.0.0.1:0" }], "auth": [{ "kind": "none" }], "policy": "p" })
        }
    };
    let Value::Object(mut whole) = least else { return None };
    whole.extend(keys.clone());
    Some((file, Value::Object(whole)))
}

fn mistakes(file: File, value: &Value) -> Vec<String> {
    let schema = file.compiled();
    let errors = schema.validate(value).err().into_iter().flatten();
    errors.map(|error| format!("{}: {error}", error.instance_path)).collect()
}

#[test]
fn every_sample_in_the_tree_is_valid() {
    let mut counts = [0, 0];
    for (place, sample) in samples() {
        // Other programs' files, a users file and a groups file have other keys.
        let Some((file, whole)) = completed(&parse(&sample)) else { continue };
        let found = mistakes(file, &whole);
        assert!(found.is_empty(), "{place}: {found:#?}\n{sample}");
        counts[file as usize] += 1;
    }
    assert!(counts[0] > 9 && counts[1] > 7, "only {counts:?} samples");
}

#[test]
fn typical_mistakes_are_refused() {
    let rule = |keys: &str| (File::Policy, format!("rules: [{{ name: r, action: permit, {keys} }}]"));
    let table = [
        (File::Policy, "version: 2".to_owned()),
        (File::Policy, "rules: [{ action: permit }]".to_owned()),
        (File::Policy, "rules: [{ name: r, action: allow }]".to_owned()),
        (File::Policy, "rules: [{ name: r, action: deny, expires: 2030-01-01 }]".to_owned()),
        (File::Policy, "clients: [{ source: 10.0.0.0/8 }]".to_owned()),
        (File::Policy, "sets: { hosts: { Blocked: a.example } }".to_owned()),
        (File::Policy, "sets: { hosts: { blocked: { includes: a.txt } } }".to_owned()),
        (File::Policy, "sets: { times: { night: { zone: UTC } } }".to_owned()),
        (
            File::Policy,
            "tests: [{ name: t, given: { source: 10.0.0.1 }, expect: { permit: a, deny: b } }]".to_owned(),
        ),
        (File::Policy, "tests: [{ name: t, given: { identity: a@R }, expect: { permit: a } }]".to_owned()),
        rule("sorce: 10.0.0.0/8"),
        rule("port: 70000"),
        rule("port: []"),
        rule("limits: { idle-timeout: 10 }"),
        rule("limits: { sessions: 0 }"),
        rule("when: { days: monday }"),
        rule("when: { hours: 8-18 }"),
        rule("special-use: yes"),
        rule("upstream: [hq]"),
        rule("command: [conect]"),
        (File::Config, "listeners: []".to_owned()),
        (File::Config, "listeners: [{ address: localhost }]".to_owned()),
        (File::Config, "auth: [{ name: password }]".to_owned()),
        (File::Config, "auth: [{ kind: password }]".to_owned()),
        (File::Config, "auth: [{ kind: password, options: { user: users.yaml } }]".to_owned()),
        (File::Config, "auth: [{ kind: gssapi, options: { keytab: k, engine: heimdal } }]".to_owned()),
        (File::Config, "listeners: [{ address: '127.0.0.1:1', keepalive: on }]".to_owned()),
        (File::Config, "listeners: [{ address: '127.0.0.1:1', proxy-protocol: { from: [] } }]".to_owned()),
        (File::Config, "upstreams: [{ name: hq, address: gw.hq.example, auth: { kind: none } }]".to_owned()),
        (
            File::Config,
            "upstreams: [{ name: hq, address: 'gw:1', auth: { kind: gssapi, options: {} } }]".to_owned(),
        ),
        (File::Config, "limits: { idle-timeout: 30 }".to_owned()),
        (File::Config, "limits: { max-session: 1 }".to_owned()),
        (File::Config, "log: { level: verbose }".to_owned()),
        (File::Config, "polcy: policy.yaml".to_owned()),
    ];
    for (file, text) in table {
        let least = match file {
            File::Policy => json!({ "rules": [] }),
            File::Config => json!({ "policy": "p" }),
        };
        let (_, least) = completed(&least).unwrap();
        assert_eq!(mistakes(file, &least), [""; 0], "the rest of the file has no mistake");
        let (Value::Object(mut whole), Value::Object(keys)) = (least, parse(&text)) else { panic!("{text}") };
        whole.extend(keys);
        assert!(!mistakes(file, &Value::Object(whole)).is_empty(), "not refused: {text}");
    }
}
