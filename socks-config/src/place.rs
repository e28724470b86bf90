//! Where something stands in a file.

use std::fmt;
use std::sync::Arc;

/// A file's name and text; shared by all places in it.
pub struct Source {
    name: Box<str>,
    text: Box<str>,
    /// The offset of each line's first octet.
    lines: Box<[u32]>,
    secret: bool,
}

impl Source {
    /// A text under the name that findings show.
    ///
    /// Places in it can only be told apart within the first 4 GiB.
    pub fn new(name: &str, text: impl Into<Box<str>>) -> Arc<Self> {
        Arc::new(Self::of(name, text.into(), false))
    }

    /// A text that findings must not show: they name the place alone.
    pub fn secret(name: &str, text: impl Into<Box<str>>) -> Arc<Self> {
        Arc::new(Self::of(name, text.into(), true))
    }

    fn of(name: &str, text: Box<str>, secret: bool) -> Self {
        Self { name: name.into(), lines: line_starts(&text), text, secret }
    }

    /// Tells whether findings must not show the text.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// The name that findings show: a path, as the operator wrote it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A line's text without its end; the first line is 1.
    pub(crate) fn line(&self, number: usize) -> &str {
        let begin = number.checked_sub(1).and_then(|index| self.lines.get(index)).copied().unwrap_or(0);
        let end = self.lines.get(number).map_or(self.text.len(), |end| *end as usize);
        self.slice(begin as usize, end).trim_end_matches(['\r', '\n'])
    }

    /// The number of the line that holds that octet; the first is 1.
    fn line_number(&self, offset: u32) -> usize {
        self.lines.partition_point(|start| *start <= offset).max(1)
    }

    fn line_start(&self, number: usize) -> usize {
        self.lines.get(number.saturating_sub(1)).map_or(0, |start| *start as usize)
    }

    /// The text between two offsets, or nothing where they do not stand between characters.
    fn slice(&self, begin: usize, end: usize) -> &str {
        self.text.get(begin..end.min(self.text.len())).unwrap_or_default()
    }
}

/// Lines end with LF, CR LF, or a lone CR, as YAML has it.
fn line_starts(text: &str) -> Box<[u32]> {
    let octets = text.as_bytes();
    let ends = octets.iter().enumerate().filter(|(index, octet)| match octet {
        b'\n' => true,
        b'\r' => octets.get(index + 1) != Some(&b'\n'),
        _ => false,
    });
    std::iter::once(0).chain(ends.filter_map(|(index, _)| u32::try_from(index + 1).ok())).collect()
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A stretch of a file's text.
#[derive(Clone)]
pub struct Place {
    source: Arc<Source>,
    begin: u32,
    end: u32,
}

impl Place {
    /// The stretch between two octets of a source; offsets behind its end stand for its end.
    pub fn new(source: &Arc<Source>, begin: usize, end: usize) -> Self {
        let last = u32::try_from(source.text.len()).unwrap_or(u32::MAX);
        let clamp = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX).min(last);
        Self { source: Arc::clone(source), begin: clamp(begin), end: clamp(end).max(clamp(begin)) }
    }

    /// The file.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The file's name.
    pub fn file(&self) -> &str {
        &self.source.name
    }

    /// The line, counted from 1.
    pub fn line(&self) -> usize {
        self.source.line_number(self.begin)
    }

    /// The column in characters, counted from 1; a tab is one character.
    pub fn column(&self) -> usize {
        let start = self.source.line_start(self.line());
        self.source.slice(start, self.begin as usize).chars().count() + 1
    }

    /// The length in characters of the part that stands in the first line.
    pub fn length(&self) -> usize {
        self.text().chars().count()
    }

    /// The offending text, as far as it stands in the first line.
    pub fn text(&self) -> &str {
        let text = self.source.slice(self.begin as usize, self.end as usize);
        text.split(['\n', '\r']).next().unwrap_or_default().trim_end()
    }

    /// The octets' offsets in the source's text.
    pub fn offsets(&self) -> std::ops::Range<usize> {
        self.begin as usize..self.end as usize
    }

    /// The place from here to the end of another in the same file.
    pub(crate) fn until(mut self, end: usize) -> Self {
        self.end = u32::try_from(end).unwrap_or(u32::MAX).max(self.begin);
        self
    }
}

impl PartialEq for Place {
    /// Places are the same if they stand at the same spot of files with the same name.
    fn eq(&self, other: &Self) -> bool {
        self.file() == other.file() && self.offsets() == other.offsets()
    }
}

impl Eq for Place {}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file(), self.line(), self.column())
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.source.secret { ".." } else { self.text() };
        write!(f, "Place({self} `{text}`)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_in_three_ways() {
        let text = "äö x\r\ny\rz\n\tw";
        let source = Source::new("f", text);
        for (what, expected) in [("x", (1, 4)), ("y", (2, 1)), ("z", (3, 1)), ("w", (4, 2))] {
            let begin = text.find(what).unwrap();
            let place = Place::new(&source, begin, begin + 1);
            assert_eq!((place.line(), place.column(), place.text()), (expected.0, expected.1, what));
        }
    }

    #[test]
    fn offsets_behind_the_end_stand_for_the_end() {
        let place = Place::new(&Source::new("f", "ab\n"), 90, 3);
        assert_eq!((place.line(), place.column(), place.text()), (2, 1, ""));
    }

    #[test]
    fn a_stretch_of_several_lines_shows_its_first() {
        let place = Place::new(&Source::new("f", "a:  \r\n  b"), 0, 9);
        assert_eq!((place.text(), place.length()), ("a:", 2));
    }
}
