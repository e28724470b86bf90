//! `socksd policy test`.

use socks_auth::Registry;

use super::{ConfigArgument, Exit, load, say};

/// Loading runs the tests already: a failing one is a mistake and shown as such.
pub(super) fn test(arguments: &ConfigArgument, registry: &Registry) -> Result<Exit, Exit> {
    let checked = load(arguments, registry)?;
    let results = checked.snapshot.ruleset.run_tests();
    for result in &results {
        say(format_args!("ok: {}", result.name()));
    }
    say(format_args!("{} passed, 0 failed", results.len()));
    Ok(Exit::Done)
}
