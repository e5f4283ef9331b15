//! Rows as blocks: the net change of an epoch by key, and the bytes in which a block is sent. Pure.

use super::columns::sendable;
use super::schema::{DELETED, VERSION};
use arrow::array::{ArrayRef, RecordBatch, UInt8Array, UInt32Array, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use headwater_core::{Batch, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Returns one row for each key that an epoch changes: the row that it brings, the last one where there are several,
/// or the one that it only takes back, marked as deleted. `net` has no two rows that cancel each other.
pub(super) fn by_key(net: &Batch, key: &[usize], version: u64) -> Result<RecordBatch> {
    let keys = crate::rows::key_rows(net, key)?;
    let mut places = HashMap::with_capacity(net.n_rows());
    let mut chosen: Vec<(u32, bool)> = Vec::with_capacity(net.n_rows());
    for (row, key) in keys.iter().enumerate() {
        let number = u32::try_from(row).unwrap_or(u32::MAX);
        let brings = net.diff(row) > 0;
        let place = *places.entry(key).or_insert(chosen.len());
        match chosen.get_mut(place) {
            None => chosen.push((number, brings)),
            Some(other) if brings => *other = (number, true),
            Some(_) => {}
        }
    }
    let indices = UInt32Array::from_iter_values(chosen.iter().map(|(row, _)| *row));
    let rows = arrow::compute::take_record_batch(&net.rows, &indices)?;
    let mut fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(VERSION, DataType::UInt64, false)));
    fields.push(Arc::new(Field::new(DELETED, DataType::UInt8, false)));
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from_value(version, rows.num_rows())));
    columns.push(Arc::new(UInt8Array::from_iter_values(chosen.iter().map(|(_, brings)| u8::from(!brings)))));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// Returns rows as the server reads them.
pub(super) fn bytes(rows: &RecordBatch) -> Result<Bytes> {
    let rows = sendable(rows)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &rows.schema())?;
    writer.write(&rows)?;
    Ok(writer.into_inner()?.into())
}

/// Cuts rows into blocks of at most so many rows and about so many bytes.
pub(super) fn cut(rows: &RecordBatch, rows_max: usize, bytes_max: usize) -> Vec<RecordBatch> {
    let n_rows = rows.num_rows();
    let n_bytes = rows.get_array_memory_size().max(1);
    let fitting = n_rows.saturating_mul(bytes_max) / n_bytes;
    let size = rows_max.min(fitting).max(1);
    (0..n_rows).step_by(size).map(|start| rows.slice(start, size.min(n_rows - start))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::tests::batch;
    use arrow::array::AsArray;
    use arrow::datatypes::{Int64Type, UInt8Type};

    #[test]
    fn a_key_has_one_row_an_epoch() {
        let net =
            batch(&[(1, Some("new"), 1), (1, Some("old"), -1), (2, None, -1), (3, Some("a"), 1), (3, Some("b"), 1)]);
        let rows = by_key(&net, &[0], 9).expect("has rows");
        assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
        assert_eq!(rows.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [Some("new"), None, Some("b")]);
        assert_eq!(rows.column(3).as_primitive::<UInt8Type>().values(), &[0, 1, 0]);
        assert_eq!(cut(&rows, 2, usize::MAX).len(), 2);
        assert_eq!(cut(&rows, 9, 1).len(), 3);
    }
}
