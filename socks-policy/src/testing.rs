//! What the tests of this crate share.

use socks_config::{Document, Findings};

use crate::{Context, Loaded, Ruleset};

/// Loads a policy.
pub(crate) fn load(text: &str) -> Result<Loaded, Findings> {
    let document = Document::parse("policy.yaml", text.to_owned())?;
    Ruleset::load(&document, &Context::default())
}

/// Loads a policy that must have no mistake.
pub(crate) fn ruleset(text: &str) -> Ruleset {
    match load(text) {
        Ok(loaded) => loaded.ruleset,
        Err(findings) => panic!("{findings}"),
    }
}
