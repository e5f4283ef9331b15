//! Files: `single_file` (one file), `filesystem` and `parquet` (a folder of files, or one Parquet file).
//!
//! Guarantee: exactly once. Rows of an epoch are written to files with hidden names and appear at its commit. In a
//! folder whole files appear, by renaming. A single file is replaced by renaming at the first commit of a
//! run; later commits add to it: text is appended, a Parquet file is rewritten beside and renamed, which is slow for
//! many epochs (use a folder). No half-written file is ever seen under a final name. A pipeline that goes on from a
//! checkpoint keeps what was prepared for it, removes what was prepared later, and cuts a single file to the length
//! that it had.
//!
//! Changes are written as the net change of their epoch, which is held in memory until it is prepared. With a
//! `PRIMARY KEY` a row that replaces another one of its key is one `u`.
//!
//! | option | meaning |
//! |---|---|
//! | `path` | a folder or a file, relative to the pipeline |
//! | `format` | `json`, `debezium_json`, `csv`, `parquet`; by default what the name of the file says, or else `json` for a query that only inserts and `debezium_json` for one that changes rows |
//! | `rows_per_file_max` | when a file in a folder is full, 1 000 000 by default |
//! | `bytes_per_file_max` | the same by size, about 256 MiB by default |
//! | `partition_by` | columns of which each value has a folder of its own, as `country, day` for `country=NO/day=2026-11-25/` |
//! | `csv.header`, `csv.delimiter` | as for reading |

mod folder;
mod part;
mod partition;
mod single;
#[cfg(test)]
pub(crate) mod tests;

use crate::rows::{TextFormat, net_change};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use folder::Folder;
use headwater_core::{
    Batch, Changes, Connector, Epoch, Error, Guarantee, Prepared, Result, Sink, SinkSpec, TableDefinition, TaskContext,
};
use single::Single;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// When a file in a folder is full: a good size for readers that split work by file.
const ROWS_PER_FILE_MAX: usize = 1_000_000;

/// The same by size: what a query engine reads as one piece of work.
const BYTES_PER_FILE_MAX: u64 = 256 << 20;
/// How many subtasks write files into a folder at most; they share nothing.
const PARALLELISM_MAX: usize = 64;

/// One file.
#[derive(Debug)]
pub(crate) struct SingleFile;

/// A folder of files.
#[derive(Debug)]
pub(crate) struct Filesystem;

/// A folder of Parquet files, or one.
#[derive(Debug)]
pub(crate) struct Parquet;

const FORMATS: [&str; 4] = ["json", "debezium_json", "csv", "parquet"];

impl Connector for SingleFile {
    fn name(&self) -> &'static str {
        "single_file"
    }

    fn reads(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        let path = table.options.require("path")?;
        let format = table.options.one_of("format", default_format(path), &FORMATS)?;
        Ok(Arc::new(FilesSpec::new(table, format, true)?))
    }
}

impl Connector for Filesystem {
    fn name(&self) -> &'static str {
        "filesystem"
    }

    fn reads(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        let format = table.options.one_of("format", "json", &FORMATS)?;
        Ok(Arc::new(FilesSpec::new(table, format, false)?))
    }
}

impl Connector for Parquet {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn reads(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        let format = table.options.one_of("format", "parquet", &["parquet"])?;
        let is_file = table.options.require("path")?.ends_with(".parquet");
        Ok(Arc::new(FilesSpec::new(table, format, is_file)?))
    }
}

fn default_format(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "csv")) => "csv",
        Some((_, "parquet")) => "parquet",
        _ => "json",
    }
}

/// How the rows stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Text(TextFormat),
    Parquet,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Text(TextFormat::Csv { .. }) => "csv",
            Self::Text(TextFormat::Json | TextFormat::DebeziumJson) => "jsonl",
        }
    }
}

/// A table of files, as declared.
#[derive(Debug, Clone)]
pub(crate) struct FilesSpec {
    pub(crate) table: String,
    pub(crate) path: PathBuf,
    /// The path as the user wrote it.
    shown: String,
    pub(crate) format: Format,
    pub(crate) schema: SchemaRef,
    /// The columns that stand in the files: all but those of `partition_by`.
    pub(crate) file_schema: SchemaRef,
    /// The columns whose values are names of folders.
    pub(crate) partition_by: Vec<usize>,
    pub(crate) rows_per_file_max: usize,
    pub(crate) bytes_per_file_max: u64,
    /// The columns that name a row.
    pub(crate) key: Vec<usize>,
    is_file: bool,
    /// Whether nobody said which format it is.
    is_free: bool,
}

impl FilesSpec {
    fn new(table: &TableDefinition, format: &str, is_file: bool) -> Result<Self> {
        let options = &table.options;
        let format = match format {
            "parquet" => Format::Parquet,
            text => Format::Text(TextFormat::parse(text, options)?),
        };
        let (mut rows, mut bytes, mut partition_by) = (None, None, Vec::new());
        if !is_file {
            rows = options.parse("rows_per_file_max", "a whole number")?;
            bytes = options.parse("bytes_per_file_max", "a whole number")?;
            partition_by = partition::columns(table)?;
        }
        let is_changing = matches!(format, Format::Text(text) if text.holds_changes());
        if is_changing && !partition_by.is_empty() {
            let error = Error::invalid("partition_by = '…' is for tables of insertions, debezium_json holds changes");
            return Err(error.with_help("leave partition_by out, or write another format"));
        }
        let schema = table.columns()?;
        Ok(Self {
            table: table.name.clone(),
            shown: options.shown("path").unwrap_or_default().to_owned(),
            path: table.base.join(options.require("path")?),
            format,
            file_schema: partition::rest(&schema, &partition_by).1,
            schema,
            rows_per_file_max: rows.unwrap_or(ROWS_PER_FILE_MAX),
            bytes_per_file_max: bytes.unwrap_or(BYTES_PER_FILE_MAX),
            is_free: options.get("format").is_none()
                && format == Format::Text(TextFormat::Json)
                && partition_by.is_empty(),
            partition_by,
            key: table.primary_key.clone(),
            is_file,
        })
    }
}

#[async_trait]
impl SinkSpec for FilesSpec {
    fn describe(&self) -> String {
        format!("{} '{}'", self.format.extension(), self.shown)
    }

    fn changes(&self) -> Changes {
        match self.format {
            Format::Text(text) if text.holds_changes() => Changes::Any,
            _ => Changes::AppendOnly,
        }
    }

    fn for_changes(&self) -> Option<Arc<dyn SinkSpec>> {
        let format = Format::Text(TextFormat::DebeziumJson);
        self.is_free.then(|| Arc::new(Self { format, is_free: false, ..self.clone() }) as _)
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    fn parallelism_max(&self) -> usize {
        // Two subtasks would hold the changes of a row in two files.
        if self.is_file || self.changes() == Changes::Any { 1 } else { PARALLELISM_MAX }
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>> {
        let (spec, context) = (self.clone(), context.clone());
        let opened = tokio::task::spawn_blocking(move || -> Result<Box<dyn Target>> {
            let (holds_changes, key) = (spec.changes() == Changes::Any, spec.key.clone());
            let target: Box<dyn Target> = if spec.is_file {
                Box::new(Single::open(spec, &context)?)
            } else {
                Box::new(Folder::open(spec, &context)?)
            };
            Ok(if holds_changes { Box::new(Folded { target, key, running: Vec::new() }) } else { target })
        });
        let target = opened.await.map_err(|error| headwater_core::Error::internal(error.to_string()))??;
        Ok(Box::new(FilesSink(Arc::new(Mutex::new(target)))))
    }
}

/// What the two kinds of place have in common.
pub(crate) trait Target: Send {
    fn write(&mut self, batch: Batch) -> Result<()>;
    fn prepare(&mut self, epoch: Epoch) -> Result<Prepared>;
    fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()>;
}

/// Holds the changes of the running epoch, so that their net change is what is written.
struct Folded {
    target: Box<dyn Target>,
    key: Vec<usize>,
    running: Vec<Batch>,
}

impl Target for Folded {
    fn write(&mut self, batch: Batch) -> Result<()> {
        self.running.push(batch);
        Ok(())
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        if let Some(net) = net_change(&self.running, &self.key)? {
            self.target.write(net)?;
        }
        self.running.clear();
        self.target.prepare(epoch)
    }

    fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        self.target.commit(epoch, prepared)
    }
}

struct FilesSink(Arc<Mutex<Box<dyn Target>>>);

#[async_trait]
impl Sink for FilesSink {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        crate::blocking(&self.0, |target| target.write(batch)).await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        crate::blocking(&self.0, move |target| target.prepare(epoch)).await
    }

    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        let prepared = prepared.clone();
        crate::blocking(&self.0, move |target| target.commit(epoch, &prepared)).await
    }
}
