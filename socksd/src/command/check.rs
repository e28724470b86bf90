//! `socksd check`, and the reading of all files that other commands begin with.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;
use socks_auth::Registry;
use socks_config::{Finding, Findings};

use super::progress::Progress;
use super::screen::{Screen, say_json};
use super::{Exit, say};
use crate::snapshot::{Checked, Snapshot};

/// Where the configuration lies.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgument {
    /// The configuration file; paths in it are relative to it
    #[arg(long, short, value_name = "FILE", default_value = "/etc/socksd/socksd.yaml")]
    pub(crate) config: PathBuf,
}

/// What the operator asks for.
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    #[command(flatten)]
    config: ConfigArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The answer for programs.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    mistakes: usize,
    warnings: usize,
    findings: Vec<Shown<'a>>,
}

/// A finding for programs; a text that is secret is not in it.
#[derive(Debug, Serialize)]
pub(super) struct Shown<'a> {
    severity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn new(finding: &'a Finding) -> Self {
        let place = finding.place.as_ref();
        Self {
            severity: finding.severity.to_string(),
            file: place.map(|place| place.file()),
            line: place.map(|place| place.line()),
            column: place.map(|place| place.column()),
            message: &finding.message,
            help: finding.help.as_deref(),
        }
    }

    /// All findings, in the order of their places.
    pub(super) fn all(sorted: &'a Findings) -> Vec<Self> {
        sorted.iter().map(Self::new).collect()
    }
}

impl Check {
    pub(super) fn run(&self, registry: &Registry) -> Result<Exit, Exit> {
        if self.json {
            return self.tell_programs(registry);
        }
        let checked = load(&self.config, registry)?;
        say(format_args!("{}: no mistakes, {}", self.config.config.display(), count(&checked.warnings)));
        Ok(Exit::Done)
    }

    fn tell_programs(&self, registry: &Registry) -> Result<Exit, Exit> {
        let (mut findings, exit) = match read(&self.config.config, registry) {
            Ok(checked) => (checked.warnings, Exit::Done),
            Err(findings) => (findings, Exit::Config),
        };
        findings.sort();
        let (mistakes, warnings) = (findings.mistakes().count(), findings.warnings().count());
        say_json(&Answer { mistakes, warnings, findings: Shown::all(&findings) })?;
        Ok(exit)
    }
}

fn count(warnings: &Findings) -> String {
    match warnings.len() {
        0 => "no warnings".into(),
        1 => "1 warning".into(),
        many => format!("{many} warnings"),
    }
}

/// Reads all files; a person who waits is told so.
///
/// # Errors
/// All mistakes.
pub(super) fn read(config: &Path, registry: &Registry) -> Result<Checked, Findings> {
    let begun = Instant::now();
    let _progress =
        Progress::show(move || format!("reading and compiling all files, {} s", begun.elapsed().as_secs()));
    Snapshot::load(config, registry, None)
}

/// Loads all files, shows warnings on standard error, and mistakes with exit code 78.
pub(super) fn load(arguments: &ConfigArgument, registry: &Registry) -> Result<Checked, Exit> {
    let checked = load_again(arguments, registry)?;
    if !checked.warnings.is_empty() {
        eprintln!("{}", Screen::errors().findings(&checked.warnings));
    }
    Ok(checked)
}

/// The same for one who knows the warnings.
pub(super) fn load_again(arguments: &ConfigArgument, registry: &Registry) -> Result<Checked, Exit> {
    read(&arguments.config, registry).map_err(|findings| {
        eprintln!("{}", Screen::errors().findings(&findings));
        Exit::Config
    })
}
