//! Windows of time: in `sets.times`, and in the rules that have `when`.

use std::sync::Arc;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use socks_config::{Fields, Finding, Node};

use super::read::{Named, Reader};
use super::sets::set_name;
use crate::set::{Condition, Set};
use crate::times::{DAY, Days, Hours, Window};

impl<'a> Reader<'a> {
    /// Reads the named sets of windows.
    pub(super) fn times(&mut self, node: &'a Node) {
        for (name, key, value) in node.entries(&mut self.findings).unwrap_or_default() {
            if self.findings.note(set_name(name, key)).is_none() {
                continue;
            }
            if value.items().is_empty() {
                self.findings.mistake(&value.place, "an empty set matches nothing");
            }
            let elements = value.items().iter().filter_map(|item| self.window(item)).collect();
            let named =
                Named { set: Arc::new(Set { id: 0, elements }), place: key.place.clone(), is_used: false };
            self.times.named.insert(name.into(), named);
        }
    }

    /// The windows in which a rule holds.
    pub(super) fn when(&mut self, fields: &mut Fields<'a>) -> Option<Condition<Window>> {
        let node = self.take(fields, "when")?;
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "an empty list matches nothing");
        }
        let (mut sets, mut texts) = (Vec::new(), Vec::new());
        for item in node.items() {
            if let Ok(name) = item.text() {
                let set = self.times.refer(name).ok_or_else(|| self.times.missing(item, name));
                sets.extend(self.findings.note(set));
                texts.push(name.to_owned());
            } else if let Some(window) = self.window(item) {
                texts.push(window.to_string());
                sets.push(Arc::new(Set { id: 0, elements: vec![window] }));
            }
        }
        Some(Condition { sets, text: texts.join(", ").into() })
    }

    fn window(&mut self, node: &'a Node) -> Option<Window> {
        let mut fields = node.fields(&mut self.findings)?;
        let days = self.take(&mut fields, "days").map(|node| self.days(node));
        let hours = self.take(&mut fields, "hours").map(|node| self.hours(node));
        let zone = self.take(&mut fields, "zone").map(zone);
        let zone = zone.map_or(Some(TimeZone::UTC), |zone| self.findings.note(zone));
        if fields.key("days").is_none() && fields.key("hours").is_none() {
            let finding = Finding::mistake(&node.place, "a window without `days` and `hours` is always open");
            self.findings.push(finding.with_help("a rule without `when` holds at all times"));
        }
        fields.finish(&mut self.findings);
        Some(Window {
            days: days.unwrap_or(Days::ALL),
            hours: hours.unwrap_or(vec![Hours::ALL]),
            zone: zone?,
        })
    }

    fn days(&mut self, node: &'a Node) -> Days {
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "an empty list names no day");
        }
        let spans = node.items().iter().filter_map(|item| self.findings.note(days(item)));
        spans.fold(Days::NONE, |days, (first, last)| days.with(first, last))
    }

    fn hours(&mut self, node: &'a Node) -> Vec<Hours> {
        if node.items().is_empty() {
            self.findings.mistake(&node.place, "an empty list names no hours");
        }
        node.items().iter().filter_map(|item| self.findings.note(hours(item))).collect()
    }
}

/// A day or a span of days, as places in [`Days::NAMES`].
fn days(node: &Node) -> Result<(usize, usize), Finding> {
    let text = node.text()?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let place = |name: &str| Days::NAMES.iter().position(|day| *day == name);
    let days = place(first).zip(place(last));
    days.ok_or_else(|| {
        let expected = format!("a day (`{}`) or a span such as `mon-fri`", Days::NAMES.join("`, `"));
        node.expected(&expected)
    })
}

/// A span of hours.
fn hours(node: &Node) -> Result<Hours, Finding> {
    let text = node.text()?;
    let ends = text.split_once('-').and_then(|(begin, end)| minute(begin).zip(minute(end)));
    match ends {
        Some((begin, end)) if begin == end => {
            let message = format!("`{text}` begins when it ends");
            Err(Finding::mistake(&node.place, message).with_help("the whole day is written `00:00-24:00`"))
        }
        Some((begin, end)) if begin < DAY => Ok(Hours { begin, end }),
        _ => Err(node.expected("hours such as `08:00-18:00`, or `22:00-06:00` past midnight")),
    }
}

/// The minute of the day that `HH:MM` means; `24:00` is the end of the day.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| {
        let is_number = text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_digit());
        is_number.then(|| text.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= DAY).then_some(total)
}

/// A zone of the time zone database.
fn zone(node: &Node) -> Result<TimeZone, Finding> {
    let database = jiff::tz::db();
    if database.is_definitively_empty() {
        // It may have been installed since it was looked for first.
        return zone_of(node, &TimeZoneDatabase::from_env());
    }
    zone_of(node, database)
}

fn zone_of(node: &Node, database: &TimeZoneDatabase) -> Result<TimeZone, Finding> {
    let name = node.text()?;
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    if database.is_definitively_empty() {
        let message = format!("zone `{name}` is unknown: this host has no time zone database");
        let help = "install it (Debian's package `tzdata`), or use `UTC`";
        return Err(Finding::mistake(&node.place, message).with_help(help));
    }
    // The database has entries of its own making; none of them is a place with clocks.
    let zone =
        database.get(name).ok().filter(|zone| zone.iana_name().is_some_and(|name| name != "Etc/Unknown"));
    zone.ok_or_else(|| {
        let names: Vec<String> = database.available().map(|name| name.as_str().to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let finding =
            Finding::mistake(&node.place, format!("zone `{name}` is not in the time zone database"));
        let finding = finding.with_nearest(name, &names);
        let has_help = finding.help.is_some();
        if has_help { finding } else { finding.with_help("a zone is written like `Europe/Berlin`, or `UTC`") }
    })
}

#[cfg(test)]
mod tests {
    use socks_config::Document;

    use super::*;

    #[test]
    fn a_host_without_time_zones_is_told_of_where_a_zone_is_named() {
        let document = Document::parse("policy.yaml", "Europe/Berlin".to_owned()).unwrap();
        let finding = zone_of(&document.root, &TimeZoneDatabase::none()).unwrap_err();
        let shown = finding.to_string();
        assert!(shown.starts_with("policy.yaml:1:1: mistake: zone `Europe/Berlin` is unknown"), "{shown}");
        assert!(shown.contains("tzdata"), "{shown}");
        let document = Document::parse("policy.yaml", "UTC".to_owned()).unwrap();
        assert_eq!(zone_of(&document.root, &TimeZoneDatabase::none()), Ok(TimeZone::UTC));
    }
}
