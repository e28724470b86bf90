//! Short sessions under policies of several sizes: whether a decision grows with the rules before it.

use tests::bench::{Contender, rules};
use tests::targets;

use crate::bench::Bench;
use crate::connections::sessions;

const IN_FLIGHT: usize = 64;

pub(crate) fn measure(bench: &mut Bench) {
    let (target, time) = (targets::one_octet(), bench.options.time);
    for count in bench.wanted([10, 10_000, 100_000], |count| name(*count)) {
        if !bench.options.want_contender(Contender::OURS) {
            continue;
        }
        let setup = Contender::setup(Contender::OURS).policy(&rules(count));
        let ours = [Contender::of(Contender::OURS, setup.start_quiet())];
        let title = format!("Short sessions with {count} rules, {IN_FLIGHT} in flight");
        bench.scenario([&name(count), &title], &ours, |it| sessions(it, target, IN_FLIGHT, time));
    }
}

fn name(count: usize) -> String {
    format!("rules/{count}")
}
