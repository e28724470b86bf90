//! `socksd policy test`.

use serde::Serialize;
use socks_auth::Registry;

use super::check::{Shown, read};
use super::screen::{Mood, Screen, say_json};
use super::{ConfigArgument, Exit, load, say};

/// What the operator asks for.
#[derive(Debug, clap::Args)]
pub(super) struct Test {
    #[command(flatten)]
    config: ConfigArgument,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The answer for programs.
#[derive(Debug, Serialize)]
struct Answer<'a> {
    /// The tests that pass, in order; none are told where a file has a mistake.
    passed: Vec<&'a str>,
    /// What is wrong; a test that fails is a mistake at its place.
    findings: Vec<Shown<'a>>,
}

impl Test {
    /// Loading runs the tests already: a failing one is a mistake and shown as such.
    pub(super) fn run(&self, registry: &Registry) -> Result<Exit, Exit> {
        if self.json {
            return self.tell_programs(registry);
        }
        let results = load(&self.config, registry)?.snapshot.ruleset.run_tests();
        let ok = Screen::output().paint(Mood::Good, "ok");
        for result in &results {
            say(format_args!("{ok}: {}", result.name()));
        }
        say(format_args!("{} passed, 0 failed", results.len()));
        Ok(Exit::Done)
    }

    fn tell_programs(&self, registry: &Registry) -> Result<Exit, Exit> {
        match read(&self.config.config, registry) {
            Ok(checked) => {
                let results = checked.snapshot.ruleset.run_tests();
                let passed = results.iter().map(|result| result.name()).collect();
                say_json(&Answer { passed, findings: Shown::all(&checked.warnings) })?;
                Ok(Exit::Done)
            }
            Err(mut findings) => {
                findings.sort();
                say_json(&Answer { passed: Vec::new(), findings: Shown::all(&findings) })?;
                Ok(Exit::Config)
            }
        }
    }
}
