//! The connectors by name: how a planner that knows none of them finds them all.

use crate::{Error, Options, Result, SinkSpec, SourceSpec};
use arrow::datatypes::SchemaRef;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

/// A table as a user declared it.
#[derive(Debug, Clone)]
pub struct TableDefinition {
    /// The name.
    pub name: String,
    /// The columns; for a sink without declared columns those of the query, `None` where nothing is known yet.
    pub schema: Option<SchemaRef>,
    /// The columns that name a row, by index into the schema.
    pub primary_key: Vec<usize>,
    /// The options of `WITH`, without `connector`.
    pub options: Options,
    /// What relative paths are relative to.
    pub base: PathBuf,
}

impl TableDefinition {
    /// Returns the declared columns.
    ///
    /// # Errors
    /// `Invalid` when the table has none.
    pub fn columns(&self) -> Result<SchemaRef> {
        self.schema.clone().ok_or_else(|| {
            Error::invalid(format!("the table '{}' needs columns", self.name)).with_help("list them after the name")
        })
    }
}

/// A system that can be read, written or both.
pub trait Connector: Send + Sync {
    /// Returns the name, as in `connector = '…'`.
    fn name(&self) -> &'static str;

    /// Makes a source of a table.
    ///
    /// # Errors
    /// `Invalid` when the connector cannot be read, or an option or column does not fit.
    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        Err(Error::invalid(format!("the connector '{}' cannot be read (table '{}')", self.name(), table.name)))
    }

    /// Makes a sink of a table, whose schema is complete.
    ///
    /// # Errors
    /// `Invalid` when the connector cannot be written, or an option or column does not fit.
    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        Err(Error::invalid(format!("the connector '{}' cannot be written (table '{}')", self.name(), table.name)))
    }
}

/// The connectors by name.
#[derive(Clone, Default)]
pub struct Registry(BTreeMap<&'static str, Arc<dyn Connector>>);

impl Registry {
    /// Adds a connector; one of the same name is replaced.
    pub fn add(&mut self, connector: Arc<dyn Connector>) {
        self.0.insert(connector.name(), connector);
    }

    /// Returns a connector.
    ///
    /// # Errors
    /// `Invalid`, with the names there are.
    pub fn get(&self, name: &str) -> Result<&Arc<dyn Connector>> {
        self.0.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.0.keys().copied().collect();
            Error::invalid(format!("there is no connector '{name}'"))
                .with_help(format!("use one of: {}", names.join(", ")))
        })
    }

    /// Returns all connectors in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Connector>> {
        self.0.values()
    }
}
