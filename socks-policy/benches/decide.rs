//! What a decision costs with 10, 10,000 and 100,000 rules, at each step of a session.
//!
//! The rules are a mix as large sites have it, and a shape that no choice of one condition helps with.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use socks_policy::Ruleset;

// The whole-program tests count the instructions of the same decisions.
#[allow(unreachable_pub, reason = "it is a part of another crate as well")]
#[path = "../../tests/src/decisions.rs"]
mod decisions;

use decisions::{Case, mixed, ruleset, same_but};

const SIZES: [usize; 3] = [10, 10_000, 100_000];

fn ask(criterion: &mut Criterion, title: &str, ruleset: &Ruleset, count: usize) {
    let mut group = criterion.benchmark_group(title);
    for case in &Case::all(count) {
        let query = case.query();
        group.bench_with_input(BenchmarkId::new(case.name, count), &query, |bencher, query| {
            bencher.iter(|| ruleset.decide(black_box(query)));
        });
    }
    group.finish();
}

fn decide(criterion: &mut Criterion) {
    for count in SIZES {
        ask(criterion, "mixed", &ruleset(&mixed(count)), count);
    }
    ask(criterion, "same-but", &ruleset(&same_but(10_000)), 10_000);
}

criterion_group!(benches, decide);
criterion_main!(benches);
