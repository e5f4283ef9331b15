//! How a task's snapshots get into the state store: encoded and written while rows of the next epoch already flow.
//!
//! Invariants. There is at most one checkpoint on its way, so at most one write per task. What was taken is reported
//! once, with all its parts, or its failure is. Before the last barrier leaves, everything is written.

use crate::RetryPolicy;
use crate::retry::Backoff;
use crate::state::{EncodedPart, Part, PartName, StateStore, encode};
use crate::task::{Interrupt, News, Uplink};
use headwater_core::{Barrier, BarrierKind, Epoch, Error, Result, Route, Snapshot, StateTable};
use std::sync::Arc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

/// Above this number of rows a table is encoded on a thread of its own.
const INLINE_ROWS_MAX: usize = 4_096;

/// A part that was written, and what of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    /// The identity of the operator.
    pub(crate) operator: String,
    /// The name of the table.
    pub(crate) table: &'static str,
    /// Its key.
    pub(crate) key: Vec<usize>,
    /// Where its rows belong.
    pub(crate) route: Route,
    /// The part.
    pub(crate) part: Part,
}

/// Writes the snapshots of one task.
pub(crate) struct Snapshots {
    inner: Option<Inner>,
    writing: JoinSet<()>,
}

#[derive(Clone)]
struct Inner {
    store: StateStore,
    /// The identities of the task's operators.
    operators: Arc<[String]>,
    subtask: (usize, usize),
    uplink: Uplink,
    retry: RetryPolicy,
    number: usize,
}

impl Snapshots {
    /// Makes the writer of a task whose pipeline keeps no state.
    pub(crate) fn nowhere() -> Self {
        Self { inner: None, writing: JoinSet::new() }
    }

    /// Makes the writer of a task, by the identities of its operators.
    pub(crate) fn new(
        store: StateStore,
        operators: &[String],
        subtask: (usize, usize),
        uplink: Uplink,
        retry: &RetryPolicy,
        number: usize,
    ) -> Self {
        let inner = Inner { store, operators: operators.into(), subtask, uplink, retry: retry.clone(), number };
        Self { inner: Some(inner), writing: JoinSet::new() }
    }

    /// Whether snapshots are wanted at this barrier.
    pub(crate) fn wanted(&self, barrier: &Barrier) -> bool {
        self.inner.is_some() && barrier.kind.commits()
    }

    /// Takes the snapshots of the task's operators, each with the operator's number.
    pub(crate) async fn take(&mut self, barrier: &Barrier, taken: Vec<(usize, Snapshot)>) -> Result<(), Interrupt> {
        let Some(inner) = self.inner.clone() else { return Ok(()) };
        while self.writing.try_join_next().is_some() {}
        let mut tables = Vec::new();
        for (operator, snapshot) in taken {
            let identity = inner.operators.get(operator).cloned();
            let identity = identity.ok_or_else(|| Error::internal("a snapshot of no operator"))?;
            tables.extend(snapshot.tables.into_iter().map(|table| (identity.clone(), table)));
        }
        if tables.is_empty() {
            return Ok(inner.uplink.send(News::Snapshot(barrier.epoch, Vec::new()))?);
        }
        let epoch = barrier.epoch;
        let writing = async move {
            let news = match inner.write(epoch, tables).await {
                Ok(written) => News::Snapshot(epoch, written),
                Err(error) => News::Failed(error),
            };
            // Whoever does not listen any more has ended everything already.
            let _ = inner.uplink.send(news);
        };
        match barrier.kind {
            BarrierKind::Flush | BarrierKind::Checkpoint => {
                self.writing.spawn(writing);
            }
            // The task is about to end, and what it has begun would end with it.
            BarrierKind::Stop => writing.await,
        }
        Ok(())
    }
}

impl Inner {
    async fn write(&self, epoch: Epoch, tables: Vec<(String, StateTable)>) -> Result<Vec<Written>> {
        let mut written = Vec::with_capacity(tables.len());
        let mut backoff = Backoff::new(&self.retry, self.number);
        for (operator, table) in tables {
            let (name, key, route) = (table.name, table.key.clone(), table.route.clone());
            let Some(part) = encoded(table).await? else { continue };
            let file = PartName { epoch, operator: &operator, subtask: self.subtask, table: name };
            let part = loop {
                match self.store.write_part(&file, part.clone()).await {
                    Ok(part) => break part,
                    Err(error) => sleep(backoff.failed(error)?).await,
                }
            };
            backoff.succeeded();
            written.push(Written { operator, table: name, key, route, part });
        }
        Ok(written)
    }
}

async fn encoded(table: StateTable) -> Result<Option<EncodedPart>> {
    if table.rows.num_rows() <= INLINE_ROWS_MAX {
        return encode(&table);
    }
    let encoding = spawn_blocking(move || encode(&table)).await;
    encoding.map_err(|error| Error::internal(format!("the encoding of a snapshot ended early: {error}")))?
}
