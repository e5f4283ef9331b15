//! One file. The first commit of a run renames the epoch's hidden file to the final name; later ones add to it. State:
//! the running epoch's hidden file, and how long the final file will be when everything prepared is committed.

use super::part::{Part, failed, parquet_writer, sync_folder};
use super::{FilesSpec, Format, Target};
use crate::failure;
use headwater_core::{Batch, Epoch, Error, Prepared, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// The file.
pub(super) struct Single {
    spec: FilesSpec,
    open: Option<Part>,
    /// How many bytes (text) or rows (Parquet) stand before the running epoch.
    n_before: u64,
    is_started: bool,
}

/// What a commit needs to know.
#[derive(serde::Serialize, serde::Deserialize)]
struct Token {
    hidden: PathBuf,
    /// Whether it becomes the file, or is added to it.
    is_first: bool,
    n_before: u64,
    n_added: u64,
}

impl Single {
    /// Opens a file, whose folder must exist or can be made.
    pub(super) fn open(spec: FilesSpec) -> Result<Self> {
        if spec.path.is_dir() {
            return Err(Error::conflict(format!("'{}' is a folder, not a file", spec.path.display()))
                .with_help("use connector = 'filesystem' for a folder"));
        }
        if let Some(folder) = spec.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| failure::io("make the folder", folder, error))?;
        }
        Ok(Self { spec, open: None, n_before: 0, is_started: false })
    }

    fn hidden(&self, suffix: &str) -> PathBuf {
        let name = self.spec.path.file_name().unwrap_or_default().to_string_lossy();
        self.spec.path.with_file_name(format!(".{name}.{suffix}.tmp"))
    }

    /// The first epoch of a run makes the file even when it has no row.
    fn part(&mut self) -> Result<&mut Part> {
        if self.open.is_none() {
            self.open = Some(Part::create(self.hidden("running"), &self.spec)?);
        }
        self.open.as_mut().ok_or_else(|| Error::internal("a file that was just opened is gone"))
    }

    fn add(&self, token: &Token) -> Result<()> {
        match self.spec.format {
            Format::Parquet => self.add_parquet(token),
            Format::Text(_) => self.add_text(token),
        }
    }

    fn add_text(&self, token: &Token) -> Result<()> {
        let path = &self.spec.path;
        let at_end = |error| failure::io("write", path, error);
        let mut file = File::options().write(true).open(path).map_err(at_end)?;
        let n_bytes = file.metadata().map_err(at_end)?.len();
        if n_bytes < token.n_before {
            let message = format!("'{}' has {n_bytes} bytes where {} were written", path.display(), token.n_before);
            return Err(Error::conflict(message));
        }
        // What lies after the last commit is the rest of one that failed.
        file.set_len(token.n_before).map_err(at_end)?;
        file.seek(SeekFrom::Start(token.n_before)).map_err(at_end)?;
        let mut added = File::open(&token.hidden).map_err(|error| failure::io("read", &token.hidden, error))?;
        let copied = io::copy(&mut added, &mut file).and_then(|_| file.sync_all());
        copied.map_err(|error| {
            let _ = file.set_len(token.n_before);
            failure::io("write", path, error)
        })
    }

    fn add_parquet(&self, token: &Token) -> Result<()> {
        let merged = self.hidden("merged");
        if n_parquet_rows(&self.spec.path)? >= token.n_before + token.n_added {
            return Ok(());
        }
        let result = self.merge_parquet(&merged, &token.hidden);
        if result.is_err() {
            let _ = fs::remove_file(&merged);
        }
        result
    }

    fn merge_parquet(&self, merged: &Path, added: &Path) -> Result<()> {
        let mut writer = parquet_writer(merged, &self.spec)?;
        for path in [self.spec.path.as_path(), added] {
            let reader = reader(path)?.build().map_err(|error| failed(path, error))?;
            for rows in reader {
                writer.write(&rows?).map_err(|error| failed(merged, error))?;
            }
        }
        let file = writer.into_inner().map_err(|error| failed(merged, error))?;
        file.sync_all().map_err(|error| failure::io("write", merged, error))?;
        fs::rename(merged, &self.spec.path).map_err(|error| failure::io("rename", merged, error))
    }
}

fn reader(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|error| failure::io("read", path, error))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(path, error))
}

fn n_parquet_rows(path: &Path) -> Result<u64> {
    Ok(u64::try_from(reader(path)?.metadata().file_metadata().num_rows()).unwrap_or(0))
}

impl Target for Single {
    fn write(&mut self, batch: Batch) -> Result<()> {
        let is_first = self.n_before == 0;
        self.part()?.write(batch, is_first)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        if !self.is_started {
            self.part()?;
        }
        let Some(part) = self.open.take() else { return Ok(Prepared::default()) };
        let n_rows = part.n_rows as u64;
        let running = part.path().to_owned();
        let closed = part.close()?;
        let hidden = self.hidden(&epoch.to_string());
        fs::rename(&closed, &hidden).map_err(|error| failure::io("rename", &running, error))?;
        let n_added = match self.spec.format {
            Format::Parquet => n_rows,
            Format::Text(_) => hidden.metadata().map_err(|error| failure::io("read", &hidden, error))?.len(),
        };
        let token = Token { hidden, is_first: !self.is_started, n_before: self.n_before, n_added };
        self.n_before += n_added;
        self.is_started = true;
        Ok(Prepared(serde_json::to_value(token).map_err(|error| Error::internal(error.to_string()))?))
    }

    fn commit(&mut self, _: Epoch, prepared: &Prepared) -> Result<()> {
        if prepared.0.is_null() {
            return Ok(());
        }
        let token: Token = serde_json::from_value(prepared.0.clone())
            .map_err(|error| Error::data(format!("the prepared epoch of '{}': {error}", self.spec.table)))?;
        if !token.hidden.exists() {
            return Ok(());
        }
        if token.is_first {
            let renamed = fs::rename(&token.hidden, &self.spec.path);
            renamed.map_err(|error| failure::io("rename", &token.hidden, error))?;
        } else {
            self.add(&token)?;
            fs::remove_file(&token.hidden).map_err(|error| failure::io("remove", &token.hidden, error))?;
        }
        sync_folder(&self.spec.path)
    }
}
