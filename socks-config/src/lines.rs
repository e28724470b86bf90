//! Plain text files of one value in each line.

use std::path::Path;
use std::sync::Arc;

use crate::document::text_of;
use crate::{Finding, Node, Place, Scalar, Source, Value};

/// A text file of one value in each line.
///
/// White space around a value does not count, nor do empty lines and what stands behind a `#` at the beginning of a line
/// or after white space.
#[derive(Debug, Clone)]
pub struct Lines {
    source: Arc<Source>,
}

impl Lines {
    /// Reads a file of at most [`MAX_LEN`](crate::MAX_LEN) octets.
    ///
    /// # Errors
    /// A file that is not there, no ordinary file, not UTF-8 or too large; without a place.
    pub fn read(path: &Path) -> Result<Self, Finding> {
        let name = path.display().to_string();
        // A pipe would keep the reader waiting.
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Finding::unplaced(format!("`{name}` is no ordinary file")));
        }
        Ok(Self::of(&name, &text_of(path)?))
    }

    /// Reads a text under the name that findings show.
    pub fn of(name: &str, text: &str) -> Self {
        Self { source: Source::new(name, text.strip_prefix('\u{FEFF}').unwrap_or(text)) }
    }

    /// The values in order, each a scalar at its place.
    pub fn iter(&self) -> impl Iterator<Item = Node> {
        let mut begin = 0;
        self.source.text().split('\n').filter_map(move |line| {
            let start = begin;
            begin += line.len() + 1;
            let value = without_comment(line).trim_end();
            let text = value.trim_start();
            let (first, end) = (start + value.len() - text.len(), start + value.len());
            let place = Place::new(&self.source, first, end);
            (!text.is_empty()).then(|| Node { place, value: Value::Scalar(Scalar::new(text, true)) })
        })
    }
}

/// A line up to its comment.
fn without_comment(line: &str) -> &str {
    let is_comment =
        |at: &usize| line.get(..*at).is_some_and(|head| head.is_empty() || head.ends_with([' ', '\t']));
    let begin = line.match_indices('#').map(|(at, _)| at).find(is_comment);
    begin.and_then(|at| line.get(..at)).unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_value_at_its_place() {
        let lines = Lines::of("f", "\u{FEFF}# head\r\none\r\n\n\t two # words\n#three\nfo#ur \nfive");
        let found = lines.iter().map(|node| {
            (
                node.text().unwrap().to_owned(),
                node.place.line(),
                node.place.column(),
                node.place.text().to_owned(),
            )
        });
        let found: Vec<_> = found.collect();
        let expected = [("one", 2, 1), ("two", 4, 3), ("fo#ur", 6, 1), ("five", 7, 1)];
        let expected = expected.map(|(text, line, column)| (text.to_owned(), line, column, text.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_a_finding() {
        assert!(Lines::read(Path::new("/nowhere/list")).unwrap_err().message.contains("cannot read"));
        assert!(Lines::read(Path::new("/dev/null")).unwrap_err().message.contains("is no ordinary file"));
    }
}
