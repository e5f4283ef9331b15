//! The shipped impact pipeline as a stream against the same SQL as plain batch queries: every table of the store, row by
//! row, zero differences, whatever the parallelism, the file split and the order of arrival; and books that balance.
//! Never compares a stream with a stream, and never allows a tolerance. Holds one generated programme and its two stores
//! at a time: a few companies by default, twenty with `HEADWATER_LONG=1`.

use crate::impact_sql::batch;
use crate::support::repository;
use headwater_connectors::generator::impact::{ImpactOptions, Line, Stated};
use headwater_connectors::inbox::Inbox;
use headwater_core::{Counter, Registry, SystemClock};
use headwater_engine::{EngineOptions, NodeKind, Outcome, RunReport, start};
use headwater_pipelines::migrations::migrate;
use headwater_pipelines::shipped::IMPACT;
use headwater_sql::{PlanOptions, Planner};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How the same lines reach the pipeline.
#[derive(Debug, Clone, Copy)]
struct Variant {
    parallelism: usize,
    /// The seed of the order; arrival order without one.
    shuffled: Option<u64>,
    /// Whether each topic is cut into many small files, which are read in small batches and committed often, so that
    /// what was written is taken back many times.
    is_split: bool,
}

const VARIANTS: [Variant; 5] = [
    Variant { parallelism: 1, shuffled: None, is_split: false },
    Variant { parallelism: 4, shuffled: None, is_split: true },
    Variant { parallelism: 1, shuffled: Some(1), is_split: true },
    Variant { parallelism: 2, shuffled: Some(2), is_split: false },
    Variant { parallelism: 4, shuffled: Some(3), is_split: true },
];

/// Small enough that every busy topic of a small programme becomes many files.
const SPLIT_BYTES: u64 = 16 << 10;
const SPLIT_LINES: usize = 20;
const SPLIT_BATCH_ROWS: usize = 100;
const SPLIT_FLUSH: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn a_year_streamed_equals_the_batch_answer_seed_1() {
    year_equals_batch(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_streamed_equals_the_batch_answer_seed_2() {
    year_equals_batch(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_year_streamed_equals_the_batch_answer_seed_3() {
    year_equals_batch(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn years_of_more_seeds_when_asked_for() {
    if is_long() {
        for seed in [4, 5] {
            year_equals_batch(seed).await;
        }
    }
}

#[test]
fn a_changed_cell_another_type_and_a_missing_row_are_differences() {
    let store = |rows: &str| {
        let store = Connection::open_in_memory().expect("an in-memory store");
        store.execute_batch(&format!("CREATE TABLE t (id, hours); INSERT INTO t VALUES {rows};")).expect("valid SQL");
        store
    };
    let answer = store("('a', 1), ('b', 2), ('c', null)");
    assert_eq!(difference("t", &answer, &store("('c', null), ('b', 2), ('a', 1)")), None);
    for (other, n_missing, n_extra) in [
        ("('a', 1), ('b', 3), ('c', null)", 1, 1),
        ("('a', 1), ('b', '2'), ('c', null)", 1, 1),
        ("('a', 1), ('b', 2)", 1, 0),
        ("('a', 1), ('b', 2), ('c', null), ('c', 0)", 0, 1),
        ("('a', 1), ('b', 2), ('c', null), ('a', 1)", 0, 0),
    ] {
        let text = difference("t", &answer, &store(other)).expect(other);
        assert!(text.contains(&format!("{n_missing} only in batch, {n_extra} only streamed")), "{other}: {text}");
    }
}

fn is_long() -> bool {
    std::env::var_os("HEADWATER_LONG").is_some_and(|value| value == "1")
}

async fn year_equals_batch(seed: u64) {
    let companies = if is_long() { 20 } else { 3 };
    let clock = Instant::now();
    let answer = batch::run(ImpactOptions { companies, months: 12, seed, ..ImpactOptions::default() }).await;
    let tables = sink_tables();
    let rows = tables.iter().map(|table| rows_of(&answer.store, table).len());
    let rows: usize = rows.inspect(|n| assert!(*n > 0, "a table without rows compares nothing")).sum();
    println!(
        "seed {seed}: {} lines; batch: {rows} rows in {} tables, {:?}",
        answer.lines.len(),
        tables.len(),
        clock.elapsed()
    );
    for variant in VARIANTS {
        let clock = Instant::now();
        let streamed = Streamed::new(&answer.lines, variant).await;
        let books = streamed.balanced_books(&answer.stated, variant);
        println!("seed {seed}, {variant:?}: {books}; {:?}", clock.elapsed());
        let mut differences = String::new();
        for table in &tables {
            differences.push_str(&difference(table, &answer.store, &streamed.store).unwrap_or_default());
        }
        assert!(differences.is_empty(), "seed {seed}, {variant:?}:\n{differences}");
        streamed.evidence_points_at_its_line();
    }
}

/// Returns every table that an INSERT of the pipeline fills.
fn sink_tables() -> Vec<&'static str> {
    let mut tables: Vec<&str> = IMPACT
        .files
        .iter()
        .flat_map(|(_, sql)| sql.lines())
        .filter_map(|line| line.strip_prefix("INSERT INTO ")?.split_whitespace().next())
        .collect();
    tables.sort_unstable();
    for expected in
        ["metrics_company_period", "metric_values", "outcome_scores", "evidence_snippets", "valued_outcomes"]
    {
        assert!(tables.contains(&expected), "{expected} is not among {tables:?}");
    }
    tables
}

/// Returns the tables that read a topic of the inbox: the names of the source nodes whose books are balanced.
fn inbox_tables() -> BTreeSet<&'static str> {
    let lines = IMPACT.files.iter().flat_map(|(_, sql)| sql.lines());
    let inbox = lines.filter(|line| line.contains("connector = 'inbox'"));
    inbox.filter_map(|line| line.strip_prefix("CREATE TABLE ")?.split_whitespace().next()).collect()
}

/// What a bounded run of the pipeline left.
struct Streamed {
    folder: TempDir,
    report: RunReport,
    store: Connection,
}

impl Streamed {
    async fn new(lines: &[Line], variant: Variant) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (inbox, store) = (folder.path().join("inbox"), folder.path().join("store.db"));
        fill_inbox(&inbox, lines, variant);
        migrate(&store, IMPACT.migrations).expect("an empty store can be migrated");
        let sql = IMPACT.sql(&[
            ("inbox", &inbox.to_string_lossy()),
            ("store", &store.to_string_lossy()),
            ("tables", &repository("pipelines/impact").to_string_lossy()),
            ("mode", "bounded"),
        ]);
        let mut registry = Registry::default();
        for connector in headwater_connectors::connectors().into_iter().chain(headwater_sinks::connectors()) {
            registry.add(connector);
        }
        let plan = PlanOptions { pipeline: IMPACT.name.to_owned(), base: folder.path().to_owned() };
        let graph = Planner::new(registry).plan(&sql.expect("every placeholder has a value"), &plan);
        let mut options = EngineOptions::new(IMPACT.name, Arc::new(SystemClock));
        options.parallelism = variant.parallelism;
        if variant.is_split {
            options.batch_rows_max = SPLIT_BATCH_ROWS;
            options.flush_interval = SPLIT_FLUSH;
        }
        let handle = start(graph.expect("the shipped pipeline can be planned"), options).expect("the pipeline starts");
        let report = handle.join().await.expect("the pipeline runs to the end of its input");
        let store = Connection::open(store).expect("the store can be read");
        Self { folder, report, store }
    }

    /// Checks what went in against what came out, each side counted on its own, and returns the balance.
    fn balanced_books(&self, stated: &Stated, variant: Variant) -> String {
        assert_eq!(self.report.outcome, Outcome::Finished);
        let totals = self.report.totals();
        let inbox = inbox_tables();
        let nodes = || self.report.nodes.iter();
        let is_topic = |name: &str| name.strip_prefix("source_").is_some_and(|table| inbox.contains(table));
        let sources = || nodes().filter(|node| node.kind == NodeKind::Source && is_topic(&node.name));
        assert_eq!(sources().count(), inbox.len(), "each topic is read once: {}", self.report);
        let sum = |counter| sources().map(|node| node.count(counter)).sum::<u64>();
        let rows_in = sum(Counter::RowsIn);
        let rows_out = sum(Counter::RowsOut) - totals.duplicates;
        let letters: u64 = self.report.dead_letters.iter().map(|(_, n)| n).sum();
        let books = format!(
            "rows in {rows_in} = rows out {rows_out} + dead letters {letters} + duplicates {} ({} corrections; {} rows written)",
            totals.duplicates, totals.corrections, totals.sink_rows
        );
        assert_eq!(rows_in, rows_out + letters + totals.duplicates, "{books}");
        assert_eq!(rows_in, stated.lines, "{books}");
        assert_eq!(rows_out - totals.corrections, stated.events, "{books}");
        assert_eq!(self.report.dead_letters.iter().copied().collect::<BTreeMap<_, _>>(), stated.bad, "{books}");
        assert_eq!(totals.late, 0, "{books}");
        // Shuffled, a correction that comes first makes a duplicate of what it corrects.
        assert_eq!(totals.duplicates + totals.corrections, stated.duplicates + stated.corrections, "{books}");
        if variant.shuffled.is_none() && !variant.is_split {
            assert_eq!(totals.duplicates, stated.duplicates, "{books}");
        }
        books
    }

    /// Checks that `source_ref` of each snippet is the place of a line of its event.
    fn evidence_points_at_its_line(&self) {
        let mut query =
            self.store.prepare("SELECT DISTINCT event_id, source_ref FROM evidence_snippets").expect("a query");
        let places = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("a query");
        let places: Vec<(String, String)> = places.collect::<Result<_, _>>().expect("rows of text");
        assert!(places.len() > 20, "{} places", places.len());
        let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        for (event, place) in &places {
            let (file, offset) = place.rsplit_once(':').expect("file:offset");
            let read = || std::fs::read(self.folder.path().join("inbox").join(file)).expect("a segment of the inbox");
            let rest = &files.entry(file).or_insert_with(read)[offset.parse::<usize>().expect("an offset")..];
            let line = rest.split(|byte| *byte == b'\n').next().expect("a split has a first part");
            let line: serde_json::Value = serde_json::from_slice(line).expect("a line begins at the offset");
            assert_eq!(line["metadata"]["id"].as_str(), Some(event.as_str()), "{place}");
        }
    }
}

fn fill_inbox(dir: &Path, lines: &[Line], variant: Variant) {
    let mut order: Vec<&Line> = lines.iter().collect();
    if let Some(seed) = variant.shuffled {
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    }
    let mut topics: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
    for line in order {
        topics.entry(line.topic).or_default().push(&line.bytes);
    }
    let inbox = if variant.is_split { Inbox::with_segment_bytes(dir, SPLIT_BYTES) } else { Inbox::open(dir) };
    let inbox = inbox.expect("a fresh inbox");
    for (topic, lines) in topics {
        let n_together = if variant.is_split { SPLIT_LINES } else { lines.len() };
        for lines in lines.chunks(n_together) {
            inbox.append(topic, lines).expect("the disk takes the lines");
        }
    }
}

/// Returns the columns of a table that do not depend on how the lines were filed.
fn columns_of(store: &Connection, table: &str) -> Vec<String> {
    let mut columns = store.prepare("SELECT name FROM pragma_table_info(?) ORDER BY cid").expect("a query");
    let columns = columns.query_map([table], |row| row.get(0)).expect("a query");
    let columns: Vec<String> = columns.collect::<Result<_, _>>().expect("names");
    // The place of a line differs by design; `evidence_points_at_its_line` checks it.
    columns.into_iter().filter(|column| table != "evidence_snippets" || column != "source_ref").collect()
}

/// Returns the rows of a table in an order of their own, each cell with its type.
fn rows_of(store: &Connection, table: &str) -> Vec<Vec<rusqlite::types::Value>> {
    let columns = columns_of(store, table);
    let places: Vec<String> = (1..=columns.len()).map(|place| place.to_string()).collect();
    let query = format!("SELECT {} FROM {table} ORDER BY {}", columns.join(", "), places.join(", "));
    let mut query = store.prepare(&query).unwrap_or_else(|error| panic!("{table}: {error}"));
    let rows = query.query_map([], |row| (0..columns.len()).map(|at| row.get(at)).collect()).expect("a query");
    rows.collect::<Result<_, _>>().expect("rows")
}

/// Says how a table differs from the batch answer: how many rows, and the first of each side.
fn difference(table: &str, answer: &Connection, streamed: &Connection) -> Option<String> {
    let (expected, found) = (rows_of(answer, table), rows_of(streamed, table));
    if expected == found {
        return None;
    }
    let columns = columns_of(answer, table);
    let texts = |rows: &[Vec<rusqlite::types::Value>]| -> BTreeSet<Vec<String>> {
        rows.iter().map(|row| row.iter().map(|cell| format!("{cell:?}")).collect()).collect()
    };
    let (batch, stream) = (texts(&expected), texts(&found));
    let (missing, extra): (Vec<_>, Vec<_>) = (batch.difference(&stream).collect(), stream.difference(&batch).collect());
    let mut text = format!(
        "{table}: {} rows in batch, {} streamed; {} only in batch, {} only streamed\n",
        expected.len(),
        found.len(),
        missing.len(),
        extra.len()
    );
    for (side, row) in [("batch", missing.first()), ("streamed", extra.first())] {
        let cells = row.into_iter().flat_map(|row| columns.iter().zip(*row));
        let cells: Vec<String> = cells.map(|(column, cell)| format!("{column} = {cell}")).collect();
        writeln!(text, "  first only {side}: {}", cells.join(", ")).expect("a string takes all");
    }
    Some(text)
}
