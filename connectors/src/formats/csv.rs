//! CSV: fields between delimiters, quoted where need be. Columns are found by the names in the header, whatever their
//! order; without a header by their place. State: the layout of the file that is being read.

use super::{Decode, Fault, Item};
use arrow::array::{RecordBatch, new_null_array};
use arrow::csv::ReaderBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use headwater_core::{Error, Options, Reason, Result};
use regex::Regex;
use std::sync::Arc;

/// How the file is written.
#[derive(Debug, Clone)]
pub(crate) struct CsvSettings {
    /// Whether the first record holds the names of the columns (`csv.header`).
    pub(crate) header: bool,
    /// What separates fields (`csv.delimiter`).
    pub(crate) delimiter: u8,
    /// What quotes a field (`csv.quote`).
    pub(crate) quote: u8,
    /// The text that stands for null (`csv.null_value`), empty unless given.
    null: Regex,
}

impl CsvSettings {
    /// Reads the options `csv.header`, `csv.delimiter`, `csv.quote` and `csv.null_value`.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        let null = options.get("csv.null_value").unwrap_or_default();
        let null = Regex::new(&format!("^{}$", regex::escape(null)));
        Ok(Self {
            header: options.parse("csv.header", "true or false")?.unwrap_or(true),
            delimiter: byte(options, "csv.delimiter", b',')?,
            quote: byte(options, "csv.quote", b'"')?,
            null: null.map_err(|error| Error::invalid(format!("the option csv.null_value: {error}")))?,
        })
    }

    /// Refuses columns that a CSV field cannot hold.
    pub(crate) fn check(schema: &Schema) -> Result<()> {
        let nested = schema.fields().iter().find(|field| field.data_type().is_nested() || is_binary(field.data_type()));
        nested.map_or(Ok(()), |field| {
            Err(Error::invalid(format!("CSV cannot hold the column '{}' of type {}", field.name(), field.data_type())))
        })
    }

    /// Splits one record into its fields.
    fn fields(&self, record: &[u8]) -> Result<Vec<String>> {
        let mut reader = ::csv::ReaderBuilder::new();
        let mut reader = reader.delimiter(self.delimiter).quote(self.quote).has_headers(false).from_reader(record);
        let mut fields = ::csv::StringRecord::new();
        reader.read_record(&mut fields).map_err(|error| Error::data(format!("the header cannot be read: {error}")))?;
        Ok(fields.iter().map(|field| field.trim().to_owned()).collect())
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_))
}

fn byte(options: &Options, name: &str, default: u8) -> Result<u8> {
    match options.get(name).unwrap_or_default() {
        "" => Ok(default),
        "\\t" | "tab" => Ok(b'\t'),
        text if text.len() == 1 => Ok(text.as_bytes()[0]),
        text => Err(Error::invalid(format!("the option {name} = '{text}' is not understood"))
            .with_help("use one ASCII character, or \\t for a tab")),
    }
}

/// Decodes the records of one file.
pub(crate) struct CsvDecoder {
    settings: CsvSettings,
    schema: SchemaRef,
    /// The columns of the file, with the types of those that are wanted.
    file: SchemaRef,
    /// For each wanted column, its place in the file; `None` when the file does not have it.
    places: Vec<Option<usize>>,
}

impl CsvDecoder {
    /// Makes a decoder for the columns `wanted` of a file with the columns `declared`, in that order.
    pub(crate) fn without_header(settings: CsvSettings, declared: &Schema, wanted: SchemaRef) -> Self {
        let places = wanted.fields().iter().map(|field| declared.index_of(field.name()).ok()).collect();
        Self { settings, schema: wanted, file: Arc::new(declared.clone()), places }
    }

    /// Makes a decoder for the columns `wanted` of a file that starts with the record `header`.
    pub(crate) fn with_header(settings: CsvSettings, header: &[u8], wanted: SchemaRef) -> Result<Self> {
        let names = settings.fields(header)?;
        let types = names.iter().map(|name| {
            let data_type = wanted.field_with_name(name).map_or(DataType::Utf8, |field| field.data_type().clone());
            Field::new(name, data_type, true)
        });
        let file = Arc::new(Schema::new(types.collect::<Vec<_>>()));
        let places: Vec<Option<usize>> =
            wanted.fields().iter().map(|field| names.iter().position(|name| name == field.name())).collect();
        for (field, place) in wanted.fields().iter().zip(&places) {
            if place.is_none() && !field.is_nullable() {
                return Err(Error::data(format!("the header has no column '{}'", field.name()))
                    .with_help(format!("it has: {}", names.join(", "))));
            }
        }
        Ok(Self { settings, schema: wanted, file, places })
    }

    /// Parses the columns at these places, in rising order.
    fn parse(&self, records: &[Item<'_>], places: Vec<usize>) -> Result<RecordBatch, ArrowError> {
        let mut decoder = ReaderBuilder::new(self.file.clone())
            .with_header(false)
            .with_delimiter(self.settings.delimiter)
            .with_quote(self.settings.quote)
            .with_null_regex(self.settings.null.clone())
            .with_batch_size(records.len())
            .with_projection(places)
            .build_decoder();
        for record in records {
            let n_read = decoder.decode(record.bytes)? + decoder.decode(b"\n")?;
            if n_read <= record.bytes.len() {
                return Err(ArrowError::CsvError("more than one record".to_owned()));
            }
        }
        let rows = decoder.flush()?.ok_or_else(|| ArrowError::CsvError("there is no record".to_owned()))?;
        if rows.num_rows() != records.len() {
            return Err(ArrowError::CsvError("the line is not exactly one record".to_owned()));
        }
        Ok(rows)
    }
}

impl Decode for CsvDecoder {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&mut self, _: &str, records: &[Item<'_>]) -> Result<RecordBatch, ArrowError> {
        let mut read: Vec<usize> = self.places.iter().flatten().copied().collect();
        read.sort_unstable();
        read.dedup();
        // With no column to read one is read all the same, so that records are counted and checked.
        if read.is_empty() {
            read.push(0);
        }
        let rows = self.parse(records, read.clone())?;
        let columns = self.places.iter().zip(self.schema.fields()).map(|(place, field)| {
            let found = place.and_then(|place| read.binary_search(&place).ok());
            found.map_or_else(|| new_null_array(field.data_type(), records.len()), |at| rows.column(at).clone())
        });
        RecordBatch::try_new(self.schema.clone(), columns.collect())
    }

    fn fault(&mut self, record: &[u8], error: &ArrowError) -> Fault {
        let undecodable = |message: String| Fault { reason: Reason::Undecodable, path: String::new(), message };
        match self.settings.fields(record) {
            Err(_) => return undecodable("the record is not UTF-8 text".to_owned()),
            Ok(fields) if fields.len() != self.file.fields().len() => {
                return undecodable(format!("{} fields where {} are expected", fields.len(), self.file.fields().len()));
            }
            Ok(_) => {}
        }
        let item = [Item { bytes: record, place: super::records::Place::START }];
        for (field, place) in self.schema.fields().iter().zip(&self.places) {
            let Some(place) = *place else { continue };
            match self.parse(&item, vec![place]) {
                Err(wrong) => {
                    let message = format!("the field '{}' is not a {}: {wrong}", field.name(), field.data_type());
                    return Fault { reason: Reason::MalformedField, path: field.name().clone(), message };
                }
                Ok(rows) if !field.is_nullable() && rows.column(0).null_count() > 0 => {
                    let message = format!("the field '{}' is empty", field.name());
                    return Fault { reason: Reason::MissingField, path: field.name().clone(), message };
                }
                Ok(_) => {}
            }
        }
        undecodable(error.to_string())
    }
}
