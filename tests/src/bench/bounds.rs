//! The bounds that the project sets itself, as data, and what the figures make of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Contender, Quantity, Report, Scenario};

/// One bound: a contender's median against something, in one scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Bound {
    /// The scenario's name.
    pub scenario: String,
    /// Whose figure is judged.
    pub contender: &'static str,
    /// Which.
    pub quantity: Quantity,
    /// How it must be.
    pub side: Side,
    /// What it is compared with.
    pub than: Than,
}

/// On which side of the bound a figure must lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Side {
    /// So many times the other figure, or less.
    AtMost(f64),
    /// So many times the other figure, or more.
    AtLeast(f64),
}

/// What a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Than {
    /// The number itself, in the figure's unit.
    One,
    /// The figures of these contenders, added up.
    Sum(&'static [&'static str]),
    /// The best figure that a server of other people has.
    BestPeer,
}

/// What became of a bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The scenario's name.
    pub scenario: String,
    /// What had to be, in words.
    pub what: String,
    /// The figure, or the ratio of figures, that counts.
    pub figure: f64,
    /// Its bound.
    pub bound: f64,
    /// It holds.
    pub kept: bool,
}

impl Bound {
    /// Judges it; `None` when one of the figures was not measured.
    pub fn judge(&self, report: &Report) -> Option<Verdict> {
        let scenario = report.scenario(&self.scenario)?;
        let figure = scenario.median(self.contender, self.quantity)? / self.other(scenario)?;
        let (bound, kept) = match self.side {
            Side::AtMost(bound) => (bound, figure <= bound),
            Side::AtLeast(bound) => (bound, figure >= bound),
        };
        Some(Verdict { scenario: self.scenario.clone(), what: self.to_string(), figure, bound, kept })
    }

    fn other(&self, scenario: &Scenario) -> Option<f64> {
        match self.than {
            Than::One => Some(1.0),
            Than::Sum(names) => names.iter().map(|name| scenario.median(name, self.quantity)).sum(),
            Than::BestPeer => {
                let all = Contender::PEERS.iter().filter_map(|peer| scenario.median(peer, self.quantity));
                match self.side {
                    Side::AtMost(_) => all.reduce(f64::min),
                    Side::AtLeast(_) => all.reduce(f64::max),
                }
            }
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (side, bound) = match self.side {
            Side::AtMost(bound) => ("at most", bound),
            Side::AtLeast(bound) => ("at least", bound),
        };
        write!(f, "{}: {} {side} {bound:.2}", self.contender, self.quantity)?;
        match self.than {
            Than::One => Ok(()),
            Than::Sum(names) => write!(f, " × {}", names.join(" + ")),
            Than::BestPeer => f.write_str(" × the best peer"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = if self.kept { "kept  " } else { "MISSED" };
        write!(f, "{kept} {:<28} {:>8.2}  {}", self.scenario, self.figure, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, scenario};
    use super::*;

    fn judged(side: Side, than: Than) -> Option<Verdict> {
        let figures = [("socksd", 10.0), ("splice", 8.0), ("microsocks", 12.0), ("danted", 40.0)];
        let report = report(vec![scenario("bulk", Quantity::Cpu, &figures)]);
        let (contender, quantity) = ("socksd", Quantity::Cpu);
        Bound { scenario: "bulk".into(), contender, quantity, side, than }.judge(&report)
    }

    #[test]
    fn a_figure_is_held_against_a_number_others_or_the_best_peer() {
        let kept = |side, than| judged(side, than).map(|verdict| verdict.kept);
        for (side, than, expected) in [
            (Side::AtMost(10.0), Than::One, Some(true)),
            (Side::AtMost(9.9), Than::One, Some(false)),
            (Side::AtMost(1.25), Than::Sum(&["splice"]), Some(true)),
            (Side::AtMost(1.2), Than::Sum(&["splice"]), Some(false)),
            (Side::AtMost(0.5), Than::Sum(&["splice", "microsocks"]), Some(true)),
            (Side::AtMost(0.85), Than::BestPeer, Some(true)),
            (Side::AtMost(0.8), Than::BestPeer, Some(false)),
            (Side::AtLeast(0.25), Than::BestPeer, Some(true)),
            (Side::AtLeast(0.3), Than::BestPeer, Some(false)),
            (Side::AtMost(1.0), Than::Sum(&["hev-socks5-server"]), None),
            (Side::AtMost(1.0), Than::Sum(&["splice", "nobody"]), None),
        ] {
            assert_eq!(kept(side, than), expected, "{side:?} {than:?}");
        }
    }

    #[test]
    fn a_verdict_says_what_had_to_be() {
        let verdict = judged(Side::AtMost(1.15), Than::Sum(&["splice"])).expect("both were measured");
        assert_eq!(verdict.what, "socksd: CPU time at most 1.15 × splice");
        assert!(verdict.to_string().starts_with("MISSED bulk "), "{verdict}");
    }
}
