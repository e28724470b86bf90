//! The `clients` section.

use std::sync::Arc;

use socks_config::{Finding, Node};
use socks_core::{Level, Levels};

use super::element;
use super::read::Reader;
use crate::clients::Row;

impl<'a> Reader<'a> {
    /// Reads all rows.
    pub(super) fn clients(&mut self, node: &'a Node) -> Vec<Row> {
        let rows = self.findings.note(node.list()).unwrap_or_default();
        rows.iter().filter_map(|row| self.row(row)).collect()
    }

    fn row(&mut self, node: &'a Node) -> Option<Row> {
        let mut fields = node.fields(&mut self.findings)?;
        let source = self.source(&mut fields);
        let listener = self.listener(&mut fields);
        let identity = self.identity(&mut fields);
        let methods = fields.require("methods", &mut self.findings).map(|node| self.methods(node));
        let levels = self.take(&mut fields, "protection").map(|node| Levels::Only(self.levels(node)));
        fields.finish(&mut self.findings);
        let levels = levels.unwrap_or(Levels::Unrestricted);
        let written = node.to_string().into();
        Some(Row { source, listener, identity, methods: methods?, levels, written })
    }

    fn methods(&mut self, node: &'a Node) -> Vec<Arc<str>> {
        let mut methods: Vec<Arc<str>> = Vec::new();
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "a row without methods lets nobody in");
        }
        for item in node.items() {
            let name = item.text().and_then(|name| match methods.iter().any(|method| **method == *name) {
                true => Err(Finding::mistake(&item.place, format!("method `{name}` stands twice"))),
                false => self.check_method(item, name).map(|()| name),
            });
            methods.extend(self.findings.note(name).map(Arc::from));
        }
        methods
    }

    fn levels(&mut self, node: &'a Node) -> Vec<Level> {
        let mut levels = Vec::new();
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "a row without protection levels lets nobody in");
        }
        for item in node.items() {
            let level = element::level(item).and_then(|level| match levels.contains(&level) {
                true => Err(Finding::mistake(&item.place, format!("level `{level}` stands twice"))),
                false => Ok(level),
            });
            levels.extend(self.findings.note(level));
        }
        levels
    }
}
