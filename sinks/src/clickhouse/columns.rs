//! Which types of ClickHouse hold which types of Arrow, and the form in which a batch is sent (`FORMAT ArrowStream`).
//! Pure.

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use headwater_core::{Error, Result};
use std::sync::Arc;

/// Returns the type that a column is declared with in a table that is made.
pub(super) fn declared(field: &Field) -> Result<String> {
    let base = base(field)?;
    // Arrays and maps have no null there: an empty one stands for it.
    let has_null = !base.starts_with("Array(") && !base.starts_with("Map(") && !base.starts_with("Tuple(");
    Ok(if field.is_nullable() && has_null { format!("Nullable({base})") } else { base })
}

fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

fn base(field: &Field) -> Result<String> {
    Ok(match field.data_type() {
        DataType::Boolean => "Bool".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => field.data_type().to_string(),
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => field.data_type().to_string(),
        DataType::Float16 | DataType::Float32 => "Float32".into(),
        DataType::Float64 => "Float64".into(),
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => match *s {
            0.. => format!("Decimal({p}, {s})"),
            _ => format!("Decimal({}, 0)", i16::from(*p) - i16::from(*s)),
        },
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => "String".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "String".into(),
        DataType::FixedSizeBinary(n) => format!("FixedString({n})"),
        DataType::Date32 | DataType::Date64 => "Date32".into(),
        DataType::Timestamp(unit, _) => format!("DateTime64({}, 'UTC')", digits(*unit)),
        DataType::Time32(unit) | DataType::Time64(unit) => format!("Time64({})", digits(*unit)),
        DataType::Duration(unit) => {
            let unit = match unit {
                TimeUnit::Second => "Second",
                TimeUnit::Millisecond => "Millisecond",
                TimeUnit::Microsecond => "Microsecond",
                TimeUnit::Nanosecond => "Nanosecond",
            };
            format!("Interval{unit}")
        }
        DataType::Interval(_) => "String".into(),
        DataType::Dictionary(_, value) => base(&field.clone().with_data_type(value.as_ref().clone()))?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => {
            if is_text(item) {
                return Ok("String".into());
            }
            format!("Array({})", declared(item)?)
        }
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) if fields.len() == 2 && !fields.iter().any(|field| is_text(field)) => {
                // Keys are never null.
                format!("Map({}, {})", base(&fields[0])?, declared(&fields[1])?)
            }
            _ => "String".into(),
        },
        DataType::Struct(fields) => {
            if is_text(field) {
                return Ok("String".into());
            }
            let parts = fields.iter().map(|field| Ok(format!("{} {}", quoted(field.name()), declared(field)?)));
            format!("Tuple({})", parts.collect::<Result<Vec<_>>>()?.join(", "))
        }
        DataType::RunEndEncoded(_, _) | DataType::Union(_, _) => {
            return Err(Error::invalid(format!("ClickHouse cannot hold a column of type {}", field.data_type())));
        }
    })
}

/// Whether values are sent as JSON text: a tuple has no null there, and some parts have no place in Arrow's form.
fn is_text(field: &Field) -> bool {
    match field.data_type() {
        DataType::Struct(fields) => {
            field.is_nullable() || fields.is_empty() || fields.iter().any(|field| is_text(field))
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => is_text(item),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.iter().any(|field| is_text(field)),
            _ => true,
        },
        DataType::Interval(_) | DataType::Null => true,
        DataType::Decimal32(_, s) | DataType::Decimal64(_, s) | DataType::Decimal128(_, s) => *s < 0,
        DataType::Decimal256(_, s) => *s < 0,
        _ => false,
    }
}

/// Quotes an identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// Quotes a text.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// Returns the rows in the form in which they are sent.
pub(super) fn sendable(rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, column)| send(field, column));
    let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
    let fields = schema.fields().iter().zip(&columns).map(|(field, column)| {
        let field = Field::new(field.name(), column.data_type().clone(), field.is_nullable());
        Arc::new(field)
    });
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), columns)?)
}

fn send(field: &Field, column: &ArrayRef) -> Result<ArrayRef> {
    let texts = |values: Vec<Option<String>>| Arc::new(values.into_iter().collect::<StringArray>()) as ArrayRef;
    Ok(match column.data_type() {
        DataType::Dictionary(_, value) => {
            send(&field.clone().with_data_type(value.as_ref().clone()), &cast(column, value)?)?
        }
        DataType::Null => new_null_array(&DataType::Utf8, column.len()),
        DataType::Interval(_) => texts(crate::rows::shown(column)?),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s) if *s < 0 => {
            cast(column, &whole(*p, *s))?
        }
        DataType::Decimal256(p, s) if *s < 0 => cast(column, &whole(*p, *s))?,
        DataType::Date64 => cast(column, &DataType::Date32)?,
        nested if nested.is_nested() && is_text(field) => texts(crate::rows::nested(field, column)?),
        DataType::ListView(item) | DataType::LargeListView(item) => cast(column, &DataType::LargeList(item.clone()))?,
        _ => column.clone(),
    })
}

fn whole(precision: u8, scale: i8) -> DataType {
    let digits = i16::from(precision) - i16::from(scale);
    match u8::try_from(digits) {
        Ok(digits @ ..=38) => DataType::Decimal128(digits, 0),
        Ok(digits) => DataType::Decimal256(digits.min(76), 0),
        Err(_) => DataType::Decimal256(76, 0),
    }
}

/// How a column that is there takes values of a declared one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// As if the sink had made it.
    Same,
    /// It may refuse values.
    Narrower,
    /// It would change values without a word, or refuses all.
    Not,
}

/// Compares a declared column with a type that is there.
pub(super) fn fit(field: &Field, found: &str) -> Result<Fit> {
    let wanted = declared(field)?;
    if found == wanted {
        return Ok(Fit::Same);
    }
    let (plain, takes_null) = stripped(found);
    let (wanted, _) = stripped(&wanted);
    let accepts = plain == wanted
        || widens(wanted, plain)
        || (wanted.starts_with("DateTime64(") && plain.starts_with("DateTime64("))
        || (field.data_type().is_string()
            && (matches!(plain, "UUID" | "JSON" | "IPv4" | "IPv6")
                || plain.starts_with("Enum")
                || plain.starts_with("FixedString(")
                || plain.starts_with("JSON(")))
        || (field.data_type().is_nested() && wanted == "String" && plain.starts_with("JSON"))
        || loosened(plain) == loosened(wanted);
    Ok(match (accepts, takes_null || !field.is_nullable()) {
        (false, _) => Fit::Not,
        (true, true) if plain == wanted => Fit::Same,
        (true, _) => Fit::Narrower,
    })
}

/// Nested types compare without regard to nullability.
fn loosened(name: &str) -> String {
    name.replace("Nullable(", "(").replace("LowCardinality(", "(").replace(['(', ')', ' '], "")
}

/// Takes `Nullable` and `LowCardinality` off.
fn stripped(name: &str) -> (&str, bool) {
    let within = |name: &'static str| {
        move |text: &str| -> Option<(usize, usize)> {
            (text.starts_with(name) && text.ends_with(')')).then_some((name.len(), text.len() - 1))
        }
    };
    let mut plain = name;
    let mut takes_null = plain.starts_with("Array(") || plain.starts_with("Map(") || plain.starts_with("JSON");
    for wrapper in [within("LowCardinality("), within("Nullable(")] {
        if let Some((start, end)) = wrapper(plain) {
            takes_null |= plain.starts_with("Nullable(");
            plain = &plain[start..end];
        }
    }
    (plain, takes_null)
}

/// Whether every value of one number type is a value of another.
fn widens(from: &str, to: &str) -> bool {
    let int = |name: &str| {
        let (signed, rest) =
            name.strip_prefix("UInt").map_or((true, name.strip_prefix("Int")), |rest| (false, Some(rest)));
        rest.and_then(|bits| bits.parse::<u32>().ok()).map(|bits| (signed, bits))
    };
    let decimal = |name: &str| {
        let (p, s) = name.strip_prefix("Decimal(")?.strip_suffix(')')?.split_once(", ")?;
        Some((p.parse::<i32>().ok()?, s.parse::<i32>().ok()?))
    };
    match (int(from), int(to)) {
        (Some((true, a)), Some((true, b))) | (Some((false, a)), Some((false, b))) => return a <= b,
        (Some((false, a)), Some((true, b))) => return a < b,
        _ => {}
    }
    match (decimal(from), decimal(to)) {
        (Some((p, s)), Some((q, t))) => t >= s && q - t >= p - s,
        _ => from == "Float32" && to == "Float64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(data_type: DataType, found: &str) -> Fit {
        fit(&Field::new("c", data_type, false), found).expect("has a type")
    }

    #[test]
    fn types_that_would_change_values_do_not_fit() {
        assert_eq!(fits(DataType::Int64, "Int64"), Fit::Same);
        assert_eq!(fits(DataType::Int32, "Int64"), Fit::Narrower);
        assert_eq!(fits(DataType::Int64, "Int8"), Fit::Not);
        assert_eq!(fits(DataType::UInt32, "Int64"), Fit::Narrower);
        assert_eq!(fits(DataType::UInt64, "Int64"), Fit::Not);
        assert_eq!(fits(DataType::Decimal128(38, 2), "Decimal(5, 2)"), Fit::Not);
        assert_eq!(fits(DataType::Decimal128(5, 2), "Decimal(38, 4)"), Fit::Narrower);
        assert_eq!(fits(DataType::Utf8, "LowCardinality(Nullable(String))"), Fit::Same);
        assert_eq!(fits(DataType::Utf8, "Enum8('a' = 1)"), Fit::Narrower);
        assert_eq!(fits(DataType::Timestamp(TimeUnit::Nanosecond, None), "DateTime"), Fit::Not);
        assert_eq!(fits(DataType::Timestamp(TimeUnit::Nanosecond, None), "DateTime64(3)"), Fit::Narrower);
        let nullable = Field::new("c", DataType::Int64, true);
        assert_eq!(fit(&nullable, "Int64").expect("has a type"), Fit::Narrower);
        assert_eq!(declared(&nullable).expect("has a type"), "Nullable(Int64)");
    }
}
