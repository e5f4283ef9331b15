//! A sink that keeps what it is given, so that a result can be compared with its types. State: all of it.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use headwater_core::{
    Batch, Changes, Connector, Epoch, Prepared, Result, Sink, SinkSpec, SourceSpec, TableDefinition, TaskContext,
};
use std::sync::{Arc, Mutex};

/// What came, in one list for all subtasks.
#[derive(Debug, Clone, Default)]
pub(super) struct Collected(Arc<Mutex<Vec<Batch>>>);

impl Collected {
    /// Returns the rows and the multiplicity of each.
    pub(super) fn take(&self) -> Vec<(RecordBatch, Vec<i64>)> {
        let batches = std::mem::take(&mut *self.0.lock().expect("nobody panicked"));
        let diffs = |batch: &Batch| (0..batch.n_rows()).map(|row| batch.diff(row)).collect();
        batches.into_iter().map(|batch| (batch.rows.clone(), diffs(&batch))).collect()
    }
}

/// A connector under another's name.
pub(super) struct Collect {
    pub(super) name: &'static str,
    pub(super) collected: Collected,
}

impl Connector for Collect {
    fn name(&self) -> &'static str {
        self.name
    }

    fn source(&self, _: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        panic!("the queries only write to '{}'", self.name)
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        for name in ["path", "format"] {
            table.options.get(name);
        }
        Ok(Arc::new(Spec(self.collected.clone())))
    }
}

#[derive(Debug)]
struct Spec(Collected);

#[async_trait]
impl SinkSpec for Spec {
    fn describe(&self) -> String {
        "kept for the test".to_owned()
    }

    fn changes(&self) -> Changes {
        Changes::Any
    }

    async fn open(&self, _: &TaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Keeping(self.0.clone())))
    }
}

struct Keeping(Collected);

#[async_trait]
impl Sink for Keeping {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.0.0.lock().expect("nobody panicked").push(batch);
        Ok(())
    }

    async fn prepare(&mut self, _: Epoch) -> Result<Prepared> {
        Ok(Prepared::default())
    }

    async fn commit(&mut self, _: Epoch, _: &Prepared) -> Result<()> {
        Ok(())
    }
}
