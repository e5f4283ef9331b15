//! The contract of everything between sources and sinks. Operators are synchronous and pure: no input or output, no
//! clock, no channel. They answer, the engine drives.

use crate::{Barrier, Batch, Counter, DeadLetter, Error, Message, Result, Snapshot, TaskContext, Watermark};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use std::fmt::Debug;

/// Turns batches into batches.
///
/// The engine calls each method with `out` and passes on what was emitted, in order. A barrier is passed on by the
/// engine itself after [`Operator::on_barrier`]; a watermark is passed on by the operator, because it may have to hold
/// it back. Inputs are numbered from 0; watermarks of several inputs arrive merged, barriers aligned.
pub trait Operator: Send {
    /// Takes rows of one input.
    ///
    /// # Errors
    /// Any error ends the pipeline; what concerns single rows goes to [`Output::dead_letter`] instead.
    fn on_batch(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<()>;

    /// Takes the merged watermark of all inputs, which only grows.
    ///
    /// # Errors
    /// Any error ends the pipeline.
    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        out.watermark(watermark);
        Ok(())
    }

    /// Emits the net change of the epoch that ends.
    ///
    /// # Errors
    /// Any error ends the pipeline.
    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        let _ = (barrier, out);
        Ok(())
    }

    /// Returns what of the state has changed since the last call. It is called after [`Operator::on_barrier`] of a
    /// checkpoint, when nothing is on its way; the cost is in proportion to what has changed.
    ///
    /// # Errors
    /// Any error ends the pipeline.
    fn snapshot(&mut self) -> Result<Snapshot> {
        Ok(Snapshot::default())
    }

    /// Takes over rows of one table of an earlier snapshot, before anything else is called. The rows of this subtask
    /// come in any number of batches and in any order; what was taken over is not part of the next snapshot.
    ///
    /// # Errors
    /// `Data` when the table is not one of this operator's, or has other columns.
    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        let _ = rows;
        Err(Error::data(format!("an operator without state was given the table '{table}'")))
    }

    /// Hears that all rows of all tables have been taken over.
    ///
    /// # Errors
    /// `Data` when they do not fit each other.
    fn restore_end(&mut self) -> Result<()> {
        Ok(())
    }

    /// Returns how much is kept, for reports: counted, not measured, and cheap enough to ask at every barrier.
    fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}

/// How much an operator keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Rows, groups or pairs: whatever the operator keeps one of per thing.
    pub rows: u64,
    /// Bytes, as far as the operator can tell without walking through all of it.
    pub bytes: u64,
}

impl std::ops::Add for StateSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }
}

/// An operator as declared: what the graph holds and prints, and what each subtask builds.
pub trait OperatorSpec: Send + Sync + Debug {
    /// Describes it in one line: its name and its parameters.
    fn describe(&self) -> String;

    /// Returns the schema of the rows that it emits.
    fn schema(&self) -> SchemaRef;

    /// Says in words what it keeps and what frees it, such as `the newest row of each (id); never freed`; `None` when
    /// it keeps nothing. `EXPLAIN` shows it.
    fn state(&self) -> Option<String> {
        None
    }

    /// Builds the operator of one subtask.
    ///
    /// # Errors
    /// `Invalid` or `Internal` when the parameters do not fit each other.
    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>>;
}

/// What an operator emits during one call.
#[derive(Debug, Default)]
pub struct Output {
    messages: Vec<Message>,
    dead_letters: Vec<DeadLetter>,
    counts: Vec<(Counter, u64)>,
}

impl Output {
    /// Emits rows; an empty batch is left out.
    pub fn emit(&mut self, batch: Batch) {
        if !batch.is_empty() {
            self.messages.push(Message::Batch(batch));
        }
    }

    /// Passes a watermark on.
    pub fn watermark(&mut self, watermark: Watermark) {
        self.messages.push(Message::Watermark(watermark));
    }

    /// Gives up on one row.
    pub fn dead_letter(&mut self, letter: DeadLetter) {
        self.dead_letters.push(letter);
    }

    /// Counts something; dead letters and rows are counted by the engine.
    pub fn count(&mut self, counter: Counter, n: u64) {
        self.counts.push((counter, n));
    }

    /// Takes what was emitted, in order.
    pub fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }

    /// Takes the dead letters.
    pub fn take_dead_letters(&mut self) -> Vec<DeadLetter> {
        std::mem::take(&mut self.dead_letters)
    }

    /// Takes the counts.
    pub fn take_counts(&mut self) -> Vec<(Counter, u64)> {
        std::mem::take(&mut self.counts)
    }
}
