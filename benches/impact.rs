//! Rows per second of the steps that every event goes through, and of the whole impact pipeline: `./dev bench`.
//!
//! The lines are generated with a fixed seed, so that two runs measure the same work. The pipeline is measured twice:
//! into the store as shipped, and into nothing, so that the difference is the store. It asserts that every line was
//! read, and nothing else. Its size is bounded by a year of one company.

use arrow::array::{BinaryArray, StringArray};
use criterion::{BatchSize, Criterion, Throughput};
use headwater_connectors::generator::impact::{ImpactGenerator, ImpactOptions, Line};
use headwater_connectors::inbox::Inbox;
use headwater_core::{Counter, Graph, Registry, SystemClock};
use headwater_engine::{EngineOptions, NodeKind, start};
use headwater_pipelines::migrations::migrate;
use headwater_pipelines::shipped::{IMPACT, IMPACT_TABLES};
use headwater_sql::{PlanOptions, Planner};
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const FEEDBACK: &str = "buddy.feedback.submitted";

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    decode(&mut criterion);
    texts(&mut criterion);
    pipeline(&mut criterion);
    criterion.final_summary();
}

fn generator() -> ImpactGenerator {
    let options = ImpactOptions { companies: 1, months: 12, ..ImpactOptions::default() };
    ImpactGenerator::new(options).expect("the options are valid")
}

fn elements(n: usize) -> Throughput {
    Throughput::Elements(n as u64)
}

/// Lines to typed columns, the contract checked.
fn decode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decode");
    for topic in ["kintell.session.completed", FEEDBACK] {
        let lines: Vec<Line> = generator().only(topic).collect();
        let values = BinaryArray::from_iter_values(lines.iter().map(|line| &line.bytes));
        let positions = StringArray::from_iter_values((0..lines.len()).map(|n| n.to_string()));
        let contract = headwater_contracts::find(topic).expect("the generator's topics have contracts");
        group.throughput(elements(lines.len()));
        group.bench_function(topic, |bencher| {
            bencher.iter(|| contract.decode(&values, &positions, "bench").expect("as many positions as lines"));
        });
    }
    group.finish();
}

/// Free text: personal data out, then scores and spans.
fn texts(criterion: &mut Criterion) {
    let parsed = |line: Line| serde_json::from_slice::<serde_json::Value>(&line.bytes).ok();
    let text = |event: serde_json::Value| Some(event["data"]["feedbackText"].as_str()?.to_owned());
    let texts: Vec<String> = generator().only(FEEDBACK).filter_map(parsed).filter_map(text).collect();
    assert!(!texts.is_empty(), "the generator writes feedback");
    let mut group = criterion.benchmark_group("text");
    group.throughput(elements(texts.len()));
    group.bench_function("screen", |bencher| {
        bencher.iter(|| texts.iter().for_each(|text| drop(black_box(headwater_text::screen(text)))));
    });
    group.bench_function("classify", |bencher| {
        bencher.iter(|| texts.iter().for_each(|text| drop(black_box(headwater_text::classify(text, None)))));
    });
    group.finish();
}

/// The generated year from the inbox to metrics.
fn pipeline(criterion: &mut Criterion) {
    let world = World::new();
    let runtime = Runtime::new().expect("threads can be started");
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(elements(world.n_lines));
    for sink in ["sqlite", "blackhole"] {
        group.bench_function(sink, |bencher| {
            bencher.iter_batched(
                || world.plan(sink),
                |graph| assert!(runtime.block_on(run(graph)) >= world.n_lines as u64, "lines were not read"),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// A data folder with a year of events in its inbox.
struct World {
    folder: TempDir,
    planner: Planner,
    n_lines: usize,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in IMPACT_TABLES {
            fs::write(folder.path().join(name), text).expect("the folder is there");
        }
        migrate(&folder.path().join("impact.db"), IMPACT.migrations).expect("the file is new");
        let mut topics: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
        for line in generator() {
            topics.entry(line.topic).or_default().push(line.bytes);
        }
        let inbox = Inbox::open(folder.path().join("inbox")).expect("the folder is there");
        for (topic, lines) in &topics {
            let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            inbox.append(topic, &lines).expect("the disk has room");
        }
        let mut registry = Registry::default();
        for connector in headwater_connectors::connectors().into_iter().chain(headwater_sinks::connectors()) {
            registry.add(connector);
        }
        let n_lines = topics.values().map(Vec::len).sum();
        Self { folder, planner: Planner::new(registry), n_lines }
    }

    fn plan(&self, sink: &str) -> Graph {
        let path = |name: &str| self.folder.path().join(name).to_string_lossy().into_owned();
        let (inbox, store, tables) = (path("inbox"), path("impact.db"), path(""));
        let values = [("inbox", &*inbox), ("store", &*store), ("tables", &*tables), ("mode", "bounded")];
        let mut sql = IMPACT.sql(&values).expect("all placeholders have values");
        if sink == "blackhole" {
            let shipped = format!("connector = 'sqlite', path = '{store}', on_start = 'replace'");
            assert!(sql.contains(&shipped), "the shipped sinks are written differently");
            sql = sql.replace(&shipped, "connector = 'blackhole'");
        }
        let options = PlanOptions { pipeline: IMPACT.name.to_owned(), base: Path::new("").to_owned() };
        self.planner.plan(&sql, &options).expect("the shipped pipeline is right")
    }
}

/// Runs a pipeline to its end and returns how many rows its sources read: the lines, and those of the reference tables.
async fn run(graph: Graph) -> u64 {
    let mut options = EngineOptions::new(IMPACT.name, Arc::new(SystemClock));
    options.parallelism = 2;
    let handle = start(graph, options).expect("the graph can be laid out");
    let report = handle.join().await.expect("nothing outside is away");
    let sources = report.nodes.iter().filter(|node| node.kind == NodeKind::Source);
    sources.map(|node| node.count(Counter::RowsIn)).sum()
}
