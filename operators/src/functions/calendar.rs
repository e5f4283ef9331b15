//! Windows on the time line: fixed durations, and calendar days and months in a time zone.
//!
//! Windows tile: the end of one is the start of the next, and every time lies in exactly one. It never reads a clock;
//! a calendar is a few numbers and a time zone.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use chrono_tz::Tz;

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// A number of calendar months.
    Months(i64),
    /// A number of days: calendar days in a time zone, 24 hours each without one.
    Days(i64),
    /// A number of nanoseconds.
    Nanos(i64),
}

/// A rule that assigns each time to a window.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    rule: Rule,
    zone: Tz,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    /// `length` and `origin` in nanoseconds.
    Fixed { length: i64, origin: i64 },
    /// Local midnights of every `n`-th day, counted from day `origin` of the common era.
    Days { n: i64, origin: i64 },
    /// Local midnights of day `day` of every `n`-th month, counted from month `origin` since year 0.
    Months { n: i64, origin: i64, day: u32 },
}

/// The last day that every month has.
const DAY_MAX: u32 = 28;
/// How far after a skipped midnight the day begins: no clock ever skipped more than a whole day (Samoa, 2011).
const SKIPPED_MINUTES_MAX: u64 = 25 * 60;
/// Clocks are changed by multiples of this.
const SKIPPED_MINUTES_STEP: u64 = 15;

impl Calendar {
    /// Nanoseconds in a day of 24 hours.
    pub(crate) const DAY: i64 = 86_400_000_000_000;

    /// Makes the rule; the error is a sentence for the user.
    pub(crate) fn new(step: Step, zone: Option<&str>, origin: Option<i64>) -> Result<Self, String> {
        let tz: Tz = match zone {
            None => Tz::UTC,
            Some(name) => name.parse().map_err(|_| format!("there is no time zone '{name}'"))?,
        };
        let rule = match step {
            Step::Nanos(length) => Rule::Fixed { length, origin: origin.unwrap_or(0) },
            Step::Days(n) if zone.is_none() => {
                let length = n.checked_mul(Self::DAY).ok_or("the interval is too long")?;
                Rule::Fixed { length, origin: origin.unwrap_or(0) }
            }
            Step::Days(n) => {
                let date = origin_date(tz, origin)?;
                Rule::Days { n, origin: i64::from(date.num_days_from_ce()) }
            }
            Step::Months(n) => {
                let date = origin_date(tz, origin)?;
                if date.day() > DAY_MAX {
                    return Err(format!("the origin must be one of the first {DAY_MAX} days of a month"));
                }
                Rule::Months { n, origin: month_number(date), day: date.day() }
            }
        };
        Ok(Self { rule, zone: tz })
    }

    /// Returns the window `[start, end)` that holds a time; at the ends of the range of times it is cut off.
    pub(crate) fn window(&self, time: i64) -> (i64, i64) {
        if let Rule::Fixed { length, origin } = self.rule {
            let from_start = (i128::from(time) - i128::from(origin)).rem_euclid(i128::from(length));
            let start = i128::from(time) - from_start;
            return (clamp(start), clamp(start + i128::from(length)));
        }
        let date = self.zone.from_utc_datetime(&DateTime::from_timestamp_nanos(time).naive_utc()).date_naive();
        let mut number = self.number(date);
        // A clock set back over midnight gives the end of one day the date of the next; the boundaries decide.
        while time < self.boundary(number) {
            number -= 1;
        }
        while time >= self.boundary(number + 1) && self.boundary(number + 1) < i64::MAX {
            number += 1;
        }
        (self.boundary(number), self.boundary(number + 1))
    }

    /// Moves a time on by `n` steps: a duration, or local days or months at the same time of the day. Where the day has no
    /// such time it is the next one that is there, and a day that its month does not have is the last of the month.
    pub(crate) fn advance(&self, time: i64, step: Step, n: i64) -> i64 {
        let fixed = |nanos: i64| clamp(i128::from(time) + i128::from(nanos) * i128::from(n));
        let local = || {
            let local = self.zone.from_utc_datetime(&DateTime::from_timestamp_nanos(time).naive_utc()).naive_local();
            // The first moment of a day stays one, also where a day has no midnight.
            let midnight = self.midnight(local.date()).and_then(|midnight| midnight.timestamp_nanos_opt());
            if midnight == Some(time) { local.date().and_time(NaiveTime::MIN) } else { local }
        };
        let moved = match step {
            Step::Nanos(nanos) => return fixed(nanos),
            Step::Days(days) if self.zone == Tz::UTC => return fixed(days.saturating_mul(Self::DAY)),
            Step::Days(days) => days
                .checked_mul(n)
                .and_then(chrono::TimeDelta::try_days)
                .and_then(|days| local().checked_add_signed(days)),
            Step::Months(months) => months
                .checked_mul(n)
                .and_then(|months| u32::try_from(months).ok())
                .and_then(|months| local().checked_add_months(chrono::Months::new(months))),
        };
        moved.and_then(|local| self.first_at(local)).and_then(|time| time.timestamp_nanos_opt()).unwrap_or(i64::MAX)
    }

    /// The number of the window that holds a local date.
    fn number(&self, date: NaiveDate) -> i64 {
        match self.rule {
            Rule::Fixed { .. } => 0,
            Rule::Days { n, origin } => (i64::from(date.num_days_from_ce()) - origin).div_euclid(n),
            Rule::Months { n, origin, day } => {
                let before = i64::from(date.day() < day);
                (month_number(date) - before - origin).div_euclid(n)
            }
        }
    }

    /// Where a window starts.
    fn boundary(&self, number: i64) -> i64 {
        let date = match self.rule {
            Rule::Fixed { length, origin } => {
                return clamp(i128::from(origin) + i128::from(number) * i128::from(length));
            }
            Rule::Days { n, origin } => number
                .checked_mul(n)
                .and_then(|days| i32::try_from(days + origin).ok())
                .and_then(NaiveDate::from_num_days_from_ce_opt),
            Rule::Months { n, origin, day } => number.checked_mul(n).and_then(|months| {
                let month = months + origin;
                let year = i32::try_from(month.div_euclid(12)).ok()?;
                NaiveDate::from_ymd_opt(year, u32::try_from(month.rem_euclid(12)).ok()? + 1, day)
            }),
        };
        match date.and_then(|date| self.midnight(date)).and_then(|time| time.timestamp_nanos_opt()) {
            Some(nanos) => nanos,
            None if number < 0 => i64::MIN,
            None => i64::MAX,
        }
    }

    /// The first moment of a local day.
    fn midnight(&self, date: NaiveDate) -> Option<DateTime<Utc>> {
        self.first_at(date.and_time(NaiveTime::MIN))
    }

    /// The first moment at or after a local time.
    fn first_at(&self, time: NaiveDateTime) -> Option<DateTime<Utc>> {
        (0..=SKIPPED_MINUTES_MAX / SKIPPED_MINUTES_STEP).find_map(|steps| {
            let local = time + chrono::TimeDelta::minutes((steps * SKIPPED_MINUTES_STEP) as i64);
            self.zone.from_local_datetime(&local).earliest().map(|time| time.with_timezone(&Utc))
        })
    }
}

/// The local date of an origin, which must be a midnight; 1970-01-01 by default.
fn origin_date(zone: Tz, origin: Option<i64>) -> Result<NaiveDate, String> {
    let Some(nanos) = origin else { return Ok(DateTime::UNIX_EPOCH.date_naive()) };
    let utc = DateTime::from_timestamp_nanos(nanos).naive_utc();
    // An origin is written as a date, so it is read as a local one, whatever the zone.
    if utc.time() != NaiveTime::MIN {
        return Err(format!("the origin of windows of days or months in {zone} must be a midnight"));
    }
    Ok(utc.date())
}

fn month_number(date: NaiveDate) -> i64 {
    i64::from(date.year()) * 12 + i64::from(date.month0())
}

fn clamp(nanos: i128) -> i64 {
    i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nanos(text: &str) -> i64 {
        text.parse::<DateTime<Utc>>().expect("a time").timestamp_nanos_opt().expect("in range")
    }

    fn window(step: Step, zone: Option<&str>, origin: Option<&str>, time: &str) -> String {
        let calendar = Calendar::new(step, zone, origin.map(nanos)).expect("a calendar");
        let (start, end) = calendar.window(nanos(time));
        let text = |n| DateTime::from_timestamp_nanos(n).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        format!("{} .. {}", text(start), text(end))
    }

    #[test]
    fn quarters_and_years_follow_the_calendar() {
        assert_eq!(
            window(Step::Months(3), None, None, "2026-05-31T23:59:59Z"),
            "2026-04-01T00:00:00Z .. 2026-07-01T00:00:00Z"
        );
        assert_eq!(
            window(Step::Months(12), None, None, "1969-12-31T23:00:00Z"),
            "1969-01-01T00:00:00Z .. 1970-01-01T00:00:00Z"
        );
    }

    #[test]
    fn an_origin_shifts_fiscal_years() {
        let uk = Some("2020-04-06T00:00:00Z");
        assert_eq!(
            window(Step::Months(12), None, uk, "2026-04-05T12:00:00Z"),
            "2025-04-06T00:00:00Z .. 2026-04-06T00:00:00Z"
        );
    }

    #[test]
    fn months_and_days_are_local_across_a_change_of_the_clock() {
        let oslo = Some("Europe/Oslo");
        assert_eq!(
            window(Step::Months(1), oslo, None, "2026-03-31T22:30:00Z"),
            "2026-03-31T22:00:00Z .. 2026-04-30T22:00:00Z"
        );
        assert_eq!(
            window(Step::Days(1), oslo, None, "2026-03-29T12:00:00Z"),
            "2026-03-28T23:00:00Z .. 2026-03-29T22:00:00Z"
        );
    }

    #[test]
    fn a_day_without_midnight_starts_at_its_first_moment() {
        // Beirut went from 23:59:59 on 26 March 2022 to 01:00 on the 27th.
        assert_eq!(
            window(Step::Days(1), Some("Asia/Beirut"), None, "2022-03-27T10:00:00Z"),
            "2022-03-26T22:00:00Z .. 2022-03-27T21:00:00Z"
        );
    }

    #[test]
    fn a_row_exactly_at_the_end_belongs_to_the_next_window() {
        assert_eq!(
            window(Step::Nanos(3_600_000_000_000), None, None, "2026-01-01T01:00:00Z"),
            "2026-01-01T01:00:00Z .. 2026-01-01T02:00:00Z"
        );
    }

    #[test]
    fn an_unknown_zone_is_named() {
        let error = Calendar::new(Step::Days(1), Some("Mars/Olympus"), None).expect_err("no such zone");
        assert_eq!(error, "there is no time zone 'Mars/Olympus'");
    }

    proptest! {
        #[test]
        fn windows_hold_their_times_and_tile(
            time in nanos("1900-01-01T00:00:00Z")..nanos("2100-01-01T00:00:00Z"),
            step in prop_oneof![
                (1i64..30).prop_map(Step::Months), (1i64..40).prop_map(Step::Days), (1i64..10_000_000).prop_map(Step::Nanos)
            ],
            zone in prop::sample::select(vec![
                None, Some("Europe/Oslo"), Some("America/Havana"), Some("Asia/Beirut"), Some("Pacific/Apia"),
                Some("America/Sao_Paulo"), Some("Australia/Lord_Howe"), Some("Asia/Kolkata"),
            ]),
            origin in prop::sample::select(vec![None, Some("2020-04-06T00:00:00Z"), Some("1999-12-27T00:00:00Z")]),
        ) {
            let calendar = Calendar::new(step, zone, origin.map(nanos)).expect("a calendar");
            let (start, end) = calendar.window(time);
            prop_assert!(start <= time && time < end);
            prop_assert_eq!(calendar.window(start), (start, end));
            prop_assert_eq!(calendar.window(end - 1), (start, end));
            prop_assert_eq!(calendar.window(end).0, end);
        }
    }
}
