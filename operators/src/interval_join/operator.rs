//! Joins two append-only inputs whose rows match only within an interval of event time: what runs.
//!
//! A row of either side joins what is there of the other, and is kept for what is to come. Its state is the rows of
//! both sides that something not behind the watermark could match; the watermark bounds it. What a row shows besides
//! pairs is shown once and for all, when the watermark allows, so the output is append-only; unless early results are
//! asked for. A watermark is passed on behind the time of what can still come.

use super::side::Side;
use super::{IntervalJoin, IntervalJoinConfig, TimeOf};
use crate::expression::{Evaluated, dead_letter, engine_error, evaluate_all, evaluate_or_bury};
use crate::join::JoinKind;
use crate::passed::Passed;
use crate::state_table::unknown_table;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StructArray, UInt32Array,
    new_null_array,
};
use arrow::compute;
use arrow::datatypes::{Schema, SchemaRef, TimestampNanosecondType};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{
    Batch, Error, EventTime, Operator, Output, Reason, Result, Route, Snapshot, StateSize, TaskContext, Watermark,
    consolidate,
};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The tables of the state: the rows of each side. There is one of [`Passed`] besides.
const SIDES: [&str; 2] = ["left", "right"];

/// How many pairs are looked at in one go: what bounds the memory of a filter over many pairs.
const PAIRS_MAX: usize = 8192;

/// What becomes of single rows of one side, besides pairs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    No,
    /// They are in the output when they have no match.
    Unmatched,
    /// They are in the output when they have a match.
    Matched,
}

pub(super) struct IntervalJoinOperator {
    config: IntervalJoinConfig,
    context: TaskContext,
    schema: SchemaRef,
    /// Left columns, then right ones.
    pair_schema: SchemaRef,
    keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    sides: [Side; 2],
    alone: [Alone; 2],
    changes: bool,
    held_back_ns: i64,
    /// Nothing at or before this time is expected, late rows that are waited for included.
    passed: Passed,
}

/// A batch on its way through the join.
struct Arriving {
    batch: Batch,
    keys: Vec<ArrayRef>,
    times: Vec<i64>,
    matched: Vec<bool>,
}

/// The output of one call while it is put together.
#[derive(Default)]
struct Results {
    parts: Vec<Batch>,
    /// Rows of the other side that have shown themselves for good.
    spent: Vec<u32>,
}

impl IntervalJoinOperator {
    pub(super) fn new(spec: &IntervalJoin, context: &TaskContext) -> Result<Self> {
        let config = spec.config.clone();
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = config.on.iter().cloned().unzip();
        let types = left_keys.iter().map(|key: &Arc<dyn PhysicalExpr>| key.data_type(&config.left));
        let types = types.collect::<Result<Vec<_>, _>>().map_err(engine_error)?;
        let fields = config.left.fields().iter().chain(config.right.fields()).cloned().collect::<Vec<_>>();
        let left = match config.kind {
            JoinKind::Left | JoinKind::Full | JoinKind::LeftAnti => Alone::Unmatched,
            JoinKind::LeftSemi => Alone::Matched,
            JoinKind::Inner | JoinKind::Right | JoinKind::LeftMark => Alone::No,
        };
        let right = if matches!(config.kind, JoinKind::Right | JoinKind::Full) { Alone::Unmatched } else { Alone::No };
        Ok(Self {
            sides: [Side::new(&config.left, &types)?, Side::new(&config.right, &types)?],
            schema: spec.schema.clone(),
            pair_schema: Arc::new(Schema::new(fields)),
            keys: [left_keys, right_keys],
            alone: [left, right],
            changes: spec.output_changing(),
            held_back_ns: spec.held_back_ns(),
            passed: Passed::default(),
            context: context.clone(),
            config,
        })
    }

    /// The times of the other side that a row of this time matches.
    fn reach(&self, side: usize, time: i64) -> RangeInclusive<i64> {
        let (min, max) = (self.config.min_ns, self.config.max_ns);
        match side {
            0 => time.saturating_sub(max)..=time.saturating_sub(min),
            _ => time.saturating_add(min)..=time.saturating_add(max),
        }
    }

    /// Whether nothing that is still to come can match a row of this time.
    fn is_done(&self, side: usize, time: i64) -> bool {
        *self.reach(side, time).end() <= self.passed.time().0
    }

    /// Evaluates the keys of a batch, sends late rows away, and shows rows that nothing can match.
    fn arrive(&self, side: usize, batch: Batch, results: &mut Results, out: &mut Output) -> Result<Arriving> {
        let Evaluated { batch, columns: keys } = evaluate_or_bury(&self.keys[side], batch, &self.context, out)?;
        let times = times(&batch.rows, self.config.times[side])?;
        let mut keep = Vec::with_capacity(batch.n_rows());
        let mut lonely = Vec::with_capacity(batch.n_rows());
        let nulls: Vec<_> = keys.iter().filter_map(|key| key.logical_nulls()).collect();
        for (row, time) in times.iter().enumerate() {
            let is_late = time.is_some_and(|time| self.passed.has(time));
            if let (true, Some(time)) = (is_late, time) {
                let message = format!("the row at {} came after the watermark had passed it", EventTime(*time));
                let letter = dead_letter(Reason::Late, message, String::new(), &batch.rows, row, &self.context)?;
                out.dead_letter(letter);
            }
            let matches = self.config.null_equals_null || nulls.iter().all(|nulls| nulls.is_valid(row));
            let can_match = time.is_some() && matches;
            keep.push(!is_late && can_match);
            lonely.push(!is_late && !can_match);
        }
        if self.alone[side] == Alone::Unmatched && lonely.contains(&true) {
            results.parts.push(self.single(side, batch.filter(&BooleanArray::from(lonely))?)?);
        }
        let mut arriving =
            Arriving { batch, keys, times: times.iter().flatten().copied().collect(), matched: Vec::new() };
        if keep.contains(&false) {
            let kept = |(time, keep): (&Option<i64>, &bool)| time.filter(|_| *keep);
            arriving.times = times.iter().zip(&keep).filter_map(kept).collect();
            let mask = BooleanArray::from(keep);
            arriving.batch = arriving.batch.filter(&mask)?;
            arriving.keys = arriving.keys.iter().map(|key| compute::filter(key, &mask)).collect::<Result<_, _>>()?;
        }
        arriving.matched = vec![false; arriving.times.len()];
        Ok(arriving)
    }

    /// Lays rows of one side out as output rows without the other side.
    fn single(&self, side: usize, rows: Batch) -> Result<Batch> {
        let n_rows = rows.n_rows();
        let mut columns = rows.rows.columns().to_vec();
        if self.config.kind.has_both_sides() {
            let other = if side == 0 { &self.config.right } else { &self.config.left };
            let nulls = other.fields().iter().map(|field| new_null_array(field.data_type(), n_rows));
            if side == 0 {
                columns.extend(nulls);
            } else {
                columns = nulls.chain(columns).collect();
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(rows.with_rows(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?))
    }

    fn single_kept(&self, side: usize, slots: &[u32], diff: i64) -> Result<Batch> {
        let schema = if side == 0 { &self.config.left } else { &self.config.right };
        let (columns, n_rows) = self.sides[side].columns_of_all(slots)?;
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        let batch = match diff {
            1 => Batch::append_only(rows),
            diff => Batch::changing(rows, Int64Array::from_value(diff, n_rows))?,
        };
        self.single(side, batch)
    }

    /// Looks at pairs of an arriving row (by index) and a kept row of the other side (by number), and keeps those
    /// that satisfy the filter.
    fn take_pairs(
        &mut self,
        side: usize,
        arriving: &mut Arriving,
        pairs: &mut Vec<(u32, u32)>,
        results: &mut Results,
        out: &mut Output,
    ) -> Result<()> {
        let (indices, others): (Vec<u32>, Vec<u32>) = pairs.drain(..).unzip();
        let own = compute::take_record_batch(&arriving.batch.rows, &UInt32Array::from(indices.clone()))?;
        let other = self.sides[1 - side].columns(&others)?;
        let (left, right) = if side == 0 { (own.columns().to_vec(), other) } else { (other, own.columns().to_vec()) };
        let options = RecordBatchOptions::new().with_row_count(Some(indices.len()));
        let columns = left.into_iter().chain(right).collect();
        let rows = RecordBatch::try_new_with_options(self.pair_schema.clone(), columns, &options)?;
        // In place of a multiplicity each pair carries its number from 1, to know which of them come through.
        let numbers = Int64Array::from_iter_values(1..=indices.len() as i64);
        let mut numbered = Batch::changing(rows, numbers)?;
        if let Some(filter) = &self.config.filter {
            let Evaluated { batch, columns } =
                evaluate_or_bury(std::slice::from_ref(filter), numbered, &self.context, out)?;
            let mask = columns[0].as_boolean_opt().ok_or_else(|| Error::internal("a join filter is not Boolean"))?;
            numbered = batch.filter(mask)?;
        }
        let mut turned = Vec::new();
        for index in 0..numbered.n_rows() {
            let pair = usize::try_from(numbered.diff(index) - 1).unwrap_or(0);
            arriving.matched[indices[pair] as usize] = true;
            // Nobody asks whether rows of a side have a match that are never shown alone.
            if self.alone[1 - side] != Alone::No && self.sides[1 - side].first_match(others[pair]) {
                turned.push(others[pair]);
            }
        }
        self.turn(1 - side, turned, results)?;
        if self.config.kind.has_both_sides() && numbered.n_rows() > 0 {
            let options = RecordBatchOptions::new().with_row_count(Some(numbered.n_rows()));
            let columns = numbered.rows.columns().to_vec();
            let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
            results.parts.push(Batch::append_only(rows));
        }
        Ok(())
    }

    /// Shows what becomes of kept rows that found their first match.
    fn turn(&self, side: usize, slots: Vec<u32>, results: &mut Results) -> Result<()> {
        if slots.is_empty() {
            return Ok(());
        }
        match self.alone[side] {
            Alone::Matched => results.parts.push(self.single_kept(side, &slots, 1)?),
            Alone::Unmatched if self.changes => results.parts.push(self.single_kept(side, &slots, -1)?),
            Alone::Unmatched | Alone::No => {}
        }
        if !self.config.kind.has_both_sides() {
            results.spent.extend(slots);
        }
        Ok(())
    }

    /// Shows arriving rows that are in the output by themselves, and keeps those that something can still match.
    fn settle(&mut self, side: usize, arriving: &Arriving, results: &mut Results) -> Result<()> {
        let n_rows = arriving.times.len();
        let alone = self.alone[side];
        let done: Vec<bool> = arriving.times.iter().map(|time| self.is_done(side, *time)).collect();
        let shows = |row: usize| match alone {
            Alone::No => false,
            Alone::Matched => arriving.matched[row],
            Alone::Unmatched => !arriving.matched[row] && (done[row] || self.changes),
        };
        let mask: BooleanArray = (0..n_rows).map(|row| Some(shows(row))).collect();
        if mask.true_count() > 0 {
            results.parts.push(self.single(side, arriving.batch.filter(&mask)?)?);
        }
        let rows = self.sides[side].encode(arriving.batch.rows.columns())?;
        let keys = self.sides[side].encode_keys(&arriving.keys)?;
        // A row of the left side that has its match adds nothing to a semi or anti join.
        let is_spent = side == 0 && !self.config.kind.has_both_sides();
        let is_over = |row: usize| done[row] || (is_spent && arriving.matched[row]);
        for row in (0..n_rows).filter(|row| !is_over(*row)) {
            self.sides[side].put(rows.get(row), keys.get(row), arriving.times[row], arriving.matched[row]);
        }
        Ok(())
    }

    fn emit(&self, results: Results, out: &mut Output) -> Result<()> {
        let parts: Vec<Batch> = results.parts.into_iter().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let all = Batch::concat(&self.schema, &parts)?;
        out.emit(if self.changes { consolidate(&all)? } else { all });
        Ok(())
    }

    /// Forgets rows that nothing can match any more, and shows those that never had a match.
    fn free(&mut self, side: usize, results: &mut Results) -> Result<()> {
        let mut slots = Vec::new();
        while self.sides[side].earliest().is_some_and(|time| self.is_done(side, time)) {
            slots.extend(self.sides[side].take_earliest());
        }
        if self.alone[side] == Alone::Unmatched && !self.changes {
            let lonely: Vec<u32> = slots.iter().copied().filter(|slot| !self.sides[side].is_matched(*slot)).collect();
            if !lonely.is_empty() {
                results.parts.push(self.single_kept(side, &lonely, 1)?);
            }
        }
        slots.into_iter().for_each(|slot| self.sides[side].forget(slot));
        Ok(())
    }
}

/// Returns the time of each row; `None` where it is null.
fn times(rows: &RecordBatch, of: TimeOf) -> Result<Vec<Option<i64>>> {
    let not_a_time = || Error::internal(format!("{of:?} is no time in nanoseconds"));
    let (column, window, last) = match of {
        TimeOf::Column(column) => (rows.column(column).clone(), None, 0),
        TimeOf::End(column) => (rows.column(column).clone(), None, 1),
        TimeOf::Window(column) => {
            let window: &StructArray = rows.column(column).as_struct_opt().ok_or_else(not_a_time)?;
            (window.column_by_name("end").cloned().ok_or_else(not_a_time)?, window.nulls().cloned(), 1)
        }
    };
    let times = column.as_primitive_opt::<TimestampNanosecondType>().ok_or_else(not_a_time)?;
    let is_there = |row: usize| window.as_ref().is_none_or(|nulls| nulls.is_valid(row));
    let time = |(row, time): (usize, Option<i64>)| time.filter(|_| is_there(row)).map(|time| time.saturating_sub(last));
    Ok(times.iter().enumerate().map(time).collect())
}

impl Operator for IntervalJoinOperator {
    fn on_batch(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let (side, other) = (input, 1 - input);
        let mut results = Results::default();
        let mut arriving = self.arrive(side, batch, &mut results, out)?;
        let keys = self.sides[side].encode_keys(&arriving.keys)?;
        let mut pairs = Vec::new();
        for row in 0..arriving.times.len() {
            let candidates: Vec<u32> =
                self.sides[other].matching(keys.get(row), self.reach(side, arriving.times[row])).collect();
            for candidate in candidates {
                pairs.push((row as u32, candidate));
                if pairs.len() == PAIRS_MAX {
                    self.take_pairs(side, &mut arriving, &mut pairs, &mut results, out)?;
                }
            }
        }
        if !pairs.is_empty() {
            self.take_pairs(side, &mut arriving, &mut pairs, &mut results, out)?;
        }
        self.settle(side, &arriving, &mut results)?;
        if other == 0 {
            for slot in std::mem::take(&mut results.spent) {
                self.sides[0].take(slot);
                self.sides[0].forget(slot);
            }
        }
        self.emit(results, out)
    }

    fn on_watermark(&mut self, watermark: Watermark, out: &mut Output) -> Result<()> {
        let Watermark::At(time) = watermark else {
            out.watermark(watermark);
            return Ok(());
        };
        let behind = |time: EventTime, by_ns: i64| match time {
            EventTime::MIN | EventTime::MAX => time,
            time => time.saturating_add(by_ns),
        };
        self.passed.reach(behind(time, -self.config.allowed_lateness_ns));
        let mut results = Results::default();
        self.free(0, &mut results)?;
        self.free(1, &mut results)?;
        self.emit(results, out)?;
        out.watermark(Watermark::At(behind(self.passed.time(), self.held_back_ns)));
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        for (side, name) in SIDES.into_iter().enumerate() {
            let route = Route::Key(self.context.route(side).to_vec());
            snapshot.tables.extend(self.sides[side].snapshot(name, route)?);
        }
        snapshot.tables.extend(self.passed.snapshot()?);
        Ok(snapshot)
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        if table == Passed::TABLE {
            return self.passed.restore(&rows);
        }
        let side = SIDES.iter().position(|name| *name == table).ok_or_else(|| unknown_table(table))?;
        let (keys, time) = (&self.keys[side], self.config.times[side]);
        self.sides[side]
            .restore(table, &rows, |rows| Ok((evaluate_all(keys, rows).map_err(engine_error)?, times(rows, time)?)))
    }

    fn state_size(&self) -> StateSize {
        self.sides[0].size() + self.sides[1].size()
    }
}
