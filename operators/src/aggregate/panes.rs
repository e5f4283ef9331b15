//! Windows that share their rows: what runs where a row is in several windows that are shown once.
//!
//! The windows cut the time line into panes. A row is taken once, by its pane, and when a window closes the states of its
//! panes are merged; no row is copied. The state is that of the calls for each key and pane, until the last window that
//! holds the pane is closed: the watermark bounds it.

use super::calls::Calls;
use super::pane_snapshot::pane_key;
use super::{Aggregate, places};
use crate::changed_slots::ChangedSlots;
use crate::expression::{Evaluated, dead_letter, evaluate_or_bury};
use crate::functions::WindowRule;
use crate::functions::window_rule::{Located, Window};
use crate::row_table::RowTable;
use arrow::array::{
    ArrayRef, AsArray, BooleanArray, RecordBatch, StructArray, TimestampNanosecondArray, new_null_array,
};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef, TimestampNanosecondType};
use datafusion_common::utils::normalize_float_zero;
use headwater_core::{
    Batch, Counter, Error, EventTime, Operator, Output, Reason, Result, Snapshot, StateSize, TaskContext, Watermark,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The group of each key, by the number of the key.
pub(super) type Groups = BTreeMap<u32, u32>;

/// Numbers for groups.
#[derive(Default)]
pub(super) struct Slots {
    pub(super) n: u32,
    free: Vec<u32>,
}

impl Slots {
    pub(super) fn take(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.n += 1;
            self.n - 1
        })
    }
}

pub(super) struct PaneOperator {
    pub(super) schema: SchemaRef,
    pub(super) context: TaskContext,
    pub(super) rule: Arc<WindowRule>,
    /// Which group column is the time of the row, in whose place the window is put.
    pub(super) time: usize,
    pub(super) n_groups: usize,
    pub(super) calls: Calls,
    pub(super) keys: RowTable,
    /// In how many panes each key is.
    pub(super) n_panes: Vec<usize>,
    pub(super) slots: Slots,
    pub(super) panes: BTreeMap<i64, Groups>,
    /// Rows without a time: their group closes when the input ends.
    pub(super) timeless: Groups,
    /// Windows that hold a pane and are not closed, by end and start.
    pub(super) open: BTreeSet<(i64, i64)>,
    /// Panes by the end of the last window that holds them.
    pub(super) expiring: BTreeMap<i64, BTreeSet<i64>>,
    pub(super) watermark: EventTime,
    /// For each column of the input, the group column that is it.
    pub(super) places: BTreeMap<usize, usize>,
    /// What each group belongs to.
    pub(super) owners: Vec<Owner>,
    pub(super) changed: ChangedSlots,
    /// How many groups were taken over from a snapshot.
    pub(super) n_restored: usize,
    /// What was last stored of the watermark.
    pub(super) stored_watermark: EventTime,
}

/// What a group belongs to: a pane, or none where its rows have no time, and a key.
#[derive(Clone, Copy, Default)]
pub(super) struct Owner {
    pub(super) pane: Option<i64>,
    pub(super) key: u32,
}

impl PaneOperator {
    pub(super) fn new(spec: &Aggregate, rule: Arc<WindowRule>, time: usize, context: &TaskContext) -> Result<Self> {
        let n_groups = spec.group.len();
        let is_key = |index: &usize| *index != time;
        let types = (0..n_groups).filter(is_key).map(|index| spec.schema.field(index).data_type().clone());
        Ok(Self {
            schema: spec.schema.clone(),
            context: context.clone(),
            rule,
            time,
            n_groups,
            calls: Calls::new(spec)?,
            keys: RowTable::new(types)?,
            n_panes: Vec::new(),
            slots: Slots::default(),
            panes: BTreeMap::new(),
            timeless: Groups::new(),
            open: BTreeSet::new(),
            expiring: BTreeMap::new(),
            watermark: EventTime::MIN,
            places: places(&spec.group),
            owners: Vec::new(),
            changed: ChangedSlots::default(),
            n_restored: 0,
            stored_watermark: EventTime::MIN,
        })
    }

    pub(super) fn is_closed(&self, end: i64) -> bool {
        self.watermark > EventTime::MIN && self.watermark.0 >= end.saturating_sub(1)
    }

    /// Says of each row whether a window is open for it; for each window that is closed there is a dead letter.
    fn refuse_late(&self, batch: &Batch, located: &[Option<Arc<Located>>], out: &mut Output) -> Result<BooleanArray> {
        let mut in_time = Vec::with_capacity(located.len());
        for (row, located) in located.iter().enumerate() {
            let Some(located) = located else {
                in_time.push(true);
                continue;
            };
            let mut n_open = 0;
            for (_, end) in &located.windows {
                if !self.is_closed(*end) {
                    n_open += 1;
                    continue;
                }
                out.count(Counter::Late, 1);
                let end = EventTime(*end);
                let message = format!("the row came after its window, which ended at {end}, was closed");
                let letter = dead_letter(Reason::Late, message, String::new(), &batch.rows, row, &self.context)?;
                out.dead_letter(letter);
            }
            in_time.push(n_open > 0);
        }
        Ok(BooleanArray::from(in_time))
    }

    fn locate(&self, times: &ArrayRef) -> Result<Vec<Option<Arc<Located>>>> {
        let times = times.as_primitive_opt::<TimestampNanosecondType>();
        let times = times.ok_or_else(|| Error::internal("windows need a time in nanoseconds"))?;
        let mut last = Arc::new(Located::default());
        let located = times.iter().map(|time| {
            let time = time?;
            if !(last.pane.0..last.pane.1).contains(&time) {
                last = Arc::new(self.rule.locate(time));
            }
            Some(last.clone())
        });
        Ok(located.collect())
    }

    /// Gives each row the number of its key and pane.
    fn assign(&mut self, keys: &[ArrayRef], located: &[Arc<Located>], no_time: &[bool]) -> Result<Vec<u32>> {
        let encoded = self.keys.encode(keys)?;
        let mut slots = Vec::with_capacity(located.len());
        for (row, located) in located.iter().enumerate() {
            let (key, _) = self.keys.intern(encoded.get(row));
            let pane = (!no_time[row]).then_some(located.pane.0);
            if let Some(pane) = pane.filter(|pane| !self.panes.contains_key(pane)) {
                self.open(pane, &located.windows);
            }
            let slot = self.group(pane, key);
            self.changed.touch(slot);
            slots.push(slot);
        }
        self.calls.grow(self.slots.n as usize);
        Ok(slots)
    }

    /// Notes which windows will need a pane, and when it is not needed any more.
    pub(super) fn open(&mut self, pane: i64, windows: &[Window]) {
        let open = windows.iter().filter(|(_, end)| !self.is_closed(*end));
        let open: Vec<(i64, i64)> = open.map(|(start, end)| (*end, *start)).collect();
        let last = open.iter().map(|(end, _)| *end).max().unwrap_or(i64::MIN);
        self.open.extend(open);
        self.expiring.entry(last).or_default().insert(pane);
    }

    /// Returns the group of a key in a pane.
    pub(super) fn group(&mut self, pane: Option<i64>, key: u32) -> u32 {
        self.n_panes.resize(self.keys.n_slots().max(self.n_panes.len()), 0);
        let groups = match pane {
            Some(pane) => self.panes.entry(pane).or_default(),
            None => &mut self.timeless,
        };
        if let Some(slot) = groups.get(&key) {
            return *slot;
        }
        let slot = self.slots.take();
        groups.insert(key, slot);
        self.n_panes[key as usize] += 1;
        self.owners.resize(self.owners.len().max(self.slots.n as usize), Owner::default());
        self.owners[slot as usize] = Owner { pane, key };
        slot
    }

    /// Emits one row for each key of a window.
    fn show(&mut self, window: Option<Window>, groups: &Groups, out: &mut Output) -> Result<()> {
        let keys: Vec<u32> = groups.keys().copied().collect();
        let slots: Vec<u32> = groups.values().copied().collect();
        let mut columns = self.keys.columns(&keys)?;
        let data_type = self.schema.field(self.time).data_type();
        let n_rows = keys.len();
        let DataType::Struct(fields) = data_type else { return Err(Error::internal("a window is a struct")) };
        let window: ArrayRef = match window {
            Some((start, end)) => {
                let times = |time: i64| -> ArrayRef { Arc::new(TimestampNanosecondArray::from_value(time, n_rows)) };
                Arc::new(StructArray::try_new(fields.clone(), vec![times(start), times(end)], None)?)
            }
            None => new_null_array(data_type, n_rows),
        };
        columns.insert(self.time, window);
        columns.extend(self.calls.evaluate(&slots)?);
        out.emit(Batch::append_only(RecordBatch::try_new(self.schema.clone(), columns)?));
        Ok(())
    }

    /// Merges the panes of a window, key by key. Returns the group of each key, and those that were made for it.
    fn merged(&mut self, (start, end): Window) -> Result<(Groups, Vec<u32>)> {
        let mut parts: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for groups in self.panes.range(start..end).map(|(_, groups)| groups) {
            for (key, slot) in groups {
                parts.entry(*key).or_default().push(*slot);
            }
        }
        let mut whole = Groups::new();
        let mut made = Vec::new();
        for (key, slots) in parts {
            let slot = match slots.as_slice() {
                [only] => *only,
                several => {
                    let slot = self.slots.take();
                    self.calls.grow(self.slots.n as usize);
                    several.iter().try_for_each(|part| self.calls.merge(*part, slot))?;
                    made.push(slot);
                    slot
                }
            };
            whole.insert(key, slot);
        }
        Ok((whole, made))
    }

    /// Frees a group; `key` is what a snapshot knows it by, `None` where none does.
    fn free(&mut self, slot: u32, key: Option<&[u8]>) {
        self.calls.clear(slot, key);
        self.slots.free.push(slot);
    }

    fn expire(&mut self, groups: &Groups) {
        for (key, slot) in groups {
            let stored_as = pane_key(&self.keys, self.owners[*slot as usize]);
            let is_stored = self.changed.gone(*slot, &stored_as);
            self.free(*slot, is_stored.then_some(&stored_as));
            let n_panes = &mut self.n_panes[*key as usize];
            *n_panes -= 1;
            if *n_panes == 0 {
                self.keys.remove(*key);
            }
        }
    }
}

impl Operator for PaneOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let Evaluated { batch, columns } = evaluate_or_bury(&self.calls.exprs, batch, &self.context, out)?;
        let located = self.locate(&columns[self.time])?;
        let in_time = self.refuse_late(&batch, &located, out)?;
        let none = Arc::new(Located::default());
        let kept: Vec<&Option<Arc<Located>>> =
            located.iter().zip(in_time.values().iter()).filter(|(_, keep)| *keep).map(|(located, _)| located).collect();
        let no_time: Vec<bool> = kept.iter().map(|located| located.is_none()).collect();
        let kept: Vec<Arc<Located>> =
            kept.into_iter().map(|located| located.clone().unwrap_or_else(|| none.clone())).collect();
        let (batch, columns) = if in_time.true_count() == batch.n_rows() {
            (batch, columns)
        } else {
            let columns = columns.iter().map(|column| compute::filter(column, &in_time)).collect::<Result<_, _>>()?;
            (batch.filter(&in_time)?, columns)
        };
        // Both zeros are one group, as for DataFusion.
        let mut keys: Vec<ArrayRef> = columns[..self.n_groups].iter().map(normalize_float_zero).collect();
        keys.remove(self.time);
        let slots = self.assign(&keys, &kept, &no_time)?;
        self.calls.update(&batch, &columns, &slots)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        if let Watermark::At(time) = watermark {
            self.watermark = self.watermark.max(time);
            while let Some((end, start)) = self.open.first().copied().filter(|(end, _)| self.is_closed(*end)) {
                self.open.remove(&(end, start));
                let (groups, made) = self.merged((start, end))?;
                self.show(Some((start, end)), &groups, out)?;
                made.into_iter().for_each(|slot| self.free(slot, None));
            }
            while let Some(end) = self.expiring.keys().next().copied().filter(|end| self.is_closed(*end)) {
                for pane in self.expiring.remove(&end).unwrap_or_default() {
                    let groups = self.panes.remove(&pane).unwrap_or_default();
                    self.expire(&groups);
                }
            }
            if self.is_closed(i64::MAX) && !self.timeless.is_empty() {
                let groups = std::mem::take(&mut self.timeless);
                self.show(None, &groups, out)?;
                self.expire(&groups);
            }
        }
        out.watermark(watermark);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.save()
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        self.take_over(table, &rows)
    }

    fn restore_end(&mut self) -> Result<()> {
        self.reopen()
    }

    fn state_size(&self) -> StateSize {
        let rows = self.panes.values().map(Groups::len).sum::<usize>() + self.timeless.len();
        StateSize { rows: rows as u64, bytes: self.keys.size().bytes + self.calls.bytes() }
    }
}

#[cfg(test)]
mod tests {
    use crate::functions::WindowRule;
    use crate::oracle::aggregate;
    use crate::testing::{run, schema};
    use crate::{Emit, Late, WindowColumn, Windowing};
    use arrow::datatypes::IntervalMonthDayNano;
    use datafusion_common::ScalarValue;
    use expect_test::{Expect, expect};

    fn rule(function: &str, nanos: &[i64]) -> WindowRule {
        let interval = |nanos: &i64| ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, *nanos)));
        WindowRule::from_constants(function, &nanos.iter().map(interval).collect::<Vec<_>>()).expect("a rule")
    }

    fn short(text: &str) -> String {
        text.replace("1970-01-01T00:00:00.0000000", "").replace("1970-01-01T00:00:00", "00")
    }

    /// Windows of ten nanoseconds that start at every fourth.
    fn check(script: &str, output: Expect) {
        let input = schema("t time, v int");
        let spec = aggregate("SELECT t, count(*), max(v) FROM t GROUP BY t", &input);
        let spec = spec.with_panes(0, rule("hop", &[4, 10])).expect("a time");
        output.assert_eq(&short(&run(&spec, &[input], script)));
    }

    #[test]
    fn equal_times_and_a_row_exactly_at_the_end_of_a_window() {
        // 10 is the end of 0..10: it is in 4..14 and 8..18 alone.
        check(
            "+ 8 1\n+ 8 1\n+ 10 2\n\n+ 8 3\nwatermark 8\nwatermark 9\nwatermark 9\nwatermark 17",
            expect![[r#"
            watermark 8
            + {start: 00, end: 10} 3 3
            watermark 9
            watermark 9
            + {start: 04, end: 14} 4 3
            + {start: 08, end: 18} 4 3
            watermark 17
        "#]],
        );
    }

    #[test]
    fn late_by_one_unit_is_late_for_the_windows_that_are_closed_and_for_no_other() {
        check(
            "+ 3 1\nwatermark 9\n+ 9 2\n+ 13 3\nwatermark 13\n+ 9 4\n+ 1 5\nwatermark max",
            expect![[r#"
            + {start: 1969-12-31T23:59:59.999999996, end: 06} 1 1
            + {start: 00, end: 10} 1 1
            watermark 9
            + {start: 04, end: 14} 2 3
            watermark 13
            dead letter late []: the row came after its window, which ended at 0.000000010, was closed: {"t":"09","v":2}
            late 1
            + {start: 08, end: 18} 3 4
            + {start: 12, end: 22} 1 3
            watermark 9223372036854775807
            dead letter late []: the row came after its window, which ended at 0.000000010, was closed: {"t":"09","v":4}
            dead letter late []: the row came after its window, which ended at 0.000000014, was closed: {"t":"09","v":4}
            dead letter late []: the row came after its window, which ended at 0.000000002, was closed: {"t":"01","v":5}
            dead letter late []: the row came after its window, which ended at 0.000000006, was closed: {"t":"01","v":5}
            dead letter late []: the row came after its window, which ended at 0.000000010, was closed: {"t":"01","v":5}
            late 1
            late 1
            late 1
            late 1
            late 1
        "#]],
        );
    }

    #[test]
    fn a_watermark_that_goes_back_reopens_nothing() {
        check(
            "+ 8 1\nwatermark 9\nwatermark 3\n+ 8 2\nidle\nwatermark 13\nwatermark max",
            expect![[r#"
            + {start: 00, end: 10} 1 1
            watermark 9
            watermark 3
            idle
            dead letter late []: the row came after its window, which ended at 0.000000010, was closed: {"t":"08","v":2}
            late 1
            + {start: 04, end: 14} 2 2
            watermark 13
            + {start: 08, end: 18} 2 2
            watermark 9223372036854775807
        "#]],
        );
    }

    fn check_empty(late: Late, script: &str, output: Expect) {
        let input = schema("t time, k text");
        let tumble = "tumble(t, INTERVAL '5 nanoseconds')";
        let spec = aggregate(&format!("SELECT {tumble}, k, count(*), max(t) FROM t GROUP BY {tumble}, k"), &input);
        let spec = spec.windowed(Windowing { column: 0, emit: Emit::Final, late }).expect("a window");
        let spec = spec.with_empty_windows(rule("tumble", &[5]), vec![Some(WindowColumn::Whole), None]);
        output.assert_eq(&short(&run(&spec, &[input], script)));
    }

    #[test]
    fn windows_without_rows_come_as_the_watermark_passes_and_end_with_the_newest_row() {
        let script = "+ 11 a\n+ 22 b\nwatermark 14\nwatermark 24\n+ 41 a\nwatermark 29\nwatermark max";
        check_empty(
            Late::DeadLetter,
            script,
            expect![[r#"
            + {start: 10, end: 15} a 1 11
            watermark 14
            + {start: 15, end: 20} a 0 _
            + {start: 20, end: 25} b 1 22
            + {start: 20, end: 25} a 0 _
            watermark 24
            + {start: 25, end: 30} a 0 _
            + {start: 25, end: 30} b 0 _
            watermark 29
            + {start: 30, end: 35} a 0 _
            + {start: 30, end: 35} b 0 _
            + {start: 35, end: 40} a 0 _
            + {start: 35, end: 40} b 0 _
            + {start: 40, end: 45} a 1 41
            + {start: 40, end: 45} b 0 _
            watermark 9223372036854775807
        "#]],
        );
    }

    #[test]
    fn a_late_row_restates_a_window_without_rows() {
        let late = Late::Update { allowed_lateness_ns: 10 };
        check_empty(
            late,
            "+ 1 a\n+ 11 a\nwatermark 14\n+ 6 a\nbarrier\nwatermark max",
            expect![[r#"
            + {start: 00, end: 05} a 1 01
            + {start: 05, end: 10} a 0 _
            + {start: 10, end: 15} a 1 11
            watermark 14
            - {start: 05, end: 10} a 0 _
            + {start: 05, end: 10} a 1 06
            barrier
            watermark 9223372036854775807
        "#]],
        );
    }
}
