//! Messages as rows: payloads by the format of the table, and beside them what is known of each message. State: the
//! decoder.

use crate::formats::metadata::without_metadata;
use crate::formats::records::Place;
use crate::formats::{Decode, Fault, FormatKind, Item, LineFormat, decode_each, payload, raw_schema};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{Field, SchemaRef};
use async_nats::HeaderMap;
use bytes::Bytes;
use headwater_core::{DeadLetter, Error, Options, Reason, Result, metadata_key};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The header that names a message for deduplication.
pub(super) const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The longest payload, unless the option `record_bytes_max` says otherwise: as for files.
const RECORD_BYTES_MAX: usize = 1 << 20;

/// What `METADATA FROM` knows.
pub(super) const METADATA_KEYS: [&str; 7] =
    ["position", "stream", "subject", "sequence", "timestamp", "msg_id", "headers"];

/// How payloads are read.
#[derive(Debug, Clone)]
pub(super) struct PayloadFormat {
    format: LineFormat,
    record_bytes_max: usize,
    schema: SchemaRef,
}

/// A message, whatever it came through.
pub(super) struct Record {
    pub(super) payload: Bytes,
    pub(super) subject: String,
    pub(super) headers: Option<HeaderMap>,
    /// Its number in the stream; without a stream, in what this source has received.
    pub(super) sequence: u64,
    /// When it was stored, as text; nothing where nobody knows.
    pub(super) timestamp: Option<String>,
}

impl PayloadFormat {
    /// Reads the options of formats.
    pub(super) fn parse(options: &Options, schema: SchemaRef) -> Result<Self> {
        let of_record = without_metadata(&schema).unwrap_or_else(|| schema.clone());
        let default = if of_record.fields() == raw_schema().fields() { "raw" } else { "json" };
        let kind = match options.one_of("format", default, &["json", "csv", "raw_string", "raw_bytes", "raw"])? {
            "csv" => FormatKind::Csv,
            "raw_string" => FormatKind::RawString,
            "raw_bytes" => FormatKind::RawBytes,
            "raw" => FormatKind::Raw,
            _ => FormatKind::Json,
        };
        let format =
            LineFormat::parse(kind, options, &schema)?.ok_or_else(|| Error::internal("a format of records is none"))?;
        let record_bytes_max = options.parse("record_bytes_max", "a number of bytes")?.unwrap_or(RECORD_BYTES_MAX);
        Ok(Self { format, record_bytes_max, schema })
    }

    /// Returns the columns.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Makes a decoder.
    pub(super) fn decoder(&self, table: &str, place: &str) -> Result<Decoder> {
        let of_record = without_metadata(&self.schema).unwrap_or_else(|| self.schema.clone());
        let inner = match of_record.fields().is_empty() {
            true => None,
            // A message is one record: there is no header line in it.
            false => Some(self.format.decoder(&of_record, of_record.clone(), None)?),
        };
        Ok(Decoder { format: self.clone(), inner, table: table.to_owned(), place: place.to_owned() })
    }
}

/// Decodes the messages of one place: a stream, or the subjects of a subscription.
pub(super) struct Decoder {
    format: PayloadFormat,
    inner: Option<Box<dyn Decode>>,
    table: String,
    place: String,
}

impl Decoder {
    /// Decodes what can be decoded; the others are dead letters.
    pub(super) fn decode(&mut self, records: &[Record]) -> Result<(RecordBatch, Vec<DeadLetter>)> {
        let (mut letters, mut taken) = (Vec::new(), Vec::new());
        for record in records {
            match record.payload.len() > self.format.record_bytes_max {
                true => letters.push(self.letter(record, too_long(record, self.format.record_bytes_max))),
                false => taken.push(record),
            }
        }
        let Some(inner) = self.inner.as_mut() else { return Ok((self.rows(None, &taken)?, letters)) };
        let items: Vec<Item<'_>> = taken
            .iter()
            .map(|record| {
                let place = Place { offset: record.sequence, line: record.sequence };
                Item { bytes: &record.payload, place }
            })
            .collect();
        let (rows, bad) = decode_each(inner.as_mut(), &self.place, &items)?;
        let mut bad = bad.into_iter().peekable();
        let mut good = Vec::with_capacity(rows.num_rows());
        for (index, record) in taken.iter().enumerate() {
            match bad.next_if(|(at, _)| *at == index) {
                Some((_, fault)) => letters.push(self.letter(record, fault)),
                None => good.push(*record),
            }
        }
        Ok((self.rows(Some(&rows), &good)?, letters))
    }

    /// Puts the columns of the payload and those about the message together.
    fn rows(&self, decoded: Option<&RecordBatch>, records: &[&Record]) -> Result<RecordBatch> {
        let column = |field: &Arc<Field>| -> Result<ArrayRef> {
            let Some(key) = metadata_key(field) else {
                let decoded = decoded.and_then(|rows| rows.column_by_name(field.name()));
                return decoded.cloned().ok_or_else(|| Error::internal(format!("no column '{}'", field.name())));
            };
            let value = |record: &&Record| {
                let value = self.known(record, key);
                if field.is_nullable() { value } else { Some(value.unwrap_or_default()) }
            };
            Ok(Arc::new(records.iter().map(value).collect::<StringArray>()))
        };
        let columns: Result<Vec<ArrayRef>> = self.format.schema.fields().iter().map(column).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(records.len()));
        Ok(RecordBatch::try_new_with_options(self.format.schema.clone(), columns?, &options)?)
    }

    fn known(&self, record: &Record, key: &str) -> Option<String> {
        match key {
            "stream" => Some(self.place.clone()),
            "subject" => Some(record.subject.clone()),
            "sequence" => Some(record.sequence.to_string()),
            "timestamp" => record.timestamp.clone(),
            "msg_id" => record.headers.as_ref()?.get(MESSAGE_ID).map(|id| id.as_str().to_owned()),
            "headers" => record.headers.as_ref().map(headers_text),
            _ => Some(format!("{}:{}", self.place, record.sequence)),
        }
    }

    fn letter(&self, record: &Record, fault: Fault) -> DeadLetter {
        DeadLetter {
            reason: fault.reason,
            message: format!("{}: {}", record.subject, fault.message),
            path: fault.path,
            source: self.table.clone(),
            position: format!("{}:{}", self.place, record.sequence),
            payload: payload(&record.payload, record.payload.len() as u64),
        }
    }
}

fn too_long(record: &Record, n_bytes_max: usize) -> Fault {
    let message = format!("{} bytes, more than the {n_bytes_max} of record_bytes_max", record.payload.len());
    Fault { reason: Reason::TooLong, path: String::new(), message }
}

/// Writes headers as a JSON object in the order of their names: a text each, or a list where one comes several times.
fn headers_text(headers: &HeaderMap) -> String {
    let mut all: Vec<(String, Value)> = headers
        .iter()
        .map(|(name, values)| {
            let mut texts: Vec<Value> = values.iter().map(|value| Value::from(value.as_str())).collect();
            let value = if texts.len() == 1 { texts.remove(0) } else { Value::Array(texts) };
            (name.to_string(), value)
        })
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Object(all.into_iter().collect::<Map<_, _>>()).to_string()
}
