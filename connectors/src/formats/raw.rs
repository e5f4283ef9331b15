//! Records that are not decoded: `raw` (bytes and where they are) for contracts, `raw_string` for lines of text,
//! `raw_bytes` for bytes, and `json` with `json.unstructured` for JSON values that are kept as text. Pure; no state but
//! the schema.

use super::{Decode, Fault, Item};
use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use headwater_core::Reason;
use std::sync::Arc;

/// Returns the schema of raw records: `value: Binary not null, position: Utf8 not null`.
pub(crate) fn raw_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("value", DataType::Binary, false),
        Field::new("position", DataType::Utf8, false),
    ]))
}

/// Delivers bytes and positions (`file:byte offset`).
pub(crate) struct RawDecoder(SchemaRef);

impl RawDecoder {
    pub(crate) fn new() -> Self {
        Self(raw_schema())
    }
}

impl Decode for RawDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn decode(&mut self, file: &str, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        let values = BinaryArray::from_iter_values(records.iter().map(|item| item.bytes));
        let positions = records.iter().map(|item| format!("{file}:{}", item.place.offset));
        let columns: Vec<ArrayRef> = vec![Arc::new(values), Arc::new(StringArray::from_iter_values(positions))];
        RecordBatch::try_new(self.0.clone(), columns)
    }

    fn fault(&mut self, _: &[u8], error: &ArrowError) -> Fault {
        Fault { reason: Reason::Undecodable, path: String::new(), message: error.to_string() }
    }
}

/// Delivers lines of text in one column.
pub(crate) struct RawStringDecoder(SchemaRef);

impl RawStringDecoder {
    /// Makes a decoder for a schema of one text column.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self(schema)
    }
}

impl Decode for RawStringDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn decode(&mut self, _: &str, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        let lines: Result<Vec<&str>, _> = records.iter().map(|item| std::str::from_utf8(item.bytes)).collect();
        let lines = lines.map_err(|error| ArrowError::ParseError(error.to_string()))?;
        RecordBatch::try_new(self.0.clone(), vec![Arc::new(StringArray::from_iter_values(lines))])
    }

    fn fault(&mut self, _: &[u8], error: &ArrowError) -> Fault {
        let message = format!("the line is not UTF-8: {error}");
        Fault { reason: Reason::Undecodable, path: String::new(), message }
    }
}

/// Delivers bytes in one column.
pub(crate) struct RawBytesDecoder(SchemaRef);

impl RawBytesDecoder {
    /// Makes a decoder for a schema of one column of bytes.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self(schema)
    }
}

impl Decode for RawBytesDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn decode(&mut self, _: &str, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        let values = BinaryArray::from_iter_values(records.iter().map(|item| item.bytes));
        RecordBatch::try_new(self.0.clone(), vec![Arc::new(values)])
    }

    fn fault(&mut self, _: &[u8], error: &ArrowError) -> Fault {
        Fault { reason: Reason::Undecodable, path: String::new(), message: error.to_string() }
    }
}

/// Delivers JSON values as text in one column.
pub(crate) struct UnstructuredDecoder(SchemaRef);

impl UnstructuredDecoder {
    /// Makes a decoder for a schema of one text column.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        Self(schema)
    }
}

impl Decode for UnstructuredDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.0
    }

    fn decode(&mut self, _: &str, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        let values: Vec<&str> = records.iter().map(|item| json_text(item.bytes)).collect::<Result<_, ArrowError>>()?;
        RecordBatch::try_new(self.0.clone(), vec![Arc::new(StringArray::from_iter_values(values))])
    }

    fn fault(&mut self, _: &[u8], error: &ArrowError) -> Fault {
        let message = match error {
            ArrowError::JsonError(message) => format!("the line is not JSON: {message}"),
            other => format!("the line is not UTF-8: {other}"),
        };
        Fault { reason: Reason::Undecodable, path: String::new(), message }
    }
}

/// Returns a JSON value as it is written.
fn json_text(bytes: &[u8]) -> Result<&str, ArrowError> {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).map_err(|error| ArrowError::JsonError(error.to_string()))?;
    std::str::from_utf8(bytes).map(str::trim).map_err(|error| ArrowError::ParseError(error.to_string()))
}
