//! Tables of state out of what operators keep, and back: see `headwater_core::Snapshot`.
//!
//! Everything is laid out as ordinary columns that may be null; names are for people. No state.

use crate::changed_slots::Taken;
use crate::row_table::{RowCodec, RowTable};
use arrow::array::TimestampNanosecondArray;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampNanosecondType};
use headwater_core::{Error, Result, Route, StateTable};
use std::sync::Arc;

/// A column of a table with its name.
pub(crate) type Named = (String, ArrayRef);

/// The type of points in time.
pub(crate) const TIME: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// Puts columns together to rows.
///
/// # Errors
/// `Internal` when they differ in length.
pub(crate) fn rows_of(columns: Vec<Named>, n_rows: usize) -> Result<RecordBatch> {
    let field = |(name, column): &Named| Field::new(name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(schema), columns, &options)?)
}

/// Gives columns the names of fields.
pub(crate) fn named<'a>(fields: impl IntoIterator<Item = &'a Arc<Field>>, columns: Vec<ArrayRef>) -> Vec<Named> {
    fields.into_iter().map(|field| field.name().clone()).zip(columns).collect()
}

/// Makes a table with the rows of changed slots, whose columns come first and are the key; `values` has one element
/// for each of `taken.slots`. `None` when nothing has changed.
///
/// # Errors
/// `Internal`, never for slots of the table.
pub(crate) fn keyed_table<'a>(
    (name, route): (&'static str, Route),
    (keys, fields): (&RowTable, impl IntoIterator<Item = &'a Arc<Field>> + Clone),
    mut taken: Taken,
    values: Vec<Named>,
) -> Result<Option<StateTable>> {
    taken.removed.retain(|key| keys.find(key).is_none());
    if taken.slots.is_empty() && taken.removed.is_empty() {
        return Ok(None);
    }
    let mut columns = named(fields.clone(), keys.columns(&taken.slots)?);
    let key = (0..columns.len()).collect();
    columns.extend(values);
    let rows = rows_of(columns, taken.slots.len())?;
    let removed =
        removed_keys(named(fields, keys.decode(taken.removed.iter().map(AsRef::as_ref))?), taken.removed.len())?;
    Ok(Some(StateTable { name, key, route, rows, removed }))
}

/// Lays out keys that are gone; `None` where there are none.
///
/// # Errors
/// `Internal` when the columns differ in length.
pub(crate) fn removed_keys(columns: Vec<Named>, n_rows: usize) -> Result<Option<RecordBatch>> {
    if n_rows == 0 { Ok(None) } else { rows_of(columns, n_rows).map(Some) }
}

/// Makes a table of one row for every subtask.
///
/// # Errors
/// `Internal`, never for columns of one element.
pub(crate) fn everyone(name: &'static str, columns: Vec<Named>) -> Result<StateTable> {
    Ok(StateTable { name, key: Vec::new(), route: Route::Everyone, rows: rows_of(columns, 1)?, removed: None })
}

/// Makes the route of a table whose column `place(c)` holds the column `c` of the operator's input.
///
/// # Errors
/// `Internal` when the table does not hold what the exchange of the operator's node hashes.
pub(crate) fn route_by(exchange: &[usize], place: impl Fn(usize) -> Option<usize>) -> Result<Route> {
    let columns: Option<Vec<usize>> = exchange.iter().map(|column| place(*column)).collect();
    columns.map(Route::Key).ok_or_else(|| Error::internal("state does not hold the columns that its rows came by"))
}

/// Makes a table of these columns. `None` when nothing has changed.
pub(crate) fn table_of(
    (name, route): (&'static str, Route),
    key: Vec<usize>,
    rows: RecordBatch,
    removed: Option<RecordBatch>,
) -> Option<StateTable> {
    (rows.num_rows() > 0 || removed.is_some()).then(|| StateTable { name, key, route, rows, removed })
}

/// Makes a table whose key is a whole row, of rows that have changed. Those that are not there any more are removed;
/// the others have `values` besides, of which there is one for each of `rows`.
///
/// # Errors
/// `Internal` when the columns differ in length.
pub(crate) fn changed_rows(
    table: (&'static str, Route),
    rows: &RecordBatch,
    is_there: Vec<bool>,
    values: Vec<Named>,
) -> Result<Option<StateTable>> {
    let is_there = BooleanArray::from(is_there);
    let is_gone = compute::not(&is_there)?;
    let key = (0..rows.num_columns()).collect();
    let all = named(rows.schema().fields(), rows.columns().to_vec());
    let pick = |columns: Vec<Named>, mask: &BooleanArray| -> Result<RecordBatch> {
        let filtered = columns.into_iter().map(|(name, column)| Ok((name, compute::filter(&column, mask)?)));
        rows_of(filtered.collect::<Result<_>>()?, mask.true_count())
    };
    let removed = (is_gone.true_count() > 0).then(|| pick(all.clone(), &is_gone)).transpose()?;
    let there = pick(all.into_iter().chain(values).collect(), &is_there)?;
    Ok(table_of(table, key, there, removed))
}

/// Takes a stored table apart into rows of a schema and the columns behind them.
///
/// # Errors
/// `Data` when there are other columns.
pub(crate) fn stored_rows(
    table: &str,
    rows: &RecordBatch,
    schema: &SchemaRef,
    more: &[DataType],
) -> Result<(RecordBatch, Vec<ArrayRef>)> {
    let types = schema.fields().iter().map(|field| field.data_type()).chain(more);
    let mut columns = stored_columns(table, rows, types)?;
    let more = columns.split_off(schema.fields().len());
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    rows.map(|rows| (rows, more)).map_err(|error| Error::data(format!("the table '{table}' of the state: {error}")))
}

/// Makes the error for a table that is not one of an operator's.
pub(crate) fn unknown_table(table: &str) -> Error {
    Error::data(format!("the state has a table '{table}', which the operator does not know"))
}

/// Returns the columns of a stored table as the types that are expected.
///
/// # Errors
/// `Data` when there are others.
pub(crate) fn stored_columns<'a>(
    table: &str,
    rows: &RecordBatch,
    types: impl IntoIterator<Item = &'a DataType>,
) -> Result<Vec<ArrayRef>> {
    let types: Vec<&DataType> = types.into_iter().collect();
    if types.len() != rows.num_columns() {
        let (n, expected) = (rows.num_columns(), types.len());
        return Err(Error::data(format!("the table '{table}' of the state has {n} columns, {expected} are expected")));
    }
    let cast = |(column, data_type): (&ArrayRef, &DataType)| -> Result<ArrayRef> {
        if column.data_type() == data_type {
            return Ok(column.clone());
        }
        compute::cast(column, data_type).map_err(|_| {
            let has = column.data_type();
            Error::data(format!("the table '{table}' of the state has a column of {has}, {data_type} is expected"))
        })
    };
    rows.columns().iter().zip(types).map(cast).collect()
}

/// Makes a column of whole numbers.
pub(crate) fn numbers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// Makes a column of truth values.
pub(crate) fn flags(values: impl IntoIterator<Item = bool>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<BooleanArray>())
}

/// Makes a column of points in time.
pub(crate) fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.into_iter().collect::<TimestampNanosecondArray>())
}

/// Reads a column of [`numbers`]; a null is 0.
///
/// # Errors
/// `Internal`, never for a column of [`stored_columns`].
pub(crate) fn as_numbers(column: &ArrayRef) -> Result<Vec<i64>> {
    let numbers = column.as_primitive_opt::<Int64Type>().ok_or_else(|| Error::internal("a column of no numbers"))?;
    Ok(numbers.iter().map(Option::unwrap_or_default).collect())
}

/// Reads a column of [`flags`]; a null is false.
///
/// # Errors
/// `Internal`, never for a column of [`stored_columns`].
pub(crate) fn as_flags(column: &ArrayRef) -> Result<Vec<bool>> {
    let flags = column.as_boolean_opt().ok_or_else(|| Error::internal("a column of no truth values"))?;
    Ok(flags.iter().map(Option::unwrap_or_default).collect())
}

/// Reads a column of [`times`].
///
/// # Errors
/// `Internal`, never for a column of [`stored_columns`].
pub(crate) fn as_times(column: &ArrayRef) -> Result<Vec<Option<i64>>> {
    let times = column.as_primitive_opt::<TimestampNanosecondType>();
    let times = times.ok_or_else(|| Error::internal("a column of no times"))?;
    Ok(times.iter().collect())
}

/// Lays rows of a codec out, each with a place for whether it is there: `None` becomes nulls.
///
/// # Errors
/// `Internal`, never for rows of the codec.
pub(crate) fn optional_rows<'a>(
    codec: &RowCodec,
    rows: impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone,
) -> Result<Vec<ArrayRef>> {
    let mut next = 0_u32;
    let places: arrow::array::UInt32Array = rows
        .clone()
        .map(|row| {
            row.map(|_| {
                next += 1;
                next - 1
            })
        })
        .collect();
    let there = codec.decode(rows.flatten())?;
    Ok(there.iter().map(|column| compute::take(column, &places, None)).collect::<Result<_, _>>()?)
}
