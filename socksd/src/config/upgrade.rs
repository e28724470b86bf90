//! The `upgrade` section: where a new process takes over from the one that serves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use socks_config::{Findings, Node};

use super::time;

/// How long sessions of the old process may go on, unless the configuration says otherwise.
const TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// How a new process takes over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UpgradeConfig {
    /// The path of the Unix socket.
    pub(crate) socket: PathBuf,
    /// How long sessions of the old process may go on.
    pub(crate) timeout: Duration,
}

impl UpgradeConfig {
    pub(super) fn read(node: &Node, base: &Path, findings: &mut Findings) -> Option<Self> {
        let mut fields = node.fields(findings)?;
        let socket = fields.require("socket", findings).and_then(|node| findings.note(node.text()));
        let timeout = time(&mut fields, "timeout", findings).unwrap_or(TIMEOUT);
        fields.finish(findings);
        Some(Self { socket: base.join(socket?), timeout })
    }
}
