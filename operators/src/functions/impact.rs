//! The formulas of `crate::impact` in SQL: `metric_id`, `cefr_score`, `integration_score`, `vis_score`,
//! `sroi_present_value`, `sroi_ratio`.
//!
//! They never use floating point: arguments become decimals with ten places, answers are decimals rounded half-even.
//! A null argument gives null. A number outside its range (a share above 1, a negative count) is an error, so the row
//! ends as a dead letter and not as a wrong metric. No state.

use super::scalar::{Argument, NUMBER_SCALE, function};
use crate::impact::integration::{self, Participant};
use crate::impact::sroi::{self, DiscountConvention, ValueRow};
use crate::impact::vis;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, StringArray};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimestampNanosecondType};
use chrono::{DateTime, SecondsFormat};
use datafusion_common::{DataFusionError, Result, exec_err};
use datafusion_expr::ScalarUDF;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::sync::Arc;

/// Returns `metric_id(company, period_kind, period_start, metric, formula_version)`: the SHA-256, in hex, of the five
/// values joined by U+001F, with the time as `2026-01-01T00:00:00Z`. The same metric has the same id on every run.
#[must_use]
pub fn metric_id() -> Arc<ScalarUDF> {
    use Argument::{Text, Time};
    function("metric_id", &[Text, Text, Time, Text, Text], DataType::Utf8, |columns| {
        let times = columns[2].as_primitive::<TimestampNanosecondType>();
        let texts = [0, 1, 3, 4].map(|at: usize| columns[at].as_string::<i32>());
        let ids: StringArray = (0..times.len())
            .map(|row| {
                if times.is_null(row) || texts.iter().any(|text| text.is_null(row)) {
                    return None;
                }
                let [company, kind, metric, version] = texts.map(|text| text.value(row));
                let start =
                    DateTime::from_timestamp_nanos(times.value(row)).to_rfc3339_opts(SecondsFormat::AutoSi, true);
                let digest = Sha256::digest([company, kind, &start, metric, version].join("\u{1f}"));
                Some(digest.iter().fold(String::with_capacity(64), |mut hex, byte| {
                    // Writing to a string cannot fail.
                    let _ = write!(hex, "{byte:02x}");
                    hex
                }))
            })
            .collect();
        Ok(Arc::new(ids))
    })
}

/// Returns `cefr_score(level)`: A1 .17, A2 .33, B1 .50, B2 .67, C1 .83, C2 1.0, as `Decimal128(4, 3)`; null for all else.
#[must_use]
pub fn cefr_score() -> Arc<ScalarUDF> {
    function("cefr_score", &[Argument::Text], DataType::Decimal128(4, 3), |columns| {
        let levels = columns[0].as_string::<i32>();
        decimals(levels.len(), 4, 3, |row| Ok(text(levels, row).and_then(integration::cefr_score)))
    })
}

/// Returns `integration_score(level, matches, events, checkins, employed, completed, in_progress)`: 0 to 100, as
/// `Decimal128(9, 4)`. `level` is a CEFR level or its score from 0 to 1.
#[must_use]
pub fn integration_score() -> Arc<ScalarUDF> {
    use Argument::{Count, Flag, Level};
    let arguments = &[Level, Count, Count, Count, Flag, Count, Count];
    function("integration_score", arguments, DataType::Decimal128(9, 4), |columns| {
        decimals(columns[0].len(), 9, 4, |row| {
            let level_score = match columns[0].data_type() {
                DataType::Utf8 => text(columns[0].as_string::<i32>(), row).and_then(integration::cefr_score),
                _ => number(&columns[0], row)?,
            };
            let count = |at: usize| {
                let counts = columns[at].as_primitive::<Int64Type>();
                counts.is_valid(row).then(|| counts.value(row))
            };
            let employed = columns[4].as_boolean();
            let participant = || {
                Some(Participant {
                    level_score: level_score?,
                    matches: count(1)?,
                    events: count(2)?,
                    checkins: count(3)?,
                    employed: employed.is_valid(row).then(|| employed.value(row))?,
                    completed: count(5)?,
                    in_progress: count(6)?,
                })
            };
            participant().map(|known| integration::integration_score(&known)).transpose().map_err(execution)
        })
    })
}

/// Returns `vis_score(hours, quality, outcome_lift, placement)`: definition A, 0 to 100, as `Decimal128(9, 4)`.
#[must_use]
pub fn vis_score() -> Arc<ScalarUDF> {
    function("vis_score", &[Argument::Number; 4], DataType::Decimal128(9, 4), |columns| {
        decimals(columns[0].len(), 9, 4, |row| {
            let Some([hours, quality, lift, placement]) = numbers(columns, row)? else { return Ok(None) };
            vis::vis_a(hours, quality, lift, placement).map(Some).map_err(execution)
        })
    })
}

/// Returns `sroi_present_value(quantity, proxy, deadweight, displacement, attribution, drop_off, duration_years,
/// discount_rate, convention)` as `Decimal128(38, 6)`. Attribution is the share due to others; the convention is
/// `year1_discounted` or `year1_undiscounted`.
#[must_use]
pub fn sroi_present_value() -> Arc<ScalarUDF> {
    use Argument::{Count, Number, Text};
    let arguments = &[Number, Number, Number, Number, Number, Number, Count, Number, Text];
    function("sroi_present_value", arguments, DataType::Decimal128(38, 6), |columns| {
        decimals(columns[0].len(), 38, 6, |row| {
            let Some([quantity, proxy, deadweight, displacement, attribution, drop_off]) = numbers(columns, row)?
            else {
                return Ok(None);
            };
            let years = columns[6].as_primitive::<Int64Type>();
            let (rate, convention) = (number(&columns[7], row)?, text(columns[8].as_string::<i32>(), row));
            let (Some(rate), Some(convention), true) = (rate, convention, years.is_valid(row)) else { return Ok(None) };
            // A duration that is no count of years is refused below, as 0 is.
            let duration_years = u32::try_from(years.value(row)).unwrap_or(0);
            let row = ValueRow { quantity, proxy, deadweight, displacement, attribution, drop_off, duration_years };
            let convention = DiscountConvention::parse(convention).map_err(execution)?;
            row.present_value(rate, convention).map(Some).map_err(execution)
        })
    })
}

/// Returns `sroi_ratio(present_value, investment)` as `Decimal128(18, 4)`; null without an investment above 0.
#[must_use]
pub fn sroi_ratio() -> Arc<ScalarUDF> {
    function("sroi_ratio", &[Argument::Number; 2], DataType::Decimal128(18, 4), |columns| {
        decimals(columns[0].len(), 18, 4, |row| {
            let Some([value, investment]) = numbers(columns, row)? else { return Ok(None) };
            if investment <= Decimal::ZERO {
                return Ok(None);
            }
            sroi::ratio(value, investment).map(Some).map_err(execution)
        })
    })
}

fn execution(error: headwater_core::Error) -> DataFusionError {
    DataFusionError::Execution(error.message().to_owned())
}

fn text(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

/// Reads a decimal with [`NUMBER_SCALE`] places. Zeros at the end are dropped first: they would cost digits.
fn number(column: &ArrayRef, row: usize) -> Result<Option<Decimal>> {
    let column = column.as_primitive::<Decimal128Type>();
    if column.is_null(row) {
        return Ok(None);
    }
    let (mut value, mut scale) = (column.value(row), NUMBER_SCALE.unsigned_abs().into());
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    match Decimal::try_from_i128_with_scale(value, scale) {
        Ok(number) => Ok(Some(number)),
        Err(_) => exec_err!("a number is too large for the formula"),
    }
}

/// Reads the first `N` columns, `None` if one is null.
fn numbers<const N: usize>(columns: &[ArrayRef], row: usize) -> Result<Option<[Decimal; N]>> {
    let mut values = [Decimal::ZERO; N];
    for (value, column) in values.iter_mut().zip(columns) {
        let Some(known) = number(column, row)? else { return Ok(None) };
        *value = known;
    }
    Ok(Some(values))
}

/// Builds a column of decimals, rounding half-even.
fn decimals(
    n_rows: usize,
    precision: u8,
    scale: i8,
    value: impl Fn(usize) -> Result<Option<Decimal>>,
) -> Result<ArrayRef> {
    let places = u32::from(scale.unsigned_abs());
    let most = 10i128.pow(u32::from(precision));
    let values = (0..n_rows).map(|row| {
        let Some(value) = value(row)? else { return Ok(None) };
        let rounded = value.round_dp(places);
        let scaled = rounded.mantissa().checked_mul(10i128.pow(places - rounded.scale()));
        match scaled.filter(|scaled| scaled.abs() < most) {
            Some(scaled) => Ok(Some(scaled)),
            None => exec_err!("a number is too large for DECIMAL({precision}, {scale})"),
        }
    });
    let column = values.collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(column.with_precision_and_scale(precision, scale)?))
}
