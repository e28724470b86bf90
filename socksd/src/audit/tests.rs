use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;
use serde_json::Value;

use crate::config::{Fsync, OnAuditFailure, OnOverflow, TargetKind, TargetTerms};

use super::*;

const REFERENCE: &str = include_str!("../../../docs/audit.md");
const SCHEMA: &str = include_str!("../../../docs/schema/audit.json");

fn file(path: &Path, terms: TargetTerms) -> TargetConfig {
    TargetConfig { kind: TargetKind::File { path: path.to_owned(), fsync: Fsync::Always }, terms }
}

fn to(targets: Vec<TargetConfig>) -> AuditConfig {
    AuditConfig { targets, ..AuditConfig::default() }
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// Waits for what the writers do.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed().as_secs() < 20, "{what} does not come");
        std::thread::yield_now();
    }
}

fn samples() -> Vec<Event<'static>> {
    vec![
        Event::GatewayStart { boot: "1a", version: "0.1.0", pid: 7, policy: 1 },
        Event::GatewayStop { boot: "1a", pid: 7, sessions: 3, seconds: 1.5 },
        Event::Reload {
            by: Agent::Admin { who: "carol" },
            result: ReloadResult::Applied,
            policy: 2,
            warnings: 1,
            detail: None,
        },
        Event::Reload {
            by: Agent::Signal,
            result: ReloadResult::Refused,
            policy: 1,
            warnings: 0,
            detail: Some("policy.yaml:3:5: mistake: unknown key `fro`"),
        },
        Event::Reload {
            by: Agent::TakeBack,
            result: ReloadResult::Applied,
            policy: 3,
            warnings: 0,
            detail: None,
        },
        Event::Admin { who: "carol", act: "end-session", about: Some("1a-3"), result: "ended" },
        Event::LoginLock {
            method: "password",
            claimed_identity: "alice",
            source: "192.0.2.66",
            failures: 10,
            until: Timestamp::UNIX_EPOCH,
            unrecorded: 3,
        },
        Event::AuditLost { place: "audit.jsonl", count: 3, since: Timestamp::UNIX_EPOCH },
    ]
}

#[test]
fn every_event_is_as_the_schema_and_the_reference_say() {
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let schema = jsonschema::JSONSchema::compile(&schema).unwrap();
    for event in samples() {
        let record = serde_json::to_value(event.now()).unwrap();
        let mistakes: Vec<String> =
            schema.validate(&record).err().into_iter().flatten().map(|error| error.to_string()).collect();
        assert!(mistakes.is_empty(), "{record}: {mistakes:?}");
        let title = format!("## Event `{}`", record["event"].as_str().unwrap());
        let (_, section) = REFERENCE.split_once(&title).unwrap_or_else(|| panic!("no `{title}`"));
        let (section, _) = section.split_once("\n## ").unwrap_or((section, ""));
        for field in record.as_object().unwrap().keys() {
            let is_described = |row: &str| {
                row.starts_with("| `") && row.split('|').nth(1).unwrap_or("").contains(&format!("`{field}`"))
            };
            assert!(section.lines().any(is_described), "{title}: `{field}`");
        }
    }
}

#[test]
fn what_was_written_stands_in_all_files_after_close() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| folder.path().join(name));
    let terms = TargetTerms::default();
    let audit = Audit::open(&to(paths.iter().map(|path| file(path, terms)).collect())).unwrap();
    for number in 0..1000 {
        audit.write(&number);
    }
    audit.close();
    for path in &paths {
        assert_eq!(lines(path), (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
    }
    let counts = audit.counts();
    assert_eq!(
        counts.iter().map(|counts| (counts.written, counts.waiting, counts.lost)).collect::<Vec<_>>(),
        [(1000, 0, 0); 2]
    );
}

#[test]
fn a_reload_keeps_what_stays_opens_what_comes_and_ends_what_goes() {
    let folder = tempfile::tempdir().unwrap();
    let [stays, goes, comes] = ["stays", "goes", "comes"].map(|name| folder.path().join(name));
    let terms = TargetTerms::default();
    let audit = Audit::open(&to(vec![file(&goes, terms), file(&stays, terms)])).unwrap();
    audit.write(&1);
    let prepared = audit.prepare(&to(vec![file(&stays, terms), file(&comes, terms)])).unwrap();
    audit.write(&2);
    audit.change(prepared);
    audit.write(&3);
    audit.close();
    assert_eq!(
        (lines(&stays), lines(&goes), lines(&comes)),
        (
            vec!["1".to_owned(), "2".into(), "3".into()],
            vec!["1".to_owned(), "2".into()],
            vec!["3".to_owned()],
        )
    );
    let missing = file(&folder.path().join("missing/a"), terms);
    let refused = audit.prepare(&to(vec![missing])).unwrap_err().to_string();
    assert!(refused.contains("missing/a"), "{refused}");
}

#[test]
fn a_target_that_fails_keeps_no_other_from_its_records() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good");
    let may_fail = TargetTerms { on_failure: OnAuditFailure::Continue, ..TargetTerms::default() };
    let audit =
        Audit::open(&to(vec![file(Path::new("/dev/full"), may_fail), file(&good, TargetTerms::default())]))
            .unwrap();
    for number in 0..20 {
        audit.write(&number);
    }
    until("the failure", || audit.counts()[0].failing);
    until("the other one", || audit.counts()[1].written == 20);
    assert!(!audit.refuses(), "it may fail");
    let [bad, good] = [&audit.counts()[0], &audit.counts()[1]];
    assert_eq!((bad.written, bad.waiting, bad.failures, good.failing), (0, 20, 1, false));
}

#[test]
fn a_target_that_must_not_fail_keeps_new_sessions_out() {
    let audit = Audit::open(&to(vec![file(Path::new("/dev/full"), TargetTerms::default())])).unwrap();
    assert!(!audit.refuses());
    audit.write(&1);
    until("the failure", || audit.refuses());
    assert!(!audit.is_behind(), "it does not move at all, so waiting is of no use");
}

#[test]
fn records_that_were_dropped_are_told_of_as_soon_as_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let terms =
        TargetTerms { queue: 16, on_failure: OnAuditFailure::Continue, on_overflow: OnOverflow::Count };
    let audit = Audit::open(&to(vec![file(&path, terms)])).unwrap();
    // A folder in its place: it cannot be opened anew.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    for number in 0..40 {
        audit.write(&number);
    }
    until("the failure", || audit.counts()[0].failing);
    assert_eq!((audit.counts()[0].lost, audit.refuses()), (24, false));
    std::fs::remove_dir(&path).unwrap();
    until("the room", || audit.counts()[0].written == 17);
    audit.close();
    let lines = lines(&path);
    let (last, first) = lines.split_last().unwrap();
    assert_eq!(first, (0..16).map(|number| number.to_string()).collect::<Vec<_>>());
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!((last["event"].as_str(), last["count"].as_u64()), (Some("audit-lost"), Some(24)));
}
