//! Calendar seconds as text.

use core::fmt;

/// Seconds since 1970-01-01, displayed as `2001-08-15T12:00:00Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Calendar(pub(crate) u64);

const DAY_S: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const EPOCH_DAY: u64 = 719_468;
/// Days of 400 years, of 100 that end without a leap day, of 4 that end with one.
const DAYS_400: u64 = 146_097;

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Years begin in March here, so that the leap day is the last of its year.
        let days = self.0 / DAY_S + EPOCH_DAY;
        let (era, day) = (days / DAYS_400, days % DAYS_400);
        let year = (day - day / 1460 + day / 36_524 - day / (DAYS_400 - 1)) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        // Months from March on have 31, 30, 31, 30, 31 days, over and over: 153 in five.
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        let year = era * 400 + year + next;
        let (hour, minute, second) = (self.0 % DAY_S / 3600, self.0 % 3600 / 60, self.0 % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |seconds, text: &str| assert_eq!(Calendar(seconds).to_string(), text);
        check(0, "1970-01-01T00:00:00Z");
        check(951_782_400, "2000-02-29T00:00:00Z");
        check(951_868_800, "2000-03-01T00:00:00Z");
        check(997_876_800, "2001-08-15T12:00:00Z");
        check(4_107_542_399, "2100-02-28T23:59:59Z");
        check(4_107_542_400, "2100-03-01T00:00:00Z");
        check(1_735_689_599, "2024-12-31T23:59:59Z");
    }
}
