//! The closed alphabet that flows over every edge of a graph.

use crate::{Batch, EventTime};
use std::fmt;

/// What one task sends to the next. Every match on it is exhaustive: a new letter is a change of the protocol.
#[derive(Debug, Clone)]
pub enum Message {
    /// Rows.
    Batch(Batch),
    /// A promise about the event time of the rows to come.
    Watermark(Watermark),
    /// The border between two epochs.
    Barrier(Barrier),
    /// Nothing follows. It is always preceded by a barrier of kind [`BarrierKind::Stop`].
    End,
}

/// A promise about event time on one edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watermark {
    /// No row at or before this time is expected any more; one that comes is late.
    At(EventTime),
    /// Nothing is being read here: others must not wait for this input.
    Idle,
}

/// The number of a step of the whole pipeline, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The border after epoch `epoch`: what came before it belongs to the epoch, what comes after does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The epoch that ends here.
    pub epoch: Epoch,
    /// What is to be done at the border.
    pub kind: BarrierKind,
    /// The wall time of the epoch, which never falls: what `now()` means to everybody at this border, so that all
    /// results of an epoch agree on it.
    pub time: EventTime,
}

/// What a barrier asks of the tasks that it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarrierKind {
    /// Updating operators emit the net change of the epoch.
    Flush,
    /// As `Flush`, and sinks prepare and commit.
    Checkpoint,
    /// As `Checkpoint`, and then every task ends.
    Stop,
}

impl BarrierKind {
    /// Whether sinks make the epoch visible at this barrier.
    #[must_use]
    pub fn commits(self) -> bool {
        match self {
            Self::Flush => false,
            Self::Checkpoint | Self::Stop => true,
        }
    }
}
