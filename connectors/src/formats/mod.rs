//! The formats of records, and how a chunk of records becomes a batch.
//!
//! Decoding is all or nothing for a batch, because that is fast; a batch that fails is split until each bad record
//! stands alone. A bad record never stops the stream and never touches its neighbours.

pub(crate) mod avro;
mod csv;
mod fault;
mod json;
pub(crate) mod metadata;
mod raw;
pub(crate) mod records;
mod settings;
pub(crate) mod write;

pub(crate) use csv::{CsvDecoder, CsvSettings};
pub(crate) use fault::{BadData, Fault, payload};
pub(crate) use json::{JsonDecoder, TimestampFormat};
pub(crate) use raw::{RawBytesDecoder, RawDecoder, RawStringDecoder, UnstructuredDecoder, raw_schema};
pub(crate) use settings::{FormatKind, LineFormat};

use arrow::array::RecordBatch;
use arrow::compute;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use headwater_core::Result;
use records::Place;

/// A record to decode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Item<'a> {
    /// Its bytes, without the line break.
    pub(crate) bytes: &'a [u8],
    /// Where it starts.
    pub(crate) place: Place,
}

/// Turns records into rows.
pub(crate) trait Decode: Send {
    /// Returns the schema of the rows.
    fn schema(&self) -> &SchemaRef;

    /// Decodes all of the records of `file`, one row each, or none.
    fn decode(&mut self, file: &str, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError>;

    /// Says what is wrong with one record that could not be decoded.
    fn fault(&mut self, record: &[u8], error: &ArrowError) -> Fault;
}

/// Decodes what can be decoded; returns the rows, and what is wrong with which of the others.
pub(crate) fn decode_each(
    decoder: &mut dyn Decode,
    file: &str,
    records: &[Item<'_>],
) -> Result<(RecordBatch, Vec<(usize, Fault)>)> {
    let mut good = Vec::new();
    let mut bad = Vec::new();
    split(decoder, file, records, 0, &mut good, &mut bad);
    let rows = match good.len() {
        0 => RecordBatch::new_empty(decoder.schema().clone()),
        1 => good.remove(0),
        _ => compute::concat_batches(decoder.schema(), &good)?,
    };
    Ok((rows, bad))
}

fn split(
    decoder: &mut dyn Decode,
    file: &str,
    records: &[Item<'_>],
    first: usize,
    good: &mut Vec<RecordBatch>,
    bad: &mut Vec<(usize, Fault)>,
) {
    if records.is_empty() {
        return;
    }
    match decoder.decode(file, records) {
        Ok(rows) => good.push(rows),
        Err(error) if records.len() == 1 => bad.push((first, decoder.fault(records[0].bytes, &error))),
        Err(_) => {
            let (left, right) = records.split_at(records.len() / 2);
            split(decoder, file, left, first, good, bad);
            split(decoder, file, right, first + left.len(), good, bad);
        }
    }
}
