//! The contract of everything that is read.

use crate::{Batch, DeadLetter, Guarantee, Result, TaskContext};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, SchemaRef};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Where to resume reading: for each partition of the source, the place after the last row that was returned. Both
/// sides are the source's own words (a path and a byte offset, a topic partition and an offset).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Position(pub BTreeMap<String, String>);

/// The mark of a column that the connector fills from what it knows of a record.
const METADATA: &str = "headwater.metadata";

/// Says that a connector fills this column with what `key` names, such as the file that a record is in.
#[must_use]
pub fn metadata_column(field: Field, key: &str) -> Field {
    let mut marks = field.metadata().clone();
    marks.insert(METADATA.to_owned(), key.to_owned());
    field.with_metadata(marks)
}

/// Returns the key of a column that the connector fills; `None` for a column of the record.
#[must_use]
pub fn metadata_key(field: &Field) -> Option<&str> {
    field.metadata().get(METADATA).map(String::as_str)
}

/// What one call of [`Source::poll`] found.
#[derive(Debug)]
pub enum Polled {
    /// Rows of one partition, and what of it could not be decoded.
    Batch(SourceBatch),
    /// Everything there is has been read; more may come. The engine waits a little and asks again.
    Idle,
    /// Nothing will ever follow.
    End,
}

/// Rows of one partition, in its order.
#[derive(Debug)]
pub struct SourceBatch {
    /// A number for the partition, unique within this subtask; watermarks are kept for each.
    pub partition: u32,
    /// The rows.
    pub batch: Batch,
    /// Pieces that could not be decoded.
    pub dead_letters: Vec<DeadLetter>,
}

/// Reads rows. The engine owns the loop: it decides when to poll, puts barriers between two batches, keeps time and
/// repeats what failed with a retriable error.
#[async_trait]
pub trait Source: Send {
    /// Returns at most `rows_max` rows. It is cancel-safe: dropping the future loses nothing.
    ///
    /// # Errors
    /// `Unavailable` when asking again may help; anything else ends the pipeline.
    async fn poll(&mut self, rows_max: usize) -> Result<Polled>;

    /// Whether input that has not been read yet may be older than all that has: files that wait for their turn. The
    /// engine keeps the watermark where it is meanwhile, and calls nobody idle.
    fn holds_watermark(&self) -> bool {
        false
    }

    /// Returns where to resume so that every row returned so far is excluded, and no other.
    fn position(&self) -> Position;

    /// Continues at a position that this source reported earlier.
    ///
    /// # Errors
    /// `Data` when what is there now cannot continue the position, with both sides' numbers.
    async fn seek(&mut self, position: &Position) -> Result<()>;

    /// Whether there is no position to go on from just now, as in the middle of a copy that cannot be resumed. The
    /// engine lets a barrier wait until there is one; the source must get there by being polled.
    fn holds_barrier(&self) -> bool {
        false
    }

    /// Learns that a checkpoint which holds this position is durable: what lies before it is not asked for again, so
    /// a server may be told. Advisory; it may be called again with the same position after a restart.
    ///
    /// # Errors
    /// `Unavailable` is tried again; anything else ends the pipeline.
    async fn ack(&mut self, position: &Position) -> Result<()> {
        let _ = position;
        Ok(())
    }
}

/// A source as declared: what the graph holds and prints, and what each subtask opens.
#[async_trait]
pub trait SourceSpec: Send + Sync + Debug {
    /// Describes it in one line without secrets.
    fn describe(&self) -> String;

    /// Returns the schema of the rows.
    fn schema(&self) -> SchemaRef;

    /// Returns a copy that yields only these columns, in this order; `None` when it always yields all.
    fn project(&self, columns: &[usize]) -> Option<std::sync::Arc<dyn SourceSpec>> {
        let _ = columns;
        None
    }

    /// Returns what becomes of rows when the pipeline is killed and goes on from a checkpoint.
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    /// Returns the greatest parallelism that has something to do for every subtask.
    fn parallelism_max(&self) -> usize;

    /// Opens the share of subtask `context.subtask` out of `context.parallelism`.
    ///
    /// # Errors
    /// `NotFound`, `Invalid` or `Unavailable`, with the place.
    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>>;
}

/// How a source's rows carry event time.
pub trait EventTimeSpec: Send + Sync + Debug {
    /// Describes it in one line: the column and the watermark expression.
    fn describe(&self) -> String;

    /// Returns the event time of each row (`Timestamp(Nanosecond, _)`).
    ///
    /// # Errors
    /// `Data` when the expression fails.
    fn event_time(&self, rows: &RecordBatch) -> Result<ArrayRef>;

    /// Returns the watermark that each row allows (`Timestamp(Nanosecond, _)`).
    ///
    /// # Errors
    /// `Data` when the expression fails.
    fn watermark(&self, rows: &RecordBatch) -> Result<ArrayRef>;
}
