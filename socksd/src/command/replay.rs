//! `socksd policy replay`: what another policy would have said to the requests that an audit file records.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use serde::Serialize;
use socks_auth::Registry;
use socks_config::Findings;
use socks_policy::Loaded;

use crate::gateway::own_addresses;
use crate::judgement::Policy;
use crate::policy_file::Names;
use crate::replay::{Change, Outcome, Progress as Counts, Replay as Judging, Row, Side, Skipped, Sums};

use super::check::{self, Shown as Finding};
use super::progress::Progress;
use super::screen::{Mood, Screen, say_json};
use super::{Exit, fail, say};

/// Changes that people are shown one by one.
const MOST_SHOWN: usize = 50;

/// What the operator asks for.
#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    /// An audit file of JSON lines; `-`: standard input; may be given several times
    #[arg(long, value_name = "FILE", required = true)]
    audit: Vec<PathBuf>,
    /// The policy to judge by, and before it more audit files, as a shell's pattern gives them; by default the policy
    /// that the configuration names
    #[arg(value_name = "POLICY", required_unless_present = "config")]
    policy: Vec<PathBuf>,
    /// A configuration, for its listeners, authenticators, upstreams and translator; without one, names are not
    /// checked
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The time to judge at, for rules that expire or have hours; by default that of each request
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The answer for programs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answer<'a> {
    policy: String,
    rules: usize,
    files: Vec<String>,
    lines: u64,
    judged: u64,
    associations: u64,
    skipped: &'a BTreeMap<Skipped, u64>,
    sums: Sums,
    changes: Vec<Row>,
    others: u64,
    findings: Vec<Finding<'a>>,
}

/// Why there is nothing to judge by.
enum Wrong {
    /// Mistakes of configuration or policy.
    Files(Findings),
    System(Exit),
}

impl Replay {
    pub(super) fn run(&self, registry: &Registry) -> Result<Exit, Exit> {
        let (judging, warnings) = match self.judging(registry) {
            Ok(judging) => judging,
            Err(Wrong::System(exit)) => return Err(exit),
            Err(Wrong::Files(mistakes)) => return self.refuse(mistakes),
        };
        if !self.json && !warnings.is_empty() {
            eprintln!("{}", Screen::errors().findings(&warnings));
        }
        let outcome = self.judge_all(&judging)?;
        if outcome.judged == 0 {
            let counted = Skips(&outcome.skipped);
            let text = format_args!("nothing could be judged: {} lines; {counted}", outcome.lines);
            return Err(fail(Exit::Config, text));
        }
        self.tell(&judging, &outcome, &warnings)
    }

    /// The audit files, in their order.
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let more = self.policy.split_last().map_or(&[][..], |(_, more)| more);
        self.audit.iter().chain(more)
    }

    /// Shows the mistakes, as `policy test` does.
    fn refuse(&self, mut mistakes: Findings) -> Result<Exit, Exit> {
        if self.json {
            mistakes.sort();
            say_json(&serde_json::json!({ "findings": Finding::all(&mistakes) }))?;
            return Ok(Exit::Config);
        }
        Err(fail(Exit::Config, Screen::errors().findings(&mistakes)))
    }

    fn judge_all(&self, judging: &Judging) -> Result<Outcome, Exit> {
        let mut outcome = Outcome::default();
        for path in self.files() {
            let (input, size) = open(path)?;
            let (name, counts) = (path.display().to_string(), Arc::new(Counts::default()));
            let shown = counts.clone();
            let _progress = Progress::show(move || far(&name, size, &shown));
            judging.run(input, &mut outcome, &counts).map_err(|error| unreadable(path, &error))?;
        }
        Ok(outcome)
    }

    /// The policy, with what it is judged among, and warnings.
    fn judging(&self, registry: &Registry) -> Result<(Judging, Findings), Wrong> {
        let Some(config) = &self.config else {
            let path = self.policy.last().ok_or_else(|| Wrong::System(fail(Exit::Usage, "which policy?")))?;
            let Loaded { ruleset, warnings } = Names::default().load(path).map_err(Wrong::Files)?;
            return Ok((
                Judging { policy: Policy::alone(ruleset), own: Vec::new(), now: self.now },
                warnings,
            ));
        };
        let checked = check::read(config, registry).map_err(Wrong::Files)?;
        let (snapshot, mut warnings) = (checked.snapshot, checked.warnings);
        let listening: Vec<SocketAddr> = snapshot.listeners.iter().map(|listener| listener.address).collect();
        let own = own_addresses(&listening).map_err(|error| {
            Wrong::System(fail(Exit::System, format_args!("addresses of this machine: {error}")))
        })?;
        let authenticators: Vec<_> = snapshot.authenticators().cloned().collect();
        let ruleset = match self.policy.last() {
            None => snapshot.ruleset,
            Some(path) => {
                let loaded = Names::in_force(&snapshot).load(path).map_err(Wrong::Files)?;
                warnings = loaded.warnings;
                loaded.ruleset
            }
        };
        Ok((Judging { policy: Policy::new(ruleset, &authenticators), own, now: self.now }, warnings))
    }

    fn tell(&self, judging: &Judging, outcome: &Outcome, warnings: &Findings) -> Result<Exit, Exit> {
        let (sums, rules) = (outcome.sums(), judging.policy.ruleset.rule_count());
        let policy = self.policy.last().or(self.config.as_ref());
        let policy = policy.map(|path| path.display().to_string()).unwrap_or_default();
        if self.json {
            say_json(&Answer {
                policy,
                rules,
                files: self.files().map(|path| path.display().to_string()).collect(),
                lines: outcome.lines,
                judged: outcome.judged,
                associations: outcome.associations,
                skipped: &outcome.skipped,
                sums,
                changes: outcome.rows(),
                others: outcome.others(),
                findings: Finding::all(warnings),
            })?;
        } else {
            say(format_args!("policy   {policy} with {rules} rules"));
            show(outcome, sums);
        }
        Ok(if sums.has_changes() { Exit::No } else { Exit::Done })
    }
}

/// The file, and how large it is if that is known.
fn open(path: &Path) -> Result<(Box<dyn BufRead>, Option<u64>), Exit> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin().lock()), None));
    }
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.map_err(|error| unreadable(path, &error))?;
    let size = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(128 * 1024, file)), size))
}

fn unreadable(path: &Path, error: &io::Error) -> Exit {
    fail(Exit::System, format_args!("audit file `{}`: {error}", path.display()))
}

/// How far the reading of a file has come.
fn far(name: &str, size: Option<u64>, counts: &Counts) -> String {
    let (octets, lines) = (counts.octets.load(Ordering::Relaxed), counts.lines.load(Ordering::Relaxed));
    match size.filter(|size| *size > 0) {
        Some(size) => {
            let hundredths = octets.saturating_mul(100) / size;
            format!("{lines} lines judged, {}% of {name}", hundredths.min(100))
        }
        None => format!("{lines} lines judged, {} MiB of {name}", octets >> 20),
    }
}

fn show(outcome: &Outcome, sums: Sums) {
    let skipped = outcome.lines - outcome.judged;
    say(format_args!("lines    {}: {} judged, {skipped} not", outcome.lines, outcome.judged));
    for (why, count) in &outcome.skipped {
        say(format_args!("         {count} {why}"));
    }
    if outcome.associations > 0 {
        let text = "associations, of whose datagrams no record tells";
        say(format_args!("         {} of those judged are {text}", outcome.associations));
    }
    let Sums { unchanged, permitted_to_denied, denied_to_permitted, other_rule, undecided } = sums;
    say(format_args!(
        "changes  {permitted_to_denied} permitted to denied, {denied_to_permitted} denied to permitted, \
         {other_rule} by another rule, {undecided} undecided; {unchanged} unchanged"
    ));
    let rows = outcome.rows();
    for row in rows.iter().take(MOST_SHOWN) {
        say(format_args!("\n{}", Shown(row)));
    }
    if rows.len() > MOST_SHOWN {
        say(format_args!("\nand {} more, which `--json` shows", rows.len() - MOST_SHOWN));
    }
    if outcome.others() > 0 {
        say(format_args!("\nand {} requests in changes that are not told apart", outcome.others()));
    }
}

/// Lines that were not judged, in one sentence.
struct Skips<'a>(&'a BTreeMap<Skipped, u64>);

impl fmt::Display for Skips<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("the input is empty");
        }
        let all: Vec<String> = self.0.iter().map(|(why, count)| format!("{count} {why}")).collect();
        f.write_str(&all.join(", "))
    }
}

/// A change for people.
struct Shown<'a>(&'a Row);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { change, then, now, count, identities, more_identities, examples } = self.0;
        let (word, mood) = match change {
            Change::PermittedToDenied => ("permitted to denied", Mood::Bad),
            Change::DeniedToPermitted => ("denied to permitted", Mood::Warning),
            Change::OtherRule => ("by another rule", Mood::Note),
            Change::Undecided => ("undecided", Mood::Note),
        };
        let word = Screen::output().paint(mood, word);
        let more = if *more_identities { " or more" } else { "" };
        let (then, now) = (side(then), side(now));
        write!(f, "{word}: {count} of {identities}{more} identities, {then} then, {now} now")?;
        for example in examples {
            let peer = example.peer.map(|peer| format!(", peer {peer}")).unwrap_or_default();
            let (identity, target) = (harmless(&example.identity), harmless(&example.target));
            let command = harmless(&example.command);
            write!(
                f,
                "\n  {} {identity} from {}: {command} {target}{peer}",
                example.started, example.client
            )?;
            write!(f, " (session {})", harmless(&example.session))?;
        }
        Ok(())
    }
}

fn side(side: &Side) -> String {
    match (&side.rule, side.reason) {
        (Some(rule), None | Some("rule")) => format!("rule `{}`", harmless(rule)),
        (Some(rule), Some(reason)) => format!("{reason} (rule `{}`)", harmless(rule)),
        (None, Some(reason)) if side.answer == crate::judgement::Answer::Undecided => {
            format!("depends on the {reason}")
        }
        (None, reason) => reason.unwrap_or_default().to_owned(),
    }
}

/// What stands in a file may not move the cursor of whoever looks at it.
fn harmless(text: &str) -> String {
    let plain = |letter: char| match letter.is_control() {
        true => letter.escape_debug().to_string(),
        false => letter.to_string(),
    };
    text.chars().map(plain).collect()
}
