//! Octets of one day.

use std::num::NonZeroU64;

use jiff::tz::Offset;
use jiff::{Timestamp, civil};
use serde::{Deserialize, Serialize};

/// A day in UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Date(civil::Date);

impl Date {
    pub(crate) fn today() -> Self {
        Self::of(Timestamp::now())
    }

    fn of(time: Timestamp) -> Self {
        Self(Offset::UTC.to_datetime(time).date())
    }

    /// Tells whether it is more than one day before another: a clock that went that far ahead was wrong then, and what
    /// was counted for such a day would otherwise keep people out until it comes.
    fn is_long_before(self, other: Self) -> bool {
        other.0.yesterday().is_ok_and(|yesterday| self.0 < yesterday)
    }
}

/// A process beside this one that knows of octets: each tells the other, so that one day's octets are not used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neighbour {
    /// The one that this one has taken over from.
    Before,
    /// The one that has taken over from this one.
    After,
}

/// What one account has used on one day, and how much it may use.
#[derive(Debug, Default)]
pub(super) struct Day {
    date: Date,
    used: u64,
    /// How much of that the process before this one knows of, and how much the one after it.
    told: [u64; 2],
    /// `None`: there is no limit, and nothing is counted.
    pub(super) most: Option<NonZeroU64>,
}

impl Day {
    /// Counts octets, and tells whether there were some left: the last ones may be more than that.
    pub(super) fn spend(&mut self, octets: u64, today: Date) -> bool {
        let Some(most) = self.most else { return true };
        self.turn(today);
        let has_some = self.used < most.get();
        if has_some {
            self.used = self.used.saturating_add(octets);
        }
        has_some
    }

    /// Takes back octets that were not used.
    pub(super) fn give_back(&mut self, octets: u64) {
        if self.most.is_some() {
            self.used = self.used.saturating_sub(octets);
        }
    }

    /// Tells whether nothing is left.
    pub(super) fn is_used_up(&mut self, today: Date) -> bool {
        self.turn(today);
        self.most.is_some_and(|most| self.used >= most.get())
    }

    /// Adds what was used before a restart, or in another process, which is not told of that again.
    pub(super) fn learn(&mut self, octets: u64, from: Option<Neighbour>, date: Date) {
        self.turn(date);
        if date == self.date {
            self.used = self.used.saturating_add(octets);
            if let Some(from) = from {
                let told = self.told(from);
                *told = told.saturating_add(octets);
            }
        }
    }

    /// What was used today.
    pub(super) fn used(&mut self, today: Date) -> u64 {
        self.turn(today);
        self.used
    }

    /// What was used today and that process does not know of.
    pub(super) fn news(&mut self, whom: Neighbour, today: Date) -> u64 {
        let used = self.used(today);
        let told = self.told(whom);
        let news = used.saturating_sub(*told);
        *told += news;
        news
    }

    /// No process after this one knows of anything.
    pub(super) fn tell_nobody(&mut self) {
        *self.told(Neighbour::After) = 0;
    }

    fn told(&mut self, whom: Neighbour) -> &mut u64 {
        let [before, after] = &mut self.told;
        match whom {
            Neighbour::Before => before,
            Neighbour::After => after,
        }
    }

    /// A day that begins has used nothing; a clock that was set back a little brings no day again.
    fn turn(&mut self, today: Date) {
        if today > self.date || today.is_long_before(self.date) {
            (self.date, self.used, self.told) = (today, 0, [0; 2]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::of(text.parse().unwrap())
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        assert_eq!(date("2026-03-01T00:00:00Z"), date("2026-03-01T23:59:59Z"));
        assert!(date("2026-03-01T23:59:59Z") < date("2026-03-02T00:00:00Z"));
        assert!(date("1969-12-31T23:59:59Z") < date("1970-01-01T00:00:00Z"));
    }

    #[test]
    fn octets_are_there_until_they_are_used_up_and_again_the_next_day() {
        let (today, tomorrow) = (date("2026-03-05T12:00:00Z"), date("2026-03-06T12:00:00Z"));
        let mut day = Day { most: NonZeroU64::new(100), ..Day::default() };
        assert!(day.spend(60, today) && day.spend(60, today), "the last ones may be more than are left");
        assert!(day.is_used_up(today) && !day.spend(1, today));
        day.give_back(30);
        assert!(!day.is_used_up(today) && day.spend(10, today));
        assert!(day.is_used_up(today) && !day.is_used_up(tomorrow));
        assert!(day.spend(100, tomorrow) && day.is_used_up(today), "a clock set back brings nothing back");
    }

    #[test]
    fn a_clock_that_was_far_ahead_once_keeps_nobody_out() {
        let (ahead, today) = (date("2031-03-05T12:00:00Z"), date("2026-03-05T12:00:00Z"));
        let mut day = Day { most: NonZeroU64::new(100), ..Day::default() };
        assert!(day.spend(100, ahead) && day.is_used_up(ahead));
        assert!(!day.is_used_up(today) && day.used(today) == 0, "that day is years away");
        assert!(day.spend(100, today) && day.is_used_up(date("2026-03-04T12:00:00Z")), "one day is not far");
        day.learn(7, None, date("2026-03-03T12:00:00Z"));
        assert_eq!(day.used(date("2026-03-03T12:00:00Z")), 7, "two days are");
        assert!(!Date::default().is_long_before(Date::default()));
    }

    #[test]
    fn what_was_used_before_counts_on_its_day_only() {
        let mut day = Day { most: NonZeroU64::new(100), ..Day::default() };
        day.learn(70, None, date("2026-03-05T12:00:00Z"));
        day.learn(20, None, date("2026-03-05T12:00:00Z"));
        day.learn(20, None, date("2026-03-04T12:00:00Z"));
        assert_eq!((day.used(date("2026-03-05T12:00:00Z")), day.used(date("2026-03-06T12:00:00Z"))), (90, 0));
    }

    #[test]
    fn news_are_told_once_and_again_to_somebody_else() {
        let mut day = Day { most: NonZeroU64::new(100), ..Day::default() };
        let today = date("2026-03-05T12:00:00Z");
        day.spend(10, today);
        assert_eq!((day.news(Neighbour::After, today), day.news(Neighbour::After, today)), (10, 0));
        day.spend(5, today);
        assert_eq!(day.news(Neighbour::After, today), 5);
        day.tell_nobody();
        assert_eq!(day.news(Neighbour::After, today), 15);
    }

    #[test]
    fn what_one_process_tells_goes_on_to_the_other_and_never_comes_back() {
        let mut day = Day { most: NonZeroU64::new(100), ..Day::default() };
        let today = date("2026-03-05T12:00:00Z");
        day.spend(1, today);
        day.learn(10, Some(Neighbour::Before), today);
        day.learn(20, Some(Neighbour::After), today);
        assert_eq!(day.used(today), 31);
        assert_eq!((day.news(Neighbour::Before, today), day.news(Neighbour::After, today)), (21, 11));
        assert_eq!((day.news(Neighbour::Before, today), day.news(Neighbour::After, today)), (0, 0));
    }

    #[test]
    fn nothing_is_counted_without_a_limit() {
        let mut day = Day::default();
        assert!(day.spend(u64::MAX, date("2026-03-05T12:00:00Z")));
        assert_eq!(day.used(date("2026-03-05T12:00:00Z")), 0);
    }
}
