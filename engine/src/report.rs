//! What a pipeline tells about itself, while it runs and at its end.
//!
//! All of it is read from counters that the tasks keep; making a report stops nobody.

use arrow::array::RecordBatch;
use headwater_core::{Counter, Counters, DeadLetter, Epoch, Position, Reason, StateSize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// For each source node by name, the positions of its subtasks in order.
pub type Positions = BTreeMap<String, Vec<Position>>;

/// How far a pipeline has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It runs, or it failed.
    Running,
    /// All sources ended and everything is committed.
    Finished,
    /// It was stopped; everything read until then is committed.
    Stopped,
    /// It was stopped before its sources were read to their present end, and was to commit nothing before that.
    Abandoned,
}

/// What kind of node a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// Reads.
    Source,
    /// Computes.
    Chain,
    /// Asks.
    Async,
    /// Writes.
    Sink,
    /// Writes the dead letters of all other nodes.
    DeadLetters,
}

/// What one node counted, over all its subtasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeReport {
    /// The name.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// The number of its subtasks.
    pub parallelism: usize,
    /// Its counts, in the order of [`Counter::ALL`].
    pub counts: [u64; Counter::ALL.len()],
    /// What it keeps, as of the last barrier.
    pub state: StateSize,
    /// The most that its subtasks ever kept, looked at before each watermark and around each barrier: that is when
    /// something is freed.
    pub state_peak: StateSize,
}

impl NodeReport {
    /// Returns one of the counts.
    #[must_use]
    pub fn count(&self, counter: Counter) -> u64 {
        self.counts[counter as usize]
    }
}

/// What a pipeline has done so far.
#[derive(Debug, Clone)]
pub struct RunReport {
    /// Its name.
    pub pipeline: String,
    /// How far it has come.
    pub outcome: Outcome,
    /// Its nodes in the order of the graph; the dead-letter sink comes last.
    pub nodes: Vec<NodeReport>,
    /// The last committed epoch.
    pub last_epoch: Option<Epoch>,
    /// Where the sources stood at the end of that epoch.
    pub positions: Positions,
    /// The dead letters by reason; reasons without any are left out.
    pub dead_letters: Vec<(Reason, u64)>,
    /// The first dead letters themselves, where there is no sink for them.
    pub dead_letters_kept: Vec<RecordBatch>,
}

/// The sums over all nodes that books are balanced with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Rows and undecodable pieces that sources read.
    pub source_rows: u64,
    /// Rows that sinks wrote, without the dead-letter sink.
    pub sink_rows: u64,
    /// Rows that went to the dead-letter stream.
    pub dead_letters: u64,
    /// Of those, rows whose window was closed.
    pub late: u64,
    /// Rows that were dropped because the same version of the same key had been seen.
    pub duplicates: u64,
    /// Rows that replaced an older version of the same key.
    pub corrections: u64,
}

impl RunReport {
    /// Sums up over all nodes.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum = |counter, kind: Option<NodeKind>| {
            let nodes = self.nodes.iter().filter(|node| kind.is_none_or(|kind| node.kind == kind));
            nodes.map(|node| node.count(counter)).sum()
        };
        Totals {
            source_rows: sum(Counter::RowsIn, Some(NodeKind::Source)),
            sink_rows: sum(Counter::RowsOut, Some(NodeKind::Sink)),
            dead_letters: sum(Counter::DeadLetters, None),
            late: sum(Counter::Late, None),
            duplicates: sum(Counter::Duplicates, None),
            corrections: sum(Counter::Corrections, None),
        }
    }

    /// Returns what a node counted.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeReport> {
        self.nodes.iter().find(|node| node.name == name)
    }
}

impl fmt::Display for RunReport {
    /// One line per node with the counts that are not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for node in &self.nodes {
            write!(f, "{} ×{}", node.name, node.parallelism)?;
            for counter in Counter::ALL.into_iter().filter(|counter| node.count(*counter) > 0) {
                write!(f, " {}={}", counter.name(), node.count(counter))?;
            }
            if node.state_peak.rows > 0 {
                write!(f, " state_rows={} state_rows_peak={}", node.state.rows, node.state_peak.rows)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// How many dead letters there were of each reason.
#[derive(Debug)]
pub(crate) struct LetterCounts(Vec<AtomicU64>);

impl Default for LetterCounts {
    fn default() -> Self {
        Self(Reason::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl LetterCounts {
    /// Counts.
    pub(crate) fn add(&self, letters: &[DeadLetter]) {
        for letter in letters {
            self.0[letter.reason as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the reasons that there were, with their counts.
    pub(crate) fn get(&self) -> Vec<(Reason, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Reason::ALL.iter().copied().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

/// How much one task keeps, readable while it runs.
#[derive(Debug, Default)]
pub(crate) struct StateGauge {
    rows: AtomicU64,
    bytes: AtomicU64,
    rows_peak: AtomicU64,
    bytes_peak: AtomicU64,
}

impl StateGauge {
    /// Notes what is kept.
    pub(crate) fn set(&self, size: StateSize) {
        self.rows.store(size.rows, Ordering::Relaxed);
        self.bytes.store(size.bytes, Ordering::Relaxed);
        self.rows_peak.fetch_max(size.rows, Ordering::Relaxed);
        self.bytes_peak.fetch_max(size.bytes, Ordering::Relaxed);
    }

    fn now(&self) -> StateSize {
        StateSize { rows: self.rows.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn peak(&self) -> StateSize {
        StateSize { rows: self.rows_peak.load(Ordering::Relaxed), bytes: self.bytes_peak.load(Ordering::Relaxed) }
    }
}

/// What one subtask tells about itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauges {
    pub(crate) counters: Arc<Counters>,
    pub(crate) state: Arc<StateGauge>,
}

/// A node as the report sees it: its subtasks' counters.
#[derive(Debug)]
pub(crate) struct NodeCounters {
    pub(crate) name: String,
    pub(crate) kind: NodeKind,
    pub(crate) subtasks: Vec<Gauges>,
}

impl NodeCounters {
    /// Sums up the subtasks.
    pub(crate) fn report(&self) -> NodeReport {
        let sum = |counter| self.subtasks.iter().map(|gauges| gauges.counters.get(counter)).sum();
        let size = |of: fn(&StateGauge) -> StateSize| {
            self.subtasks.iter().map(|gauges| of(&gauges.state)).fold(StateSize::default(), |sum, size| sum + size)
        };
        NodeReport {
            name: self.name.clone(),
            kind: self.kind,
            parallelism: self.subtasks.len(),
            counts: Counter::ALL.map(sum),
            state: size(StateGauge::now),
            state_peak: size(StateGauge::peak),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_index_their_counts() {
        for (index, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, index);
        }
    }
}
