//! The sink `clickhouse`: rows of a table in ClickHouse, by its HTTP interface.
//!
//! Guarantee: each row counts once, also when the process is killed at any instant and goes on from a checkpoint. The
//! rows of an epoch are blocks that wait in the spool, a folder beside the checkpoint, from `prepare` on; the commit
//! inserts each with a token of its own (`insert_deduplication_token`), by which the server drops the one that comes a
//! second time. A block becomes visible at once, an epoch of several blocks one after the other.
//!
//! A table without a key takes insertions (engine `MergeTree`). A table with a key is a `ReplacingMergeTree` with two
//! columns more, `_headwater_version` and `_headwater_deleted`: read it with `FINAL`. The version grows with every
//! epoch, over restarts too.
//!
//! | option | meaning |
//! |---|---|
//! | `url` | `http://host:8123` or `https://…`; user, password and database may stand in it; never printed |
//! | `user`, `password`, `database`, `table` | by default `default`, none, `default`, the name in the pipeline |
//! | `engine`, `order_by`, `partition_by` | of a table that is made, as ClickHouse writes them |
//! | `block_rows`, `block_bytes` | the greatest block; by default 200 000 rows and 64 MB |
//! | `compression` | of what is sent: `lz4` (default) or `none` |
//!
//! Bounds: insertions wait in memory up to one block; the changes of a table with a key up to the net change of one
//! epoch. It never retries.

mod blocks;
mod client;
mod columns;
mod failure;
mod schema;
mod spool;
mod store;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use client::Server;
use headwater_core::{
    Batch, Changes, Connector, DeadLetter, Epoch, Error, Guarantee, Options, Prepared, Result, Sink, SinkSpec,
    TableDefinition, TaskContext,
};
use std::fmt;
use std::sync::Arc;
use store::Store;

/// What ClickHouse's documentation recommends for one insertion: few large parts.
const BLOCK_ROWS: usize = 200_000;
/// A block is held in memory while it is sent.
const BLOCK_BYTES: usize = 64 << 20;
/// The server splits what is larger (`max_insert_block_size`), and a split block would not be whole or absent.
const BLOCK_ROWS_MAX: usize = 1_000_000;

/// The connector.
#[derive(Debug)]
pub(crate) struct ClickHouse;

impl Connector for ClickHouse {
    fn name(&self) -> &'static str {
        "clickhouse"
    }

    fn reads(&self) -> bool {
        false
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        let options = &table.options;
        options.one_of("delivery", "exactly_once", &["exactly_once"])?;
        let spec = ClickHouseSpec {
            server: Server::of(options)?,
            table: options.get("table").unwrap_or(&table.name).to_owned(),
            schema: table.columns()?,
            key: table.primary_key.clone(),
            engine: options.get("engine").map(str::to_owned),
            order_by: options.get("order_by").map(str::to_owned),
            partition_by: options.get("partition_by").map(str::to_owned),
            block_rows: limit(options, "block_rows", BLOCK_ROWS, BLOCK_ROWS_MAX)?,
            block_bytes: limit(options, "block_bytes", BLOCK_BYTES, usize::MAX)?,
        };
        for field in spec.schema.fields() {
            columns::declared(field).map_err(|error| error.at(format!("column '{}'", field.name())))?;
        }
        if !spec.key.is_empty() && spec.order_by.is_some() {
            return Err(Error::invalid(format!("the table '{}' has a key and order_by", table.name))
                .with_help("leave order_by out: rows of a key are found by the order of the key"));
        }
        Ok(Arc::new(spec))
    }
}

fn limit(options: &Options, name: &str, default: usize, max: usize) -> Result<usize> {
    let value = options.parse(name, "a whole number")?.unwrap_or(default);
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(Error::invalid(format!("the option {name} = '{value}' is out of range")).with_help(format!("use 1 to {max}")))
}

/// A table at a server, as declared.
#[derive(Clone)]
struct ClickHouseSpec {
    server: Server,
    table: String,
    schema: SchemaRef,
    /// The columns of the primary key; none for a table of insertions.
    key: Vec<usize>,
    engine: Option<String>,
    order_by: Option<String>,
    partition_by: Option<String>,
    block_rows: usize,
    block_bytes: usize,
}

impl fmt::Debug for ClickHouseSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

#[async_trait]
impl SinkSpec for ClickHouseSpec {
    fn describe(&self) -> String {
        format!("clickhouse table '{}' in {}", self.table, self.server.shown)
    }

    fn changes(&self) -> Changes {
        if self.key.is_empty() { Changes::AppendOnly } else { Changes::Upsert }
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(ClickHouseSink(Store::open(self.clone(), context).await?)))
    }
}

struct ClickHouseSink(Store);

#[async_trait]
impl Sink for ClickHouseSink {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.0.write(batch).await
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        self.0.prepare(epoch).await
    }

    fn take_rejected(&mut self) -> Vec<DeadLetter> {
        self.0.take_rejected()
    }

    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        self.0.commit(epoch, prepared).await
    }
}
