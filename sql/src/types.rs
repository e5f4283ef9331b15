//! The types of columns: SQL's names for them, and ours of Arrow. Timestamps of every spelling are nanoseconds in UTC,
//! text of every length is `Utf8`. No state.

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::DataType as SqlType;
use std::sync::Arc;

/// The type of event time.
pub(crate) const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// Knows the spellings that DataFusion does not.
#[derive(Debug)]
pub(crate) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let data_type = match sql_type {
            SqlType::Timestamp(..) | SqlType::TimestampNtz(_) | SqlType::Datetime(_) => TIMESTAMP,
            SqlType::Custom(name, _) if name.to_string().eq_ignore_ascii_case("timestamp_ltz") => TIMESTAMP,
            SqlType::JSON
            | SqlType::JSONB
            | SqlType::Uuid
            | SqlType::Character(_)
            | SqlType::CharacterVarying(_)
            | SqlType::CharVarying(_)
            | SqlType::Nvarchar(_) => DataType::Utf8,
            SqlType::Bytes(_) | SqlType::Blob(_) | SqlType::Binary(_) | SqlType::Varbinary(_) => DataType::Binary,
            SqlType::Int64 => DataType::Int64,
            SqlType::Int32 => DataType::Int32,
            SqlType::Int16 => DataType::Int16,
            SqlType::UInt64 => DataType::UInt64,
            SqlType::UInt32 => DataType::UInt32,
            SqlType::Float64 => DataType::Float64,
            SqlType::Float32 => DataType::Float32,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(Field::new("", data_type, true))))
    }
}

/// Returns the type that a store is given for a type: the same, without Arrow's faster layouts of it.
pub(crate) fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => plain(values),
        DataType::Null => DataType::Utf8,
        DataType::Timestamp(..) => TIMESTAMP,
        other => other.clone(),
    }
}
