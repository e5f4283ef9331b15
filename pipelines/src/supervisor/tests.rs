//! A supervisor over a source that is away for a while, on paused time.

use super::*;
use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use headwater_core::{
    Batch, Changes, Edge, Epoch, EventTime, Exchange, FixedClock, NodeBody, Polled, Position, Prepared, Sink, SinkSpec,
    Source, SourceBatch, SourceSpec, TaskContext,
};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// A source that cannot be opened the first `failures` times, and then has one row.
#[derive(Debug)]
struct Flaky {
    kind: ErrorKind,
    failures: u32,
    opened: Arc<AtomicU32>,
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, false)]))
}

#[async_trait]
impl SourceSpec for Flaky {
    fn describe(&self) -> String {
        "flaky".to_owned()
    }
    fn schema(&self) -> SchemaRef {
        schema()
    }
    fn parallelism_max(&self) -> usize {
        1
    }
    async fn open(&self, _: &TaskContext) -> Result<Box<dyn Source>> {
        if self.opened.fetch_add(1, Ordering::SeqCst) < self.failures {
            return Err(Error::new(self.kind, "the server is away"));
        }
        Ok(Box::new(OneRow(false)))
    }
}

struct OneRow(bool);

#[async_trait]
impl Source for OneRow {
    async fn poll(&mut self, _: usize) -> Result<Polled> {
        if std::mem::replace(&mut self.0, true) {
            return Ok(Polled::End);
        }
        let rows = RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from(vec![1]))])?;
        Ok(Polled::Batch(SourceBatch { partition: 0, batch: Batch::append_only(rows), dead_letters: Vec::new() }))
    }
    fn position(&self) -> Position {
        Position::default()
    }
    async fn seek(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }
}

/// A sink that counts the rows of committed epochs.
#[derive(Debug, Clone, Default)]
struct Count {
    written: usize,
    committed: Arc<AtomicUsize>,
}

#[async_trait]
impl SinkSpec for Count {
    fn describe(&self) -> String {
        "count".to_owned()
    }
    fn changes(&self) -> Changes {
        Changes::Any
    }
    async fn open(&self, _: &TaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for Count {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.written += batch.n_rows();
        Ok(())
    }
    async fn prepare(&mut self, _: Epoch) -> Result<Prepared> {
        Ok(Prepared::default())
    }
    async fn commit(&mut self, _: Epoch, _: &Prepared) -> Result<()> {
        self.committed.fetch_add(std::mem::take(&mut self.written), Ordering::SeqCst);
        Ok(())
    }
}

/// Plans the same graph for any SQL but `wrong`.
struct Fixed {
    kind: ErrorKind,
    failures: u32,
    opened: Arc<AtomicU32>,
    sink: Count,
}

impl Planner for Fixed {
    fn plan(&self, _: &str, sql: &str) -> Result<Graph> {
        if sql == "wrong" {
            return Err(Error::invalid("wrong"));
        }
        let source = Flaky { kind: self.kind, failures: self.failures, opened: self.opened.clone() };
        let body = NodeBody::Source { source: Arc::new(source), operators: Vec::new(), event_time: None };
        let mut graph = Graph::default();
        let from = graph.add("source", body, 1);
        let to = graph.add("sink", NodeBody::Sink(Arc::new(self.sink.clone())), 1);
        graph.connect(Edge { from, to, input: 0, exchange: Exchange::Gather, changing: false });
        Ok(graph)
    }
}

fn planner(kind: ErrorKind, failures: u32) -> Arc<Fixed> {
    Arc::new(Fixed { kind, failures, opened: Arc::default(), sink: Count::default() })
}

fn supervise(planner: &Arc<Fixed>, sql: &str) -> Result<Supervisor> {
    let mut options = EngineOptions::new("p", Arc::new(FixedClock::new(EventTime(0))));
    options.retry.tries = 1;
    let definition = Definition { name: "p".to_owned(), sql: sql.to_owned() };
    Supervisor::start(definition, planner.clone(), options, RestartPolicy::default())
}

#[tokio::test(start_paused = true)]
async fn a_source_that_comes_back_is_read_after_restarts() {
    let planner = planner(ErrorKind::Unavailable, 3);
    let supervisor = supervise(&planner, "right").unwrap();
    supervisor.ended().await.unwrap();
    let status = supervisor.status();
    assert_eq!((status.state, status.restarts), (State::Ended, 3));
    assert_eq!(planner.sink.committed.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_stays_away_ends_with_its_reason() {
    let planner = planner(ErrorKind::Unavailable, u32::MAX);
    let supervisor = supervise(&planner, "right").unwrap();
    let error = supervisor.ended().await.unwrap_err();
    assert!(error.to_string().contains("the server is away"), "{error}");
    assert_eq!(planner.opened.load(Ordering::SeqCst), 1 + RestartPolicy::default().restarts_max);
}

#[tokio::test(start_paused = true)]
async fn what_a_restart_cannot_help_is_not_restarted() {
    let planner = planner(ErrorKind::Data, u32::MAX);
    let supervisor = supervise(&planner, "right").unwrap();
    assert_eq!(supervisor.ended().await.unwrap_err().kind(), ErrorKind::Data);
    assert_eq!(planner.opened.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_mistake_in_the_sql_is_found_at_the_start() {
    assert_eq!(supervise(&planner(ErrorKind::Data, 0), "wrong").map(|_| ()).unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_wait_for_a_restart() {
    let planner = planner(ErrorKind::Unavailable, u32::MAX);
    let supervisor = supervise(&planner, "right").unwrap();
    let watcher = supervisor.watcher();
    assert!(supervisor.stop().await.is_err());
    assert_eq!(watcher.status().state, State::Failed);
}
