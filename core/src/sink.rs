//! The contract of everything that is written.

use crate::{Batch, Epoch, Result, TaskContext};
use async_trait::async_trait;
use std::fmt::Debug;
use std::sync::Arc;

/// What a sink hands out at the end of an epoch: enough to make the epoch visible later, in the sink's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Prepared(pub serde_json::Value);

/// Writes rows, epoch by epoch. Nothing of an epoch is visible before its commit.
#[async_trait]
pub trait Sink: Send {
    /// Takes rows of the running epoch.
    ///
    /// # Errors
    /// `Unavailable` when asking again may help; anything else ends the pipeline.
    async fn write(&mut self, batch: Batch) -> Result<()>;

    /// Makes what was written since the last call durable but not visible, or names it in the token.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared>;

    /// Makes a prepared epoch visible. It is idempotent: a second call for the same epoch changes nothing.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()>;
}

/// Which streams a sink can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changes {
    /// Insertions only.
    AppendOnly,
    /// Insertions only, or changes of rows that are named by a key.
    Upsert,
    /// Any change, with or without a key.
    Any,
}

/// A sink as declared: what the graph holds and prints, and what each subtask opens.
#[async_trait]
pub trait SinkSpec: Send + Sync + Debug {
    /// Describes it in one line without secrets.
    fn describe(&self) -> String;

    /// Returns which streams it can hold; the planner refuses others.
    fn changes(&self) -> Changes;

    /// Returns the sink to use when what is written takes rows back, where that is another one: a file whose format
    /// nobody said is written in one that has deletions. The planner asks before it looks at [`SinkSpec::changes`].
    fn for_changes(&self) -> Option<Arc<dyn SinkSpec>> {
        None
    }

    /// Returns the greatest parallelism that it allows.
    fn parallelism_max(&self) -> usize {
        1
    }

    /// Opens the sink of one subtask.
    ///
    /// # Errors
    /// `Conflict` when what is there does not fit the declared table, with the difference; `Invalid`; `Unavailable`.
    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>>;
}
