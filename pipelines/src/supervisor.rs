//! Keeps one pipeline running: plans it, starts it, starts it again when something outside was away, gives up when
//! that does not help, and says at any time how it is. It never knows what the pipeline does.
//!
//! Its state is the running engine handle, the number of restarts and the last error.

use crate::Planner;
use headwater_core::{Error, ErrorKind, Graph, Result};
use headwater_engine::{EngineOptions, Handle, RunReport, difference, start};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A pipeline as a user defined it.
#[derive(Debug, Clone)]
pub struct Definition {
    /// The name.
    pub name: String,
    /// The SQL.
    pub sql: String,
}

/// How often a pipeline is started again.
#[derive(Debug, Clone)]
pub struct RestartPolicy {
    /// How many restarts there may be before the pipeline is given up. Default 5: the engine has retried each failed
    /// call for half a minute by then.
    pub restarts_max: u32,
    /// The pause before the first restart; it doubles each time. Default 1 s.
    pub pause: Duration,
    /// Whether a pipeline that its last checkpoint does not fit begins anew: right where its sources keep everything and
    /// its sinks replace what they have. Otherwise it is an error. Default: no.
    pub begins_anew: bool,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { restarts_max: 5, pause: Duration::from_secs(1), begins_anew: false }
    }
}

/// How a pipeline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It reads what there was when it started; its tables are those of an earlier run, or empty.
    CatchingUp,
    /// It follows its input.
    Running,
    /// It failed and waits for its restart.
    Restarting,
    /// Its input ended, or it was stopped; everything that was read is committed.
    Ended,
    /// It failed and is not started again.
    Failed,
}

/// How a pipeline is, with the numbers.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its name.
    pub name: String,
    /// How it is.
    pub state: State,
    /// How often it was started again.
    pub restarts: u32,
    /// The last error.
    pub error: Option<Error>,
    /// What the present or last run has done.
    pub report: Option<RunReport>,
}

struct Shared {
    definition: Definition,
    state: watch::Sender<State>,
    now: Mutex<Now>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Now {
    handle: Option<Arc<Handle>>,
    restarts: u32,
    error: Option<Error>,
}

/// One pipeline that is kept running. Dropping it ends the pipeline at once, without a commit.
pub struct Supervisor {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// Plans a pipeline and starts it on the current tokio runtime.
    ///
    /// # Errors
    /// `Invalid` when the SQL has a mistake. What fails later is in [`Supervisor::status`].
    pub fn start(
        definition: Definition,
        planner: Arc<dyn Planner>,
        options: EngineOptions,
        policy: RestartPolicy,
    ) -> Result<Self> {
        let graph = planner.plan(&definition.name, &definition.sql)?;
        let shared = Arc::new(Shared {
            definition,
            state: watch::Sender::new(State::CatchingUp),
            now: Mutex::default(),
            stop: CancellationToken::new(),
        });
        let mut tasks = JoinSet::new();
        let task = Task { shared: shared.clone(), planner, options, policy };
        tasks.spawn(task.run(graph));
        Ok(Self { shared, tasks })
    }

    /// Tells how the pipeline is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Returns a view on the pipeline that can be asked while somebody else owns the supervisor.
    #[must_use]
    pub fn watcher(&self) -> Watcher {
        Watcher(self.shared.clone())
    }

    /// Waits until everything that there was at the start is committed, or the pipeline is over.
    ///
    /// # Errors
    /// The error that ended it.
    pub async fn caught_up(&self) -> Result<()> {
        self.wait(|state| !matches!(state, State::CatchingUp | State::Restarting)).await
    }

    /// Waits until the pipeline is over.
    ///
    /// # Errors
    /// The error that ended it.
    pub async fn ended(&self) -> Result<()> {
        self.wait(|state| matches!(state, State::Ended | State::Failed)).await
    }

    /// Lets the pipeline commit what it has read and end, and returns its last status.
    ///
    /// # Errors
    /// The error that ended it.
    pub async fn stop(mut self) -> Result<Status> {
        self.shared.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.ended().await?;
        Ok(self.status())
    }

    async fn wait(&self, done: impl Fn(State) -> bool) -> Result<()> {
        let mut state = self.shared.state.subscribe();
        let last = state.wait_for(|state| done(*state)).await.map(|state| *state);
        match last {
            Ok(State::Failed) => {
                Err(self.shared.now().error.clone().unwrap_or_else(|| Error::internal("a pipeline failed silently")))
            }
            Ok(_) => Ok(()),
            Err(_) => Err(Error::internal("the supervisor of a pipeline is gone")),
        }
    }
}

/// Tells how a pipeline is.
#[derive(Clone)]
pub struct Watcher(Arc<Shared>);

impl Watcher {
    /// Tells how the pipeline is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.0.status()
    }
}

impl Shared {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> Status {
        let now = self.now();
        Status {
            name: self.definition.name.clone(),
            state: *self.state.borrow(),
            restarts: now.restarts,
            error: now.error.clone(),
            report: now.handle.as_ref().map(|handle| handle.report()),
        }
    }
}

/// The task that runs the pipeline over and over.
struct Task {
    shared: Arc<Shared>,
    planner: Arc<dyn Planner>,
    options: EngineOptions,
    policy: RestartPolicy,
}

impl Task {
    async fn run(self, graph: Graph) {
        let mut graph = Ok(graph);
        loop {
            let result = match graph {
                Ok(graph) => self.run_once(graph).await,
                Err(error) => Err(error),
            };
            let Err(error) = result else {
                self.shared.state.send_replace(State::Ended);
                return;
            };
            let restarts = self.note(&error);
            let hopeless = error.kind() != ErrorKind::Unavailable || restarts >= self.policy.restarts_max;
            if hopeless || self.pause(restarts).await.is_none() {
                self.shared.state.send_replace(State::Failed);
                return;
            }
            self.shared.now().restarts = restarts + 1;
            let Definition { name, sql } = &self.shared.definition;
            graph = self.planner.plan(name, sql);
            self.shared.state.send_replace(State::CatchingUp);
        }
    }

    /// Keeps the error and returns the number of restarts so far.
    fn note(&self, error: &Error) -> u32 {
        let mut now = self.shared.now();
        now.error = Some(error.clone());
        tracing::warn!(pipeline = self.shared.definition.name, restarts = now.restarts, error = %error, "pipeline failed");
        now.restarts
    }

    /// Waits before a restart; `None` when a stop came in between.
    async fn pause(&self, restarts: u32) -> Option<()> {
        self.shared.state.send_replace(State::Restarting);
        let pause = self.policy.pause.saturating_mul(1 << restarts.min(16));
        self.shared.stop.run_until_cancelled(tokio::time::sleep(pause)).await
    }

    /// Returns the options of the next run: it goes on from the newest checkpoint. Where that one does not fit the
    /// pipeline any more, and the pipeline can be computed again from its sources, it begins anew.
    async fn options_for(&self, graph: &Graph) -> Result<EngineOptions> {
        let mut options = self.options.clone();
        let Some(state) = &mut options.state else { return Ok(options) };
        state.to_latest().await?;
        state.definition.clone_from(&self.shared.definition.sql);
        let Some(manifest) = &state.restore else { return Ok(options) };
        let lost = difference(manifest, graph)?.lost;
        if self.policy.begins_anew && !lost.is_empty() {
            let lost: Vec<String> = lost.iter().map(|(node, what)| format!("{node}: {what}")).collect();
            tracing::warn!(
                pipeline = self.shared.definition.name,
                lost = lost.join("; "),
                "the pipeline has changed since its last checkpoint; everything is computed again"
            );
            state.restore = None;
        }
        Ok(options)
    }

    async fn run_once(&self, graph: Graph) -> Result<()> {
        let options = self.options_for(&graph).await?;
        let handle = Arc::new(start(graph, options)?);
        self.shared.now().handle = Some(handle.clone());
        let follow = async {
            if handle.replayed().await {
                self.shared.state.send_replace(State::Running);
            }
            self.shared.stop.cancelled().await;
            handle.stop();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            // The end first: once it is there, nothing else matters.
            biased;
            result = handle.join() => result.map(|_| ()),
            () = follow => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
