//! How rows stand in a partition: bytes that sort as the order says, and after it by the whole row, so that the answer
//! never depends on the order of arrival. No state.

use crate::row_table::{EncodedRows, RowCodec};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, SchemaRef};
use headwater_core::{Batch, Result};

/// One column of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderBy {
    /// The column, by index.
    pub column: usize,
    /// The direction, and where nulls are.
    pub options: SortOptions,
}

impl OrderBy {
    /// Prints it as SQL.
    pub(crate) fn describe(&self, schema: &SchemaRef) -> String {
        let direction = if self.options.descending { " DESC" } else { "" };
        // Nulls come last in ascending and first in descending order unless somebody says otherwise.
        let nulls = match (self.options.descending, self.options.nulls_first) {
            (false, true) => " NULLS FIRST",
            (true, false) => " NULLS LAST",
            _ => "",
        };
        format!("{}{direction}{nulls}", schema.field(self.column).name())
    }
}

/// The layout of the rows of one input.
pub(crate) struct PartitionLayout {
    order: Vec<OrderBy>,
    input: SchemaRef,
    codec: RowCodec,
}

impl PartitionLayout {
    pub(crate) fn new(input: &SchemaRef, order: &[OrderBy]) -> Result<Self> {
        let type_of = |field: &Field| field.data_type().clone();
        let ordered = order.iter().map(|by| (type_of(input.field(by.column)), by.options));
        let whole = input.fields().iter().map(|field| (type_of(field), SortOptions::default()));
        let codec = RowCodec::ordered(ordered.chain(whole).collect())?;
        Ok(Self { order: order.to_vec(), input: input.clone(), codec })
    }

    pub(super) fn encode(&self, rows: &RecordBatch) -> Result<EncodedRows> {
        self.encode_columns(rows.columns())
    }

    pub(super) fn encode_columns(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        let ordered = self.order.iter().map(|by| columns[by.column].clone());
        let columns: Vec<ArrayRef> = ordered.chain(columns.iter().cloned()).collect();
        self.codec.encode(&columns)
    }

    /// The types of the columns of a row.
    pub(super) fn types(&self) -> &[DataType] {
        &self.codec.types()[self.order.len()..]
    }

    /// How many columns a row has.
    pub(super) fn n_columns(&self) -> usize {
        self.types().len()
    }

    /// Returns the columns of rows.
    pub(crate) fn columns<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        let mut columns = self.codec.decode(rows)?;
        Ok(columns.split_off(self.order.len()))
    }

    /// Returns rows as a batch of the input.
    pub(crate) fn batch<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>, n_rows: usize) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(RecordBatch::try_new_with_options(self.input.clone(), self.columns(rows)?, &options)?)
    }
}

/// Changes of the output while they are put together: rows in bytes, their values, and how often they come or go.
pub(crate) struct Changed<V> {
    rows: Vec<Box<[u8]>>,
    values: Vec<V>,
    diffs: Vec<i64>,
}

impl<V> Changed<V> {
    pub(super) fn new() -> Self {
        Self { rows: Vec::new(), values: Vec::new(), diffs: Vec::new() }
    }

    /// Notes that an output row comes (+) or goes (−).
    pub(crate) fn push(&mut self, row: Box<[u8]>, value: V, diff: i64) {
        self.rows.push(row);
        self.values.push(value);
        self.diffs.push(diff);
    }

    pub(crate) fn len(&self) -> usize {
        self.diffs.len()
    }

    /// Makes the batch: without multiplicities where rows only come.
    pub(super) fn into_batch(
        self,
        layout: &PartitionLayout,
        schema: &SchemaRef,
        columns_of: impl FnOnce(Vec<V>) -> Result<Vec<ArrayRef>>,
        append_only: bool,
    ) -> Result<Batch> {
        let n_rows = self.len();
        let mut columns = layout.columns(self.rows.iter().map(AsRef::as_ref))?;
        columns.extend(columns_of(self.values)?);
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        if append_only {
            debug_assert!(self.diffs.iter().all(|diff| *diff == 1));
            return Ok(Batch::append_only(rows));
        }
        Batch::changing(rows, Int64Array::from(self.diffs))
    }
}
