//! Puts rows into sessions: what runs.
//!
//! It never emits a row twice with the same window, other than as often as it is there. Its state is the rows of sessions
//! that may still change, by key and time, and where the newest complete session of each key ended; the watermark bounds it.

use super::Session;
use super::partition::{Change, Partition, Time};
use crate::aggregate::{Emit, Late};
use crate::changed_slots::{ChangedRows, ChangedSlots};
use crate::expression::{Evaluated, dead_letter, evaluate_or_bury};
use crate::row_table::{RowCodec, RowTable};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StructArray, TimestampNanosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampNanosecondType};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{
    Barrier, Batch, Counter, Error, EventTime, Operator, Output, Reason, Result, Snapshot, StateSize, TaskContext,
    Watermark,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) struct SessionOperator {
    pub(super) schema: SchemaRef,
    pub(super) context: TaskContext,
    pub(super) exprs: Vec<Arc<dyn PhysicalExpr>>,
    pub(super) key_columns: Vec<usize>,
    pub(super) gap_ns: i64,
    /// Whether rows are shown before their session is complete.
    pub(super) early: bool,
    pub(super) output_changing: bool,
    pub(super) time: Time,
    pub(super) codec: RowCodec,
    pub(super) keys: RowTable,
    pub(super) partitions: Vec<Partition>,
    /// When to look at which partition again, at the latest.
    pub(super) deadlines: BTreeSet<(i64, u32)>,
    /// Rows without a time that may still be taken back, where the output must not; `None` where they are passed on.
    pub(super) timeless: Option<BTreeMap<Box<[u8]>, i64>>,
    /// Partitions that may have something to show at the next barrier.
    pub(super) touched: BTreeSet<u32>,
    /// Rows that have changed since the last snapshot.
    pub(super) changed: ChangedRows,
    /// Keys of which another session has been let go.
    pub(super) changed_keys: ChangedSlots,
    pub(super) stored_watermark: i64,
}

impl SessionOperator {
    pub(super) fn new(spec: &Session, context: &TaskContext) -> Result<Self> {
        let config = &spec.config;
        let types = |columns: &[usize]| -> Vec<DataType> {
            columns.iter().map(|index| config.input.field(*index).data_type().clone()).collect()
        };
        let lateness_ns = match config.late {
            Late::DeadLetter => 0,
            Late::Update { allowed_lateness_ns } => allowed_lateness_ns.max(0),
        };
        let all: Vec<usize> = (0..config.input.fields().len()).collect();
        Ok(Self {
            schema: spec.schema.clone(),
            context: context.clone(),
            exprs: vec![config.time.clone()],
            key_columns: config.keys.clone(),
            gap_ns: config.gap_ns,
            early: config.emit == Emit::Changes,
            output_changing: spec.output_changing(),
            time: Time { watermark: i64::MIN, lateness_ns },
            codec: RowCodec::new(types(&all).into_iter())?,
            keys: RowTable::new(types(&config.keys).into_iter())?,
            partitions: Vec::new(),
            deadlines: BTreeSet::new(),
            timeless: (config.input_changing && !spec.output_changing()).then(BTreeMap::new),
            touched: BTreeSet::new(),
            changed: ChangedRows::default(),
            changed_keys: ChangedSlots::default(),
            stored_watermark: i64::MIN,
        })
    }

    /// Emits rows, each with its window.
    fn emit(&self, changes: &[Change], out: &mut Output) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let repeated = |n: i64| if self.output_changing { 1 } else { usize::try_from(n).unwrap_or(0) };
        let rows: Vec<&Change> =
            changes.iter().flat_map(|change| std::iter::repeat_n(change, repeated(change.2))).collect();
        let mut columns = self.codec.decode(rows.iter().map(|change| &*change.0))?;
        let times = |of: fn(&Change) -> i64| -> ArrayRef {
            Arc::new(TimestampNanosecondArray::from_iter_values(rows.iter().map(|change| of(change))))
        };
        let DataType::Struct(fields) = self.window().data_type() else {
            return Err(Error::internal("a window is a struct"));
        };
        let parts = vec![times(|change| change.1.0), times(|change| change.1.1)];
        columns.push(Arc::new(StructArray::try_new(fields.clone(), parts, None)?));
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        out.emit(if self.output_changing {
            Batch::changing(batch, Int64Array::from_iter_values(rows.iter().map(|change| change.2)))?
        } else {
            Batch::append_only(batch)
        });
        Ok(())
    }

    fn window(&self) -> &Field {
        self.schema.field(self.schema.fields().len() - 1)
    }

    /// Takes rows without a time: they are in no session.
    fn take_timeless(&mut self, batch: &Batch, out: &mut Output) -> Result<()> {
        let Some(timeless) = &mut self.timeless else { return self.emit_timeless(batch, out) };
        let rows = self.codec.encode(batch.rows.columns())?;
        for row in 0..batch.n_rows() {
            let (row, diff) = (rows.get(row), batch.diff(row));
            self.changed.note(row, timeless.contains_key(row));
            let n = timeless.entry(row.into()).or_default();
            *n += diff;
            if *n == 0 {
                timeless.remove(row);
                self.changed.gone(row);
            }
        }
        Ok(())
    }

    /// Emits what nothing can take back any more.
    fn end_timeless(&mut self, out: &mut Output) -> Result<()> {
        let Some(timeless) = self.timeless.as_mut().map(std::mem::take) else { return Ok(()) };
        timeless.keys().for_each(|row| self.changed.gone(row));
        let times = |n: &i64| usize::try_from(*n).unwrap_or(0);
        let rows = timeless.iter().flat_map(|(row, n)| std::iter::repeat_n(&**row, times(n)));
        let columns = self.codec.decode(rows)?;
        let fields = self.schema.fields()[..columns.len()].to_vec();
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
        self.emit_timeless(&Batch::append_only(rows), out)
    }

    fn emit_timeless(&self, batch: &Batch, out: &mut Output) -> Result<()> {
        let mut columns = batch.rows.columns().to_vec();
        columns.push(new_null_array(self.window().data_type(), batch.n_rows()));
        let rows = RecordBatch::try_new(self.schema.clone(), columns)?;
        out.emit(batch.with_rows(rows));
        Ok(())
    }

    fn take(&mut self, batch: &Batch, times: &[i64], out: &mut Output) -> Result<()> {
        let keys: Vec<ArrayRef> = self.key_columns.iter().map(|index| batch.rows.column(*index).clone()).collect();
        let keys = self.keys.encode(&keys)?;
        let rows = self.codec.encode(batch.rows.columns())?;
        for (row, at) in times.iter().enumerate() {
            let (slot, _) = self.keys.intern(keys.get(row));
            self.partitions.resize_with(self.keys.n_slots().max(self.partitions.len()), Partition::default);
            let partition = &mut self.partitions[slot as usize];
            let diff = batch.diff(row);
            match partition.change(*at, rows.get(row), diff, (self.gap_ns, self.time), &mut self.changed) {
                Ok(end) => {
                    self.deadlines.extend(end.map(|end| (end, slot)));
                    self.touched.insert(slot);
                }
                Err(end) => {
                    self.free_if_empty(slot);
                    let what = if diff > 0 { "row" } else { "retraction" };
                    let end = EventTime(end);
                    let message = format!("the {what} came after its session, which ended at {end}, was closed");
                    out.count(Counter::Late, 1);
                    let letter = dead_letter(Reason::Late, message, String::new(), &batch.rows, row, &self.context)?;
                    out.dead_letter(letter);
                }
            }
        }
        Ok(())
    }

    fn free_if_empty(&mut self, slot: u32) {
        if self.partitions[slot as usize].is_empty() {
            self.partitions[slot as usize] = Partition::default();
            self.touched.remove(&slot);
            self.changed_keys.gone(slot, self.keys.row(slot));
            self.keys.remove(slot);
        }
    }
}

impl Operator for SessionOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let Evaluated { batch, columns } = evaluate_or_bury(&self.exprs, batch, &self.context, out)?;
        let times = columns[0].as_primitive_opt::<TimestampNanosecondType>();
        let times = times.ok_or_else(|| Error::internal("sessions need nanoseconds"))?;
        if times.null_count() == 0 {
            return self.take(&batch, times.values(), out);
        }
        let has_time: BooleanArray = (0..times.len()).map(|row| Some(times.is_valid(row))).collect();
        let has_none = arrow::compute::not(&has_time)?;
        self.take_timeless(&batch.filter(&has_none)?, out)?;
        let known: Vec<i64> = times.iter().flatten().collect();
        self.take(&batch.filter(&has_time)?, &known, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        let Watermark::At(EventTime(at)) = watermark else {
            out.watermark(watermark);
            return Ok(());
        };
        self.time.watermark = self.time.watermark.max(at);
        let mut due = BTreeSet::new();
        while let Some((deadline, slot)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= at) {
            self.deadlines.remove(&(deadline, slot));
            due.insert(slot);
        }
        let mut changes = Vec::new();
        for slot in due {
            let partition = &mut self.partitions[slot as usize];
            if partition.is_empty() {
                continue;
            }
            partition.close(self.gap_ns, self.time);
            changes.extend(partition.show(self.gap_ns, self.time, self.early, &mut self.changed));
            let gone = partition.gone();
            let next = partition.let_go(self.gap_ns, self.time, &mut self.changed);
            if partition.gone() != gone {
                self.changed_keys.touch(slot);
            }
            self.deadlines.extend(next.map(|next| (next, slot)));
            self.free_if_empty(slot);
        }
        self.emit(&changes, out)?;
        if at == i64::MAX {
            self.end_timeless(out)?;
        }
        // A row at the very end of a session still belongs to it, so the session is complete one moment later than other
        // windows that end there, and what follows must not close it before.
        let behind = if at == i64::MAX { at } else { at.saturating_sub(1) };
        out.watermark(Watermark::At(EventTime(behind)));
        Ok(())
    }

    fn on_barrier(&mut self, _barrier: &Barrier, out: &mut Output) -> Result<()> {
        if !self.output_changing {
            self.touched.clear();
            return Ok(());
        }
        let mut changes = Vec::new();
        for slot in std::mem::take(&mut self.touched) {
            let partition = &mut self.partitions[slot as usize];
            if partition.is_dirty() {
                changes.extend(partition.show(self.gap_ns, self.time, self.early, &mut self.changed));
            }
            self.free_if_empty(slot);
        }
        self.emit(&changes, out)
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        self.save()
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        self.take_over(table, &rows)
    }

    fn restore_end(&mut self) -> Result<()> {
        self.make_sessions();
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        let rows = self.partitions.iter().map(Partition::n_rows).sum::<usize>() as u64;
        StateSize { rows, bytes: 0 }
    }
}
