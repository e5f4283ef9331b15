//! The task above all others: opens sources and sinks, starts the loops, drives the epochs, and watches for failures.
//!
//! Invariants. The first error wins: when a task fails or panics, all others are ended, and that their neighbours
//! were gone is reported by nobody. It returns only when every task has ended, and so has what it had begun to write.
//! It never touches a row.

use crate::checkpoints::{Checkpoints, Collected};
use crate::epochs::{Due, Epochs, Step};
use crate::handle::{EndGuard, Shared};
use crate::report::Positions;
use crate::restore::Restore;
use crate::retry::Backoff;
use crate::run_async::{AsyncTask, run_async};
use crate::run_chain::{ChainTask, run_chain};
use crate::run_sink::{SinkTask, run_sink};
use crate::run_source::{Order, SourceSettings, SourceTask, run_source};
use crate::snapshots::Snapshots;
use crate::start::{Unopened, UnopenedBody};
use crate::task::{Interrupt, Report, Uplink};
use crate::upkeep::{Background, Done};
use crate::{EngineOptions, Outcome};
use headwater_core::{BarrierKind, Epoch, Error, Position, Result, TaskContext};
use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// The coordinator of one run.
pub(crate) struct Coordinator {
    pub(crate) options: EngineOptions,
    epochs: Epochs,
    shared: Arc<Shared>,
    /// The ways to the sources and to the sinks: one each and not one for all, because a `watch` wakes its readers in
    /// an order by chance, and a run must be repeatable.
    orders: BTreeMap<usize, mpsc::UnboundedSender<Order>>,
    commits: Vec<mpsc::UnboundedSender<Epoch>>,
    /// For each task by number, where it is.
    places: Vec<TaskContext>,
    running: HashMap<Id, usize>,
    /// Where state is kept.
    checkpoints: Option<Checkpoints>,
    pub(crate) restore: Option<Restore>,
    background: Background,
}

/// A task that is ready to run.
enum Ready {
    Source(Box<SourceTask>),
    Chain(Box<ChainTask>),
    Async(Box<AsyncTask>),
    Sink(Box<SinkTask>),
}

impl Coordinator {
    /// Makes the coordinator of a run that begins.
    pub(crate) fn new(
        options: EngineOptions,
        epochs: Epochs,
        shared: Arc<Shared>,
        checkpoints: Option<Checkpoints>,
        restore: Option<Restore>,
    ) -> Self {
        Self {
            background: Background::new(&options),
            options,
            epochs,
            shared,
            orders: BTreeMap::new(),
            commits: Vec::new(),
            places: Vec::new(),
            running: HashMap::new(),
            checkpoints,
            restore,
        }
    }
}

/// Runs a pipeline to its end and leaves the result with the handle.
pub(crate) async fn run(mut coordinator: Coordinator, tasks: Vec<Unopened>) {
    let _guard = EndGuard(coordinator.shared.clone());
    coordinator.places = tasks.iter().map(|task| task.context.clone()).collect();
    let mut set = JoinSet::new();
    let (reports, received) = mpsc::unbounded_channel();
    let result = coordinator.run(tasks, &mut set, reports, received).await;
    // Whoever learns of the end may rely on it that nothing runs any more.
    set.shutdown().await;
    coordinator.sum_up_dead_letters();
    let result = result.map_err(|error| error.at(format!("pipeline {}", coordinator.options.pipeline)));
    coordinator.shared.set_result(result);
}

impl Coordinator {
    async fn run(
        &mut self,
        tasks: Vec<Unopened>,
        set: &mut JoinSet<Result<(), Interrupt>>,
        reports: mpsc::UnboundedSender<Report>,
        mut received: mpsc::UnboundedReceiver<Report>,
    ) -> Result<Outcome> {
        let stop = self.shared.stop.clone();
        let ready = tokio::select! {
            // Opening first: when it is done, a stop is the loop's business.
            biased;
            ready = self.open_all(tasks, &reports) => ready?,
            () = stop.cancelled() => return Ok(Outcome::Abandoned),
        };
        drop(reports);
        self.spawn_all(set, ready);
        let mut ticks = ticks(&self.options);
        let mut neighbour_lost = false;
        loop {
            tokio::select! {
                // Reports come first, because a task reports before it ends and because one may complete an epoch
                // before the tick asks for the next; then ends of tasks, which may be failures.
                biased;
                Some(report) = received.recv() => self.on_report(report)?,
                done = self.background.next(), if self.background.is_busy() => self.on_done(done?)?,
                joined = set.join_next_with_id() => match joined {
                    Some(joined) => neighbour_lost |= self.joined(joined)?,
                    None => break,
                },
                () = stop.cancelled(), if !self.epochs.is_stopping() => self.epochs.stop(),
                _ = ticks.tick() => self.epochs.tick(),
            }
            match self.epochs.due(self.options.clock.now()) {
                Due::Nothing => {}
                Due::Barrier(barrier) => {
                    tracing::debug!(epoch = barrier.epoch.0, kind = ?barrier.kind, "barrier");
                    send_all(self.orders.values(), &Order::Barrier(barrier));
                }
                Due::Abandon => return Ok(Outcome::Abandoned),
            }
        }
        // The last reports may have come between the look at them and the end of their task.
        while let Ok(report) = received.try_recv() {
            self.on_report(report)?;
        }
        if neighbour_lost {
            return Err(Error::internal("a task ended early without saying why"));
        }
        Ok(if self.epochs.all_ended() { Outcome::Finished } else { Outcome::Stopped })
    }

    /// Opens sinks before sources, so that nothing is read that could not be written.
    async fn open_all(&mut self, tasks: Vec<Unopened>, reports: &mpsc::UnboundedSender<Report>) -> Result<Vec<Ready>> {
        let mut ready: BTreeMap<usize, Ready> = BTreeMap::new();
        let numbered = tasks.into_iter().enumerate();
        let (sources, others): (Vec<_>, Vec<_>) =
            numbered.partition(|(_, task)| matches!(task.body, UnopenedBody::Source { .. }));
        let mut tasks: Vec<_> = others.into_iter().chain(sources).collect();
        self.take_state_over(&mut tasks).await?;
        for (number, task) in tasks {
            let uplink = Uplink::new(number, reports.clone());
            let opened = self.open(number, task, uplink).await;
            ready.insert(number, opened.map_err(|error| error.at(self.place(number)))?);
        }
        Ok(ready.into_values().collect())
    }

    async fn open(&mut self, number: usize, task: Unopened, uplink: Uplink) -> Result<Ready> {
        let backoff = Backoff::new(&self.options.retry, number);
        let Unopened { context, identity, body } = task;
        let snapshots = match &self.options.state {
            None => Snapshots::nowhere(),
            Some(state) => {
                let subtask = (context.subtask, context.parallelism);
                let (store, retry) = (state.store.clone(), &self.options.retry);
                Snapshots::new(store, &identity.operators, subtask, uplink.clone(), retry, number)
            }
        };
        Ok(match body {
            UnopenedBody::Chain { inputs, operators, output } => {
                Ready::Chain(Box::new(ChainTask { inputs, operators, output, snapshots }))
            }
            UnopenedBody::Async { operator, inputs, output, kept } => Ready::Async(Box::new(AsyncTask {
                name: context.node.clone(),
                settings: operator.settings(),
                reason: operator.reason(),
                operator: operator.open(&context).await?,
                inputs,
                output,
                kept,
                snapshots,
                retry: self.options.retry.clone(),
                number,
            })),
            UnopenedBody::Sink { sink, inputs, counters, letters } => {
                let sink = self.open_sink(sink.as_ref(), &context, &identity.node, number).await?;
                let (sender, commits) = mpsc::unbounded_channel();
                self.commits.push(sender);
                Ready::Sink(Box::new(SinkTask { sink, inputs, counters, letters, uplink, commits, backoff }))
            }
            UnopenedBody::Source { source, operators, event_time, output } => {
                let (source, reached) = self.open_source(source.as_ref(), &context, &identity.node, number).await?;
                let (sender, orders) = mpsc::unbounded_channel();
                self.orders.insert(number, sender);
                Ready::Source(Box::new(SourceTask {
                    name: context.node.clone(),
                    source,
                    operators,
                    event_time,
                    output,
                    orders,
                    snapshots,
                    reached,
                    is_acknowledged: self.options.state.is_some(),
                    uplink,
                    backoff,
                    clock: self.options.clock.clone(),
                    settings: SourceSettings {
                        batch_rows_max: self.options.batch_rows_max,
                        poll_interval: self.options.poll_interval,
                        idle_timeout: self.options.idle_timeout,
                        max_ahead: self.options.max_ahead,
                    },
                }))
            }
        })
    }

    fn spawn_all(&mut self, set: &mut JoinSet<Result<(), Interrupt>>, ready: Vec<Ready>) {
        for (number, task) in ready.into_iter().enumerate() {
            let spawned = match task {
                Ready::Source(task) => set.spawn(run_source(*task)),
                Ready::Chain(task) => set.spawn(run_chain(*task)),
                Ready::Async(task) => set.spawn(run_async(*task)),
                Ready::Sink(task) => set.spawn(run_sink(*task)),
            };
            self.running.insert(spawned.id(), number);
        }
    }

    fn on_report(&mut self, report: Report) -> Result<()> {
        match self.epochs.report(report)? {
            Step::Wait => {}
            Step::CaughtUp => {
                self.shared.caught_up.send_replace(true);
            }
            Step::Store(collected) => self.store(*collected)?,
            Step::Commit(epoch) => send_all(&self.commits, &epoch),
            Step::Committed { epoch, positions, holds_replay } => {
                self.acknowledge(&positions);
                self.shared.set_committed(epoch, self.by_node(positions));
                if holds_replay {
                    self.shared.replayed.send_replace(true);
                }
                if let Some(checkpoints) = &self.checkpoints {
                    self.background.tidy_up(checkpoints, Epoch(epoch.0 + 1));
                }
            }
        }
        Ok(())
    }

    /// Begins to store a checkpoint.
    fn store(&mut self, collected: Collected) -> Result<()> {
        let is_last = collected.barrier.kind == BarrierKind::Stop;
        let savepoint = if is_last { self.shared.savepoint() } else { None };
        let checkpoints = self.checkpoints.as_mut();
        let checkpoints = checkpoints.ok_or_else(|| Error::internal("a checkpoint of a pipeline without state"))?;
        self.background.store(checkpoints.manifest(collected, savepoint)?);
        Ok(())
    }

    fn on_done(&mut self, done: Done) -> Result<()> {
        match done {
            Done::Stored(epoch) => {
                if let Step::Commit(epoch) = self.epochs.stored(epoch)? {
                    send_all(&self.commits, &epoch);
                }
            }
            Done::TidiedUp(merged) => {
                if let Some(checkpoints) = &mut self.checkpoints {
                    merged.into_iter().for_each(|merged| checkpoints.merged(merged));
                }
            }
        }
        Ok(())
    }

    /// Tells the sources what is durable.
    fn acknowledge(&self, positions: &BTreeMap<usize, Position>) {
        if self.options.state.is_none() {
            return;
        }
        for (task, sender) in &self.orders {
            if let Some(position) = positions.get(task) {
                // Why a source is gone is found out when its task is joined.
                let _ = sender.send(Order::Acknowledge(position.clone()));
            }
        }
    }

    fn by_node(&self, positions: BTreeMap<usize, Position>) -> Positions {
        let mut by_node = Positions::new();
        // Tasks are numbered by node and then by subtask, so each list comes out in order.
        for (task, position) in positions {
            by_node.entry(self.places[task].node.to_string()).or_default().push(position);
        }
        by_node
    }

    /// Looks at how a task ended; returns whether it only lost a neighbour, whose own end will say why.
    fn joined(&self, joined: Result<(Id, Result<(), Interrupt>), JoinError>) -> Result<bool> {
        let place = |id: &Id| self.running.get(id).map_or_else(|| "a task".to_owned(), |number| self.place(*number));
        match joined {
            Ok((_, Ok(()))) => Ok(false),
            Ok((_, Err(Interrupt::Gone))) => Ok(true),
            Ok((id, Err(Interrupt::Failed(error)))) => Err(error.at(place(&id))),
            Err(error) => {
                let place = place(&error.id());
                let message = match error.try_into_panic() {
                    Ok(panic) => format!("panicked: {}", panic_message(panic.as_ref())),
                    Err(error) => format!("ended early: {error}"),
                };
                Err(Error::internal(message).at(place))
            }
        }
    }

    fn place(&self, task: usize) -> String {
        let TaskContext { node, subtask, .. } = &self.places[task];
        format!("node '{node}', subtask {subtask}")
    }

    fn sum_up_dead_letters(&self) {
        let report = self.shared.report();
        if self.shared.kept.is_none() || report.dead_letters.is_empty() {
            return;
        }
        let reasons: Vec<String> = report.dead_letters.iter().map(|(reason, n)| format!("{reason}: {n}")).collect();
        tracing::warn!(
            pipeline = self.options.pipeline,
            reasons = reasons.join(", "),
            "rows became dead letters, and the pipeline has no sink for them"
        );
    }
}

/// Sends to all who are still there; why somebody is not is found out when its task is joined.
fn send_all<'a, T: Clone + 'a>(senders: impl IntoIterator<Item = &'a mpsc::UnboundedSender<T>>, message: &T) {
    for sender in senders {
        let _ = sender.send(message.clone());
    }
}

/// Ticks once per flush interval; a tick that was missed is not made up for.
fn ticks(options: &EngineOptions) -> Interval {
    let mut ticks = interval_at(Instant::now() + options.flush_interval, options.flush_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Returns what somebody said when panicking.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
