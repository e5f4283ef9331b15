//! One sink's connection to its file, and the turns that all sinks of the process take on it.
//!
//! State: the connection, the rows of the running epoch that are not staged yet (at most [`SPILL_ROWS`]), and how
//! many pieces of the epoch are staged.

use super::failure::sql;
use super::schema::{self, quoted};
use super::stage;
use super::{SqliteSpec, commit};
use headwater_core::{Batch, Epoch, Error, ErrorKind, Prepared, Result, consolidate};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};
use std::time::Duration;

/// How many rows are held before they are staged.
const SPILL_ROWS: usize = 1 << 16;
/// How long another process may hold the file before the engine hears of it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many prepared statements are kept: one sink needs about ten.
const STATEMENTS: usize = 32;

type Turn = Arc<Mutex<()>>;

/// The turns on each file, as long as a sink has it open.
static TURNS: LazyLock<Mutex<HashMap<PathBuf, Weak<Mutex<()>>>>> = LazyLock::new(Mutex::default);

fn turn_on(path: &Path) -> Turn {
    let name = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(&name).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Turn::default();
    turns.insert(name, Arc::downgrade(&turn));
    turn
}

/// The writing end of one table.
pub(super) struct Store {
    pub(super) spec: SqliteSpec,
    pub(super) pipeline: String,
    pub(super) node: String,
    /// The number of this run.
    pub(super) run: i64,
    /// The staging table, quoted.
    pub(super) staging: String,
    connection: Connection,
    turn: Turn,
    running: Vec<Batch>,
    n_running: usize,
    /// How many pieces of the running epoch are staged already.
    n_pieces: i64,
}

impl Store {
    /// Opens the file, checks or makes the table and starts a run.
    pub(super) fn open(spec: SqliteSpec, pipeline: String, node: String) -> Result<Self> {
        let failed = |error| sql(&spec.path, error);
        if let Some(folder) = spec.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| crate::failure::io("make the folder", folder, error))?;
        }
        let connection = Connection::open(&spec.path).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        let turn = turn_on(&spec.path);
        let staging = quoted(&format!("_headwater_staged_{pipeline}_{node}"));
        let mut store = Self {
            spec,
            pipeline,
            node,
            run: 0,
            staging,
            connection,
            turn,
            running: Vec::new(),
            n_running: 0,
            n_pieces: 0,
        };
        store.set_up()?;
        Ok(store)
    }

    fn set_up(&mut self) -> Result<()> {
        let turn = self.turn.clone();
        {
            let _mine = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let set = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
            self.connection.execute_batch(set).map_err(|error| sql(&self.spec.path, error))?;
        }
        self.run = self.transact(|transaction, store| {
            let failed = |error| sql(&store.spec.path, error);
            schema::ensure(transaction, store.spec)?;
            transaction.execute_batch(commit::CREATE_EPOCHS).map_err(failed)?;
            let staging = stage::create(store.staging, store.spec.schema.fields().len());
            transaction.execute_batch(&staging).map_err(failed)?;
            let started =
                transaction.query_row(commit::START_RUN, params![store.pipeline, store.node], |row| row.get(0));
            started.map_err(failed)
        })?;
        Ok(())
    }

    /// Runs work in one transaction, in turn with the other sinks of this process.
    fn transact<T>(&mut self, work: impl FnOnce(&Transaction<'_>, &StoreParts<'_>) -> Result<T>) -> Result<T> {
        let turn = self.turn.clone();
        let _mine = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = StoreParts {
            spec: &self.spec,
            pipeline: &self.pipeline,
            node: &self.node,
            run: self.run,
            staging: &self.staging,
        };
        let failed = |error| sql(&parts.spec.path, error);
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
        let transaction = transaction.map_err(failed)?;
        let result = work(&transaction, &parts)?;
        transaction.commit().map_err(failed)?;
        Ok(result)
    }

    /// Takes rows; many are staged at once.
    pub(super) fn write(&mut self, batch: Batch) -> Result<()> {
        self.n_running += batch.n_rows();
        self.running.push(batch);
        if self.n_running < SPILL_ROWS {
            return Ok(());
        }
        match self.stage(None) {
            // The rows are held and are staged later: an error would make the engine bring them a second time.
            Err(error) if error.kind() == ErrorKind::Unavailable => Ok(()),
            staged => staged,
        }
    }

    /// Stages what is held, as part of the running epoch (`None`) or as its end.
    fn stage(&mut self, ends: Option<Epoch>) -> Result<()> {
        let Some(first) = self.running.first() else {
            return match ends {
                Some(epoch) if self.n_pieces > 0 => {
                    self.transact(|transaction, store| stage::name_epoch(transaction, store, epoch))
                }
                _ => Ok(()),
            };
        };
        let mut rows = Batch::concat(&first.schema(), &self.running)?;
        if self.spec.key.is_empty() {
            rows = Batch::append_only(crate::rows::insertions(rows, &self.spec.table)?);
        } else if rows.diffs.is_some() {
            rows = consolidate(&rows)?;
        }
        let piece = self.n_pieces;
        self.transact(|transaction, store| {
            stage::insert(transaction, store, &rows, piece)?;
            ends.map_or(Ok(()), |epoch| stage::name_epoch(transaction, store, epoch))
        })?;
        self.running.clear();
        self.n_running = 0;
        self.n_pieces += 1;
        Ok(())
    }

    /// Stages the rest of the epoch and makes it durable.
    pub(super) fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        self.stage(Some(epoch))?;
        let n_pieces = std::mem::take(&mut self.n_pieces);
        Ok(Prepared(serde_json::json!({ "run": self.run, "pieces": n_pieces })))
    }

    /// Makes an epoch visible, unless it is already.
    pub(super) fn commit(&mut self, epoch: Epoch) -> Result<()> {
        self.transact(|transaction, store| commit::epoch(transaction, store, epoch))
    }
}

/// What the work inside a transaction may know of its store.
pub(super) struct StoreParts<'a> {
    pub(super) spec: &'a SqliteSpec,
    pub(super) pipeline: &'a str,
    pub(super) node: &'a str,
    pub(super) run: i64,
    pub(super) staging: &'a str,
}

impl StoreParts<'_> {
    /// Makes the error of a failed call.
    pub(super) fn failed(&self, error: rusqlite::Error) -> Error {
        sql(&self.spec.path, error)
    }
}
