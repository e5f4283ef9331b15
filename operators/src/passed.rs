//! How far the watermark has come, as far as an operator lets it: what is late, and what can be freed. One time, which
//! only grows.
//!
//! All subtasks of a node that keys lead to hear the same watermarks, and have heard them when the barrier comes, so
//! what they have stored is one value. Only what a former subtask left that has no successor is older. So the greatest
//! of all is taken: a lesser one would let in again what was late already, after what it matches is gone.

use crate::state_table::{TIME, as_times, everyone, stored_columns, times};
use arrow::array::RecordBatch;
use headwater_core::{EventTime, Result, StateTable};

/// A time that nothing at or before is expected any more.
pub(crate) struct Passed {
    time: EventTime,
    /// What the last snapshot says.
    stored: EventTime,
}

impl Default for Passed {
    fn default() -> Self {
        Self { time: EventTime::MIN, stored: EventTime::MIN }
    }
}

impl Passed {
    /// The name of its table.
    pub(crate) const TABLE: &str = "passed";

    pub(crate) fn time(&self) -> EventTime {
        self.time
    }

    /// Whether a row of this time is late.
    pub(crate) fn has(&self, time: i64) -> bool {
        self.time > EventTime::MIN && time <= self.time.0
    }

    /// Lets it grow.
    pub(crate) fn reach(&mut self, time: EventTime) {
        self.time = self.time.max(time);
    }

    /// Returns it as a table for everyone, if it has grown.
    pub(crate) fn snapshot(&mut self) -> Result<Option<StateTable>> {
        if self.time == self.stored {
            return Ok(None);
        }
        self.stored = self.time;
        everyone(Self::TABLE, vec![("time".to_owned(), times([Some(self.time.0)]))]).map(Some)
    }

    /// Takes over what former subtasks said.
    pub(crate) fn restore(&mut self, rows: &RecordBatch) -> Result<()> {
        for time in as_times(&stored_columns(Self::TABLE, rows, [&TIME])?[0])?.into_iter().flatten() {
            self.reach(EventTime(time));
        }
        self.stored = self.time;
        Ok(())
    }
}
