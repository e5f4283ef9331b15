//! A seeded simulation: random graphs, asynchronous services in them, parallelism, batch sizes, pauses and faults in virtual time. Every row is
//! counted exactly once at every sink, all sinks agree about every epoch, and the same seed gives the same run.

use super::asynchronous::{Service, service};
use super::fixtures::{Call, GraphBuilder, MemorySource, Step, Store, in_virtual_time, options, rows};
use crate::{FirstCommit, RunReport, start};
use headwater_core::{AsyncSettings, Error, Exchange, NodeBody, NodeId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How many seeds a test run tries.
const N_SEEDS: u64 = 150;

/// Makes a script that yields the numbers of one partition, with pauses and faults in between.
fn script(chance: &mut ChaCha8Rng, numbers: std::ops::Range<i64>, n_letters: &mut u64) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut from = numbers.start;
    while from < numbers.end {
        match chance.random_range(0..10) {
            0 => steps.push(Step::Pause(Duration::from_millis(chance.random_range(1..3_000)))),
            1 => steps.push(Step::Idle),
            2 => steps.push(Step::Fail(Error::unavailable("away"))),
            3 => {
                steps.push(Step::Letter("?"));
                *n_letters += 1;
            }
            _ => {
                let to = (from + chance.random_range(1..40)).min(numbers.end);
                steps.push(rows(from..to));
                from = to;
            }
        }
    }
    steps
}

fn exchange(chance: &mut ChaCha8Rng) -> Exchange {
    match chance.random_range(0..5) {
        0 => Exchange::Gather,
        1 => Exchange::Forward,
        _ => Exchange::Hash(vec![0]),
    }
}

fn store(chance: &mut ChaCha8Rng) -> Store {
    let calls = [Call::Write, Call::Prepare, Call::Commit];
    let fault = |_| (calls[chance.random_range(0..calls.len())], Error::unavailable("away"));
    let faults: Vec<_> = (0..5).map(fault).collect();
    let store = Store::with_faults(faults);
    if chance.random_bool(0.5) {
        store.0.lock().unwrap().write_pause = Duration::from_millis(chance.random_range(1..50));
    }
    store
}

/// A service that answers each number with itself, after a while, and sometimes not at once.
fn echo(chance: &mut ChaCha8Rng) -> Service {
    let settings = AsyncSettings {
        ordered: chance.random_bool(0.5),
        in_flight_max: chance.random_range(1..10),
        request_rows_max: chance.random_range(1..30),
        timeout: Duration::from_millis(500),
        tries: 100,
    };
    let salt: i64 = chance.random_range(1..1_000);
    service(settings, move |number, n_before| {
        let pause = Duration::from_millis((number * salt % 97).unsigned_abs());
        match (number * salt % 41, n_before) {
            (7, 0) => (pause, Err(Error::unavailable("away"))),
            (9, 0) => (Duration::from_secs(5), Ok(vec![number])),
            _ => (pause, Ok(vec![number])),
        }
    })
}

/// What a run is known by.
struct Run {
    report: RunReport,
    stores: Vec<Store>,
    letters: Store,
    n_letters: u64,
    n_rows: i64,
    trace: String,
}

/// Builds layers of nodes in which every row reaches every sink exactly once, and runs them.
async fn run(seed: u64) -> Run {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let mut graph = GraphBuilder::default();
    let (mut n_rows, mut n_letters) = (0, 0);
    let mut layer: Vec<NodeId> = Vec::new();
    for number in 0..chance.random_range(1..4) {
        let n_partitions = chance.random_range(1..5);
        let scripts: Vec<Vec<Step>> = (0..n_partitions)
            .map(|_| {
                let from = n_rows;
                n_rows += chance.random_range(0..400);
                script(&mut chance, from..n_rows, &mut n_letters)
            })
            .collect();
        let source = MemorySource::bounded(&scripts, chance.random_range(1..5));
        let delay = chance.random_bool(0.7).then_some(10);
        layer.push(graph.source(&format!("source {number}"), source, delay));
    }
    for depth in 0..chance.random_range(0..4) {
        // One chain takes all rows of the layer above, so that none is doubled on its way to a sink.
        let chain = if chance.random_bool(0.3) {
            let service = echo(&mut chance);
            graph.graph.add(format!("service {depth}"), NodeBody::Async(Arc::new(service)), chance.random_range(1..6))
        } else {
            graph.chain(&format!("chain {depth}"), Vec::new(), chance.random_range(1..6))
        };
        for (input, from) in layer.into_iter().enumerate() {
            graph.connect_input(from, chain, input, exchange(&mut chance));
        }
        layer = vec![chain];
    }
    let stores: Vec<Store> = (0..chance.random_range(1..4)).map(|_| store(&mut chance)).collect();
    for (number, store) in stores.iter().enumerate() {
        let sink = graph.sink(&format!("sink {number}"), store);
        for from in &layer {
            graph.connect(*from, sink, exchange(&mut chance));
        }
    }
    let mut options = options(chance.random_range(1..7));
    options.channel_rows_max = chance.random_range(1..200);
    options.flush_interval = Duration::from_millis(chance.random_range(50..2_000));
    options.checkpoint_every = chance.random_range(1..4);
    options.first_commit = if chance.random_bool(0.3) { FirstCommit::WhenCaughtUp } else { FirstCommit::Immediately };
    options.retry.seed = seed;
    // A script may fail often in a row.
    options.retry.tries = 100;
    let letters = Store::default();
    options.dead_letters = Some(Arc::new(letters.clone()));
    let began = Instant::now();
    let handle = start(graph.graph, options).unwrap();
    let ended = timeout(Duration::from_secs(86_400), handle.join()).await;
    let report = ended.unwrap_or_else(|_| panic!("seed {seed} hangs")).unwrap();
    let mut trace = format!("{report}{:?} {:?} {:?}", report.last_epoch, report.positions, began.elapsed());
    for store in &stores {
        write!(trace, "\n{:?}", store.0.lock().unwrap().committed).unwrap();
    }
    Run { report, stores, letters, n_letters, n_rows, trace }
}

#[test]
fn every_row_is_counted_exactly_once() {
    for seed in 0..N_SEEDS {
        let run = in_virtual_time(run(seed));
        let expected: Vec<i64> = (0..run.n_rows).collect();
        for store in &run.stores {
            assert_eq!(store.numbers(), expected, "seed {seed}");
            assert_eq!(store.epochs(), run.stores[0].epochs(), "seed {seed}");
        }
        let totals = run.report.totals();
        assert_eq!(run.letters.texts("reason").len() as u64, run.n_letters, "seed {seed}");
        let n_stores = run.stores.len() as u64;
        assert_eq!(totals.source_rows, totals.sink_rows / n_stores + totals.dead_letters, "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..20 {
        let (first, second) = (in_virtual_time(run(seed)).trace, in_virtual_time(run(seed)).trace);
        assert!(first == second, "seed {seed} gives two different runs");
    }
    assert!(in_virtual_time(run(1)).trace != in_virtual_time(run(2)).trace, "the seed decides the run");
}
