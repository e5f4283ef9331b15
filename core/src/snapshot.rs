//! What an operator keeps, laid out as tables: the form in which state is stored, moved to another parallelism, and
//! looked at from outside.
//!
//! State is stored as ordinary columns, not as the bytes that an operator keeps, so that a file of it outlives the
//! version of the program that wrote it. Nothing here knows where it is stored.

use arrow::array::RecordBatch;

/// What of an operator's state has changed since it was last asked; the first time, all of it.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// One entry for each table that has changes; the names are the operator's own, and each occurs once.
    pub tables: Vec<StateTable>,
}

/// Changes of one table of state.
///
/// A table is a multiset of rows. All rows of a key are replaced together: when a key occurs in `rows` or in `removed`,
/// every row of it from an earlier snapshot is void. A key may have many rows.
#[derive(Debug, Clone)]
pub struct StateTable {
    /// Its name, unique within the operator and stable from version to version.
    pub name: &'static str,
    /// The columns of the key. They contain the columns of a [`Route::Key`].
    pub key: Vec<usize>,
    /// Which subtask a row belongs to.
    pub route: Route,
    /// The present rows of each key that has changed.
    pub rows: RecordBatch,
    /// Keys that have no row any more: the columns of `key`, in that order.
    pub removed: Option<RecordBatch>,
}

/// Which subtask a row of state belongs to when a pipeline goes on with another parallelism.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The owner of the key group of these columns of the table: they hold the values of the columns that the node's
    /// exchange hashes ([`crate::TaskContext::routes`]), in the exchange's order. Without columns, the only subtask.
    Key(Vec<usize>),
    /// Any one subtask: nothing that comes later has to meet the row.
    Anyone,
    /// All of them. Such a table is small and written whole whenever it changes, and its key is ignored; an operator
    /// is given the tables of all former subtasks and has to make one of them.
    Everyone,
}

/// What is promised of rows between their source and a store when the pipeline is killed and started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Each row counts once.
    ExactlyOnce,
    /// No row is lost; one may be there twice.
    AtLeastOnce,
    /// No row is there twice; one may be lost.
    AtMostOnce,
}

impl Guarantee {
    /// Says it in words, as `EXPLAIN` shows it.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly once",
            Self::AtLeastOnce => "at least once",
            Self::AtMostOnce => "at most once",
        }
    }
}
