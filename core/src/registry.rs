//! The connectors by name: how a planner that knows none of them finds them all.

use crate::{Error, LookupSpec, Options, Result, SinkSpec, SourceSpec};
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

    /// Whether it can be read. A system that is read by one package and written by another says so here, and the
    /// registry joins the two under one name.
    fn reads(&self) -> bool {
        true
    }

    /// Whether it can be written; see [`Connector::reads`].
    fn writes(&self) -> bool {
        true
    }

    /// Whether the records of its sources are always changes of rows, as Debezium writes them: the planner asks them
    /// for events then and not for rows.
    fn reads_changes(&self) -> bool {
        false
    }

    /// The keys of `METADATA FROM 'key'` that its sources know. They deliver a text for each column that
    /// [`metadata_key`](crate::metadata_key) names.
    fn metadata_keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Makes a source of a table.
    ///
    /// # Errors
    /// `Invalid` when the connector cannot be read, or an option or column does not fit.
    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        Err(Error::invalid(format!("the connector '{}' cannot be read (table '{}')", self.name(), table.name)))
    }

    /// Whether a table can be looked up and not read, so that it need not say `type = 'lookup'`.
    fn only_looks_up(&self) -> bool {
        false
    }

    /// Makes a lookup of a table: it is asked by key and not read.
    ///
    /// # Errors
    /// `Invalid` when the connector cannot be looked up, or an option or column does not fit.
    fn lookup(&self, table: &TableDefinition) -> Result<Arc<dyn LookupSpec>> {
        Err(Error::invalid(format!("the connector '{}' cannot be looked up (table '{}')", self.name(), table.name)))
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
    /// Adds a connector. One of the same name keeps the direction that the new one does not have, and is replaced
    /// otherwise.
    pub fn add(&mut self, connector: Arc<dyn Connector>) {
        let name = connector.name();
        let joined: Arc<dyn Connector> = match self.0.remove(name) {
            Some(old) if !connector.reads() && old.reads() => Arc::new(Joined { reader: old, writer: connector }),
            Some(old) if !connector.writes() && old.writes() => Arc::new(Joined { reader: connector, writer: old }),
            _ => connector,
        };
        self.0.insert(name, joined);
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

/// One system out of its two halves.
struct Joined {
    reader: Arc<dyn Connector>,
    writer: Arc<dyn Connector>,
}

impl Connector for Joined {
    fn name(&self) -> &'static str {
        self.reader.name()
    }

    fn reads(&self) -> bool {
        self.reader.reads()
    }

    fn writes(&self) -> bool {
        self.writer.writes()
    }

    fn metadata_keys(&self) -> &'static [&'static str] {
        self.reader.metadata_keys()
    }

    fn reads_changes(&self) -> bool {
        self.reader.reads_changes()
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        self.reader.source(table)
    }

    fn only_looks_up(&self) -> bool {
        self.reader.only_looks_up()
    }

    fn lookup(&self, table: &TableDefinition) -> Result<Arc<dyn LookupSpec>> {
        self.reader.lookup(table)
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        self.writer.sink(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connector that answers with an error naming itself.
    struct Half(&'static str, bool, bool);

    impl Connector for Half {
        fn name(&self) -> &'static str {
            "files"
        }

        fn reads(&self) -> bool {
            self.1
        }

        fn writes(&self) -> bool {
            self.2
        }

        fn source(&self, _: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
            Err(Error::invalid(self.0))
        }

        fn sink(&self, _: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
            Err(Error::invalid(self.0))
        }
    }

    fn answers(halves: Vec<Half>) -> (String, String) {
        let mut registry = Registry::default();
        halves.into_iter().for_each(|half| registry.add(Arc::new(half)));
        let table = TableDefinition {
            name: "t".into(),
            schema: None,
            primary_key: Vec::new(),
            options: Options::default(),
            base: PathBuf::new(),
        };
        let connector = registry.get("files").expect("was added");
        let read = connector.source(&table).map(|_| ()).expect_err("the half answers with an error");
        let written = connector.sink(&table).map(|_| ()).expect_err("the half answers with an error");
        (read.message().to_owned(), written.message().to_owned())
    }

    #[test]
    fn a_reader_and_a_writer_of_one_name_are_joined_in_any_order() {
        let expected = ("r".to_owned(), "w".to_owned());
        assert_eq!(answers(vec![Half("r", true, false), Half("w", false, true)]), expected);
        assert_eq!(answers(vec![Half("w", false, true), Half("r", true, false)]), expected);
    }

    #[test]
    fn a_newer_one_replaces_what_it_can_do_itself() {
        let (r, w) = ("r".to_owned(), "w".to_owned());
        assert_eq!(
            answers(vec![Half("r", true, false), Half("w", false, true), Half("r2", true, false)]),
            ("r2".to_owned(), w)
        );
        assert_eq!(answers(vec![Half("w", false, true), Half("r", true, true)]), (r.clone(), r));
    }
}
