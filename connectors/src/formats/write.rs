//! Rows as JSON: what brokers are sent. Pure; timestamps are ISO 8601 in UTC with a `Z`, as the stores write them.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::{LineDelimited, WriterBuilder};
use arrow::row::{Row, RowConverter, Rows, SortField};
use headwater_core::{Batch, Error, Result, consolidate};
use std::collections::HashMap;

/// Seconds, and a fraction of three, six or nine digits when it is not zero.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S%.fZ";
const TIMESTAMP_WITH_ZONE: &str = "%Y-%m-%dT%H:%M:%S%.f%:z";

/// Rows as JSON objects, end to end, with nulls.
pub(crate) struct JsonRows {
    bytes: Vec<u8>,
    /// The end of each object.
    ends: Vec<usize>,
}

impl JsonRows {
    /// Writes rows.
    pub(crate) fn new(rows: &RecordBatch) -> Result<Self> {
        let mut bytes = Vec::new();
        let builder = WriterBuilder::new().with_explicit_nulls(true).with_timestamp_format(TIMESTAMP.into());
        let builder = builder.with_timestamp_tz_format(TIMESTAMP_WITH_ZONE.into());
        let mut writer: LineDelimitedWriter<_> = builder.build::<_, LineDelimited>(&mut bytes);
        writer.write(rows)?;
        writer.finish()?;
        drop(writer);
        let breaks = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let ends: Vec<usize> = breaks.map(|(at, _)| at).collect();
        if ends.len() != rows.num_rows() {
            return Err(Error::internal(format!("{} rows became {} lines of JSON", rows.num_rows(), ends.len())));
        }
        Ok(Self { bytes, ends })
    }

    /// Returns a row.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] + 1 };
        &self.bytes[start..self.ends[row]]
    }
}

/// The net change of an epoch, as one thing for each row that it is about.
pub(crate) struct NetChange {
    /// The rows.
    pub(crate) batch: Batch,
    /// What happens, in the order of first appearance.
    pub(crate) steps: Vec<Step>,
}

/// What happens to the row of a key, or to one row where there is no key: by number of the row before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// The row that goes.
    pub(crate) before: Option<usize>,
    /// The row that comes.
    pub(crate) after: Option<usize>,
}

impl NetChange {
    /// Folds changes to one step a key.
    pub(crate) fn of(batches: &[Batch], key: &[usize]) -> Result<Option<Self>> {
        let Some(first) = batches.first() else { return Ok(None) };
        let all = Batch::concat(&first.schema(), batches)?;
        let batch = if all.diffs.is_some() { consolidate(&all)? } else { all };
        let mut steps: Vec<Step> = Vec::with_capacity(batch.n_rows());
        let mut places: HashMap<Row<'_>, usize> = HashMap::new();
        let keys = if batch.diffs.is_some() { key_rows(&batch.rows, key)? } else { None };
        for row in 0..batch.n_rows() {
            let is_deletion = batch.diff(row) < 0;
            let step = Step { before: is_deletion.then_some(row), after: (!is_deletion).then_some(row) };
            let Some(keys) = &keys else {
                steps.extend(std::iter::repeat_n(step, usize::try_from(batch.diff(row).unsigned_abs()).unwrap_or(1)));
                continue;
            };
            match places.get(&keys.row(row)) {
                Some(place) => {
                    let known = &mut steps[*place];
                    *known = Step { before: step.before.or(known.before), after: step.after.or(known.after) };
                }
                None => {
                    places.insert(keys.row(row), steps.len());
                    steps.push(step);
                }
            }
        }
        drop(places);
        Ok(Some(Self { batch, steps }))
    }

    /// Returns the columns of the key of each step.
    pub(crate) fn keys(&self, key: &[usize]) -> Result<RecordBatch> {
        let row = |step: &Step| step.after.or(step.before).and_then(|row| u32::try_from(row).ok());
        let rows: Option<Vec<u32>> = self.steps.iter().map(row).collect();
        let rows = UInt32Array::from(rows.ok_or_else(|| Error::internal("an epoch of more than 2^32 rows"))?);
        Ok(arrow::compute::take_record_batch(&self.batch.rows.project(key)?, &rows)?)
    }
}

fn key_rows(rows: &RecordBatch, key: &[usize]) -> Result<Option<Rows>> {
    if key.is_empty() {
        return Ok(None);
    }
    let columns: Vec<ArrayRef> = key.iter().map(|index| rows.column(*index).clone()).collect();
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    Ok(Some(RowConverter::new(fields)?.convert_columns(&columns)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use std::sync::Arc;

    fn batch(rows: &[(i64, &str, i64)]) -> Batch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
        let columns = RecordBatch::try_from_iter([("id", ids), ("name", names)]).expect("two columns");
        Batch::changing(columns, Int64Array::from_iter_values(rows.iter().map(|row| row.2))).expect("diffs")
    }

    #[test]
    fn an_epoch_folds_to_one_step_a_key() {
        let epoch =
            [batch(&[(1, "a", 1), (2, "b", -1), (3, "c", -1)]), batch(&[(3, "d", 1), (1, "a", -1), (1, "e\n", 1)])];
        let net = NetChange::of(&epoch, &[0]).expect("folds").expect("is not empty");
        let json = JsonRows::new(&net.batch.rows).expect("writes");
        let text = |row: Option<usize>| row.map(|row| String::from_utf8_lossy(json.row(row)).into_owned());
        let found: Vec<_> = net.steps.iter().map(|step| (text(step.before), text(step.after))).collect();
        let row = |id: i64, name: &str| Some(format!("{{\"id\":{id},\"name\":\"{name}\"}}"));
        assert_eq!(found, [(row(2, "b"), None), (row(3, "c"), row(3, "d")), (None, row(1, "e\\n"))]);
        let keys = net.keys(&[0]).expect("keys");
        assert_eq!(keys.column(0).as_ref(), &Int64Array::from(vec![2, 3, 1]));
    }

    #[test]
    fn without_a_key_each_row_counts_as_often_as_it_occurs() {
        let net = NetChange::of(&[batch(&[(1, "a", 2), (2, "b", -1)])], &[]).expect("folds").expect("is not empty");
        assert_eq!(net.steps.len(), 3);
    }
}
