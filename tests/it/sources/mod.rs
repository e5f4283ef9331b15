//! What every source must do, run against each of them: a position excludes every row that was returned and no other,
//! whatever was polled, dropped, acknowledged and repeated. Servers are started privately and end with their test.
//!
//! A new source adds a [`Case`](conformance::Case) of its own and calls [`check`](conformance::check).

mod conformance;
mod local;
mod nats;
mod postgres_cdc;

use headwater_core::{Error, EventTime, FixedClock, SourceSpec, TableDefinition, TaskContext};
use std::path::Path;
use std::sync::Arc;

/// The context of a subtask.
fn context(subtask: usize, parallelism: usize) -> TaskContext {
    TaskContext::new("p", "source", Arc::new(FixedClock::new(EventTime(0)))).with_subtask(subtask, parallelism)
}

/// A table of a connector, as a pipeline declares it.
fn table(base: &Path, schema: Option<arrow::datatypes::SchemaRef>, options: &[(&str, &str)]) -> TableDefinition {
    TableDefinition {
        name: "t".to_owned(),
        schema,
        primary_key: Vec::new(),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        base: base.to_owned(),
    }
}

/// Makes the source of a table; every option must be known.
fn spec(connector: &str, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>, Error> {
    let connectors = headwater_connectors::connectors();
    let connector = connectors.iter().find(|other| other.name() == connector).expect("it is there");
    let spec = connector.source(table)?;
    table.options.check_all_known()?;
    Ok(spec)
}
