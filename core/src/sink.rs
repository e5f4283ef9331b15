//! The contract of everything that is written.

use crate::{Batch, DeadLetter, Epoch, Guarantee, Result, TaskContext};
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

    /// Hears of the end of an epoch that is not committed yet. A sink whose rows may be seen before their checkpoint
    /// shows them here; others do nothing.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Makes what was written since the last call durable but not visible, or names it in the token.
    ///
    /// It may be called again for the same epoch after `Unavailable`, with no write in between.
    ///
    /// # Errors
    /// As for [`Sink::write`].
    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared>;

    /// Hands over the rows that the store refused, found by `write` or `prepare` since the last call. They go to the
    /// dead-letter stream with the epoch that is being prepared; all others are in the token.
    fn take_rejected(&mut self) -> Vec<DeadLetter> {
        Vec::new()
    }

    /// Makes a prepared epoch visible. It is idempotent: a second call for the same epoch changes nothing, also in
    /// another process: after a restart the last epoch of the checkpoint is committed again, with the tokens that were
    /// prepared for it. With another parallelism a subtask may get the tokens of several former ones.
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

    /// Returns what becomes of rows when the pipeline is killed and goes on from a checkpoint.
    fn guarantee(&self) -> Guarantee {
        Guarantee::AtLeastOnce
    }

    /// Returns the greatest parallelism that it allows.
    fn parallelism_max(&self) -> usize {
        1
    }

    /// Opens the sink of one subtask. With [`TaskContext::restored`] an earlier run is continued: what it prepared for
    /// that epoch is kept, because it will be committed next; what it prepared for later ones is void and is cleared
    /// away. Without it a new run begins, and nothing of an earlier one is to be committed.
    ///
    /// # Errors
    /// `Conflict` when what is there does not fit the declared table, with the difference; `Invalid`; `Unavailable`.
    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Sink>>;
}
