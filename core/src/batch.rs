//! A slice of a changing table.
//!
//! Streams are Z-sets: each row has a multiplicity, an update is the old row with −1 and the new one with +1.
//! Append-only streams carry no multiplicities at all and never pay for them.

use crate::{Error, Result};
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use std::collections::HashMap;

/// Rows and, for a changing stream, the multiplicity of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The rows.
    pub rows: RecordBatch,
    /// The multiplicity of each row, never zero or null; `None` means that every row is +1.
    pub diffs: Option<Int64Array>,
}

impl Batch {
    /// Makes a batch in which every row is an insertion.
    #[must_use]
    pub fn append_only(rows: RecordBatch) -> Self {
        Self { rows, diffs: None }
    }

    /// Makes a batch of changes.
    ///
    /// # Errors
    /// `Internal` when there is not one multiplicity per row.
    pub fn changing(rows: RecordBatch, diffs: Int64Array) -> Result<Self> {
        if rows.num_rows() != diffs.len() || diffs.null_count() > 0 {
            return Err(Error::internal(format!("{} rows with {} multiplicities", rows.num_rows(), diffs.len())));
        }
        Ok(Self { rows, diffs: Some(diffs) })
    }

    /// Returns the number of rows, insertions and deletions alike.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.rows.num_rows()
    }

    /// Returns whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.n_rows() == 0
    }

    /// Returns the schema of the rows.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.rows.schema()
    }

    /// Returns the multiplicity of a row.
    #[must_use]
    pub fn diff(&self, row: usize) -> i64 {
        self.diffs.as_ref().map_or(1, |diffs| diffs.value(row))
    }

    /// Keeps the rows for which `mask` is true; null counts as false.
    ///
    /// # Errors
    /// `Internal` when the mask has another length.
    pub fn filter(&self, mask: &BooleanArray) -> Result<Self> {
        let rows = compute::filter_record_batch(&self.rows, mask)?;
        let diffs = self.diffs.as_ref().map(|diffs| compute::filter(diffs, mask)).transpose()?;
        Ok(Self { rows, diffs: diffs.map(|array| as_int64(&array)) })
    }

    /// Takes rows by index, in the order of the indices.
    ///
    /// # Errors
    /// `Internal` when an index is out of range.
    pub fn take(&self, indices: &UInt32Array) -> Result<Self> {
        let rows = compute::take_record_batch(&self.rows, indices)?;
        let diffs = self.diffs.as_ref().map(|diffs| compute::take(diffs, indices, None)).transpose()?;
        Ok(Self { rows, diffs: diffs.map(|array| as_int64(&array)) })
    }

    /// Returns a part of the batch without copying.
    #[must_use]
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self { rows: self.rows.slice(offset, length), diffs: self.diffs.as_ref().map(|d| d.slice(offset, length)) }
    }

    /// Returns the same multiplicities with other columns.
    #[must_use]
    pub fn with_rows(&self, rows: RecordBatch) -> Self {
        debug_assert_eq!(rows.num_rows(), self.n_rows());
        Self { rows, diffs: self.diffs.clone() }
    }

    /// Joins batches of one schema end to end. The result is append-only when all of them are.
    ///
    /// # Errors
    /// `Internal` when the schemas differ.
    pub fn concat(schema: &SchemaRef, batches: &[Self]) -> Result<Self> {
        let rows = compute::concat_batches(schema, batches.iter().map(|batch| &batch.rows))?;
        let changing = batches.iter().any(|batch| batch.diffs.is_some());
        let diffs = changing.then(|| {
            let all = batches.iter().flat_map(|batch| (0..batch.n_rows()).map(|row| batch.diff(row)));
            Int64Array::from_iter_values(all)
        });
        Ok(Self { rows, diffs })
    }
}

fn as_int64(array: &ArrayRef) -> Int64Array {
    Int64Array::from(array.to_data())
}

/// Folds a batch to its net change: equal rows become one with the sum of their multiplicities, and rows whose sum
/// is zero go. Deletions come first, so that a store with a key can apply the result in order; within each half the
/// order of first appearance is kept.
///
/// # Errors
/// `Internal` when a column has a type without an order.
pub fn consolidate(batch: &Batch) -> Result<Batch> {
    let fields = batch.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let rows = converter.convert_columns(batch.rows.columns())?;
    let mut place: HashMap<&[u8], usize> = HashMap::with_capacity(batch.n_rows());
    let mut net: Vec<(u32, i64)> = Vec::with_capacity(batch.n_rows());
    let keys: Vec<_> = rows.iter().collect();
    for (index, key) in keys.iter().enumerate() {
        let at = *place.entry(key.as_ref()).or_insert_with(|| {
            net.push((u32::try_from(index).unwrap_or(u32::MAX), 0));
            net.len() - 1
        });
        net[at].1 += batch.diff(index);
    }
    let deletions = net.iter().filter(|(_, diff)| *diff < 0);
    let insertions = net.iter().filter(|(_, diff)| *diff > 0);
    let (indices, diffs): (Vec<u32>, Vec<i64>) = deletions.chain(insertions).copied().unzip();
    let taken = Batch::append_only(batch.rows.clone()).take(&UInt32Array::from(indices))?;
    Batch::changing(taken.rows, Int64Array::from(diffs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    fn batch(rows: &[(&str, i64)]) -> Batch {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Utf8, false)]));
        let names = StringArray::from_iter_values(rows.iter().map(|(name, _)| name));
        let diffs = Int64Array::from_iter_values(rows.iter().map(|(_, diff)| *diff));
        let rows = RecordBatch::try_new(schema, vec![Arc::new(names)]).expect("one column of the schema's type");
        Batch::changing(rows, diffs).expect("one multiplicity per row")
    }

    #[test]
    fn consolidation_sums_and_puts_deletions_first() {
        let net = consolidate(&batch(&[("a", 1), ("b", -1), ("a", 1), ("c", 1), ("c", -1)])).expect("consolidates");
        assert_eq!(net, batch(&[("b", -1), ("a", 2)]));
    }

    #[test]
    fn concatenation_of_append_only_and_changing_is_changing() {
        let changing = batch(&[("a", -1)]);
        let plain = Batch::append_only(batch(&[("b", 1)]).rows);
        let joined = Batch::concat(&changing.schema(), &[changing, plain]).expect("one schema");
        assert_eq!(joined, batch(&[("a", -1), ("b", 1)]));
    }

    #[test]
    fn a_batch_needs_one_multiplicity_per_row() {
        let error = Batch::changing(batch(&[("a", 1)]).rows, Int64Array::from(vec![1, 1])).expect_err("two for one");
        assert_eq!(error.to_string(), "1 rows with 2 multiplicities");
    }
}
