//! Reads one file of typed rows, such as Parquet: only the columns that are needed, cast to the declared types. A value
//! that does not fit the declared type is a dead letter; bytes of another form end the pipeline with the file's name.
//! State: the reader and the rest of its newest batch; a place is a number of rows.

use super::listing::File;
use super::source::{FileReader, Piece};
use crate::formats::metadata::PATH;
use crate::formats::{avro, payload};
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::LineDelimitedWriter;
use headwater_core::{DeadLetter, Error, Reason, Result, metadata_key};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::sync::Arc;

/// How many rows are unpacked at once.
const UNPACKED_ROWS: usize = 8192;

/// Rows of a file, cut as it suits the file.
pub(super) type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Opens a file behind so many rows, and yields the wanted columns that it has.
pub(super) type Opener = fn(&File, &SchemaRef, usize) -> Result<Batches>;

/// The reader of one file.
pub(super) struct RowReader {
    open: Opener,
    file: File,
    wanted: SchemaRef,
    table: String,
    n_rows: usize,
    opened: Option<(Batches, RecordBatch)>,
}

fn corrupt(file: &File, error: impl std::fmt::Display) -> Error {
    Error::data(format!("'{}' is not a sound Parquet file: {error}", file.path.display()))
}

fn builder(file: &File) -> Result<ParquetRecordBatchReaderBuilder<std::fs::File>> {
    let opened = std::fs::File::open(&file.path)
        .map_err(|error| Error::io(format!("cannot read '{}'", file.path.display()), error))?;
    ParquetRecordBatchReaderBuilder::try_new(opened).map_err(|error| corrupt(file, error))
}

/// Returns the columns of a file.
pub(super) fn schema_of(file: &File) -> Result<SchemaRef> {
    let schema = builder(file)?.schema().clone();
    Ok(Arc::new(arrow::datatypes::Schema::new(schema.fields().clone())))
}

/// Checks that a file has the columns that every row must have.
pub(super) fn check_columns(file: &File, present: &SchemaRef, wanted: &SchemaRef) -> Result<()> {
    for field in wanted.fields() {
        if metadata_key(field).is_none() && !field.is_nullable() && present.index_of(field.name()).is_err() {
            let names: Vec<&str> = present.fields().iter().map(|field| field.name().as_str()).collect();
            return Err(Error::data(format!("'{}' has no column '{}'", file.name, field.name()))
                .with_help(format!("it has: {}", names.join(", "))));
        }
    }
    Ok(())
}

/// Opens a Parquet file.
pub(super) fn open(file: &File, wanted: &SchemaRef, skipped: usize) -> Result<Batches> {
    let builder = builder(file)?;
    let n_rows = builder.metadata().file_metadata().num_rows();
    if usize::try_from(n_rows).unwrap_or(usize::MAX) < skipped {
        let message = format!("'{}' cannot be continued at row {skipped}: it has {n_rows}", file.name);
        return Err(Error::data(message));
    }
    let present = builder.schema().clone();
    check_columns(file, &present, wanted)?;
    let roots = wanted.fields().iter().filter_map(|field| present.index_of(field.name()).ok());
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder.with_projection(mask).with_batch_size(UNPACKED_ROWS).with_offset(skipped).build();
    let (reader, file) = (reader.map_err(|error| corrupt(file, error))?, file.clone());
    Ok(Box::new(reader.map(move |rows| rows.map_err(|error| corrupt(&file, error)))))
}

impl RowReader {
    /// Makes a reader that skips `n_rows` rows.
    pub(super) fn new(open: Opener, file: File, wanted: SchemaRef, n_rows: usize, table: &str) -> Self {
        Self { open, file, wanted, table: table.to_owned(), n_rows, opened: None }
    }

    /// Lays out rows, the first of which has the number `first` in its file.
    fn cast(&self, rows: &RecordBatch, first: usize) -> Result<RecordBatch, ArrowError> {
        let name = &self.file.name;
        let columns =
            self.wanted.fields().iter().map(|field| match (metadata_key(field), rows.column_by_name(field.name())) {
                (Some(PATH), _) => Ok(texts((0..rows.num_rows()).map(|_| name.clone()))),
                (Some(_), _) => Ok(texts((0..rows.num_rows()).map(|row| format!("{name}:{}", first + row)))),
                (None, Some(column)) => avro::cast(column, field.data_type()),
                (None, None) => Ok(new_null_array(field.data_type(), rows.num_rows())),
            });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        RecordBatch::try_new(self.wanted.clone(), columns)
    }

    fn letter(&self, row: &RecordBatch, number: usize, error: &ArrowError) -> Result<DeadLetter> {
        let lacks = |field: &&Arc<Field>| {
            let column = row.column_by_name(field.name());
            !field.is_nullable() && metadata_key(field).is_none() && column.is_some_and(|column| column.is_null(0))
        };
        let missing = self.wanted.fields().iter().find(lacks).map(|field| field.name().clone());
        let (reason, message) = match &missing {
            Some(name) => (Reason::MissingField, format!("row {number}: the field '{name}' is missing")),
            None => (Reason::MalformedField, format!("row {number}: {error}")),
        };
        let (path, source) = (missing.unwrap_or_default(), self.table.clone());
        let position = format!("{}:{number}", self.file.name);
        Ok(DeadLetter { reason, message, path, source, position, payload: text(row)? })
    }

    /// Casts what can be cast; what cannot becomes one dead letter a row.
    fn salvage(
        &self,
        rows: &RecordBatch,
        first: usize,
        good: &mut Vec<RecordBatch>,
        bad: &mut Vec<DeadLetter>,
    ) -> Result<()> {
        match self.cast(rows, first) {
            Ok(cast) => good.push(cast),
            Err(error) if rows.num_rows() == 1 => bad.push(self.letter(rows, first, &error)?),
            Err(_) => {
                let half = rows.num_rows() / 2;
                self.salvage(&rows.slice(0, half), first, good, bad)?;
                self.salvage(&rows.slice(half, rows.num_rows() - half), first + half, good, bad)?;
            }
        }
        Ok(())
    }
}

fn texts(values: impl Iterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn text(rows: &RecordBatch) -> Result<String> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(rows)?;
    writer.finish()?;
    let json = writer.into_inner();
    let json = json.trim_ascii_end();
    Ok(payload(json, json.len() as u64))
}

impl FileReader for RowReader {
    fn read(&mut self, rows_max: usize) -> Result<Piece> {
        let (mut reader, mut rest) = match self.opened.take() {
            Some(opened) => opened,
            None => ((self.open)(&self.file, &self.wanted, self.n_rows)?, RecordBatch::new_empty(self.wanted.clone())),
        };
        if rest.num_rows() == 0 {
            rest = match reader.next() {
                None => return Ok(Piece::End),
                Some(rows) => rows?,
            };
        }
        let n_taken = rest.num_rows().min(rows_max);
        let taken = rest.slice(0, n_taken);
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        if n_taken > 0 {
            self.salvage(&taken, self.n_rows, &mut good, &mut bad)?;
        }
        self.n_rows += n_taken;
        self.opened = Some((reader, rest.slice(n_taken, rest.num_rows() - n_taken)));
        Ok(Piece::Rows { rows: arrow::compute::concat_batches(&self.wanted, &good)?, bad })
    }

    fn place(&self) -> String {
        self.n_rows.to_string()
    }

    fn offset(&self) -> Option<u64> {
        None
    }
}
