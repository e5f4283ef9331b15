//! Calendar periods and bounds of time as clients write them, and as the store keeps them: ISO 8601 text, UTC.
//!
//! Pure functions; the clock is asked elsewhere.

use crate::listing::Listing;
use crate::parameters::Parameters;
use crate::problem::Problem;
use chrono::{DateTime, Days, Months, NaiveDate, NaiveDateTime, SecondsFormat};
use headwater_core::EventTime;

/// A month, a quarter or a year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    /// `month`, `quarter` or `year`.
    pub(crate) kind: &'static str,
    /// The first day.
    pub(crate) start: NaiveDate,
    /// The day after the last.
    pub(crate) end: NaiveDate,
}

impl Period {
    /// Reads `YYYY-MM`, `YYYY-Qn` or `YYYY`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let refused = || Problem::invalid(format!("'{text}' is no period: write YYYY-MM, YYYY-Qn or YYYY."));
        let (year, rest) = text.split_at_checked(4).ok_or_else(refused)?;
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok());
        let year = digits(year).flatten().and_then(|year| i32::try_from(year).ok()).ok_or_else(refused)?;
        let (kind, month, months) = match rest.strip_prefix('-') {
            None if rest.is_empty() => ("year", 1, 12),
            Some("Q1") => ("quarter", 1, 3),
            Some("Q2") => ("quarter", 4, 3),
            Some("Q3") => ("quarter", 7, 3),
            Some("Q4") => ("quarter", 10, 3),
            Some(month) if month.len() == 2 => ("month", digits(month).flatten().ok_or_else(refused)?, 1),
            _ => return Err(refused()),
        };
        let start = NaiveDate::from_ymd_opt(year, month, 1).ok_or_else(refused)?;
        let end = start.checked_add_months(Months::new(months)).ok_or_else(refused)?;
        Ok(Self { kind, start, end })
    }
}

/// A bound as the prefix of a stored time: `2026-01-31T23:00:00`. Without the `Z` it sorts before every stored time
/// of that second, with or without a fraction.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound(String);

fn bound(name: &str, text: &str, day_after: bool) -> Result<Bound, Problem> {
    let format = |time: NaiveDateTime| Bound(time.format("%Y-%m-%dT%H:%M:%S").to_string());
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        let date = if day_after { date.checked_add_days(Days::new(1)).unwrap_or(date) } else { date };
        return Ok(format(date.and_time(chrono::NaiveTime::MIN)));
    }
    match DateTime::parse_from_rfc3339(text) {
        Ok(time) => Ok(format(time.naive_utc())),
        Err(_) => Err(Problem::invalid(format!(
            "'{name}' must be a date 2026-01-31 or a time 2026-01-31T12:00:00Z, not '{text}'."
        ))),
    }
}

/// Keeps the rows whose time (ISO text in `column`) is in the period and between the bounds.
pub(crate) fn filter_time(listing: &mut Listing, column: &str, asked: &Parameters) -> Result<(), Problem> {
    if let Some(text) = asked.get("period") {
        let period = Period::parse(text)?;
        listing.filter(format!("{column} >= ?"), [period.start.to_string()]);
        listing.filter(format!("{column} < ?"), [period.end.to_string()]);
    }
    if let Some(text) = asked.get("from") {
        listing.filter(format!("{column} >= ?"), [bound("from", text, false)?.0]);
    }
    if let Some(text) = asked.get("to") {
        listing.filter(format!("{column} < ?"), [bound("to", text, true)?.0]);
    }
    Ok(())
}

/// Keeps the rows whose time is at `since` or after it.
pub(crate) fn filter_since(listing: &mut Listing, column: &str, asked: &Parameters) -> Result<(), Problem> {
    if let Some(text) = asked.get("since") {
        listing.filter(format!("{column} >= ?"), [bound("since", text, false)?.0]);
    }
    Ok(())
}

/// Keeps the rows whose own period is the one asked for, or overlaps the bounds.
pub(crate) fn filter_period(listing: &mut Listing, asked: &Parameters) -> Result<(), Problem> {
    if let Some(text) = asked.get("period") {
        let period = Period::parse(text)?;
        listing.filter("period_kind = ?", [period.kind.to_owned()]);
        listing.filter("substr(period_start, 1, 10) = ?", [period.start.to_string()]);
    }
    listing.filter_equal("period_kind", asked.get("period_kind"));
    // Stored ends are the first moment after the period, so touching is not overlapping.
    if let Some(text) = asked.get("from") {
        listing.filter("period_end > ?", [format!("{}Z", bound("from", text, false)?.0)]);
    }
    if let Some(text) = asked.get("to") {
        listing.filter("period_start < ?", [bound("to", text, true)?.0]);
    }
    Ok(())
}

/// Writes a time as the store does: `2026-01-31T23:00:00Z`, with a fraction only when it is not zero.
pub(crate) fn iso(time: EventTime) -> String {
    DateTime::from_timestamp_nanos(time.0).to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> (&'static str, String, String) {
        let period = Period::parse(text).expect(text);
        (period.kind, period.start.to_string(), period.end.to_string())
    }

    #[test]
    fn periods_have_their_calendar_ends() {
        assert_eq!(period("2024-02"), ("month", "2024-02-01".into(), "2024-03-01".into()));
        assert_eq!(period("2026-Q4"), ("quarter", "2026-10-01".into(), "2027-01-01".into()));
        assert_eq!(period("2026"), ("year", "2026-01-01".into(), "2027-01-01".into()));
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for bad in
            ["", "26", "2026-", "2026-13", "2026-00", "2026-1", "2026-Q5", "2026-q1", "+026", "2026-01-01", "日本語"]
        {
            assert!(Period::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn bounds_sort_before_every_time_of_their_second() {
        let Bound(from) = bound("from", "2026-01-31T23:00:00+01:00", false).expect("a time");
        assert_eq!(from, "2026-01-31T22:00:00");
        for stored in ["2026-01-31T22:00:00Z", "2026-01-31T22:00:00.5Z"] {
            assert!(stored > from.as_str());
        }
        assert!("2026-01-31T21:59:59.999Z" < from.as_str());
        assert_eq!(bound("to", "2026-01-31", true).expect("a date"), Bound("2026-02-01T00:00:00".into()));
        assert!(bound("to", "yesterday", true).is_err());
    }

    #[test]
    fn times_are_written_as_the_store_writes_them() {
        assert_eq!(iso(EventTime(0)), "1970-01-01T00:00:00Z");
        assert_eq!(iso(EventTime(1_500_000_000)), "1970-01-01T00:00:01.500Z");
    }
}
