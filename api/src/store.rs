//! The reporting store, read only: a few SQLite connections, each used by one request at a time on a blocking thread,
//! inside one read transaction, so that an answer never mixes two epochs.
//!
//! It never writes. A store, or a table of it, that does not exist yet is `Unavailable`: the pipelines have not
//! written so far. Its state is the idle connections; their number is the bound. A request that is dropped (timeout,
//! client gone) interrupts its query.

use headwater_core::{Error, Result};
use rusqlite::{Connection, ErrorCode, InterruptHandle, OpenFlags};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a reader waits for a writer that holds the file; with a write-ahead log that is only at a checkpoint.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The reporting store; cheap to clone.
#[derive(Clone)]
pub(crate) struct Store(Arc<Pool>);

struct Pool {
    path: PathBuf,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl Store {
    /// Names the file and the number of connections; nothing is opened.
    pub(crate) fn new(path: PathBuf, readers_max: usize) -> Self {
        let permits = Arc::new(Semaphore::new(readers_max.max(1)));
        Self(Arc::new(Pool { path, permits, idle: Mutex::new(Vec::new()) }))
    }

    /// Runs `work` on a connection, in one read transaction.
    pub(crate) async fn read<T, W>(&self, work: W) -> Result<T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = self.0.permits.clone().acquire_owned().await.map_err(|_| Error::internal("the pool is closed"))?;
        let pool = self.0.clone();
        let running = Running::default();
        let handle = running.0.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = pool.take()?;
            *lock(&handle) = Some(connection.get_interrupt_handle());
            let result = in_transaction(&connection, work);
            // Under this lock a dropped request can no longer interrupt what comes next on this connection.
            lock(&handle).take();
            if result.is_ok() {
                lock(&pool.idle).push(connection);
            }
            result.map_err(classify)
        });
        task.await.map_err(|error| Error::internal(format!("a read of the store failed: {error}")))?
    }
}

impl Pool {
    fn take(&self) -> Result<Connection> {
        if let Some(connection) = lock(&self.idle).pop() {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(classify)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(classify)?;
        Ok(connection)
    }
}

fn in_transaction<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    connection.execute_batch("BEGIN DEFERRED")?;
    let result = work(connection)?;
    connection.execute_batch("COMMIT")?;
    Ok(result)
}

/// Interrupts the query when the future that waits for it is dropped.
#[derive(Default)]
struct Running(Arc<Mutex<Option<InterruptHandle>>>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(handle) = lock(&self.0).take() {
            handle.interrupt();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What these mutexes hold is whole after any panic: a list of connections, an optional handle.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sorts an SQLite failure by what can be done about it.
pub(crate) fn classify(error: rusqlite::Error) -> Error {
    let text = error.to_string();
    if let Some((_, rest)) = text.split_once("no such table: ") {
        let table = rest.split_whitespace().next().unwrap_or_default();
        return Error::unavailable(format!("the reporting store has no table '{table}' yet"))
            .with_help("run the pipeline once; its migrations make the tables");
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen) => Error::unavailable("the reporting store does not exist yet")
            .with_help("run the pipeline once; it makes the store"),
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OperationInterrupted
            | ErrorCode::SchemaChanged
            | ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure,
        ) => Error::unavailable("the store does not answer now").with_cause(error),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::data(text).with_cause(error),
        _ => Error::internal(text).with_cause(error),
    }
}
