//! How a benchmark was asked to run.

use std::path::PathBuf;
use std::time::Duration;

/// What the command says; what cargo adds to it is ignored.
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
    /// The folder with the documentation, if its pictures and tables are to be made anew.
    pub pictures: Option<PathBuf>,
}

impl Options {
    /// Reads `--check`, `--rounds N`, `--time MILLISECONDS`, `--quick`, `--only NAME,NAME`, `--with NAME,NAME`
    /// and `--pictures FOLDER`.
    pub fn from_arguments() -> Self {
        Self::read(&std::env::args().skip(1).collect::<Vec<_>>())
    }

    fn read(words: &[String]) -> Self {
        let has = |option: &str| words.iter().any(|word| word == option);
        let behind = |option: &str| words.iter().skip_while(|word| *word != option).nth(1);
        let number = |option: &str| behind(option).and_then(|text| text.parse::<u64>().ok());
        let list = |option: &str| -> Vec<String> {
            behind(option).map(|text| text.split(',').map(str::to_owned).collect()).unwrap_or_default()
        };
        let (rounds, time) = if has("--quick") { (1, 300) } else { (5, 1000) };
        Self {
            check: has("--check"),
            rounds: number("--rounds").and_then(|number| number.try_into().ok()).unwrap_or(rounds).max(1),
            time: Duration::from_millis(number("--time").unwrap_or(time).max(10)),
            only: list("--only"),
            with: list("--with"),
            pictures: behind("--pictures").map(PathBuf::from),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Options {
        Options::read(&words.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn without_words_everything_is_measured_five_times() {
        let options = read("--bench");
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
}
