//! What is wrong with a file, and how it is shown.

use std::fmt;

use crate::Place;

/// The most characters of a source line that are shown.
const SHOWN_WIDTH: usize = 120;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The file cannot be used.
    Mistake,
    /// The file can be used, and probably does not do what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mistake => "mistake",
            Self::Warning => "warning",
        })
    }
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where it is; `None` where a file as a whole is meant.
    pub place: Option<Place>,
    /// What is wrong: lower case, no full stop, values in backticks.
    pub message: String,
    /// What would be right, if that can be said; it may have several lines.
    pub help: Option<String>,
}

impl Finding {
    /// A mistake at a place.
    pub fn mistake(place: &Place, message: impl Into<String>) -> Self {
        Self { place: Some(place.clone()), ..Self::unplaced(message) }
    }

    /// A warning at a place.
    pub fn warning(place: &Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::mistake(place, message) }
    }

    /// A mistake that has no place in a file, such as the file's absence.
    pub fn unplaced(message: impl Into<String>) -> Self {
        Self { severity: Severity::Mistake, place: None, message: message.into(), help: None }
    }

    /// The same finding with a word on what would be right.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same finding; a did-you-mean is added if there is a likely word.
    #[must_use]
    pub fn with_nearest(self, text: &str, words: &[&str]) -> Self {
        match crate::nearest(text, words) {
            Some(word) => self.with_help(format!("did you mean `{word}`?")),
            None => self,
        }
    }

    /// Tells whether the file cannot be used.
    pub fn is_mistake(&self) -> bool {
        self.severity == Severity::Mistake
    }

    fn sort_key(&self) -> (&str, usize) {
        self.place.as_ref().map_or(("", 0), |place| (place.file(), place.offsets().start))
    }
}

impl fmt::Display for Finding {
    /// The place and the message, then the line with the text underlined, then the help.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}: {}", self.severity, printable(&self.message))?;
        let gutter = match &self.place {
            Some(place) if !place.source().is_secret() => show_line(place, f)?,
            _ => 0,
        };
        let heads = std::iter::once("help: ").chain(std::iter::repeat("      "));
        for (head, line) in heads.zip(self.help.iter().flat_map(|help| help.lines())) {
            write!(f, "\n {:gutter$}  {head}{}", "", printable(line))?;
        }
        Ok(())
    }
}

/// Shows a place's line with the place underlined, and gives the width of the line's number.
fn show_line(place: &Place, f: &mut fmt::Formatter<'_>) -> Result<usize, fmt::Error> {
    let number = place.line().to_string();
    let before = place.column() - 1;
    // A line of a generated file may be huge: show what stands around the place.
    let hidden = if before > SHOWN_WIDTH / 2 { before - SHOWN_WIDTH / 4 } else { 0 };
    let line: String = place.source().line(place.line()).chars().skip(hidden).take(SHOWN_WIDTH).collect();
    let indent: String =
        line.chars().take(before - hidden).map(|it| if it == '\t' { '\t' } else { ' ' }).collect();
    let carets = place.length().clamp(1, SHOWN_WIDTH.saturating_sub(before - hidden).max(1));
    let gutter = number.len();
    write!(f, "\n {number} | {}", printable(&line))?;
    write!(f, "\n {:gutter$} | {indent}{}", "", "^".repeat(carets))?;
    Ok(gutter)
}

/// Text for a terminal: a file's control characters do not reach it.
fn printable(text: &str) -> String {
    text.chars()
        .map(|it| if it.is_control() && it != '\t' { char::REPLACEMENT_CHARACTER } else { it })
        .collect()
}

/// All that is wrong with one or more files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

impl Findings {
    /// Adds a finding.
    pub fn push(&mut self, finding: Finding) {
        self.0.push(finding);
    }

    /// Adds a mistake at a place.
    pub fn mistake(&mut self, place: &Place, message: impl Into<String>) {
        self.push(Finding::mistake(place, message));
    }

    /// Adds a warning at a place.
    pub fn warning(&mut self, place: &Place, message: impl Into<String>) {
        self.push(Finding::warning(place, message));
    }

    /// Takes the value of a step, or notes why there is none.
    pub fn note<T>(&mut self, result: Result<T, Finding>) -> Option<T> {
        result.map_err(|finding| self.push(finding)).ok()
    }

    /// The value, unless there are mistakes; warnings stay behind in `self`.
    ///
    /// # Errors
    /// All findings, warnings among them, if one of them is a mistake or there is no value.
    pub fn take_result<T>(&mut self, value: Option<T>) -> Result<T, Findings> {
        match value {
            Some(value) if !self.has_mistakes() => Ok(value),
            _ => Err(std::mem::take(self)),
        }
    }

    /// Tells whether a file cannot be used.
    pub fn has_mistakes(&self) -> bool {
        self.mistakes().next().is_some()
    }

    /// The mistakes alone.
    pub fn mistakes(&self) -> impl Iterator<Item = &Finding> {
        self.iter().filter(|finding| finding.is_mistake())
    }

    /// The warnings alone.
    pub fn warnings(&self) -> impl Iterator<Item = &Finding> {
        self.iter().filter(|finding| !finding.is_mistake())
    }

    /// All findings, in the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts them into the order of their places; those without a place come first.
    pub fn sort(&mut self) {
        self.0.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
    }
}

impl fmt::Display for Findings {
    /// All findings, in the order of their places, one below the other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by(|one, other| one.sort_key().cmp(&other.sort_key()));
        for (position, finding) in sorted.into_iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            finding.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

impl Extend<Finding> for Findings {
    fn extend<I: IntoIterator<Item = Finding>>(&mut self, findings: I) {
        self.0.extend(findings);
    }
}

impl FromIterator<Finding> for Findings {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        Self(findings.into_iter().collect())
    }
}

impl IntoIterator for Findings {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;

    #[test]
    fn a_finding_shows_line_text_and_help() {
        let source = Source::new("policy.yaml", "rules:\n\tsorce: ä\n");
        let finding = Finding::mistake(&Place::new(&source, 8, 13), "unknown key `sorce`");
        let shown = finding.with_nearest("sorce", &["action", "source"]).to_string();
        let expected = "policy.yaml:2:2: mistake: unknown key `sorce`\n 2 | \tsorce: ä\n   | \t^^^^^\n    help: did you mean `source`?";
        assert_eq!(shown, expected);
    }

    #[test]
    fn help_of_several_lines_stays_in_its_column() {
        let shown = Finding::unplaced("bad").with_help("one\ntwo").to_string();
        assert_eq!(shown, "mistake: bad\n   help: one\n         two");
    }

    #[test]
    fn findings_are_shown_in_the_order_of_their_places() {
        let source = Source::new("f", "one two\nthree");
        let mut findings = Findings::default();
        findings.mistake(&Place::new(&source, 8, 13), "third");
        findings.warning(&Place::new(&source, 4, 7), "second");
        findings.push(Finding::unplaced("first"));
        let shown = findings.to_string();
        let heads: Vec<_> = shown.lines().filter(|line| !line.starts_with(' ')).collect();
        assert_eq!(heads, ["mistake: first", "f:1:5: warning: second", "f:2:1: mistake: third"]);
        assert_eq!((findings.mistakes().count(), findings.warnings().count()), (2, 1));
    }

    #[test]
    fn a_huge_line_is_shown_around_the_place() {
        let text = "x".repeat(1_000_000);
        let shown = Finding::mistake(&Place::new(&Source::new("f", text), 500_000, 900_000), "m").to_string();
        assert!(shown.len() < 400, "{shown}");
    }

    #[test]
    fn control_characters_of_a_file_do_not_reach_the_terminal() {
        let place = Place::new(&Source::new("f", "a\u{1b}[2Jb"), 0, 3);
        assert!(!Finding::mistake(&place, "bad `\u{7}`").to_string().contains(['\u{1b}', '\u{7}']));
    }

    #[test]
    fn a_secret_text_is_not_shown() {
        let place = Place::new(&Source::secret("f", "password: hunter2"), 10, 17);
        assert_eq!(Finding::mistake(&place, "is no hash").to_string(), "f:1:11: mistake: is no hash");
        assert!(!format!("{place:?}").contains("hunter2"));
    }

    #[test]
    fn warnings_alone_do_not_withhold_the_value() {
        let mut findings = Findings::default();
        findings.warning(&Place::new(&Source::new("f", "a"), 0, 1), "odd");
        assert_eq!(findings.take_result(Some(1)), Ok(1));
        assert_eq!(findings.len(), 1);
        findings.push(Finding::unplaced("bad"));
        assert_eq!(findings.take_result(Some(1)).unwrap_err().len(), 2);
    }
}
