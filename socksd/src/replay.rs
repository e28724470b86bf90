//! Recorded requests, judged by another policy: what would have been decided otherwise.
//!
//! A record is judged by the facts that it has. Where the policy would need one that it has not, the answer is left
//! open; nothing is looked up, and nothing is guessed.

mod line;
mod request;
mod table;

use std::collections::BTreeMap;
use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::Serialize;

use crate::judgement::Policy;

pub(crate) use line::Skipped;
use line::{Line, Read};
use table::Table;
pub(crate) use table::{Change, Row, Side};

/// Octets of a line; the longest record has some tens of thousands.
const MOST_LINE: u64 = 1024 * 1024;

/// A policy, and what recorded requests are judged by beside it.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) policy: Policy,
    /// The gateway's own addresses.
    pub(crate) own: Vec<SocketAddr>,
    /// The time to judge at; `None`: that of each request.
    pub(crate) now: Option<Timestamp>,
}

/// How far the reading has come, for whoever watches.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) octets: AtomicU64,
    pub(crate) lines: AtomicU64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Lines that were read.
    pub(crate) lines: u64,
    /// Requests that were judged, those among them that were left undecided.
    pub(crate) judged: u64,
    /// Judged associations, whose datagrams stand in no record.
    pub(crate) associations: u64,
    /// Lines that were not judged, by the reason.
    pub(crate) skipped: BTreeMap<Skipped, u64>,
    table: Table,
}

/// The sums of changes by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Sums {
    pub(crate) unchanged: u64,
    pub(crate) permitted_to_denied: u64,
    pub(crate) denied_to_permitted: u64,
    pub(crate) other_rule: u64,
    pub(crate) undecided: u64,
}

impl Replay {
    /// Reads records to their end and judges each.
    ///
    /// # Errors
    /// The system's, of the input.
    pub(crate) fn run(
        &self,
        mut input: impl BufRead,
        outcome: &mut Outcome,
        progress: &Progress,
    ) -> io::Result<()> {
        let mut octets = Vec::new();
        while let Some(length) = line::next(&mut input, &mut octets, MOST_LINE)? {
            progress.octets.fetch_add(length, Ordering::Relaxed);
            progress.lines.fetch_add(1, Ordering::Relaxed);
            outcome.lines += 1;
            if let Err(why) = self.judge(&octets, outcome) {
                *outcome.skipped.entry(why).or_default() += 1;
            }
        }
        Ok(())
    }

    fn judge(&self, octets: &[u8], outcome: &mut Outcome) -> Result<(), Skipped> {
        let Read { line, then } = Line::read(octets)?;
        let request = line.request()?;
        let now = self.judge_request(&request, &then);
        outcome.judged += 1;
        outcome.associations += u64::from(request.is_association());
        outcome.table.add(&line, &then, &now);
        Ok(())
    }
}

impl Outcome {
    /// The changes, most frequent first.
    pub(crate) fn rows(&self) -> Vec<Row> {
        self.table.rows()
    }

    /// How many changes are not told apart.
    pub(crate) fn others(&self) -> u64 {
        self.table.others()
    }

    /// How many there are of each kind.
    pub(crate) fn sums(&self) -> Sums {
        let of = |change| self.table.count(change);
        let [permitted_to_denied, denied_to_permitted, other_rule, undecided] = Change::ALL.map(of);
        let changed = permitted_to_denied + denied_to_permitted + other_rule + undecided;
        let unchanged = self.judged.saturating_sub(changed);
        Sums { unchanged, permitted_to_denied, denied_to_permitted, other_rule, undecided }
    }
}

impl Sums {
    /// Tells whether something would change for certain.
    pub(crate) fn has_changes(self) -> bool {
        self.permitted_to_denied + self.denied_to_permitted + self.other_rule > 0
    }
}

#[cfg(test)]
mod tests;
