//! The sink `blackhole`: takes everything and keeps nothing, for benchmarks. Guarantee: at most once, since nothing is kept. The engine
//! counts the rows.

use async_trait::async_trait;
use headwater_core::{
    Batch, Changes, Connector, Epoch, Guarantee, Prepared, Result, Sink, SinkSpec, TableDefinition, TaskContext,
};
use std::sync::Arc;

/// How many subtasks may write at once; they share nothing.
const PARALLELISM_MAX: usize = 64;

/// The connector.
#[derive(Debug)]
pub(crate) struct Blackhole;

impl Connector for Blackhole {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn reads(&self) -> bool {
        false
    }

    fn sink(&self, _: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        Ok(Arc::new(Spec))
    }
}

#[derive(Debug)]
struct Spec;

#[async_trait]
impl SinkSpec for Spec {
    fn describe(&self) -> String {
        "blackhole".to_owned()
    }

    fn changes(&self) -> Changes {
        Changes::Any
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::AtMostOnce
    }

    fn parallelism_max(&self) -> usize {
        PARALLELISM_MAX
    }

    async fn open(&self, _: &TaskContext) -> Result<Box<dyn Sink>> {
        Ok(Box::new(Counted { n_rows: 0 }))
    }
}

struct Counted {
    n_rows: u64,
}

#[async_trait]
impl Sink for Counted {
    async fn write(&mut self, batch: Batch) -> Result<()> {
        self.n_rows += batch.n_rows() as u64;
        Ok(())
    }

    async fn prepare(&mut self, _: Epoch) -> Result<Prepared> {
        Ok(Prepared(serde_json::json!({ "rows": std::mem::take(&mut self.n_rows) })))
    }

    async fn commit(&mut self, epoch: Epoch, prepared: &Prepared) -> Result<()> {
        tracing::debug!(%epoch, prepared = %prepared.0, "swallowed");
        Ok(())
    }
}
