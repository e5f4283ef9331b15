//! Joins rows with the version of another table that was valid at their event time: what runs.
//!
//! It never answers before the watermark has passed a row, and answers each row once. Its state is the left rows that
//! wait, and the versions, see `versions`; the watermark bounds both but for one version of each key.

use super::versions::{Came, Versions};
use super::{TemporalJoin, TemporalJoinConfig};
use crate::expression::{Evaluated, dead_letter, engine_error, evaluate_or_bury};
use crate::row_table::{EncodedRows, RowCodec};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute;
use arrow::datatypes::{SchemaRef, TimestampNanosecondType};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{
    Barrier, Batch, Error, EventTime, Operator, Output, Reason, Result, StateSize, TaskContext, Watermark,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A left row that waits, with its key.
struct Waiting {
    key: Box<[u8]>,
    row: Box<[u8]>,
}

pub(super) struct TemporalJoinOperator {
    config: TemporalJoinConfig,
    context: TaskContext,
    schema: SchemaRef,
    keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    rows: RowCodec,
    waiting: BTreeMap<i64, Vec<Waiting>>,
    n_waiting: usize,
    n_waiting_bytes: usize,
    versions: Versions,
    /// Nothing at or before this time is expected, late rows that are waited for included.
    passed: EventTime,
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
        Ok(Self {
            context: context.clone(),
            schema: spec.schema.clone(),
            keys: [left_keys, right_keys],
            rows: RowCodec::new(config.left.fields().iter().map(|field| field.data_type().clone()))?,
            waiting: BTreeMap::new(),
            n_waiting: 0,
            n_waiting_bytes: 0,
            versions: Versions::new(&config.right, &types, config.same_time, config.ttl_ns)?,
            passed: EventTime::MIN,
            config,
        })
    }

    fn arrive(&self, input: usize, batch: Batch, out: &mut Output) -> Result<Arriving> {
        let Evaluated { batch, columns } = evaluate_or_bury(&self.keys[input], batch, &self.context, out)?;
        let times = batch.rows.column(self.config.times[input]).as_primitive_opt::<TimestampNanosecondType>();
        let times = times.ok_or_else(|| Error::internal("a time that is not in nanoseconds"))?;
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

    fn is_passed(&self, time: i64) -> bool {
        self.passed > EventTime::MIN && time <= self.passed.0
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
                Some(time) if self.is_passed(*time) => self.late("row", *time, &arriving.batch, row, out)?,
                Some(time) => {
                    let waiting = Waiting { key: arriving.keys.get(row).into(), row: arriving.rows.get(row).into() };
                    self.n_waiting += 1;
                    self.n_waiting_bytes += waiting.key.len() + waiting.row.len();
                    self.waiting.entry(*time).or_default().push(waiting);
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
            match self.versions.put(key, time, version, self.passed) {
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
        let mut due: Vec<Waiting> = Vec::new();
        let mut versions: Vec<&[u8]> = Vec::new();
        // For each row that is answered, the place of its version.
        let mut places: Vec<Option<u32>> = Vec::new();
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() <= self.passed.0) {
            let time = *entry.key();
            for waiting in entry.remove() {
                self.n_waiting -= 1;
                self.n_waiting_bytes -= waiting.key.len() + waiting.row.len();
                let valid = self.versions.valid(&waiting.key, time, self.config.at_time_too);
                if valid.is_none() && !self.config.keeps_left {
                    continue;
                }
                places.push(valid.map(|version| {
                    versions.push(version);
                    u32::try_from(versions.len() - 1).unwrap_or(u32::MAX)
                }));
                due.push(waiting);
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let left = self.rows.decode(due.iter().map(|waiting| &*waiting.row))?;
        let places = UInt32Array::from(places);
        let right = self.versions.decode(versions)?;
        let right = right.iter().map(|column| compute::take(column, &places, None)).collect::<Result<_, _>>()?;
        out.emit(self.output(left, right, due.len())?);
        Ok(())
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
        self.passed = self.passed.max(passed);
        self.versions.settle();
        self.answer(out)?;
        self.versions.free(self.passed);
        out.watermark(Watermark::At(self.passed));
        Ok(())
    }

    fn on_barrier(&mut self, barrier: &Barrier, _out: &mut Output) -> Result<()> {
        self.versions.settle();
        self.versions.expire(barrier.time);
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        let bytes = self.n_waiting_bytes + self.n_waiting * size_of::<Waiting>();
        self.versions.size() + StateSize { rows: self.n_waiting as u64, bytes: bytes as u64 }
    }
}
