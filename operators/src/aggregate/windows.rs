//! Which windows are open, and which groups are in them.
//!
//! It never looks at rows other than at the end of their window. Its state is one number per group of a window that
//! has not been freed; the watermark bounds it.

use super::{Emit, Late, Windowing};
use crate::window_ends::window_ends;
use arrow::array::{ArrayRef, Int64Array};
use headwater_core::{EventTime, Result};
use std::collections::BTreeMap;

/// Groups by the end of their window.
pub(crate) struct Windows {
    windowing: Windowing,
    lateness_ns: i64,
    watermark: EventTime,
    /// Groups that wait for their window to close, by its end. Empty when results are shown as changes.
    open: BTreeMap<i64, Vec<u32>>,
    /// Groups that have been shown, or are shown all along, and are kept until late rows are refused.
    kept: BTreeMap<i64, Vec<u32>>,
}

/// What a watermark did.
#[derive(Default)]
pub(crate) struct Passed {
    /// Groups whose window closed just now.
    pub(crate) closed: Vec<u32>,
    /// Groups that are to be shown a last time, and forgotten.
    pub(crate) freed: Vec<u32>,
}

impl Windows {
    pub(crate) fn new(windowing: Windowing) -> Self {
        let lateness_ns = match windowing.late {
            Late::DeadLetter => 0,
            Late::Update { allowed_lateness_ns } => allowed_lateness_ns.max(0),
        };
        let (open, kept) = (BTreeMap::new(), BTreeMap::new());
        Self { windowing, lateness_ns, watermark: EventTime::MIN, open, kept }
    }

    /// Returns the end of the window of each row; a row without a window has one that never ends before the input.
    pub(crate) fn ends(&self, group_columns: &[ArrayRef]) -> Result<Int64Array> {
        window_ends(&group_columns[self.windowing.column])
    }

    /// Whether the watermark has closed a window: no row before its end is expected.
    fn is_past(&self, end: i64, lateness_ns: i64) -> bool {
        self.watermark.0 >= end.saturating_sub(1).saturating_add(lateness_ns)
    }

    /// Whether a row of a window that ends there comes too late.
    pub(crate) fn is_late(&self, end: i64) -> bool {
        self.watermark > EventTime::MIN && self.is_past(end, self.lateness_ns)
    }

    /// Takes a new group, whose window ends there.
    pub(crate) fn add(&mut self, slot: u32, end: i64) {
        let waits = self.windowing.emit == Emit::Final && !self.is_past(end, 0);
        let groups = if waits { &mut self.open } else { &mut self.kept };
        groups.entry(end).or_default().push(slot);
    }

    /// Takes a group over from a snapshot. It waits for its window to close even where that was closed before: the next
    /// watermark finds nothing to show then. So a group whose former subtask was behind the others is shown too.
    pub(crate) fn restore(&mut self, slot: u32, end: i64) {
        let groups = if self.windowing.emit == Emit::Final { &mut self.open } else { &mut self.kept };
        groups.entry(end).or_default().push(slot);
    }

    /// How far windows are closed.
    pub(crate) fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// Takes over how far the windows of a former subtask were closed.
    ///
    /// All subtasks have heard the same watermarks at a barrier, but where a source was idle and is back some may have
    /// heard of it sooner. The latest counts: what one of them has shown for good must not be shown again, and a row
    /// that one of them would have refused is a dead letter, not lost.
    pub(crate) fn restore_watermark(&mut self, watermark: EventTime) {
        self.watermark = self.watermark.max(watermark);
    }

    /// Whether the results of a window that ends there are shown at barriers.
    pub(crate) fn shows_at_barriers(&self, end: i64) -> bool {
        self.windowing.emit == Emit::Changes || self.is_past(end, 0)
    }

    /// Moves time on.
    pub(crate) fn advance(&mut self, watermark: EventTime) -> Passed {
        self.watermark = self.watermark.max(watermark);
        let mut passed = Passed::default();
        while let Some(entry) = self.open.first_entry() {
            let end = *entry.key();
            if self.watermark.0 < end.saturating_sub(1) {
                break;
            }
            let slots = entry.remove();
            passed.closed.extend_from_slice(&slots);
            self.kept.entry(end).or_default().extend(slots);
        }
        while let Some((&end, _)) = self.kept.first_key_value() {
            if !self.is_past(end, self.lateness_ns) {
                break;
            }
            passed.freed.extend(self.kept.remove(&end).unwrap_or_default());
        }
        passed
    }
}
