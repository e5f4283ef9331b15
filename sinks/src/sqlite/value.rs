//! Cells of a batch as SQLite values. Pure: a column is laid out once for a batch, then read row by row.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimeUnit, TimestampNanosecondType, UInt64Type};
use chrono::{DateTime, SecondsFormat};
use headwater_core::{Error, Result};
use rusqlite::types::{Value, ValueRef};

/// One column, in the few types that SQLite has.
pub(super) enum Cells {
    Boolean(ArrayRef),
    Integer(ArrayRef),
    Real(ArrayRef),
    Text(ArrayRef),
    Blob(ArrayRef),
    /// Text that was made for this batch.
    Made(Vec<Option<String>>),
    Null,
}

impl Cells {
    /// Lays a column out.
    pub(super) fn new(field: &Field, column: &ArrayRef) -> Result<Self> {
        let to = |data_type: &DataType| cast(column, data_type);
        Ok(match field.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(column.clone()),
            DataType::UInt64 => Self::Integer(unsigned(field, column)?),
            data_type if data_type.is_integer() => Self::Integer(to(&DataType::Int64)?),
            data_type if data_type.is_floating() => Self::Real(to(&DataType::Float64)?),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Text(to(&DataType::Utf8)?),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Blob(to(&DataType::Binary)?)
            }
            DataType::Timestamp(TimeUnit::Nanosecond, _) => Self::Made(timestamps(column)),
            DataType::Timestamp(_, _) => {
                let checked = arrow::compute::CastOptions { safe: false, ..Default::default() };
                let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
                Self::Made(timestamps(&arrow::compute::cast_with_options(column, &nanos, &checked)?))
            }
            DataType::Dictionary(_, value) => {
                let plain = Field::new(field.name(), value.as_ref().clone(), true);
                Self::new(&plain, &to(value)?)?
            }
            data_type if data_type.is_nested() => Self::Made(crate::rows::nested(field, column)?),
            _ => Self::Made(crate::rows::shown(column)?),
        })
    }

    /// Returns the value of a row.
    pub(super) fn value(&self, row: usize) -> ValueRef<'_> {
        let array = match self {
            Self::Null => return ValueRef::Null,
            Self::Made(texts) => return texts[row].as_ref().map_or(ValueRef::Null, |text| text.as_str().into()),
            Self::Boolean(array) | Self::Integer(array) | Self::Real(array) | Self::Text(array) | Self::Blob(array) => {
                array
            }
        };
        if array.is_null(row) {
            return ValueRef::Null;
        }
        match self {
            Self::Boolean(array) => ValueRef::Integer(array.as_boolean().value(row).into()),
            Self::Integer(array) => ValueRef::Integer(array.as_primitive::<Int64Type>().value(row)),
            Self::Real(array) => ValueRef::Real(array.as_primitive::<Float64Type>().value(row)),
            Self::Text(array) => ValueRef::Text(array.as_string::<i32>().value(row).as_bytes()),
            Self::Blob(array) => ValueRef::Blob(array.as_binary::<i32>().value(row)),
            Self::Made(_) | Self::Null => ValueRef::Null,
        }
    }
}

/// Binds a borrowed value.
pub(super) struct Bound<'a>(pub(super) ValueRef<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(match self.0 {
            ValueRef::Null => rusqlite::types::ToSqlOutput::Owned(Value::Null),
            borrowed => rusqlite::types::ToSqlOutput::Borrowed(borrowed),
        })
    }
}

/// SQLite's integers are signed: a greater number would lose digits, and is refused.
fn unsigned(field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    let numbers = column.as_primitive::<UInt64Type>();
    if let Some(number) = numbers.iter().flatten().find(|number| i64::try_from(*number).is_err()) {
        let message = format!("{number} in column '{}' is more than SQLite's integers hold", field.name());
        return Err(Error::data(message).with_help("cast the column to TEXT or DECIMAL"));
    }
    Ok(cast(column, &DataType::Int64)?)
}

fn timestamps(column: &ArrayRef) -> Vec<Option<String>> {
    let nanos = column.as_primitive::<TimestampNanosecondType>().iter();
    let text = |nanos| DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::AutoSi, true);
    nanos.map(|nanos| nanos.map(text)).collect()
}
