//! Times in SQL under the names that users of Postgres, Flink and Spark know.
//!
//! A timestamp is an instant in UTC. No function here looks at a clock. A text that is no time is an error, so that
//! its row becomes a dead letter; `try_to_timestamp` and `try_to_date` give null instead.

use super::compiled::Compiled;
use super::number_format::{Decimal, NumberPattern};
use super::scalar::{Argument, TIME, define, failed, function, text, texts};
use super::time::{Pattern, format, parse};
use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, IntervalMonthDayNanoArray, PrimitiveArray, StringArray,
    TimestampNanosecondArray,
};
use arrow::compute::{DatePart, cast, date_part};
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, IntervalMonthDayNano, IntervalUnit, TimestampNanosecondType,
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use std::sync::Arc;

const NANOS: i64 = 1_000_000_000;

/// Returns the functions of this family.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions =
        vec![to_char(), date_format(), to_date("to_date", false), to_date("try_to_date", true), from_unixtime()];
    functions.extend([to_timestamp("to_timestamp", false), to_timestamp("try_to_timestamp", true)]);
    functions.extend([unix_timestamp(), to_timestamp_ltz(), make_timestamp(), make_interval(), last_day()]);
    let parts = [
        ("year", DatePart::Year),
        ("quarter", DatePart::Quarter),
        ("month", DatePart::Month),
        ("week", DatePart::Week),
        ("dayofyear", DatePart::DayOfYear),
        ("dayofmonth", DatePart::Day),
        ("hour", DatePart::Hour),
        ("minute", DatePart::Minute),
        ("second", DatePart::Second),
    ];
    functions.extend(parts.map(|(name, part)| part_of(name, part)));
    functions.push(day_of_week());
    functions
}

fn times(column: &ArrayRef) -> &TimestampNanosecondArray {
    column.as_primitive::<TimestampNanosecondType>()
}

/// Returns the date and time of day of an instant.
pub(super) fn naive(nanos: i64) -> NaiveDateTime {
    DateTime::from_timestamp_nanos(nanos).naive_utc()
}

/// Returns the nanoseconds of a time; the error names a time that is out of range.
pub(super) fn nanos(time: NaiveDateTime) -> Result<i64> {
    let nanos = time.and_utc().timestamp_nanos_opt();
    nanos.ok_or_else(|| failed(format!("the time {time} is out of range: years 1678 to 2262 can be kept")))
}

fn check_postgres(pattern: &str, given: &DataType) -> Result<(), String> {
    if given.is_numeric() { NumberPattern::new(pattern).map(|_| ()) } else { Pattern::postgres(pattern).map(|_| ()) }
}

fn check_java(pattern: &str, _: &DataType) -> Result<(), String> {
    Pattern::java(pattern).map(|_| ())
}

fn check_either(pattern: &str, _: &DataType) -> Result<(), String> {
    Pattern::either(pattern).map(|_| ())
}

/// Writes times by patterns; null where either is null.
fn written(times: &TimestampNanosecondArray, patterns: &StringArray, compiled: &Compiled<Pattern>) -> Result<ArrayRef> {
    let mut batch = compiled.batch();
    let rows = times.iter().zip(patterns);
    let texts = rows.map(|(time, pattern)| match (time, pattern) {
        (Some(time), Some(pattern)) => Ok(Some(format(batch.get(pattern)?.as_ref(), naive(time)))),
        _ => Ok(None),
    });
    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
}

/// `to_char(timestamp | number, pattern)`, as in Postgres.
fn to_char() -> Arc<ScalarUDF> {
    let times_compiled = Compiled::new(Pattern::postgres);
    let numbers_compiled = Compiled::new(NumberPattern::new);
    define("to_char", &[Argument::Scalar, Argument::Text], DataType::Utf8).constant(1, check_postgres).evaluate(
        move |columns| {
            let patterns = texts(&columns[1]);
            match columns[0].data_type() {
                DataType::Timestamp(..) => written(times(&columns[0]), patterns, &times_compiled),
                DataType::Utf8 => written(times(&cast(&columns[0], &TIME)?), patterns, &times_compiled),
                _ => {
                    let mut batch = numbers_compiled.batch();
                    let numbers = decimals(&columns[0])?;
                    let rows = numbers.into_iter().zip(patterns);
                    let texts = rows.map(|(number, pattern)| match (number, pattern) {
                        (Some(number), Some(pattern)) => Ok(Some(batch.get(pattern)?.format(&number))),
                        _ => Ok(None),
                    });
                    Ok(Arc::new(texts.collect::<Result<StringArray>>()?))
                }
            }
        },
    )
}

/// Digits that a `DOUBLE` holds for certain.
const FLOAT_PLACES: usize = 15;

/// Returns numbers of any type as decimal digits.
fn decimals(column: &ArrayRef) -> Result<Vec<Option<Decimal>>> {
    if column.data_type().is_integer() {
        let wide = cast(column, &DataType::Decimal128(38, 0))?;
        return decimals(&wide);
    }
    if let DataType::Decimal128(_, scale) = column.data_type() {
        let scale = u32::try_from(*scale).map_err(|_| failed("a decimal with a negative scale has no text"))?;
        let numbers = column.as_primitive::<Decimal128Type>().iter();
        let of = |number: i128| Decimal { negative: number < 0, digits: number.unsigned_abs(), scale };
        return Ok(numbers.map(|number| number.map(of)).collect());
    }
    let floats = cast(column, &DataType::Float64)?;
    floats.as_primitive::<Float64Type>().iter().map(|number| number.map(of_float).transpose()).collect()
}

fn of_float(number: f64) -> Result<Decimal> {
    let whole = number.abs().log10().floor().max(0.0) as usize + 1;
    let places = FLOAT_PLACES.saturating_sub(whole);
    let text = format!("{:.places$}", number.abs());
    let digits = text.replace('.', "").parse();
    let digits = digits.map_err(|_| failed(format!("the number {number} has no digits")))?;
    Ok(Decimal { negative: number < 0.0, digits, scale: u32::try_from(places).unwrap_or(0) })
}

/// `date_format(timestamp, pattern)`, as in Flink and Spark.
fn date_format() -> Arc<ScalarUDF> {
    let compiled = Compiled::new(Pattern::java);
    define("date_format", &[Argument::Time, Argument::Text], DataType::Utf8)
        .constant(1, check_java)
        .evaluate(move |columns| written(times(&columns[0]), texts(&columns[1]), &compiled))
}

/// Reads texts by a pattern; what cannot be read is an error, or null where that is wanted.
fn read(columns: &[ArrayRef], compiled: &Compiled<Pattern>, is_lenient: bool) -> Result<Vec<Option<NaiveDateTime>>> {
    let mut batch = compiled.batch();
    let rows = texts(&columns[0]).iter().zip(texts(&columns[1]));
    rows.map(|(text, pattern)| {
        let (Some(text), Some(pattern)) = (text, pattern) else { return Ok(None) };
        match parse(batch.get(pattern)?.as_ref(), text) {
            None if !is_lenient => Err(failed(format!("'{text}' is not a time of the form '{pattern}'"))),
            time => Ok(time),
        }
    })
    .collect()
}

fn to_timestamp(name: &'static str, is_lenient: bool) -> Arc<ScalarUDF> {
    let compiled = Compiled::new(Pattern::either);
    define(name, &[Argument::Scalar, Argument::OptionalText], TIME).constant(1, check_either).evaluate(move |columns| {
        let given = &columns[0];
        if columns.len() == 2 && *given.data_type() == DataType::Utf8 {
            let times = read(columns, &compiled, is_lenient)?.into_iter();
            let times = times.map(|time| time.map(nanos).transpose()).collect::<Result<TimestampNanosecondArray>>()?;
            return Ok(Arc::new(times));
        }
        match given.data_type() {
            DataType::Timestamp(..) => Ok(given.clone()),
            DataType::Utf8 if is_lenient => Ok(cast(given, &TIME)?),
            DataType::Utf8 => Ok(strictly(given, &TIME)?),
            _ => from_seconds(given),
        }
    })
}

/// Casts and fails where a value has none in the other type.
fn strictly(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
    Ok(arrow::compute::cast_with_options(column, to, &options)?)
}

/// Seconds since 1970, with a fraction where the number has one.
fn from_seconds(column: &ArrayRef) -> Result<ArrayRef> {
    let out_of_range = || failed("the time is out of range: years 1678 to 2262 can be kept");
    if column.data_type().is_integer() {
        let seconds = cast(column, &DataType::Int64)?;
        let seconds = seconds.as_primitive::<Int64Type>().iter();
        let nanos = seconds.map(|s| s.map(|s| s.checked_mul(NANOS).ok_or_else(out_of_range)).transpose());
        return Ok(Arc::new(nanos.collect::<Result<TimestampNanosecondArray>>()?));
    }
    if column.data_type().is_floating() {
        let seconds = cast(column, &DataType::Float64)?;
        let nanos = seconds.as_primitive::<Float64Type>().iter();
        let nanos = nanos.map(|s| s.map(|s| nanos_of(s).ok_or_else(out_of_range)).transpose());
        return Ok(Arc::new(nanos.collect::<Result<TimestampNanosecondArray>>()?));
    }
    let seconds = cast(column, &DataType::Decimal128(38, 9))?;
    let seconds = seconds.as_primitive::<Decimal128Type>().iter();
    let nanos = seconds.map(|s| s.map(|s| i64::try_from(s).map_err(|_| out_of_range())).transpose());
    Ok(Arc::new(nanos.collect::<Result<TimestampNanosecondArray>>()?))
}

/// The fraction by itself has more digits than seconds and fraction together.
fn nanos_of(seconds: f64) -> Option<i64> {
    let whole = seconds.floor();
    let fraction = ((seconds - whole) * NANOS as f64).round() as i64;
    (whole as i64).checked_mul(NANOS)?.checked_add(fraction)
}

fn to_date(name: &'static str, is_lenient: bool) -> Arc<ScalarUDF> {
    let compiled = Compiled::new(Pattern::either);
    define(name, &[Argument::Scalar, Argument::OptionalText], DataType::Date32).constant(1, check_either).evaluate(
        move |columns| {
            let given = &columns[0];
            if columns.len() == 2 && *given.data_type() == DataType::Utf8 {
                let times = read(columns, &compiled, is_lenient)?.into_iter();
                return Ok(Arc::new(times.map(|time| time.map(|time| days(time.date()))).collect::<Date32Array>()));
            }
            match given.data_type() {
                DataType::Utf8 if !is_lenient => strictly(given, &DataType::Date32),
                DataType::Timestamp(..) | DataType::Utf8 => Ok(cast(given, &DataType::Date32)?),
                // A number counts days since 1970.
                _ => Ok(cast(&strictly(given, &DataType::Int32)?, &DataType::Date32)?),
            }
        },
    )
}

fn days(date: NaiveDate) -> i32 {
    date.num_days_from_ce() - NaiveDate::default().num_days_from_ce()
}

/// `from_unixtime(seconds)` is the timestamp, `from_unixtime(seconds, pattern)` its text, as in Flink.
fn from_unixtime() -> Arc<ScalarUDF> {
    let compiled = Compiled::new(Pattern::java);
    define("from_unixtime", &[Argument::Count, Argument::OptionalText], TIME)
        .returns(|types| Ok(if types.len() == 2 { DataType::Utf8 } else { TIME }))
        .constant(1, check_java)
        .evaluate(move |columns| {
            let instants = from_seconds(&columns[0])?;
            match columns.get(1) {
                Some(patterns) => written(times(&instants), texts(patterns), &compiled),
                None => Ok(instants),
            }
        })
}

/// `unix_timestamp(timestamp)`, and `unix_timestamp(text, pattern)`: whole seconds since 1970.
fn unix_timestamp() -> Arc<ScalarUDF> {
    let compiled = Compiled::new(Pattern::either);
    define("unix_timestamp", &[Argument::Scalar, Argument::OptionalText], DataType::Int64)
        .constant(1, check_either)
        .evaluate(move |columns| {
            let is_text = *columns[0].data_type() == DataType::Utf8;
            if columns.len() == 2 && is_text {
                let times = read(columns, &compiled, false)?.into_iter();
                let seconds = times.map(|time| time.map(|time| time.and_utc().timestamp()));
                return Ok(Arc::new(seconds.collect::<Int64Array>()));
            }
            let given = if is_text { strictly(&columns[0], &TIME)? } else { columns[0].clone() };
            if !matches!(given.data_type(), DataType::Timestamp(..)) {
                return Err(failed("unix_timestamp takes a timestamp or a text"));
            }
            Ok(Arc::new(times(&given).unary::<_, Int64Type>(|nanos| nanos.div_euclid(NANOS))))
        })
}

/// `to_timestamp_ltz(number, precision)`: 0 for seconds, 3 for milliseconds, as in Flink.
fn to_timestamp_ltz() -> Arc<ScalarUDF> {
    let arguments = &[Argument::Count, Argument::Count];
    define("to_timestamp_ltz", arguments, TIME).optional(1).evaluate(|columns| {
        let numbers = columns[0].as_primitive::<Int64Type>();
        let times = (0..numbers.len()).map(|row| {
            let precision = columns.get(1).map(|column| column.as_primitive::<Int64Type>());
            if numbers.is_null(row) || precision.is_some_and(|precision| precision.is_null(row)) {
                return Ok(None);
            }
            let unit = match precision.map_or(3, |precision| precision.value(row)) {
                0 => NANOS,
                3 => 1_000_000,
                6 => 1_000,
                9 => 1,
                other => return Err(failed(format!("the precision of to_timestamp_ltz is 0, 3, 6 or 9, not {other}"))),
            };
            let nanos = numbers.value(row).checked_mul(unit);
            nanos.map(Some).ok_or_else(|| failed("the time is out of range: years 1678 to 2262 can be kept"))
        });
        Ok(Arc::new(times.collect::<Result<TimestampNanosecondArray>>()?))
    })
}

/// `make_timestamp(year, month, day, hour, minute, second)`, as in Postgres; the second may have a fraction.
fn make_timestamp() -> Arc<ScalarUDF> {
    const COUNT: Argument = Argument::Count;
    function("make_timestamp", &[COUNT, COUNT, COUNT, COUNT, COUNT, Argument::Float], TIME, |columns| {
        let part = |at: usize, row: usize| columns[at].as_primitive::<Int64Type>().value(row);
        let times = (0..columns[0].len()).map(|row| {
            if columns.iter().any(|column| column.is_null(row)) {
                return Ok(None);
            }
            let seconds = columns[5].as_primitive::<Float64Type>().value(row);
            let small = |at: usize| u32::try_from(part(at, row)).ok();
            let time = || {
                let year = i32::try_from(part(0, row)).ok()?;
                let date = NaiveDate::from_ymd_opt(year, small(1)?, small(2)?)?;
                if !(0.0..60.0).contains(&seconds) {
                    return None;
                }
                let micros = u32::try_from((seconds * 1e6).round() as i64).ok()?;
                date.and_hms_micro_opt(small(3)?, small(4)?, (micros / 1_000_000).min(59), micros % 1_000_000)
            };
            let time = time().ok_or_else(|| {
                let parts: Vec<String> = (0..5).map(|at| part(at, row).to_string()).collect();
                failed(format!("make_timestamp({}, {seconds}) is no time", parts.join(", ")))
            });
            nanos(time?).map(Some)
        });
        Ok(Arc::new(times.collect::<Result<TimestampNanosecondArray>>()?))
    })
}

/// `make_interval(years, months, weeks, days, hours, minutes, seconds)`, as in Postgres; the last may be left out.
fn make_interval() -> Arc<ScalarUDF> {
    const COUNT: Argument = Argument::Count;
    let arguments = &[COUNT, COUNT, COUNT, COUNT, COUNT, COUNT, Argument::Float];
    define("make_interval", arguments, DataType::Interval(IntervalUnit::MonthDayNano)).optional(6).evaluate(|columns| {
        let intervals = (0..columns[0].len()).map(|row| {
            if columns.iter().any(|column| column.is_null(row)) {
                return Ok(None);
            }
            let part = |at: usize| columns.get(at).map_or(0, |c| c.as_primitive::<Int64Type>().value(row));
            let seconds = columns.get(6).map_or(0.0, |column| column.as_primitive::<Float64Type>().value(row));
            let sum = |a: i64, times: i64, b: i64| a.checked_mul(times).and_then(|product| product.checked_add(b));
            let interval = || {
                let months = i32::try_from(sum(part(0), 12, part(1))?).ok()?;
                let days = i32::try_from(sum(part(2), 7, part(3))?).ok()?;
                let minutes = sum(part(4), 60, part(5))?;
                let nanos = sum(minutes, 60 * NANOS, (seconds * NANOS as f64).round() as i64)?;
                Some(IntervalMonthDayNano::new(months, days, nanos))
            };
            interval().map(Some).ok_or_else(|| failed("the interval is too long"))
        });
        Ok(Arc::new(intervals.collect::<Result<IntervalMonthDayNanoArray>>()?))
    })
}

/// `last_day(timestamp)`: the last day of its month, as in Flink and Spark.
fn last_day() -> Arc<ScalarUDF> {
    function("last_day", &[Argument::Time], DataType::Date32, |columns| {
        let last = |time: i64| {
            let date = naive(time).date();
            let next = date.with_day(1).and_then(|first| first.checked_add_months(chrono::Months::new(1)));
            next.and_then(|next| next.pred_opt()).map(days)
        };
        Ok(Arc::new(times(&columns[0]).iter().map(|time| time.and_then(last)).collect::<Date32Array>()))
    })
}

/// `year(timestamp)` and the like, as in Flink.
fn part_of(name: &'static str, part: DatePart) -> Arc<ScalarUDF> {
    function(name, &[Argument::Time], DataType::Int64, move |columns| {
        Ok(cast(&date_part(&columns[0], part)?, &DataType::Int64)?)
    })
}

/// `dayofweek(timestamp)`: 1 is Sunday, as in Flink and Spark.
fn day_of_week() -> Arc<ScalarUDF> {
    function("dayofweek", &[Argument::Time], DataType::Int64, |columns| {
        let days: PrimitiveArray<Int64Type> =
            times(&columns[0]).unary(|time| i64::from(naive(time).weekday().number_from_sunday()));
        Ok(Arc::new(days))
    })
}

/// Returns the text of a row, which must be one of the words of a unit of time, as nanoseconds or months.
pub(super) fn unit(columns: &[ArrayRef], column: usize, row: usize) -> Result<Option<Unit>> {
    let Some(word) = text(columns, column, row) else { return Ok(None) };
    Unit::parse(word).map(Some).map_err(failed)
}

/// A unit of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Months(i64),
    Nanos(i64),
}

impl Unit {
    /// Reads a unit; the error is a sentence for the user.
    pub(super) fn parse(word: &str) -> Result<Self, String> {
        let lower = word.to_lowercase();
        let name = lower.strip_prefix("sql_tsi_").unwrap_or(&lower);
        Ok(match name.strip_suffix('s').unwrap_or(name) {
            "year" => Self::Months(12),
            "quarter" => Self::Months(3),
            "month" => Self::Months(1),
            "week" => Self::Nanos(7 * 86_400 * NANOS),
            "day" => Self::Nanos(86_400 * NANOS),
            "hour" => Self::Nanos(3_600 * NANOS),
            "minute" => Self::Nanos(60 * NANOS),
            "second" => Self::Nanos(NANOS),
            "millisecond" => Self::Nanos(1_000_000),
            "microsecond" => Self::Nanos(1_000),
            "nanosecond" => Self::Nanos(1),
            _ => {
                return Err(format!(
                    "there is no unit of time '{word}': write YEAR, QUARTER, MONTH, WEEK, DAY, HOUR, MINUTE, SECOND or a part of one"
                ));
            }
        })
    }
}
