//! One process runs a pipeline at a time: a lock of the operating system on a file of the state folder, which is gone
//! with the process however it ends.

use super::StateStore;
use headwater_core::{Error, Result};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;

/// Held while a pipeline runs; the lock ends when it is dropped.
#[derive(Debug)]
pub struct StateLock(#[expect(dead_code, reason = "the lock is the open file")] Option<File>);

impl StateStore {
    /// Makes sure that nobody else runs the pipeline with the same state. In a bucket there is nothing to lock: there the
    /// manifest that can be created only once stops the second process.
    ///
    /// # Errors
    /// `Conflict` when another process runs it.
    pub async fn lock(&self) -> Result<StateLock> {
        let Some(folder) = self.folder.clone() else { return Ok(StateLock(None)) };
        let pipeline = self.pipeline.clone();
        let locked = tokio::task::spawn_blocking(move || lock(&folder, &pipeline)).await;
        locked.map_err(|error| Error::internal(format!("locking the state ended early: {error}")))?
    }
}

fn lock(folder: &Path, pipeline: &str) -> Result<StateLock> {
    let path = folder.join("lock");
    let cannot = |error| Error::io(format!("cannot lock '{}'", path.display()), error);
    fs::create_dir_all(folder).map_err(cannot)?;
    // Not emptied: the number of the process that holds it is in there.
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = if holder.trim().is_empty() { "unknown" } else { holder.trim() };
            let message = format!("pipeline '{pipeline}' is running already (process {holder})");
            return Err(Error::conflict(message).with_help("stop it first, or use another state folder"));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(cannot)?;
    Ok(StateLock(Some(file)))
}
