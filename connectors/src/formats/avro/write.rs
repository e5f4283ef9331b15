//! Rows become Avro records in Confluent's frame. The schema is made from the columns: nullable ones are unions with
//! null, which comes first and is the default, so that a column may be added later; timestamps are in microseconds,
//! which is the finest unit that readers of Avro know. State: none but the schema and its number.

use super::Registry;
use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use arrow_avro::schema::{AvroSchema, FingerprintStrategy, SCHEMA_METADATA_KEY};
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroSoeFormat;
use headwater_core::{Error, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// Writes the rows of one table.
#[derive(Debug, Clone)]
pub(crate) struct AvroWriter {
    columns: SchemaRef,
    schema: String,
    id: u32,
}

impl AvroWriter {
    /// Makes the schema of a table's records.
    pub(crate) fn new(table: &str, columns: &Schema) -> Result<Self> {
        let columns = Arc::new(Schema::new(written(columns.fields())));
        let unfit =
            |error: &dyn std::fmt::Display| Error::invalid(format!("the columns cannot be written as Avro: {error}"));
        let made = AvroSchema::try_from(columns.as_ref()).map_err(|error| unfit(&error))?;
        let mut schema: Value = serde_json::from_str(&made.json_string).map_err(|error| unfit(&error))?;
        schema["name"] = json!(name(table));
        for field in schema["fields"].as_array_mut().into_iter().flatten() {
            if field["type"].as_array().is_some_and(|union| union.first() == Some(&json!("null"))) {
                field["default"] = Value::Null;
            }
        }
        Ok(Self { columns, schema: schema.to_string(), id: 0 })
    }

    /// Registers the schema.
    pub(crate) async fn registered(self, registry: &Registry, subject: &str) -> Result<Self> {
        let id = registry.register(subject, &self.schema).await?;
        Ok(Self { id, ..self })
    }

    /// Returns a message for each row.
    pub(crate) fn write(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
        let columns = rows.columns().iter().zip(self.columns.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type())).collect::<Result<_, _>>()?;
        let rows = RecordBatch::try_new(self.columns.clone(), columns)?;
        let marks = HashMap::from([(SCHEMA_METADATA_KEY.to_owned(), self.schema.clone())]);
        let schema = Schema::new_with_metadata(self.columns.fields().clone(), marks);
        let failed = |error| Error::internal(format!("rows cannot be written as Avro: {error}"));
        let builder = WriterBuilder::new(schema).with_fingerprint_strategy(FingerprintStrategy::Id(self.id));
        let mut encoder = builder.build_encoder::<AvroSoeFormat>().map_err(failed)?;
        encoder.encode(&rows).map_err(failed)?;
        let encoded = encoder.flush();
        (0..encoded.len()).map(|row| Ok(encoded.row(row).map_err(failed)?.to_vec())).collect()
    }
}

/// Returns the columns as they are written.
fn written(fields: &Fields) -> Fields {
    let one =
        |field: &Arc<Field>| Arc::new(Field::new(field.name(), written_type(field.data_type()), field.is_nullable()));
    fields.iter().map(one).collect()
}

fn written_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        DataType::Struct(fields) => DataType::Struct(written(fields)),
        DataType::List(item) => {
            DataType::List(Arc::new(Field::new(item.name(), written_type(item.data_type()), item.is_nullable())))
        }
        other => other.clone(),
    }
}

/// Returns a name that Avro allows.
fn name(table: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
    let name: String = table.chars().map(letter).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) || name.is_empty() { format!("_{name}") } else { name }
}
