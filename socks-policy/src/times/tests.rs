//! Windows by tables, and the next change against a walk minute by minute.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::select;

use crate::Ruleset;
use crate::testing::{Question, rules};

/// A policy with one rule that has these windows.
fn windowed(when: &str) -> Ruleset {
    rules(&format!("  - {{ name: r, action: permit, when: {when} }}\n"))
}

fn is_open(ruleset: &Ruleset, time: Timestamp) -> bool {
    ruleset.rules.iter().any(|rule| rule.is_in_force(time))
}

#[test]
fn a_window_is_open_when_the_clocks_of_its_zone_say_so() {
    let office = "{ days: [mon-fri], hours: '08:00-18:00', zone: Europe/Berlin }";
    let night = "{ days: fri, hours: '22:00-06:00', zone: UTC }";
    let weekend = "{ days: [fri-sat, sun], zone: America/New_York }";
    let table = [
        // Friday, 15 January 2027; Berlin is an hour ahead of UTC.
        (office, "2027-01-15T06:59:59Z", false),
        (office, "2027-01-15T07:00:00Z", true),
        (office, "2027-01-15T16:59:59Z", true),
        (office, "2027-01-15T17:00:00Z", false),
        (office, "2027-01-16T12:00:00Z", false),
        (office, "2027-07-15T06:00:00Z", true),
        (night, "2027-01-15T21:59:00Z", false),
        (night, "2027-01-15T22:00:00Z", true),
        (night, "2027-01-16T05:59:59Z", true),
        (night, "2027-01-16T06:00:00Z", false),
        (night, "2027-01-15T05:00:00Z", false),
        (night, "2027-01-16T23:00:00Z", false),
        (weekend, "2027-01-15T04:59:59Z", false),
        (weekend, "2027-01-15T05:00:00Z", true),
        (weekend, "2027-01-18T04:59:59Z", true),
        (weekend, "2027-01-18T05:00:00Z", false),
        ("{ hours: ['00:00-01:00', '23:00-24:00'] }", "2027-01-15T23:59:59Z", true),
        ("{ hours: ['00:00-01:00', '23:00-24:00'] }", "2027-01-16T01:00:00Z", false),
        ("[{ days: sat }, { hours: '12:00-13:00' }]", "2027-01-15T12:30:00Z", true),
        ("[{ days: sat }, { hours: '12:00-13:00' }]", "2027-01-15T13:30:00Z", false),
    ];
    for (when, time, expected) in table {
        assert_eq!(is_open(&windowed(when), time.parse().unwrap()), expected, "{when} at {time}");
    }
}

/// On 28 March 2027 the clocks of Berlin go from 2 to 3, on 31 October from 3 back to 2.
#[test]
fn a_clock_that_is_put_forward_or_back_is_followed() {
    let table = [
        ("02:00-03:00", "2027-03-28T00:59:59Z", false),
        ("02:00-03:00", "2027-03-28T01:00:00Z", false),
        ("02:30-04:00", "2027-03-28T01:00:00Z", true),
        ("02:00-03:00", "2027-10-31T00:30:00Z", true),
        ("02:00-03:00", "2027-10-31T01:30:00Z", true),
        ("02:00-03:00", "2027-10-31T02:00:00Z", false),
        ("22:00-02:30", "2027-10-31T00:45:00Z", false),
        ("22:00-02:30", "2027-10-31T01:15:00Z", true),
    ];
    for (hours, time, expected) in table {
        let ruleset = windowed(&format!("{{ hours: '{hours}', zone: Europe/Berlin }}"));
        assert_eq!(is_open(&ruleset, time.parse().unwrap()), expected, "{hours} at {time}");
    }
}

#[test]
fn windows_are_shown_as_they_are_written() {
    let table = [
        (
            "{ days: [mon, tue, wed, sun], hours: '08:00-18:00', zone: Europe/Berlin }",
            "mon-wed, sun 08:00-18:00 Europe/Berlin",
        ),
        ("{ days: [fri-mon] }", "mon, fri-sun UTC"),
        ("{ hours: ['08:00-12:00', '13:00-24:00'] }", "08:00-12:00, 13:00-24:00 UTC"),
    ];
    for (when, expected) in table {
        let ruleset = windowed(when);
        let shown = ruleset.rules[0].when.as_ref().unwrap().text.to_string();
        assert_eq!(shown, expected);
    }
}

#[test]
fn outside_its_hours_neither_a_permit_nor_a_deny_rule_matches_and_the_explanation_says_so() {
    let ruleset = rules(
        "
  - { name: lunch, action: deny, when: { hours: '12:00-13:00' }, port: 1 }
  - { name: office, action: permit, when: { days: [mon-fri], hours: '09:00-18:00', zone: Asia/Kathmandu } }
",
    );
    let question = Question::connect("192.0.2.1:1");
    let ask = |time: &str| {
        let query = crate::Query { now: time.parse().unwrap(), ..question.query() };
        (crate::testing::shown(&ruleset.decide(&query)), ruleset.explain(&query).to_string())
    };
    assert_eq!(ask("2027-01-15T08:00:00Z").0, "permit office");
    assert_eq!(ask("2027-01-15T12:00:00Z").0, "deny lunch");
    let (answer, explanation) = ask("2027-01-16T08:00:00Z");
    assert_eq!(answer, "no-match");
    let lines: Vec<&str> = explanation.lines().collect();
    let reason =
        "outside its hours (`mon-fri 09:00-18:00 Asia/Kathmandu`): it is sat 13:45 in Asia/Kathmandu";
    assert_eq!(lines[1], format!("rule `office` (line 6, permit) does not match: {reason}"));
}

#[test]
fn the_next_change_is_that_of_any_rule() {
    let ruleset = rules(
        "
  - { name: a, action: permit, expires: '2027-01-15T20:00:00Z' }
  - { name: b, action: deny, when: { hours: '12:00-13:00', zone: Europe/Berlin } }
  - { name: c, action: permit }
",
    );
    let table = [
        ("2027-01-15T08:00:00Z", Some("2027-01-15T11:00:00Z")),
        ("2027-01-15T11:00:00Z", Some("2027-01-15T12:00:00Z")),
        ("2027-01-15T12:00:00Z", Some("2027-01-15T20:00:00Z")),
        ("2027-01-15T20:00:00Z", Some("2027-01-16T11:00:00Z")),
    ];
    for (now, expected) in table {
        let expected: Option<Timestamp> = expected.map(|time| time.parse().unwrap());
        assert_eq!(ruleset.next_change(now.parse().unwrap()), expected, "{now}");
    }
    assert_eq!(rules("  - { name: c, action: permit }\n").next_change(crate::testing::NOW), None);
    assert_eq!(windowed("{ hours: '00:00-24:00' }").next_change(crate::testing::NOW), None);
}

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"];

fn window() -> impl Strategy<Value = String> {
    let days = select(&["mon", "mon-fri", "sat-sun", "fri-mon", "sun", "mon-sun"][..]);
    let hours = (0..24_u8, 0..60_u8, 0..24_u8, 0..60_u8);
    (days, proptest::option::of(hours), select(&ZONES[..])).prop_map(|(days, hours, zone)| {
        let hours = hours.filter(|(h1, m1, h2, m2)| (h1, m1) != (h2, m2));
        let hours = hours.map(|(h1, m1, h2, m2)| format!("hours: '{h1:02}:{m1:02}-{h2:02}:{m2:02}', "));
        format!("{{ days: {days}, {}zone: {zone} }}", hours.unwrap_or_default())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// The years 2026 to 2028 have every sort of step of these zones' clocks.
    #[test]
    fn nothing_changes_before_the_next_change_and_something_does_then(
        windows in proptest::collection::vec(window(), 1..4),
        minute in 0_i64..3 * 366 * 24 * 60,
        second in 0_i64..60,
    ) {
        let ruleset = windowed(&format!("[{}]", windows.join(", ")));
        let start = 1_767_225_600 + minute * 60;
        let now = Timestamp::from_second(start + second).unwrap();
        let before = is_open(&ruleset, now);
        let change = ruleset.next_change(now);
        if let Some(change) = change {
            prop_assert!(change > now);
            prop_assert_ne!(is_open(&ruleset, change), before, "{:?} at {}", windows, change);
        }
        // Windows of three weeks at most are walked.
        let last = change.unwrap_or(now + SignedDuration::from_hours(21 * 24));
        let mut time = Timestamp::from_second(start + 60).unwrap();
        while time < last {
            prop_assert_eq!(is_open(&ruleset, time), before, "{:?} at {}, next {:?}", windows, time, change);
            time += SignedDuration::from_mins(1);
        }
    }
}
