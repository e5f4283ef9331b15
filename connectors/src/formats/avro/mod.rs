//! Avro: object container files, and messages of one record each, either with Confluent's frame (a zero byte and the
//! number of a schema in a registry) or bare, with a schema that the table names.
//!
//! A record is decoded with the schema it was written with, of which only the wanted fields are read, and the columns
//! are then cast to those of the table; so a field may be of another width or unit. State: a decoder for each schema.

mod registry;
mod write;

pub(crate) use registry::Registry;
pub(crate) use write::AvroWriter;

use super::{Decode, Fault, Item};
use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, concat_batches};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow_avro::errors::AvroError;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use headwater_core::{Error, Options, Reason, Result, metadata_key};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

/// Confluent's frame: a zero byte, and the number of the schema in four.
const FRAME_BYTES: usize = 5;
/// The number of the schema of records without a frame.
const BARE: u32 = 0;
/// More rows than any batch has; nothing is set aside for them.
const ROWS_MAX: usize = 1 << 20;

/// Where the schemas of messages come from.
#[derive(Debug, Clone)]
pub(crate) enum AvroSchemas {
    /// All messages have this one, and no frame.
    Fixed(Arc<str>),
    /// The frame names it.
    Registry(Arc<Registry>),
}

impl AvroSchemas {
    /// Reads the options `avro.schema`, `avro.schema_file` and those of a registry.
    pub(crate) fn parse(options: &Options, base: &Path) -> Result<Self> {
        let registry = Registry::parse(options, base)?;
        let file = options.get("avro.schema_file");
        let fixed = match (options.get("avro.schema"), file) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("the options 'avro.schema' and 'avro.schema_file' are two"));
            }
            (Some(schema), None) => Some(schema.to_owned()),
            (None, Some(file)) => {
                let path = base.join(file);
                let read = std::fs::read_to_string(&path);
                Some(read.map_err(|error| Error::io(format!("cannot read '{}'", path.display()), error))?)
            }
            (None, None) => None,
        };
        match (registry, fixed) {
            (Some(registry), None) => Ok(Self::Registry(registry)),
            (None, Some(schema)) => {
                let checked = decoder(BARE, &schema, None);
                checked
                    .map_err(|error| Error::invalid(format!("the option avro.schema is no Avro schema: {error}")))?;
                Ok(Self::Fixed(schema.into()))
            }
            (None, None) => {
                let message = "nothing says which schema messages have: the option 'avro.schema_registry' is missing";
                let help = "add avro.schema_registry = 'http://…', or avro.schema or avro.schema_file for messages \
                            without a frame";
                Err(Error::invalid(message).with_help(help))
            }
            (Some(_), Some(_)) => {
                Err(Error::invalid("messages have their schema from a registry or from 'avro.schema', not both"))
            }
        }
    }

    /// Fetches what the decoder will ask for. A schema that the registry does not have is the fault of its messages.
    pub(crate) async fn fetch<'a>(&self, messages: impl Iterator<Item = &'a [u8]>) -> Result<()> {
        let Self::Registry(registry) = self else { return Ok(()) };
        let mut ids: Vec<u32> = messages.filter_map(frame).collect();
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            registry.fetch(id).await?;
        }
        Ok(())
    }

    fn schema(&self, id: u32) -> Result<Arc<str>, ArrowError> {
        match self {
            Self::Fixed(schema) => Ok(schema.clone()),
            Self::Registry(registry) => registry.known(id).map_err(ArrowError::ParseError),
        }
    }
}

/// Returns the number of the schema of a framed message.
fn frame(message: &[u8]) -> Option<u32> {
    let (head, _) = message.split_first_chunk::<FRAME_BYTES>()?;
    (head[0] == 0).then(|| u32::from_be_bytes([head[1], head[2], head[3], head[4]]))
}

/// Makes a decoder of records with this schema, of which only these fields are wanted.
fn decoder(id: u32, schema: &str, wanted: Option<&SchemaRef>) -> Result<Decoder, ArrowError> {
    let build = |projection: Option<Vec<usize>>| {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        store.set(Fingerprint::Id(id), AvroSchema::new(schema.to_owned()))?;
        let builder = ReaderBuilder::new().with_writer_schema_store(store).with_batch_size(ROWS_MAX);
        let builder = builder.with_active_fingerprint(Fingerprint::Id(id));
        match projection {
            Some(projection) => builder.with_projection(projection).build_decoder(),
            None => builder.build_decoder(),
        }
    };
    let all = build(None)?;
    let Some(wanted) = wanted else { return Ok(all) };
    let projection = projection(&all.schema(), wanted);
    if projection.is_empty() || projection.len() == all.schema().fields().len() {
        return Ok(all);
    }
    // A type that is named in a field that is left out cannot be referred to by another: then all are read.
    Ok(build(Some(projection)).unwrap_or(all))
}

/// Returns the places of the wanted fields.
pub(crate) fn projection(present: &SchemaRef, wanted: &SchemaRef) -> Vec<usize> {
    let fields = wanted.fields().iter().filter(|field| metadata_key(field).is_none());
    fields.filter_map(|field| present.index_of(field.name()).ok()).collect()
}

/// Casts a column to the type of a table's, and fails where a value does not fit.
pub(crate) fn cast(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    if let (DataType::FixedSizeBinary(16), DataType::Utf8) = (column.data_type(), wanted)
        && let Some(ids) = column.as_any().downcast_ref::<FixedSizeBinaryArray>()
    {
        let texts: StringArray =
            ids.iter().map(|id| Some(Uuid::from_slice(id?).ok()?.hyphenated().to_string())).collect();
        return Ok(Arc::new(texts));
    }
    let checked = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, wanted, &checked)
}

/// Lays decoded rows out as the columns of a table.
fn fit(rows: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(wanted.fields().len());
    for field in wanted.fields() {
        let name = field.name();
        let column = match rows.column_by_name(name) {
            Some(column) => cast(column, field.data_type()).map_err(|error| {
                ArrowError::CastError(format!("the field '{name}' is not a {}: {error}", field.data_type()))
            })?,
            None => new_null_array(field.data_type(), rows.num_rows()),
        };
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(ArrowError::SchemaError(format!("the field '{name}' is missing")));
        }
        columns.push(column);
    }
    RecordBatch::try_new(wanted.clone(), columns)
}

/// Decodes messages.
pub(crate) struct AvroDecoder {
    schemas: AvroSchemas,
    wanted: SchemaRef,
    decoders: HashMap<u32, Decoder>,
    framed: Vec<u8>,
}

impl AvroDecoder {
    /// Makes a decoder for these columns.
    pub(crate) fn new(schemas: AvroSchemas, wanted: SchemaRef) -> Self {
        Self { schemas, wanted, decoders: HashMap::new(), framed: Vec::new() }
    }

    fn id(&self, record: &[u8]) -> Result<u32, ArrowError> {
        match self.schemas {
            AvroSchemas::Fixed(_) => Ok(BARE),
            AvroSchemas::Registry(_) => frame(record).ok_or_else(|| {
                ArrowError::ParseError("the message does not begin with the number of a schema".to_owned())
            }),
        }
    }

    /// Decodes records of one schema.
    fn run(&mut self, id: u32, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        // A decoder that failed holds half a record, so it is only put back when all went well.
        let mut decoder = match self.decoders.remove(&id) {
            Some(decoder) => decoder,
            None => decoder_of(&self.schemas, id, &self.wanted)?,
        };
        for record in records {
            let bytes = match self.schemas {
                AvroSchemas::Registry(_) => record.bytes,
                AvroSchemas::Fixed(_) => {
                    self.framed.clear();
                    self.framed.push(0);
                    self.framed.extend_from_slice(&BARE.to_be_bytes());
                    self.framed.extend_from_slice(record.bytes);
                    &self.framed
                }
            };
            let capacity = decoder.capacity();
            let n_read = decoder.decode(bytes).map_err(in_words)?;
            if n_read != bytes.len() || decoder.capacity() + 1 != capacity {
                return Err(ArrowError::ParseError("the message is not exactly one record of its schema".to_owned()));
            }
        }
        let rows = decoder.flush().map_err(in_words)?;
        let rows = rows.ok_or_else(|| ArrowError::ParseError("the message is empty".to_owned()))?;
        self.decoders.insert(id, decoder);
        fit(&rows, &self.wanted)
    }
}

fn decoder_of(schemas: &AvroSchemas, id: u32, wanted: &SchemaRef) -> Result<Decoder, ArrowError> {
    let schema = schemas.schema(id)?;
    decoder(id, &schema, Some(wanted))
        .map_err(|error| ArrowError::ParseError(format!("the schema {id} cannot be read: {error}")))
}

fn in_words(error: AvroError) -> ArrowError {
    ArrowError::ParseError(error.to_string())
}

impl Decode for AvroDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.wanted
    }

    fn decode(&mut self, _: &str, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        let mut parts = Vec::new();
        let mut rest = records;
        while let Some(first) = rest.first() {
            let id = self.id(first.bytes)?;
            let n_same = rest.iter().take_while(|item| self.id(item.bytes).is_ok_and(|other| other == id)).count();
            let (run, after) = rest.split_at(n_same);
            parts.push(self.run(id, run)?);
            rest = after;
        }
        concat_batches(&self.wanted, &parts)
    }

    fn fault(&mut self, _: &[u8], error: &ArrowError) -> Fault {
        let (reason, message) = match error {
            ArrowError::CastError(message) => (Reason::MalformedField, message.clone()),
            ArrowError::SchemaError(message) => (Reason::MissingField, message.clone()),
            ArrowError::ParseError(message) => (Reason::Undecodable, message.clone()),
            other => (Reason::Undecodable, other.to_string()),
        };
        let path = if reason == Reason::Undecodable { "" } else { message.split('\'').nth(1).unwrap_or_default() };
        Fault { reason, path: path.to_owned(), message }
    }
}
