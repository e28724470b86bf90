//! How a benchmark was asked to run.

use std::path::PathBuf;
use std::time::Duration;

/// How the program is called.
pub const USAGE: &str = "\
usage: compare [--check] [--quick] [--rounds N] [--time MILLISECONDS] [--only NAME,...] [--with CONTENDER,...]
               [--report FILE] [--pictures FOLDER]";

/// What the command says.
#[derive(Debug, Clone)]
pub struct Options {
    /// Fail when a bound of the project is missed.
    pub check: bool,
    /// How many rounds; each measures every contender once.
    pub rounds: usize,
    /// How long one measurement goes on.
    pub time: Duration,
    /// How the names begin of what is measured; empty: everything.
    only: Vec<String>,
    /// The contenders; empty: all that are there.
    with: Vec<String>,
    /// A report to be judged and drawn; nothing is measured then.
    pub report: Option<PathBuf>,
    /// The folder with the documentation, if its pictures and tables are to be made anew.
    pub pictures: Option<PathBuf>,
}

impl Options {
    /// Reads the words of the command.
    ///
    /// # Errors
    /// The first word that means nothing, or has no value.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut rounds, mut time) = (None, None);
        let (mut check, mut quick) = (false, false);
        let (mut only, mut with) = (Vec::new(), Vec::new());
        let (mut report, mut pictures) = (None, None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--check" => check = true,
                "--quick" => quick = true,
                "--rounds" => rounds = Some(number(&value()?)?),
                "--time" => time = Some(number(&value()?)?),
                "--only" => only = list(&value()?),
                "--with" => with = list(&value()?),
                "--report" => report = Some(value()?.into()),
                "--pictures" => pictures = Some(value()?.into()),
                _ => return Err(format!("`{word}` means nothing here")),
            }
        }
        let (usual_rounds, usual_time) = if quick { (1, 300) } else { (5, 1000) };
        let time = Duration::from_millis(time.unwrap_or(usual_time).max(LEAST_TIME));
        let rounds = usize::try_from(rounds.unwrap_or(usual_rounds)).unwrap_or(usize::MAX).max(1);
        Ok(Self { check, rounds, time, only, with, report, pictures })
    }

    /// Tells whether the scenario of this name is to be measured.
    pub fn want(&self, scenario: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| scenario.starts_with(part.as_str()))
    }

    /// Tells whether the contender of this name is to be measured.
    pub fn want_contender(&self, name: &str) -> bool {
        self.with.is_empty() || self.with.iter().any(|wanted| wanted == name)
    }
}

/// The shortest measurement, in milliseconds.
const LEAST_TIME: u64 = 10;

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_read(words: &str) -> Result<Options, String> {
        Options::read(words.split_whitespace().map(str::to_owned))
    }

    fn read(words: &str) -> Options {
        try_read(words).expect("words with a meaning")
    }

    #[test]
    fn without_words_everything_is_measured_five_times() {
        let options = read("");
        assert!(!options.check && options.rounds == 5 && options.time == Duration::from_secs(1));
        assert!(options.want("bulk/down/1") && options.want_contender("socksd"));
    }

    #[test]
    fn words_choose_scenarios_contenders_rounds_and_time() {
        let options = read("--check --quick --rounds 2 --only bulk,trips --with socksd,splice");
        assert!(options.check && options.rounds == 2 && options.time == Duration::from_millis(300));
        assert!(options.want("bulk/up/16") && options.want("trips/1") && !options.want("udp/64/1"));
        assert!(!options.want("gssapi/bulk/integrity/up/1"), "it begins otherwise");
        assert!(options.want_contender("splice") && !options.want_contender("socksd-full"));
    }

    #[test]
    fn words_without_a_meaning_are_mistakes() {
        let mistake = |words| try_read(words).expect_err("a mistake");
        assert_eq!(mistake("--round 3"), "`--round` means nothing here");
        assert_eq!(mistake("--rounds many"), "`many` is no number");
        assert_eq!(mistake("--check --only"), "`--only` needs a value");
    }
}
