//! The same under Kerberos, beside Dante with GSSAPI: large transfers, sessions with their logins, round trips and
//! datagrams, at each level of protection; and what logins do to each other.

mod accepts;
mod bulk;
mod carry;
mod copying;
mod engine;
mod flood;
mod sessions;
mod site;
mod trips;
mod tunnel;

use socks_client::Level;

use crate::bench::Bench;
use crate::udp::{self, ASSOCIATIONS, Case, SIZES};

pub(crate) use site::run_in_realm;

use self::site::Site;

const LEVELS: [Level; 2] = [Level::Integrity, Level::Confidentiality];
/// How all scenarios begin that need a realm.
pub(crate) const PREFIX: &str = "gssapi/";

/// The names of all scenarios, by which it is known whether a realm is needed.
pub(crate) fn names() -> Vec<String> {
    let mut names = [bulk::names(), sessions::names(), trips::names()].concat();
    names.extend(datagrams().iter().map(Case::name));
    names.extend([accepts::NAME.into(), flood::NAME.into()]);
    names
}

/// Measures all that is wanted; there must be a realm around.
pub(crate) fn measure(bench: &mut Bench) {
    let Some(site) = Site::around() else { return };
    let parts = [
        bulk::measure,
        sessions::measure,
        trips::measure,
        measure_datagrams,
        accepts::measure,
        flood::measure,
    ];
    for measure in parts {
        measure(bench, &site);
    }
}

fn datagrams() -> Vec<Case> {
    let sizes = SIZES.into_iter().flat_map(|size| ASSOCIATIONS.map(|associations| (size, associations)));
    let all = sizes
        .flat_map(|(size, associations)| LEVELS.map(|level| Case { size, associations, level: Some(level) }));
    all.collect()
}

fn measure_datagrams(bench: &mut Bench, site: &Site) {
    let cases = bench.wanted(datagrams(), Case::name);
    let contenders = site.servers(bench, &cases);
    udp::run(bench, &cases, &contenders);
}
