//! The operator around a [`Logic`]: finds the partition of each row, remembers which were touched, and asks for changes
//! at barriers or when windows close.
//!
//! Deletions of a barrier are emitted before insertions, so that a store with a key can apply them in order. Its state
//! is what the logic keeps of each partition, and one number per partition of an open window; with `state_ttl`, partitions
//! that nothing has come for are forgotten.

use super::layout::{Changed, PartitionLayout};
use super::{Logic, OrderBy};
use crate::changed_slots::{ChangedRows, ChangedSlots};
use crate::expression::dead_letter;
use crate::held_watermarks::HeldWatermarks;
use crate::idle::Idle;
use crate::row_table::RowTable;
use crate::window_ends::window_ends;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use headwater_core::{
    Barrier, Batch, Counter, EventTime, Operator, Output, Reason, Result, Snapshot, StateSize, TaskContext, Watermark,
    consolidate,
};
use std::collections::BTreeMap;

/// How many changed rows are put into one batch.
const CHANGES_MAX: usize = 8192;

/// Partitions that belong to windows, by the end of the window.
pub(super) struct Closing {
    /// The partition column that is a window, by index into the input.
    pub(super) column: usize,
    pub(super) watermark: EventTime,
    pub(super) open: BTreeMap<i64, Vec<u32>>,
}

/// Runs a logic over partitions.
pub(crate) struct PartitionOperator<L: Logic> {
    pub(super) logic: L,
    pub(super) context: TaskContext,
    pub(super) partition_by: Vec<usize>,
    pub(super) layout: PartitionLayout,
    pub(super) schema: SchemaRef,
    pub(super) keys: RowTable,
    pub(super) partitions: Vec<L::Partition>,
    pub(super) is_touched: Vec<bool>,
    pub(super) touched: Vec<u32>,
    pub(super) held: HeldWatermarks,
    pub(super) closing: Option<Closing>,
    /// Finds partitions that nothing has come for, where they are to be forgotten.
    pub(super) idle: Option<Idle>,
    pub(super) size: StateSize,
    /// Rows of which something else is kept than at the last snapshot.
    pub(super) changed: ChangedRows,
    /// Partitions that were touched since then, where that matters.
    pub(super) changed_keys: ChangedSlots,
    pub(super) stored_watermark: EventTime,
}

impl<L: Logic> PartitionOperator<L> {
    /// Makes the operator; with `closing`, a partition column that is a window over event time, each partition is shown
    /// once, when the watermark has passed the end of its window.
    pub(crate) fn new(
        logic: L,
        context: &TaskContext,
        input: &SchemaRef,
        (partition_by, order): (&[usize], &[OrderBy]),
        schema: &SchemaRef,
        closing: Option<usize>,
    ) -> Result<Self> {
        let types = partition_by.iter().map(|column| input.field(*column).data_type().clone());
        let closing = closing.map(|column| Closing { column, watermark: EventTime::MIN, open: BTreeMap::new() });
        Ok(Self {
            logic,
            context: context.clone(),
            partition_by: partition_by.to_vec(),
            layout: PartitionLayout::new(input, order)?,
            schema: schema.clone(),
            keys: RowTable::new(types)?,
            partitions: Vec::new(),
            is_touched: Vec::new(),
            touched: Vec::new(),
            held: HeldWatermarks::default(),
            closing,
            idle: None,
            size: StateSize::default(),
            changed: ChangedRows::default(),
            changed_keys: ChangedSlots::default(),
            stored_watermark: EventTime::MIN,
        })
    }

    /// Forgets partitions that nothing has come for in this time; what was shown of them stays.
    pub(crate) fn forgetting(self, ttl_ns: Option<i64>) -> Self {
        Self { idle: ttl_ns.map(Idle::new), ..self }
    }

    /// Emits how some partitions have changed.
    fn show(&mut self, slots: &[u32], out: &mut Output) -> Result<()> {
        let append_only = self.closing.is_some();
        let mut changed = Changed::new();
        for slot in slots {
            let partition = &mut self.partitions[*slot as usize];
            let before = self.logic.size(partition);
            self.logic.show(partition, &self.layout, &mut changed, &mut self.changed)?;
            let after = self.logic.size(partition);
            self.resize(before, after);
            if append_only && changed.len() >= CHANGES_MAX {
                self.emit(std::mem::replace(&mut changed, Changed::new()), append_only, out)?;
            }
        }
        if changed.len() > 0 {
            self.emit(changed, append_only, out)?;
        }
        Ok(())
    }

    fn emit(&self, changed: Changed<L::Value>, append_only: bool, out: &mut Output) -> Result<()> {
        let batch = changed.into_batch(&self.layout, &self.schema, |values| self.logic.columns(values), append_only)?;
        out.emit(if append_only { batch } else { consolidate(&batch)? });
        Ok(())
    }

    pub(super) fn resize(&mut self, before: StateSize, after: StateSize) {
        self.size.rows = (self.size.rows + after.rows).saturating_sub(before.rows);
        self.size.bytes = (self.size.bytes + after.bytes).saturating_sub(before.bytes);
    }

    fn forget(&mut self, slot: u32) {
        let gone = std::mem::take(&mut self.partitions[slot as usize]);
        let before = self.logic.size(&gone);
        self.resize(before, StateSize::default());
        self.logic.rows(&gone).into_iter().for_each(|row| self.changed.gone(row));
        self.is_touched[slot as usize] = false;
        self.changed_keys.gone(slot, self.keys.row(slot));
        self.keys.remove(slot);
    }

    /// Returns the end of the window of each row, where partitions belong to windows.
    fn ends(&self, batch: &Batch) -> Result<Option<Int64Array>> {
        let Some(closing) = &self.closing else { return Ok(None) };
        window_ends(batch.rows.column(closing.column)).map(Some)
    }

    /// Whether a row comes after its window was closed; it becomes a dead letter then.
    fn is_late(&self, batch: &Batch, row: usize, end: i64, out: &mut Output) -> Result<bool> {
        let is_late = self
            .closing
            .as_ref()
            .is_some_and(|closing| closing.watermark > EventTime::MIN && closing.watermark.0 >= end.saturating_sub(1));
        if is_late {
            out.count(Counter::Late, 1);
            let message = format!("the row came after its window, which ended at {}, was closed", EventTime(end));
            out.dead_letter(dead_letter(Reason::Late, message, String::new(), &batch.rows, row, &self.context)?);
        }
        Ok(is_late)
    }
}

impl<L: Logic> Operator for PartitionOperator<L> {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let keys: Vec<ArrayRef> = self.partition_by.iter().map(|column| batch.rows.column(*column).clone()).collect();
        let keys = self.keys.encode(&keys)?;
        let rows = self.layout.encode(&batch.rows)?;
        let ends = self.ends(&batch)?;
        for row in 0..batch.n_rows() {
            let end = ends.as_ref().map(|ends| ends.value(row));
            if let Some(end) = end
                && self.is_late(&batch, row, end, out)?
            {
                continue;
            }
            let (slot, is_new) = self.keys.intern(keys.get(row));
            let n_slots = self.keys.n_slots();
            if is_new {
                self.partitions.resize_with(n_slots.max(self.partitions.len()), L::Partition::default);
                self.is_touched.resize(n_slots.max(self.is_touched.len()), false);
                if let (Some(closing), Some(end)) = (&mut self.closing, end) {
                    closing.open.entry(end).or_default().push(slot);
                }
            }
            let partition = &mut self.partitions[slot as usize];
            let before = self.logic.size(partition);
            self.logic.change(partition, rows.get(row), batch.diff(row), &mut self.changed);
            let after = self.logic.size(partition);
            self.resize(before, after);
            if let Some(idle) = &mut self.idle {
                idle.touch(slot);
                self.changed_keys.touch(slot);
            }
            if !std::mem::replace(&mut self.is_touched[slot as usize], true) && self.closing.is_none() {
                self.touched.push(slot);
            }
        }
        Ok(())
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        if self.closing.is_none() {
            self.held.hold(watermark);
            return Ok(());
        }
        if let (Some(closing), Watermark::At(time)) = (&mut self.closing, watermark) {
            closing.watermark = closing.watermark.max(time);
            let mut closed = Vec::new();
            while let Some(entry) = closing.open.first_entry()
                && time.0 >= entry.key().saturating_sub(1)
            {
                closed.extend(entry.remove());
            }
            self.show(&closed, out)?;
            for slot in closed {
                self.forget(slot);
            }
        }
        out.watermark(watermark);
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        let touched = std::mem::take(&mut self.touched);
        self.show(&touched, out)?;
        for slot in touched {
            self.is_touched[slot as usize] = false;
            if self.idle.is_some() {
                let partition = &mut self.partitions[slot as usize];
                let before = self.logic.size(partition);
                self.logic.drop_overdrawn(partition, &mut self.changed);
                let after = self.logic.size(partition);
                self.resize(before, after);
            }
            if self.logic.is_empty(&self.partitions[slot as usize]) {
                self.idle.iter_mut().for_each(|idle| idle.gone(slot));
                self.forget(slot);
            }
        }
        for slot in self.idle.as_mut().map(|idle| idle.expire(barrier.time)).unwrap_or_default() {
            self.forget(slot);
        }
        self.held.release(out);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.save()
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        self.take_over(table, &rows)
    }

    fn restore_end(&mut self) -> Result<()> {
        self.end_take_over()
    }

    fn state_size(&self) -> StateSize {
        self.size
    }
}
