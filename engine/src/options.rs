//! How a pipeline is to be run: the limits and the rhythm of the engine, each with its default and the reason for it.

use crate::state::{Manifest, StateStore};
use headwater_core::{Clock, Epoch, Error, Result, SinkSpec};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::exchange::KEY_GROUPS;

/// When the first epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstCommit {
    /// After the first flush interval.
    #[default]
    Immediately,
    /// After every source has once been read to its present end, so that the first commit holds the whole replay and
    /// readers never see a part of it. A stop before that abandons the run without a commit.
    WhenCaughtUp,
}

/// How often, and after which pauses, something unavailable is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause before the second try; it doubles from try to try. Default 100 ms.
    pub base: Duration,
    /// The longest pause. Default 10 s.
    pub max: Duration,
    /// How many tries in a row may fail, the first one included. Default 70, which is about ten minutes: long enough
    /// for a server that is moved or upgraded, and meanwhile everything upstream is held back.
    pub tries: u32,
    /// The seed of the chance that spreads pauses over the upper half of their length, so that tasks that failed
    /// together do not come back together.
    pub seed: u64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { base: Duration::from_millis(100), max: Duration::from_secs(10), tries: 70, seed: 0 }
    }
}

/// How a pipeline keeps what it needs to go on after its end.
#[derive(Debug, Clone)]
pub struct StateOptions {
    /// Where checkpoints are kept.
    pub store: StateStore,
    /// The checkpoint to go on from; `None` to begin.
    pub restore: Option<Arc<Manifest>>,
    /// The greatest epoch that any checkpoint of this pipeline has: after one goes back to an earlier checkpoint, epochs are
    /// counted on from here, because sinks remember them.
    pub last_epoch: Option<Epoch>,
    /// Whether state that the graph has no operator for any more may be left behind. Default: no.
    pub may_lose: bool,
    /// How many checkpoints are kept, savepoints not counted. Default 3: the last one, one to go back to, and one in case that
    /// the last was being read when it was replaced.
    pub retain: usize,
    /// A folder in which sinks keep what is prepared and not committed.
    pub spool: Option<PathBuf>,
    /// The text of the pipeline, kept with each checkpoint so that it can be compared with a later one.
    pub definition: String,
}

impl StateOptions {
    /// Makes the default options of a pipeline that goes on from its newest checkpoint, or begins where there is none.
    ///
    /// # Errors
    /// As for [`StateStore::latest`].
    pub async fn latest(store: StateStore) -> Result<Self> {
        let mut options = Self::new(store);
        options.to_latest().await?;
        Ok(options)
    }

    /// Goes on from the newest checkpoint that there is now.
    ///
    /// # Errors
    /// As for [`StateStore::latest`].
    pub async fn to_latest(&mut self) -> Result<()> {
        self.restore = self.store.latest().await?.map(Arc::new);
        self.last_epoch = self.restore.as_ref().map(|manifest| manifest.epoch);
        Ok(())
    }

    /// Goes on from a checkpoint or savepoint by its name. What came after it is read and written again.
    ///
    /// # Errors
    /// `NotFound` with the names that there are; otherwise as for [`StateStore::latest`].
    pub async fn to_named(&mut self, name: &str) -> Result<()> {
        let manifest = self.store.find(name).await?;
        self.last_epoch = self.store.epochs().await?.last().copied().max(Some(manifest.epoch));
        self.restore = Some(Arc::new(manifest));
        Ok(())
    }

    /// Makes the default options of a pipeline that begins.
    #[must_use]
    pub fn new(store: StateStore) -> Self {
        Self {
            store,
            restore: None,
            last_epoch: None,
            may_lose: false,
            retain: 3,
            spool: None,
            definition: String::new(),
        }
    }
}

/// How a pipeline is to be run.
#[derive(Clone)]
pub struct EngineOptions {
    /// The name of the pipeline, for errors and reports.
    pub pipeline: String,
    /// The wall clock: for `max_ahead` and for the time at which dead letters are recorded.
    pub clock: Arc<dyn Clock>,
    /// The number of subtasks of each node that allows as many; 1 to 256. Default 1.
    pub parallelism: usize,
    /// The time between two barriers. Default 1 s, which is the latency of a transactional sink.
    pub flush_interval: Duration,
    /// Every how many barriers sinks commit. Default 1.
    pub checkpoint_every: u64,
    /// How many rows one channel holds. Default 65 536: eight full batches, so that neither side waits for the other
    /// in the normal case, and a few tens of megabytes at most.
    pub channel_rows_max: usize,
    /// How many rows one batch holds. Default 8 192, DataFusion's own: small enough for the cache, large enough to
    /// make the cost per batch vanish.
    pub batch_rows_max: usize,
    /// After which time without rows a partition does not hold the watermark back any more. Default 5 s: well above
    /// the pauses of a live stream's network, well below what a person waits for a window.
    pub idle_timeout: Duration,
    /// How far ahead of the wall clock an event time may be. Default 1 h, more than clocks are wrong in practice.
    pub max_ahead: Duration,
    /// How long a source that has nothing is left alone. Default 20 ms.
    pub poll_interval: Duration,
    /// When the first epoch ends. Default: after the first flush interval.
    pub first_commit: FirstCommit,
    /// What to do when a source or sink is unavailable.
    pub retry: RetryPolicy,
    /// Where checkpoints are kept; `None`, the default, for a run that nothing will go on from.
    pub state: Option<StateOptions>,
    /// Where dead letters go when the graph does not say. Without either, the engine keeps the first ones in memory,
    /// counts all, and sums them up in the log at the end.
    pub dead_letters: Option<Arc<dyn SinkSpec>>,
}

impl EngineOptions {
    /// Makes the default options of a pipeline.
    #[must_use]
    pub fn new(pipeline: impl Into<String>, clock: Arc<dyn Clock>) -> Self {
        Self {
            pipeline: pipeline.into(),
            clock,
            parallelism: 1,
            flush_interval: Duration::from_secs(1),
            checkpoint_every: 1,
            channel_rows_max: 65_536,
            batch_rows_max: 8_192,
            idle_timeout: Duration::from_secs(5),
            max_ahead: Duration::from_hours(1),
            poll_interval: Duration::from_millis(20),
            first_commit: FirstCommit::default(),
            retry: RetryPolicy::default(),
            state: None,
            dead_letters: None,
        }
    }

    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// `Invalid`, with the name and the range.
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=KEY_GROUPS).contains(&self.parallelism) {
            return Err(Error::invalid(format!("a parallelism of {} is not possible", self.parallelism))
                .with_help(format!("use 1 to {KEY_GROUPS}")));
        }
        let positive = [
            ("flush_interval", !self.flush_interval.is_zero()),
            ("checkpoint_every", self.checkpoint_every > 0),
            ("channel_rows_max", self.channel_rows_max > 0),
            ("batch_rows_max", self.batch_rows_max > 0),
            ("idle_timeout", !self.idle_timeout.is_zero()),
            ("poll_interval", !self.poll_interval.is_zero()),
            ("retry.tries", self.retry.tries > 0),
        ];
        match positive.into_iter().find(|(_, fits)| !fits) {
            Some((name, _)) => Err(Error::invalid(format!("{name} must be greater than zero"))),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("pipeline", &self.pipeline)
            .field("parallelism", &self.parallelism)
            .field("flush_interval", &self.flush_interval)
            .field("checkpoint_every", &self.checkpoint_every)
            .field("first_commit", &self.first_commit)
            .finish_non_exhaustive()
    }
}
