//! The connector of the random queries: sources that are fed by the test, and a sink that takes anything.

use super::data::{Epoch, batch, schema};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Batch, Changes, Connector, Error, Polled, Position, Result, Sink, SinkSpec, Source, SourceBatch, SourceSpec,
    TableDefinition, TaskContext,
};
use std::sync::{Arc, Mutex};

/// What has come so far, for all sources to read: epochs of batches.
pub(super) type Feed = Arc<Mutex<Vec<Epoch>>>;

/// The connector.
pub(super) struct Script(pub(super) Feed);

impl Connector for Script {
    fn name(&self) -> &'static str {
        "script"
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        let is_versioned = table.name != "t";
        Ok(Arc::new(Spec { feed: self.0.clone(), is_versioned, columns: None }))
    }

    fn sink(&self, _: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        Ok(Arc::new(Anything))
    }
}

#[derive(Clone)]
struct Spec {
    feed: Feed,
    is_versioned: bool,
    columns: Option<Vec<usize>>,
}

impl std::fmt::Debug for Spec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "script {:?}", self.columns)
    }
}

#[async_trait]
impl SourceSpec for Spec {
    fn describe(&self) -> String {
        "script".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        let all = schema(self.is_versioned);
        match &self.columns {
            None => all,
            Some(columns) => Arc::new(all.project(columns).expect("columns of the table")),
        }
    }

    fn project(&self, columns: &[usize]) -> Option<Arc<dyn SourceSpec>> {
        Some(Arc::new(Self { columns: Some(columns.to_vec()), ..self.clone() }))
    }

    fn parallelism_max(&self) -> usize {
        1
    }

    async fn open(&self, _: &TaskContext) -> Result<Box<dyn Source>> {
        Ok(Box::new(Reading { spec: self.clone(), epoch: 0, batch: 0 }))
    }
}

struct Reading {
    spec: Spec,
    epoch: usize,
    batch: usize,
}

#[async_trait]
impl Source for Reading {
    async fn poll(&mut self, _: usize) -> Result<Polled> {
        let feed = self.spec.feed.lock().expect("nobody panics with the feed in hand");
        while let Some(epoch) = feed.get(self.epoch) {
            while let Some((is_u, rows)) = epoch.get(self.batch) {
                self.batch += 1;
                if *is_u == self.spec.is_versioned {
                    let mut rows = batch(rows, *is_u).rows;
                    if let Some(columns) = &self.spec.columns {
                        rows = rows.project(columns)?;
                    }
                    let batch = Batch::append_only(rows);
                    return Ok(Polled::Batch(SourceBatch { partition: 0, batch, dead_letters: Vec::new() }));
                }
            }
            (self.epoch, self.batch) = (self.epoch + 1, 0);
        }
        Ok(Polled::Idle)
    }

    fn position(&self) -> Position {
        Position::default()
    }

    async fn seek(&mut self, _: &Position) -> Result<()> {
        Err(Error::internal("a script is read from its start"))
    }
}

#[derive(Debug)]
struct Anything;

#[async_trait]
impl SinkSpec for Anything {
    fn describe(&self) -> String {
        "anything".to_owned()
    }

    fn changes(&self) -> Changes {
        Changes::Any
    }

    async fn open(&self, _: &TaskContext) -> Result<Box<dyn Sink>> {
        Err(Error::internal("the executor holds what the sink is given"))
    }
}
