//! Decisions of the policy, with few rules and with many.

use std::hint::black_box;

use tests::decisions::{Case, mixed, ruleset};

use super::{Operation, instrumentation};

/// How many rules there are.
pub(super) const SIZES: [usize; 3] = [10, 10_000, 100_000];

/// Asks so many rules at each step of a session.
pub(super) fn count(rules: usize) {
    instrumentation("off");
    let ruleset = ruleset(&mixed(rules));
    instrumentation("on");
    for case in &Case::all(rules) {
        let query = case.query();
        let decide = || ruleset.decide(black_box(&query));
        Operation::new(format!("decide, {rules} rules: {}", case.name), decide).count();
    }
}
