//! Figures now beside those in the tree: what has become worse by more than chance is a failure, and so is what has become
//! better and was not written down.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Write as _, stderr};
use std::path::Path;
use std::{env, fmt, fs};

use serde::{Deserialize, Serialize};

use crate::program::workspace;

/// Figures by the name of what was measured; less is better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// With what they were taken: figures of another compiler or processor differ without anybody's doing.
    pub taken_with: String,
    /// The figures.
    pub figures: BTreeMap<String, u64>,
}

/// By how many percent figures may change, up or down.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Where the figures of before were taken with the same.
    pub alike: u64,
    /// Where they were taken with something else.
    pub elsewhere: u64,
}

impl Baseline {
    /// Holds them to those in that file of the tree, and shows both. The variable `SOCKSD_WRITE_BASELINES` says to
    /// write them there first.
    ///
    /// # Panics
    /// When they are not within the tolerance.
    pub fn hold(&self, file: &str, tolerance: Tolerance) {
        let file = workspace().join(file);
        if env::var_os("SOCKSD_WRITE_BASELINES").is_some() {
            self.write(&file);
        }
        let comparison = Comparison::new(&Self::read(&file), self, tolerance);
        // Past what a test harness keeps for itself: the table is worth to be seen each time.
        write!(stderr(), "\n{comparison}").expect("standard error is open");
        let complaints = comparison.complaints();
        assert!(
            complaints.is_empty(),
            "{}\nif that is meant, `make baselines` writes the new figures",
            complaints.join("\n")
        );
    }

    fn read(file: &Path) -> Self {
        let text = fs::read(file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    fn write(&self, file: &Path) {
        let text = serde_json::to_string_pretty(self).expect("names and numbers");
        fs::write(file, text + "\n")
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
    }
}

/// What has become of each figure.
struct Comparison {
    changes: Vec<Change>,
    /// In percent.
    tolerance: u64,
    /// With what the figures of before were taken, if that was something else.
    elsewhere: Option<String>,
}

struct Change {
    name: String,
    before: Option<u64>,
    now: Option<u64>,
}

impl Comparison {
    fn new(before: &Baseline, now: &Baseline, tolerance: Tolerance) -> Self {
        let names: BTreeSet<&String> = before.figures.keys().chain(now.figures.keys()).collect();
        let figure = |baseline: &Baseline, name| baseline.figures.get(name).copied();
        let changes = names.into_iter().map(|name| Change {
            name: name.clone(),
            before: figure(before, name),
            now: figure(now, name),
        });
        let elsewhere = Some(before.taken_with.clone()).filter(|before| *before != now.taken_with);
        let tolerance = if elsewhere.is_some() { tolerance.elsewhere } else { tolerance.alike };
        Self { changes: changes.collect(), tolerance, elsewhere }
    }

    /// The changes that are not let pass, in words.
    fn complaints(&self) -> Vec<String> {
        self.changes.iter().filter_map(|change| change.complaint(self.tolerance)).collect()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:56} {:>8} {:>8} {:>8}", "", "before", "now", "change")?;
        for change in &self.changes {
            writeln!(f, "{change}")?;
        }
        let Some(elsewhere) = &self.elsewhere else { return Ok(()) };
        let tolerance = self.tolerance;
        writeln!(f, "before was with `{elsewhere}`: only changes of more than {tolerance} % tell something")
    }
}

impl Change {
    fn complaint(&self, tolerance: u64) -> Option<String> {
        let name = &self.name;
        match (self.before, self.now) {
            (None, _) => Some(format!("`{name}` is new")),
            (_, None) => Some(format!("`{name}` is not measured any more")),
            (Some(before), Some(now)) if now * 100 > before * (100 + tolerance) => {
                Some(format!("`{name}` takes more than before: {now} instead of {before}"))
            }
            (Some(before), Some(now)) if now * (100 + tolerance) < before * 100 => {
                Some(format!("`{name}` takes less than before, well done: {now} instead of {before}"))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |figure: Option<u64>| figure.map_or("-".into(), |figure| figure.to_string());
        write!(f, "{:56} {:>8} {:>8}", self.name, shown(self.before), shown(self.now))?;
        match (self.before, self.now) {
            (Some(before), Some(now)) if before > 0 => {
                write!(f, " {:>+6.1} %", (now as f64 / before as f64 - 1.0) * 100.0)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance { alike: 10, elsewhere: 50 };

    fn baseline(compiler: &str, figures: &[(&str, u64)]) -> Baseline {
        let figures = figures.iter().map(|(name, figure)| ((*name).to_owned(), *figure)).collect();
        Baseline { taken_with: compiler.into(), figures }
    }

    fn complaints(now: u64, compiler: &str) -> usize {
        let (before, now) = (baseline("one", &[("it", 100)]), baseline(compiler, &[("it", now)]));
        Comparison::new(&before, &now, TOLERANCE).complaints().len()
    }

    #[test]
    fn more_than_a_tenth_up_or_down_is_told() {
        for (now, expected) in [(111, 1), (110, 0), (100, 0), (91, 0), (90, 1), (0, 1)] {
            assert_eq!(complaints(now, "one"), expected, "{now}");
        }
    }

    #[test]
    fn with_another_compiler_only_large_changes_are_told() {
        for (now, expected) in [(151, 1), (150, 0), (67, 0), (66, 1)] {
            assert_eq!(complaints(now, "two"), expected, "{now}");
        }
    }

    #[test]
    fn figures_that_come_or_go_are_told() {
        let (before, now) =
            (baseline("one", &[("old", 7), ("same", 8)]), baseline("one", &[("same", 8), ("young", 9)]));
        let comparison = Comparison::new(&before, &now, TOLERANCE);
        assert_eq!(comparison.complaints(), ["`old` is not measured any more", "`young` is new"]);
        let table = comparison.to_string();
        assert!(table.contains("same") && table.contains("+0.0 %"), "{table}");
    }
}
