//! Measuring several servers side by side: rounds that take turns, medians, a table, and bounds.

mod bounds;

use std::fmt::Display;
use std::net::SocketAddr;

pub use bounds::Bounds;

use crate::rivals::Rival;
use crate::{Gateway, Setup};

/// One server that is measured.
#[derive(Debug)]
pub struct Contender {
    /// Its name in the table.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process, whose children count too.
    pub pid: u32,
    _server: Server,
}

#[derive(Debug)]
enum Server {
    Ours { _gateway: Gateway },
    Theirs { _rival: Rival },
}

impl Contender {
    /// Our gateway first, then microsocks and danted, all without authentication.
    pub fn all() -> Vec<Self> {
        let gateway = Setup::new().limit("max-sessions", "10000").start();
        let mut all = vec![Self::ours("socksd", gateway)];
        all.extend(Self::rivals());
        all
    }

    /// Microsocks and danted alone.
    pub fn rivals() -> Vec<Self> {
        let rivals = [("microsocks", Rival::microsocks()), ("danted", Rival::danted())];
        rivals.into_iter().map(|(name, rival)| Self::theirs(name, rival)).collect()
    }

    /// A gateway of ours, by a name.
    pub fn ours(name: &'static str, gateway: Gateway) -> Self {
        let (address, pid) = (gateway.address(), gateway.pid());
        Self { name, address, pid, _server: Server::Ours { _gateway: gateway } }
    }

    /// Somebody else's server, by a name.
    pub fn theirs(name: &'static str, rival: Rival) -> Self {
        let (address, pid) = (rival.address(), rival.pid());
        Self { name, address, pid, _server: Server::Theirs { _rival: rival } }
    }
}

/// How a benchmark was asked to run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Fail when a bound of the project is missed.
    pub check: bool,
    /// How many rounds; each measures every contender once.
    pub rounds: usize,
    /// A part of the names of what is measured; everything has the empty one in its name.
    pub only: &'static str,
}

impl Options {
    /// Reads `--check`, `--rounds N` and `--only NAME`; what cargo adds is ignored.
    pub fn from_arguments() -> Self {
        let words: Vec<String> = std::env::args().skip(1).collect();
        let check = words.iter().any(|word| word == "--check");
        let behind = |option: &str| words.iter().skip_while(|word| *word != option).nth(1);
        let rounds = behind("--rounds").and_then(|text| text.parse().ok());
        let only = behind("--only").cloned().unwrap_or_default();
        Self { check, rounds: rounds.unwrap_or(if check { 3 } else { 7 }), only: only.leak() }
    }

    /// Tells whether what has this name is to be measured.
    pub fn want(self, name: &str) -> bool {
        name.contains(self.only)
    }
}

/// What one contender reached in each round.
#[derive(Debug, Clone)]
pub struct Series {
    /// The contender.
    pub name: &'static str,
    /// One figure for each round.
    pub figures: Vec<f64>,
}

impl Series {
    /// The median of its figures.
    pub fn median(&self) -> f64 {
        median(&self.figures)
    }
}

/// Measures all contenders in turns, so that what disturbs the machine disturbs them alike.
///
/// The first round only warms up. The last contender comes first in every other round.
pub fn in_turns(
    contenders: &[Contender],
    rounds: usize,
    measure: impl FnMut(&Contender) -> f64,
) -> Vec<Series> {
    let all = turns(contenders, rounds, measure);
    contenders.iter().zip(all).map(|(contender, figures)| Series { name: contender.name, figures }).collect()
}

/// As [`in_turns`], for whatever is measured and whatever a measurement gives: one list for each contender.
pub fn turns<T, F>(contenders: &[T], rounds: usize, mut measure: impl FnMut(&T) -> F) -> Vec<Vec<F>> {
    let mut all: Vec<_> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..=rounds {
        let mut pairs: Vec<_> = contenders.iter().zip(&mut all).collect();
        if round % 2 == 1 {
            pairs.reverse();
        }
        for (contender, figures) in pairs {
            let figure = measure(contender);
            if round > 0 {
                figures.push(figure);
            }
        }
    }
    all
}

/// Prints the medians, the range of each, and their ratio to the first one's.
pub fn print(title: impl Display, all: &[Series]) {
    println!("\n{title}");
    println!("{:<12} {:>10} {:>10} {:>10} {:>12}", "", "median", "least", "most", "to the first");
    let first = all.first().map_or(f64::NAN, Series::median);
    for series in all {
        let least = series.figures.iter().copied().fold(f64::INFINITY, f64::min);
        let most = series.figures.iter().copied().fold(0.0, f64::max);
        let median = series.median();
        println!("{:<12} {median:>10.3} {least:>10.3} {most:>10.3} {:>12.2}", series.name, median / first);
    }
}

/// The median; the mean of the middle two of an even number.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle), sorted.get(middle.wrapping_sub(1))) {
        (1, Some(&it), _) => it,
        (_, Some(&upper), Some(&lower)) => f64::midpoint(upper, lower),
        _ => f64::NAN,
    }
}

/// The median of the series with this name.
///
/// # Panics
/// When there is none.
pub fn median_of(all: &[Series], name: &str) -> f64 {
    all.iter().find(|series| series.name == name).expect("a contender's name").median()
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_two() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }
}
