//! The reading of a policy file among the names that it may refer to.

use std::path::Path;

use jiff::Timestamp;
use socks_config::{Document, Findings};
use socks_policy::{Context, Loaded, Nat64, Ruleset};

use crate::config::Config;
use crate::egress;
use crate::snapshot::Snapshot;

/// What a policy may refer to; `None`: nobody knows, and it is not checked.
#[derive(Debug, Default)]
pub(crate) struct Names<'a> {
    authenticators: Option<Vec<&'a str>>,
    listeners: Option<Vec<&'a str>>,
    upstreams: Option<Vec<&'a str>>,
    nat64: Option<Nat64>,
}

impl<'a> Names<'a> {
    /// The names of a configuration.
    pub(crate) fn of(config: &'a Config<'_>) -> Self {
        Self {
            authenticators: Some(config.auth.iter().map(|entry| &*entry.name).collect()),
            listeners: Some(config.listeners.iter().map(|listener| &*listener.name).collect()),
            upstreams: Some(config.upstreams.iter().map(|upstream| &*upstream.name).collect()),
            nat64: config.settings.nat64,
        }
    }

    /// The names of a configuration that was loaded.
    pub(crate) fn in_force(snapshot: &'a Snapshot) -> Self {
        Self {
            authenticators: Some(snapshot.authenticators().map(|(name, _)| &**name).collect()),
            listeners: Some(snapshot.listeners.iter().map(|listener| &*listener.name).collect()),
            upstreams: Some(snapshot.upstream_names().collect()),
            nat64: snapshot.settings.nat64,
        }
    }

    /// Reads and compiles a policy among these names, and runs its tests: one that fails is a mistake like any other.
    ///
    /// # Errors
    /// All mistakes, with the warnings between them.
    pub(crate) fn load(&self, path: &Path) -> Result<Loaded, Findings> {
        let document = Document::read(path)?;
        let interfaces = egress::interfaces();
        let context = Context {
            authenticators: self.authenticators.as_deref(),
            listeners: self.listeners.as_deref(),
            interfaces: interfaces.as_deref(),
            base: path.parent(),
            upstreams: self.upstreams.as_deref(),
            now: Timestamp::now(),
        };
        let Loaded { ruleset, mut warnings } = Ruleset::load(&document, &context)?;
        let ruleset = ruleset.with_nat64(self.nat64);
        for test in ruleset.run_tests() {
            warnings.extend(test.finding());
        }
        if warnings.has_mistakes() { Err(warnings) } else { Ok(Loaded { ruleset, warnings }) }
    }
}
