//! Numbers as people read them.

use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;

/// Octets in units of 1,024.
pub(super) struct Octets(pub(super) u64);
/// Octets of a second.
pub(super) struct Rate(pub(super) u64);
/// A time span in seconds, in its two largest units.
pub(super) struct Span(pub(super) f64);
/// A number with its thousands apart.
pub(super) struct Count(pub(super) u64);

impl Span {
    /// From that time up to now.
    pub(super) fn since(time: Timestamp) -> Self {
        Self(Timestamp::now().duration_since(time).as_secs_f64())
    }
}

impl Display for Octets {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        #[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
        let mut value = self.0 as f64 / 1024.0;
        let mut units = UNITS.into_iter();
        let mut unit = units.next().unwrap_or_default();
        // What would be rounded to 1024.
        while value >= 1023.5 {
            let Some(next) = units.next() else { break };
            (value, unit) = (value / 1024.0, next);
        }
        if value < 99.95 { write!(f, "{value:.1} {unit}") } else { write!(f, "{value:.0} {unit}") }
    }
}

impl Display for Rate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            octets => write!(f, "{}/s", Octets(octets)),
        }
    }
}

impl Display for Span {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let seconds = self.0.max(0.0) as u64;
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match () {
            () if minutes == 0 => write!(f, "{seconds} s"),
            () if hours == 0 => write!(f, "{minutes} min {:02} s", seconds % 60),
            () if days == 0 => write!(f, "{hours} h {:02} min", minutes % 60),
            () => write!(f, "{days} d {:02} h", hours % 24),
        }
    }
}

impl Display for Count {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_have_the_unit_that_keeps_them_short() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (102_400, "100 KiB"),
            (1_048_575, "1.0 MiB"),
            (5_905_580_032, "5.5 GiB"),
            (u64::MAX, "16777216 TiB"),
        ];
        for (octets, text) in table {
            assert_eq!(Octets(octets).to_string(), text);
        }
        assert_eq!((Rate(0).to_string(), Rate(2048).to_string()), ("0".into(), "2.0 KiB/s".into()));
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        let table = [
            (-1.0, "0 s"),
            (59.9, "59 s"),
            (61.0, "1 min 01 s"),
            (7260.0, "2 h 01 min"),
            (90_000.0, "1 d 01 h"),
        ];
        for (seconds, text) in table {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [(7, "7"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(Count(number).to_string(), text);
        }
    }
}
