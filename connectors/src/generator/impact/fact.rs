//! One thing that happened, before it is written down: its contract, its data and its time.
//!
//! A fact knows nothing of duplicates, delays or damage; those are added on its way out. It has no state.

use chrono::{DateTime, Datelike, Months, NaiveDate, SecondsFormat};
use serde_json::Value;

/// Seconds in a minute, an hour and a day.
pub(super) const MINUTE: i64 = 60;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// An event as it happened.
#[derive(Debug, Clone)]
pub(super) struct Fact {
    /// The event type, which is also the topic.
    pub(super) topic: &'static str,
    /// The fields of `data`; the first one is required by the contract.
    pub(super) data: Value,
    /// When it was recorded, in seconds since the epoch.
    pub(super) at: i64,
}

/// A calendar month in UTC.
#[derive(Debug, Clone, Copy)]
pub(super) struct Month {
    /// Which month of the programme it is, from 0.
    pub(super) index: u32,
    /// Its first second.
    pub(super) start: i64,
    /// The first second of the next month.
    pub(super) end: i64,
}

impl Month {
    /// Returns month number `index` counted from the month of `first`.
    pub(super) fn of(first: NaiveDate, index: u32) -> Self {
        let first = first.with_day(1).unwrap_or(first);
        let second_of = |months: u32| {
            let day = first.checked_add_months(Months::new(months)).unwrap_or(NaiveDate::MAX);
            day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
        };
        Self { index, start: second_of(index), end: second_of(index + 1) }
    }

    /// Returns the number of whole days.
    pub(super) fn days(self) -> i64 {
        (self.end - self.start) / DAY
    }
}

/// Prints a time as ISO 8601 in UTC.
pub(super) fn iso(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_follow_the_calendar() {
        let first = NaiveDate::from_ymd_opt(2025, 1, 1).expect("a date");
        let lengths: Vec<i64> = (0..12).map(|index| Month::of(first, index).days()).collect();
        assert_eq!(lengths, [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]);
        assert_eq!(iso(Month::of(first, 11).end), "2026-01-01T00:00:00Z");
    }
}
