//! The bounds of the project that a benchmark holds its figures against.

use std::fmt::Display;
use std::process::ExitCode;

use super::Options;

/// Bounds that were looked at, and those that were missed.
#[derive(Debug, Default)]
pub struct Bounds {
    missed: Vec<String>,
}

impl Bounds {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prints a figure with the least that it may be.
    pub fn at_least(&mut self, what: impl Display, figure: f64, bound: f64) {
        self.judge(format!("{what}: {figure:.2} (bound: at least {bound:.2})"), figure >= bound);
    }

    /// Prints a figure with the most that it may be.
    pub fn at_most(&mut self, what: impl Display, figure: f64, bound: f64) {
        self.judge(format!("{what}: {figure:.2} (bound: at most {bound:.2})"), figure <= bound);
    }

    // What is no number has missed every bound.
    fn judge(&mut self, line: String, kept: bool) {
        println!("{} {line}", if kept { "kept  " } else { "MISSED" });
        if !kept {
            self.missed.push(line);
        }
    }

    /// Prints what was missed; a failure only if the benchmark was asked to check.
    pub fn verdict(self, options: Options) -> ExitCode {
        match self.missed.as_slice() {
            [] => println!("\nall bounds are kept"),
            missed => println!("\nmissed:\n  {}", missed.join("\n  ")),
        }
        if options.check && !self.missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_bound_fails_only_who_checks_and_no_number_misses_every_bound() {
        let options = |check| Options { check, rounds: 1, only: "" };
        let missed = |judge: fn(&mut Bounds)| {
            let mut bounds = Bounds::new();
            judge(&mut bounds);
            assert_eq!(
                format!("{:?}", Bounds::new().verdict(options(true))),
                format!("{:?}", ExitCode::SUCCESS)
            );
            let lenient = format!("{:?}", Bounds { missed: bounds.missed.clone() }.verdict(options(false)));
            assert_eq!(lenient, format!("{:?}", ExitCode::SUCCESS));
            format!("{:?}", bounds.verdict(options(true))) == format!("{:?}", ExitCode::FAILURE)
        };
        assert!(!missed(|bounds| bounds.at_least("speed", 2.0, 2.0)));
        assert!(!missed(|bounds| bounds.at_most("cost", 0.5, 0.5)));
        assert!(missed(|bounds| bounds.at_least("speed", 1.9, 2.0)));
        assert!(missed(|bounds| bounds.at_most("cost", 0.51, 0.5)));
        assert!(missed(|bounds| bounds.at_least("speed", f64::NAN, 2.0)));
        assert!(missed(|bounds| bounds.at_most("cost", f64::NAN, 0.5)));
    }
}
