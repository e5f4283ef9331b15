//! A folder of files, each of one epoch: `part-<run>-<epoch>-<writer>-<subtask>-<number>.<format>`, below a folder
//! `column=value` for each column of `partition_by`.
//!
//! A run is one opening; with the writer (a hash of pipeline and node) and the subtask it makes a name that no other
//! file has. A file is written as `.running-…`, closed and renamed to `.part-….tmp` when its epoch is prepared, and
//! gets its name at the commit; all hidden ones lie in the folder itself. State: the open files, at most
//! [`OPEN_FILES_MAX`], and the closed ones of the running epoch.

use super::FilesSpec;
use super::part::{Part, sync_folder};
use super::partition::Partitioned;
use crate::failure;
use headwater_core::{Batch, Epoch, Error, Prepared, Result, TaskContext};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Target;

/// How many files are open at once: rows of more partitions than this begin new files.
const OPEN_FILES_MAX: usize = 128;

/// The folder.
pub(super) struct Folder {
    spec: FilesSpec,
    partitioned: Partitioned,
    /// Whose files they are: pipeline and node.
    writer: String,
    subtask: usize,
    run: u64,
    /// The open file of each subfolder.
    open: BTreeMap<String, Part>,
    closed: Vec<Closed>,
    n_parts: u64,
}

/// A file that is complete, and the subfolder that it belongs to.
struct Closed {
    path: PathBuf,
    subfolder: String,
}

/// A file of a prepared epoch.
#[derive(serde::Serialize, serde::Deserialize)]
struct Ready {
    /// Its name while it is hidden, and the one that it gets, both relative to the folder.
    hidden: String,
    visible: String,
    bytes: u64,
}

impl Folder {
    /// Opens a folder, which is made when it is missing, and removes what an earlier run left unfinished.
    pub(super) fn open(spec: FilesSpec, context: &TaskContext) -> Result<Self> {
        fs::create_dir_all(&spec.path).map_err(|error| failure::io("make the folder", &spec.path, error))?;
        let writer = writer(&context.pipeline, &context.node);
        clear(&spec.path, &writer, context)?;
        let run = newest_run(&spec.path, spec.partition_by.len())? + 1;
        let partitioned = Partitioned::new(&spec)?;
        let (open, closed) = (BTreeMap::new(), Vec::new());
        Ok(Self { spec, partitioned, writer, subtask: context.subtask, run, open, closed, n_parts: 0 })
    }

    fn roll(&mut self, subfolder: &str) -> Result<()> {
        if let Some(part) = self.open.remove(subfolder) {
            self.closed.push(Closed { path: part.close()?, subfolder: subfolder.to_owned() });
        }
        Ok(())
    }

    fn roll_all(&mut self) -> Result<()> {
        while let Some((subfolder, part)) = self.open.pop_first() {
            self.closed.push(Closed { path: part.close()?, subfolder });
        }
        Ok(())
    }

    /// Returns the file that the next row of a subfolder goes into.
    fn part(&mut self, subfolder: &str) -> Result<&mut Part> {
        let is_full =
            |part: &Part| part.n_rows >= self.spec.rows_per_file_max || part.n_bytes() >= self.spec.bytes_per_file_max;
        if self.open.get(subfolder).is_some_and(is_full) {
            self.roll(subfolder)?;
        }
        if !self.open.contains_key(subfolder) {
            if self.open.len() >= OPEN_FILES_MAX {
                self.roll_all()?;
            }
            self.n_parts += 1;
            let name = format!(".running-{:05}-{}-{}-{}.tmp", self.run, self.writer, self.subtask, self.n_parts);
            let part = Part::create(self.spec.path.join(name), &self.spec)?;
            self.open.insert(subfolder.to_owned(), part);
        }
        self.open.get_mut(subfolder).ok_or_else(|| Error::internal("a file that was just opened is gone"))
    }

    fn write_rows(&mut self, subfolder: &str, batch: &Batch) -> Result<()> {
        let mut at = 0;
        while at < batch.n_rows() {
            let n_max = self.spec.rows_per_file_max;
            let part = self.part(subfolder)?;
            let n_rows = (n_max - part.n_rows.min(n_max)).clamp(1, batch.n_rows() - at).min(Part::ROWS_AT_ONCE);
            part.write(batch.slice(at, n_rows), true)?;
            at += n_rows;
        }
        Ok(())
    }
}

impl Target for Folder {
    fn write(&mut self, batch: Batch) -> Result<()> {
        if self.spec.partition_by.is_empty() {
            return self.write_rows("", &batch);
        }
        for (subfolder, rows) in self.partitioned.split(batch)? {
            self.write_rows(&subfolder, &rows)?;
        }
        Ok(())
    }

    fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        self.roll_all()?;
        let mut files = Vec::with_capacity(self.closed.len());
        for (number, closed) in self.closed.iter_mut().enumerate() {
            let (run, writer, subtask) = (self.run, &self.writer, self.subtask);
            let extension = self.spec.format.extension();
            let name = format!("part-{run:05}-{:08}-{writer}-{subtask}-{number:03}.{extension}", epoch.0);
            let hidden = format!(".{name}.tmp");
            let path = self.spec.path.join(&hidden);
            fs::rename(&closed.path, &path).map_err(|error| failure::io("rename", &closed.path, error))?;
            closed.path = path;
            let bytes = closed.path.metadata().map_err(|error| failure::io("read", &closed.path, error))?.len();
            let visible = if closed.subfolder.is_empty() { name } else { format!("{}/{name}", closed.subfolder) };
            files.push(Ready { hidden, visible, bytes });
        }
        sync_folder(&self.spec.path.join("."))?;
        self.closed.clear();
        let files = serde_json::to_value(files).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Prepared(serde_json::json!({ "files": files })))
    }

    fn commit(&mut self, _: Epoch, prepared: &Prepared) -> Result<()> {
        let wrong = |error| Error::data(format!("the prepared epoch of '{}': {error}", self.spec.table));
        let files = prepared.0.get("files").cloned().unwrap_or_default();
        let files: Vec<Ready> = serde_json::from_value(files).map_err(wrong)?;
        let mut folders: Vec<PathBuf> = Vec::new();
        for file in &files {
            let (hidden, visible) = (self.spec.path.join(&file.hidden), self.spec.path.join(&file.visible));
            let folder = visible.parent().unwrap_or(&self.spec.path).to_owned();
            show(&hidden, &visible, file.bytes)?;
            if !folders.contains(&folder) && folder.is_dir() {
                folders.push(folder);
            }
        }
        // A new subfolder is a new name in the one above it.
        for folder in &folders {
            let above = folder.ancestors().take_while(|above| above.starts_with(&self.spec.path));
            above.into_iter().try_for_each(|folder| sync_folder(&folder.join(".")))?;
        }
        Ok(())
    }
}

/// Gives a prepared file its name, unless it has it already.
fn show(hidden: &Path, visible: &Path, n_bytes: u64) -> Result<()> {
    match hidden.metadata() {
        Ok(metadata) if metadata.len() == n_bytes => {
            let folder = visible.parent().unwrap_or(visible);
            fs::create_dir_all(folder).map_err(|error| failure::io("make the folder", folder, error))?;
            fs::rename(hidden, visible).map_err(|error| failure::io("rename", hidden, error))
        }
        Ok(metadata) => {
            let (path, n_found) = (hidden.display(), metadata.len());
            Err(Error::data(format!("'{path}' has {n_found} bytes, {n_bytes} were prepared")))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            // Only a commit takes the hidden name away. Somebody may have fetched the file since.
            if !visible.exists() {
                tracing::warn!(file = %visible.display(), "a file that was committed is not there any more");
            }
            Ok(())
        }
        Err(error) => Err(failure::io("read", hidden, error)),
    }
}

/// Returns what marks the files of a node: the same in every run, and of every version.
fn writer(pipeline: &str, node: &str) -> String {
    // FNV-1a.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in pipeline.bytes().chain([0]).chain(node.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}

/// A hidden file of ours.
struct Hidden {
    run: u64,
    /// `None` for a file that was being written.
    epoch: Option<u64>,
    writer: String,
    subtask: usize,
}

impl Hidden {
    fn parse(name: &str) -> Option<Self> {
        let name = name.strip_prefix('.')?.strip_suffix(".tmp")?;
        let parts: Vec<&str> = name.split('-').collect();
        let (run, epoch, rest) = match parts.as_slice() {
            ["running", run, rest @ ..] => (run, None, rest),
            ["part", run, epoch, rest @ ..] => (run, Some(epoch.parse().ok()?), rest),
            _ => return None,
        };
        let [writer, subtask, _] = rest else { return None };
        Some(Self { run: run.parse().ok()?, epoch, writer: (*writer).to_owned(), subtask: subtask.parse().ok()? })
    }
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = folder.read_dir().map_err(|error| failure::io("list", folder, error))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    names.collect::<Result<_, _>>().map_err(|error| failure::io("list", folder, error))
}

/// Removes hidden files of the same node that no checkpoint names: all but those of the restored epoch. Each subtask
/// looks after its share of the former ones, so that none removes what another one is writing already.
fn clear(folder: &Path, writer: &str, context: &TaskContext) -> Result<()> {
    for name in names(folder)? {
        let Some(hidden) = Hidden::parse(&name).filter(|hidden| hidden.writer == writer) else { continue };
        let is_mine = hidden.subtask % context.parallelism.max(1) == context.subtask;
        let is_named = hidden.epoch.is_some() && hidden.epoch == context.restored.map(|epoch| epoch.0);
        if is_mine && !is_named {
            let path = folder.join(&name);
            fs::remove_file(&path).map_err(|error| failure::io("remove", &path, error))?;
        }
    }
    Ok(())
}

/// Returns the greatest number of a run in a folder and in the folders of its partitions.
fn newest_run(folder: &Path, depth: usize) -> Result<u64> {
    let mut newest = 0;
    for name in names(folder)? {
        let visible = name.strip_prefix("part-").and_then(|name| name.split('-').next()?.parse().ok());
        newest = newest.max(visible.or_else(|| Hidden::parse(&name).map(|hidden| hidden.run)).unwrap_or(0));
        let below = folder.join(&name);
        if depth > 0 && name.contains('=') && below.is_dir() {
            newest = newest.max(newest_run(&below, depth - 1)?);
        }
    }
    Ok(newest)
}
