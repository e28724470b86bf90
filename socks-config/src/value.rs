//! Values with a unit: spans of time, sizes, and switches.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Visitor};

use crate::{Finding, Node, Value};

/// A span of time: `250ms`, `30s`, `10m`, `2h`, `1d`.
///
/// # Errors
/// A mistake here when it is anything else; a bare number is told that its unit is missing.
pub fn duration(node: &Node) -> Result<Duration, Finding> {
    node.parse::<Span>().map(|span| span.0)
}

/// A size in octets: `100B`, `10kB`, `64KiB`, `10MB`, `10MiB`, `1GB`, `1GiB`.
///
/// # Errors
/// A mistake here when it is anything else; a bare number is told that its unit is missing.
pub fn size(node: &Node) -> Result<u64, Finding> {
    node.parse::<Size>().map(|size| size.0)
}

/// `true` or `false`, without quotes.
///
/// # Errors
/// A mistake here when it is anything else: `yes`, `on` and their like are not guessed.
pub fn switch(node: &Node) -> Result<bool, Finding> {
    match &node.value {
        Value::Scalar(scalar) if scalar.is_plain() => match scalar.text() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(node.expected("`true` or `false`")),
        },
        _ => Err(node.expected("`true` or `false`")),
    }
}

/// A span of time with its unit, for the options of a plug-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub Duration);

/// A size in octets with its unit, for the options of a plug-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// Why a text is no value with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// A number stands there alone.
    #[error("the unit is missing, write for example {0}")]
    NoUnit(&'static str),
    /// It is no whole number with one of the units.
    #[error("is no whole number with a unit, write for example {0}")]
    Form(&'static str),
    /// The value does not fit.
    #[error("is too large")]
    TooLarge,
}

/// The units of time, in milliseconds.
const TIMES: Units = Units {
    factors: &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)],
    example: "`250ms`, `30s`, `10m`, `2h` or `1d`",
};

/// The units of size, in octets.
const SIZES: Units = Units {
    factors: &[
        ("B", 1),
        ("kB", 1_000),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
        ("TB", 1_000_000_000_000),
        ("TiB", 1 << 40),
    ],
    example: "`64KiB`, `10MiB` or `1GiB`",
};

struct Units {
    factors: &'static [(&'static str, u64)],
    example: &'static str,
}

impl Units {
    fn read(&self, text: &str) -> Result<u64, UnitError> {
        let end = text.find(|it: char| !it.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        if number.is_empty() {
            return Err(UnitError::Form(self.example));
        }
        if unit.is_empty() {
            return Err(UnitError::NoUnit(self.example));
        }
        let factor = self.factors.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let factor = factor.ok_or(UnitError::Form(self.example))?;
        let number: u64 = number.parse().map_err(|_| UnitError::TooLarge)?;
        number.checked_mul(factor).ok_or(UnitError::TooLarge)
    }

    /// The value with the largest unit that leaves nothing over.
    fn write(&self, value: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole =
            self.factors.iter().filter(|(_, factor)| value.is_multiple_of(*factor) && value >= *factor);
        let (unit, factor) = whole.max_by_key(|(_, factor)| *factor).copied().unwrap_or(("", 1));
        let unit = if unit.is_empty() { self.factors.first().map_or("", |(unit, _)| unit) } else { unit };
        write!(f, "{}{unit}", value / factor)
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        TIMES.read(text).map(|milliseconds| Self(Duration::from_millis(milliseconds)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        TIMES.write(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), f)
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        SIZES.read(text).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SIZES.write(self.0, f)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text).and_then(|text| text.parse().map_err(|error| shown(&text, error)))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text).and_then(|text| text.parse().map_err(|error| shown(&text, error)))
    }
}

fn shown<E: serde::de::Error>(text: &str, error: UnitError) -> E {
    E::custom(format_args!("`{text}`: {error}"))
}

/// Takes a text over.
struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number with its unit")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<String, E> {
        Err(E::custom(format_args!("`{number}`: the unit is missing")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Document;

    #[test]
    fn spans_of_time_have_units() {
        for (text, milliseconds) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("10m", 600_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
            ("0s", 0),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_millis(milliseconds))), "{text}");
        }
        assert_eq!("30".parse::<Span>(), Err(UnitError::NoUnit(TIMES.example)));
        for text in ["", "s", "-1s", "1.5h", "1 s", "1S", "1w", "1min", "٣s"] {
            assert_eq!(text.parse::<Span>(), Err(UnitError::Form(TIMES.example)), "{text}");
        }
        for text in ["99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(text.parse::<Span>(), Err(UnitError::TooLarge), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, octets) in
            [("100B", 100), ("10kB", 10_000), ("64KiB", 65_536), ("10MiB", 10 << 20), ("1GiB", 1 << 30)]
        {
            assert_eq!(text.parse(), Ok(Size(octets)), "{text}");
        }
        assert_eq!("64".parse::<Size>(), Err(UnitError::NoUnit(SIZES.example)));
        for text in ["64k", "64K", "64kb", "MiB", "1.5MiB"] {
            assert_eq!(text.parse::<Size>(), Err(UnitError::Form(SIZES.example)), "{text}");
        }
    }

    #[test]
    fn values_print_as_they_are_written() {
        for text in ["0ms", "250ms", "30s", "10m", "90m", "2h", "1d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["0B", "100B", "64KiB", "10MB", "1GiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn mistakes_show_text_and_place() {
        let document = Document::parse("f", "[30, yes, \"true\", 1h, true]".to_owned()).unwrap();
        let items = document.root.items();
        let message =
            |finding: Finding| format!("{} {}", finding.place.as_ref().unwrap().column(), finding.message);
        let missing = message(duration(&items[0]).unwrap_err());
        assert_eq!(
            missing,
            "2 `30`: the unit is missing, write for example `250ms`, `30s`, `10m`, `2h` or `1d`"
        );
        assert_eq!(message(switch(&items[1]).unwrap_err()), "6 expected `true` or `false`, found `yes`");
        assert_eq!(message(switch(&items[2]).unwrap_err()), "11 expected `true` or `false`, found `true`");
        assert_eq!(duration(&items[3]).unwrap(), Duration::from_secs(3600));
        assert!(switch(&items[4]).unwrap());
        assert!(size(&items[0]).unwrap_err().message.contains("`64KiB`"));
    }
}
