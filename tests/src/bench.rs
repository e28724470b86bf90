//! A benchmark of several servers side by side: what it gives, and how that is judged and shown.
//!
//! The load itself, and what is measured under it, is `benches/compare`; how to read it is `docs/performance.md`.

mod bars;
mod bounds;
mod clocks;
mod contender;
mod growth;
mod limits;
mod machine;
mod options;
mod pictures;
mod quantity;
mod report;
mod rules;
mod sample;
mod spread;
mod svg;
mod table;

pub use bounds::{Bound, Side, Than, Verdict};
pub use clocks::{Clocks, Units, Window};
pub use contender::{Contender, version};
pub use limits::bounds;
pub use machine::Machine;
pub use options::{Options, USAGE};
pub use quantity::Quantity;
pub use report::{Entry, Figure, Report, Scenario};
pub use rules::rules;
pub use sample::Sample;
pub use spread::{Spread, median, percentile};
pub use table::Table;

/// The class that gives a contender its colour in pictures.
fn class(contender: &str) -> &'static str {
    const PEERS: [&str; 6] = ["peer-0", "peer-1", "peer-2", "peer-3", "peer-4", "peer-5"];
    match contender {
        Contender::OURS => "ours",
        Contender::FULL => "ours-full",
        name => {
            let peer = Contender::PEERS.iter().position(|peer| *peer == name);
            peer.and_then(|at| PEERS.get(at)).copied().unwrap_or("base")
        }
    }
}
