//! Columns that are not in a record: what is known of where it was read. State: that of the decoder of the record.

use super::{Decode, Fault, Item};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use headwater_core::{Result, metadata_key};
use std::sync::Arc;

/// The keys that every source of records knows: the file or segment, and the byte in it.
pub(crate) const PATH: &str = "path";
pub(crate) const POSITION: &str = "position";
/// The key of sources whose files are the segments of a topic.
pub(crate) const TOPIC: &str = "topic";

/// Where a column comes from.
enum Column {
    /// The record: this column of its decoder.
    Record(usize),
    Path,
    Position,
    Topic,
}

/// Decodes records, and adds the columns that are about them.
pub(crate) struct WithMetadata {
    inner: Box<dyn Decode>,
    schema: SchemaRef,
    columns: Vec<Column>,
}

/// Splits columns: returns those of the record, or `None` when all of them are.
pub(crate) fn without_metadata(schema: &Schema) -> Option<SchemaRef> {
    let of_record = |field: &&Arc<Field>| metadata_key(field).is_none();
    let fields: Vec<Arc<Field>> = schema.fields().iter().filter(of_record).cloned().collect();
    (fields.len() < schema.fields().len()).then(|| Arc::new(Schema::new(fields)))
}

impl WithMetadata {
    /// Puts the columns of `schema` together from those that `inner` decodes and what is known of each record.
    pub(crate) fn new(inner: Box<dyn Decode>, schema: SchemaRef) -> Self {
        let column = |field: &Arc<Field>| match metadata_key(field) {
            None => Column::Record(inner.schema().index_of(field.name()).unwrap_or_default()),
            Some(PATH) => Column::Path,
            Some(TOPIC) => Column::Topic,
            Some(_) => Column::Position,
        };
        let columns = schema.fields().iter().map(column).collect();
        Self { inner, schema, columns }
    }
}

impl Decode for WithMetadata {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&mut self, file: &str, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        let rows = self.inner.decode(file, records)?;
        let same = |text: &str| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, records.len())))
        };
        let column = |column: &Column| match column {
            Column::Record(index) => rows.column(*index).clone(),
            Column::Path => same(file),
            Column::Topic => same(file.rsplit_once('/').map_or(file, |(topic, _)| topic)),
            Column::Position => {
                let positions = records.iter().map(|item| format!("{file}:{}", item.place.offset));
                Arc::new(StringArray::from_iter_values(positions))
            }
        };
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        let columns = self.columns.iter().map(column).collect();
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }

    fn fault(&mut self, record: &[u8], error: &ArrowError) -> Fault {
        self.inner.fault(record, error)
    }
}
