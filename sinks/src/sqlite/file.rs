//! What all sinks of this process on one SQLite file share: their turns on it, and who they are.
//!
//! State: for each file that is open, its members. A member that is gone is forgotten at the next turn.

use super::SqliteSpec;
use super::failure::sql;
use headwater_core::{Epoch, Error};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

/// The files, as long as a sink has them open.
static FILES: LazyLock<Mutex<HashMap<PathBuf, Weak<File>>>> = LazyLock::new(Mutex::default);

/// A sink as the others of its file know it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) spec: SqliteSpec,
    pub(super) pipeline: String,
    pub(super) name: String,
    /// The number of this run.
    pub(super) run: i64,
    /// The staging table, quoted.
    pub(super) staging: String,
    /// Whether the file knew nothing of it when it was opened.
    pub(super) is_new: bool,
    /// The newest epoch that it has prepared.
    pub(super) prepared: AtomicU64,
}

impl Node {
    /// Returns the name of the staging table.
    pub(super) fn staging_name(&self) -> String {
        format!("_headwater_staged_{}_{}", self.pipeline, self.name)
    }

    /// Makes the error of a failed call.
    pub(super) fn failed(&self, error: rusqlite::Error) -> Error {
        sql(&self.spec.path, error)
    }
}

/// A file that sinks have open.
#[derive(Debug, Default)]
pub(super) struct File(Mutex<Members>);

impl File {
    /// Returns the file at a path.
    pub(super) fn at(path: &Path) -> Arc<Self> {
        let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        files.retain(|_, file| file.strong_count() > 0);
        if let Some(file) = files.get(&name).and_then(Weak::upgrade) {
            return file;
        }
        let file = Arc::<Self>::default();
        files.insert(name, Arc::downgrade(&file));
        file
    }

    /// Waits for the turn: as long as the answer is held, no other sink of this process uses the file.
    pub(super) fn take_turn(&self) -> MutexGuard<'_, Members> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sinks on a file.
#[derive(Debug, Default)]
pub(super) struct Members(Vec<Weak<Node>>);

impl Members {
    /// Adds a sink.
    pub(super) fn join(&mut self, node: &Arc<Node>) {
        self.0.retain(|member| member.strong_count() > 0);
        self.0.push(Arc::downgrade(node));
    }

    /// Returns the other sinks of a node's pipeline that have prepared an epoch.
    pub(super) fn beside(&self, node: &Node, epoch: Epoch) -> Vec<Arc<Node>> {
        let members = self.0.iter().filter_map(Weak::upgrade);
        let fits = |other: &Arc<Node>| {
            other.pipeline == node.pipeline
                && other.name != node.name
                && other.prepared.load(Ordering::Acquire) == epoch.0
        };
        members.filter(fits).collect()
    }
}
