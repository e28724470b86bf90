//! Makes the tree from the events of a YAML parser.

use std::sync::Arc;

use serde_yaml::granit_parser::{self, ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use crate::{Finding, Findings, MAX_DEPTH, Node, Place, Scalar, Source, Value};

/// Reads a source of at most `most` nodes.
pub(crate) fn tree(source: &Arc<Source>, most: usize) -> Result<Node, Findings> {
    // Deeper nesting is refused here with a place; the parser's own limit only guards its memory.
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        emit_anchor_events: true,
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
    };
    let mut builder = Builder::new(source, most);
    for event in Parser::new_from_str_with_options(source.text(), options) {
        let taken = match event {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => Err(builder.syntax(&error)),
        };
        if let Err(finding) = taken {
            builder.findings.push(finding);
            return Err(builder.findings);
        }
    }
    let root = builder.root.take().unwrap_or_else(|| builder.node(0, 0, Value::Null));
    builder.findings.take_result(Some(root))
}

/// A list or mapping whose end has not come yet.
enum Open {
    List(Vec<Node>),
    Map { pairs: Vec<(Node, Node)>, key: Option<Node> },
}

struct Builder<'s> {
    source: &'s Arc<Source>,
    findings: Findings,
    open: Vec<(Place, Open)>,
    root: Option<Node>,
    room: usize,
    documents: usize,
}

impl<'s> Builder<'s> {
    fn new(source: &'s Arc<Source>, room: usize) -> Self {
        Self { source, findings: Findings::default(), open: Vec::new(), root: None, room, documents: 0 }
    }

    /// Takes one event; an error ends the reading, other mistakes are noted.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Finding> {
        let place = self.place(span);
        if let Some(tag) = span.tag_start() {
            let tag = span.tag_span().unwrap_or(Span::empty(tag));
            self.findings.push(refused(&self.place(tag), "tags", "leave the tag out"));
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(refused(&place, "several documents in one file", "leave one document"));
                }
            }
            Event::Scalar(text, style, ..) => self.scalar(text.into(), style, place)?,
            Event::SequenceStart(..) => self.begin(place, Open::List(Vec::new()))?,
            Event::MappingStart(..) => self.begin(place, Open::Map { pairs: Vec::new(), key: None })?,
            Event::SequenceEnd | Event::MappingEnd => self.end(&place)?,
            Event::Alias(_) => {
                self.findings.push(refused(&place, "aliases", "write the value out"));
                self.add(Node { place, value: Value::Null })?;
            }
            Event::UnresolvedAlias(_) => {
                let help = "put quotes around a text that begins with `*`";
                self.findings.push(refused(&place, "aliases", help));
                self.add(Node { place, value: Value::Null })?;
            }
            Event::Anchor(..) => {
                self.findings.push(refused(
                    &place,
                    "anchors",
                    "put quotes around a text that begins with `&`",
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn scalar(&mut self, text: Box<str>, style: ScalarStyle, place: Place) -> Result<(), Finding> {
        let plain = style == ScalarStyle::Plain;
        if plain && &*text == "<<" && self.expects_key() {
            self.findings.push(refused(&place, "merge keys", "write the keys out"));
        }
        let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
        let value = if null { Value::Null } else { Value::Scalar(Scalar::new(text, plain)) };
        self.add(Node { place, value })
    }

    fn begin(&mut self, place: Place, open: Open) -> Result<(), Finding> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Finding::mistake(&place, format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.open.push((place, open));
        Ok(())
    }

    fn end(&mut self, end: &Place) -> Result<(), Finding> {
        let Some((place, open)) = self.open.pop() else { return Ok(()) };
        // A block ends somewhere behind its last value; only brackets have an end of their own.
        let last = match &open {
            Open::List(items) => items.last(),
            Open::Map { pairs, .. } => pairs.last().map(|(_, value)| value),
        };
        let end = match last {
            Some(last) if end.offsets().is_empty() => last.place.offsets().end,
            _ => end.offsets().end,
        };
        let value = match open {
            Open::List(items) => Value::List(items),
            Open::Map { pairs, .. } => Value::Map(pairs),
        };
        self.add(Node { place: place.until(end), value })
    }

    fn add(&mut self, node: Node) -> Result<(), Finding> {
        let Some(room) = self.room.checked_sub(1) else {
            return Err(Finding::mistake(&node.place, "too many values in one file"));
        };
        self.room = room;
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some((_, Open::List(items))) => items.push(node),
            Some((_, Open::Map { pairs, key })) => match key.take() {
                None => *key = Some(node),
                Some(key) => pairs.push((key, node)),
            },
        }
        Ok(())
    }

    fn expects_key(&self) -> bool {
        matches!(self.open.last(), Some((_, Open::Map { key: None, .. })))
    }

    fn place(&self, span: Span) -> Place {
        Place::new(self.source, self.offset(span.start), self.offset(span.end))
    }

    fn node(&self, begin: usize, end: usize, value: Value) -> Node {
        Node { place: Place::new(self.source, begin, end), value }
    }

    /// The parser counts octets in a text; characters are counted for the sake of its type.
    fn offset(&self, marker: granit_parser::Marker) -> usize {
        let text = self.source.text();
        let counted = || text.char_indices().nth(marker.index()).map(|(offset, _)| offset);
        marker.byte_offset().or_else(counted).unwrap_or(text.len())
    }

    fn syntax(&self, error: &ScanError) -> Finding {
        let begin = self.offset(*error.marker());
        let width =
            self.source.text().get(begin..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let place = Place::new(self.source, begin, begin + width);
        let (message, help) = explain(error);
        let finding = Finding::mistake(&place, message);
        match help {
            Some(help) => finding.with_help(help),
            None => finding,
        }
    }
}

/// The mistake of something that YAML has and this crate does not accept.
fn refused(place: &Place, what: &str, help: &str) -> Finding {
    Finding::mistake(place, format!("{what} are not accepted")).with_help(help)
}

/// The parser's message for an operator: the frequent ones in plainer words.
fn explain(error: &ScanError) -> (String, Option<&'static str>) {
    let (message, help) = match error.kind() {
        ErrorKind::ExpectedDocumentStart | ErrorKind::InvalidIndentation => {
            ("the indentation fits nothing above", Some("indent entries of one list or mapping alike"))
        }
        ErrorKind::ExpectedBlockMappingKey => {
            ("expected another key of the mapping above", Some("indent keys of one mapping alike"))
        }
        ErrorKind::MappingValueNotAllowed => {
            ("a value cannot begin here", Some("put quotes around a text that holds `: `"))
        }
        ErrorKind::TabInBlockIndentation | ErrorKind::TabInIndentation | ErrorKind::TabNotAllowed => {
            ("tabs cannot indent", Some("indent with spaces"))
        }
        ErrorKind::DirectiveDisallowed => ("directives are not accepted", None),
        ErrorKind::RecursionLimitExceeded => return (format!("nested deeper than {MAX_DEPTH} levels"), None),
        ErrorKind::UnexpectedCharacter { character } => {
            let help = "put quotes around a text that begins with it";
            return (format!("unexpected character `{}`", character.escape_debug()), Some(help));
        }
        _ => return (format!("syntax: {}", error.info()), None),
    };
    (message.to_owned(), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_nodes_is_bounded() {
        let source = Source::new("f", "[a, {b: c}]");
        assert!(tree(&source, 5).is_ok());
        let shown = tree(&source, 4).unwrap_err().to_string();
        assert!(shown.starts_with("f:1:1: mistake: too many values in one file"), "{shown}");
    }
}
