//! A seeded simulation of crashes: whole pipelines with state, slow and failing stores for checkpoints and for rows,
//! and a process that ends at any step between a poll and an acknowledgement and is started again at another
//! parallelism. Each row's effect is counted exactly once, and the same seed gives the same run.

use super::faulty::Faulty;
use super::fixtures::{Call, Crash, GraphBuilder, MemorySource, Step, Store, in_virtual_time, options, rows, timed};
use crate::state::StateStore;
use crate::{EngineOptions, Handle, StateOptions, start};
use arrow::array::{AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use headwater_core::{
    Batch, Error, Exchange, Operator, OperatorSpec, Output, Result, Route, Snapshot, StateTable, TaskContext,
};
use object_store::memory::InMemory;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How many seeds a test run tries.
const N_SEEDS: u64 = 1_000;

/// Lets each number pass the first time, and forgets it the second time: what is forgotten too early, or remembered
/// in vain, shows as a row too many or too few.
#[derive(Debug)]
struct FirstOfTwo;

#[derive(Default)]
struct Seen {
    numbers: BTreeSet<i64>,
    added: BTreeSet<i64>,
    removed: BTreeSet<i64>,
}

fn number_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]))
}

fn column(numbers: &BTreeSet<i64>) -> Result<RecordBatch> {
    let numbers = Int64Array::from_iter_values(numbers.iter().copied());
    Ok(RecordBatch::try_new(number_schema(), vec![Arc::new(numbers)])?)
}

impl OperatorSpec for FirstOfTwo {
    fn describe(&self) -> String {
        "first of two".to_owned()
    }

    fn schema(&self) -> SchemaRef {
        timed(&[]).schema()
    }

    fn state(&self) -> Option<String> {
        Some("numbers that came once".to_owned())
    }

    fn build(&self, _: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::<Seen>::default())
    }
}

impl Operator for Seen {
    fn on_batch(&mut self, _: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let mut passing = Vec::new();
        for (at, number) in (0_u32..).zip(batch.rows.column(0).as_primitive::<Int64Type>().values()) {
            if self.numbers.remove(number) {
                self.added.remove(number);
                self.removed.insert(*number);
            } else {
                self.numbers.insert(*number);
                self.removed.remove(number);
                self.added.insert(*number);
                passing.push(at);
            }
        }
        out.emit(Batch::append_only(take_record_batch(&batch.rows, &UInt32Array::from(passing))?));
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        if self.added.is_empty() && self.removed.is_empty() {
            return Ok(Snapshot::default());
        }
        let table = StateTable {
            name: "seen",
            key: vec![0],
            route: Route::Key(vec![0]),
            rows: column(&std::mem::take(&mut self.added))?,
            removed: Some(column(&std::mem::take(&mut self.removed))?),
        };
        Ok(Snapshot { tables: vec![table] })
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        if table != "seen" {
            return Err(Error::data(format!("unknown table {table}")));
        }
        for number in rows.column(0).as_primitive::<Int64Type>().values() {
            assert!(self.numbers.insert(*number), "{number} is restored twice");
        }
        Ok(())
    }
}

/// A script that has each of the numbers twice, in any order, with pauses and faults in between.
fn script(chance: &mut ChaCha8Rng, numbers: std::ops::Range<i64>, n_letters: &mut usize) -> Vec<Step> {
    let mut twice: Vec<i64> = numbers.clone().chain(numbers).collect();
    for at in (1..twice.len()).rev() {
        twice.swap(at, chance.random_range(0..=at));
    }
    let mut steps = Vec::new();
    let mut rest = twice.as_slice();
    while !rest.is_empty() {
        match chance.random_range(0..12) {
            0 => steps.push(Step::Pause(Duration::from_millis(chance.random_range(1..2_000)))),
            1 => steps.push(Step::Idle),
            2 => steps.push(Step::Fail(Error::unavailable("away"))),
            3 => {
                steps.push(Step::Letter("?"));
                *n_letters += 1;
            }
            _ => {
                let (now, later) = rest.split_at(chance.random_range(1..30).min(rest.len()));
                steps.push(rows(now.iter().copied()));
                rest = later;
            }
        }
    }
    steps
}

fn store(chance: &mut ChaCha8Rng, crash: &Crash) -> Store {
    let calls = [Call::Write, Call::Prepare, Call::Commit];
    let fault = |_| (calls[chance.random_range(0..calls.len())], Error::unavailable("away"));
    let store = Store::with_faults((0..4).map(fault).collect::<Vec<_>>());
    {
        let mut stored = store.0.lock().unwrap();
        stored.crash = crash.clone();
        if chance.random_bool(0.5) {
            stored.write_pause = Duration::from_millis(chance.random_range(1..30));
        }
    }
    store
}

/// A pipeline that can be started again and again.
struct World {
    sources: Vec<MemorySource>,
    n_chains: usize,
    stores: Vec<Store>,
    letters: Store,
    n_letters: usize,
    n_rows: i64,
    crash: Crash,
    bucket: Arc<InMemory>,
    exchanges: Vec<Exchange>,
}

impl World {
    fn new(chance: &mut ChaCha8Rng) -> Self {
        let crash = Crash::default();
        let (mut n_rows, mut n_letters) = (0, 0);
        let sources = (0..chance.random_range(1..3)).map(|_| {
            let scripts: Vec<Vec<Step>> = (0..chance.random_range(1..4))
                .map(|_| {
                    let from = n_rows;
                    n_rows += chance.random_range(0..150);
                    script(chance, from..n_rows, &mut n_letters)
                })
                .collect();
            MemorySource::bounded(&scripts, chance.random_range(1..4)).crashing(&crash)
        });
        let sources: Vec<MemorySource> = sources.collect();
        let exchange = |chance: &mut ChaCha8Rng| match chance.random_range(0..3) {
            0 => Exchange::Gather,
            1 => Exchange::Forward,
            _ => Exchange::Hash(vec![0]),
        };
        let n_chains = chance.random_range(1..3);
        let exchanges = (0..8).map(|_| exchange(chance)).collect();
        let stores = (0..chance.random_range(1..3)).map(|_| store(chance, &crash)).collect();
        let letters = store(chance, &crash);
        Self { sources, n_chains, stores, letters, n_letters, n_rows, crash, bucket: Arc::default(), exchanges }
    }

    /// The first chain keeps one of each number; others pass everything on.
    fn start(&self, options: EngineOptions) -> Handle {
        let mut graph = GraphBuilder::default();
        let first = graph.chain("first", vec![Arc::new(FirstOfTwo)], 8);
        for (number, source) in self.sources.iter().enumerate() {
            let source = graph.source(&format!("source {number}"), source.clone(), Some(10));
            graph.connect(source, first, Exchange::Hash(vec![0]));
        }
        let mut last = first;
        for number in 1..self.n_chains {
            let chain = graph.chain(&format!("chain {number}"), Vec::new(), 8);
            graph.connect(last, chain, self.exchanges[number].clone());
            last = chain;
        }
        for (number, store) in self.stores.iter().enumerate() {
            let sink = graph.sink(&format!("sink {number}"), store);
            graph.connect(last, sink, self.exchanges[4 + number].clone());
        }
        start(graph.graph, options).unwrap()
    }

    async fn options(&self, chance: &mut ChaCha8Rng, seed: u64) -> EngineOptions {
        let mut options = options(chance.random_range(1..6));
        options.channel_rows_max = chance.random_range(1..200);
        options.flush_interval = Duration::from_millis(chance.random_range(20..1_000));
        options.checkpoint_every = chance.random_range(1..4);
        options.retry.seed = seed;
        options.retry.tries = 100;
        options.dead_letters = Some(Arc::new(self.letters.clone()));
        let calm = StateStore::new(self.bucket.clone(), "test");
        let mut state = StateOptions::latest(calm.clone()).await.unwrap();
        calm.sweep(state.restore.as_deref()).await.unwrap();
        let faults = chance.random_range(0..20);
        let faulty = Faulty::new(self.bucket.clone(), seed ^ chance.random::<u64>(), faults, self.crash.clone());
        state.store = StateStore::new(Arc::new(faulty), "test");
        state.retain = chance.random_range(1..4);
        options.state = Some(state);
        options
    }
}

/// Runs a pipeline with some crashes to its end.
async fn run(seed: u64) -> (World, String, u32) {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let world = World::new(&mut chance);
    let began = Instant::now();
    let mut trace = String::new();
    let (mut n_crashes, mut n_crashed) = (chance.random_range(0..6), 0);
    loop {
        let options = world.options(&mut chance, seed).await;
        let from = options.state.as_ref().and_then(|state| state.restore.as_ref()).map(|manifest| manifest.epoch);
        let parallelism = options.parallelism;
        world.crash.after((n_crashes > 0).then(|| chance.random_range(0..120)));
        let handle = world.start(options);
        tokio::select! {
            biased;
            () = world.crash.1.notified() => {
                n_crashes -= 1;
                n_crashed += 1;
            }
            ended = timeout(Duration::from_secs(86_400), handle.join()) => {
                let report = ended.unwrap_or_else(|_| panic!("seed {seed} hangs")).unwrap();
                write!(trace, "{from:?} ×{parallelism} {:?} {:?}", report.last_epoch, began.elapsed()).unwrap();
                break;
            }
        }
        writeln!(trace, "{from:?} ×{parallelism} crashed {:?}", began.elapsed()).unwrap();
        drop(handle);
        // What the process had begun ends with it.
        tokio::task::yield_now().await;
    }
    for store in &world.stores {
        write!(trace, "\n{:?}", store.0.lock().unwrap().committed).unwrap();
    }
    (world, trace, n_crashed)
}

#[test]
fn every_row_counts_exactly_once_whatever_crashes() {
    let (mut n_crashes, mut n_rows) = (0, 0);
    for seed in 0..N_SEEDS {
        let (world, trace, n_crashed) = in_virtual_time(run(seed));
        n_crashes += n_crashed;
        n_rows += world.n_rows;
        let expected: Vec<i64> = (0..world.n_rows).collect();
        for store in &world.stores {
            assert_eq!(store.numbers(), expected, "seed {seed}\n{trace}");
            assert_eq!(store.epochs(), world.stores[0].epochs(), "seed {seed}\n{trace}");
        }
        assert_eq!(world.letters.texts("reason").len(), world.n_letters, "seed {seed}\n{trace}");
    }
    assert!(u64::from(n_crashes) > N_SEEDS, "{n_crashes} crashes are too few to mean anything");
    if let Some(folder) = std::env::var_os("HEADWATER_GUARANTEES") {
        let table = format!("| {N_SEEDS} | {n_crashes} | {n_rows} | 0 | 0 |\n");
        std::fs::write(std::path::Path::new(&folder).join("simulation.md"), table).unwrap();
    }
}

#[test]
fn the_same_seed_gives_the_same_crashes() {
    for seed in 0..20 {
        let (first, second) = (in_virtual_time(run(seed)).1, in_virtual_time(run(seed)).1);
        assert!(first == second, "seed {seed} gives two different runs:\n{first}\n\n{second}");
    }
}
