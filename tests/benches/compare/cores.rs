//! The same load on a server that may use one processor, and on one that may use two.

use std::thread;

use tests::bench::Contender;
use tests::targets;

use crate::bench::Bench;
use crate::bulk::{self, carry};
use crate::connections::sessions;

const STREAMS: usize = 16;
const IN_FLIGHT: usize = 64;

pub(crate) fn measure(bench: &mut Bench) {
    let here = thread::available_parallelism().map_or(1, usize::from);
    for cores in [1, 2] {
        let names = [format!("cores/bulk/{cores}"), format!("cores/connections/{cores}")];
        let wanted = names.iter().any(|name| bench.options.want(name));
        if cores > here || !wanted || !bench.options.want_contender(Contender::OURS) {
            continue;
        }
        let list = if cores == 1 { "0" } else { "0,1" };
        let setup = Contender::setup(Contender::OURS).under(&["taskset", "--cpu-list", list]);
        let ours = [Contender::of(Contender::OURS, setup.start_quiet())];
        let (target, time) = (targets::one_octet(), bench.options.time);
        let [bulk, connections] = names;
        if bench.options.want(&bulk) {
            let title =
                format!("Large transfers to the client, {STREAMS} streams, a server on {cores} processor(s)");
            bench.scenario([&bulk, &title], &ours, |it| carry(it, bulk::Case::down(STREAMS), time));
        }
        if bench.options.want(&connections) {
            let title = format!("Short sessions, {IN_FLIGHT} in flight, a server on {cores} processor(s)");
            bench.scenario([&connections, &title], &ours, |it| sessions(it, target, IN_FLIGHT, time));
        }
    }
}
