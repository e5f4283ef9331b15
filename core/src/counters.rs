//! What every task counts. The names are a closed list, so that a dashboard and a test mean the same thing.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that a task counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// Rows that came in; for a source, rows and undecodable pieces that were read.
    RowsIn,
    /// Rows that went out; for a sink, rows that were written.
    RowsOut,
    /// Rows that went to the dead-letter stream.
    DeadLetters,
    /// Of those, rows whose window was closed.
    Late,
    /// Rows that were dropped because the same version of the same key had been seen.
    Duplicates,
    /// Rows that replaced an older version of the same key.
    Corrections,
}

impl Counter {
    /// All counters, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::RowsIn, Self::RowsOut, Self::DeadLetters, Self::Late, Self::Duplicates, Self::Corrections];

    /// Returns the name used in metrics and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RowsIn => "rows_in",
            Self::RowsOut => "rows_out",
            Self::DeadLetters => "dead_letters",
            Self::Late => "late",
            Self::Duplicates => "duplicates",
            Self::Corrections => "corrections",
        }
    }
}

/// The counts of one task, readable while it runs.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Counter::ALL.len()]);

impl Counters {
    /// Adds to a count.
    pub fn add(&self, counter: Counter, n: u64) {
        self.0[counter as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Returns a count.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize].load(Ordering::Relaxed)
    }
}
