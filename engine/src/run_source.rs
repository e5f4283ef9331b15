//! The loop of a source task: polls, runs the fused operators, looks at event time, puts barriers between batches.
//!
//! Invariants. A barrier never splits a batch, and the position reported with it excludes exactly the rows sent
//! before it. The watermark is sent after the rows that allow it, and the greatest one exactly once, when the source
//! ends. After its end the task keeps passing barriers on until the stop barrier. It sends one batch at a time and
//! holds none back; it never spins: an idle source is left alone for the poll interval, an unavailable one for the
//! pause of its backoff, and barriers are served meanwhile.

use crate::event_time;
use crate::fused::Fused;
use crate::output::TaskOutput;
use crate::partitions::Partitions;
use crate::retry::Backoff;
use crate::snapshots::Snapshots;
use crate::state::SourcePosition;
use crate::task::{Emitted, Interrupt, News, Uplink};
use headwater_core::{
    Barrier, BarrierKind, Batch, Clock, Counter, ErrorKind, EventTime, EventTimeSpec, Message, Polled, Position,
    Result, Source, SourceBatch, Watermark,
};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

/// A source with everything that its loop needs.
pub(crate) struct SourceTask {
    pub(crate) name: Arc<str>,
    pub(crate) source: Box<dyn Source>,
    pub(crate) operators: Fused,
    pub(crate) event_time: Option<Arc<dyn EventTimeSpec>>,
    pub(crate) output: TaskOutput,
    /// What the coordinator sends; never more than one of each at a time.
    pub(crate) orders: mpsc::UnboundedReceiver<Order>,
    pub(crate) snapshots: Snapshots,
    /// The watermark that an earlier run had sent.
    pub(crate) reached: Option<EventTime>,
    /// Whether the coordinator says when a checkpoint is durable, also after the last barrier.
    pub(crate) is_acknowledged: bool,
    pub(crate) uplink: Uplink,
    pub(crate) backoff: Backoff,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) settings: SourceSettings,
}

/// What the coordinator tells a source task.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    /// Put this between two batches.
    Barrier(Barrier),
    /// A checkpoint is durable and committed that holds this position.
    Acknowledge(Position),
}

/// The part of the engine's options that concerns sources.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SourceSettings {
    pub(crate) batch_rows_max: usize,
    pub(crate) poll_interval: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) max_ahead: Duration,
}

/// Where the loop stands.
struct Progress {
    partitions: Partitions,
    started: Instant,
    wait_until: Option<Instant>,
    /// A barrier that came while there was no position to go on from.
    held: Option<Barrier>,
    caught_up: bool,
    ended: bool,
}

impl Progress {
    /// Returns how long the task has been reading: time during which it was held up makes no partition idle.
    fn reading_time(&self, held_up: Duration) -> Duration {
        self.started.elapsed().saturating_sub(held_up)
    }

    /// Returns the greatest watermark that was sent.
    fn promised(&self) -> EventTime {
        if self.ended { EventTime::MAX } else { self.partitions.reached() }
    }
}

/// Runs a source task until the stop barrier.
pub(crate) async fn run_source(mut task: SourceTask) -> Result<(), Interrupt> {
    let mut progress = Progress {
        partitions: Partitions::going_on(task.settings.idle_timeout, task.reached.unwrap_or(EventTime::MIN)),
        started: Instant::now(),
        wait_until: None,
        held: None,
        caught_up: false,
        ended: false,
    };
    if let Some(reached) = task.reached {
        task.output.watermark(Watermark::At(reached)).await?;
    }
    loop {
        let deadline = if task.keeps_time(&progress) { progress.partitions.next_deadline() } else { None };
        let deadline = deadline.map(|reading_time| progress.started + task.output.held_up + reading_time);
        tokio::select! {
            // Barriers come first, or a source that always has rows would keep the epoch open for ever. Rows come
            // before the idle timer, or a partition whose rows are ready could be put to rest.
            biased;
            order = task.orders.recv() => match order.ok_or(Interrupt::Gone)? {
                Order::Barrier(barrier) => progress.held = Some(barrier),
                Order::Acknowledge(position) => task.acknowledge(&position).await?,
            },
            polled = poll(task.source.as_mut(), progress.wait_until, task.settings.batch_rows_max), if !progress.ended => {
                task.on_polled(polled, &mut progress).await?;
            }
            () = sleep_until(deadline.unwrap_or(progress.started)), if deadline.is_some() => {}
        }
        if !task.source.holds_barrier()
            && let Some(barrier) = progress.held.take()
            && task.on_barrier(barrier, &progress).await?
        {
            return Ok(());
        }
        if task.keeps_time(&progress) {
            let now = progress.reading_time(task.output.held_up);
            if let Some(watermark) = progress.partitions.changed(now) {
                task.output.watermark(watermark).await?;
            }
        }
        // A source whose rows are always ready, read by somebody who always has room, would keep the thread.
        tokio::task::yield_now().await;
    }
}

/// Polls after a pause. Dropping the future loses nothing, because sources are cancel-safe.
async fn poll(source: &mut dyn Source, wait_until: Option<Instant>, rows_max: usize) -> Result<Polled> {
    if let Some(instant) = wait_until {
        sleep_until(instant).await;
    }
    source.poll(rows_max).await
}

/// Returns how many rows and letters came of a record, where rows are changes; zero where they are not.
fn n_changes(emitted: &Emitted) -> usize {
    let n_rows = |message: &Message| match message {
        Message::Batch(batch) if batch.diffs.is_some() => batch.n_rows(),
        Message::Batch(_) | Message::Watermark(_) | Message::Barrier(_) | Message::End => 0,
    };
    match emitted.messages.iter().map(n_rows).sum() {
        0 => 0,
        n_rows => n_rows + emitted.letters.len(),
    }
}

impl SourceTask {
    /// Returns whether the watermark may move: not after the end, not without event time, and not while the source
    /// has yet to begin input that may be older than all it has returned.
    fn keeps_time(&self, progress: &Progress) -> bool {
        !progress.ended && self.event_time.is_some() && !self.source.holds_watermark()
    }

    /// Passes a barrier on; returns whether it was the last.
    async fn on_barrier(&mut self, barrier: Barrier, progress: &Progress) -> Result<bool, Interrupt> {
        let emitted = self.operators.barrier(&barrier)?;
        self.send(emitted).await?;
        if barrier.kind.commits() {
            let watermark = self.event_time.as_ref().map(|_| progress.promised());
            let reached = SourcePosition { position: self.source.position(), watermark };
            self.uplink.send(News::Position(barrier.epoch, reached))?;
        }
        if self.snapshots.wanted(&barrier) {
            let taken = self.operators.snapshot()?;
            self.snapshots.take(&barrier, taken).await?;
        }
        self.output.barrier(barrier).await?;
        match barrier.kind {
            BarrierKind::Flush | BarrierKind::Checkpoint => Ok(false),
            BarrierKind::Stop => {
                self.output.end().await?;
                self.last_acknowledgement().await?;
                Ok(true)
            }
        }
    }

    /// Waits for the end of the last checkpoint, so that a server hears of it.
    async fn last_acknowledgement(&mut self) -> Result<(), Interrupt> {
        if self.is_acknowledged {
            // Without one the run has failed elsewhere.
            if let Order::Acknowledge(position) = self.orders.recv().await.ok_or(Interrupt::Gone)? {
                self.acknowledge(&position).await?;
            }
        }
        Ok(())
    }

    /// Tells the source what is durable. That is good to know and no more: when its server is away, the next checkpoint
    /// says it again.
    async fn acknowledge(&mut self, position: &Position) -> Result<()> {
        match self.source.ack(position).await {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                tracing::warn!(node = %self.name, %error, "cannot acknowledge; the next checkpoint will");
                Ok(())
            }
            result => result,
        }
    }

    async fn on_polled(&mut self, polled: Result<Polled>, progress: &mut Progress) -> Result<(), Interrupt> {
        progress.wait_until = None;
        match polled {
            Ok(Polled::Batch(batch)) => {
                self.backoff.succeeded();
                self.on_batch(batch, progress).await
            }
            Ok(Polled::Idle) => {
                self.backoff.succeeded();
                progress.wait_until = Some(Instant::now() + self.settings.poll_interval);
                self.on_caught_up(progress)
            }
            Ok(Polled::End) => {
                progress.ended = true;
                self.output.watermark(Watermark::At(EventTime::MAX)).await?;
                self.on_caught_up(progress)?;
                Ok(self.uplink.send(News::Ended)?)
            }
            Err(error) => {
                progress.wait_until = Some(Instant::now() + self.backoff.failed(error)?);
                Ok(())
            }
        }
    }

    fn on_caught_up(&self, progress: &mut Progress) -> Result<(), Interrupt> {
        if !progress.caught_up {
            progress.caught_up = true;
            self.uplink.send(News::CaughtUp)?;
        }
        Ok(())
    }

    async fn on_batch(&mut self, read: SourceBatch, progress: &mut Progress) -> Result<(), Interrupt> {
        let n_rows = read.batch.n_rows() + read.dead_letters.len();
        if n_rows == 0 {
            return Ok(());
        }
        if self.event_time.is_some()
            && let Some(awake) = progress.partitions.wake(read.partition, progress.reading_time(self.output.held_up))
        {
            self.output.watermark(awake).await?;
        }
        let mut emitted = self.operators.batch(0, read.batch)?;
        emitted.letters.splice(0..0, read.dead_letters);
        // A record that says what goes and what comes is two rows.
        self.output.counters.add(Counter::RowsIn, n_rows.max(n_changes(&emitted)) as u64);
        if let Some(watermark) = self.send(emitted).await? {
            progress.partitions.advance(read.partition, watermark);
        }
        Ok(())
    }

    /// Sends rows after a look at their event time; returns the greatest watermark that they allow. Watermarks that
    /// operators emit here mean nothing: event time begins after them.
    async fn send(&mut self, emitted: Emitted) -> Result<Option<EventTime>, Interrupt> {
        self.output.letters(emitted.letters).await?;
        let mut watermark = None;
        for message in emitted.messages {
            match message {
                Message::Batch(batch) => watermark = watermark.max(self.send_batch(batch).await?),
                Message::Watermark(_) | Message::Barrier(_) | Message::End => {}
            }
        }
        Ok(watermark)
    }

    async fn send_batch(&mut self, batch: Batch) -> Result<Option<EventTime>, Interrupt> {
        let Some(spec) = &self.event_time else {
            self.output.batch(batch).await?;
            return Ok(None);
        };
        let max_ahead = i64::try_from(self.settings.max_ahead.as_nanos()).unwrap_or(i64::MAX);
        let latest = self.clock.now().saturating_add(max_ahead);
        let checked = event_time::check(spec.as_ref(), batch, latest, &self.name)?;
        self.output.letters(checked.letters).await?;
        self.output.batch(checked.batch).await?;
        Ok(checked.watermark)
    }
}
