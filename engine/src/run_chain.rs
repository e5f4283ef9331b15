//! The loop of a chain task: what comes in passes through the fused operators and goes out.
//!
//! Invariants. What an operator emits at a barrier leaves before the barrier, so it belongs to the epoch that ends
//! there, and the snapshot of a checkpoint is taken between the two. A watermark leaves only through the operators, which may hold it back. The task holds one batch at a time.

use crate::fused::Fused;
use crate::inputs::{Event, Inputs};
use crate::output::TaskOutput;
use crate::snapshots::Snapshots;
use crate::task::Interrupt;
use headwater_core::Counter;

/// A chain with everything that its loop needs.
pub(crate) struct ChainTask {
    pub(crate) inputs: Inputs,
    pub(crate) operators: Fused,
    pub(crate) output: TaskOutput,
    pub(crate) snapshots: Snapshots,
}

/// Runs a chain task until all its inputs have ended.
pub(crate) async fn run_chain(mut task: ChainTask) -> Result<(), Interrupt> {
    loop {
        match task.inputs.next().await? {
            Event::Batch(input, batch) => {
                task.output.counters.add(Counter::RowsIn, batch.n_rows() as u64);
                let emitted = task.operators.batch(input, batch)?;
                task.output.emitted(emitted).await?;
            }
            Event::Watermark(watermark) => {
                let emitted = task.operators.watermark(watermark)?;
                task.output.emitted(emitted).await?;
            }
            Event::Barrier(barrier) => {
                let emitted = task.operators.barrier(&barrier)?;
                task.output.emitted(emitted).await?;
                if task.snapshots.wanted(&barrier) {
                    let taken = task.operators.snapshot()?;
                    task.snapshots.take(&barrier, taken).await?;
                }
                task.output.barrier(barrier).await?;
            }
            Event::End => return Ok(task.output.end().await?),
        }
        // Operators may compute for long; others on this thread get their turn between two batches.
        tokio::task::yield_now().await;
    }
}
