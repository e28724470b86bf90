//! Windows of time in which a rule holds, by the days and hours of a zone.

use std::fmt;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Span, Timestamp};

use crate::set::Condition;

/// The minutes of a day.
pub(crate) const DAY: u16 = 24 * 60;

/// How many days ahead a change is looked for: two weeks hold every window at least once, also one that a clock
/// which is put forward leaves out.
const AHEAD: i64 = 15;

/// Days of the week and hours of these days, as the clocks of a zone show them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) days: Days,
    /// At least one; whole days are one span of [`Hours::ALL`].
    pub(crate) hours: Vec<Hours>,
    pub(crate) zone: TimeZone,
}

impl Window {
    /// Tells whether the clocks of the zone are in the window then.
    pub(crate) fn contains(&self, time: Timestamp) -> bool {
        let local = self.zone.to_datetime(time);
        let (day, minute) = (local.weekday(), minute_of(local.time()));
        self.hours.iter().any(|hours| {
            let today = self.days.contains(day);
            if hours.begin < hours.end {
                return today && (hours.begin..hours.end).contains(&minute);
            }
            // Past midnight it is still the window of the day before.
            (today && minute >= hours.begin) || (self.days.contains(day.previous()) && minute < hours.end)
        })
    }

    /// The instants after `time` at which the window may open or close.
    fn edges(&self, time: Timestamp) -> Vec<Timestamp> {
        let today = self.zone.to_datetime(time).date();
        let minutes = self.hours.iter().flat_map(|hours| [hours.begin, hours.end]);
        let minutes: Vec<u16> = minutes.chain([0]).collect();
        let dates = (-1..=AHEAD).filter_map(|days| today.checked_add(Span::new().days(days)).ok());
        let mut edges: Vec<Timestamp> = dates
            .flat_map(|date| minutes.iter().flat_map(move |minute| self.instants(date, *minute)))
            .flatten()
            .collect();
        // A clock that is put forward or back may step into a window or out of it.
        let last = edges.iter().max().copied().unwrap_or(time);
        let steps = self.zone.following(time).map(|step| step.timestamp());
        edges.extend(steps.take_while(|step| *step <= last));
        edges.retain(|edge| *edge > time);
        edges
    }

    /// When the clocks show that minute of that date: twice where they are put back.
    fn instants(&self, date: Date, minute: u16) -> [Option<Timestamp>; 2] {
        let Some(time) = time_of(minute % DAY) else { return [None, None] };
        let local = date.to_datetime(time);
        let (first, second) = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => (offset, None),
            AmbiguousOffset::Gap { before, after } | AmbiguousOffset::Fold { before, after } => {
                (before, Some(after))
            }
        };
        [first.to_timestamp(local).ok(), second.and_then(|offset| offset.to_timestamp(local).ok())]
    }

    /// The name of the zone.
    fn zone_name(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != Days::ALL {
            write!(f, "{} ", self.days)?;
        }
        for (at, hours) in self.hours.iter().filter(|hours| **hours != Hours::ALL).enumerate() {
            write!(f, "{}{hours}", if at > 0 { ", " } else { "" })?;
        }
        if !self.hours.contains(&Hours::ALL) {
            f.write_str(" ")?;
        }
        f.write_str(self.zone_name())
    }
}

/// A span of hours, in minutes of the day; one that ends before it begins passes midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hours {
    /// Its first minute.
    pub(crate) begin: u16,
    /// The first minute after it.
    pub(crate) end: u16,
}

impl Hours {
    /// The whole day.
    pub(crate) const ALL: Self = Self { begin: 0, end: DAY };
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begin, end } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", begin / 60, begin % 60, end / 60, end % 60)
    }
}

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Days(u8);

impl Days {
    /// The names of the days, Monday first.
    pub(crate) const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ALL: Self = Self(0x7F);

    /// These days and those from one to another, by their places in [`NAMES`](Self::NAMES); Sunday may stand inside.
    pub(crate) fn with(self, first: usize, last: usize) -> Self {
        let count = (last + 7 - first) % 7;
        Self((0..=count).fold(self.0, |days, step| days | 1 << ((first + step) % 7)))
    }

    fn contains(self, day: Weekday) -> bool {
        self.0 & 1 << day.to_monday_zero_offset() != 0
    }
}

impl fmt::Display for Days {
    /// Days in a row are shown as a span.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_in = |day: usize| self.0 & 1 << day != 0;
        let mut spans: Vec<(usize, usize)> = Vec::new();
        for day in (0..7).filter(|day| is_in(*day)) {
            match spans.last_mut() {
                Some((_, last)) if *last + 1 == day => *last = day,
                _ => spans.push((day, day)),
            }
        }
        for (at, (first, last)) in spans.into_iter().enumerate() {
            let name = |day: usize| Self::NAMES.get(day).copied().unwrap_or_default();
            f.write_str(if at > 0 { ", " } else { "" })?;
            f.write_str(name(first))?;
            if first != last {
                write!(f, "-{}", name(last))?;
            }
        }
        Ok(())
    }
}

impl Condition<Window> {
    /// Tells whether one of the windows is open then.
    pub(crate) fn is_open(&self, time: Timestamp) -> bool {
        self.elements().any(|window| window.contains(time))
    }

    /// The instants after `time` at which a window may open or close.
    pub(crate) fn edges(&self, time: Timestamp) -> Vec<Timestamp> {
        self.elements().flat_map(|window| window.edges(time)).collect()
    }

    /// What the clocks of the windows' zones show then.
    pub(crate) fn clocks(&self, time: Timestamp) -> String {
        let mut shown: Vec<String> = Vec::new();
        for window in self.elements() {
            let local = window.zone.to_datetime(time);
            let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or_default();
            let day = Days::NAMES.get(day).copied().unwrap_or_default();
            let zone = window.zone_name();
            let clock = format!("{day} {:02}:{:02} in {zone}", local.hour(), local.minute());
            if !shown.contains(&clock) {
                shown.push(clock);
            }
        }
        shown.join(", ")
    }
}

fn minute_of(time: Time) -> u16 {
    u16::from(time.hour().unsigned_abs()) * 60 + u16::from(time.minute().unsigned_abs())
}

fn time_of(minute: u16) -> Option<Time> {
    Time::new(i8::try_from(minute / 60).ok()?, i8::try_from(minute % 60).ok()?, 0, 0).ok()
}

#[cfg(test)]
mod tests;
