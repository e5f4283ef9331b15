//! Nexmark q0 to q22, streamed, against batch DataFusion over the same events: the same rows with the same types, at
//! every parallelism, zero differences. The batch texts in `batch/` say the same in another way wherever there is one: a
//! hop as a join with a list, a session by `lag`, `FILTER` by `CASE`, `row_number` by `DISTINCT ON`. Never allows a
//! tolerance. 20,000 events by default; a million, and a line for each query, with `HEADWATER_LONG=1`.

mod collect;
mod files;

use crate::support::repository;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::row::{OwnedRow, RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use collect::{Collect, Collected};
use datafusion::catalog::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use headwater_core::{EventTime, FixedClock, Polled, Registry, SystemClock, TableDefinition, TaskContext};
use headwater_engine::{EngineOptions, Outcome, start};
use headwater_sql::{PlanOptions, Planner};
use std::collections::HashMap;
use std::fs::read_to_string;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the shipped queries say of their events, to be replaced.
const SHIPPED: &str = "events = '100000', seed = '0', rate = '1000'";
const PARALLELISMS: [usize; 2] = [1, 3];
/// Half an hour before the end of the day's first part in q14, and five hours and a half before the next day: queries
/// over days see two of them at 20,000 seconds of events.
const BASE_TIME: &str = "2015-07-14T18:30:00Z";
/// How many neighbouring events are shuffled, so that rows come out of order, though none too late.
const GROUP_SIZE: u32 = 100;
/// The queries that look at days and hours rather than at seconds.
const DAILY: [u32; 5] = [10, 14, 15, 16, 17];
/// How many differences are shown.
const SHOWN_MAX: usize = 6;

macro_rules! queries {
    ($($name:ident: $number:literal,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                streamed_equals_batch($number).await;
            }
        )*
        const QUERIES: &[u32] = &[$($number),*];
    };
}

queries! {
    q0: 0, q1: 1, q2: 2, q3: 3, q4: 4, q5: 5, q6: 6, q7: 7, q8: 8, q9: 9, q10: 10, q11: 11, q12: 12, q13: 13, q14: 14,
    q15: 15, q16: 16, q17: 17, q18: 18, q19: 19, q20: 20, q21: 21, q22: 22,
}

#[test]
fn every_shipped_query_is_compared() {
    let files = std::fs::read_dir(repository("pipelines/nexmark")).expect("the folder is there");
    let names = files.map(|file| file.expect("an entry").file_name().to_string_lossy().into_owned());
    let mut found: Vec<String> = names.filter(|name| name.ends_with(".sql")).collect();
    let mut compared: Vec<String> = QUERIES.iter().map(|query| format!("q{query}.sql")).collect();
    found.sort();
    compared.sort();
    assert_eq!(found, compared);
}

fn is_long() -> bool {
    std::env::var_os("HEADWATER_LONG").is_some_and(|value| value == "1")
}

/// The events of a comparison, as options of a table.
fn events(query: u32) -> String {
    let (n_events, seconds) = if is_long() { (1_000_000, 1_000) } else { (20_000, 100) };
    let seconds = if DAILY.contains(&query) { 20_000 } else { seconds };
    format!(
        "events = '{n_events}', seed = '{}', rate = '{}', base_time = '{BASE_TIME}', out_of_order_group_size = '{GROUP_SIZE}'",
        query + 1,
        n_events / seconds,
    )
}

async fn streamed_equals_batch(query: u32) {
    let clock = Instant::now();
    let expected = batch(query).await;
    let n_rows: usize = expected.iter().map(RecordBatch::num_rows).sum();
    assert!(n_rows > 0, "q{query}: a result without rows compares nothing");
    let batch_took = clock.elapsed();
    for parallelism in PARALLELISMS {
        let clock = Instant::now();
        let found = streamed(query, parallelism).await;
        let took = clock.elapsed();
        let differences = Difference::between(&expected, &found);
        let verdict = if differences.is_empty() { "equal" } else { "NOT EQUAL" };
        println!("q{query} -p {parallelism}: {n_rows} rows, {verdict}; batch {batch_took:.1?}, streamed {took:.1?}");
        assert!(differences.is_empty(), "q{query} -p {parallelism}, {n_rows} rows:\n{}", differences.join("\n"));
    }
}

fn text(folder: &str, query: u32) -> String {
    let path: PathBuf = repository(folder).join(format!("q{query}.sql"));
    read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs the shipped query and returns what its sink was given.
async fn streamed(query: u32, parallelism: usize) -> Vec<(RecordBatch, Vec<i64>)> {
    let sql = text("pipelines/nexmark", query);
    let n_tables = sql.matches("connector = 'nexmark'").count();
    assert_eq!(sql.matches(SHIPPED).count(), n_tables, "q{query}: every table says {SHIPPED}");
    let collected = Collected::default();
    let mut registry = Registry::default();
    for connector in headwater_connectors::connectors() {
        registry.add(connector);
    }
    for name in ["stdout", "filesystem"] {
        registry.add(Arc::new(Collect { name, collected: collected.clone() }));
    }
    let graph = Planner::new(registry).plan(&sql.replace(SHIPPED, &events(query)), &PlanOptions::default());
    let graph = graph.unwrap_or_else(|error| panic!("q{query} cannot be planned: {error}"));
    let mut options = EngineOptions::new(format!("q{query}"), Arc::new(SystemClock));
    options.parallelism = parallelism;
    if parallelism > 1 && !is_long() {
        // Many small steps: what was written is taken back many times.
        options.batch_rows_max = 500;
        options.flush_interval = Duration::from_millis(20);
    }
    let report = start(graph, options).expect("the query starts").join().await.expect("the query runs to its end");
    assert_eq!(report.outcome, Outcome::Finished);
    assert_eq!(report.totals().dead_letters, 0, "q{query}: {report}");
    collected.take()
}

/// Reads a table of events as a whole.
async fn table(name: &str, query: u32) -> Vec<RecordBatch> {
    let options = format!("table = '{name}', {}", events(query));
    let option = |text: &str| {
        let (name, value) = text.split_once(" = ").expect("name = 'value'");
        (name.to_owned(), value.trim_matches('\'').to_owned())
    };
    let connectors = headwater_connectors::connectors();
    let nexmark = connectors.iter().find(|connector| connector.name() == "nexmark").expect("the connector is there");
    let spec = nexmark.source(&TableDefinition {
        name: name.to_owned(),
        schema: None,
        primary_key: Vec::new(),
        options: options.split(", ").map(option).collect(),
        base: PathBuf::new(),
    });
    let clock = Arc::new(FixedClock::new(EventTime(0)));
    let context = TaskContext::new("", "", clock);
    let mut source = spec.expect("the options are right").open(&context).await.expect("the source opens");
    let mut batches = Vec::new();
    while let Polled::Batch(polled) = source.poll(8_192).await.expect("events are drawn") {
        batches.push(polled.batch.rows);
    }
    batches
}

/// Answers the batch text with DataFusion alone.
async fn batch(query: u32) -> Vec<RecordBatch> {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let context = SessionContext::new_with_config(config);
    for name in ["person", "auction", "bid"] {
        let rows = table(name, query).await;
        let table = MemTable::try_new(rows[0].schema(), vec![rows]).expect("batches of one schema");
        context.register_table(name, Arc::new(table)).expect("a new name");
    }
    let sql = text("tests/it/nexmark/batch", query);
    let frame = context.sql(&sql).await.unwrap_or_else(|error| panic!("q{query}: {error}\nin: {sql}"));
    frame.collect().await.unwrap_or_else(|error| panic!("q{query}: {error}\nin: {sql}"))
}

/// Rows by how often they are on one side more than on the other.
struct Difference {
    converter: RowConverter,
    schema: SchemaRef,
    rows: HashMap<OwnedRow, i64>,
}

impl Difference {
    /// Says how the rows that are left differ from those of the batch answer; nothing when they do not.
    fn between(expected: &[RecordBatch], found: &[(RecordBatch, Vec<i64>)]) -> Vec<String> {
        let schema = plain(&expected[0].schema());
        let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
        let converter = RowConverter::new(fields).expect("columns with an order");
        let mut difference = Self { converter, schema, rows: HashMap::new() };
        for rows in expected {
            difference.add(rows, |_| -1);
        }
        for (rows, diffs) in found {
            let streamed = plain(&rows.schema());
            if shape(&streamed) != shape(&difference.schema) {
                return vec![format!("batch has {:?}\nstreamed {:?}", shape(&difference.schema), shape(&streamed))];
            }
            difference.add(rows, |row| diffs[row]);
        }
        difference.shown()
    }

    fn add(&mut self, rows: &RecordBatch, diff: impl Fn(usize) -> i64) {
        let columns = rows.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| cast(column, field.data_type()).expect("another layout of a type"));
        let columns: Vec<ArrayRef> = columns.collect();
        let rows = self.converter.convert_columns(&columns).expect("columns of the schema");
        for (number, row) in rows.iter().enumerate() {
            let count = self.rows.entry(row.owned()).or_default();
            *count += diff(number);
        }
    }

    fn shown(mut self) -> Vec<String> {
        self.rows.retain(|_, count| *count != 0);
        let n_different = self.rows.len();
        let mut left: Vec<(&OwnedRow, &i64)> = self.rows.iter().collect();
        left.sort();
        left.truncate(SHOWN_MAX);
        let columns = self.converter.convert_rows(left.iter().map(|(row, _)| row.row())).expect("own rows");
        let format = FormatOptions::default().with_null("null");
        let shown = |column: &ArrayRef, row| {
            let formatter = ArrayFormatter::try_new(column.as_ref(), &format).expect("columns that can be shown");
            formatter.value(row).to_string()
        };
        let mut lines: Vec<String> = left
            .iter()
            .enumerate()
            .map(|(row, (_, count))| {
                let cells: Vec<String> = columns.iter().map(|column| shown(column, row)).collect();
                format!("  {count:+} streamed: {}", cells.join(" | "))
            })
            .collect();
        if n_different > 0 {
            lines.insert(0, format!("{n_different} rows differ"));
        }
        lines
    }
}

/// A schema without Arrow's several layouts of text.
fn plain(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let is_text = matches!(field.data_type(), DataType::Utf8View | DataType::LargeUtf8);
        let data_type = if is_text { DataType::Utf8 } else { field.data_type().clone() };
        field.as_ref().clone().with_data_type(data_type)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn shape(schema: &Schema) -> Vec<(&str, &DataType)> {
    schema.fields().iter().map(|field| (field.name().as_str(), field.data_type())).collect()
}
