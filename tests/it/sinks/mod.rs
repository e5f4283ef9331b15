//! What every sink of a store must do, run against each of them: rows are visible at the commit and not before, a
//! commit can be repeated by anybody, what was prepared survives the process, and what was not in the checkpoint does
//! not. Servers are started privately and end with their test.

mod clickhouse;
mod conformance;
mod postgres;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use headwater_core::{
    Batch, Epoch, Error, EventTime, FixedClock, Prepared, Sink, SinkSpec, TableDefinition, TaskContext,
};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

/// `id BIGINT NOT NULL, name TEXT`.
fn schema() -> SchemaRef {
    let id = Field::new("id", DataType::Int64, false);
    Arc::new(Schema::new(vec![id, Field::new("name", DataType::Utf8, true)]))
}

/// Rows of [`schema`] with their multiplicities.
fn batch(rows: &[(i64, Option<&str>, i64)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(rows.iter().map(|row| row.1).collect::<StringArray>()),
    ];
    let batch = RecordBatch::try_new(schema(), columns).expect("fits the schema");
    if rows.iter().all(|row| row.2 == 1) {
        return Batch::append_only(batch);
    }
    Batch::changing(batch, rows.iter().map(|row| Some(row.2)).collect()).expect("one a row")
}

/// A table of a connector, as a pipeline declares it.
fn table(name: &str, schema: SchemaRef, key: &[usize], options: &[(&str, String)]) -> TableDefinition {
    TableDefinition {
        name: name.to_owned(),
        schema: Some(schema),
        primary_key: key.to_vec(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        base: PathBuf::new(),
    }
}

/// Makes the sink of a table; every option must be known.
fn spec(connector: &str, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>, Error> {
    let connectors = headwater_sinks::connectors();
    let connector = connectors.iter().find(|other| other.name() == connector).expect("it is there");
    let spec = connector.sink(table)?;
    table.options.check_all_known()?;
    Ok(spec)
}

/// What a process knows when it opens a sink, over folders that outlive it.
struct Process {
    spool: TempDir,
}

impl Process {
    fn new() -> Self {
        Self { spool: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The spool of a subtask.
    fn folder(&self, subtask: usize) -> PathBuf {
        self.spool.path().join(subtask.to_string())
    }

    fn context(&self, restored: Option<u64>, subtask: usize, parallelism: usize) -> TaskContext {
        let spool = self.folder(subtask);
        TaskContext::new("p/1", "sink_\"t\" of a long name that is longer than PostgreSQL's names are", clock())
            .with_subtask(subtask, parallelism)
            .with_restored(restored.map(Epoch))
            .with_spool(Some(spool))
    }
}

fn clock() -> Arc<FixedClock> {
    Arc::new(FixedClock::new(EventTime(0)))
}

/// Writes and prepares an epoch.
async fn prepared(sink: &mut Box<dyn Sink>, number: u64, batches: Vec<Batch>) -> Prepared {
    for batch in batches {
        sink.write(batch).await.expect("writes");
    }
    sink.prepare(Epoch(number)).await.expect("prepares")
}

/// Writes, prepares and commits an epoch.
async fn epoch(sink: &mut Box<dyn Sink>, number: u64, batches: Vec<Batch>) -> Prepared {
    let token = prepared(sink, number, batches).await;
    sink.commit(Epoch(number), &token).await.expect("commits");
    token
}
