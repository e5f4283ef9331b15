//! The loop of a sink task: writes rows, and at a barrier prepares, waits for all others, and commits.
//!
//! Rows that the store refuses go to the dead-letter sink before the barrier does, so they belong to the epoch; the
//! dead-letter sink itself has nobody to hand a refused row to, and fails.
//!
//! Invariants. Rows of the next epoch are not read before this one is committed. A commit happens only after every
//! sink of the pipeline has prepared the epoch. What is unavailable is tried again with the same batch or the same
//! token, so a sink must not keep rows of a write that it refused. The task holds one batch at a time.

use crate::inputs::{Event, Inputs};
use crate::output::TaskOutput;
use crate::retry::Backoff;
use crate::task::{Interrupt, News, Uplink};
use headwater_core::{Barrier, Batch, Counter, Counters, DeadLetter, Epoch, Error, Prepared, Result, Sink};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::sleep;

/// A sink with everything that its loop needs.
pub(crate) struct SinkTask {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) inputs: Inputs,
    pub(crate) counters: Arc<Counters>,
    /// The way to the dead-letter sink; that one has none.
    pub(crate) letters: Option<TaskOutput>,
    pub(crate) uplink: Uplink,
    /// The epochs that every sink has prepared; never more than one at a time.
    pub(crate) commits: mpsc::UnboundedReceiver<Epoch>,
    pub(crate) backoff: Backoff,
}

/// Runs a sink task until all its inputs have ended.
pub(crate) async fn run_sink(mut task: SinkTask) -> Result<(), Interrupt> {
    let mut n_written = 0;
    loop {
        match task.inputs.next().await? {
            Event::Batch(_, batch) => {
                let n_rows = batch.n_rows() as u64;
                task.counters.add(Counter::RowsIn, n_rows);
                task.write(batch).await?;
                n_written += n_rows;
            }
            // Stores hold rows, not promises about them.
            Event::Watermark(_) => {}
            Event::Barrier(barrier) if barrier.kind.commits() => {
                let prepared = task.prepare(barrier.epoch).await?;
                task.pass_on(barrier, std::mem::take(&mut n_written)).await?;
                task.uplink.send(News::Reached(barrier.epoch, Some(prepared.clone())))?;
                let epoch = task.commits.recv().await.ok_or(Interrupt::Gone)?;
                task.commit(epoch, &prepared).await?;
                task.uplink.send(News::Committed(barrier.epoch))?;
            }
            Event::Barrier(barrier) => {
                task.flush().await?;
                task.pass_on(barrier, std::mem::take(&mut n_written)).await?;
                task.uplink.send(News::Reached(barrier.epoch, None))?;
            }
            Event::End => {
                if let Some(letters) = &task.letters {
                    letters.end().await?;
                }
                return Ok(());
            }
        }
        // A sink that computes, such as an encoder, must not keep the thread.
        tokio::task::yield_now().await;
    }
}

impl SinkTask {
    /// Sends the rows that the store refused, and then the barrier, to the dead-letter sink.
    async fn pass_on(&mut self, barrier: Barrier, n_written: u64) -> Result<(), Interrupt> {
        let rejected = self.sink.take_rejected();
        self.counters.add(Counter::RowsOut, n_written.saturating_sub(rejected.len() as u64));
        match &mut self.letters {
            Some(letters) => {
                letters.letters(rejected).await?;
                letters.barrier(barrier).await?;
            }
            None => not_refused(&rejected)?,
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        while let Err(error) = self.sink.flush().await {
            sleep(self.backoff.failed(error)?).await;
        }
        self.backoff.succeeded();
        Ok(())
    }

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

fn not_refused(rejected: &[DeadLetter]) -> Result<()> {
    match rejected.first() {
        None => Ok(()),
        Some(letter) => Err(Error::data(format!("the store refused a dead letter: {}", letter.message))),
    }
}
