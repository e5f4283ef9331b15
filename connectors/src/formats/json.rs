//! JSON lines: one object a line. Fields that no column names are left out; columns that no field names are null.
//!
//! A field that is not read is not checked: with a projection, a record is bad only when a column that is used is.

use super::{Decode, Fault, Item};
use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;
use headwater_core::{Options, Reason, Result};
use serde_json::Value;
use std::sync::Arc;

/// How timestamps are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampFormat {
    /// As text, such as `2026-01-31T23:00:00Z`; without a zone it is UTC.
    Rfc3339,
    /// As a number of seconds, milliseconds, microseconds or nanoseconds since 1970, UTC.
    Unix(TimeUnit),
}

impl TimestampFormat {
    /// Reads the option `json.timestamp_format`.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let names = ["rfc3339", "unix_seconds", "unix_millis", "unix_micros", "unix_nanos"];
        Ok(match options.one_of("json.timestamp_format", "rfc3339", &names)? {
            "unix_seconds" => Self::Unix(TimeUnit::Second),
            "unix_millis" => Self::Unix(TimeUnit::Millisecond),
            "unix_micros" => Self::Unix(TimeUnit::Microsecond),
            "unix_nanos" => Self::Unix(TimeUnit::Nanosecond),
            _ => Self::Rfc3339,
        })
    }
}

/// Decodes JSON lines.
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    /// What is decoded before timestamps are brought to the unit of the columns.
    wire: SchemaRef,
    timestamps: TimestampFormat,
    decoder: Option<(usize, Decoder)>,
}

impl JsonDecoder {
    /// Makes a decoder for these columns.
    pub(crate) fn new(schema: SchemaRef, timestamps: TimestampFormat) -> Self {
        let wire = match timestamps {
            TimestampFormat::Rfc3339 => schema.clone(),
            TimestampFormat::Unix(unit) => Arc::new(Schema::new(in_unit(schema.fields(), unit))),
        };
        Self { schema, wire, timestamps, decoder: None }
    }

    fn rows(&mut self, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        let (capacity, mut decoder) = match self.decoder.take() {
            Some(kept) if kept.0 >= records.len() => kept,
            _ => {
                let builder = ReaderBuilder::new(self.wire.clone()).with_batch_size(records.len());
                (records.len(), builder.build_decoder()?)
            }
        };
        for (index, record) in records.iter().enumerate() {
            let n_read = decoder.decode(record.bytes)?;
            if n_read < record.bytes.len() || decoder.len() != index + 1 || decoder.has_partial_record() {
                return Err(ArrowError::JsonError("the line is not exactly one JSON object".to_owned()));
            }
        }
        let rows = decoder.flush()?.ok_or_else(|| ArrowError::JsonError("there is no object".to_owned()))?;
        self.decoder = Some((capacity, decoder));
        Ok(rows)
    }
}

impl Decode for JsonDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&mut self, _: &str, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        let rows = self.rows(records)?;
        if Arc::ptr_eq(&self.schema, &self.wire) {
            return Ok(rows);
        }
        let checked = CastOptions { safe: false, ..CastOptions::default() };
        let columns = rows.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| cast_with_options(column, field.data_type(), &checked));
        RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<_, _>>()?)
    }

    fn fault(&mut self, record: &[u8], error: &ArrowError) -> Fault {
        let undecodable = |message: String| Fault { reason: Reason::Undecodable, path: String::new(), message };
        let object = match serde_json::from_slice::<Value>(record) {
            Ok(Value::Object(object)) => object,
            Ok(_) => return undecodable("the line is JSON, but not an object".to_owned()),
            Err(wrong) => return undecodable(format!("the line is not a JSON object: {wrong}")),
        };
        let required = self.schema.fields().iter().filter(|field| !field.is_nullable());
        for field in required {
            if object.get(field.name()).is_none_or(Value::is_null) {
                let message = format!("the field '{}' is missing", field.name());
                return Fault { reason: Reason::MissingField, path: field.name().clone(), message };
            }
        }
        let item = [Item { bytes: record, place: super::records::Place::START }];
        for field in self.schema.fields() {
            let alone = Arc::new(Schema::new(vec![field.clone()]));
            if let Err(wrong) = JsonDecoder::new(alone, self.timestamps).decode("", &item) {
                let message = format!("the field '{}' is not a {}: {wrong}", field.name(), field.data_type());
                return Fault { reason: Reason::MalformedField, path: field.name().clone(), message };
            }
        }
        undecodable(error.to_string())
    }
}

fn in_unit(fields: &Fields, unit: TimeUnit) -> Fields {
    fields.iter().map(|field| field_in_unit(field, unit)).collect()
}

fn field_in_unit(field: &FieldRef, unit: TimeUnit) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Timestamp(_, zone) => DataType::Timestamp(unit, zone.clone()),
        DataType::Struct(fields) => DataType::Struct(in_unit(fields, unit)),
        DataType::List(item) => DataType::List(field_in_unit(item, unit)),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}
