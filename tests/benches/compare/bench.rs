//! Rounds in which contenders take turns, and the report that grows by them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tests::bench::{self, Contender, Entry, Machine, Options, Quantity, Report, Sample, Scenario, Table};
use tests::{process, program};

/// Descriptors for ten thousand tunnels, both ends of which are in this process.
const DESCRIPTORS: u64 = 21_000;

/// A benchmark under way.
pub(crate) struct Bench {
    pub(crate) options: Options,
    /// How many descriptors this process and each server may have.
    pub(crate) descriptors: usize,
    report: Report,
}

/// What takes part in a scenario.
pub(crate) trait Named {
    fn name(&self) -> &str;

    /// The memory of its server, in octets, if it has one that goes on running.
    fn memory(&self) -> Option<u64> {
        None
    }
}

impl Bench {
    pub(crate) fn new(options: Options) -> Self {
        let milliseconds = u64::try_from(options.time.as_millis()).unwrap_or(u64::MAX);
        let report = Report::new(Machine::this(), options.rounds, milliseconds);
        let descriptors = process::allow_descriptors(DESCRIPTORS);
        Self { descriptors: usize::try_from(descriptors).unwrap_or(usize::MAX), options, report }
    }

    /// One that was measured before.
    pub(crate) fn of_report(options: Options, file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let report = Report::from_json(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        Self { options, descriptors: 0, report }
    }

    /// The scenarios of these that are wanted.
    pub(crate) fn wanted<T>(&self, all: impl IntoIterator<Item = T>, name: fn(&T) -> String) -> Vec<T> {
        all.into_iter().filter(|scenario| self.options.want(&name(scenario))).collect()
    }

    /// The contenders of these that are wanted and have their programs here, started; none without a scenario.
    pub(crate) fn start<T>(
        &mut self,
        scenarios: &[T],
        names: impl Iterator<Item = &'static str>,
    ) -> Vec<Contender> {
        if scenarios.is_empty() {
            Vec::new()
        } else {
            names.filter_map(|name| self.start_one(name)).collect()
        }
    }

    /// One contender, if it is wanted and its program is here.
    pub(crate) fn start_one(&mut self, name: &'static str) -> Option<Contender> {
        if !self.options.want_contender(name) {
            return None;
        }
        let contender = Contender::start(name);
        if contender.is_some() {
            self.name_version(name);
        } else {
            let line = format!("{name}: not on the PATH");
            let left_out = &mut self.report.machine.left_out;
            if !left_out.contains(&line) {
                println!("left out: {line}");
                left_out.push(line);
            }
        }
        contender
    }

    /// Puts the version of a contender's program into the report.
    pub(crate) fn name_version(&mut self, name: &str) {
        let programs = &mut self.report.machine.programs;
        if !programs.contains_key(name) {
            programs.extend(bench::version(name).map(|version| (name.to_owned(), version)));
        }
    }

    /// Measures all contenders in turns, so that what disturbs the machine disturbs them alike; the last one comes
    /// first in every other round. Each measurement warms up by itself.
    pub(crate) fn scenario<T: Named>(
        &mut self,
        [name, title]: [&str; 2],
        contenders: &[T],
        mut measure: impl FnMut(&T) -> Sample,
    ) {
        let mut rounds: Vec<Vec<Sample>> = contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..self.options.rounds {
            let mut turns: Vec<_> = contenders.iter().zip(&mut rounds).collect();
            if round % 2 == 1 {
                turns.reverse();
            }
            for (contender, samples) in turns {
                samples.push(with_memory(measure(contender), contender.memory()));
            }
        }
        let entries =
            contenders.iter().zip(&rounds).map(|(it, rounds)| Entry::of(it.name(), rounds)).collect();
        let scenario = Scenario { name: name.into(), title: title.into(), entries };
        println!("{}", Table::new(&scenario));
        self.report.scenarios.push(scenario);
        // Who ends it early keeps what there is.
        self.write();
    }

    /// Judges and writes the report; fails when it was asked to check and a bound is missed.
    pub(crate) fn finish(mut self) -> ExitCode {
        let bounds = bench::bounds(&self.report);
        self.report.bounds = bounds.iter().filter_map(|bound| bound.judge(&self.report)).collect();
        self.report.bounds.iter().for_each(|verdict| println!("{verdict}"));
        let missed = self.report.bounds.iter().filter(|verdict| !verdict.kept).count();
        println!("{} bounds, {missed} missed", self.report.bounds.len());
        let folder = self.write();
        self.report.write_pictures(&folder, "").expect("files in the target folder");
        println!("written: report.json and charts in {}", folder.display());
        if let Some(docs) = &self.options.pictures {
            self.report.write_pictures(&docs.join("images"), "performance-").expect("a folder with pictures");
            fs::write(docs.join("performance-results.md"), self.report.page()).expect("a folder with pages");
        }
        if self.options.check && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// Writes the report, and tells in which folder.
    fn write(&self) -> PathBuf {
        let folder = program::target().join("bench");
        fs::create_dir_all(&folder).expect("a folder in the target folder");
        let text = self.report.to_json().expect("a report is JSON");
        fs::write(folder.join("report.json"), text).expect("a file in the target folder");
        folder
    }
}

/// With what the server takes once the load is over.
fn with_memory(sample: Sample, memory: Option<u64>) -> Sample {
    #[expect(clippy::cast_precision_loss, reason = "some MiB")]
    let mebibytes = |octets: u64| octets as f64 / (1024.0 * 1024.0);
    match memory {
        Some(octets) => sample.with(Quantity::Memory, mebibytes(octets), "MiB"),
        None => sample,
    }
}

impl Named for Contender {
    fn name(&self) -> &str {
        self.name()
    }

    fn memory(&self) -> Option<u64> {
        self.memory()
    }
}

impl Named for &str {
    fn name(&self) -> &str {
        self
    }
}
