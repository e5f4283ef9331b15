//! The columns of a table of state as they are stored: plain ones, so that a part of it can be read by anybody and
//! parts with different dictionaries can be joined.
//!
//! Dictionaries become their values and views become ordinary strings; what a column was is kept in the metadata of its
//! field, and it becomes that again when it is read. All columns may be null, because a removed key has only its key.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatchOptions;
use headwater_core::{Error, Result};
use std::sync::Arc;

/// The column that says of a row that its key was removed.
pub(super) const REMOVED: &str = "headwater.removed";
/// The metadata of a field that was something else: `dictionary KEY`, `view`, or both.
const WAS: &str = "headwater.was";
/// The metadata of a column that has no nulls except in removed rows.
const NOT_NULL: &str = "headwater.not_null";
/// What [`WAS`] says of a view.
const VIEW: &str = "view";

/// Returns the stored form of a table's schema, without [`REMOVED`].
pub(super) fn stored_schema(schema: &Schema) -> SchemaRef {
    let field = |field: &FieldRef| {
        let mut stored = stored_field(field).as_ref().clone();
        if !field.is_nullable() {
            let mut metadata = stored.metadata().clone();
            metadata.insert(NOT_NULL.to_owned(), String::new());
            stored = stored.with_metadata(metadata).with_nullable(true);
        }
        Arc::new(stored)
    };
    Arc::new(Schema::new_with_metadata(
        schema.fields().iter().map(field).collect::<Vec<_>>(),
        schema.metadata().clone(),
    ))
}

/// Returns the schema that a stored one was made from.
pub(super) fn original_schema(stored: &Schema) -> Result<SchemaRef> {
    let mut fields = Vec::with_capacity(stored.fields().len());
    for field in stored.fields() {
        let mut original = original_field(field)?.as_ref().clone();
        let mut metadata = original.metadata().clone();
        if metadata.remove(NOT_NULL).is_some() {
            original = original.with_metadata(metadata).with_nullable(false);
        }
        fields.push(original);
    }
    Ok(Arc::new(Schema::new_with_metadata(fields, stored.metadata().clone())))
}

fn stored_field(field: &FieldRef) -> FieldRef {
    let (data_type, was) = stored_type(field.data_type());
    let mut stored = field.as_ref().clone().with_data_type(data_type);
    if !was.is_empty() {
        let mut metadata = stored.metadata().clone();
        metadata.insert(WAS.to_owned(), was);
        stored = stored.with_metadata(metadata);
    }
    Arc::new(stored)
}

fn original_field(field: &FieldRef) -> Result<FieldRef> {
    let mut metadata = field.metadata().clone();
    let was = metadata.remove(WAS).unwrap_or_default();
    let data_type = original_type(field.data_type(), &was)?;
    Ok(Arc::new(field.as_ref().clone().with_data_type(data_type).with_metadata(metadata)))
}

fn stored_type(data_type: &DataType) -> (DataType, String) {
    match data_type {
        DataType::Dictionary(key, values) => {
            let (values, was) = stored_type(values);
            (values, format!("dictionary {key} {was}").trim_end().to_owned())
        }
        DataType::Utf8View => (DataType::Utf8, VIEW.to_owned()),
        DataType::BinaryView => (DataType::Binary, VIEW.to_owned()),
        nested => {
            let stored = with_fields(nested, &|field| Ok(stored_field(field)));
            (stored.unwrap_or_else(|_| nested.clone()), String::new())
        }
    }
}

fn original_type(stored: &DataType, was: &str) -> Result<DataType> {
    if let Some(rest) = was.strip_prefix("dictionary ") {
        let (key, values) = rest.split_once(' ').unwrap_or((rest, ""));
        let values = original_type(stored, values)?;
        return Ok(DataType::Dictionary(Box::new(dictionary_key(key)?), Box::new(values)));
    }
    match (was, stored) {
        (VIEW, DataType::Utf8) => Ok(DataType::Utf8View),
        (VIEW, DataType::Binary) => Ok(DataType::BinaryView),
        ("", nested) => with_fields(nested, &original_field),
        (other, _) => Err(Error::data(format!("a column was '{other}' once, which is not known"))),
    }
}

fn dictionary_key(name: &str) -> Result<DataType> {
    use DataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64};
    let known = [Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64];
    let found = known.into_iter().find(|key| key.to_string() == name);
    found.ok_or_else(|| Error::data(format!("a dictionary has keys of type '{name}', which is not known")))
}

/// Rebuilds a nested type around changed fields.
fn with_fields(data_type: &DataType, field: &dyn Fn(&FieldRef) -> Result<FieldRef>) -> Result<DataType> {
    Ok(match data_type {
        DataType::List(item) => DataType::List(field(item)?),
        DataType::LargeList(item) => DataType::LargeList(field(item)?),
        DataType::FixedSizeList(item, n) => DataType::FixedSizeList(field(item)?, *n),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect::<Result<_>>()?),
        DataType::Map(entries, sorted) => DataType::Map(field(entries)?, *sorted),
        other => other.clone(),
    })
}

/// Brings rows into their stored form.
pub(super) fn to_stored(rows: &RecordBatch, stored: &SchemaRef) -> Result<RecordBatch> {
    let columns = rows.columns().iter().zip(stored.fields()).map(|(column, field)| cast_to(column, field.data_type()));
    batch(stored, columns.collect::<Result<_>>()?, rows.num_rows())
}

/// Lays removed keys out as rows in stored form: all columns but those of the key are null.
pub(super) fn removed_to_stored(keys: &RecordBatch, key: &[usize], stored: &SchemaRef) -> Result<RecordBatch> {
    let column = |(at, field): (usize, &FieldRef)| match key.iter().position(|column| *column == at) {
        Some(of_key) => cast_to(keys.column(of_key), field.data_type()),
        None => Ok(new_null_array(field.data_type(), keys.num_rows())),
    };
    batch(stored, stored.fields().iter().enumerate().map(column).collect::<Result<_>>()?, keys.num_rows())
}

/// Brings rows back into their original form and calls `each` with them: once, or with pieces where a dictionary would
/// become larger than its keys allow.
pub(super) fn to_original(
    rows: &RecordBatch,
    original: &SchemaRef,
    each: &mut dyn FnMut(RecordBatch) -> Result<()>,
) -> Result<()> {
    let columns = rows.columns().iter().zip(original.fields());
    let columns: Result<Vec<_>> = columns.map(|(column, field)| cast_to(column, field.data_type())).collect();
    match columns {
        Ok(columns) => each(batch(original, columns, rows.num_rows())?),
        Err(_) if rows.num_rows() > 1 => {
            let half = rows.num_rows() / 2;
            to_original(&rows.slice(0, half), original, each)?;
            to_original(&rows.slice(half, rows.num_rows() - half), original, each)
        }
        Err(error) => Err(error),
    }
}

/// Adds the column that says whether the rows are removed keys.
pub(super) fn with_removed(rows: &RecordBatch, schema: &SchemaRef, removed: bool) -> Result<RecordBatch> {
    let flags: BooleanArray = std::iter::repeat_n(Some(removed), rows.num_rows()).collect();
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(flags));
    batch(schema, columns, rows.num_rows())
}

/// Returns the schema of a file: the stored columns and [`REMOVED`].
pub(super) fn file_schema(stored: &SchemaRef) -> SchemaRef {
    let mut fields = stored.fields().to_vec();
    fields.push(Arc::new(Field::new(REMOVED, DataType::Boolean, false)));
    Arc::new(Schema::new_with_metadata(fields, stored.metadata().clone()))
}

/// Makes a batch that may have no columns at all.
pub(super) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, n_rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

fn cast_to(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    if column.data_type() == data_type { Ok(column.clone()) } else { Ok(cast(column, data_type)?) }
}
