use std::fmt;
use std::str::FromStr;

use devices::time::Nanos;
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// Not a size.
    #[error("`{0}` is not a size; write a whole number and a unit, such as \"64KiB\" or \"16MiB\"")]
    Size(String),
    /// Not a span of time.
    #[error(
        "`{0}` is not a span of time; write a number and a unit, such as \"700us\" or \"1.5s\""
    )]
    Span(String),
}

/// A size in bytes: written `4096`, `"64KiB"`, `"16MiB"` or `"1GiB"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

const SIZE_UNITS: [(&str, u32); 4] = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

impl Bytes {
    /// `n` binary kilobytes, saturating.
    pub const fn kib(n: u64) -> Bytes {
        Bytes(n.saturating_mul(1 << 10))
    }

    /// `n` binary megabytes, saturating.
    pub const fn mib(n: u64) -> Bytes {
        Bytes(n.saturating_mul(1 << 20))
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Bytes, UnitError> {
        let wrong = || UnitError::Size(shortened(text));
        let (digits, shift) = SIZE_UNITS
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
            .unwrap_or((text, 0));
        let count: u64 = digits.trim().parse().map_err(|_| wrong())?;
        count.checked_mul(1 << shift).map(Bytes).ok_or_else(wrong)
    }
}

impl fmt::Display for Bytes {
    /// The largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, shift) = SIZE_UNITS
            .iter()
            .find(|(_, shift)| self.0 != 0 && self.0.is_multiple_of(1 << shift))
            .unwrap_or(&("B", 0));
        write!(f, "{}{unit}", self.0 >> shift)
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"64KiB\" or a number of bytes")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Bytes, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, count: u64) -> Result<Bytes, E> {
                Ok(Bytes(count))
            }
            fn visit_i64<E: serde::de::Error>(self, count: i64) -> Result<Bytes, E> {
                u64::try_from(count)
                    .map(Bytes)
                    .map_err(|_| E::custom(UnitError::Size(count.to_string())))
            }
        }
        // A binary format (checkpoints) stores the text too: one form everywhere.
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(Reader)
        } else {
            deserializer.deserialize_str(Reader)
        }
    }
}

/// A span of virtual time: written `"700us"`, `"45ms"`, `"1.5s"`, `"2min"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Nanos);

const SPAN_UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("min", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("s", 1_000_000_000),
];

impl Span {
    /// `n` microseconds.
    pub const fn from_micros(n: u64) -> Span {
        Span(Nanos::from_micros(n))
    }

    /// `n` milliseconds.
    pub const fn from_millis(n: u64) -> Span {
        Span(Nanos::from_millis(n))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Span, UnitError> {
        let wrong = || UnitError::Span(shortened(text));
        let (number, scale) = SPAN_UNITS
            .iter()
            .find_map(|(unit, scale)| Some((text.strip_suffix(unit)?.trim(), *scale)))
            .ok_or_else(wrong)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(wrong());
        }
        let whole: u64 = whole.parse().map_err(|_| wrong())?;
        let places = u32::try_from(fraction.len()).map_err(|_| wrong())?;
        let fraction: u64 = fraction.parse().map_err(|_| wrong())?;
        // Both factors are small: at most 1e9 and 3.6e12, whose product fits.
        let fraction = u128::from(fraction) * u128::from(scale) / 10_u128.pow(places);
        let total = u128::from(whole) * u128::from(scale) + fraction;
        let total = u64::try_from(total).map_err(|_| wrong())?;
        if Nanos(total) == Nanos::NEVER {
            return Err(wrong());
        }
        Ok(Span(Nanos(total)))
    }
}

impl fmt::Display for Span {
    /// The largest unit in which it is a whole number, up to seconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.0;
        let (unit, scale) = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)]
            .into_iter()
            .find(|(_, scale)| nanos.is_multiple_of(*scale))
            .unwrap_or(("ns", 1));
        write!(f, "{}{unit}", nanos / scale)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// What a message may quote of a text that can be anything.
fn shortened(text: &str) -> String {
    const ENOUGH: usize = 40;
    let mut out: String = text.chars().take(ENOUGH).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_people_write_them() {
        let check = |text: &str, wanted: Option<u64>| {
            assert_eq!(text.parse::<Bytes>().ok().map(|b| b.0), wanted, "{text}");
        };
        check("4096", Some(4096));
        check("64KiB", Some(65536));
        check("16 MiB", Some(16 << 20));
        check("0B", Some(0));
        check("1.5MiB", None);
        check("16MB", None);
        check("-1", None);
        check("99999999999GiB", None);
        check("", None);
    }

    #[test]
    fn spans_as_people_write_them() {
        let check = |text: &str, wanted: Option<u64>| {
            assert_eq!(text.parse::<Span>().ok().map(|s| s.0.0), wanted, "{text}");
        };
        check("700us", Some(700_000));
        check("1.5s", Some(1_500_000_000));
        check("0s", Some(0));
        check("2min", Some(120_000_000_000));
        check("1h", Some(3_600_000_000_000));
        check("5", None);
        check("s", None);
        check("-1s", None);
        check("1e9s", None);
        check("99999999999s", None);
        check(".5s", None);
    }

    #[test]
    fn written_and_read_is_the_same() {
        for nanos in [0, 1, 999, 1_000, 45_000_000, 1_500_000_000, 2_000_000_000] {
            let span = Span(Nanos(nanos));
            assert_eq!(span.to_string().parse(), Ok(span));
        }
        for count in [0, 1, 1023, 1024, 3 << 20] {
            let bytes = Bytes(count);
            assert_eq!(bytes.to_string().parse(), Ok(bytes));
            let stored = postcard::to_stdvec(&bytes).unwrap();
            assert_eq!(postcard::from_bytes(&stored), Ok(bytes));
        }
    }
}
