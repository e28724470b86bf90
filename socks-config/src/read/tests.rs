use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::Deserialize;

use crate::value::{Size, Span};
use crate::{Document, Finding};

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    users: String,
    max_tries: u16,
    ratio: Option<f64>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    ports: BTreeMap<u16, String>,
    pair: Option<(i8, bool)>,
    #[serde(default)]
    mode: Mode,
    cache: Option<Cache>,
    timeout: Option<Span>,
    room: Option<Size>,
    address: Option<IpAddr>,
    weight: Option<NonZeroU16>,
}

#[derive(Debug, PartialEq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Strict,
    Lax,
    Limit(u8),
    Window {
        size: u8,
    },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Cache {
    Off(bool),
    For(String),
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Finding> {
    Document::parse("f", text.to_owned()).unwrap().root.read()
}

/// Line, column and message, and the help behind ` / `.
fn mistake(text: &str) -> String {
    let finding = read::<Options>(text).unwrap_err();
    let place = finding.place.unwrap();
    let help = finding.help.map(|help| format!(" / {help}")).unwrap_or_default();
    format!("{}:{} {}{help}", place.line(), place.column(), finding.message)
}

#[test]
fn every_form_of_value_is_read() {
    let text = "
users: 22
max-tries: 0x10
ratio: 0.5
tags: [yes, 10.0, 'a b']
ports: {80: http, 443: https}
pair: [-3, true]
mode: lax
cache: false
timeout: 30s
room: 1KiB
address: 10.0.0.1
weight: 3
";
    let options: Options = read(text).unwrap();
    let expected = Options {
        users: "22".to_owned(),
        max_tries: 16,
        ratio: Some(0.5),
        tags: vec!["yes".to_owned(), "10.0".to_owned(), "a b".to_owned()],
        ports: BTreeMap::from([(80, "http".to_owned()), (443, "https".to_owned())]),
        pair: Some((-3, true)),
        mode: Mode::Lax,
        cache: Some(Cache::Off(false)),
        timeout: Some(Span(std::time::Duration::from_secs(30))),
        room: Some(Size(1024)),
        address: Some([10, 0, 0, 1].into()),
        weight: NonZeroU16::new(3),
    };
    assert_eq!(options, expected);
}

#[test]
fn variants_hold_values() {
    assert_eq!(read::<Mode>("limit: 3").unwrap(), Mode::Limit(3));
    assert_eq!(read::<Mode>("{window: {size: 9}}").unwrap(), Mode::Window { size: 9 });
    assert_eq!(read::<Mode>("lax:").unwrap(), Mode::Lax);
    let message = |text| read::<Mode>(text).unwrap_err().message;
    assert_eq!(message("limit"), "expected a mapping of one key and its value, found `limit`");
    assert_eq!(message("lax: 3"), "expected nothing, found `3`");
    assert_eq!(message("limit: 300"), "expected a whole number from 0 to 255, found `300`");
    assert_eq!(message("{window: {}}"), "missing key `size`");
    assert_eq!(message("[]"), "expected one of `strict`, `lax`, `limit`, `window`, found a list");
}

#[test]
fn a_mistake_stands_at_its_key_or_value() {
    let head = "users: x\nmax-tries: 1\n";
    for (line, expected) in [
        ("max_trys: 2", "3:1 unknown key `max_trys` / did you mean `max-tries`?"),
        ("users: y", "3:1 duplicate key `users`, first in line 1 column 1"),
        ("[a]: y", "3:1 expected text as a key, found a list"),
        ("ratio: fast", "3:8 expected a number, found `fast`"),
        ("ratio: nan", "3:8 expected a number, found `nan`"),
        ("tags: one", "3:7 expected a list, found `one`"),
        ("tags: [a, [b]]", "3:11 expected text, found a list"),
        ("tags: [a, ~]", "3:11 expected text, found nothing"),
        ("ports: {http: 80}", "3:9 expected a whole number from 0 to 65535, found `http`"),
        ("pair: [1]", "3:7 expected a list of 2, found 1"),
        ("pair: [1, yes]", "3:11 expected `true` or `false`, found `yes`"),
        ("pair: [1, true, 2]", "3:7 expected a list of 2, found 3"),
        ("mode: lxa", "3:7 unknown value `lxa` / did you mean `lax`?"),
        ("mode: other", "3:7 unknown value `other` / known values: `strict`, `lax`, `limit`, `window`"),
        (
            "timeout: 30",
            "3:10 `30`: the unit is missing, write for example `250ms`, `30s`, `10m`, `2h` or `1d`",
        ),
        (
            "room: big",
            "3:7 `big`: is no whole number with a unit, write for example `64KiB`, `10MiB` or `1GiB`",
        ),
        ("weight: 0", "3:9 expected a nonzero whole number, found `0`"),
    ] {
        assert_eq!(mistake(&format!("{head}{line}\n")), expected, "{line}");
    }
}

#[test]
fn a_number_is_written_plainly() {
    for bad in ["65536", "-1", "1.5", "'1'", "022", "+1", "0x", "0x+1", "1_000", "''", "1e3", "٣"] {
        let message = mistake(&format!("users: x\nmax-tries: {bad}\n"));
        assert!(
            message.starts_with("2:12 expected a whole number from 0 to 65535, found"),
            "{bad}: {message}"
        );
    }
}

#[test]
fn a_missing_key_is_shown_at_its_mapping() {
    assert_eq!(mistake("users: x\n"), "1:1 missing key `max-tries`");
    assert_eq!(mistake("[]"), "1:1 expected a mapping, found a list");
    assert!(mistake("users: x\nmax-tries: 1\naddress: 10.0.0.256\n").starts_with("3:10 invalid IP address"));
}

#[test]
fn no_message_names_a_type_of_the_program() {
    let texts =
        ["[]", "x", "users: []", "users: x\nmax-tries: {}", "users: x\nmax-tries: 1\nmode: {a: b, c: d}"];
    for text in texts {
        let message = mistake(text);
        assert!(
            !message.contains("struct") && !message.contains("u16") && !message.contains("Options"),
            "{message}"
        );
    }
}
