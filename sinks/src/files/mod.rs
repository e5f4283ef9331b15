//! Files: `single_file` (one file), `filesystem` and `parquet` (a folder of files, or one Parquet file).
//!
//! Guarantee: rows of an epoch are written to files with hidden names and appear at its commit, exactly once within a
//! run. In a folder whole files appear, by renaming. A single file is replaced by renaming at the first commit of a
//! run; later commits add to it: text is appended, a Parquet file is rewritten beside and renamed, which is slow for
//! many epochs (use a folder). No half-written file is ever seen under a final name.
//!
//! Changes are written as the net change of their epoch, which is held in memory until it is prepared. With a
//! `PRIMARY KEY` a row that replaces another one of its key is one `u`.
//!
//! | option | meaning |
//! |---|---|
//! | `path` | a folder or a file, relative to the pipeline |
//! | `format` | `json`, `debezium_json`, `csv`, `parquet`; by default what the name of the file says, or else `json` for a query that only inserts and `debezium_json` for one that changes rows |
//! | `rows_per_file_max` | when a file in a folder is full, 1 000 000 by default |
//! | `csv.header`, `csv.delimiter` | as for reading |

mod folder;
mod part;
mod single;
#[cfg(test)]
mod tests;

use crate::rows::{TextFormat, net_change};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use folder::Folder;
use headwater_core::{
    Batch, Changes, Connector, Epoch, Prepared, Result, Sink, SinkSpec, TableDefinition, TaskContext,
};
use single::Single;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// When a file in a folder is full: a good size for readers that split work by file.
const ROWS_PER_FILE_MAX: usize = 1_000_000;

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
    pub(crate) rows_per_file_max: usize,
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
        let rows = if is_file { None } else { options.parse("rows_per_file_max", "a whole number")? };
        Ok(Self {
            table: table.name.clone(),
            shown: options.shown("path").unwrap_or_default().to_owned(),
            path: table.base.join(options.require("path")?),
            format,
            schema: table.columns()?,
            rows_per_file_max: rows.unwrap_or(ROWS_PER_FILE_MAX),
            key: table.primary_key.clone(),
            is_file,
            is_free: options.get("format").is_none() && format == Format::Text(TextFormat::Json),
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

    async fn open(&self, _: &TaskContext) -> Result<Box<dyn Sink>> {
        let spec = self.clone();
        let opened = tokio::task::spawn_blocking(move || -> Result<Box<dyn Target>> {
            let (holds_changes, key) = (spec.changes() == Changes::Any, spec.key.clone());
            let target: Box<dyn Target> =
                if spec.is_file { Box::new(Single::open(spec)?) } else { Box::new(Folder::open(spec)?) };
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
