//! The contract of a table that is asked by key instead of being read.

use crate::{Error, Result, TaskContext};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use std::fmt::Debug;
use std::sync::Arc;

/// Finds the rows of keys, as they are now.
#[async_trait]
pub trait Lookup: Send + Sync {
    /// Finds the rows of several keys. The columns of `keys` are those that [`LookupSpec::open`] was told, in that
    /// order and of the declared types; no key has a null, and no two are equal.
    ///
    /// # Errors
    /// `Unavailable` when asking again may help; anything else ends the pipeline.
    async fn find(&self, keys: &RecordBatch) -> Result<Found>;
}

/// The rows that were found.
#[derive(Debug, Clone)]
pub struct Found {
    /// The rows, with the columns that [`LookupSpec::open`] was told.
    pub rows: RecordBatch,
    /// For each row the number of its key, in growing order.
    pub of: Vec<u32>,
    /// Keys whose rows have a value that does not fit the declared columns, in growing order, and what does not.
    pub failed: Vec<(u32, Error)>,
}

/// Which columns a lookup is about, by index into the declared ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupColumns {
    /// The columns that are compared with the key.
    pub key: Vec<usize>,
    /// The columns that are returned.
    pub wanted: Vec<usize>,
}

/// A lookup table as declared.
#[async_trait]
pub trait LookupSpec: Send + Sync + Debug {
    /// Describes it in one line without secrets.
    fn describe(&self) -> String;

    /// Returns the declared columns.
    fn schema(&self) -> SchemaRef;

    /// Returns those of the columns `candidates`, which a join compares, by which rows can be found; the join checks
    /// the others itself.
    ///
    /// # Errors
    /// `Invalid` when rows cannot be found by these columns, with those by which they can.
    fn key(&self, candidates: &[usize]) -> Result<Vec<usize>>;

    /// Opens the lookup of one subtask.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Conflict` (what is there does not fit the declared columns) or `Unavailable`.
    async fn open(&self, columns: &LookupColumns, context: &TaskContext) -> Result<Arc<dyn Lookup>>;
}
