//! NATS against the real server: what is read and written, where it goes on after an end, and what it says when it
//! cannot. Servers are killed and started again under readers and writers.

mod kills;
pub(crate) mod server;
mod sink;
mod source;
mod source_faults;
mod sql;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::LineDelimitedWriter;
use headwater_core::{
    Connector, Error, ErrorKind, Polled, Position, Source, SourceSpec, SystemClock, TableDefinition, TaskContext,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn nats() -> Arc<dyn Connector> {
    let found = headwater_connectors::connectors().into_iter().find(|connector| connector.name() == "nats");
    found.expect("the connector is there")
}

/// A table `t` with the columns of most tests: a number and a text.
fn table(options: &[(&str, &str)]) -> TableDefinition {
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
    table_of(Arc::new(Schema::new(fields)), options)
}

fn table_of(schema: SchemaRef, options: &[(&str, &str)]) -> TableDefinition {
    let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    TableDefinition {
        name: "t".to_owned(),
        schema: Some(schema),
        primary_key: Vec::new(),
        options: options.collect(),
        base: PathBuf::new(),
    }
}

fn context() -> TaskContext {
    TaskContext::new("pipe", "node", Arc::new(SystemClock))
}

fn rows(ids: &[i64]) -> RecordBatch {
    let names = ids.iter().map(|id| format!("n{id}"));
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(StringArray::from_iter_values(names))];
    let schema = table(&[]).schema.expect("has columns");
    RecordBatch::try_new(schema, columns).expect("two columns")
}

fn lines(rows: &RecordBatch) -> Vec<String> {
    let mut out = Vec::new();
    let mut writer = LineDelimitedWriter::new(&mut out);
    writer.write(rows).and_then(|()| writer.finish()).expect("JSON");
    String::from_utf8(out).expect("text").lines().map(str::to_owned).collect()
}

/// The source of a table, opened, and continued where a position says.
async fn opened(options: &[(&str, &str)], position: Option<&Position>) -> Box<dyn Source> {
    let mut source = spec(options).open(&context()).await.expect("opens");
    if let Some(position) = position {
        source.seek(position).await.expect("goes on");
    }
    source
}

fn spec(options: &[(&str, &str)]) -> Arc<dyn SourceSpec> {
    nats().source(&table(options)).expect("the options are right")
}

/// The error of a source that cannot be opened, or cannot go on.
async fn open_error(options: &[(&str, &str)], position: Option<&Position>) -> Error {
    match (spec(options).open(&context()).await, position) {
        (Err(error), _) => error,
        (Ok(mut source), Some(position)) => source.seek(position).await.expect_err("cannot go on"),
        (Ok(_), None) => panic!("opens"),
    }
}

/// Reads what there is now: the rows as JSON, of each poll at most `rows_max`.
async fn read_now(source: &mut dyn Source, rows_max: usize) -> Vec<String> {
    let mut found = Vec::new();
    while let Polled::Batch(batch) = source.poll(rows_max).await.expect("reads") {
        assert!(batch.batch.n_rows() + batch.dead_letters.len() <= rows_max);
        found.extend(lines(&batch.batch.rows));
        found.extend(batch.dead_letters.iter().map(|letter| format!("{}: {}", letter.reason, letter.position)));
    }
    found
}

/// Reads until there are as many rows, however often the server is not there meanwhile.
async fn read_rows(source: &mut dyn Source, n_rows: usize, found: &mut Vec<String>) {
    let deadline = Instant::now() + PATIENCE;
    while found.len() < n_rows {
        assert!(Instant::now() < deadline, "{} rows of {n_rows}", found.len());
        match source.poll(100).await {
            Ok(Polled::Batch(batch)) => found.extend(lines(&batch.batch.rows)),
            Ok(Polled::Idle | Polled::End) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

fn json(ids: impl IntoIterator<Item = i64>) -> Vec<String> {
    ids.into_iter().map(|id| format!(r#"{{"id":{id},"name":"n{id}"}}"#)).collect()
}
