//! Groups rows and aggregates each group: what runs.
//!
//! It never emits a row that is not a net change of its output since the last barrier. Its state is, for each group,
//! its key, its multiplicity, the row that was last shown, and the state of each call. A group without windows is
//! freed when all its rows have been retracted; a group of a window when its window is.

use super::calls::Calls;
use super::empty::{Empties, Missing};
use super::windows::Windows;
use super::{Aggregate, Emit, Windowing, places};
use crate::changed_slots::ChangedSlots;
use crate::expression::{Evaluated, dead_letter, evaluate_or_bury};
use crate::held_watermarks::HeldWatermarks;
use crate::idle::Idle;
use crate::row_table::{RowCodec, RowTable};
use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::utils::normalize_float_zero;
use headwater_core::{
    Barrier, Batch, Counter, EventTime, Operator, Output, Reason, Result, Snapshot, StateSize, TaskContext, Watermark,
};
use std::collections::BTreeMap;
use std::ops::Range;

/// What is known of a group besides its key and its calls.
#[derive(Default)]
pub(super) struct Group {
    pub(super) multiplicity: i64,
    /// The values of the calls in the row that was last emitted.
    pub(super) shown: Option<Box<[u8]>>,
    pub(super) touched: bool,
    /// The end of its window.
    pub(super) end: i64,
}

pub(crate) struct AggregateOperator {
    pub(super) schema: SchemaRef,
    pub(super) context: TaskContext,
    pub(super) n_keys: usize,
    pub(super) calls: Calls,
    pub(super) keys: RowTable,
    pub(super) groups: Vec<Group>,
    pub(super) values: RowCodec,
    pub(super) windows: Option<Windows>,
    pub(super) empties: Option<Empties>,
    /// Groups without rows have a result too.
    pub(super) shows_empty: bool,
    /// Each window is shown once and for all: nothing needs to be remembered of what was shown.
    pub(super) shows_once: bool,
    /// Groups come and never change.
    pub(super) only_grows: bool,
    /// Rows wait for the barrier, so a watermark must not overtake them.
    pub(super) holds_watermark: bool,
    pub(super) held: HeldWatermarks,
    pub(super) touched: Vec<u32>,
    pub(super) idle: Option<Idle>,
    /// Of the rows that were last shown.
    pub(super) shown_bytes: u64,
    /// For each column of the input, the group column that is it.
    pub(super) places: BTreeMap<usize, usize>,
    pub(super) changed: ChangedSlots,
    /// How many groups were taken over from a snapshot.
    pub(super) n_restored: usize,
    /// What was last stored of the watermark and the newest window.
    pub(super) stored_time: Option<(EventTime, i64)>,
}

impl AggregateOperator {
    pub(crate) fn new(spec: &Aggregate, context: &TaskContext) -> Result<Self> {
        let n_keys = spec.group.len();
        let types = |range: Range<usize>| -> Vec<DataType> {
            spec.schema.fields()[range].iter().map(|field| field.data_type().clone()).collect()
        };
        let n_columns = spec.schema.fields().len();
        let mut operator = Self {
            schema: spec.schema.clone(),
            context: context.clone(),
            n_keys,
            calls: Calls::new(spec)?,
            keys: RowTable::new(types(0..n_keys).into_iter())?,
            groups: Vec::new(),
            values: RowCodec::new(types(n_keys..n_columns).into_iter())?,
            windows: spec.windowing.map(Windows::new),
            empties: spec
                .empty
                .as_ref()
                .map(|(rule, columns)| Empties::new(rule.clone(), columns, &spec.schema))
                .transpose()?,
            shows_empty: n_keys == 0 || spec.empty.is_some(),
            shows_once: spec.windowing.is_some() && !spec.output_changing(),
            only_grows: spec.only_grows(),
            holds_watermark: !matches!(spec.windowing, Some(Windowing { emit: Emit::Final, .. })),
            held: HeldWatermarks::default(),
            touched: Vec::new(),
            idle: spec.ttl_ns.map(Idle::new),
            shown_bytes: 0,
            places: places(&spec.group),
            changed: ChangedSlots::default(),
            n_restored: 0,
            stored_time: None,
        };
        if n_keys == 0 {
            operator.keys.intern(&[]);
            operator.grow();
            operator.touch(0);
        }
        Ok(operator)
    }

    pub(super) fn grow(&mut self) {
        let n_slots = self.keys.n_slots();
        self.groups.resize_with(n_slots.max(self.groups.len()), Group::default);
        self.calls.grow(n_slots);
    }

    fn touch(&mut self, slot: u32) {
        let group = &mut self.groups[slot as usize];
        if !std::mem::replace(&mut group.touched, true) {
            self.touched.push(slot);
        }
        if let Some(idle) = &mut self.idle {
            idle.touch(slot);
        }
        self.changed.touch(slot);
    }

    /// Gives each row the number of its group.
    fn assign(&mut self, batch: &Batch, keys: &[ArrayRef], ends: Option<&Int64Array>) -> Result<Vec<u32>> {
        // Both zeros are one group, as for DataFusion.
        let keys: Vec<ArrayRef> = keys.iter().map(normalize_float_zero).collect();
        let encoded = self.keys.encode(&keys)?;
        let mut slots = Vec::with_capacity(batch.n_rows());
        let mut new: Vec<(usize, i64)> = Vec::new();
        for row in 0..batch.n_rows() {
            let (slot, is_new) = self.keys.intern(encoded.get(row));
            if is_new {
                self.groups.resize_with(self.keys.n_slots().max(self.groups.len()), Group::default);
                if let (Some(windows), Some(ends)) = (&mut self.windows, ends) {
                    self.groups[slot as usize].end = ends.value(row);
                    windows.add(slot, ends.value(row));
                    new.push((row, ends.value(row)));
                }
            }
            self.groups[slot as usize].multiplicity += batch.diff(row);
            self.touch(slot);
            slots.push(slot);
        }
        self.grow();
        if let Some(empties) = &mut self.empties {
            empties.see(&keys, &new)?;
        }
        Ok(slots)
    }

    /// Makes groups of windows that close without a row.
    fn add_empty(&mut self, watermark: EventTime) -> Result<()> {
        let missing = self.empties.as_mut().map(|empties| empties.missing(watermark.0)).transpose()?.flatten();
        let (Some(Missing { columns, ends }), Some(windows)) = (missing, &mut self.windows) else { return Ok(()) };
        let encoded = self.keys.encode(&columns)?;
        for (row, end) in ends.into_iter().enumerate() {
            if windows.is_late(end) {
                continue;
            }
            let (slot, is_new) = self.keys.intern(encoded.get(row));
            if is_new {
                self.groups.resize_with(self.keys.n_slots().max(self.groups.len()), Group::default);
                self.groups[slot as usize].end = end;
                windows.add(slot, end);
                self.changed.touch(slot);
            }
        }
        self.grow();
        Ok(())
    }

    /// Takes out rows whose window is gone.
    fn refuse_late(&self, evaluated: Evaluated, out: &mut Output) -> Result<(Evaluated, Option<Int64Array>)> {
        let Some(windows) = &self.windows else { return Ok((evaluated, None)) };
        let ends = windows.ends(&evaluated.columns[..self.n_keys])?;
        let in_time = BooleanArray::from_iter(ends.values().iter().map(|end| Some(!windows.is_late(*end))));
        let n_late = in_time.false_count();
        if n_late == 0 {
            return Ok((evaluated, Some(ends)));
        }
        out.count(Counter::Late, n_late as u64);
        let Evaluated { batch, columns } = evaluated;
        for row in (0..batch.n_rows()).filter(|row| !in_time.value(*row)) {
            let what = if batch.diff(row) > 0 { "row" } else { "retraction" };
            let message =
                format!("the {what} came after its window, which ended at {}, was closed", EventTime(ends.value(row)));
            out.dead_letter(dead_letter(Reason::Late, message, String::new(), &batch.rows, row, &self.context)?);
        }
        let keep = |column: &ArrayRef| compute::filter(column, &in_time);
        let columns = columns.iter().map(keep).collect::<Result<_, _>>()?;
        let ends = compute::filter(&ends, &in_time)?.as_primitive().clone();
        Ok((Evaluated { batch: batch.filter(&in_time)?, columns }, Some(ends)))
    }

    fn output(&self, mut keys: Vec<ArrayRef>, values: Vec<ArrayRef>, n_rows: usize) -> Result<RecordBatch> {
        keys.extend(values);
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), keys, &options)?)
    }

    /// Emits the rows of groups that are shown once.
    fn show_once(&mut self, slots: &[u32], out: &mut Output) -> Result<()> {
        let is_live = |slot: &u32| self.shows_empty || self.groups[*slot as usize].multiplicity > 0;
        let live: Vec<u32> = slots.iter().copied().filter(is_live).collect();
        let values = self.calls.evaluate(&live)?;
        out.emit(Batch::append_only(self.output(self.keys.columns(&live)?, values, live.len())?));
        Ok(())
    }

    /// Emits what has changed in some groups since they were last shown.
    fn show_changes(&mut self, slots: &[u32], out: &mut Output) -> Result<()> {
        let shows_empty = self.shows_empty;
        let live: Vec<u32> =
            slots.iter().copied().filter(|s| shows_empty || self.groups[*s as usize].multiplicity > 0).collect();
        let values: Vec<ArrayRef> = self.calls.evaluate(&live)?;
        let encoded = self.values.encode(&values)?;
        let mut gone: Vec<(u32, Box<[u8]>)> = Vec::new();
        let mut come: Vec<u32> = Vec::new();
        for slot in slots {
            let group = &mut self.groups[*slot as usize];
            if !shows_empty && group.multiplicity <= 0 {
                gone.extend(group.shown.take().map(|shown| (*slot, shown)));
            }
        }
        for (index, slot) in live.iter().enumerate() {
            let shown = &mut self.groups[*slot as usize].shown;
            let value = encoded.get(index);
            if shown.as_deref() != Some(value) {
                gone.extend(shown.replace(value.into()).map(|old| (*slot, old)));
                come.push(*slot);
                self.shown_bytes += value.len() as u64;
            }
        }
        gone.iter().for_each(|(slot, _)| self.changed.touch(*slot));
        come.iter().for_each(|slot| self.changed.touch(*slot));
        self.shown_bytes -= gone.iter().map(|(_, value)| value.len() as u64).sum::<u64>();
        let order: Vec<u32> = gone.iter().map(|(slot, _)| *slot).chain(come.iter().copied()).collect();
        let groups = &self.groups;
        let come_values = come.iter().filter_map(|slot| groups[*slot as usize].shown.as_deref());
        let values = self.values.decode(gone.iter().map(|(_, value)| &**value).chain(come_values))?;
        let diffs = (0..order.len()).map(|index| if index < gone.len() { -1 } else { 1 });
        let rows = self.output(self.keys.columns(&order)?, values, order.len())?;
        let diffs = Int64Array::from_iter_values(diffs);
        out.emit(if self.only_grows { Batch::append_only(rows) } else { Batch::changing(rows, diffs)? });
        Ok(())
    }

    /// Forgets groups that nothing has come for, and those that more is taken back from than ever came: their rows
    /// were forgotten before.
    fn forget(&mut self, now: EventTime, slots: &[u32]) {
        let Some(idle) = &mut self.idle else { return };
        let overdrawn = slots.iter().copied().filter(|slot| self.groups[*slot as usize].multiplicity < 0);
        let mut gone: Vec<u32> = overdrawn.collect();
        gone.iter().for_each(|slot| idle.gone(*slot));
        gone.extend(idle.expire(now));
        gone.into_iter().for_each(|slot| self.free(slot));
    }

    fn free(&mut self, slot: u32) {
        let group = std::mem::take(&mut self.groups[slot as usize]);
        self.shown_bytes -= group.shown.map_or(0, |shown| shown.len() as u64);
        let key = self.keys.row(slot);
        let is_stored = self.changed.gone(slot, key);
        self.calls.clear(slot, is_stored.then_some(key));
        self.keys.remove(slot);
    }
}

impl Operator for AggregateOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let evaluated = evaluate_or_bury(&self.calls.exprs, batch, &self.context, out)?;
        let (Evaluated { batch, columns }, ends) = self.refuse_late(evaluated, out)?;
        let slots = self.assign(&batch, &columns[..self.n_keys], ends.as_ref())?;
        self.calls.update(&batch, &columns, &slots)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        if let Watermark::At(time) = watermark {
            self.add_empty(time)?;
        }
        if let (Some(windows), Watermark::At(time)) = (&mut self.windows, watermark) {
            let passed = windows.advance(time);
            if self.shows_once {
                self.show_once(&passed.closed, out)?;
            } else {
                self.show_changes(&passed.closed, out)?;
            }
            for slot in &passed.closed {
                self.groups[*slot as usize].touched = false;
            }
            if !self.shows_once {
                let touched = passed.freed.iter().copied().filter(|slot| self.groups[*slot as usize].touched);
                self.show_changes(&touched.collect::<Vec<u32>>(), out)?;
            }
            for slot in passed.freed {
                self.free(slot);
            }
        }
        if !self.holds_watermark {
            out.watermark(watermark);
            return Ok(());
        }
        self.held.hold(watermark);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.save()
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        self.take_over(table, &rows)
    }

    fn restore_end(&mut self) -> Result<()> {
        self.check_restored()
    }

    fn state_size(&self) -> StateSize {
        let keys = self.keys.size();
        let states = self.calls.bytes();
        let groups = (self.groups.len() * size_of::<Group>()) as u64;
        StateSize { rows: keys.rows, bytes: keys.bytes + groups + self.shown_bytes + states }
    }

    fn on_barrier(&mut self, barrier: &Barrier, out: &mut Output) -> Result<()> {
        let mut slots = Vec::new();
        let mut waiting = Vec::new();
        for slot in std::mem::take(&mut self.touched) {
            let group = &mut self.groups[slot as usize];
            if !group.touched {
                continue;
            }
            let shows = self.windows.as_ref().is_none_or(|windows| windows.shows_at_barriers(group.end));
            if shows {
                group.touched = false;
                slots.push(slot);
            } else {
                waiting.push(slot);
            }
        }
        self.touched = waiting;
        if !self.shows_once {
            self.show_changes(&slots, out)?;
        }
        if self.windows.is_none() && self.n_keys > 0 {
            for slot in &slots {
                if self.groups[*slot as usize].multiplicity == 0 {
                    self.idle.iter_mut().for_each(|idle| idle.gone(*slot));
                    self.free(*slot);
                }
            }
            self.forget(barrier.time, &slots);
        }
        self.held.release(out);
        Ok(())
    }
}
