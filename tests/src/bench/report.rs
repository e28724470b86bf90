//! All that a benchmark has measured, as `report.json` holds it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Machine, Quantity, Sample, Spread, Verdict};

/// The form of the report; it grows by one when a reader of the old form would misunderstand the new one.
const VERSION: u32 = 1;

/// What was measured, where, and how it was judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Of the form.
    pub version: u32,
    /// Where, and with which programs.
    pub machine: Machine,
    /// How many measurements of each contender stand behind a figure.
    pub rounds: usize,
    /// How long each took, in milliseconds.
    pub milliseconds: u64,
    /// In the order in which they were measured.
    pub scenarios: Vec<Scenario>,
    /// The bounds of the project that could be judged.
    pub bounds: Vec<Verdict>,
}

/// One kind of load, on every contender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scenario {
    /// Its short name, such as `bulk/down/16`.
    pub name: String,
    /// What it is, in words.
    pub title: String,
    /// Each contender that took part.
    pub entries: Vec<Entry>,
}

/// What one contender reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub contender: String,
    /// Medians of the rounds, with their spread.
    pub figures: BTreeMap<Quantity, Figure>,
    /// The load generator limited the rate in most rounds; the true one may be higher.
    pub limited: bool,
    /// How it was measured otherwise than the rest.
    pub note: Option<String>,
}

/// A figure with its unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Such as `GiB/s`.
    pub unit: String,
    /// Of all rounds.
    #[serde(flatten)]
    pub spread: Spread,
}

impl Report {
    /// Nothing measured yet.
    pub fn new(machine: Machine, rounds: usize, milliseconds: u64) -> Self {
        Self { version: VERSION, machine, rounds, milliseconds, scenarios: Vec::new(), bounds: Vec::new() }
    }

    /// The scenario of that name, if it was measured.
    pub fn scenario(&self, name: &str) -> Option<&Scenario> {
        self.scenarios.iter().find(|scenario| scenario.name == name)
    }

    /// The report as text.
    ///
    /// # Errors
    /// None that a report of numbers has.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// Reads a report of this version.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let report: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if report.version != VERSION {
            return Err(format!("the report has version {}, this program reads {VERSION}", report.version));
        }
        Ok(report)
    }
}

impl Scenario {
    /// The median of a contender's figure.
    pub fn median(&self, contender: &str, quantity: Quantity) -> Option<f64> {
        self.entry(contender)?.median(quantity)
    }

    /// What a contender reached.
    pub fn entry(&self, contender: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.contender == contender)
    }
}

impl Entry {
    /// What the rounds of one contender give together.
    pub fn of(contender: &str, rounds: &[Sample]) -> Self {
        let mut figures: BTreeMap<Quantity, (Vec<f64>, &str)> = BTreeMap::new();
        for (&quantity, &(figure, unit)) in rounds.iter().flat_map(|round| &round.figures) {
            figures.entry(quantity).or_insert((Vec::new(), unit)).0.push(figure);
        }
        let told = figures.into_iter().filter_map(|(quantity, (figures, unit))| {
            Some((quantity, Figure { unit: unit.into(), spread: Spread::of(&figures)? }))
        });
        let limited = rounds.iter().filter(|round| round.limited).count() * 2 > rounds.len();
        let note = rounds.iter().rev().find_map(|round| round.note.clone());
        Self { contender: contender.into(), figures: told.collect(), limited, note }
    }

    /// The median of a figure, if it was measured.
    pub fn median(&self, quantity: Quantity) -> Option<f64> {
        self.figures.get(&quantity).map(|figure| figure.spread.median)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A scenario in which each contender has one round.
    pub(in crate::bench) fn scenario(name: &str, quantity: Quantity, figures: &[(&str, f64)]) -> Scenario {
        let entry = |&(contender, figure): &(&str, f64)| {
            Entry::of(contender, &[Sample::new().with(quantity, figure, "1/s")])
        };
        Scenario { name: name.into(), title: name.into(), entries: figures.iter().map(entry).collect() }
    }

    pub(in crate::bench) fn report(scenarios: Vec<Scenario>) -> Report {
        Report { scenarios, ..Report::new(Machine::default(), 1, 10) }
    }

    #[test]
    fn rounds_become_medians_and_what_limited_most_of_them() {
        let round = |rate, limited| Sample::new().with(Quantity::Rate, rate, "1/s").limited(limited);
        let entry = Entry::of("one", &[round(3.0, true), round(1.0, false), round(2.0, true)]);
        let spread = Spread { median: 2.0, least: 1.0, most: 3.0 };
        assert_eq!(entry.figures.get(&Quantity::Rate), Some(&Figure { unit: "1/s".into(), spread }));
        assert!(entry.limited);
        assert!(!Entry::of("one", &[round(3.0, true), round(1.0, false)]).limited, "half is not most");
    }

    #[test]
    fn a_report_is_the_same_after_json_and_other_versions_are_refused() {
        let report =
            report(vec![scenario("bulk/down/1", Quantity::Rate, &[("socksd", 1.5), ("splice", 2.0)])]);
        let text = report.to_json().expect("numbers");
        assert_eq!(Report::from_json(&text).as_ref(), Ok(&report));
        let newer = text.replacen("\"version\": 1", "\"version\": 2", 1);
        assert_eq!(
            Report::from_json(&newer),
            Err("the report has version 2, this program reads 1".to_owned())
        );
    }

    #[test]
    fn the_names_of_quantities_in_json_do_not_change() {
        let names = serde_json::to_string(&Quantity::ALL).expect("names");
        let expected = r#"["rate","cpu","p50","p99","tunnel","memory","server","generator","failed"]"#;
        assert_eq!(names, expected);
    }
}
