//! Time zones, and arithmetic on times by units.
//!
//! A timestamp is an instant in UTC; a local time is a timestamp whose figures are those of a clock in some zone. Where
//! a clock shows a time twice the earlier instant is meant, where it skips a time the first one after the gap.

use super::scalar::{Argument, TIME, define, failed, text, texts};
use super::times::{Unit, naive, nanos, unit};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Int64Type, TimestampNanosecondType};
use chrono::{Duration, LocalResult, Months, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use std::sync::Arc;

/// Returns the functions of this family.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![timezone(), from_utc_timestamp(), to_utc_timestamp(), convert_tz(), timestamp_add(), timestamp_diff()]
}

/// A zone by name (`Europe/Oslo`) or by offset (`+02:00`).
#[derive(Debug, Clone, Copy)]
enum Zone {
    Named(Tz),
    Fixed(i64),
}

/// No clock was ever changed by more than a day.
const GAP_MINUTES_MAX: i64 = 25 * 60;
/// Clocks are changed by multiples of this.
const GAP_MINUTES_STEP: usize = 15;

impl Zone {
    fn parse(name: &str) -> Result<Self, String> {
        if let Ok(zone) = name.trim().parse::<Tz>() {
            return Ok(Self::Named(zone));
        }
        offset(name.trim()).map(Self::Fixed).ok_or_else(|| format!("there is no time zone '{name}'"))
    }

    fn to_local(self, utc: NaiveDateTime) -> Option<NaiveDateTime> {
        let seconds = match self {
            Self::Named(zone) => i64::from(zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()),
            Self::Fixed(seconds) => seconds,
        };
        utc.checked_add_signed(Duration::seconds(seconds))
    }

    fn to_utc(self, local: NaiveDateTime) -> Option<NaiveDateTime> {
        let zone = match self {
            Self::Named(zone) => zone,
            Self::Fixed(seconds) => return local.checked_sub_signed(Duration::seconds(seconds)),
        };
        (0..=GAP_MINUTES_MAX).step_by(GAP_MINUTES_STEP).find_map(|minutes| {
            match zone.from_local_datetime(&(local + Duration::minutes(minutes))) {
                LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time.naive_utc()),
                LocalResult::None => None,
            }
        })
    }
}

fn offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
    let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn check_zone(name: &str, _: &DataType) -> Result<(), String> {
    Zone::parse(name).map(|_| ())
}

/// Shifts each time by a zone; neighbours have the same zone nearly always, so its name is read once for them.
fn shifted(
    times: &ArrayRef,
    zones: &ArrayRef,
    shift: impl Fn(Zone, NaiveDateTime) -> Option<NaiveDateTime>,
) -> Result<ArrayRef> {
    let mut last: Option<(String, Zone)> = None;
    let rows = times.as_primitive::<TimestampNanosecondType>().iter().zip(texts(zones));
    let shifted = rows.map(|(time, name)| {
        let (Some(time), Some(name)) = (time, name) else { return Ok(None) };
        let zone = match &last {
            Some((known, zone)) if known == name => *zone,
            _ => {
                let zone = Zone::parse(name).map_err(failed)?;
                last = Some((name.to_owned(), zone));
                zone
            }
        };
        let shifted = shift(zone, naive(time)).ok_or_else(|| failed("the time is out of range"))?;
        nanos(shifted).map(Some)
    });
    Ok(Arc::new(shifted.collect::<Result<TimestampNanosecondArray>>()?))
}

/// `timezone(zone, timestamp)`, which is what `timestamp AT TIME ZONE zone` means: the local time at that instant.
fn timezone() -> Arc<ScalarUDF> {
    define("timezone", &[Argument::Text, Argument::Time], TIME)
        .constant(0, check_zone)
        .evaluate(|columns| shifted(&columns[1], &columns[0], Zone::to_local))
}

/// `from_utc_timestamp(timestamp, zone)`: the same, as in Spark.
fn from_utc_timestamp() -> Arc<ScalarUDF> {
    define("from_utc_timestamp", &[Argument::Time, Argument::Text], TIME)
        .constant(1, check_zone)
        .evaluate(|columns| shifted(&columns[0], &columns[1], Zone::to_local))
}

/// `to_utc_timestamp(local, zone)`: the instant at which a clock of the zone shows a time, as in Spark.
fn to_utc_timestamp() -> Arc<ScalarUDF> {
    define("to_utc_timestamp", &[Argument::Time, Argument::Text], TIME)
        .constant(1, check_zone)
        .evaluate(|columns| shifted(&columns[0], &columns[1], Zone::to_utc))
}

/// `convert_tz(text, from, to)`, as in Flink: `yyyy-MM-dd HH:mm:ss` in, the same out; null for what is no time.
fn convert_tz() -> Arc<ScalarUDF> {
    const FORM: &str = "%Y-%m-%d %H:%M:%S";
    define("convert_tz", &[Argument::Text, Argument::Text, Argument::Text], DataType::Utf8)
        .constant(1, check_zone)
        .constant(2, check_zone)
        .evaluate(|columns| {
            let rows = (0..columns[0].len()).map(|row| {
                let (Some(time), Some(from), Some(to)) =
                    (text(columns, 0, row), text(columns, 1, row), text(columns, 2, row))
                else {
                    return Ok(None);
                };
                let (from, to) = (Zone::parse(from).map_err(failed)?, Zone::parse(to).map_err(failed)?);
                let local = NaiveDateTime::parse_from_str(time.trim(), FORM).ok();
                let there = local.and_then(|local| from.to_utc(local)).and_then(|utc| to.to_local(utc));
                Ok(there.map(|there| there.format(FORM).to_string()))
            });
            Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
        })
}

fn check_unit(word: &str, _: &DataType) -> Result<(), String> {
    Unit::parse(word).map(|_| ())
}

fn add_months(time: NaiveDateTime, months: i64) -> Option<NaiveDateTime> {
    let step = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
    if months < 0 { time.checked_sub_months(step) } else { time.checked_add_months(step) }
}

/// `timestampadd(unit, n, timestamp)`, as in Flink.
fn timestamp_add() -> Arc<ScalarUDF> {
    define("timestampadd", &[Argument::Text, Argument::Count, Argument::Time], TIME).constant(0, check_unit).evaluate(
        |columns| {
            let counts = columns[1].as_primitive::<Int64Type>();
            let times = columns[2].as_primitive::<TimestampNanosecondType>();
            let rows = (0..times.len()).map(|row| {
                let Some(unit) = unit(columns, 0, row)?.filter(|_| counts.is_valid(row) && times.is_valid(row)) else {
                    return Ok(None);
                };
                let (n, time) = (counts.value(row), times.value(row));
                let sum = match unit {
                    Unit::Nanos(unit) => n.checked_mul(unit).and_then(|nanos| time.checked_add(nanos)),
                    Unit::Months(unit) => {
                        n.checked_mul(unit).and_then(|months| add_months(naive(time), months)).map(nanos).transpose()?
                    }
                };
                sum.map(Some).ok_or_else(|| failed("the time is out of range: years 1678 to 2262 can be kept"))
            });
            Ok(Arc::new(rows.collect::<Result<TimestampNanosecondArray>>()?))
        },
    )
}

/// `timestampdiff(unit, from, to)`: whole units from one time to another, as in Flink.
fn timestamp_diff() -> Arc<ScalarUDF> {
    let arguments = &[Argument::Text, Argument::Time, Argument::Time];
    define("timestampdiff", arguments, DataType::Int64).constant(0, check_unit).evaluate(|columns| {
        let of = |column: usize| columns[column].as_primitive::<TimestampNanosecondType>();
        let (from, to) = (of(1), of(2));
        let rows = (0..from.len()).map(|row| {
            let unit = unit(columns, 0, row)?.filter(|_| from.is_valid(row) && to.is_valid(row));
            Ok(unit.map(|unit| difference(unit, from.value(row), to.value(row))))
        });
        Ok(Arc::new(rows.collect::<Result<Int64Array>>()?))
    })
}

fn difference(unit: Unit, from: i64, to: i64) -> i64 {
    let months = match unit {
        Unit::Nanos(unit) => {
            let whole = (i128::from(to) - i128::from(from)) / i128::from(unit);
            return i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX });
        }
        Unit::Months(months) => months,
    };
    use chrono::Datelike;
    let (start, end) = (naive(from), naive(to));
    let number = |time: NaiveDateTime| i64::from(time.year()) * 12 + i64::from(time.month0());
    let mut whole = number(end) - number(start);
    // A month is whole only when its last day and time of day are reached.
    let reached = add_months(start, whole);
    if whole > 0 && reached.is_none_or(|reached| reached > end) {
        whole -= 1;
    } else if whole < 0 && reached.is_none_or(|reached| reached < end) {
        whole += 1;
    }
    whole / months
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn local_times_lead_back_to_an_instant_that_shows_them(
            seconds in -1_000_000_000i64..3_000_000_000,
            zone in prop::sample::select(vec!["Europe/Oslo", "America/Havana", "Asia/Kolkata", "Australia/Lord_Howe", "+05:30"]),
        ) {
            let zone = Zone::parse(zone).expect("a zone");
            let utc = naive(seconds * 1_000_000_000);
            let local = zone.to_local(utc).expect("in range");
            let back = zone.to_utc(local).expect("in range");
            prop_assert_eq!(zone.to_local(back), Some(local));
            prop_assert!(back <= utc);
        }

        #[test]
        fn differences_are_the_most_units_that_fit(
            from in 0i64..2_000_000_000, to in 0i64..2_000_000_000,
            word in prop::sample::select(vec!["day", "MONTH", "year", "quarter", "SQL_TSI_HOUR", "minute"]),
        ) {
            let (from, to) = (from * 1_000_000_000, to * 1_000_000_000);
            let unit = Unit::parse(word).expect("a unit");
            let n = difference(unit, from, to);
            prop_assert_eq!(n.signum() * n, if to >= from { n } else { -n });
            let add = |n: i64| match unit {
                Unit::Nanos(unit) => naive(from + n * unit),
                Unit::Months(unit) => add_months(naive(from), n * unit).expect("in range"),
            };
            let end = naive(to);
            if to >= from {
                prop_assert!(add(n) <= end && add(n + 1) > end);
            } else {
                prop_assert!(add(n) >= end && add(n - 1) < end);
            }
        }
    }
}
