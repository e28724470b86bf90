//! How often the two policies differed, and the last sessions in which they did. It never takes more than a fixed room.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Serialize;
use socks_policy::OperationKind;

use super::difference::{Difference, Kind};

/// How many differences are told apart; what comes after them is counted as others.
const MOST: usize = 256;
/// Of how many sessions each of them keeps the facts: so nobody who causes one can push another's out.
const EXAMPLES: usize = 8;
/// How many of those a report shows.
const SHOWN: usize = 200;

/// Differences, counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    entries: HashMap<Difference, Entry>,
    others: u64,
    /// By kind.
    counts: HashMap<Kind, u64>,
}

#[derive(Debug)]
struct Entry {
    count: u64,
    first: Timestamp,
    last: Timestamp,
    examples: VecDeque<Example>,
}

/// A session in which the two differed, and about what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Example {
    pub(crate) time: Timestamp,
    pub(crate) session: String,
    pub(crate) listener: String,
    pub(crate) client: SocketAddr,
    pub(crate) identity: Option<String>,
    /// What was judged; none: the client, before it had asked for anything.
    pub(crate) operation: Option<OperationKind>,
    pub(crate) target: Option<String>,
    /// The address that was judged, where the target is a name.
    pub(crate) address: Option<IpAddr>,
}

/// A row of the report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    #[serde(flatten)]
    pub(crate) difference: Difference,
    pub(crate) count: u64,
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}

/// An example with the difference that it is one of.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(crate) difference: Difference,
    #[serde(flatten)]
    pub(crate) example: Example,
}

impl Tally {
    /// Counts a session in which that difference has come up.
    pub(super) fn add(&mut self, difference: Difference, example: Example) {
        *self.counts.entry(difference.kind).or_default() += 1;
        if self.entries.len() >= MOST && !self.entries.contains_key(&difference) {
            self.others += 1;
            return;
        }
        let entry = self.entries.entry(difference).or_insert_with(|| Entry {
            count: 0,
            first: example.time,
            last: example.time,
            examples: VecDeque::with_capacity(EXAMPLES),
        });
        entry.count += 1;
        entry.last = example.time;
        if entry.examples.len() == EXAMPLES {
            entry.examples.pop_front();
        }
        entry.examples.push_back(example);
    }

    /// How many of that kind there were.
    pub(super) fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or_default()
    }

    /// How many were not told apart.
    pub(super) fn others(&self) -> u64 {
        self.others
    }

    /// The differences, the most frequent first.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |(difference, entry): (&Difference, &Entry)| Row {
            difference: difference.clone(),
            count: entry.count,
            first: entry.first,
            last: entry.last,
        };
        let mut rows: Vec<Row> = self.entries.iter().map(row).collect();
        rows.sort_unstable_by(|one, other| other.count.cmp(&one.count).then(one.first.cmp(&other.first)));
        rows
    }

    /// The last sessions of all differences, the latest first.
    pub(super) fn examples(&self) -> Vec<Shown> {
        let shown = |difference: &Difference, example: &Example| Shown {
            difference: difference.clone(),
            example: example.clone(),
        };
        let each = self.entries.iter();
        let each =
            each.flat_map(|(difference, entry)| entry.examples.iter().map(move |it| shown(difference, it)));
        let mut all: Vec<Shown> = each.collect();
        all.sort_unstable_by_key(|shown| std::cmp::Reverse(shown.example.time));
        all.truncate(SHOWN);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judgement::{Answer, Said};

    fn difference(rule: &str) -> Difference {
        let permit = Said { answer: Answer::Permit, rule: Some(rule.into()), reason: None };
        Difference::between(&permit, &Said::no("no-match")).unwrap()
    }

    fn example(second: i64) -> Example {
        Example {
            time: Timestamp::from_second(second).unwrap(),
            session: format!("1-{second}"),
            listener: "main".into(),
            client: ([192, 0, 2, 1], 1).into(),
            identity: None,
            operation: None,
            target: None,
            address: None,
        }
    }

    #[test]
    fn each_difference_keeps_its_count_and_its_last_sessions() {
        let mut tally = Tally::default();
        tally.add(difference("rare"), example(0));
        for second in 1..=1000 {
            tally.add(difference("often"), example(second));
        }
        let rows = tally.rows();
        let shown: Vec<_> =
            rows.iter().map(|row| (row.difference.live_rule.as_deref().unwrap(), row.count)).collect();
        assert_eq!(shown, [("often", 1000), ("rare", 1)]);
        assert_eq!((rows[0].first, rows[0].last), (example(1).time, example(1000).time));
        let examples = tally.examples();
        assert_eq!(examples.len(), EXAMPLES + 1);
        assert_eq!(examples.first().unwrap().example, example(1000));
        assert_eq!(examples.last().unwrap().example, example(0), "nobody has pushed it out");
        assert_eq!((tally.count(Kind::WouldDeny), tally.count(Kind::OtherRule)), (1001, 0));
    }

    #[test]
    fn many_differences_take_no_more_room_than_the_bound() {
        let mut tally = Tally::default();
        for number in 0..10_000 {
            tally.add(difference(&format!("rule-{number}")), example(number));
        }
        tally.add(difference("rule-0"), example(0));
        assert_eq!(tally.rows().len(), MOST);
        assert_eq!(tally.others(), 10_000 - MOST as u64);
        assert_eq!(tally.count(Kind::WouldDeny), 10_001);
        assert_eq!(tally.rows()[0].count, 2);
        assert_eq!(tally.examples().len(), SHOWN);
    }
}
