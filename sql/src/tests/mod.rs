//! Tests of planning: texts in, printed graphs or messages out. The connectors here open nothing.

mod builder;
mod errors;
mod functions;
mod plans;
mod time_joins;
mod window_kinds;
mod windows;

use crate::{PlanOptions, Planner};
use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use headwater_core::{
    Changes, Connector, Error, Registry, Result, Sink, SinkSpec, Source, SourceSpec, TableDefinition, TaskContext,
};
use std::sync::Arc;

/// A table with an event time.
pub(super) const BIDS: &str = "
CREATE TABLE bids (
    auction BIGINT NOT NULL, bidder TEXT, price BIGINT, tags TEXT[], extra STRUCT<channel TEXT, url TEXT>,
    ts TIMESTAMP NOT NULL, WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
) WITH (connector = 'files', path = 'bids.json', format = 'json', type = 'source');
";

/// Returns a planner with the connectors `files` (read and written, projects), `inbox` (read only, always all columns),
/// `store` (written only, by key) and `stdout`.
pub(super) fn planner() -> Planner {
    let mut registry = Registry::default();
    registry.add(Arc::new(TestConnector { name: "files", reads: true, writes: Some(Changes::AppendOnly) }));
    registry.add(Arc::new(TestConnector { name: "inbox", reads: true, writes: None }));
    registry.add(Arc::new(TestConnector { name: "store", reads: false, writes: Some(Changes::Upsert) }));
    registry.add(Arc::new(TestConnector { name: "stdout", reads: false, writes: Some(Changes::Any) }));
    Planner::new(registry)
}

/// Plans a text and prints the graph, or the error.
pub(super) fn explain(sql: &str) -> String {
    match planner().explain(sql, &PlanOptions::default()) {
        Ok(text) => text,
        Err(error) => format!("{error}\n"),
    }
}

struct TestConnector {
    name: &'static str,
    reads: bool,
    writes: Option<Changes>,
}

impl Connector for TestConnector {
    fn name(&self) -> &'static str {
        self.name
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        if !self.reads {
            return Err(Error::invalid(format!("the connector '{}' cannot be read", self.name)));
        }
        let path = table.options.require("path")?.to_owned();
        table.options.get("format");
        let projects = self.name == "files";
        Ok(Arc::new(TestSource { path, schema: table.columns()?, projects }))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        let Some(changes) = self.writes else {
            return Err(Error::invalid(format!("the connector '{}' cannot be written", self.name)));
        };
        table.options.get("path");
        table.options.get("format");
        let schema = table.columns()?;
        let columns: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| {
                format!("{} {}{}", field.name(), field.data_type(), if field.is_nullable() { "" } else { "!" })
            })
            .collect();
        let text = format!("{} ({}) key {:?}", table.name, columns.join(", "), table.primary_key);
        Ok(Arc::new(TestSink { text, changes }))
    }
}

#[derive(Debug)]
struct TestSource {
    path: String,
    schema: SchemaRef,
    projects: bool,
}

#[async_trait]
impl SourceSpec for TestSource {
    fn describe(&self) -> String {
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        format!("{} [{}]", self.path, names.join(", "))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn project(&self, columns: &[usize]) -> Option<Arc<dyn SourceSpec>> {
        let schema = Arc::new(self.schema.project(columns).ok()?);
        self.projects.then(|| Arc::new(Self { path: self.path.clone(), schema, projects: true }) as _)
    }

    fn parallelism_max(&self) -> usize {
        4
    }

    async fn open(&self, _context: &TaskContext) -> Result<Box<dyn Source>> {
        Err(Error::internal("planning opens nothing"))
    }
}

#[derive(Debug)]
struct TestSink {
    text: String,
    changes: Changes,
}

#[async_trait]
impl SinkSpec for TestSink {
    fn describe(&self) -> String {
        self.text.clone()
    }

    fn changes(&self) -> Changes {
        self.changes
    }

    async fn open(&self, _context: &TaskContext) -> Result<Box<dyn Sink>> {
        Err(Error::internal("planning opens nothing"))
    }
}
