//! What all lookup tables share: the cache before a store, and cells of a store as columns of the declared types.
//!
//! | option | meaning |
//! |---|---|
//! | `cache.ttl` | how long an answer is good, such as `10 minutes`; without it, until it is pushed out |
//! | `cache.max_rows` | how many rows are kept; a key without rows counts as one. 100 000 where only `cache.ttl` is given |
//! | `cache.max_bytes` | how many bytes are kept, instead of `cache.max_rows` |
//!
//! Without any of them nothing is kept, and every request asks the store. The names may begin with `lookup.`, as in
//! Arroyo. Each subtask has a cache of its own.

mod cache;
mod cells;
#[cfg(test)]
mod tests;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use cache::{CacheSettings, Cached};
pub(crate) use cells::{Cell, Rows, check_types, text_of};
use headwater_core::{Lookup, LookupColumns, LookupSpec, Result, TableDefinition, TaskContext};
use std::sync::Arc;

/// Puts the cache that a table asks for before its store.
pub(crate) fn cached(store: impl LookupSpec + 'static, table: &TableDefinition) -> Result<Arc<dyn LookupSpec>> {
    check_types(&store.schema())?;
    Ok(match CacheSettings::parse(&table.options)? {
        None => Arc::new(store),
        Some(settings) => Arc::new(CachedSpec { store: Arc::new(store), settings }),
    })
}

#[derive(Debug)]
struct CachedSpec {
    store: Arc<dyn LookupSpec>,
    settings: CacheSettings,
}

#[async_trait]
impl LookupSpec for CachedSpec {
    fn describe(&self) -> String {
        format!("{}, cached {}", self.store.describe(), self.settings)
    }

    fn schema(&self) -> SchemaRef {
        self.store.schema()
    }

    fn key(&self, candidates: &[usize]) -> Result<Vec<usize>> {
        self.store.key(candidates)
    }

    async fn open(&self, columns: &LookupColumns, context: &TaskContext) -> Result<Arc<dyn Lookup>> {
        let store = self.store.open(columns, context).await?;
        Ok(Arc::new(Cached::new(store, &self.settings, columns, &self.store.schema(), context.clock.clone())?))
    }
}

/// Returns the refusal to read a store that can only be asked by key.
pub(crate) fn refuse_source(connector: &str, table: &TableDefinition) -> headwater_core::Error {
    let error = headwater_core::Error::invalid(format!(
        "the connector '{connector}' is asked by key and cannot be read as a stream (table '{}')",
        table.name
    ));
    error.with_help("declare type = 'lookup', and join the table")
}
