//! A whole file as a tree.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::{Finding, Findings, Node, Source, parse};

/// The most octets a file may have: 64 MiB.
pub const MAX_LEN: usize = 64 << 20;
/// The most nodes a file may have, keys counted.
pub const MAX_NODES: usize = 4_000_000;
/// How deep lists and mappings may be nested.
pub const MAX_DEPTH: usize = 64;

/// A YAML file as a tree.
#[derive(Debug, Clone)]
pub struct Document {
    /// The value that the file is; nothing for an empty file.
    pub root: Node,
}

impl Document {
    /// Reads a text under the name that findings show.
    ///
    /// # Errors
    /// The first mistake of syntax, and everything before it that this crate does not accept: anchors, aliases,
    /// merge keys, tags and further documents. Too long or too deep a text is a mistake as well.
    pub fn parse(name: &str, text: String) -> Result<Self, Findings> {
        Self::of(name, text, Source::new)
    }

    /// Reads a text with secrets in it; findings name a place and do not show what stands there.
    ///
    /// # Errors
    /// As [`Document::parse`].
    pub fn parse_secret(name: &str, text: String) -> Result<Self, Findings> {
        Self::of(name, text, Source::secret)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// As [`Document::parse`]; a file that is not there, not UTF-8 or too large is a finding without a place.
    pub fn read(path: &Path) -> Result<Self, Findings> {
        Self::parse(&path.display().to_string(), text_of(path)?)
    }

    /// Reads a file with secrets in it; findings name a place and do not show what stands there.
    ///
    /// # Errors
    /// As [`Document::read`].
    pub fn read_secret(path: &Path) -> Result<Self, Findings> {
        Self::parse_secret(&path.display().to_string(), text_of(path)?)
    }

    fn of(name: &str, text: String, source: fn(&str, String) -> Arc<Source>) -> Result<Self, Findings> {
        if text.len() > MAX_LEN {
            return Err(too_large(name).into());
        }
        let text = match text.strip_prefix('\u{FEFF}') {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        parse::tree(&source(name, text), MAX_NODES).map(|root| Self { root })
    }
}

/// A file's text, if it is one and not too large.
pub(crate) fn text_of(path: &Path) -> Result<String, Finding> {
    let name = path.display();
    let cannot = |error| Finding::unplaced(format!("cannot read `{name}`: {error}"));
    let mut octets = Vec::new();
    let file = File::open(path).map_err(cannot)?;
    file.take(MAX_LEN as u64 + 1).read_to_end(&mut octets).map_err(cannot)?;
    if octets.len() > MAX_LEN {
        return Err(too_large(&name.to_string()));
    }
    String::from_utf8(octets).map_err(|error| {
        let (good, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = good.iter().filter(|octet| **octet == b'\n').count() + 1;
        Finding::unplaced(format!("`{name}` is not UTF-8 text (in line {line})"))
    })
}

fn too_large(name: &str) -> Finding {
    Finding::unplaced(format!("`{name}` is larger than {} MiB", MAX_LEN >> 20))
}

#[cfg(test)]
mod tests;
