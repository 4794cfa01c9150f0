//! Virtual time: nanoseconds since the array was first powered.
//!
//! There is one clock per array and no wall clock below the harness. A board's CPU takes no
//! virtual time; devices do.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A point in, or a span of, virtual time, in nanoseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The instant the array was first powered.
    pub const ZERO: Nanos = Nanos(0);
    /// Never: the deadline of somebody who waits for an event only.
    pub const NEVER: Nanos = Nanos(u64::MAX);

    /// A span of `n` microseconds, saturating.
    pub const fn from_micros(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000))
    }

    /// A span of `n` milliseconds, saturating.
    pub const fn from_millis(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000_000))
    }

    /// A span of `n` seconds, saturating.
    pub const fn from_secs(n: u64) -> Nanos {
        Nanos(n.saturating_mul(1_000_000_000))
    }

    /// `self - earlier`, or zero where `earlier` is later.
    pub const fn saturating_sub(self, earlier: Nanos) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Nanos {
    type Output = Nanos;
    /// Saturating, so that no guest-chosen deadline can overflow and `NEVER` stays never.
    fn add(self, span: Nanos) -> Nanos {
        Nanos(self.0.saturating_add(span.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, span: Nanos) {
        *self = *self + span;
    }
}

impl Sub for Nanos {
    type Output = Nanos;
    fn sub(self, earlier: Nanos) -> Nanos {
        self.saturating_sub(earlier)
    }
}

impl fmt::Display for Nanos {
    /// Seconds with nine decimals (`1.004500000`), so that columns of a timeline line up.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_has_nine_decimals() {
        assert_eq!(Nanos(1_004_500_000).to_string(), "1.004500000");
    }

    #[test]
    fn never_stays_never() {
        assert_eq!(Nanos::NEVER + Nanos::from_secs(1), Nanos::NEVER);
        assert_eq!(Nanos::ZERO - Nanos(1), Nanos::ZERO);
    }
}
