//! `hop(ts, slide, width[, time_zone[, origin]])` and `cumulate(ts, step, size[, time_zone[, origin]])`: the windows that
//! hold a time, as a list of structs of `start` and `end`, the earliest first.
//!
//! They never depend on other rows, so they are the same in a stream and in a batch query. They have no state; the
//! windows of the row before are reused where they fit.

use crate::functions::tumble::window_fields;
use crate::functions::window_rule::{Located, WindowRule};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray, TimestampNanosecondArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit, TimestampNanosecondType};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

const TIME: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);
/// Which argument is the origin, from 0.
const ORIGIN: usize = 4;

/// Returns the function `hop`: windows of `width` start at every `slide`. A time may lie in several windows, and in
/// none where the width is less than the slide. Units, time zone and origin are as for `tumble`.
#[must_use]
pub fn hop() -> Arc<ScalarUDF> {
    windows_function("hop")
}

/// Returns the function `cumulate`: within each period of `size`, windows that start with it and end at every `step`.
#[must_use]
pub fn cumulate() -> Arc<ScalarUDF> {
    windows_function("cumulate")
}

fn windows_function(name: &'static str) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Windows { name, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Windows {
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Windows {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(list_of(window_fields(true)))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let mut constants = Vec::new();
        for (index, argument) in args.scalar_arguments.iter().enumerate().skip(1) {
            match argument {
                Some(value) => constants.push((*value).clone()),
                // `TIMESTAMP '…'` is a cast of a text, and becomes a constant only later.
                None if index == ORIGIN => {}
                None => return plan_err!("argument {} of {} must be a constant", index + 1, self.name),
            }
        }
        WindowRule::from_constants(self.name, &constants)?;
        let nullable = args.arg_fields[0].is_nullable();
        Ok(Arc::new(Field::new(self.name, list_of(window_fields(nullable)), nullable)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name;
        if !(3..=5).contains(&arg_types.len()) {
            return plan_err!("{name} takes a time, two intervals, and optionally a time zone and an origin");
        }
        let time = match &arg_types[0] {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
            DataType::Date32 | DataType::Date64 | DataType::Null => TIME,
            other => return plan_err!("the first argument of {name} must be a timestamp, not {other}"),
        };
        for data_type in &arg_types[1..3] {
            if !matches!(data_type, DataType::Interval(_)) {
                return plan_err!("the second and third argument of {name} must be INTERVALs, not {data_type}");
            }
        }
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let rest = [interval.clone(), interval, DataType::Utf8, TIME];
        Ok(std::iter::once(time).chain(rest).take(arg_types.len()).collect())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut constants = Vec::new();
        for argument in &args.args[1..] {
            let ColumnarValue::Scalar(value) = argument else {
                return plan_err!("only the first argument of {} may vary", self.name);
            };
            constants.push(value.clone());
        }
        let rule = WindowRule::from_constants(self.name, &constants)?;
        let item = match args.return_field.data_type() {
            DataType::List(item) => item.clone(),
            _ => return exec_err!("{} returns a list", self.name),
        };
        match &args.args[0] {
            ColumnarValue::Array(times) => Ok(ColumnarValue::Array(lists(&rule, times, item)?)),
            ColumnarValue::Scalar(time) => {
                let list = lists(&rule, &time.to_array()?, item)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&list, 0)?))
            }
        }
    }
}

fn list_of(fields: Fields) -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Struct(fields), false)))
}

fn lists(rule: &WindowRule, times: &ArrayRef, item: FieldRef) -> Result<ArrayRef> {
    let times = match times.as_primitive_opt::<TimestampNanosecondType>() {
        Some(times) => times.clone(),
        None => arrow::compute::cast(times, &TIME)?.as_primitive::<TimestampNanosecondType>().clone(),
    };
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    let mut lengths = Vec::with_capacity(times.len());
    let mut located = Located::default();
    for row in 0..times.len() {
        if times.is_null(row) {
            lengths.push(0);
            continue;
        }
        let time = times.value(row);
        if !(located.pane.0..located.pane.1).contains(&time) {
            located = rule.locate(time);
        }
        lengths.push(located.windows.len());
        starts.extend(located.windows.iter().map(|window| window.0));
        ends.extend(located.windows.iter().map(|window| window.1));
    }
    let DataType::Struct(fields) = item.data_type() else { return exec_err!("a list of windows holds structs") };
    let column = |values: Vec<i64>| -> ArrayRef { Arc::new(TimestampNanosecondArray::from(values)) };
    let windows = StructArray::try_new(fields.clone(), vec![column(starts), column(ends)], None)?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(windows), times.nulls().cloned())?))
}

#[cfg(test)]
mod tests {
    use crate::oracle::{print_query, refusal};
    use expect_test::expect;

    #[test]
    fn windows_of_times_in_sql() {
        let sql = "SELECT t, hop(t, INTERVAL '1 day', INTERVAL '2 days'), cumulate(t, INTERVAL '12 hours', INTERVAL '1 day') \
            FROM (VALUES (TIMESTAMP '2026-03-01T13:00:00'), (TIMESTAMP '2026-03-02T00:00:00'), (NULL)) AS t(t)";
        expect![[r#"
            + 2026-03-01T13:00:00 [{start: 2026-02-28T00:00:00, end: 2026-03-02T00:00:00}, {start: 2026-03-01T00:00:00, end: 2026-03-03T00:00:00}] [{start: 2026-03-01T00:00:00, end: 2026-03-02T00:00:00}]
            + 2026-03-02T00:00:00 [{start: 2026-03-01T00:00:00, end: 2026-03-03T00:00:00}, {start: 2026-03-02T00:00:00, end: 2026-03-04T00:00:00}] [{start: 2026-03-02T00:00:00, end: 2026-03-02T12:00:00}, {start: 2026-03-02T00:00:00, end: 2026-03-03T00:00:00}]
            + _ _ _
        "#]]
        .assert_eq(&print_query(sql));
    }

    #[test]
    fn what_cannot_be_windows_is_refused_when_it_is_planned() {
        let of = |call: &str| refusal(&format!("SELECT {call} FROM (VALUES (TIMESTAMP '2026-01-01')) AS t(t)"));
        let refusals = [
            of("hop(t, INTERVAL '1 day')"),
            of("hop(t, INTERVAL '1 day', 5)"),
            of("hop(t, INTERVAL '1 second', INTERVAL '1 day')"),
            of("hop(t, INTERVAL '1 hour', INTERVAL '1 month')"),
            of("cumulate(t, INTERVAL '2 days', INTERVAL '1 day')"),
            of("cumulate(t, INTERVAL '1 day', INTERVAL '0 days')"),
        ];
        expect![[r#"
            Error during planning: Execution error: Function 'hop' user-defined coercion failed with: Error during planning: hop takes a time, two intervals, and optionally a time zone and an origin. No function matches the given name and argument types 'hop(Timestamp(ns), Interval(MonthDayNano))'. You might need to add explicit type casts.
            Error during planning: Execution error: Function 'hop' user-defined coercion failed with: Error during planning: the second and third argument of hop must be INTERVALs, not Int64. No function matches the given name and argument types 'hop(Timestamp(ns), Interval(MonthDayNano), Int64)'. You might need to add explicit type casts.
            Error during planning: a row would be in more than 10000 windows of hop
            Error during planning: hop of months needs a slide of days or months
            Error during planning: the step of cumulate must not be longer than its greatest size
            Error during planning: the interval of cumulate must not be empty"#]].assert_eq(&refusals.join("\n"));
    }
}
