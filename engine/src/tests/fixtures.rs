//! Sources, operators and sinks in memory, by which whole pipelines are tested. No waiting but on tokio's clock.

use crate::EngineOptions;
use arrow::array::{Array, AsArray, Int64Array, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use headwater_core::{
    Batch, Changes, DeadLetter, Edge, Epoch, Error, EventTime, EventTimeSpec, Exchange, FixedClock, Graph, NodeBody,
    NodeId, Operator, OperatorSpec, Output, Polled, Position, Prepared, Reason, Result, Sink, SinkSpec, Source,
    SourceBatch, SourceSpec, TaskContext, Watermark,
};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

fn timed_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false), Field::new("t", time, true)]))
}

/// Rows of one column `n`.
pub(crate) fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from_iter_values(values))]).unwrap()
}

/// Rows of a number and an event time.
pub(crate) fn timed(rows: &[(i64, Option<i64>)]) -> RecordBatch {
    let numbers = Int64Array::from_iter_values(rows.iter().map(|(n, _)| *n));
    let times: TimestampNanosecondArray = rows.iter().map(|(_, time)| *time).collect();
    RecordBatch::try_new(timed_schema(), vec![Arc::new(numbers), Arc::new(times)]).unwrap()
}

/// Rows whose event time equals their number.
pub(crate) fn rows(values: impl IntoIterator<Item = i64>) -> Step {
    Step::Rows(timed(&values.into_iter().map(|n| (n, Some(n))).collect::<Vec<_>>()))
}

/// The column `n`.
pub(crate) fn values(rows: &RecordBatch) -> Vec<i64> {
    rows.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// Event time is the column `t`, and the watermark is `delay` behind it.
#[derive(Debug)]
pub(crate) struct EventTimeOfColumn {
    pub(crate) delay: i64,
}

impl EventTimeSpec for EventTimeOfColumn {
    fn describe(&self) -> String {
        format!("t, t - {}", self.delay)
    }

    fn event_time(&self, rows: &RecordBatch) -> Result<arrow::array::ArrayRef> {
        Ok(rows.column_by_name("t").unwrap().clone())
    }

    fn watermark(&self, rows: &RecordBatch) -> Result<arrow::array::ArrayRef> {
        let times: &TimestampNanosecondArray = rows.column_by_name("t").unwrap().as_primitive();
        Ok(Arc::new(times.iter().map(|time| time.map(|time| time - self.delay)).collect::<TimestampNanosecondArray>()))
    }
}

/// What a source does when it is polled.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Rows(RecordBatch),
    Letter(&'static str),
    Idle,
    Pause(Duration),
    Fail(Error),
    Panic,
}

/// A source that follows one script per partition, in turn, and then ends or idles for ever.
#[derive(Debug, Clone)]
pub(crate) struct MemorySource {
    partitions: Vec<Vec<Step>>,
    ends: bool,
    parallelism_max: usize,
    holds_until_begun: bool,
    crash: Crash,
    unresumable_until: usize,
}

impl MemorySource {
    /// Lets there be no position until a script has done so many steps.
    pub(crate) fn unresumable_until(mut self, n_steps: usize) -> Self {
        self.unresumable_until = n_steps;
        self
    }

    /// Lets a process end while the source is polled or told what is durable.
    pub(crate) fn crashing(mut self, crash: &Crash) -> Self {
        self.crash = crash.clone();
        self
    }

    /// Lets the source hold its watermark until every partition has begun.
    pub(crate) fn holding(mut self) -> Self {
        self.holds_until_begun = true;
        self
    }

    pub(crate) fn bounded(partitions: &[Vec<Step>], parallelism_max: usize) -> Self {
        Self::new(partitions, true, parallelism_max)
    }

    pub(crate) fn endless(partitions: &[Vec<Step>]) -> Self {
        Self::new(partitions, false, 1)
    }

    fn new(partitions: &[Vec<Step>], ends: bool, parallelism_max: usize) -> Self {
        let partitions = partitions.to_vec();
        Self {
            partitions,
            ends,
            parallelism_max,
            holds_until_begun: false,
            crash: Crash::default(),
            unresumable_until: 0,
        }
    }
}

#[async_trait]
impl SourceSpec for MemorySource {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        timed_schema()
    }

    fn parallelism_max(&self) -> usize {
        self.parallelism_max
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        let mine = |partition: &usize| partition % context.parallelism == context.subtask;
        let scripts = (0..self.partitions.len()).filter(mine).map(|p| Script {
            partition: p,
            steps: self.partitions[p].clone(),
            done: 0,
        });
        Ok(Box::new(OpenSource {
            scripts: scripts.collect(),
            ends: self.ends,
            pause_until: None,
            holds_until_begun: self.holds_until_begun,
            crash: self.crash.clone(),
            unresumable_until: self.unresumable_until,
        }))
    }
}

struct Script {
    partition: usize,
    steps: Vec<Step>,
    done: usize,
}

struct OpenSource {
    scripts: VecDeque<Script>,
    ends: bool,
    holds_until_begun: bool,
    pause_until: Option<Instant>,
    crash: Crash,
    unresumable_until: usize,
}

#[async_trait]
impl Source for OpenSource {
    async fn poll(&mut self, rows_max: usize) -> Result<Polled> {
        self.crash.step().await;
        if let Some(instant) = self.pause_until {
            sleep_until(instant).await;
            self.pause_until = None;
        }
        for _ in 0..self.scripts.len() {
            self.scripts.rotate_left(1);
            let script = self.scripts.back_mut().unwrap();
            let Some(step) = script.steps.get(script.done).cloned() else { continue };
            script.done += 1;
            let partition = u32::try_from(script.partition).unwrap();
            let read = |batch, dead_letters| Polled::Batch(SourceBatch { partition, batch, dead_letters });
            return match step {
                Step::Rows(rows) => {
                    assert!(rows.num_rows() <= rows_max);
                    Ok(read(Batch::append_only(rows), Vec::new()))
                }
                Step::Letter(payload) => Ok(read(Batch::append_only(timed(&[])), vec![letter(payload)])),
                Step::Idle => Ok(Polled::Idle),
                Step::Pause(pause) => {
                    self.pause_until = Some(Instant::now() + pause);
                    self.poll(rows_max).await
                }
                Step::Fail(error) => Err(error),
                Step::Panic => panic!("the source is broken"),
            };
        }
        Ok(if self.ends { Polled::End } else { Polled::Idle })
    }

    fn holds_watermark(&self) -> bool {
        self.holds_until_begun && self.scripts.iter().any(|script| script.done == 0)
    }

    fn holds_barrier(&self) -> bool {
        self.scripts.iter().any(|script| script.done < self.unresumable_until)
    }

    fn position(&self) -> Position {
        Position(self.scripts.iter().map(|s| (format!("p{}", s.partition), s.done.to_string())).collect())
    }

    async fn ack(&mut self, _: &Position) -> Result<()> {
        self.crash.step().await;
        Ok(())
    }

    async fn seek(&mut self, position: &Position) -> Result<()> {
        for script in &mut self.scripts {
            if let Some(done) = position.0.get(&format!("p{}", script.partition)) {
                script.done = done.parse().map_err(|_| Error::data(format!("no number: {done}")))?;
            }
        }
        Ok(())
    }
}

/// A dead letter of an undecodable piece.
pub(crate) fn letter(payload: &str) -> DeadLetter {
    DeadLetter {
        reason: Reason::Undecodable,
        message: "no number".to_owned(),
        path: String::new(),
        source: "memory".to_owned(),
        position: String::new(),
        payload: payload.to_owned(),
    }
}

type OnBatch = dyn Fn(usize, Batch, &mut Output) -> Result<()> + Send + Sync;
type OnWatermark = dyn Fn(Watermark) + Send + Sync;

/// An operator made of functions; watermarks are looked at and passed on.
#[derive(Clone)]
pub(crate) struct Each {
    on_batch: Arc<OnBatch>,
    on_watermark: Arc<OnWatermark>,
}

impl fmt::Debug for Each {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Each")
    }
}

/// An operator out of what it does with rows.
pub(crate) fn each(
    on_batch: impl Fn(usize, Batch, &mut Output) -> Result<()> + Send + Sync + 'static,
) -> Arc<dyn OperatorSpec> {
    Arc::new(Each { on_batch: Arc::new(on_batch), on_watermark: Arc::new(|_| {}) })
}

/// An operator that changes nothing.
pub(crate) fn pass() -> Arc<dyn OperatorSpec> {
    each(|_, batch, out| {
        out.emit(batch);
        Ok(())
    })
}

/// An operator that changes nothing and notes the watermarks that pass.
pub(crate) fn watch_time(seen: &Arc<Mutex<Vec<Watermark>>>) -> Arc<dyn OperatorSpec> {
    let seen = seen.clone();
    let on_batch = |_, batch, out: &mut Output| {
        out.emit(batch);
        Ok(())
    };
    let on_watermark = move |watermark| seen.lock().unwrap().push(watermark);
    Arc::new(Each { on_batch: Arc::new(on_batch), on_watermark: Arc::new(on_watermark) })
}

impl OperatorSpec for Each {
    fn describe(&self) -> String {
        "each".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        timed_schema()
    }

    fn build(&self, _: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(self.clone()))
    }
}

impl Operator for Each {
    fn on_batch(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        (self.on_batch)(input, batch, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        (self.on_watermark)(watermark);
        out.watermark(watermark);
        Ok(())
    }
}

/// The call of a sink that a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    Write,
    Prepare,
    Commit,
}

/// The end of a process in the middle of something: nothing that comes after a step of this number happens.
#[derive(Debug, Clone, Default)]
pub(crate) struct Crash(Arc<Mutex<Option<u64>>>, pub(crate) Arc<Notify>);

impl Crash {
    /// Lets so many steps happen; `None` for all.
    pub(crate) fn after(&self, n_steps: Option<u64>) {
        *self.0.lock().unwrap() = n_steps;
    }

    /// Counts a step; the one too many never returns.
    pub(crate) async fn step(&self) {
        let crashes = match self.0.lock().unwrap().as_mut() {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        };
        if crashes {
            self.1.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

/// What a sink in memory holds, shared by all its subtasks and the test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Store(pub(crate) Arc<Mutex<Stored>>);

/// The state of a [`Store`].
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The batches of each epoch in the order of their commits.
    pub(crate) committed: Vec<(Epoch, Vec<RecordBatch>)>,
    /// What is prepared and not committed, by epoch and subtask: it outlives a crash.
    staged: BTreeMap<(Epoch, usize), Vec<RecordBatch>>,
    /// Ends the run at some step.
    pub(crate) crash: Crash,
    /// Errors that calls are going to return, the first one first.
    pub(crate) faults: VecDeque<(Call, Error)>,
    /// How long a write takes.
    pub(crate) write_pause: Duration,
    /// The rows that were written, committed or not.
    pub(crate) n_written: usize,
}

impl Store {
    /// A store whose calls fail in this order.
    pub(crate) fn with_faults(faults: impl IntoIterator<Item = (Call, Error)>) -> Self {
        let store = Self::default();
        store.0.lock().unwrap().faults.extend(faults);
        store
    }

    /// All committed numbers, sorted.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        let mut all: Vec<i64> = self.epochs().into_iter().flat_map(|(_, values)| values).collect();
        all.sort_unstable();
        all
    }

    /// The committed numbers of each epoch that has any, sorted.
    pub(crate) fn epochs(&self) -> Vec<(u64, Vec<i64>)> {
        let mut epochs = std::collections::BTreeMap::<u64, Vec<i64>>::new();
        for (epoch, batches) in &self.0.lock().unwrap().committed {
            epochs.entry(epoch.0).or_default().extend(batches.iter().flat_map(values));
        }
        epochs.values_mut().for_each(|values| values.sort_unstable());
        epochs.into_iter().filter(|(_, values)| !values.is_empty()).collect()
    }

    /// A committed column of text, in the order of the commits.
    pub(crate) fn texts(&self, column: &str) -> Vec<String> {
        let stored = self.0.lock().unwrap();
        let batches = stored.committed.iter().flat_map(|(_, batches)| batches);
        let text = |batch: &RecordBatch| {
            let texts = batch.column_by_name(column).unwrap().as_string::<i32>().clone();
            (0..texts.len()).map(|row| texts.value(row).to_owned()).collect::<Vec<_>>()
        };
        batches.flat_map(text).collect()
    }

    fn fault(&self, call: Call) -> Result<()> {
        let mut stored = self.0.lock().unwrap();
        match stored.faults.front() {
            Some((next, _)) if *next == call => Err(stored.faults.pop_front().unwrap().1),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl SinkSpec for Store {
    fn describe(&self) -> String {
        "store".to_owned()
    }

    fn changes(&self) -> Changes {
        Changes::Any
    }

    fn parallelism_max(&self) -> usize {
        usize::MAX
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>> {
        self.fault(Call::Open)?;
        let last = context.restored.unwrap_or(Epoch(0));
        self.0.lock().unwrap().staged.retain(|(epoch, _), _| *epoch <= last);
        Ok(Box::new(OpenStore { store: self.clone(), subtask: context.subtask, pending: Vec::new() }))
    }
}

struct OpenStore {
    store: Store,
    subtask: usize,
    pending: Vec<RecordBatch>,
}

impl OpenStore {
    async fn step(&self) {
        let crash = self.store.0.lock().unwrap().crash.clone();
        crash.step().await;
    }
}

#[async_trait]
impl Sink for OpenStore {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.store.fault(Call::Write)?;
        let pause = self.store.0.lock().unwrap().write_pause;
        if !pause.is_zero() {
            sleep(pause).await;
        }
        self.store.0.lock().unwrap().n_written += batch.n_rows();
        self.pending.push(batch.rows);
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        self.step().await;
        self.store.fault(Call::Prepare)?;
        let pending = std::mem::take(&mut self.pending);
        self.store.0.lock().unwrap().staged.insert((epoch, self.subtask), pending);
        self.step().await;
        Ok(Prepared(self.subtask.into()))
    }

    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        self.step().await;
        self.store.fault(Call::Commit)?;
        let subtask = usize::try_from(prepared.0.as_u64().unwrap()).unwrap();
        {
            let mut stored = self.store.0.lock().unwrap();
            if let Some(staged) = stored.staged.remove(&(epoch, subtask)) {
                stored.committed.push((epoch, staged));
            }
        }
        self.step().await;
        Ok(())
    }
}

/// Builds graphs in few words.
#[derive(Default)]
pub(crate) struct GraphBuilder {
    pub(crate) graph: Graph,
}

impl GraphBuilder {
    pub(crate) fn source(&mut self, name: &str, source: MemorySource, delay: Option<i64>) -> NodeId {
        let parallelism_max = source.parallelism_max;
        let event_time = delay.map(|delay| Arc::new(EventTimeOfColumn { delay }) as Arc<dyn EventTimeSpec>);
        let body = NodeBody::Source { source: Arc::new(source), operators: Vec::new(), event_time };
        self.graph.add(name, body, parallelism_max)
    }

    pub(crate) fn chain(&mut self, name: &str, mut operators: Vec<Arc<dyn OperatorSpec>>, max: usize) -> NodeId {
        if operators.is_empty() {
            operators.push(pass());
        }
        self.graph.add(name, NodeBody::Chain(operators), max)
    }

    pub(crate) fn sink(&mut self, name: &str, store: &Store) -> NodeId {
        self.graph.add(name, NodeBody::Sink(Arc::new(store.clone())), usize::MAX)
    }

    pub(crate) fn connect(&mut self, from: NodeId, to: NodeId, exchange: Exchange) {
        self.connect_input(from, to, 0, exchange);
    }

    pub(crate) fn connect_input(&mut self, from: NodeId, to: NodeId, input: usize, exchange: Exchange) {
        self.graph.connect(Edge { from, to, input, exchange, changing: false });
    }

    /// A source, a chain behind a hash exchange, and a sink.
    pub(crate) fn line(source: MemorySource, operators: Vec<Arc<dyn OperatorSpec>>, store: &Store) -> Graph {
        let mut graph = Self::default();
        let source = graph.source("source", source, Some(0));
        let chain = graph.chain("chain", operators, 8);
        let sink = graph.sink("sink", store);
        graph.connect(source, chain, Exchange::Hash(vec![0]));
        graph.connect(chain, sink, Exchange::Forward);
        graph.graph
    }
}

/// Options with a clock that stands at one second after the epoch.
pub(crate) fn options(parallelism: usize) -> EngineOptions {
    let clock = Arc::new(FixedClock::new(EventTime(EventTime::SECOND)));
    EngineOptions { parallelism, ..EngineOptions::new("test", clock) }
}

/// Runs to the end on one thread, where time passes only when everybody waits for it.
pub(crate) fn in_virtual_time<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}
