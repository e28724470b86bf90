//! HTML that is put together from markup of the program's own and from texts of anybody's.

use std::fmt::{self, Display, Write};

/// A piece of HTML. Whatever is not written in the program itself comes in escaped: there is no other way in.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup of the program's own.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, whoever wrote it. What cannot be seen, or turns the direction of writing, is shown by its number.
    pub(super) fn text(&mut self, text: impl Display) -> &mut Self {
        // Writing to a string cannot fail.
        let _ = write!(Escaped { out: &mut self.0, shows_unseen: true }, "{text}");
        self
    }

    /// Adds an attribute to the tag that was begun; its value is exactly that text.
    pub(super) fn attribute(&mut self, name: &'static str, value: impl Display) -> &mut Self {
        self.0.push(' ');
        self.0.push_str(name);
        self.0.push_str("=\"");
        let _ = write!(Escaped { out: &mut self.0, shows_unseen: false }, "{value}");
        self.0.push('"');
        self
    }

    /// Adds markup around a text.
    pub(super) fn within(&mut self, begin: &'static str, text: impl Display, end: &'static str) -> &mut Self {
        self.raw(begin).text(text).raw(end)
    }

    /// Adds text in which backticks stand around what is quoted.
    pub(super) fn marked(&mut self, text: &str) -> &mut Self {
        let mut parts = text.split('`');
        let (first, mut begins) = (parts.next().unwrap_or_default(), true);
        self.text(first);
        for part in parts {
            self.raw(if begins { "<code>" } else { "</code>" }).text(part);
            begins = !begins;
        }
        self.raw(if begins { "" } else { "</code>" })
    }

    /// Adds a piece that was put together before.
    pub(super) fn add(&mut self, piece: &Self) -> &mut Self {
        self.0.push_str(&piece.0);
        self
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Writes text so that it cannot be taken for markup, in an element or in a quoted attribute.
struct Escaped<'a> {
    out: &'a mut String,
    shows_unseen: bool,
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for letter in text.chars() {
            match letter {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                // A parser would make a line feed of it.
                '\r' if !self.shows_unseen => self.out.push_str("&#13;"),
                '\n' => self.out.push('\n'),
                unseen if self.shows_unseen && is_unseen(unseen) => {
                    write!(self.out, "{}", unseen.escape_unicode())?;
                }
                other => self.out.push(other),
            }
        }
        Ok(())
    }
}

/// Letters by which one text can look like another.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_can_be_taken_for_markup() {
        let mut html = Html::default();
        html.raw("<b").attribute("title", "\"'><script>&\r").raw(">").text("<img src=x onerror='a()'>&amp;");
        html.raw("</b>");
        assert_eq!(
            html.into_string(),
            "<b title=\"&quot;&#39;&gt;&lt;script&gt;&amp;&#13;\">\
             &lt;img src=x onerror=&#39;a()&#39;&gt;&amp;amp;</b>"
        );
    }

    #[test]
    fn what_is_quoted_is_marked_and_every_mark_ends() {
        for (text, marked) in [
            ("", ""),
            ("a `<b>` c", "a <code>&lt;b&gt;</code> c"),
            ("`a", "<code>a</code>"),
            ("a```b", "a<code></code><code>b</code>"),
        ] {
            let mut html = Html::default();
            html.marked(text);
            assert_eq!(html.into_string(), marked, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_shown_by_its_number() {
        let mut html = Html::default();
        html.text("a\u{202e}b\u{200b}c\0\u{feff}ü\u{1f600}");
        assert_eq!(html.into_string(), "a\\u{202e}b\\u{200b}c\\u{0}\\u{feff}ü\u{1f600}");
    }
}
