//! What the coordinator has done for it in the background: manifests are written, parts merged, old ones collected.
//!
//! A checkpoint is written before anything depends on it; tidying up has time, happens once at a time, and its failure
//! costs space and nothing else. It never decides what belongs to a checkpoint.

use crate::checkpoints::{Checkpoints, Merged};
use crate::retry::Backoff;
use crate::state::{Manifest, StateStore, TableState, worth_merging};
use crate::{EngineOptions, RetryPolicy};
use headwater_core::{Epoch, Error, Result};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

/// Work that is going on.
pub(crate) struct Background {
    store: Option<StateStore>,
    retain: usize,
    retry: RetryPolicy,
    work: JoinSet<Result<Done>>,
    tidying: bool,
}

/// Work that is done.
#[derive(Debug)]
pub(crate) enum Done {
    /// The checkpoint of this epoch is there.
    Stored(Epoch),
    /// Parts were merged, and others collected.
    TidiedUp(Vec<Merged>),
}

impl Background {
    /// Makes the background of a run.
    pub(crate) fn new(options: &EngineOptions) -> Self {
        let state = options.state.as_ref();
        Self {
            store: state.map(|state| state.store.clone()),
            retain: state.map_or(1, |state| state.retain),
            retry: options.retry.clone(),
            work: JoinSet::new(),
            tidying: false,
        }
    }

    /// Whether something is going on.
    pub(crate) fn is_busy(&self) -> bool {
        !self.work.is_empty()
    }

    /// Waits for the next thing that is done.
    pub(crate) async fn next(&mut self) -> Result<Done> {
        match self.work.join_next().await {
            Some(joined) => self.joined(joined),
            None => std::future::pending().await,
        }
    }

    fn joined(&mut self, joined: Result<Result<Done>, JoinError>) -> Result<Done> {
        let done = joined.map_err(|error| Error::internal(format!("background work ended early: {error}")))??;
        if matches!(done, Done::TidiedUp(_)) {
            self.tidying = false;
        }
        Ok(done)
    }

    /// Begins to write a manifest.
    pub(crate) fn store(&mut self, manifest: Manifest) {
        let Some(store) = self.store.clone() else { return };
        let mut backoff = Backoff::new(&self.retry, usize::MAX);
        self.work.spawn(async move {
            while let Err(error) = store.write_manifest(&manifest).await {
                sleep(backoff.failed(error)?).await;
            }
            Ok(Done::Stored(manifest.epoch))
        });
    }

    /// Begins to merge parts where that is worth it, and to collect what no checkpoint needs.
    pub(crate) fn tidy_up(&mut self, checkpoints: &Checkpoints, next: Epoch) {
        let Some(store) = self.store.clone().filter(|_| !self.tidying) else { return };
        self.tidying = true;
        let ready: Vec<(String, TableState)> = checkpoints
            .tables()
            .filter(|(_, table)| worth_merging(table).is_some())
            .map(|(operator, table)| (operator.to_owned(), table.clone()))
            .collect();
        let retain = self.retain;
        self.work.spawn(async move {
            let mut merged = Vec::new();
            for (operator, table) in ready {
                match merge(&store, next, &operator, &table).await {
                    Ok(done) => merged.extend(done),
                    Err(error) => {
                        tracing::warn!(%error, table = table.name, "cannot merge parts; the next checkpoint will try")
                    }
                }
            }
            if let Err(error) = store.collect_garbage(retain).await {
                tracing::warn!(%error, "cannot collect what no checkpoint needs; the next checkpoint will try");
            }
            Ok(Done::TidiedUp(merged))
        });
    }
}

async fn merge(store: &StateStore, next: Epoch, operator: &str, table: &TableState) -> Result<Option<Merged>> {
    let Some(range) = worth_merging(table) else { return Ok(None) };
    let part = store.merge(next, operator, table, range.clone()).await?;
    let replaced = table.parts[range].to_vec();
    Ok(Some(Merged { operator: operator.to_owned(), table: table.name.clone(), replaced, part }))
}
