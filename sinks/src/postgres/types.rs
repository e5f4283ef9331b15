//! Which types of PostgreSQL hold which types of Arrow, and in which form values travel there. Pure.

use arrow::datatypes::DataType;
use headwater_core::{Error, Result};

/// The form of a value on its way, named after the type that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shape {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    /// Text as it is: also `json`, `xml`, `citext` and enumerations.
    Text,
    Jsonb,
    Uuid,
    Bytea,
    Date,
    Time,
    Timestamp,
    Interval,
    /// An array of one dimension, and the number of the type of its elements.
    Array(Box<Shape>, u32),
}

/// A type as the catalog has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    /// The name, that of the base type for a domain.
    pub(super) name: String,
    pub(super) is_enum: bool,
    /// Number, name and whether it is an enumeration of an array's elements.
    pub(super) element: Option<(u32, String, bool)>,
}

/// Returns the type that a column is declared with in a table that is made.
pub(super) fn declared(data_type: &DataType) -> Result<String> {
    Ok(match data_type {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint".into(),
        DataType::Int32 | DataType::UInt16 => "integer".into(),
        DataType::Int64 | DataType::UInt32 => "bigint".into(),
        DataType::UInt64 => "numeric(20)".into(),
        DataType::Float16 | DataType::Float32 => "real".into(),
        DataType::Float64 => "double precision".into(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => match *s {
            0.. => format!("numeric({p},{s})"),
            // What stands before the decimal point is longer by the zeros that are not stored.
            _ => format!("numeric({},0)", i16::from(*p) - i16::from(*s)),
        },
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            "bytea".into()
        }
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::Time32(_) | DataType::Time64(_) => "time".into(),
        DataType::Timestamp(_, None) => "timestamp".into(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".into(),
        DataType::Interval(_) | DataType::Duration(_) => "interval".into(),
        DataType::Dictionary(_, value) => declared(value)?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => match item.data_type() {
            DataType::Null => "jsonb".into(),
            inner if inner.is_nested() => "jsonb".into(),
            inner => format!("{}[]", declared(inner)?),
        },
        DataType::Struct(_) | DataType::Map(_, _) => "jsonb".into(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "text".into(),
        DataType::RunEndEncoded(_, _) | DataType::Union(_, _) => {
            return Err(Error::invalid(format!("PostgreSQL cannot hold a column of type {data_type}")));
        }
    })
}

/// Returns the form in which values of a column travel to a column of a found type; `None` where it cannot hold them.
/// A narrower number is allowed: a value that does not fit is a rejected row.
pub(super) fn shape(data_type: &DataType, found: &Found) -> Option<Shape> {
    if let Some((oid, name, is_enum)) = &found.element {
        let inner = Found { name: name.clone(), is_enum: *is_enum, element: None };
        return match data_type {
            DataType::Null => Some(Shape::Text),
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _)
                if !item.data_type().is_nested() =>
            {
                Some(Shape::Array(Box::new(shape(item.data_type(), &inner)?), *oid))
            }
            _ => None,
        };
    }
    let name = if found.is_enum { "text" } else { found.name.as_str() };
    Some(match (data_type, name) {
        (DataType::Null, _) => Shape::Text,
        (DataType::Dictionary(_, value), _) => return shape(value, found),
        (DataType::Boolean, "bool") => Shape::Bool,
        (number, "int2") if number.is_integer() => Shape::Int2,
        (number, "int4") if number.is_integer() => Shape::Int4,
        (number, "int8") if number.is_integer() => Shape::Int8,
        (number, "numeric") if number.is_numeric() => Shape::Numeric,
        (DataType::Float16 | DataType::Float32, "float4") => Shape::Float4,
        (number, "float8") if number.is_floating() => Shape::Float8,
        (text, "text" | "varchar" | "bpchar" | "name" | "citext" | "json" | "xml") if text.is_string() => Shape::Text,
        (text, "jsonb") if text.is_string() => Shape::Jsonb,
        (text, "uuid") if text.is_string() => Shape::Uuid,
        (bytes, "bytea") if is_binary(bytes) => Shape::Bytea,
        (DataType::FixedSizeBinary(16), "uuid") => Shape::Uuid,
        (DataType::Date32 | DataType::Date64, "date") => Shape::Date,
        (DataType::Time32(_) | DataType::Time64(_), "time") => Shape::Time,
        (DataType::Timestamp(_, _), "timestamp" | "timestamptz") => Shape::Timestamp,
        (DataType::Interval(_) | DataType::Duration(_), "interval") => Shape::Interval,
        (nested, "jsonb") if nested.is_nested() => Shape::Jsonb,
        (nested, "json" | "text" | "varchar") if nested.is_nested() => Shape::Text,
        _ => return None,
    })
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}
