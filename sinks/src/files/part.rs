//! A file that is being written under a hidden name. It goes away when it is dropped before it is closed: what is not
//! prepared leaves nothing behind. State: the file and the writer's row group, which Parquet bounds.

use super::{FilesSpec, Format};
use crate::failure;
use crate::rows::{TextFormat, insertions};
use headwater_core::{Batch, Error, Result};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A hidden file.
pub(super) struct Part {
    path: PathBuf,
    body: Option<Body>,
    key: Vec<usize>,
    pub(super) n_rows: usize,
    /// How many bytes of text are written.
    n_text_bytes: u64,
}

enum Body {
    Parquet(Box<ArrowWriter<File>>),
    Text(TextFormat, File, Vec<u8>),
}

/// Makes the error of a failed Parquet write.
pub(super) fn failed(path: &Path, error: ParquetError) -> Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(error) => failure::io("write", path, *error),
            Err(cause) => Error::invalid(format!("cannot write '{}': {cause}", path.display())),
        },
        other => Error::invalid(format!("cannot write '{}': {other}", path.display())),
    }
}

/// Makes a writer of Parquet files as Headwater writes them.
pub(super) fn parquet_writer(path: &Path, spec: &FilesSpec) -> Result<ArrowWriter<File>> {
    let file = File::create(path).map_err(|error| failure::io("write", path, error))?;
    let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    ArrowWriter::try_new(file, spec.file_schema.clone(), Some(properties.build())).map_err(|error| failed(path, error))
}

impl Part {
    /// How many rows are written before somebody asks again how long the file is.
    pub(super) const ROWS_AT_ONCE: usize = 8192;

    /// Starts a file.
    pub(super) fn create(path: PathBuf, spec: &FilesSpec) -> Result<Self> {
        let body = match spec.format {
            Format::Parquet => Body::Parquet(Box::new(parquet_writer(&path, spec)?)),
            Format::Text(text) => {
                let file = File::create(&path).map_err(|error| failure::io("write", &path, error))?;
                Body::Text(text, file, Vec::new())
            }
        };
        Ok(Self { path, body: Some(body), key: spec.key.clone(), n_rows: 0, n_text_bytes: 0 })
    }

    /// Returns how long it is about.
    pub(super) fn n_bytes(&self) -> u64 {
        match &self.body {
            Some(Body::Parquet(writer)) => (writer.bytes_written() + writer.in_progress_size()) as u64,
            _ => self.n_text_bytes,
        }
    }

    /// Adds rows; `is_first` is whether they will be the first of the final file.
    pub(super) fn write(&mut self, batch: Batch, is_first: bool) -> Result<()> {
        let n_before = self.n_rows;
        self.n_rows += batch.n_rows();
        match &mut self.body {
            Some(Body::Parquet(writer)) => {
                let rows = insertions(batch, &self.path.display().to_string())?;
                writer.write(&rows).map_err(|error| failed(&self.path, error))
            }
            Some(Body::Text(format, file, buffer)) => {
                let batch = match format.holds_changes() {
                    true => batch,
                    false => Batch::append_only(insertions(batch, &self.path.display().to_string())?),
                };
                buffer.clear();
                format.write(&batch, &self.key, is_first && n_before == 0, buffer)?;
                self.n_text_bytes += buffer.len() as u64;
                file.write_all(buffer).map_err(|error| failure::io("write", &self.path, error))
            }
            None => Err(Error::internal("rows for a file that is closed")),
        }
    }

    /// Ends the file and makes it durable; returns where it is.
    pub(super) fn close(mut self) -> Result<PathBuf> {
        let file = match self.body.take() {
            Some(Body::Text(_, file, _)) => file,
            Some(Body::Parquet(writer)) => writer.into_inner().map_err(|error| failed(&self.path, error))?,
            None => return Err(Error::internal("a file was closed twice")),
        };
        if let Err(error) = file.sync_all() {
            let _ = fs::remove_file(&self.path);
            return Err(failure::io("write", &self.path, error));
        }
        Ok(self.path.clone())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.body.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Makes new names in the folder of `path` durable.
pub(super) fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| failure::io("write", folder, error))
}
