//! What all task loops share: how a task ends early, and how it reports to the coordinator.
//!
//! Data goes down by sends; only these reports go up. The queue of reports has no bound of its own because the
//! protocol bounds it: per epoch a task reports a few times at most, and the next epoch waits for this one.

use crate::channel::Gone;
use crate::snapshots::Written;
use crate::state::SourcePosition;
use headwater_core::{DeadLetter, Epoch, Error, Message, Prepared};
use tokio::sync::mpsc;

/// Why a task ended before the stop barrier.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// A neighbour is gone; the cause is there, not here.
    Gone,
    /// This task failed.
    Failed(Error),
}

impl From<Gone> for Interrupt {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Error> for Interrupt {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// What a task tells the coordinator.
#[derive(Debug)]
pub(crate) struct Report {
    /// The number of the task.
    pub(crate) task: usize,
    /// What happened.
    pub(crate) news: News,
}

/// What can happen in a task.
#[derive(Debug)]
pub(crate) enum News {
    /// A source has been read to its present end. Sent once.
    CaughtUp,
    /// A source has ended. Sent once, after `CaughtUp`.
    Ended,
    /// A source stands here at a barrier at which sinks commit.
    Position(Epoch, SourcePosition),
    /// What has changed in the state of a task's operators is stored.
    Snapshot(Epoch, Vec<Written>),
    /// A sink has all rows of the epoch; if its barrier commits, they are prepared.
    Reached(Epoch, Option<Prepared>),
    /// A sink has committed the epoch.
    Committed(Epoch),
    /// Something that a task had begun in the background has failed for good.
    Failed(Error),
}

/// A task's line to the coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Uplink {
    task: usize,
    reports: mpsc::UnboundedSender<Report>,
}

impl Uplink {
    /// Makes the line of a task.
    pub(crate) fn new(task: usize, reports: mpsc::UnboundedSender<Report>) -> Self {
        Self { task, reports }
    }

    /// Reports.
    pub(crate) fn send(&self, news: News) -> Result<(), Gone> {
        self.reports.send(Report { task: self.task, news }).map_err(|_| Gone)
    }
}

/// What came out of a chain of operators during one step.
#[derive(Debug, Default)]
pub(crate) struct Emitted {
    /// Rows and watermarks, in order.
    pub(crate) messages: Vec<Message>,
    /// Rows that were given up.
    pub(crate) letters: Vec<DeadLetter>,
}
