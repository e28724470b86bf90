//! The elements of sets: in the policy file itself, and in text files that it includes.

use socks_config::{Finding, Lines, Node, Value};

use super::element::Element;
use super::read::Reader;

/// The most elements that the files of one policy may have together.
const MAX_INCLUDED: usize = 2_000_000;

/// How many mistakes of one included file are shown.
const MAX_SHOWN: usize = 20;

impl<'a> Reader<'a> {
    /// The elements of a set: single ones, and those of included files.
    pub(super) fn set_elements<T>(
        &mut self,
        node: &'a Node,
        read: impl for<'n> Fn(&'n Node) -> Result<Element<'n, T>, Finding>,
    ) -> Vec<T> {
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "an empty set matches nothing");
        }
        let mut elements = Vec::new();
        for item in node.items() {
            match item.value {
                Value::Map(_) => elements.extend(self.included(item, &read).unwrap_or_default()),
                _ => elements.extend(self.findings.note(own(item, &read))),
            }
        }
        elements
    }

    /// The elements of the file that `include` names.
    fn included<T>(
        &mut self,
        node: &'a Node,
        read: &impl for<'n> Fn(&'n Node) -> Result<Element<'n, T>, Finding>,
    ) -> Option<Vec<T>> {
        let mut fields = node.fields(&mut self.findings)?;
        let file = fields.require("include", &mut self.findings);
        fields.finish(&mut self.findings);
        let file = file?;
        let lines = self.lines(file);
        let lines = self.findings.note(lines)?;
        let (mut elements, mut mistakes) = (Vec::new(), 0);
        for line in lines.iter() {
            self.included += 1;
            if self.included > MAX_INCLUDED {
                let message =
                    format!("the files that a policy includes have more than {MAX_INCLUDED} elements");
                self.findings.mistake(&line.place, message);
                return None;
            }
            match own(&line, read) {
                Ok(element) => elements.push(element),
                Err(finding) => {
                    mistakes += 1;
                    if mistakes <= MAX_SHOWN {
                        self.findings.push(finding);
                    }
                }
            }
        }
        if mistakes > MAX_SHOWN {
            let message = format!("{} more mistakes in this file", mistakes - MAX_SHOWN);
            self.findings.mistake(&file.place, message);
        }
        if elements.is_empty() && mistakes == 0 {
            // A list that came out empty by accident must not switch a rule off.
            self.findings.mistake(&file.place, "this file has no element, and an empty set matches nothing");
        }
        Some(elements)
    }

    fn lines(&self, node: &Node) -> Result<Lines, Finding> {
        let name = node.text()?;
        let Some(base) = self.context.base else {
            let message = "a policy that is no file cannot include files";
            return Err(Finding::mistake(&node.place, message));
        };
        Lines::read(&base.join(name)).map_err(|finding| Finding::mistake(&node.place, finding.message))
    }
}

/// An element that stands for itself.
fn own<'n, T>(
    node: &'n Node,
    read: &impl Fn(&'n Node) -> Result<Element<'n, T>, Finding>,
) -> Result<T, Finding> {
    match read(node)? {
        Element::Own(element) => Ok(element),
        Element::Word(word) => {
            let message = format!("`{word}` is no element of this set, and sets hold no other sets");
            Err(Finding::mistake(&node.place, message))
        }
    }
}

#[cfg(test)]
mod tests;
