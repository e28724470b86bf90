//! The numbers that the gateway is to reach.

use super::{Bound, Contender, Quantity, Report, Side, Than};

use Quantity::{Cpu, Failed, P99, Rate, Tunnel};
use Side::{AtLeast, AtMost};
use Than::{BestPeer, One, Sum};

const SPLICE: Than = Sum(&[Contender::SPLICE]);
const MICROSOCKS: Than = Sum(&["microsocks"]);
const DANTED: Than = Sum(&["danted"]);
const HEV: Than = Sum(&["hev-socks5-server"]);
const DANTE: Than = Sum(&["dante"]);
const MIT: Than = Sum(&["socksd-mit"]);
const LEVELS: [&str; 2] = ["integrity", "confidentiality"];

/// Every bound of the project, whether its scenario was measured or not.
pub fn bounds(report: &Report) -> Vec<Bound> {
    let mut all = Vec::new();
    for way in ["down", "up", "both"] {
        for streams in [1, 16, 256] {
            let scenario = format!("bulk/{way}/{streams}");
            for (than, side) in [(SPLICE, 1.15), (DANTED, 1.0 / 3.0), (HEV, 1.0)] {
                all.push(bound(&scenario, Cpu, AtMost(side), than));
            }
        }
        all.push(bound(&format!("bulk/{way}/16"), Rate, AtLeast(1.0), BestPeer));
    }
    for in_flight in [1, 64, 512] {
        all.push(bound(&format!("connections/{in_flight}"), Cpu, AtMost(0.85), MICROSOCKS));
    }
    all.push(bound("connections/64", Rate, AtLeast(1.0), BestPeer));
    all.push(bound("trips/64", Cpu, AtMost(1.0), BestPeer));
    all.push(bound("trips/64", P99, AtMost(1.0), MICROSOCKS));
    for tunnels in [2000, 10_000] {
        all.push(bound(&format!("idle/{tunnels}"), Tunnel, AtMost(2.5), One));
    }
    for size in [64, 1200] {
        for associations in [1, 16] {
            let scenario = format!("udp/{size}/{associations}");
            all.push(bound(&scenario, Cpu, AtMost(1.0), BestPeer));
            all.push(bound(&scenario, Cpu, AtMost(1.0 / 3.0), DANTED));
            all.push(bound(&scenario, Failed, AtMost(0.0), One));
        }
    }
    LEVELS.iter().for_each(|level| kerberos(level, &mut all));
    all.push(Bound {
        contender: "two-threads",
        ..bound("gssapi/accepts", Rate, AtLeast(1.5), Sum(&["one-thread"]))
    });
    for contender in ["in-garbage", "in-a-flood"] {
        all.push(Bound { contender, ..bound("gssapi/flood", Rate, AtLeast(0.8), Sum(&["alone"])) });
    }
    all.extend(report.scenarios.iter().flat_map(|scenario| full(&scenario.name)));
    all
}

fn bound(scenario: &str, quantity: Quantity, side: Side, than: Than) -> Bound {
    Bound { scenario: scenario.into(), contender: Contender::OURS, quantity, side, than }
}

/// What sessions and transfers cost under Kerberos.
fn kerberos(level: &str, all: &mut Vec<Bound>) {
    let secret = level == "confidentiality";
    let of_dante = if secret { 1.0 / 7.0 } else { 1.0 / 3.0 };
    let (rate_of_mit, rate_of_dante) = if secret { (4.0, 5.0) } else { (2.0, 2.0) };
    for way in ["down", "up"] {
        for streams in [1, 16] {
            let scenario = format!("gssapi/bulk/{level}/{way}/{streams}");
            all.push(bound(&scenario, Cpu, AtMost(1.1), Sum(&["engine", "copying"])));
            all.push(bound(&scenario, Cpu, AtMost(of_dante), DANTE));
            all.push(bound(&scenario, Rate, AtLeast(rate_of_mit), MIT));
        }
        let one_stream = format!("gssapi/bulk/{level}/{way}/1");
        all.push(bound(&one_stream, Rate, AtLeast(rate_of_dante), DANTE));
    }
    let sessions = format!("gssapi/connections/{level}/64");
    all.push(bound(&sessions, Cpu, AtMost(0.25), DANTE));
    all.push(bound(&sessions, Rate, AtLeast(2.5), DANTE));
    for associations in [1, 16] {
        all.push(bound(&format!("gssapi/udp/{level}/1200/{associations}"), Cpu, AtMost(4.0), One));
        for size in [64, 1200] {
            all.push(bound(&format!("gssapi/udp/{level}/{size}/{associations}"), Failed, AtMost(0.0), One));
        }
    }
}

/// Records and ten thousand rules make nothing more than 5 % worse.
fn full(scenario: &str) -> [Bound; 3] {
    [(Cpu, AtMost(1.05)), (Rate, AtLeast(1.0 / 1.05)), (Tunnel, AtMost(1.05))].map(|(quantity, side)| {
        let contender = Contender::FULL;
        Bound { contender, ..bound(scenario, quantity, side, Sum(&[Contender::OURS])) }
    })
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, scenario};
    use super::*;

    #[test]
    fn what_was_measured_is_judged_and_the_rest_left_out() {
        let figures = [("socksd", 9.0), ("socksd-full", 9.9), ("microsocks", 10.0), ("danted", 40.0)];
        let report = report(vec![scenario("connections/64", Cpu, &figures)]);
        let verdicts: Vec<_> = bounds(&report).iter().filter_map(|bound| bound.judge(&report)).collect();
        let told: Vec<_> = verdicts.iter().map(|verdict| (verdict.what.as_str(), verdict.kept)).collect();
        assert_eq!(
            told,
            [
                ("socksd: CPU time at most 0.85 × microsocks", false),
                ("socksd-full: CPU time at most 1.05 × socksd", false),
            ]
        );
    }
}
