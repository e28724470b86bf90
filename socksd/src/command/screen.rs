//! What a command shows: plain text for a pipe, coloured words for a person, JSON for a program.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use clap::ValueEnum;
use serde::Serialize;
use socks_config::{Finding, Findings, Severity};

use super::Exit;

// The words below are explained by the option's own text.
/// When words are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

/// What the command line says; it holds for the whole process.
static CHOICE: OnceLock<Color> = OnceLock::new();

impl Color {
    /// Makes it count from now on; only the first call does.
    pub(super) fn choose(self) {
        let _ = CHOICE.set(self);
    }

    fn is_on(self, stream: &impl IsTerminal) -> bool {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                stream.is_terminal()
                    && variable("NO_COLOR").is_none()
                    && variable("TERM").is_none_or(|term| term != "dumb")
            }
        }
    }
}

/// What a word says about the state of things.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    Good,
    Note,
    Warning,
    Bad,
}

/// How one stream is written to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    coloured: bool,
}

impl Screen {
    /// Standard output.
    pub(super) fn output() -> Self {
        Self { coloured: chosen().is_on(&io::stdout()) }
    }

    /// Standard error.
    pub(super) fn errors() -> Self {
        Self { coloured: chosen().is_on(&io::stderr()) }
    }

    /// The text in the colour of its mood.
    pub(super) fn paint(self, mood: Mood, text: &str) -> String {
        let code = match mood {
            Mood::Good => "32",
            Mood::Note => "36",
            Mood::Warning => "33",
            Mood::Bad => "1;31",
        };
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// The lines of a text, each with its first word coloured if `mood` says so, who knows it and the rest.
    pub(super) fn paint_heads(self, text: &str, mood: impl Fn(&str, &str) -> Option<Mood>) -> String {
        let line = |line: &str| {
            let end = line.find([' ', ':']).unwrap_or(line.len());
            let (word, rest) = line.split_at(end);
            mood(word, rest).map_or_else(|| line.to_owned(), |mood| self.paint(mood, word) + rest)
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    /// Findings in the order of their places, with what they are in colour.
    pub(super) fn findings(self, findings: &Findings) -> String {
        let mut sorted = findings.clone();
        sorted.sort();
        sorted.iter().map(|finding| self.finding(finding)).collect::<Vec<_>>().join("\n")
    }

    fn finding(self, finding: &Finding) -> String {
        let text = finding.to_string();
        let place = finding.place.as_ref().map_or(0, |place| format!("{place}: ").len());
        let word = finding.severity.to_string();
        let mood = if finding.severity == Severity::Mistake { Mood::Bad } else { Mood::Warning };
        match (text.get(..place), text.get(place..).and_then(|rest| rest.strip_prefix(&*word))) {
            (Some(head), Some(rest)) => format!("{head}{}{rest}", self.paint(mood, &word)),
            _ => text,
        }
    }
}

fn chosen() -> Color {
    CHOICE.get().copied().unwrap_or(Color::Auto)
}

/// Prints a line to standard output; a closed pipe (`| head`) is nobody's mistake.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Prints one JSON object.
pub(super) fn say_json(value: &impl Serialize) -> Result<(), Exit> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| fail(Exit::Software, format_args!("no JSON: {error}")))?;
    say(text);
    Ok(())
}

/// Shows why something failed, and gives the exit code for it.
pub(crate) fn fail(exit: Exit, text: impl Display) -> Exit {
    eprintln!("{text}");
    exit
}

#[cfg(test)]
mod tests {
    use socks_config::{Place, Source};

    use super::*;

    const PLAIN: Screen = Screen { coloured: false };
    const COLOURED: Screen = Screen { coloured: true };

    fn findings() -> Findings {
        let source = Source::new("mistake: f", "one two");
        let mut findings = Findings::default();
        findings.mistake(&Place::new(&source, 4, 7), "no `mistake: `");
        findings.warning(&Place::new(&source, 0, 3), "odd");
        findings
    }

    #[test]
    fn findings_without_colour_are_what_they_always_were() {
        assert_eq!(PLAIN.findings(&findings()), findings().to_string());
    }

    #[test]
    fn the_word_that_says_how_bad_it_is_is_coloured_and_nothing_else() {
        let shown = COLOURED.findings(&findings());
        let heads: Vec<_> = shown.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(
            heads,
            [
                "mistake: f:1:1: \x1b[33mwarning\x1b[0m: odd",
                "mistake: f:1:5: \x1b[1;31mmistake\x1b[0m: no `mistake: `"
            ]
        );
        assert_eq!(
            shown.replace("\x1b[33m", "").replace("\x1b[1;31m", "").replace("\x1b[0m", ""),
            findings().to_string()
        );
    }

    #[test]
    fn only_first_words_that_are_known_are_coloured() {
        let mood = |word: &str, _: &str| (word == "ok").then_some(Mood::Good);
        assert_eq!(
            COLOURED.paint_heads("ok: a\nno ok\nok", mood),
            "\x1b[32mok\x1b[0m: a\nno ok\n\x1b[32mok\x1b[0m"
        );
        assert_eq!(PLAIN.paint_heads("ok: a\nno ok", mood), "ok: a\nno ok");
    }

    #[test]
    fn always_and_never_ask_nobody() {
        let file = tempfile::tempfile().unwrap();
        assert!(Color::Always.is_on(&file) && !Color::Never.is_on(&file) && !Color::Auto.is_on(&file));
    }
}
