//! The loop of a sink task: writes rows, and at a barrier prepares, waits for all others, and commits.
//!
//! Invariants. Rows of the next epoch are not read before this one is committed. A commit happens only after every
//! sink of the pipeline has prepared the epoch. What is unavailable is tried again with the same batch or the same
//! token, so a sink must not keep rows of a write that it refused. The task holds one batch at a time.

use crate::inputs::{Event, Inputs};
use crate::retry::Backoff;
use crate::task::{Interrupt, News, Uplink};
use headwater_core::{Batch, Counter, Counters, Epoch, Prepared, Result, Sink};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// A sink with everything that its loop needs.
pub(crate) struct SinkTask {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) inputs: Inputs,
    pub(crate) counters: Arc<Counters>,
    pub(crate) uplink: Uplink,
    /// The epochs that every sink has prepared; never more than one at a time.
    pub(crate) commits: mpsc::UnboundedReceiver<Epoch>,
    pub(crate) backoff: Backoff,
}

/// Runs a sink task until all its inputs have ended.
pub(crate) async fn run_sink(mut task: SinkTask) -> Result<(), Interrupt> {
    loop {
        match task.inputs.next().await? {
            Event::Batch(_, batch) => {
                let n_rows = batch.n_rows() as u64;
                task.counters.add(Counter::RowsIn, n_rows);
                task.write(batch).await?;
                task.counters.add(Counter::RowsOut, n_rows);
            }
            // Stores hold rows, not promises about them.
            Event::Watermark(_) => {}
            Event::Barrier(barrier) if barrier.kind.commits() => {
                let prepared = task.prepare(barrier.epoch).await?;
                task.uplink.send(News::Reached(barrier.epoch))?;
                let epoch = task.commits.recv().await.ok_or(Interrupt::Gone)?;
                task.commit(epoch, &prepared).await?;
                task.uplink.send(News::Committed(barrier.epoch))?;
            }
            Event::Barrier(barrier) => task.uplink.send(News::Reached(barrier.epoch))?,
            Event::End => return Ok(()),
        }
        // A sink that computes, such as an encoder, must not keep the thread.
        tokio::task::yield_now().await;
    }
}

impl SinkTask {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        while let Err(error) = self.sink.write(batch.clone()).await {
            sleep(self.backoff.failed(error)?).await;
        }
        self.backoff.succeeded();
        Ok(())
    }

    async fn prepare(&mut self, epoch: Epoch) -> Result<Prepared> {
        loop {
            match self.sink.prepare(epoch).await {
                Ok(prepared) => {
                    self.backoff.succeeded();
                    return Ok(prepared);
                }
                Err(error) => sleep(self.backoff.failed(error)?).await,
            }
        }
    }

    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        while let Err(error) = self.sink.commit(epoch, prepared).await {
            sleep(self.backoff.failed(error)?).await;
        }
        self.backoff.succeeded();
        Ok(())
    }
}
