//! `socksd shadow`: how the shadow policy of the running gateway would have decided otherwise.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Deserialize;

use super::admin::{Where, pretty, read};
use super::screen::{Mood, Screen};
use super::table::Table;
use super::{Exit, fail, say};

/// How many examples people are shown.
const EXAMPLES: usize = 20;

#[derive(Debug, clap::Args)]
pub(super) struct Shadow {
    #[command(flatten)]
    place: Where,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What of the answer people are shown; `docs/admin.md` describes all of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    configured: bool,
    file: Option<String>,
    policy: u64,
    rules: usize,
    since: Option<String>,
    compared: u64,
    failed: bool,
    counts: BTreeMap<String, u64>,
    differences: Vec<Row>,
    others: u64,
    examples: Vec<Example>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Difference {
    kind: String,
    live_rule: Option<String>,
    live_reason: Option<String>,
    shadow_rule: Option<String>,
    shadow_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Row {
    #[serde(flatten)]
    difference: Difference,
    count: u64,
    last: String,
}

#[derive(Debug, Deserialize)]
struct Example {
    #[serde(flatten)]
    difference: Difference,
    time: String,
    session: String,
    client: String,
    identity: Option<String>,
    operation: Option<String>,
    target: Option<String>,
    address: Option<String>,
}

impl Shadow {
    pub(super) fn run(self) -> Result<Exit, Exit> {
        let answer = self.place.ask(Method::GET, "/api/shadow")?;
        if self.json {
            say(pretty(&answer));
            return Ok(Exit::Done);
        }
        let report: Report = read(answer)?;
        if !report.configured {
            return Err(fail(Exit::No, "no `shadow-policy` is configured"));
        }
        report.show();
        Ok(Exit::Done)
    }
}

impl Report {
    fn show(&self) {
        let Self { policy, rules, compared, .. } = self;
        let (file, since) = (self.file.as_deref().unwrap_or("-"), self.since.as_deref().unwrap_or("-"));
        say(format_args!("shadow    {file} with {rules} rules, beside policy {policy} since {since}"));
        if self.failed {
            let failed = Screen::output().paint(Mood::Bad, "failed");
            say(format_args!("state     {failed}: it had a bug and judges no more, see the gateway's log"));
        }
        say(format_args!("compared  {compared} decisions"));
        let counts: Vec<String> = self.counts.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        say(format_args!("differ    {}", counts.join(", ")));
        if !self.differences.is_empty() {
            say("");
            say(self.rows());
        }
        if self.others > 0 {
            say(format_args!("and {} of differences that are not told apart", self.others));
        }
        if !self.examples.is_empty() {
            say("");
            say(self.table_of_examples());
        }
    }

    fn rows(&self) -> Table<5> {
        let mut table = Table::new(["COUNT", "KIND", "IN FORCE", "SHADOW", "LAST"]);
        for Row { difference, count, last } in &self.differences {
            let [live, shadow] = difference.sides();
            table.add([count.to_string(), difference.kind.clone(), live, shadow, last.clone()]);
        }
        table
    }

    fn table_of_examples(&self) -> Table<8> {
        let mut table =
            Table::new(["TIME", "KIND", "IN FORCE", "SHADOW", "SESSION", "CLIENT", "IDENTITY", "WHAT"]);
        for example in self.examples.iter().take(EXAMPLES) {
            let [live, shadow] = example.difference.sides();
            table.add([
                example.time.clone(),
                example.difference.kind.clone(),
                live,
                shadow,
                example.session.clone(),
                example.client.clone(),
                example.identity.clone().unwrap_or_else(|| "-".into()),
                example.about(),
            ]);
        }
        table
    }
}

impl Difference {
    /// What decides in the policy in force, and in the other: the rule, or the reason in parentheses.
    fn sides(&self) -> [String; 2] {
        let side = |rule: &Option<String>, reason: &Option<String>| match (rule, reason) {
            (Some(rule), Some(reason)) if reason != "rule" => format!("{rule} ({reason})"),
            (Some(rule), _) => rule.clone(),
            (None, Some(reason)) => format!("({reason})"),
            (None, None) => "-".into(),
        };
        [side(&self.live_rule, &self.live_reason), side(&self.shadow_rule, &self.shadow_reason)]
    }
}

impl Example {
    fn about(&self) -> String {
        let words = [&self.operation, &self.target, &self.address];
        let words: Vec<&str> = words.into_iter().flatten().map(String::as_str).collect();
        if words.is_empty() { "-".into() } else { words.join(" ") }
    }
}
