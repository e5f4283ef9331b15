//! `window_time(window)`: the last moment of a window, one nanosecond before its end. No state.

use arrow::array::{ArrayRef, AsArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampNanosecondType};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::sync::Arc;

const NAME: &str = "window_time";
const TIME: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// Returns the function.
#[must_use]
pub fn window_time() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(WindowTime { signature: Signature::any(1, Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowTime {
    signature: Signature,
}

impl ScalarUDFImpl for WindowTime {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        match args {
            [DataType::Struct(fields)] if fields.find("end").is_some_and(|(_, end)| *end.data_type() == TIME) => {
                Ok(TIME)
            }
            _ => plan_err!("{NAME} takes a window, such as tumble(interval '1 hour')"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let time = self.return_type(&[args.arg_fields[0].data_type().clone()])?;
        Ok(Arc::new(Field::new(NAME, time, args.arg_fields[0].is_nullable())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let windows = args.args[0].to_array(args.number_rows)?;
        let Some(ends) = windows.as_struct_opt().and_then(|windows| windows.column_by_name("end").cloned()) else {
            return exec_err!("{NAME} takes a window");
        };
        let ends = ends.as_primitive::<TimestampNanosecondType>();
        let nulls = arrow::buffer::NullBuffer::union(windows.nulls(), arrow::array::Array::nulls(ends));
        let times: Vec<i64> = ends.values().iter().map(|end| end.saturating_sub(1)).collect();
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::new(times.into(), nulls));
        Ok(ColumnarValue::Array(times))
    }
}

#[cfg(test)]
mod tests {
    use crate::oracle::print_query;

    #[test]
    fn it_is_the_last_moment_of_the_window() {
        let sql = "SELECT window_time(tumble(t, INTERVAL '1 day')) FROM (VALUES (TIMESTAMP '2026-03-01T13:00:00'), (NULL)) AS t(t)";
        assert_eq!(print_query(sql), "+ 2026-03-01T23:59:59.999999999\n+ _\n");
    }
}
