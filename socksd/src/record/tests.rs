use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::roster::SessionId;

const REFERENCE: &str = include_str!("../../../docs/audit.md");

/// A line in which nothing is left out.
fn keys_of_a_full_line() -> BTreeSet<String> {
    let address = SocketAddr::from(([192, 0, 2, 1], 80));
    let groups: [Box<str>; 1] = ["staff".into()];
    let attributes = BTreeMap::from([("service".into(), "socks/gw".into())]);
    let line = Line {
        v: VERSION,
        event: "session",
        session: SessionId { boot: 1, number: 1 }.to_string(),
        time: Timestamp::UNIX_EPOCH,
        started: Timestamp::UNIX_EPOCH,
        listener: "main",
        client: address,
        method: Some("gssapi"),
        identity: Some("alice@R".into()),
        claimed_identity: Some("alice@R".into()),
        groups: &groups,
        groups_missing: Some("no answer"),
        attributes: Some(&attributes),
        protection: Some("integrity"),
        valid_until: Some(Timestamp::UNIX_EPOCH),
        expired: true,
        command: Some("connect"),
        target: Some("web:80".into()),
        dialled: Some(address),
        bound: Some(address),
        advertised: Some(address),
        peer: Some(address),
        refused_peers: 1,
        rule: Some("web"),
        logged_by: vec!["watched"],
        policy: Some(1),
        verdict: "permit",
        cause: "closed",
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
    let Ok(Value::Object(fields)) = serde_json::to_value(line) else { panic!("a line is an object") };
    fields.keys().cloned().collect()
}

/// The words in the first column of a section's first table.
fn described(section: &str) -> BTreeSet<String> {
    let (_, rest) = REFERENCE.split_once(section).expect("the section");
    let rows =
        rest.lines().skip_while(|line| !line.starts_with("| `")).take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
}

#[test]
fn every_field_is_described_in_the_reference_and_no_other() {
    assert_eq!(keys_of_a_full_line(), described("## Event `session`"));
}
