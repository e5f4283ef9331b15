//! Rust types that stand for SQL types, and how their values get out of columns and into them. No state.

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, StringArray,
    TimestampNanosecondArray,
};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampNanosecondType};
use datafusion::common::{Result, plan_err};
use headwater_core::EventTime;
use std::sync::Arc;

/// A Rust type that stands for an SQL type: `bool` for `BOOLEAN`, `i64` for `BIGINT`, `f64` for `DOUBLE`, `String` for
/// `TEXT`, `Vec<u8>` for `BYTEA` and [`EventTime`] for `TIMESTAMP`.
pub trait SqlValue: Clone + Send + Sync + Sized + 'static {
    /// The type of columns of such values.
    fn data_type() -> DataType;
    /// Reads the value of a row that is not null.
    fn read(column: &ArrayRef, row: usize) -> Self;
    /// Makes a column.
    fn column(values: Vec<Option<Self>>) -> ArrayRef;
}

/// What a closure may take: a value, or an `Option` of one where it wants to see nulls.
pub trait Argument: Sized + 'static {
    /// The value.
    type Value: SqlValue;
    /// Makes the argument; `None` where a null is not wanted.
    fn of(value: Option<Self::Value>) -> Option<Self>;
}

/// What a closure may give: a value, an `Option` of one, or a `Result` of either.
pub trait Output: 'static {
    /// The value.
    type Value: SqlValue;
    /// Returns the value; the error is the message of a dead letter.
    fn into_value(self) -> std::result::Result<Option<Self::Value>, String>;
}

macro_rules! sql_values {
    ($($type:ty => $data_type:expr, $array:ty, $read:expr, $write:expr;)*) => {$(
        impl SqlValue for $type {
            fn data_type() -> DataType {
                $data_type
            }

            fn read(column: &ArrayRef, row: usize) -> Self {
                $read(column, row)
            }

            fn column(values: Vec<Option<Self>>) -> ArrayRef {
                Arc::new(values.into_iter().map(|value| value.map($write)).collect::<$array>())
            }
        }

        impl Argument for $type {
            type Value = $type;

            fn of(value: Option<$type>) -> Option<Self> {
                value
            }
        }

        impl Argument for Option<$type> {
            type Value = $type;

            fn of(value: Option<$type>) -> Option<Self> {
                Some(value)
            }
        }

        impl Output for $type {
            type Value = $type;

            fn into_value(self) -> std::result::Result<Option<$type>, String> {
                Ok(Some(self))
            }
        }

        impl Output for Option<$type> {
            type Value = $type;

            fn into_value(self) -> std::result::Result<Option<$type>, String> {
                Ok(self)
            }
        }

        impl Output for std::result::Result<$type, String> {
            type Value = $type;

            fn into_value(self) -> std::result::Result<Option<$type>, String> {
                self.map(Some)
            }
        }

        impl Output for std::result::Result<Option<$type>, String> {
            type Value = $type;

            fn into_value(self) -> std::result::Result<Option<$type>, String> {
                self
            }
        }
    )*};
}

sql_values! {
    bool => DataType::Boolean, BooleanArray, |column: &ArrayRef, row| column.as_boolean().value(row), |value| value;
    i64 => DataType::Int64, Int64Array,
        |column: &ArrayRef, row| column.as_primitive::<Int64Type>().value(row), |value| value;
    f64 => DataType::Float64, Float64Array,
        |column: &ArrayRef, row| column.as_primitive::<Float64Type>().value(row), |value| value;
    String => DataType::Utf8, StringArray,
        |column: &ArrayRef, row| column.as_string::<i32>().value(row).to_owned(), |value| value;
    Vec<u8> => DataType::Binary, BinaryArray,
        |column: &ArrayRef, row| column.as_binary::<i32>().value(row).to_vec(), |value| value;
    EventTime => crate::types::TIMESTAMP, TimestampNanosecondArray,
        |column: &ArrayRef, row| EventTime(column.as_primitive::<TimestampNanosecondType>().value(row)),
        |time: EventTime| time.0;
}

/// Reads an argument; `None` where it is null and the closure does not want to see that.
pub(super) fn argument<A: Argument>(column: &ArrayRef, row: usize) -> Option<A> {
    A::of(column.is_valid(row).then(|| A::Value::read(column, row)))
}

/// Decides what given arguments are cast to.
pub(super) fn coerced(function: &str, wanted: &[DataType], given: &[DataType]) -> Result<Vec<DataType>> {
    if wanted.len() != given.len() {
        let noun = if wanted.len() == 1 { "argument" } else { "arguments" };
        return plan_err!("{function} takes {} {noun}, not {}", wanted.len(), given.len());
    }
    for (at, (wanted, given)) in wanted.iter().zip(given).enumerate() {
        let is_text = |data_type: &DataType| data_type.is_string();
        let fits = *given == DataType::Null
            || wanted == given
            || wanted.is_numeric() && given.is_numeric()
            || wanted.is_string() && is_text(given)
            || wanted.is_temporal() && (given.is_temporal() || is_text(given))
            || *wanted == DataType::Binary && (is_text(given) || given.is_binary());
        if !fits {
            return plan_err!("argument {} of {function} must be {wanted}, not {given}", at + 1);
        }
    }
    Ok(wanted.to_vec())
}
