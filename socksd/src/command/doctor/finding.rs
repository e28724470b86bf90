//! What was found, how bad it is, and what to do about it.

use std::fmt;

use serde::Serialize;

use crate::command::screen::Mood;

/// All findings.
#[derive(Debug, Default, Serialize)]
pub(super) struct Answer {
    findings: Vec<Finding>,
}

/// Adds findings about one authenticator.
pub(super) struct Report<'a> {
    about: Box<str>,
    findings: &'a mut Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Finding {
    /// What was looked at; stays the same from version to version.
    id: &'static str,
    severity: Severity,
    /// The name of the `auth` entry.
    authenticator: Box<str>,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing, or not to be found out.
    Note,
    /// It works, but.
    Warning,
    /// Clients are refused, or others may come in.
    Mistake,
}

impl Answer {
    pub(super) fn about(&mut self, authenticator: &str) -> Report<'_> {
        Report { about: authenticator.into(), findings: &mut self.findings }
    }

    pub(super) fn has_mistakes(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Mistake)
    }
}

impl Report<'_> {
    pub(super) fn ok(&mut self, id: &'static str, text: impl Into<String>) {
        self.add(id, Severity::Ok, [text.into(), String::new()]);
    }

    pub(super) fn note(&mut self, id: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(id, Severity::Note, [text.into(), remedy.into()]);
    }

    pub(super) fn warning(&mut self, id: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(id, Severity::Warning, [text.into(), remedy.into()]);
    }

    pub(super) fn mistake(&mut self, id: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.add(id, Severity::Mistake, [text.into(), remedy.into()]);
    }

    /// Adds a finding; an empty remedy is none.
    fn add(&mut self, id: &'static str, severity: Severity, [text, remedy]: [String; 2]) {
        let remedy = Some(remedy).filter(|remedy| !remedy.is_empty());
        let authenticator = self.about.clone();
        self.findings.push(Finding { id, severity, authenticator, text, remedy });
    }
}

/// One line for each finding. Names from files have no say in how the lines look.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, finding) in self.findings.iter().enumerate() {
            if position > 0 {
                writeln!(f)?;
            }
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, severity, authenticator, .. } = self;
        write!(f, "{:<8} {authenticator} {id}: {}", severity.as_str(), printable(&self.text))?;
        match &self.remedy {
            Some(remedy) => write!(f, "; remedy: {}", printable(remedy)),
            None => Ok(()),
        }
    }
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Mistake => "mistake",
        }
    }
}

/// What the word at the begin of a line says, for the screen.
pub(super) fn mood(word: &str, _: &str) -> Option<Mood> {
    match word {
        "ok" => Some(Mood::Good),
        "note" => Some(Mood::Note),
        "warning" => Some(Mood::Warning),
        "mistake" => Some(Mood::Bad),
        _ => None,
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_one_line_with_its_remedy() {
        let mut answer = Answer::default();
        let mut report = answer.about("gssapi");
        report.ok("clock", "it is right");
        report.mistake("keytab-file", "bad\nname", "mend it");
        report.warning("x", "odd", "");
        let lines = "ok       gssapi clock: it is right\n\
                     mistake  gssapi keytab-file: bad\u{FFFD}name; remedy: mend it\n\
                     warning  gssapi x: odd";
        assert_eq!(answer.to_string(), lines);
        assert!(answer.has_mistakes());
    }
}
