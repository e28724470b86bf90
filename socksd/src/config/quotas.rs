//! The `quotas` section: where it is kept what was used of a day's octets.

use std::path::{Path, PathBuf};
use std::time::Duration;

use socks_config::{Findings, Node};

use super::time;

/// How often the file is written, unless the configuration says otherwise.
const EVERY: Duration = Duration::from_secs(30);

/// The file that keeps what was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuotaConfig {
    pub(crate) file: PathBuf,
    /// How often it is written; as much may be lost by a crash.
    pub(crate) every: Duration,
}

impl QuotaConfig {
    pub(super) fn read(node: &Node, base: &Path, findings: &mut Findings) -> Option<Self> {
        let mut fields = node.fields(findings)?;
        let file = fields.require("file", findings).and_then(|node| findings.note(node.text()));
        let every = time(&mut fields, "every", findings).unwrap_or(EVERY);
        fields.finish(findings);
        Some(Self { file: base.join(file?), every })
    }
}
