//! Joins rows with the version of another table that was valid at their event time: what runs.
//!
//! It never answers before the watermark has passed a row, and answers each row once. Its state is the left rows that
//! wait, and the versions, see `versions`; the watermark bounds both but for one version of each key.

use super::versions::{Came, Versions};
use super::{TemporalJoin, TemporalJoinConfig};
use crate::changed_slots::ChangedSlots;
use crate::expression::{Evaluated, dead_letter, engine_error, evaluate_all, evaluate_or_bury};
use crate::passed::Passed;
use crate::row_table::{EncodedRows, RowTable};
use crate::state_table::{as_numbers, changed_rows, keyed_table, numbers, stored_rows, unknown_table};
use crate::touched::Touched;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, RecordBatchOptions, UInt32Array,
    new_null_array,
};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef, TimestampNanosecondType};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{
    Barrier, Batch, Error, EventTime, Operator, Output, Reason, Result, Route, Snapshot, StateSize, StateTable,
    TaskContext, Watermark,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tables of the state: the left rows that wait, and the versions. There are those of [`Passed`] and [`Touched`]
/// besides.
const ROWS: &str = "rows";
const VERSIONS: &str = "versions";

/// A left row that waits.
#[derive(Default)]
struct Waiting {
    key: Box<[u8]>,
    /// How often it is there.
    n: usize,
}

pub(super) struct TemporalJoinOperator {
    config: TemporalJoinConfig,
    context: TaskContext,
    schema: SchemaRef,
    keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    rows: RowTable,
    /// By the number of the row.
    waiting: Vec<Waiting>,
    by_time: BTreeMap<i64, Vec<u32>>,
    key_bytes: usize,
    changed: ChangedSlots,
    versions: Versions,
    /// Nothing at or before this time is expected, late rows that are waited for included.
    passed: Passed,
}

/// A batch with what its rows are found by.
struct Arriving {
    batch: Batch,
    keys: EncodedRows,
    rows: EncodedRows,
    /// `None` for a row that has no time, or a key that equals nothing.
    times: Vec<Option<i64>>,
}

impl TemporalJoinOperator {
    pub(super) fn new(spec: &TemporalJoin, context: &TaskContext) -> Result<Self> {
        let config = spec.config.clone();
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = config.on.iter().cloned().unzip();
        let types = left_keys.iter().map(|key: &Arc<dyn PhysicalExpr>| key.data_type(&config.left));
        let types = types.collect::<Result<Vec<_>, _>>().map_err(engine_error)?;
        let ttl_ns = config.ttl_ns;
        let touched = ttl_ns.map(|ttl_ns| Touched::new(ttl_ns, &right_keys, context.route(1))).transpose()?;
        Ok(Self {
            context: context.clone(),
            schema: spec.schema.clone(),
            keys: [left_keys, right_keys],
            rows: RowTable::new(config.left.fields().iter().map(|field| field.data_type().clone()))?,
            waiting: Vec::new(),
            by_time: BTreeMap::new(),
            key_bytes: 0,
            changed: ChangedSlots::default(),
            versions: Versions::new(&config.right, &types, config.same_time, touched)?,
            passed: Passed::default(),
            config,
        })
    }

    fn arrive(&self, input: usize, batch: Batch, out: &mut Output) -> Result<Arriving> {
        let Evaluated { batch, columns } = evaluate_or_bury(&self.keys[input], batch, &self.context, out)?;
        let times = self.times(input, &batch.rows)?;
        let nulls: Vec<_> = columns.iter().filter_map(|key| key.logical_nulls()).collect();
        let time = |(row, time): (usize, Option<i64>)| time.filter(|_| nulls.iter().all(|nulls| nulls.is_valid(row)));
        let times = times.iter().enumerate().map(time).collect();
        let rows = if input == 0 {
            self.rows.encode(batch.rows.columns())?
        } else {
            self.versions.encode(batch.rows.columns())?
        };
        Ok(Arriving { keys: self.versions.encode_keys(&columns)?, rows, times, batch })
    }

    /// Returns the times of rows of an input, nulls among them.
    fn times<'a>(&self, input: usize, rows: &'a RecordBatch) -> Result<&'a PrimitiveArray<TimestampNanosecondType>> {
        let times = rows.column(self.config.times[input]).as_primitive_opt();
        times.ok_or_else(|| Error::internal("a time that is not in nanoseconds"))
    }

    /// Lets a row wait, or so many that are equal.
    fn wait(&mut self, row: &[u8], key: &[u8], time: i64, n: usize) -> u32 {
        let (slot, is_new) = self.rows.intern(row);
        if is_new {
            self.waiting.resize_with(self.rows.n_slots().max(self.waiting.len()), Waiting::default);
            self.waiting[slot as usize] = Waiting { key: key.into(), n: 0 };
            self.key_bytes += key.len();
            self.by_time.entry(time).or_default().push(slot);
        }
        self.waiting[slot as usize].n += n;
        slot
    }

    fn late(&self, what: &str, time: i64, batch: &Batch, row: usize, out: &mut Output) -> Result<()> {
        let message = format!("the {what} at {} came after the watermark had passed it", EventTime(time));
        out.dead_letter(dead_letter(Reason::Late, message, String::new(), &batch.rows, row, &self.context)?);
        Ok(())
    }

    fn take_rows(&mut self, arriving: &Arriving, out: &mut Output) -> Result<()> {
        let mut lonely = vec![false; arriving.times.len()];
        for (row, time) in arriving.times.iter().enumerate() {
            match time {
                None => lonely[row] = true,
                Some(time) if self.passed.has(*time) => self.late("row", *time, &arriving.batch, row, out)?,
                Some(time) => {
                    let slot = self.wait(arriving.rows.get(row), arriving.keys.get(row), *time, 1);
                    self.changed.touch(slot);
                }
            }
        }
        if self.config.keeps_left && lonely.contains(&true) {
            let rows = compute::filter_record_batch(&arriving.batch.rows, &BooleanArray::from(lonely))?;
            let nulls = self.config.right.fields().iter().map(|f| new_null_array(f.data_type(), rows.num_rows()));
            out.emit(self.output(rows.columns().to_vec(), nulls.collect(), rows.num_rows())?);
        }
        Ok(())
    }

    fn take_versions(&mut self, arriving: &Arriving, out: &mut Output) -> Result<()> {
        for (row, time) in arriving.times.iter().enumerate() {
            let Some(time) = *time else { continue };
            let (key, version) = (arriving.keys.get(row), arriving.rows.get(row));
            if arriving.batch.diff(row) < 0 {
                self.versions.take_back(key, time, version);
                continue;
            }
            match self.versions.put(key, time, version, self.passed.time()) {
                Came::Kept | Came::Repeated => {}
                Came::TooLate => self.late("version", time, &arriving.batch, row, out)?,
            }
        }
        Ok(())
    }

    fn output(&self, mut left: Vec<ArrayRef>, right: Vec<ArrayRef>, n_rows: usize) -> Result<Batch> {
        left.extend(right);
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(Batch::append_only(RecordBatch::try_new_with_options(self.schema.clone(), left, &options)?))
    }

    /// Answers the rows that the watermark has passed.
    fn answer(&mut self, out: &mut Output) -> Result<()> {
        let (mut due, mut answered): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
        let mut versions: Vec<&[u8]> = Vec::new();
        // For each row that is answered, the place of its version.
        let mut places: Vec<Option<u32>> = Vec::new();
        while let Some(entry) = self.by_time.first_entry().filter(|entry| *entry.key() <= self.passed.time().0) {
            let time = *entry.key();
            for slot in entry.remove() {
                let waiting = &self.waiting[slot as usize];
                answered.push(slot);
                let valid = self.versions.valid(&waiting.key, time, self.config.at_time_too);
                if valid.is_none() && !self.config.keeps_left {
                    continue;
                }
                let place = valid.map(|version| {
                    versions.push(version);
                    u32::try_from(versions.len() - 1).unwrap_or(u32::MAX)
                });
                places.extend(std::iter::repeat_n(place, waiting.n));
                due.extend(std::iter::repeat_n(slot, waiting.n));
            }
        }
        if !due.is_empty() {
            self.show(&due, places, versions, out)?;
        }
        for slot in answered {
            self.key_bytes -= std::mem::take(&mut self.waiting[slot as usize]).key.len();
            self.changed.gone(slot, self.rows.row(slot));
            self.rows.remove(slot);
        }
        Ok(())
    }

    /// Emits left rows, each with the version at its place.
    fn show(&self, due: &[u32], places: Vec<Option<u32>>, versions: Vec<&[u8]>, out: &mut Output) -> Result<()> {
        let left = self.rows.columns(due)?;
        let places = UInt32Array::from(places);
        let right = self.versions.decode(versions)?;
        let right = right.iter().map(|column| compute::take(column, &places, None)).collect::<Result<_, _>>()?;
        out.emit(self.output(left, right, due.len())?);
        Ok(())
    }
}

/// The state as tables.
impl TemporalJoinOperator {
    fn changed_waiting(&mut self) -> Result<Option<StateTable>> {
        let taken = self.changed.take(|| self.rows.slots());
        let n = taken.slots.iter().map(|slot| i64::try_from(self.waiting[*slot as usize].n).unwrap_or(i64::MAX));
        let values = vec![("multiplicity".to_owned(), numbers(n))];
        let route = Route::Key(self.context.route(0).to_vec());
        keyed_table((ROWS, route), (&self.rows, self.config.left.fields()), taken, values)
    }

    fn changed_versions(&mut self) -> Result<Option<StateTable>> {
        let changed = self.versions.changed();
        let rows =
            RecordBatch::try_new(self.config.right.clone(), self.versions.decode(changed.iter().map(AsRef::as_ref))?)?;
        let keys = self.keys_of(1, &rows)?;
        let times = self.times(1, &rows)?;
        let is_there: Vec<bool> =
            (0..changed.len()).map(|row| self.versions.has(keys.get(row), times.value(row), &changed[row])).collect();
        changed_rows((VERSIONS, Route::Key(self.context.route(1).to_vec())), &rows, is_there, Vec::new())
    }

    fn restore_waiting(&mut self, rows: &RecordBatch) -> Result<()> {
        let (rows, more) = stored_rows(ROWS, rows, &self.config.left, &[DataType::Int64])?;
        let (keys, encoded, n) = (self.keys_of(0, &rows)?, self.rows.encode(rows.columns())?, as_numbers(&more[0])?);
        let times = self.times(0, &rows)?;
        for row in 0..rows.num_rows() {
            let n = usize::try_from(n[row]).unwrap_or(0);
            let slot = self.wait(encoded.get(row), keys.get(row), times.value(row), n);
            self.changed.restored(slot);
        }
        Ok(())
    }

    fn restore_versions(&mut self, rows: &RecordBatch) -> Result<()> {
        let (rows, _) = stored_rows(VERSIONS, rows, &self.config.right, &[])?;
        let (keys, encoded) = (self.keys_of(1, &rows)?, self.versions.encode(rows.columns())?);
        let times = self.times(1, &rows)?;
        for row in 0..rows.num_rows() {
            self.versions.restore(keys.get(row), times.value(row), encoded.get(row));
        }
        Ok(())
    }

    fn keys_of(&self, input: usize, rows: &RecordBatch) -> Result<EncodedRows> {
        self.versions.encode_keys(&evaluate_all(&self.keys[input], rows).map_err(engine_error)?)
    }
}

impl Operator for TemporalJoinOperator {
    fn on_batch(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let arriving = self.arrive(input, batch, out)?;
        match input {
            0 => self.take_rows(&arriving, out),
            _ => self.take_versions(&arriving, out),
        }
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        let Watermark::At(time) = watermark else {
            out.watermark(watermark);
            return Ok(());
        };
        let passed = match time {
            EventTime::MIN | EventTime::MAX => time,
            time => time.saturating_add(-self.config.allowed_lateness_ns),
        };
        self.passed.reach(passed);
        self.versions.settle();
        self.answer(out)?;
        self.versions.free(self.passed.time());
        out.watermark(Watermark::At(self.passed.time()));
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, _out: &mut Output) -> Result<()> {
        self.versions.settle();
        self.versions.expire(barrier.time);
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        snapshot.tables.extend(self.changed_waiting()?);
        snapshot.tables.extend(self.changed_versions()?);
        snapshot.tables.extend(self.versions.touched()?);
        snapshot.tables.extend(self.passed.snapshot()?);
        Ok(snapshot)
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        match table {
            ROWS => self.restore_waiting(&rows),
            VERSIONS => self.restore_versions(&rows),
            Passed::TABLE => self.passed.restore(&rows),
            Touched::TABLE => self.versions.restore_touched(&rows),
            other => Err(unknown_table(other)),
        }
    }

    fn state_size(&self) -> StateSize {
        let rows = self.rows.size();
        let bytes = self.key_bytes + rows.rows as usize * size_of::<Waiting>();
        self.versions.size() + StateSize { rows: rows.rows, bytes: rows.bytes + bytes as u64 }
    }
}
