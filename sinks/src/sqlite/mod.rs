//! The sink `sqlite`: rows of a table in an SQLite file.
//!
//! Guarantee: exactly once. Rows wait in a staging table of the same file, committed at `prepare`; a commit moves them
//! and records the epoch in one transaction, for all tables that the pipeline writes in this file: a reader sees whole
//! epochs only. A repeated commit finds the epoch recorded and changes nothing.
//!
//! A *run* is what begins when a pipeline is started without a checkpoint: what an earlier run left in staging is
//! dropped and epochs are counted anew. A pipeline that goes on from a checkpoint goes on with its run: what was
//! staged for the checkpoint's epoch is kept, all else in staging is void. A process that is still going on elsewhere
//! can commit no more then (`Conflict`). Two nodes that write to one table with `on_start = 'replace'` would
//! replace each other's rows: a pipeline writes to such a table from one node.
//!
//! | option | meaning |
//! |---|---|
//! | `path` | the file, relative to the pipeline; made when missing |
//! | `table` | the table's name there; by default the name in the pipeline |
//! | `on_start` | `append` (default), or `replace`: the first commit of a run deletes all rows in its transaction |
//! | `on_conflict` | `update` (default): a row of a key that exists replaces it; `ignore`: it is left out |
//!
//! Timestamps are ISO 8601 text in UTC, decimals go into columns of numeric affinity (SQLite keeps about 15 digits
//! there, and all of them in a `TEXT` column), nested values are JSON text, booleans 0 and 1, NaN is null.
//!
//! All sinks of this process take turns on a file; another process is waited for. A full disk is `Invalid`.

mod commit;
mod failure;
mod file;
mod schema;
mod stage;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod value;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Batch, Changes, Connector, Epoch, Guarantee, Prepared, Result, Sink, SinkSpec, TableDefinition, TaskContext,
};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use store::Store;

/// The connector.
#[derive(Debug)]
pub(crate) struct Sqlite;

impl Connector for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn reads(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        let options = &table.options;
        Ok(Arc::new(SqliteSpec {
            path: table.base.join(options.require("path")?),
            shown: options.shown("path").unwrap_or_default().to_owned(),
            table: options.get("table").unwrap_or(&table.name).to_owned(),
            schema: table.columns()?,
            key: table.primary_key.clone(),
            replaces: options.one_of("on_start", "append", &["append", "replace"])? == "replace",
            ignores: options.one_of("on_conflict", "update", &["update", "ignore"])? == "ignore",
        }))
    }
}

/// A table in a file, as declared.
#[derive(Debug, Clone)]
struct SqliteSpec {
    path: PathBuf,
    /// The path as the user wrote it.
    shown: String,
    table: String,
    schema: SchemaRef,
    /// The columns of the primary key; none for a table of insertions.
    key: Vec<usize>,
    replaces: bool,
    ignores: bool,
}

#[async_trait]
impl SinkSpec for SqliteSpec {
    fn describe(&self) -> String {
        format!("sqlite table '{}' in '{}'", self.table, self.shown)
    }

    fn changes(&self) -> Changes {
        if self.key.is_empty() { Changes::AppendOnly } else { Changes::Upsert }
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>> {
        let (spec, context) = (self.clone(), context.clone());
        let opened = tokio::task::spawn_blocking(move || Store::open(spec, &context)).await;
        let store = opened.map_err(|error| headwater_core::Error::internal(error.to_string()))??;
        Ok(Box::new(SqliteSink(Arc::new(Mutex::new(store)))))
    }
}

struct SqliteSink(Arc<Mutex<Store>>);

#[async_trait]
impl Sink for SqliteSink {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        crate::blocking(&self.0, |store| store.write(batch)).await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        crate::blocking(&self.0, move |store| store.prepare(epoch)).await
    }

    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        let prepared = prepared.clone();
        crate::blocking(&self.0, move |store| store.commit(epoch, &prepared)).await
    }
}
