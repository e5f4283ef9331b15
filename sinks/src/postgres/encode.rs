//! Rows in the binary form of COPY. Pure: a column is laid out once for a batch, then written row by row. A value that
//! its column cannot hold makes a rejected row, with the words that the server would use.

use super::types::Shape;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalUnit,
    IntervalYearMonthType, Time64NanosecondType, TimeUnit, UInt64Type,
};
use headwater_core::{Error, Result};
use std::fmt::Display;

/// Days from PostgreSQL's beginning of time, 2000-01-01, back to 1970-01-01.
const EPOCH_DAYS: i64 = 10_957;
const EPOCH_MICROS: i64 = EPOCH_DAYS * 86_400_000_000;

/// Writes the value of a row, which is not null.
type Write = Box<dyn Fn(usize, &mut Vec<u8>) -> Result<(), String> + Send>;

/// One column of a batch.
pub(super) struct Cells {
    column: ArrayRef,
    write: Write,
}

impl Cells {
    pub(super) fn new(field: &Field, column: &ArrayRef, shape: &Shape) -> Result<Self> {
        if let DataType::Dictionary(_, value) = column.data_type() {
            let plain = Field::new(field.name(), value.as_ref().clone(), true);
            return Self::new(&plain, &cast(column, value)?, shape);
        }
        let write = match shape {
            Shape::Jsonb if column.data_type().is_nested() => jsonb(crate::rows::nested(field, column)?),
            Shape::Text if column.data_type().is_nested() => texts(crate::rows::nested(field, column)?),
            Shape::Array(inner, oid) => array(field, column, inner, *oid)?,
            _ => scalar(column, shape)?,
        };
        Ok(Self { column: column.clone(), write })
    }

    /// Appends the length and the value of a row.
    pub(super) fn append(&self, row: usize, out: &mut Vec<u8>) -> Result<(), String> {
        if self.column.is_null(row) || *self.column.data_type() == DataType::Null {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            return Ok(());
        }
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        (self.write)(row, out)?;
        let length = i32::try_from(out.len() - start - 4).map_err(|_| "a value of more than 2 GB".to_owned())?;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }
}

fn scalar(column: &ArrayRef, shape: &Shape) -> Result<Write> {
    Ok(match (column.data_type(), shape) {
        (DataType::Null, _) => Box::new(|_, _| Ok(())),
        (_, Shape::Numeric) => numerics(crate::rows::shown(column)?),
        (DataType::Boolean, _) => {
            let values = column.as_boolean().clone();
            Box::new(move |row, out| put(out, &[u8::from(values.value(row))]))
        }
        (number, _) if number.is_integer() => integers(column, shape)?,
        (number, _) if number.is_floating() => {
            let values = cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
            match shape {
                // The column is of at most this width, so no digit is lost.
                Shape::Float4 => Box::new(move |row, out| put(out, &(values.value(row) as f32).to_be_bytes())),
                _ => Box::new(move |row, out| put(out, &values.value(row).to_be_bytes())),
            }
        }
        (text, _) if text.is_string() => strings(column, shape)?,
        (DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_), _) => {
            let values = cast(column, &DataType::LargeBinary)?.as_binary::<i64>().clone();
            Box::new(move |row, out| put(out, values.value(row)))
        }
        (DataType::Date32 | DataType::Date64, _) => {
            let values = cast(column, &DataType::Date32)?.as_primitive::<Date32Type>().clone();
            Box::new(move |row, out| {
                let days = i64::from(values.value(row)) - EPOCH_DAYS;
                put(out, &i32::try_from(days).map_err(|_| "date out of range".to_owned())?.to_be_bytes())
            })
        }
        (DataType::Time32(_) | DataType::Time64(_), _) => {
            let nanos = DataType::Time64(TimeUnit::Nanosecond);
            let values = cast(column, &nanos)?.as_primitive::<Time64NanosecondType>().clone();
            Box::new(move |row, out| put(out, &(values.value(row) / 1_000).to_be_bytes()))
        }
        (DataType::Timestamp(unit, _), _) => timestamps(column, *unit)?,
        (DataType::Duration(unit), _) => durations(column, *unit)?,
        (DataType::Interval(unit), _) => intervals(column, *unit),
        (other, shape) => return Err(Error::internal(format!("a column of {other} as {shape:?}"))),
    })
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), String> {
    out.extend_from_slice(bytes);
    Ok(())
}

fn integers(column: &ArrayRef, shape: &Shape) -> Result<Write> {
    let get: Box<dyn Fn(usize) -> i128 + Send> = if *column.data_type() == DataType::UInt64 {
        let values = column.as_primitive::<UInt64Type>().clone();
        Box::new(move |row| values.value(row).into())
    } else {
        let values = cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
        Box::new(move |row| values.value(row).into())
    };
    let out_of_range = |value: i128, name: &str| format!("{value} is out of range for type {name}");
    Ok(match shape {
        Shape::Int2 => Box::new(move |row, out| {
            let value = get(row);
            put(out, &i16::try_from(value).map_err(|_| out_of_range(value, "smallint"))?.to_be_bytes())
        }),
        Shape::Int4 => Box::new(move |row, out| {
            let value = get(row);
            put(out, &i32::try_from(value).map_err(|_| out_of_range(value, "integer"))?.to_be_bytes())
        }),
        _ => Box::new(move |row, out| {
            let value = get(row);
            put(out, &i64::try_from(value).map_err(|_| out_of_range(value, "bigint"))?.to_be_bytes())
        }),
    })
}

fn strings(column: &ArrayRef, shape: &Shape) -> Result<Write> {
    let values = cast(column, &DataType::LargeUtf8)?.as_string::<i64>().clone();
    Ok(match shape {
        Shape::Uuid => Box::new(move |row, out| {
            let value = values.value(row);
            let invalid = |_| format!("invalid input syntax for type uuid: {value:?}");
            put(out, uuid::Uuid::parse_str(value.trim()).map_err(invalid)?.as_bytes())
        }),
        Shape::Jsonb => Box::new(move |row, out| {
            out.push(1);
            text(values.value(row), out)
        }),
        _ => Box::new(move |row, out| text(values.value(row), out)),
    })
}

fn text(value: &str, out: &mut Vec<u8>) -> Result<(), String> {
    if value.as_bytes().contains(&0) {
        return Err("PostgreSQL's text cannot hold the character U+0000".to_owned());
    }
    put(out, value.as_bytes())
}

fn texts(values: Vec<Option<String>>) -> Write {
    Box::new(move |row, out| text(values[row].as_deref().unwrap_or_default(), out))
}

fn jsonb(values: Vec<Option<String>>) -> Write {
    Box::new(move |row, out| {
        out.push(1);
        text(values[row].as_deref().unwrap_or("null"), out)
    })
}

/// Microseconds since 2000-01-01; the two greatest numbers mean infinity there, which no event has.
fn timestamps(column: &ArrayRef, unit: TimeUnit) -> Result<Write> {
    let values = cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
    // The beginning of time is moved first: its last seconds do not fit into microseconds since 1970.
    let start = match unit {
        TimeUnit::Second => EPOCH_MICROS / 1_000_000,
        TimeUnit::Millisecond => EPOCH_MICROS / 1_000,
        TimeUnit::Microsecond | TimeUnit::Nanosecond => EPOCH_MICROS,
    };
    Ok(Box::new(move |row, out| {
        let value = values.value(row);
        let value = match unit {
            TimeUnit::Nanosecond => micros(value, unit).and_then(|micros| micros.checked_sub(start)),
            _ => value.checked_sub(start).and_then(|value| micros(value, unit)),
        };
        let value = value.filter(|value| !matches!(*value, i64::MIN | i64::MAX));
        put(out, &value.ok_or("timestamp out of range")?.to_be_bytes())
    }))
}

fn micros(value: i64, unit: TimeUnit) -> Option<i64> {
    match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1_000),
        TimeUnit::Microsecond => Some(value),
        // Towards the past, so that the order of events stays.
        TimeUnit::Nanosecond => Some(value.div_euclid(1_000)),
    }
}

fn interval(out: &mut Vec<u8>, micros: i64, days: i32, months: i32) -> Result<(), String> {
    out.extend_from_slice(&micros.to_be_bytes());
    out.extend_from_slice(&days.to_be_bytes());
    put(out, &months.to_be_bytes())
}

fn durations(column: &ArrayRef, unit: TimeUnit) -> Result<Write> {
    let values = cast(column, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
    Ok(Box::new(move |row, out| interval(out, micros(values.value(row), unit).ok_or("interval out of range")?, 0, 0)))
}

fn intervals(column: &ArrayRef, unit: IntervalUnit) -> Write {
    match unit {
        IntervalUnit::YearMonth => {
            let values = column.as_primitive::<IntervalYearMonthType>().clone();
            Box::new(move |row, out| interval(out, 0, 0, values.value(row)))
        }
        IntervalUnit::DayTime => {
            let values = column.as_primitive::<IntervalDayTimeType>().clone();
            Box::new(move |row, out| {
                let value = values.value(row);
                interval(out, i64::from(value.milliseconds) * 1_000, value.days, 0)
            })
        }
        IntervalUnit::MonthDayNano => {
            let values = column.as_primitive::<IntervalMonthDayNanoType>().clone();
            Box::new(move |row, out| {
                let value = values.value(row);
                interval(out, value.nanoseconds.div_euclid(1_000), value.days, value.months)
            })
        }
    }
}

fn array(field: &Field, column: &ArrayRef, inner: &Shape, oid: u32) -> Result<Write> {
    let item = match column.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => item.clone(),
        other => return Err(Error::internal(format!("a column of {other} as an array"))),
    };
    let checked = CastOptions { safe: false, ..Default::default() };
    let lists = cast_with_options(column, &DataType::LargeList(item.clone()), &checked)?.as_list::<i64>().clone();
    let cells = Cells::new(&item.as_ref().clone().with_name(field.name()), lists.values(), inner)?;
    Ok(Box::new(move |row, out| {
        let (start, end) = (lists.value_offsets()[row], lists.value_offsets()[row + 1]);
        let length = i32::try_from(end - start).map_err(too_long)?;
        out.extend_from_slice(&i32::from(length > 0).to_be_bytes());
        // Whether there are nulls is a hint that may be wrong.
        out.extend_from_slice(&1_i32.to_be_bytes());
        out.extend_from_slice(&oid.to_be_bytes());
        if length > 0 {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&1_i32.to_be_bytes());
        }
        for at in start..end {
            cells.append(usize::try_from(at).map_err(too_long)?, out)?;
        }
        Ok(())
    }))
}

fn too_long(error: impl Display) -> String {
    format!("an array is too long: {error}")
}

fn numerics(values: Vec<Option<String>>) -> Write {
    Box::new(move |row, out| numeric(values[row].as_deref().unwrap_or_default(), out))
}

/// Writes a decimal number: groups of four digits, counted from the decimal point.
fn numeric(text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    const GROUP: usize = 4;
    let special = |out: &mut Vec<u8>, sign: u16| {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&sign.to_be_bytes());
        put(out, &[0; 2])
    };
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    match digits {
        "NaN" => return special(out, 0xC000),
        "inf" => return special(out, if negative { 0xF000 } else { 0xD000 }),
        _ => {}
    }
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|e| format!("'{text}': {e}"))?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (mut whole, mut fraction) = (whole.to_owned(), fraction.to_owned());
    for _ in 0..exponent.unsigned_abs() {
        // A float in scientific form: the point moves.
        if exponent > 0 {
            whole.push(if fraction.is_empty() { '0' } else { fraction.remove(0) });
        } else {
            fraction.insert(0, whole.pop().unwrap_or('0'));
        }
    }
    let scale = u16::try_from(fraction.len()).map_err(|_| format!("'{text}' has too many digits"))?;
    let padded = format!(
        "{}{whole}{fraction}{}",
        "0".repeat((GROUP - whole.len() % GROUP) % GROUP),
        "0".repeat((GROUP - fraction.len() % GROUP) % GROUP)
    );
    let groups = padded.as_bytes().chunks(GROUP).map(|group| group.iter().fold(0, |n, d| n * 10 + i16::from(d - b'0')));
    let groups: Vec<i16> = groups.collect();
    let n_whole = whole.len().div_ceil(GROUP);
    let first = groups.iter().position(|group| *group != 0).unwrap_or(groups.len());
    let last = groups.iter().rposition(|group| *group != 0).map_or(first, |at| at + 1);
    let count = i16::try_from(last - first).map_err(|_| format!("'{text}' has too many digits"))?;
    let weight = if count == 0 { 0 } else { n_whole as i64 - first as i64 - 1 };
    let weight = i16::try_from(weight).map_err(|_| format!("'{text}' has too many digits"))?;
    let sign: u16 = if negative && count > 0 { 0x4000 } else { 0 };
    out.extend_from_slice(&count.to_be_bytes());
    out.extend_from_slice(&weight.to_be_bytes());
    out.extend_from_slice(&sign.to_be_bytes());
    out.extend_from_slice(&scale.to_be_bytes());
    groups[first..last].iter().for_each(|group| out.extend_from_slice(&group.to_be_bytes()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(text: &str) -> (i16, u16, u16, Vec<i16>) {
        let mut out = Vec::new();
        numeric(text, &mut out).expect("a number");
        let at = |place: usize| u16::from_be_bytes([out[place], out[place + 1]]);
        assert_eq!(usize::from(at(0)), out.len() / 2 - 4);
        (at(2) as i16, at(4), at(6), (8..out.len()).step_by(2).map(|place| at(place) as i16).collect())
    }

    #[test]
    fn numbers_are_groups_of_four_digits() {
        assert_eq!(groups("12.34"), (0, 0, 2, vec![12, 3400]));
        assert_eq!(groups("-0.05"), (-1, 0x4000, 2, vec![500]));
        assert_eq!(groups("0.00"), (0, 0, 2, vec![]));
        assert_eq!(groups("10000"), (1, 0, 0, vec![1]));
        assert_eq!(groups("18446744073709551615"), (4, 0, 0, vec![1844, 6744, 737, 955, 1615]));
        assert_eq!(groups("1.5e3"), (0, 0, 0, vec![1500]));
        assert_eq!(groups("1e-7"), (-2, 0, 7, vec![10]));
        assert_eq!(groups("NaN"), (0, 0xC000, 0, vec![]));
    }
}
