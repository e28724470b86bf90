//! How a users file is laid out, and how an account is written into it.

use std::fmt::Write;
use std::ops::Range;

use socks_config::Node;

use super::User;
use super::users::show_expiry;

/// How a list is written.
pub(super) enum Style<'a> {
    /// One entry below the other, each behind this much space and its dash.
    Block {
        /// The space before the dash.
        indent: &'a str,
    },
    /// Between brackets.
    Flow,
    /// In a way that is not edited.
    Other,
}

pub(super) fn list_style<'a>(accounts: &[Node], text: &'a str) -> Style<'a> {
    let Some(first) = accounts.first() else { return Style::Other };
    let begin = first.place.offsets().start;
    let before = text.get(line_start(text, begin)..begin).unwrap_or_default();
    if let Some(indent) = before.trim_end_matches(' ').strip_suffix('-')
        && indent.trim_matches(' ').is_empty()
    {
        return Style::Block { indent };
    }
    let flow = accounts.iter().all(|it| text.get(it.place.offsets()).is_some_and(|it| it.starts_with('{')));
    if flow { Style::Flow } else { Style::Other }
}

/// The lines of an account; `None` when they hold something else.
pub(super) fn block_range(accounts: &[Node], at: usize, text: &str) -> Option<Range<usize>> {
    let place = accounts.get(at)?.place.offsets();
    let begin = line_start(text, place.start);
    let before = text.get(begin..place.start)?.trim();
    (before == "-").then(|| begin..line_end(text, place.end))
}

/// An account between brackets with one comma.
pub(super) fn flow_range(accounts: &[Node], at: usize) -> Option<Range<usize>> {
    let place = accounts.get(at)?.place.offsets();
    let before = at.checked_sub(1).and_then(|before| accounts.get(before));
    let next = accounts.get(at + 1);
    Some(match (before, next) {
        (Some(before), _) => before.place.offsets().end..place.end,
        (None, Some(next)) => place.start..next.place.offsets().start,
        (None, None) => place,
    })
}

/// The text with the first account below `users:`, in place of an empty list.
pub(super) fn emptied(text: &str, key: &Node, list: &Node, user: &User) -> Option<String> {
    let end = line_break(text);
    let place = list.place.offsets();
    let text = if list.place.text().is_empty() { text.to_owned() } else { splice(text, place, "")? };
    let key = key.place.offsets();
    let at = line_end(&text, key.end);
    let indent = text.get(line_start(&text, key.start)..key.start)?;
    let gap = if text.get(..at)?.ends_with('\n') { "" } else { end };
    splice(&text, at..at, &format!("{gap}{}", block_entry(user, &format!("{indent}  "), end)))
}

/// The offset behind the line that ends at `offset` or holds it.
pub(super) fn line_end(text: &str, offset: usize) -> usize {
    let (before, after) = text.split_at_checked(offset).unwrap_or((text, ""));
    if before.ends_with('\n') {
        return offset;
    }
    after.find('\n').map_or(text.len(), |end| offset + end + 1)
}

fn line_start(text: &str, offset: usize) -> usize {
    text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1)
}

pub(super) fn splice(text: &str, range: Range<usize>, with: &str) -> Option<String> {
    Some([text.get(..range.start)?, with, text.get(range.end..)?].concat())
}

/// An account's keys with their values as YAML.
fn fields(user: &User) -> Vec<(&'static str, String)> {
    let mut fields = vec![("name", quoted(&user.name)), ("hash", format!("\"{}\"", user.hash.as_str()))];
    if !user.groups.is_empty() {
        let groups: Vec<_> = user.groups.iter().map(|group| quoted(group)).collect();
        fields.push(("groups", format!("[{}]", groups.join(", "))));
    }
    if let Some(end) = user.expires {
        fields.push(("expires", show_expiry(end)));
    }
    if user.disabled {
        fields.push(("disabled", "true".to_owned()));
    }
    fields
}

pub(super) fn block_entry(user: &User, indent: &str, end: &str) -> String {
    let mut entry = String::new();
    for (position, (key, value)) in fields(user).into_iter().enumerate() {
        let head = if position == 0 { "- " } else { "  " };
        // Writing to a string cannot fail.
        let _ = write!(entry, "{indent}{head}{key}: {value}{end}");
    }
    entry
}

pub(super) fn flow_entry(user: &User) -> String {
    let fields: Vec<_> = fields(user).into_iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{{}}}", fields.join(", "))
}

/// A text as YAML: as it is where that is safe, else in quotes.
fn quoted(text: &str) -> String {
    let safe = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '.' | '@' | '-');
    let null = matches!(text, "null" | "Null" | "NULL");
    if text.starts_with(|it: char| it.is_ascii_alphanumeric()) && text.chars().all(safe) && !null {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// The line break that the text uses.
pub(super) fn line_break(text: &str) -> &'static str {
    if text.contains("\r\n") { "\r\n" } else { "\n" }
}
