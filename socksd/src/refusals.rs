//! Refusals before authentication, counted per source so that a scan cannot fill the disk.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tracing::info;

use crate::admission::Source;
use crate::audit::{Audit, VERSION};
use crate::outcome::End;

/// Sources that are told apart within one interval; the rest is counted as one.
const MAX_SOURCES: usize = 4096;
/// Refused logins of one source that get a record each within one interval; the rest is counted.
const MAX_SINGLE: u32 = 10;
/// Refused logins of all sources that get a record each within one interval.
const MAX_SINGLE_IN_ALL: u32 = 1000;

/// The counts of the interval that runs.
#[derive(Debug)]
pub(crate) struct Refusals(Mutex<Interval>);

#[derive(Debug)]
struct Interval {
    since: Timestamp,
    sources: BTreeMap<Source, Counts>,
    others: Counts,
    single: u32,
}

#[derive(Debug, Default)]
struct Counts {
    causes: BTreeMap<&'static str, u64>,
    single: u32,
}

impl Refusals {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Interval::new()))
    }

    /// Counts a session that ended before it was authenticated.
    ///
    /// `false`: it is a refused login, and there are few of them yet, so it deserves a record of its own.
    pub(crate) fn count(&self, client: IpAddr, end: &End) -> bool {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let interval = &mut *guard;
        let source = Source::of(client);
        let known = interval.sources.contains_key(&source) || interval.sources.len() < MAX_SOURCES;
        let counts = if known { interval.sources.entry(source).or_default() } else { &mut interval.others };
        let deserves_record =
            matches!(end, End::Auth(_) | End::LevelNotAllowed | End::Panicked | End::Stopped);
        if deserves_record && counts.single < MAX_SINGLE && interval.single < MAX_SINGLE_IN_ALL {
            counts.single += 1;
            interval.single += 1;
            return false;
        }
        *counts.causes.entry(end.cause()).or_default() += 1;
        true
    }

    /// Writes what was counted, one record per source, and begins a new interval. As long as records find no room
    /// the interval goes on.
    pub(crate) fn flush_if_room(&self, audit: &Audit) {
        if !audit.refuses() {
            self.flush(audit);
        }
    }

    /// Writes what was counted, whether there is room or not: nothing will be counted any more.
    pub(crate) fn flush(&self, audit: &Audit) {
        let ended = {
            let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *guard, Interval::new())
        };
        let until = Timestamp::now();
        let sources = ended.sources.iter().map(|(source, counts)| (source.to_string(), counts));
        for (source, counts) in sources.chain([("others".to_owned(), &ended.others)]) {
            let count: u64 = counts.causes.values().sum();
            if count == 0 {
                continue;
            }
            info!(source, count, causes = ?counts.causes, "refusals");
            audit.write(&Line {
                v: VERSION,
                event: "refusals",
                time: until,
                since: ended.since,
                source,
                count,
                causes: &counts.causes,
            });
        }
    }
}

impl Interval {
    fn new() -> Self {
        Self { since: Timestamp::now(), sources: BTreeMap::new(), others: Counts::default(), single: 0 }
    }
}

/// One line of the audit file. Its fields are described in `docs/audit.md`.
#[derive(Debug, Serialize)]
struct Line<'a> {
    v: u8,
    event: &'static str,
    time: Timestamp,
    since: Timestamp,
    source: String,
    count: u64,
    causes: &'a BTreeMap<&'static str, u64>,
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use socks_auth::AuthError;

    use super::*;

    fn counted(refusals: &Refusals) -> u64 {
        let interval = refusals.0.lock().unwrap();
        interval.sources.values().chain([&interval.others]).flat_map(|counts| counts.causes.values()).sum()
    }

    #[test]
    fn a_scan_of_many_sources_takes_bounded_memory_and_loses_no_count() {
        let refusals = Refusals::new();
        for number in 0..10_000 {
            assert!(refusals.count(Ipv4Addr::from_bits(number).into(), &End::NoAcceptableMethod));
        }
        assert_eq!(refusals.0.lock().unwrap().sources.len(), MAX_SOURCES);
        assert_eq!(counted(&refusals), 10_000);
    }

    #[test]
    fn the_first_refused_logins_of_a_source_get_a_record_each() {
        let refusals = Refusals::new();
        let end = End::Auth(AuthError::refused("wrong password"));
        let client = Ipv4Addr::LOCALHOST.into();
        let single = (0..100).filter(|_| !refusals.count(client, &end)).count();
        assert_eq!(single, 10);
        assert_eq!(counted(&refusals), 90);
    }

    #[test]
    fn every_field_is_described_in_the_reference() {
        let (time, causes) = (Timestamp::UNIX_EPOCH, BTreeMap::from([("socks4", 1)]));
        let (source, count) = ("192.0.2.1".to_owned(), 1);
        let line = Line { v: 1, event: "refusals", time, since: time, source, count, causes: &causes };
        let reference = include_str!("../../docs/audit.md");
        let (_, section) = reference.split_once("## Event `refusals`").unwrap();
        let (section, _) = section.split_once("\n## ").unwrap();
        for field in serde_json::to_value(line).unwrap().as_object().unwrap().keys() {
            let is_described = |row: &str| row.starts_with("| `") && row.contains(&format!("`{field}`"));
            assert!(section.lines().any(is_described), "`{field}`");
        }
    }
}
