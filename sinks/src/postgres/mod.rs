//! The sink `postgres`: rows of a table in PostgreSQL. (Lookups of the same name are in `connectors`.)
//!
//! Guarantee with `delivery = 'exactly_once'`: each epoch becomes visible in one transaction, exactly once, also when
//! the process is killed at any instant and goes on from a checkpoint. Rows wait in a staging table beside the table,
//! committed at `prepare`; the commit merges them and records the epoch in `_headwater_epochs`. Rows that the server
//! refuses, for their values or for a constraint, are found at `prepare` and handed out as dead letters.
//! With `delivery = 'upsert'` rows of a table with a key are merged at every flush; replayed rows land on their keys.
//!
//! A *run* is what lies between two openings of the same node of the same pipeline. Opening starts a new one, and a
//! run that is still going on elsewhere can commit no more (`Conflict`).
//!
//! | option | meaning |
//! |---|---|
//! | `url` | `postgresql://user:password@host:port/database`, as `psql` takes it; never printed |
//! | `sslmode`, `sslrootcert` | see `address.rs` |
//! | `table` | the table's name there, with its schema if need be; by default the name in the pipeline |
//! | `delivery` | `exactly_once` (default) or `upsert` |
//! | `on_start` | `append` (default), or `replace`: the first commit of a run deletes all rows in its transaction |
//! | `on_conflict` | `update` (default): a row of a key that exists replaces it; `ignore`: it is left out |
//!
//! Bounds: at most [`store::SPILL_ROWS`] rows or [`store::SPILL_BYTES`] bytes wait in memory.

mod address;
mod commit;
mod encode;
mod failure;
mod merge;
mod run;
mod schema;
mod stage;
mod store;
mod types;

use address::Address;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Batch, Changes, Connector, DeadLetter, Epoch, Error, Guarantee, Prepared, Result, Sink, SinkSpec, TableDefinition,
    TaskContext,
};
use std::fmt;
use std::sync::Arc;
use store::Store;

/// Each subtask has a connection and a staging table of its own; servers allow about a hundred connections.
const PARALLELISM_MAX: usize = 16;

/// The connector.
#[derive(Debug)]
pub(crate) struct Postgres;

impl Connector for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn reads(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        let options = &table.options;
        let spec = PostgresSpec {
            address: Address::of(options, &table.base)?,
            table: options.get("table").unwrap_or(&table.name).to_owned(),
            schema: table.columns()?,
            key: table.primary_key.clone(),
            replaces: options.one_of("on_start", "append", &["append", "replace"])? == "replace",
            ignores: options.one_of("on_conflict", "update", &["update", "ignore"])? == "ignore",
            upserts: options.one_of("delivery", "exactly_once", &["exactly_once", "upsert"])? == "upsert",
        };
        if spec.upserts && spec.key.is_empty() {
            return Err(Error::invalid(format!("the table '{}' has delivery = 'upsert' and no key", table.name))
                .with_help("declare PRIMARY KEY (…), or leave delivery out"));
        }
        for field in spec.schema.fields() {
            types::declared(field.data_type()).map_err(|error| error.at(format!("column '{}'", field.name())))?;
        }
        Ok(Arc::new(spec))
    }
}

/// A table at a server, as declared.
#[derive(Clone)]
struct PostgresSpec {
    address: Address,
    table: String,
    schema: SchemaRef,
    /// The columns of the primary key; none for a table of insertions.
    key: Vec<usize>,
    replaces: bool,
    ignores: bool,
    upserts: bool,
}

impl PostgresSpec {
    fn quoted_table(&self) -> String {
        self.table.split('.').map(schema::quoted).collect::<Vec<_>>().join(".")
    }
}

impl fmt::Debug for PostgresSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[async_trait]
impl SinkSpec for PostgresSpec {
    fn describe(&self) -> String {
        let how = if self.upserts { ", upserted at every flush" } else { "" };
        format!("postgres table '{}' in {}{how}", self.table, self.address.server)
    }

    fn changes(&self) -> Changes {
        if self.key.is_empty() { Changes::AppendOnly } else { Changes::Upsert }
    }

    fn guarantee(&self) -> Guarantee {
        if self.upserts { Guarantee::AtLeastOnce } else { Guarantee::ExactlyOnce }
    }

    fn parallelism_max(&self) -> usize {
        // Only one can be the first that deletes what was there.
        if self.replaces { 1 } else { PARALLELISM_MAX }
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(PostgresSink(Store::open(self.clone(), context).await?)))
    }
}

struct PostgresSink(Store);

#[async_trait]
impl Sink for PostgresSink {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.0.write(batch).await
    }

    async fn flush(&mut self) -> Result<()> {
        self.0.flush().await
    }

    async fn prepare(&mut self, _: Epoch) -> Result<Prepared> {
        self.0.prepare().await
    }

    fn take_rejected(&mut self) -> Vec<DeadLetter> {
        self.0.take_rejected()
    }

    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        self.0.commit(epoch, prepared).await
    }
}
