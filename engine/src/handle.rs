//! The caller's end of a running pipeline: stop it, wait for it, look at it.
//!
//! It owns the task that coordinates the run; dropping it ends all tasks at once, without a commit. Whatever it
//! returns about the run is a copy of shared counters, so it slows nobody down.

use crate::kept_dead_letters::KeptDeadLetters;
use crate::report::{LetterCounts, NodeCounters, Outcome, Positions, RunReport};
use headwater_core::{Epoch, Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the tasks, the coordinator and the handle share.
#[derive(Debug)]
pub(crate) struct Shared {
    pipeline: String,
    nodes: Vec<NodeCounters>,
    letter_counts: Arc<LetterCounts>,
    /// The dead letters in memory, where there is no sink for them.
    pub(crate) kept: Option<KeptDeadLetters>,
    state: Mutex<State>,
    /// Asks for the stop barrier.
    pub(crate) stop: CancellationToken,
    /// Whether all sources have been read to their present end.
    pub(crate) caught_up: watch::Sender<bool>,
    /// Whether all that there was when the run began is committed.
    pub(crate) replayed: watch::Sender<bool>,
    /// The last committed epoch.
    pub(crate) committed: watch::Sender<Option<Epoch>>,
    /// The name of the savepoint to leave at the stop barrier.
    pub(crate) savepoint: Mutex<Option<String>>,
    /// The result, once there is one.
    pub(crate) result: watch::Sender<Option<Result<Outcome>>>,
}

#[derive(Debug)]
struct State {
    outcome: Outcome,
    positions: Positions,
}

impl Shared {
    /// Makes what a run that begins shares.
    pub(crate) fn new(
        pipeline: &str,
        nodes: Vec<NodeCounters>,
        letter_counts: Arc<LetterCounts>,
        kept: Option<KeptDeadLetters>,
    ) -> Self {
        Self {
            pipeline: pipeline.to_owned(),
            nodes,
            letter_counts,
            kept,
            state: Mutex::new(State { outcome: Outcome::Running, positions: Positions::new() }),
            stop: CancellationToken::new(),
            caught_up: watch::Sender::new(false),
            replayed: watch::Sender::new(false),
            committed: watch::Sender::new(None),
            savepoint: Mutex::default(),
            result: watch::Sender::new(None),
        }
    }

    /// Notes a committed epoch with the positions at its end.
    pub(crate) fn set_committed(&self, epoch: Epoch, positions: Positions) {
        self.lock().positions = positions;
        self.committed.send_replace(Some(epoch));
    }

    /// Notes the end of the run and wakes those who wait for it.
    pub(crate) fn set_result(&self, result: Result<Outcome>) {
        if let Ok(outcome) = result {
            self.lock().outcome = outcome;
        }
        self.result.send_replace(Some(result));
    }

    /// Returns the name of the savepoint that was asked for.
    pub(crate) fn savepoint(&self) -> Option<String> {
        self.savepoint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reports.
    pub(crate) fn report(&self) -> RunReport {
        let state = self.lock();
        RunReport {
            pipeline: self.pipeline.clone(),
            outcome: state.outcome,
            nodes: self.nodes.iter().map(NodeCounters::report).collect(),
            last_epoch: *self.committed.borrow(),
            positions: state.positions.clone(),
            dead_letters: self.letter_counts.get(),
            dead_letters_kept: self.kept.as_ref().map(KeptDeadLetters::rows).unwrap_or_default(),
        }
    }

    fn crashed(&self) -> Error {
        Error::internal("the coordinator ended without a result").at(format!("pipeline {}", self.pipeline))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves a result with the handle even when the coordinator panics, so that nobody waits for ever.
pub(crate) struct EndGuard(pub(crate) Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        if self.0.result.borrow().is_none() {
            self.0.set_result(Err(self.0.crashed()));
        }
    }
}

/// A running pipeline. Dropping it ends the pipeline at once, without a commit.
#[derive(Debug)]
pub struct Handle {
    shared: Arc<Shared>,
    /// The coordinator, which owns all other tasks. It is held only to be ended when the handle is dropped.
    _runner: JoinSet<()>,
}

impl Handle {
    /// Makes the handle of a run.
    pub(crate) fn new(shared: Arc<Shared>, runner: JoinSet<()>) -> Self {
        Self { shared, _runner: runner }
    }

    /// Asks the pipeline to read nothing more, commit what it has read, and end. It returns at once; wait with
    /// [`Handle::join`]. A pipeline that may not commit yet ends without a commit, see [`crate::FirstCommit`].
    pub fn stop(&self) {
        self.shared.stop.cancel();
    }

    /// Says that the last checkpoint of the run is to be kept under a name until somebody deletes it. A pipeline that
    /// keeps no state leaves none.
    pub fn leave_savepoint(&self, name: &str) {
        *self.shared.savepoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_owned());
    }

    /// Waits for the end of the pipeline. It may be called more than once, and dropping the future ends nothing.
    ///
    /// # Errors
    /// The first error that ended the pipeline, with the node and subtask; `Internal` for a panic.
    pub async fn join(&self) -> Result<RunReport> {
        let mut result = self.shared.result.subscribe();
        let ended = result.wait_for(Option::is_some).await.ok().and_then(|result| result.clone());
        ended.unwrap_or_else(|| Err(self.shared.crashed())).map(|_| self.report())
    }

    /// Reports what the pipeline has done so far, also after it failed.
    #[must_use]
    pub fn report(&self) -> RunReport {
        self.shared.report()
    }

    /// Waits until every source has once been read to its present end; returns whether that happened before the
    /// pipeline ended.
    pub async fn caught_up(&self) -> bool {
        self.wait_until(&self.shared.caught_up).await
    }

    /// Waits until everything that there was when the run began is committed in all sinks; returns whether that
    /// happened before the pipeline ended.
    pub async fn replayed(&self) -> bool {
        self.wait_until(&self.shared.replayed).await
    }

    /// Returns the last committed epoch, to look at or to wait for.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<Option<Epoch>> {
        self.shared.committed.subscribe()
    }

    async fn wait_until(&self, flag: &watch::Sender<bool>) -> bool {
        let mut happened = flag.subscribe();
        tokio::select! {
            // The flag first: a pipeline that ended may well have raised it before.
            biased;
            result = happened.wait_for(|flag| *flag) => result.is_ok(),
            _ = self.join() => *flag.borrow(),
        }
    }
}
