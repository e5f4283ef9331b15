//! One file. The first commit of a run renames the epoch's hidden file to the final name; later ones add to it. A token
//! holds how long the file is before and after its epoch, so that a commit can be repeated by another process: what
//! lies after the length of the checkpoint is void and is cut off.
//!
//! State: the running epoch's hidden file, and how long the final file will be when everything prepared is committed.

use super::part::{Part, failed, parquet_writer, sync_folder};
use super::{FilesSpec, Format, Target};
use crate::failure;
use headwater_core::{Batch, Epoch, Error, Prepared, Result, TaskContext};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What helps when the file is not as long as it was.
const PUT_BACK: &str = "the file was changed or replaced: put it back, or start the pipeline anew";

/// The file.
pub(super) struct Single {
    spec: FilesSpec,
    open: Option<Part>,
    /// How many bytes (text) or rows (Parquet) stand before the running epoch.
    n_before: u64,
    is_started: bool,
    restored: Option<Epoch>,
}

/// What a commit needs to know.
#[derive(serde::Serialize, serde::Deserialize)]
struct Token {
    /// The name of the hidden file; none for an epoch without rows.
    hidden: Option<String>,
    /// Whether it becomes the file, or is added to it.
    is_first: bool,
    n_before: u64,
    n_added: u64,
}

impl Single {
    /// Opens a file, whose folder must exist or can be made, and removes what an earlier run left unfinished.
    pub(super) fn open(spec: FilesSpec, context: &TaskContext) -> Result<Self> {
        if spec.path.is_dir() {
            return Err(Error::conflict(format!("'{}' is a folder, not a file", spec.path.display()))
                .with_help("use connector = 'filesystem' for a folder"));
        }
        if let Some(folder) = spec.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder).map_err(|error| failure::io("make the folder", folder, error))?;
        }
        let single = Self { spec, open: None, n_before: 0, is_started: false, restored: context.restored };
        single.clear()?;
        Ok(single)
    }

    fn name(&self) -> String {
        self.spec.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn hidden_name(&self, suffix: &str) -> String {
        format!(".{}.{suffix}.tmp", self.name())
    }

    fn hidden(&self, suffix: &str) -> PathBuf {
        self.spec.path.with_file_name(self.hidden_name(suffix))
    }

    /// Removes hidden files of this file that no checkpoint names.
    fn clear(&self) -> Result<()> {
        let folder = self.spec.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let start = format!(".{}.", self.name());
        for entry in folder.read_dir().map_err(|error| failure::io("list", folder, error))? {
            let entry = entry.map_err(|error| failure::io("list", folder, error))?;
            let name = entry.file_name();
            let Some(suffix) = name.to_str().and_then(|name| name.strip_prefix(&start)?.strip_suffix(".tmp")) else {
                continue;
            };
            let is_void = match suffix.parse::<u64>() {
                Ok(epoch) => self.restored.is_none_or(|restored| restored.0 != epoch),
                Err(_) => ["running", "merged"].contains(&suffix),
            };
            if is_void {
                fs::remove_file(entry.path()).map_err(|error| failure::io("remove", &entry.path(), error))?;
            }
        }
        Ok(())
    }

    fn part(&mut self) -> Result<&mut Part> {
        if self.open.is_none() {
            self.open = Some(Part::create(self.hidden("running"), &self.spec)?);
        }
        self.open.as_mut().ok_or_else(|| Error::internal("a file that was just opened is gone"))
    }

    fn add(&self, token: &Token, hidden: &Path) -> Result<()> {
        match self.spec.format {
            Format::Parquet => self.add_parquet(token, hidden),
            Format::Text(_) => self.add_text(token, hidden),
        }
    }

    fn shorter(&self, n_found: u64, n_wanted: u64) -> Error {
        let what = if self.spec.format == Format::Parquet { "rows" } else { "bytes" };
        let message = format!("'{}' has {n_found} {what} where {n_wanted} were written", self.spec.path.display());
        Error::data(message).with_help(PUT_BACK)
    }

    fn open_text(&self, n_wanted: u64) -> Result<File> {
        let path = &self.spec.path;
        let file = match File::options().write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.shorter(0, n_wanted)),
            opened => opened.map_err(|error| failure::io("write", path, error))?,
        };
        let n_bytes = file.metadata().map_err(|error| failure::io("read", path, error))?.len();
        if n_bytes < n_wanted {
            return Err(self.shorter(n_bytes, n_wanted));
        }
        Ok(file)
    }

    fn add_text(&self, token: &Token, hidden: &Path) -> Result<()> {
        let path = &self.spec.path;
        let mut file = self.open_text(token.n_before)?;
        let at_end = |error| failure::io("write", path, error);
        // What lies after the last commit is the rest of one that failed.
        file.set_len(token.n_before).map_err(at_end)?;
        file.seek(SeekFrom::Start(token.n_before)).map_err(at_end)?;
        let mut added = File::open(hidden).map_err(|error| failure::io("read", hidden, error))?;
        let copied = io::copy(&mut added, &mut file).and_then(|_| file.sync_all());
        copied.map_err(|error| {
            let _ = file.set_len(token.n_before);
            failure::io("write", path, error)
        })
    }

    fn add_parquet(&self, token: &Token, hidden: &Path) -> Result<()> {
        let n_rows = self.n_parquet_rows(token.n_before)?;
        if n_rows == token.n_before + token.n_added {
            return Ok(());
        }
        if n_rows > token.n_before {
            return Err(self.shorter(n_rows, token.n_before));
        }
        let merged = self.hidden("merged");
        let result = self.merge_parquet(&merged, hidden);
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

    fn n_parquet_rows(&self, n_wanted: u64) -> Result<u64> {
        if !self.spec.path.exists() {
            return Err(self.shorter(0, n_wanted));
        }
        let metadata = reader(&self.spec.path)?.metadata().clone();
        let n_rows = u64::try_from(metadata.file_metadata().num_rows()).unwrap_or(0);
        if n_rows < n_wanted { Err(self.shorter(n_rows, n_wanted)) } else { Ok(n_rows) }
    }

    /// Checks that an epoch which an earlier process committed is there, and cuts off what came after it.
    fn check_committed(&self, n_wanted: u64) -> Result<()> {
        if self.spec.format == Format::Parquet {
            return match self.n_parquet_rows(n_wanted)? {
                n_rows if n_rows > n_wanted => Err(self.shorter(n_rows, n_wanted)),
                _ => Ok(()),
            };
        }
        let cut = self.open_text(n_wanted)?;
        cut.set_len(n_wanted)
            .and_then(|()| cut.sync_all())
            .map_err(|error| failure::io("write", &self.spec.path, error))
    }
}

fn reader(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = File::open(path).map_err(|error| failure::io("read", path, error))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| failed(path, error))
}

impl Target for Single {
    fn write(&mut self, batch: Batch) -> Result<()> {
        let is_first = self.n_before == 0;
        self.part()?.write(batch, is_first)
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        // The first epoch of a run makes the file even when it has no row.
        if !self.is_started {
            self.part()?;
        }
        let mut token = Token { hidden: None, is_first: !self.is_started, n_before: self.n_before, n_added: 0 };
        if let Some(part) = self.open.take() {
            let n_rows = part.n_rows as u64;
            let closed = part.close()?;
            let hidden = self.hidden(&epoch.to_string());
            fs::rename(&closed, &hidden).map_err(|error| failure::io("rename", &closed, error))?;
            token.n_added = match self.spec.format {
                Format::Parquet => n_rows,
                Format::Text(_) => hidden.metadata().map_err(|error| failure::io("read", &hidden, error))?.len(),
            };
            sync_folder(&hidden)?;
            token.hidden = Some(self.hidden_name(&epoch.to_string()));
        }
        self.n_before += token.n_added;
        self.is_started = true;
        Ok(Prepared(serde_json::to_value(token).map_err(|error| Error::internal(error.to_string()))?))
    }

    fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        let token: Token = serde_json::from_value(prepared.0.clone())
            .map_err(|error| Error::data(format!("the prepared epoch of '{}': {error}", self.spec.table)))?;
        let hidden = token.hidden.as_ref().map(|name| self.spec.path.with_file_name(name));
        match hidden.filter(|hidden| hidden.exists()) {
            Some(hidden) if token.is_first => {
                fs::rename(&hidden, &self.spec.path).map_err(|error| failure::io("rename", &hidden, error))?;
                sync_folder(&self.spec.path)?;
            }
            Some(hidden) => {
                self.add(&token, &hidden)?;
                fs::remove_file(&hidden).map_err(|error| failure::io("remove", &hidden, error))?;
                sync_folder(&self.spec.path)?;
            }
            None if self.restored == Some(epoch) => self.check_committed(token.n_before + token.n_added)?,
            None => {}
        }
        if self.restored == Some(epoch) {
            self.n_before = token.n_before + token.n_added;
            self.is_started = true;
        }
        Ok(())
    }
}
