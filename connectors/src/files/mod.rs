//! Files: `single_file` (one file), `filesystem` (a folder or a glob) and `parquet` (the same, always Parquet).
//!
//! Each file is a partition, and files are read one after the other in the order of their names. What is bad in a file
//! of records becomes a dead letter each; a file that is corrupt as a whole ends the pipeline with its name.
//!
//! Guarantee: exactly once. A position names for each file the byte (or row) after the last one that was returned, how
//! long the file was, and hashes of its first bytes and of those before the place: a file that was cut or replaced
//! since is not gone on with. A packed file is unpacked again up to the place.
//!
//! | option | meaning |
//! |---|---|
//! | `path` | a file; for `filesystem` and `parquet` a folder or a glob; relative to the pipeline |
//! | `mode` | `bounded` (default): the files that are there when the source is opened; `tail`: files that appear later are read too, and text that is not packed may grow; a last line without its line break is left until it is finished |
//! | `format` | `avro`, `csv`, `json`, `parquet`, `raw_string`, `raw_bytes`, `raw`; by default what the name says |
//! | `compression` | `none`, `gzip`, `zstd`, or `auto` (default): by the name, `.gz` or `.zst` |
//! | `bad_data` | `dead_letter` (default), `fail`, `drop` |
//! | `record_bytes_max` | the longest record, 1 MiB by default; a longer one is a dead letter |
//! | `csv.header`, `csv.delimiter`, `csv.quote`, `csv.null_value` | see `formats` |
//! | `json.timestamp_format` | `rfc3339` (default), `unix_seconds`, `unix_millis`, `unix_micros` or `unix_nanos` |
//! | `json.unstructured` | `true`: a line is one JSON value, kept as text in the only column |
//!
//! `METADATA FROM` knows `path` (the file) and `position` (the file, and the byte or row in it).

mod avro;
mod compression;
mod entry;
mod identity;
mod lines;
mod listing;
mod parquet;
mod source;
#[cfg(test)]
mod tests;

use crate::formats::metadata::{PATH, POSITION};
use crate::formats::records::{Cutting, Tail};
use crate::formats::{BadData, FormatKind, LineFormat};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use compression::Compression;
use headwater_core::{Connector, Error, Result, Source, SourceSpec, TableDefinition, TaskContext};
use listing::Listing;
use std::sync::Arc;

/// One file.
#[derive(Debug)]
pub(crate) struct SingleFile;

/// A folder or a glob.
#[derive(Debug)]
pub(crate) struct Filesystem;

/// A Parquet file, a folder of them or a glob.
#[derive(Debug)]
pub(crate) struct Parquet;

impl Connector for SingleFile {
    fn name(&self) -> &'static str {
        "single_file"
    }

    fn writes(&self) -> bool {
        false
    }

    fn metadata_keys(&self) -> &'static [&'static str] {
        &[PATH, POSITION]
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        let kind = FormatKind::parse(&table.options, table.options.require("path")?)?;
        Ok(Arc::new(FilesSpec::new(table, self.name(), kind)?))
    }
}

impl Connector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn writes(&self) -> bool {
        false
    }

    fn metadata_keys(&self) -> &'static [&'static str] {
        &[PATH, POSITION]
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        let kind = FormatKind::parse(&table.options, table.options.require("path")?)?;
        Ok(Arc::new(FilesSpec::new(table, self.name(), kind)?))
    }
}

impl Connector for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn writes(&self) -> bool {
        false
    }

    fn metadata_keys(&self) -> &'static [&'static str] {
        &[PATH, POSITION]
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        table.options.one_of("format", "parquet", &["parquet"])?;
        Ok(Arc::new(FilesSpec::new(table, self.name(), FormatKind::Parquet)?))
    }
}

/// How a file is read.
#[derive(Debug, Clone)]
enum FileFormat {
    Lines { format: LineFormat, cutting: Cutting, compression: Compression },
    Parquet,
    Avro,
}

/// Whether files may come and grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bounded,
    Tail,
}

/// How many subtasks follow a folder at most: what is in it later is not known.
const TAIL_PARALLELISM_MAX: usize = 16;

/// A table of files, as declared.
#[derive(Debug, Clone)]
pub(crate) struct FilesSpec {
    connector: &'static str,
    table: String,
    /// The path as it may be shown.
    path: String,
    listing: Listing,
    format: FileFormat,
    kind: FormatKind,
    bad_data: BadData,
    mode: Mode,
    /// All columns.
    declared: SchemaRef,
    /// The columns that are read.
    wanted: SchemaRef,
}

impl FilesSpec {
    fn new(table: &TableDefinition, connector: &'static str, kind: FormatKind) -> Result<Self> {
        let listing = Listing::new(table.options.require("path")?, &table.base, connector != "single_file");
        let declared = match &table.schema {
            None if kind == FormatKind::Parquet => parquet::schema_of(&listing.files()?[0])?,
            _ => table.columns()?,
        };
        let format = match LineFormat::parse(kind, &table.options, &declared)? {
            None if kind == FormatKind::Avro => FileFormat::Avro,
            None => FileFormat::Parquet,
            Some(format) => FileFormat::Lines {
                cutting: format.cutting(&table.options, Tail::Record)?,
                format,
                compression: Compression::parse(&table.options)?,
            },
        };
        let bad_data = BadData::parse(&table.options)?;
        let mode = match table.options.one_of("mode", "bounded", &["bounded", "tail"])? {
            "tail" => Mode::Tail,
            _ => Mode::Bounded,
        };
        let wanted = declared.clone();
        let path = table.options.shown("path").unwrap_or_default().to_owned();
        Ok(Self { connector, table: table.name.clone(), path, listing, format, kind, bad_data, mode, declared, wanted })
    }
}

#[async_trait]
impl SourceSpec for FilesSpec {
    fn describe(&self) -> String {
        let names: Vec<&str> = self.wanted.fields().iter().map(|field| field.name().as_str()).collect();
        let tail = if self.mode == Mode::Tail { " (tail)" } else { "" };
        format!("{} {} '{}'{tail} [{}]", self.connector, self.kind.name(), self.path, names.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.wanted.clone()
    }

    fn project(&self, columns: &[usize]) -> Option<Arc<dyn SourceSpec>> {
        let can = match &self.format {
            FileFormat::Parquet | FileFormat::Avro => true,
            FileFormat::Lines { format, .. } => format.can_project(),
        };
        let mut distinct = columns.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        // Rows without columns would lose their number.
        if !can || columns.is_empty() || distinct.len() < columns.len() {
            return None;
        }
        let fields: Option<Vec<_>> = columns.iter().map(|at| self.wanted.fields().get(*at).cloned()).collect();
        Some(Arc::new(Self { wanted: Arc::new(Schema::new(fields?)), ..self.clone() }))
    }

    fn parallelism_max(&self) -> usize {
        match self.mode {
            Mode::Tail if self.connector == "single_file" => 1,
            Mode::Tail => TAIL_PARALLELISM_MAX,
            Mode::Bounded => self.listing.files().map_or(1, |files| files.len().max(1)),
        }
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        let at = |error: Error| error.at(format!("table {}", self.table));
        let list = || if self.mode == Mode::Tail { self.listing.files_or_none() } else { self.listing.files() };
        let files = crate::blocking::run(list).map_err(at)?;
        Ok(Box::new(source::FilesSource::new(self.clone(), files, context).map_err(at)?))
    }
}
