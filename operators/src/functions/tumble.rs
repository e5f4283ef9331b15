//! `tumble(ts, interval[, time_zone[, origin]])`: the window that holds a time, as a struct of `start` and `end`.
//!
//! It never depends on other rows, so it is the same in a stream and in a batch query. It has no state; the window of
//! the row before is reused where it fits, so calendar arithmetic is done about once per window in a sorted batch.

use crate::functions::window_rule::WindowRule;
use arrow::array::{Array, ArrayRef, AsArray, StructArray, TimestampNanosecondArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit, TimestampNanosecondType};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

const NAME: &str = "tumble";
/// Which argument is the origin, from 0.
const ORIGIN: usize = 3;
const TIME: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// Returns the function `tumble(ts, interval[, time_zone[, origin]])`.
///
/// The result is `Struct { start Timestamp(ns), end Timestamp(ns) }`, null only for a null time. Intervals of months
/// (so quarters and years too) follow the calendar, in UTC or in `time_zone`; intervals of days follow the calendar
/// when a time zone is given; everything else is a fixed duration. Windows are counted from `origin`, by default the
/// start of 1970; an origin in April shifts fiscal years. Mixed intervals are refused.
#[must_use]
pub fn tumble() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Tumble { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Tumble {
    signature: Signature,
}

impl ScalarUDFImpl for Tumble {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(window_fields(true)))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let mut constants = Vec::new();
        for (index, argument) in args.scalar_arguments.iter().enumerate().skip(1) {
            match argument {
                Some(value) => constants.push((*value).clone()),
                // `TIMESTAMP '…'` is a cast of a text, and becomes a constant only later.
                None if index == ORIGIN => {}
                None => return plan_err!("argument {} of {NAME} must be a constant", index + 1),
            }
        }
        WindowRule::from_constants(NAME, &constants)?;
        let nullable = args.arg_fields[0].is_nullable();
        Ok(Arc::new(Field::new(NAME, DataType::Struct(window_fields(nullable)), nullable)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        if !(2..=4).contains(&arg_types.len()) {
            return plan_err!("{NAME} takes a time, an interval, and optionally a time zone and an origin");
        }
        let time = match &arg_types[0] {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
            DataType::Date32 | DataType::Date64 | DataType::Null => TIME,
            other => return plan_err!("the first argument of {NAME} must be a timestamp, not {other}"),
        };
        if !matches!(arg_types[1], DataType::Interval(_)) {
            return plan_err!("the second argument of {NAME} must be an INTERVAL, not {}", arg_types[1]);
        }
        let rest = [DataType::Interval(IntervalUnit::MonthDayNano), DataType::Utf8, TIME];
        Ok(std::iter::once(time).chain(rest).take(arg_types.len()).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut constants = Vec::new();
        for argument in &args.args[1..] {
            let ColumnarValue::Scalar(value) = argument else {
                return plan_err!("only the first argument of {NAME} may vary");
            };
            constants.push(value.clone());
        }
        let rule = WindowRule::from_constants(NAME, &constants)?;
        let DataType::Struct(fields) = args.return_field.data_type() else {
            return exec_err!("{NAME} returns a struct");
        };
        match &args.args[0] {
            ColumnarValue::Array(times) => Ok(ColumnarValue::Array(windows(&rule, times, fields)?)),
            ColumnarValue::Scalar(time) => {
                let window = windows(&rule, &time.to_array()?, fields)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&window, 0)?))
            }
        }
    }
}

pub(crate) fn window_fields(nullable: bool) -> Fields {
    Fields::from(vec![Field::new("start", TIME, nullable), Field::new("end", TIME, nullable)])
}

fn windows(rule: &WindowRule, times: &ArrayRef, fields: &Fields) -> Result<ArrayRef> {
    let times = match times.as_primitive_opt::<TimestampNanosecondType>() {
        Some(times) => times.clone(),
        None => arrow::compute::cast(times, &TIME)?.as_primitive::<TimestampNanosecondType>().clone(),
    };
    let mut starts = Vec::with_capacity(times.len());
    let mut ends = Vec::with_capacity(times.len());
    let mut window = (0, 0);
    for row in 0..times.len() {
        if times.is_valid(row) {
            let time = times.value(row);
            if !(window.0..window.1).contains(&time) {
                window = rule.locate(time).pane;
            }
        }
        starts.push(window.0);
        ends.push(window.1);
    }
    let nulls: Option<NullBuffer> = times.nulls().cloned();
    let column =
        |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampNanosecondArray::new(values.into(), nulls.clone())) };
    Ok(Arc::new(StructArray::try_new(fields.clone(), vec![column(starts), column(ends)], nulls.clone())?))
}

#[cfg(test)]
mod tests {
    use crate::oracle::{print_query, refusal};
    use expect_test::expect;

    #[test]
    fn windows_of_calendar_months_in_sql() {
        let sql = "SELECT w.\"start\", w.\"end\" FROM (SELECT tumble(t, INTERVAL '3 months', 'Europe/Oslo') AS w \
            FROM (VALUES (TIMESTAMP '2026-03-31T21:59:59'), (TIMESTAMP '2026-03-31T22:00:00'), (NULL)) AS t(t))";
        expect![[r#"
            + 2025-12-31T23:00:00 2026-03-31T22:00:00
            + 2026-03-31T22:00:00 2026-06-30T22:00:00
            + _ _
        "#]]
        .assert_eq(&print_query(sql));
    }

    #[test]
    fn a_constant_time_gives_a_constant_window() {
        let sql = "SELECT tumble(DATE '2026-05-06', INTERVAL '1 year', 'UTC', TIMESTAMP '2000-04-06T00:00:00')";
        expect![[r#"
            + {start: 2026-04-06T00:00:00, end: 2027-04-06T00:00:00}
        "#]]
        .assert_eq(&print_query(sql));
    }

    #[test]
    fn what_cannot_be_a_window_is_refused_when_it_is_planned() {
        let of = |arguments: &str| {
            refusal(&format!("SELECT tumble({arguments}) FROM (VALUES (TIMESTAMP '2026-01-01', 'UTC')) AS t(t, z)"))
        };
        let refusals = [
            of("t"),
            of("z, INTERVAL '1 day'"),
            of("t, 5"),
            of("t, INTERVAL '1 month 1 day'"),
            of("t, INTERVAL '0 days'"),
            of("t, INTERVAL '-1 day'"),
            of("t, INTERVAL '1 month', 'Mars/Olympus'"),
            of("t, INTERVAL '1 month', z"),
            of("t, INTERVAL '1 month', 'UTC', TIMESTAMP '2026-01-31T00:00:00'"),
        ];
        expect![[r#"
            Error during planning: Execution error: Function 'tumble' user-defined coercion failed with: Error during planning: tumble takes a time, an interval, and optionally a time zone and an origin. No function matches the given name and argument types 'tumble(Timestamp(ns))'. You might need to add explicit type casts.
            Error during planning: Execution error: Function 'tumble' user-defined coercion failed with: Error during planning: the first argument of tumble must be a timestamp, not Utf8. No function matches the given name and argument types 'tumble(Utf8, Interval(MonthDayNano))'. You might need to add explicit type casts.
            Error during planning: Execution error: Function 'tumble' user-defined coercion failed with: Error during planning: the second argument of tumble must be an INTERVAL, not Int64. No function matches the given name and argument types 'tumble(Timestamp(ns), Int64)'. You might need to add explicit type casts.
            Error during planning: tumble cannot mix months with days or shorter units in one interval
            Error during planning: the interval of tumble must not be empty
            Error during planning: the interval of tumble must not be negative
            Error during planning: tumble: there is no time zone 'Mars/Olympus'
            Error during planning: argument 3 of tumble must be a constant
            Error during planning: tumble: the origin must be one of the first 28 days of a month"#]].assert_eq(&refusals.join("\n"));
    }
}
