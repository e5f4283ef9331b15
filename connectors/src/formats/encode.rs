//! Rows as messages: a JSON object each, or a Debezium JSON object for each change. Pure.
//!
//! Timestamps are ISO 8601 in UTC with a `Z`; nulls are written.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::row::{Row, RowConverter, Rows, SortField};
use headwater_core::{Batch, Error, Result, consolidate};
use std::collections::HashMap;

/// Seconds, and a fraction of three, six or nine digits when it is not zero.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.fZ";

/// A message, and the row that it is about: for a change the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) row: usize,
    pub(crate) text: Vec<u8>,
}

/// Writes insertions, one object a row; a row of a multiplicity above one is written as often.
pub(crate) fn objects(batch: &Batch) -> Result<Vec<Encoded>> {
    let mut messages = Vec::with_capacity(batch.n_rows());
    for (row, text) in lines(&batch.rows)?.into_iter().enumerate() {
        let n = usize::try_from(batch.diff(row))
            .map_err(|_| Error::internal("a deletion reached a sink that holds insertions only"))?;
        messages.extend(std::iter::repeat_n(Encoded { row, text }, n));
    }
    Ok(messages)
}

/// Writes changes as `{"before", "after", "op"}`: `c` for an insertion, `d` for a deletion, and `u` for a deletion that
/// is followed by the insertion of a row with the same key.
pub(crate) fn debezium(batch: &Batch, key: &[usize]) -> Result<Vec<Encoded>> {
    let lines = lines(&batch.rows)?;
    let keys = if key.is_empty() { None } else { Some(key_rows(batch, key)?) };
    let mut messages = Vec::with_capacity(lines.len());
    let mut row = 0;
    while let Some(line) = lines.get(row) {
        let is_pair = |keys: &Rows| {
            row + 1 < lines.len()
                && (batch.diff(row), batch.diff(row + 1)) == (-1, 1)
                && keys.row(row) == keys.row(row + 1)
        };
        if keys.as_ref().is_some_and(is_pair) {
            messages.push(Encoded { row: row + 1, text: change(line, &lines[row + 1], "u") });
            row += 2;
            continue;
        }
        let diff = batch.diff(row);
        let text = if diff > 0 { change(b"null", line, "c") } else { change(line, b"null", "d") };
        let n = usize::try_from(diff.unsigned_abs()).map_err(|_| Error::internal("a multiplicity above 2^63"))?;
        messages.extend(std::iter::repeat_n(Encoded { row, text }, n));
        row += 1;
    }
    Ok(messages)
}

/// Returns the net change of an epoch in the order in which it is written: with a key, the deletion of a row stands
/// right before the insertion of the one that has its key.
pub(crate) fn net_change(batches: &[Batch], key: &[usize]) -> Result<Option<Batch>> {
    let Some(first) = batches.first() else { return Ok(None) };
    let all = Batch::concat(&first.schema(), batches)?;
    if all.diffs.is_none() {
        return Ok(Some(all));
    }
    let net = consolidate(&all)?;
    if key.is_empty() {
        return Ok(Some(net));
    }
    let keys = key_rows(&net, key)?;
    let mut places: HashMap<Row<'_>, usize> = HashMap::with_capacity(net.n_rows());
    let mut groups: Vec<Vec<u32>> = Vec::with_capacity(net.n_rows());
    for (row, key) in keys.iter().enumerate() {
        let place = *places.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(u32::try_from(row).map_err(|_| Error::internal("an epoch of more than 2^32 rows"))?);
    }
    net.take(&UInt32Array::from(groups.concat())).map(Some)
}

fn key_rows(batch: &Batch, key: &[usize]) -> Result<Rows> {
    let columns: Vec<ArrayRef> = key.iter().map(|index| batch.rows.column(*index).clone()).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    Ok(RowConverter::new(fields)?.convert_columns(&columns)?)
}

/// Writes each row as a JSON object without a line break.
fn lines(rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    let builder = WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format(TIMESTAMP.into());
    let builder = builder.with_timestamp_tz_format("%Y-%m-%dT%H:%M:%S%.f%:z".into());
    let mut writer: LineDelimitedWriter<_> = builder.build::<_, LineDelimited>(&mut out);
    writer.write(rows)?;
    writer.finish()?;
    // JSON has line breaks in texts only as escapes.
    Ok(out.split(|byte| *byte == b'\n').take(rows.num_rows()).map(<[u8]>::to_vec).collect())
}

fn change(before: &[u8], after: &[u8], op: &str) -> Vec<u8> {
    let parts: [&[u8]; 7] = [b"{\"before\":", before, b",\"after\":", after, b",\"op\":\"", op.as_bytes(), b"\"}"];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn batch(rows: &[(i64, &str, i64)]) -> Batch {
        let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
        let ids = Int64Array::from_iter_values(rows.iter().map(|row| row.0));
        let names = StringArray::from_iter_values(rows.iter().map(|row| row.1));
        let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(names)];
        let diffs = Int64Array::from_iter_values(rows.iter().map(|row| row.2));
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("two columns");
        Batch::changing(rows, diffs).expect("one multiplicity a row")
    }

    fn texts(messages: &[Encoded]) -> Vec<(usize, &str)> {
        messages.iter().map(|m| (m.row, std::str::from_utf8(&m.text).expect("JSON is text"))).collect()
    }

    #[test]
    fn insertions_are_objects_and_deletions_are_refused() {
        let messages = objects(&batch(&[(1, "a\nb", 2), (2, "c", 1)])).expect("insertions");
        let expected =
            [(0, r#"{"id":1,"name":"a\nb"}"#), (0, r#"{"id":1,"name":"a\nb"}"#), (1, r#"{"id":2,"name":"c"}"#)];
        assert_eq!(texts(&messages), expected);
        objects(&batch(&[(1, "a", -1)])).expect_err("a deletion");
    }

    #[test]
    fn a_row_that_replaces_another_of_its_key_is_one_update() {
        let epoch = [batch(&[(1, "a", 1), (2, "b", -1)]), batch(&[(2, "c", 1), (1, "a", -1), (3, "d", 1)])];
        let net = net_change(&epoch, &[0]).expect("has an order").expect("is not empty");
        let messages = debezium(&net, &[0]).expect("changes");
        let expected = [
            (1, r#"{"before":{"id":2,"name":"b"},"after":{"id":2,"name":"c"},"op":"u"}"#),
            (2, r#"{"before":null,"after":{"id":3,"name":"d"},"op":"c"}"#),
        ];
        assert_eq!(texts(&messages), expected);
    }
}
