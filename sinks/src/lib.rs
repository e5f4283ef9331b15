//! The stores Headwater writes to: PostgreSQL, ClickHouse, SQLite, Parquet, files, standard output.
//!
//! Nothing of an epoch is visible before its commit, and a commit can be repeated. A sink never knows the engine or
//! the planner: it takes rows, prepares and commits. Which guarantee each one gives stands at the head of its file.
//! The list of all sinks is [`connectors`].

mod blackhole;
mod clickhouse;
#[cfg(test)]
mod crashes;
mod failure;
mod files;
mod postgres;
mod rows;
mod sqlite;
mod stdout;

use headwater_core::{Connector, Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Returns everything that this package can write.
#[must_use]
pub fn connectors() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(postgres::Postgres),
        Arc::new(clickhouse::ClickHouse),
        Arc::new(sqlite::Sqlite),
        Arc::new(files::SingleFile),
        Arc::new(files::Filesystem),
        Arc::new(files::Parquet),
        Arc::new(stdout::Stdout),
        Arc::new(blackhole::Blackhole),
    ]
}

/// Runs blocking work of a sink on a thread for such work, so that the asynchronous ones go on.
async fn blocking<S: Send + 'static, T: Send + 'static>(
    state: &Arc<Mutex<S>>,
    work: impl FnOnce(&mut S) -> Result<T> + Send + 'static,
) -> Result<T> {
    let state = state.clone();
    let task = tokio::task::spawn_blocking(move || work(&mut state.lock().unwrap_or_else(PoisonError::into_inner)));
    task.await.map_err(|error| Error::internal(format!("a sink's work ended early: {error}")))?
}
