//! Joins two changing tables: what runs. A symmetric hash join on Z-sets.
//!
//! It never waits for one side: rows of either side join what is there of the other. What a batch changes is emitted
//! as the net change of the batch. Its state is both sides, see `side`; pairs are looked at `PAIRS_MAX` at a time.

use super::side::Side;
use super::{Join, JoinConfig, JoinKind};
use crate::expression::{Evaluated, engine_error, evaluate_all, evaluate_or_bury};
use crate::repeat::repeated;
use crate::state_table::unknown_table;
use arrow::array::{
    Array, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{
    Barrier, Batch, Error, Operator, Output, Result, Route, Snapshot, StateSize, TaskContext, consolidate,
};
use std::sync::Arc;

/// The tables of the state: the rows of each side.
const SIDES: [&str; 2] = ["left", "right"];

/// How many pairs are looked at in one go: what bounds the memory of a filter over many pairs.
const PAIRS_MAX: usize = 8192;

/// What becomes of single rows of one side, besides pairs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    /// Nothing.
    No,
    /// They are in the output while they have no match.
    Unmatched,
    /// They are in the output while they have a match.
    Matched,
    /// They are in the output with whether they have a match.
    Marked,
}

impl Alone {
    /// Whether a row is in the output, given whether it has a match.
    fn shows(self, matched: bool) -> bool {
        match self {
            Self::No => false,
            Self::Unmatched => !matched,
            Self::Matched => matched,
            Self::Marked => true,
        }
    }
}

pub(super) struct JoinOperator {
    config: JoinConfig,
    context: TaskContext,
    schema: SchemaRef,
    output_changing: bool,
    /// Left columns, then right ones.
    pair_schema: SchemaRef,
    keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    sides: [Side; 2],
    alone: [Alone; 2],
}

/// The change of one batch while it is put together.
#[derive(Default)]
struct Change {
    parts: Vec<Batch>,
}

/// A batch on its way through the join, with the numbers of its rows.
struct Arriving {
    batch: Batch,
    slots: Vec<u32>,
    is_new: Vec<bool>,
}

impl JoinOperator {
    pub(super) fn new(spec: &Join, context: &TaskContext) -> Result<Self> {
        let config = spec.config.clone();
        let (left_keys, right_keys): (Vec<_>, Vec<_>) = config.on.iter().cloned().unzip();
        let types = left_keys.iter().map(|key: &Arc<dyn PhysicalExpr>| key.data_type(&config.left));
        let types = types.collect::<Result<Vec<_>, _>>().map_err(engine_error)?;
        let fields = config.left.fields().iter().chain(config.right.fields()).cloned().collect::<Vec<_>>();
        let alone = match config.kind {
            JoinKind::Inner => [Alone::No, Alone::No],
            JoinKind::Left | JoinKind::LeftAnti => [Alone::Unmatched, Alone::No],
            JoinKind::Right => [Alone::No, Alone::Unmatched],
            JoinKind::Full => [Alone::Unmatched, Alone::Unmatched],
            JoinKind::LeftSemi => [Alone::Matched, Alone::No],
            JoinKind::LeftMark => [Alone::Marked, Alone::No],
        };
        Ok(Self {
            sides: [
                Side::new(&config.left, &types, spec.ttl_ns[0])?,
                Side::new(&config.right, &types, spec.ttl_ns[1])?,
            ],
            config,
            context: context.clone(),
            schema: spec.schema.clone(),
            output_changing: spec.output_changing(),
            pair_schema: Arc::new(Schema::new(fields)),
            keys: [left_keys, right_keys],
            alone,
        })
    }

    /// Takes out rows whose key has a null: they match nothing, and need not be kept.
    fn without_null_keys(&self, side: usize, all: Evaluated, change: &mut Change) -> Result<Evaluated> {
        if self.config.null_equals_null || all.columns.iter().all(|column| column.logical_null_count() == 0) {
            return Ok(all);
        }
        let nulls: Vec<_> = all.columns.iter().filter_map(|column| column.logical_nulls()).collect();
        let has_key = |row: usize| nulls.iter().all(|nulls| nulls.is_valid(row));
        let mask = BooleanArray::from_iter((0..all.batch.n_rows()).map(|row| Some(has_key(row))));
        if self.alone[side].shows(false) {
            let lonely = all.batch.filter(&compute::not(&mask)?)?;
            let marks = BooleanArray::from(vec![false; lonely.n_rows()]);
            change.parts.push(self.single(side, lonely, marks)?);
        }
        let columns = all.columns.iter().map(|column| compute::filter(column, &mask)).collect::<Result<_, _>>()?;
        Ok(Evaluated { batch: all.batch.filter(&mask)?, columns })
    }

    /// Lays rows of one side out as output rows without the other side; `marks` says which of them have a match.
    fn single(&self, side: usize, rows: Batch, marks: BooleanArray) -> Result<Batch> {
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
        } else if self.alone[side] == Alone::Marked {
            columns.push(Arc::new(marks));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n_rows));
        Ok(rows.with_rows(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?))
    }

    fn single_kept(&self, side: usize, slots: &[u32], diffs: Vec<i64>, marks: Vec<bool>) -> Result<Batch> {
        let schema = if side == 0 { &self.config.left } else { &self.config.right };
        let options = RecordBatchOptions::new().with_row_count(Some(slots.len()));
        let columns = self.sides[side].columns(slots)?;
        let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options)?;
        self.single(side, Batch::changing(rows, Int64Array::from(diffs))?, BooleanArray::from(marks))
    }

    /// Looks at pairs of an arriving row (by index) and a kept row of the other side (by number), and keeps those
    /// that satisfy the filter.
    fn take_pairs(
        &mut self,
        side: usize,
        arriving: &Arriving,
        pairs: &mut Vec<(u32, u32)>,
        change: &mut Change,
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
        let mut diffs = Vec::with_capacity(numbered.n_rows());
        for index in 0..numbered.n_rows() {
            let pair = usize::try_from(numbered.diff(index) - 1).unwrap_or(0);
            let (row, other) = (indices[pair] as usize, others[pair]);
            let diff = arriving.batch.diff(row);
            let n_others = self.sides[1 - side].kept(other).multiplicity;
            diffs.push(diff * n_others);
            // Nobody asks how many matches the rows of a side have that are never shown alone.
            if self.alone[1 - side] != Alone::No {
                self.sides[1 - side].matched(other, diff);
            }
            if arriving.is_new[row] && self.alone[side] != Alone::No {
                self.sides[side].matched(arriving.slots[row], n_others);
            }
        }
        if self.config.kind.has_both_sides() {
            let options = RecordBatchOptions::new().with_row_count(Some(diffs.len()));
            let columns = numbered.rows.columns().to_vec();
            let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
            change.parts.push(Batch::changing(rows, Int64Array::from(diffs))?);
        }
        Ok(())
    }

    /// Emits arriving rows that are in the output by themselves.
    fn arrive_alone(&self, side: usize, arriving: &Arriving, change: &mut Change) -> Result<()> {
        let matched = arriving.slots.iter().map(|slot| Some(self.sides[side].kept(*slot).matches != 0));
        let matched = BooleanArray::from_iter(matched);
        let mask = BooleanArray::from_iter(matched.values().iter().map(|m| Some(self.alone[side].shows(m))));
        let marks = compute::filter(&matched, &mask)?.as_boolean().clone();
        change.parts.push(self.single(side, arriving.batch.filter(&mask)?, marks)?);
        Ok(())
    }

    /// Emits kept rows of the other side that found their first match or lost their last. `before` has each row that
    /// was in a pair with the number of its matches before the batch.
    fn turn_others(&self, other: usize, before: &[(u32, i64)], change: &mut Change) -> Result<()> {
        let (mut slots, mut diffs, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, matches_before) in before {
            let kept = self.sides[other].kept(*slot);
            let (was, is) = (*matches_before != 0, kept.matches != 0);
            if was == is {
                continue;
            }
            for (matched, diff) in [(was, -kept.multiplicity), (is, kept.multiplicity)] {
                if self.alone[other].shows(matched) {
                    slots.push(*slot);
                    diffs.push(diff);
                    marks.push(matched);
                }
            }
        }
        change.parts.push(self.single_kept(other, &slots, diffs, marks)?);
        Ok(())
    }

    fn emit(&self, change: Change, out: &mut Output) -> Result<()> {
        let parts: Vec<Batch> = change.parts.into_iter().filter(|part| !part.is_empty()).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let all = Batch::concat(&self.schema, &parts)?;
        out.emit(if self.output_changing { consolidate(&all)? } else { repeated(&all)? });
        Ok(())
    }
}

impl Operator for JoinOperator {
    fn on_batch(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let (side, other) = (input, 1 - input);
        let mut change = Change::default();
        let evaluated = evaluate_or_bury(&self.keys[side], batch, &self.context, out)?;
        let Evaluated { batch, columns: keys } = self.without_null_keys(side, evaluated, &mut change)?;
        let rows = self.sides[side].encode(batch.rows.columns())?;
        let keys = self.sides[side].encode_keys(&keys)?;
        let n_rows = batch.n_rows();
        let mut arriving = Arriving { batch, slots: Vec::with_capacity(n_rows), is_new: Vec::with_capacity(n_rows) };
        for row in 0..n_rows {
            let (slot, is_new) = self.sides[side].place(rows.get(row), keys.get(row));
            arriving.slots.push(slot);
            arriving.is_new.push(is_new);
        }
        let mut before: Vec<(u32, i64)> = Vec::new();
        let mut is_noted = hashbrown::HashSet::new();
        let mut pairs = Vec::new();
        for row in 0..n_rows {
            for candidate in 0..self.sides[other].with_key(keys.get(row)).len() {
                let slot = self.sides[other].with_key(keys.get(row))[candidate];
                if self.alone[other] != Alone::No && is_noted.insert(slot) {
                    before.push((slot, self.sides[other].kept(slot).matches));
                }
                pairs.push((row as u32, slot));
                if pairs.len() == PAIRS_MAX {
                    self.take_pairs(side, &arriving, &mut pairs, &mut change, out)?;
                }
            }
        }
        if !pairs.is_empty() {
            self.take_pairs(side, &arriving, &mut pairs, &mut change, out)?;
        }
        if self.alone[side] != Alone::No {
            self.arrive_alone(side, &arriving, &mut change)?;
        }
        if !before.is_empty() {
            self.turn_others(other, &before, &mut change)?;
        }
        for (row, slot) in arriving.slots.iter().enumerate() {
            self.sides[side].count(*slot, arriving.batch.diff(row));
        }
        let mut slots = arriving.slots;
        slots.sort_unstable();
        slots.dedup();
        for slot in slots {
            if self.sides[side].kept(slot).multiplicity == 0 {
                self.sides[side].remove(slot);
            }
        }
        self.emit(change, out)
    }

    fn on_barrier(&mut self, barrier: &Barrier, _out: &mut Output) -> Result<()> {
        self.sides.iter_mut().for_each(|side| side.expire(barrier.time));
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        for (side, name) in SIDES.into_iter().enumerate() {
            let route = Route::Key(self.context.route(side).to_vec());
            snapshot.tables.extend(self.sides[side].snapshot(name, route)?);
        }
        Ok(snapshot)
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        let side = SIDES.iter().position(|name| *name == table).ok_or_else(|| unknown_table(table))?;
        let keys = &self.keys[side];
        self.sides[side].restore(table, &rows, |rows| evaluate_all(keys, rows).map_err(engine_error))
    }

    fn state_size(&self) -> StateSize {
        self.sides[0].size() + self.sides[1].size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{batch, context, expr, schema};

    #[test]
    fn rows_that_are_gone_leave_no_state() {
        let (left, right) = (schema("a int"), schema("b int"));
        let on = vec![(expr("a", &left), expr("b", &right))];
        let kind = JoinKind::Full;
        let (l, r) = (left.clone(), right.clone());
        let config = JoinConfig { kind, left, right, on, filter: None, null_equals_null: false, inputs_changing: true };
        let mut join = JoinOperator::new(&Join::new(config).expect("a join"), &context()).expect("it builds");
        let mut out = Output::default();
        for (input, schema) in [(0, &l), (1, &r)] {
            let rows = |diff| batch(schema, &[(diff, vec![Some("1".into())]), (diff, vec![Some("2".into())])]);
            join.on_batch(input, rows(1), &mut out).expect("a good batch");
            assert_eq!(join.sides[input].len(), 2);
            join.on_batch(input, rows(-1), &mut out).expect("a good batch");
            assert_eq!(join.sides[input].len(), 0);
        }
    }
}
