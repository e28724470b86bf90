use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde_json::Value;
use socks_policy::SpecialUse;

use super::*;
use crate::judgement::Said;
use crate::roster::SessionId;
use crate::shadow::Difference;

const REFERENCE: &str = include_str!("../../../docs/audit.md");
const SCHEMA: &str = include_str!("../../../docs/schema/audit.json");

/// A line in which nothing is left out, as JSON.
fn with_full_line<T>(use_line: impl FnOnce(&Line<'_>) -> T) -> T {
    let address = SocketAddr::from(([192, 0, 2, 1], 80));
    let groups: [Box<str>; 1] = ["staff".into()];
    let attributes = BTreeMap::from([("service".into(), "socks/gw".into())]);
    let opening = Opening {
        v: VERSION,
        event: "session",
        session: SessionId { boot: 1, number: 1 }.to_string(),
        time: Timestamp::UNIX_EPOCH,
        started: Timestamp::UNIX_EPOCH,
        listener: "main",
        client: address,
        via: Some(address),
        method: Some("gssapi"),
        identity: Some("alice@R".into()),
        groups: &groups,
        groups_missing: Some("no answer"),
        groups_unknown: true,
        attributes: Some(&attributes),
        protection: Some("integrity"),
        valid_until: Some(Timestamp::UNIX_EPOCH),
        command: Some("connect"),
        target: Some("web:80".into()),
        addresses: &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        judged: Some(address.ip()),
        upstream: Some("hq"),
        dialled: Some(address),
        bound: Some(address),
        advertised: Some(address),
        peer: Some(address),
        rule: Some("web"),
        logged_by: vec!["watched"],
        policy: Some(1),
    };
    let denied = Said { rule: Some("next".into()), ..Said::no("rule") };
    let difference = Difference::between(&Said::no("no-match"), &denied).expect("they differ");
    let line = Line {
        opening,
        claimed_identity: Some("alice@R".into()),
        expired: true,
        refused_peers: 1,
        rules_before: vec!["old"],
        shadow: vec![&difference],
        verdict: "permit",
        cause: "closed",
        special_use: Some(SpecialUse::Loopback),
        detail: Some("in order".into()),
        reply: Some(0),
        up: 1,
        down: 1,
        datagrams_up: Some(1),
        datagrams_down: Some(1),
        destinations: Some(1),
        drops: BTreeMap::from([("denied", 1)]),
        seconds: 1.0,
    };
    use_line(&line)
}

/// The words in the first column of a section's first table.
fn described(section: &str) -> BTreeSet<String> {
    let (_, rest) = REFERENCE.split_once(section).expect("the section");
    let rows =
        rest.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

fn keys(record: &Value) -> BTreeSet<String> {
    record.as_object().expect("a line is an object").keys().cloned().collect()
}

fn full_line() -> Value {
    with_full_line(|line| serde_json::to_value(line).expect("no number is odd"))
}

fn full_opening() -> Value {
    with_full_line(|line| serde_json::to_value(&line.opening).expect("no number is odd"))
}

#[test]
fn every_field_is_described_in_the_reference_and_no_other() {
    assert_eq!(keys(&full_line()), described("## Event `session`"));
}

#[test]
fn a_start_record_has_the_fields_that_the_reference_names() {
    let (_, section) = REFERENCE.split_once("## Event `session-start`").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("it is not the last one");
    for field in keys(&full_opening()) {
        assert!(section.contains(&format!("`{field}`")), "`{field}`");
    }
}

#[test]
fn the_schema_knows_every_field_and_no_other() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    for (record, event) in [(full_line(), "session"), (full_opening(), "session-start")] {
        let pointer = format!("/$defs/{event}/properties");
        let mut known = keys(schema.pointer(&pointer).expect("a definition for each event"));
        // Of syslog alone, where a message has an end.
        known.remove("truncated");
        assert_eq!(keys(&record), known, "{event}");
    }
    let schema = jsonschema::JSONSchema::compile(&schema).expect("a valid schema");
    assert!(schema.is_valid(&full_line()));
    let mut odd = full_line();
    odd["colour"] = "blue".into();
    assert!(!schema.is_valid(&odd));
}
