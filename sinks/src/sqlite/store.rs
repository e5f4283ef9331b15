//! One sink's connection to its file, and its share in the commit of the pipeline.
//!
//! State: the connection, the rows of the running epoch that are not staged yet (at most [`SPILL_ROWS`]), and how
//! many pieces of the epoch are staged.

use super::failure::sql;
use super::file::{File, Members, Node};
use super::schema::{self, quoted};
use super::{SqliteSpec, commit, stage};
use headwater_core::{Batch, Epoch, Error, ErrorKind, Prepared, Result, TaskContext, consolidate};
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many rows are held before they are staged.
const SPILL_ROWS: usize = 1 << 16;
/// How long another process may hold the file before the engine hears of it.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many prepared statements are kept: one sink needs about ten.
const STATEMENTS: usize = 32;

/// The writing end of one table.
pub(super) struct Store {
    node: Arc<Node>,
    file: Arc<File>,
    connection: Connection,
    running: Vec<Batch>,
    n_running: usize,
    /// How many pieces and rows of the running epoch are staged already.
    n_pieces: i64,
    n_staged: u64,
    /// The newest epoch that is staged as a whole: another call for it has nothing to add.
    newest: Option<(Epoch, Prepared)>,
    /// The epoch of the checkpoint that the run goes on from.
    restored: Option<Epoch>,
}

/// What a commit needs to know: how many rows wait in staging.
#[derive(serde::Serialize, serde::Deserialize)]
struct Token {
    run: i64,
    rows: u64,
}

impl Store {
    /// Opens the file, checks or makes the table and starts a run, or goes on with the one before.
    pub(super) fn open(spec: SqliteSpec, context: &TaskContext) -> Result<Self> {
        let failed = |error| sql(&spec.path, error);
        if let Some(folder) = spec.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            std::fs::create_dir_all(folder).map_err(|error| crate::failure::io("make the folder", folder, error))?;
        }
        let connection = Connection::open(&spec.path).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        let file = File::at(&spec.path);
        let (pipeline, name) = (context.pipeline.to_string(), context.node.to_string());
        let prepared = AtomicU64::new(context.restored.map_or(0, |epoch| epoch.0));
        let mut node = Node { spec, pipeline, name, run: 0, staging: String::new(), is_new: false, prepared };
        node.staging = quoted(&node.staging_name());
        {
            let _mine = file.take_turn();
            let set = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
            connection.execute_batch(set).map_err(|error| sql(&node.spec.path, error))?;
            (node.run, node.is_new) =
                transact(&connection, &node, |transaction| set_up(transaction, &node, context.restored))?;
        }
        let node = Arc::new(node);
        file.take_turn().join(&node);
        let (running, n_running, n_pieces, n_staged) = (Vec::new(), 0, 0, 0);
        let restored = context.restored;
        Ok(Self { node, file, connection, running, n_running, n_pieces, n_staged, newest: None, restored })
    }

    /// Runs work in one transaction, in turn with the other sinks of this process.
    fn transact<T>(&self, work: impl FnOnce(&Transaction<'_>, &Members) -> Result<T>) -> Result<T> {
        let members = self.file.take_turn();
        transact(&self.connection, &self.node, |transaction| work(transaction, &members))
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
                    self.transact(|transaction, _| stage::name_epoch(transaction, &self.node, epoch))
                }
                _ => Ok(()),
            };
        };
        let spec = &self.node.spec;
        let mut rows = Batch::concat(&first.schema(), &self.running)?;
        if spec.key.is_empty() {
            rows = Batch::append_only(crate::rows::insertions(rows, &spec.table)?);
        } else if rows.diffs.is_some() {
            rows = consolidate(&rows)?;
        }
        let piece = self.n_pieces;
        self.transact(|transaction, _| {
            stage::insert(transaction, &self.node, &rows, piece)?;
            ends.map_or(Ok(()), |epoch| stage::name_epoch(transaction, &self.node, epoch))
        })?;
        self.running.clear();
        self.n_running = 0;
        self.n_pieces += 1;
        self.n_staged += rows.n_rows() as u64;
        Ok(())
    }

    /// Stages the rest of the epoch and makes it durable.
    pub(super) fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        if let Some((_, prepared)) = self.newest.as_ref().filter(|(newest, _)| *newest == epoch) {
            return Ok(prepared.clone());
        }
        self.stage(Some(epoch))?;
        let token = Token { run: self.node.run, rows: std::mem::take(&mut self.n_staged) };
        self.n_pieces = 0;
        self.node.prepared.store(epoch.0, Ordering::Release);
        let prepared = Prepared(serde_json::to_value(token).map_err(|error| Error::internal(error.to_string()))?);
        self.newest = Some((epoch, prepared.clone()));
        Ok(prepared)
    }

    /// Makes an epoch visible, unless it is already; with it what every other sink of the pipeline has prepared for
    /// it in this file, so that a reader sees all of them change at once.
    pub(super) fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        let wrong = |error| Error::data(format!("the prepared epoch of '{}': {error}", self.node.spec.table));
        let token: Token = serde_json::from_value(prepared.0.clone()).map_err(wrong)?;
        if self.node.is_new && self.restored == Some(epoch) {
            let (table, file) = (&self.node.spec.table, self.node.spec.path.display());
            let message = format!("'{file}' knows nothing of epoch {epoch} of '{table}', which was prepared there");
            return Err(Error::data(message).with_help(commit::PUT_BACK));
        }
        self.transact(|transaction, members| {
            if commit::is_done(transaction, &self.node, epoch)? {
                return Ok(());
            }
            commit::check_staged(transaction, &self.node, epoch, token.rows)?;
            commit::epoch(transaction, &self.node, epoch)?;
            for other in members.beside(&self.node, epoch) {
                if commit::is_current(transaction, &other)? && !commit::is_done(transaction, &other, epoch)? {
                    commit::epoch(transaction, &other, epoch)?;
                }
            }
            Ok(())
        })
    }
}

fn transact<T>(connection: &Connection, node: &Node, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
    let failed = |error| sql(&node.spec.path, error);
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate).map_err(failed)?;
    let result = work(&transaction)?;
    transaction.commit().map_err(failed)?;
    Ok(result)
}

/// Makes what is missing and clears what is void; returns the number of the run, and whether the file knew nothing of
/// the node.
fn set_up(transaction: &Transaction<'_>, node: &Node, restored: Option<Epoch>) -> Result<(i64, bool)> {
    schema::ensure(transaction, &node.spec)?;
    transaction.execute_batch(commit::CREATE_EPOCHS).map_err(|error| node.failed(error))?;
    match restored {
        None => {
            stage::create(transaction, node)?;
            Ok((commit::start_run(transaction, node)?, false))
        }
        Some(epoch) => {
            stage::keep(transaction, node, epoch)?;
            commit::continue_run(transaction, node, epoch)
        }
    }
}
