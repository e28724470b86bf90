//! YAML documents whose mistakes are all shown, each with its place.
//!
//! A [`Document`] is a tree of [`Node`]s that know where they stand in their file. Two ways lead from a node to
//! values: piece by piece ([`Node::fields`], [`Node::parse`], [`value`]), which lets one bad entry hide no
//! other, and through serde ([`Node::read`]), which is what a plug-in's options want. Either way a mistake is a
//! [`Finding`] with line, column and the offending text, and [`Findings`] prints all of them together.
//!
//! This crate knows no key of any file, writes no YAML, and accepts less than YAML allows: no anchors,
//! aliases, merge keys, tags, directives or second documents. Text is never guessed to be something else:
//! a scalar stays as it was written until somebody asks for a type.
//!
//! ```
//! use socks_config::{Document, Findings, value};
//!
//! let text = "idle-timeout: 30s\nretires: 3\n".to_owned();
//! let document = Document::parse("sample.yaml", text)?;
//! let mut findings = Findings::default();
//! if let Some(mut fields) = document.root.fields(&mut findings) {
//!     let timeout = fields.take("idle-timeout").map(value::duration);
//!     assert_eq!(timeout.and_then(Result::ok).map(|time| time.as_secs()), Some(30));
//!     let _retries = fields.take("retries");
//!     fields.finish(&mut findings);
//! }
//! let shown = findings.to_string();
//! assert!(shown.starts_with("sample.yaml:2:1: mistake: unknown key `retires`"));
//! assert!(shown.contains("help: did you mean `retries`?"));
//! # Ok::<(), Findings>(())
//! ```

mod document;
mod fields;
mod finding;
mod lines;
mod nearest;
mod node;
mod outline;
mod parse;
mod place;
mod read;
pub mod value;

pub use document::{Document, MAX_DEPTH, MAX_LEN, MAX_NODES};
pub use fields::Fields;
pub use finding::{Finding, Findings, Severity};
pub use lines::Lines;
pub use nearest::nearest;
pub use node::{Node, Scalar, Value};
pub use outline::{Change, Item, KeyChange, Way};
pub use place::{Place, Source};
pub use read::ReadError;
