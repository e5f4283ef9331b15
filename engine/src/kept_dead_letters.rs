//! The dead-letter sink of a pipeline that has none: it keeps the first letters in memory, so that nothing is dropped
//! in silence even in a quick run without any set-up. It is bounded by [`KEPT_ROWS_MAX`]; the engine counts the rest.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use headwater_core::{Batch, Changes, Epoch, Prepared, Result, Sink, SinkSpec, TaskContext};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many dead letters are kept: enough to see what is wrong, a few megabytes at most.
pub(crate) const KEPT_ROWS_MAX: usize = 1_000;

/// The first dead letters, shared between the sink and the report.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeptDeadLetters(Arc<Mutex<Vec<RecordBatch>>>);

impl KeptDeadLetters {
    /// Returns what is kept.
    pub(crate) fn rows(&self) -> Vec<RecordBatch> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RecordBatch>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SinkSpec for KeptDeadLetters {
    fn describe(&self) -> String {
        format!("memory: the first {KEPT_ROWS_MAX}")
    }

    fn changes(&self) -> Changes {
        Changes::Any
    }

    async fn open(&self, _: &TaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(self.clone()))
    }
}

#[async_trait]
impl Sink for KeptDeadLetters {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        let mut kept = self.lock();
        let room = KEPT_ROWS_MAX - kept.iter().map(RecordBatch::num_rows).sum::<usize>();
        if room > 0 {
            kept.push(batch.rows.slice(0, room.min(batch.n_rows())));
        }
        Ok(())
    }

    async fn prepare(&mut self, _: Epoch) -> Result<Prepared> {
        Ok(Prepared::default())
    }

    async fn commit(&mut self, _: Epoch, _: &Prepared) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::numbers;

    #[tokio::test]
    async fn keeps_the_first_and_no_more() {
        let mut kept = KeptDeadLetters::default();
        for _ in 0..3 {
            kept.write(Batch::append_only(numbers(0..600))).await.unwrap();
        }
        let sizes: Vec<usize> = kept.rows().iter().map(RecordBatch::num_rows).collect();
        assert_eq!(sizes, [600, 400]);
    }
}
