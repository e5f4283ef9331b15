//! Joins each left row with the nearest right row of its key: what runs.
//!
//! It never waits: a left row has its nearest right row at once, and another one when that comes or goes. What a batch
//! changes is emitted as the net change of the batch. Its state is both sides by key, in the order of what is compared,
//! with the match of each left row; what bounds it is the tables that the inputs stand for, or the idle time of a key.

use super::{AsOfJoin, AsOfJoinConfig, Near};
use crate::changed_slots::ChangedRows;
use crate::expression::{Evaluated, engine_error, evaluate_all, evaluate_or_bury};
use crate::row_table::{EncodedRows, RowCodec, RowTable};
use crate::state_table::{as_numbers, changed_rows, numbers, stored_rows, unknown_table};
use crate::touched::Touched;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use headwater_core::{
    Barrier, Batch, Operator, Output, Result, Route, Snapshot, StateSize, StateTable, TaskContext, consolidate,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::sync::Arc;

/// Bytes whose order is that of the values.
type Bytes = Arc<[u8]>;
/// What is compared, and the row.
type Place = (Bytes, Bytes);

/// The tables of the state: the rows of each side. There is one of [`Touched`] besides.
const SIDES: [&str; 2] = ["left", "right"];

/// What a row takes besides its own bytes.
const LEFT_BYTES: usize = size_of::<Place>() + size_of::<Left>();
const RIGHT_BYTES: usize = size_of::<Place>() + size_of::<i64>();

/// A left row that is there.
#[derive(Default)]
struct Left {
    multiplicity: i64,
    /// The right row that it is shown with.
    matched: Option<Bytes>,
}

/// The rows of one key.
#[derive(Default)]
struct Rows {
    left: BTreeMap<Place, Left>,
    /// With their multiplicities.
    right: BTreeMap<Place, i64>,
}

pub(super) struct AsOfJoinOperator {
    config: AsOfJoinConfig,
    context: TaskContext,
    schema: SchemaRef,
    /// For each side its keys, and at the end what is compared.
    exprs: [Vec<Arc<dyn PhysicalExpr>>; 2],
    codecs: [RowCodec; 2],
    order: RowCodec,
    keys: RowTable,
    by_key: Vec<Rows>,
    touched: Option<Touched>,
    /// Of either side.
    changed: [ChangedRows; 2],
    n_rows: usize,
    n_bytes: usize,
}

/// What rows are found by.
struct Found {
    keys: EncodedRows,
    compared: EncodedRows,
}

/// What one batch changes: a left row, the right row that it is shown with, and how often.
type Changes = Vec<(Bytes, Option<Bytes>, i64)>;

impl AsOfJoinOperator {
    pub(super) fn new(spec: &AsOfJoin, context: &TaskContext) -> Result<Self> {
        let config = spec.config.clone();
        let (mut left, mut right): (Vec<_>, Vec<_>) = config.on.iter().cloned().unzip();
        let types = left.iter().map(|key: &Arc<dyn PhysicalExpr>| key.data_type(&config.left));
        let types = types.collect::<Result<Vec<_>, _>>().map_err(engine_error)?;
        let compared = config.compared.0.data_type(&config.left).map_err(engine_error)?;
        let touched = config.ttl_ns.map(|ttl_ns| Touched::new(ttl_ns, &left, context.route(0))).transpose()?;
        left.push(config.compared.0.clone());
        right.push(config.compared.1.clone());
        let codec = |schema: &SchemaRef| RowCodec::new(schema.fields().iter().map(|field| field.data_type().clone()));
        Ok(Self {
            context: context.clone(),
            schema: spec.schema.clone(),
            exprs: [left, right],
            codecs: [codec(&config.left)?, codec(&config.right)?],
            order: RowCodec::new(std::iter::once(compared))?,
            keys: RowTable::new(types.into_iter())?,
            by_key: Vec::new(),
            touched,
            changed: Default::default(),
            n_rows: 0,
            n_bytes: 0,
            config,
        })
    }

    /// Shows left rows that have nothing to be compared by, and returns the others.
    fn without_nulls(&self, side: usize, all: Evaluated, changes: &mut Changes) -> Result<Evaluated> {
        let nulls: Vec<_> = all.columns.iter().filter_map(|column| column.logical_nulls()).collect();
        if nulls.iter().all(|nulls| nulls.null_count() == 0) {
            return Ok(all);
        }
        let is_there = |row: usize| nulls.iter().all(|nulls| nulls.is_valid(row));
        let mask = BooleanArray::from_iter((0..all.batch.n_rows()).map(|row| Some(is_there(row))));
        if side == 0 && self.config.keeps_left {
            let lonely = all.batch.filter(&compute::not(&mask)?)?;
            let rows = self.codecs[0].encode(lonely.rows.columns())?;
            changes.extend((0..lonely.n_rows()).map(|row| (rows.get(row).into(), None, lonely.diff(row))));
        }
        let columns = all.columns.iter().map(|column| compute::filter(column, &mask)).collect::<Result<_, _>>()?;
        Ok(Evaluated { batch: all.batch.filter(&mask)?, columns })
    }

    /// Returns the numbers of the keys of a batch.
    fn slots(&mut self, keys: &EncodedRows, n_rows: usize) -> Vec<u32> {
        let mut slots = Vec::with_capacity(n_rows);
        for row in 0..n_rows {
            let slot = self.slot(keys.get(row));
            if let Some(touched) = &mut self.touched {
                touched.touch(slot);
            }
            slots.push(slot);
        }
        slots
    }

    fn slot(&mut self, key: &[u8]) -> u32 {
        let (slot, _) = self.keys.intern(key);
        self.by_key.resize_with(self.keys.n_slots().max(self.by_key.len()), Rows::default);
        slot
    }

    /// Encodes what the rows of a side are found by: their keys, and what is compared.
    fn found(&self, columns: &[ArrayRef]) -> Result<Found> {
        let (compared, keys) = columns.split_last().expect("what is compared is evaluated after the keys");
        Ok(Found { keys: self.keys.encode(keys)?, compared: self.order.encode(std::slice::from_ref(compared))? })
    }

    fn take_left(&mut self, slot: u32, place: Place, diff: i64, changes: &mut Changes) {
        let rows = &mut self.by_key[slot as usize];
        let near = self.config.near;
        let n_bytes = place.0.len() + place.1.len() + LEFT_BYTES;
        let row = place.1.clone();
        let right = &rows.right;
        let is_new = !rows.left.contains_key(&place);
        if self.touched.is_some() && is_new && diff < 0 {
            // It was forgotten, and with it how it is shown.
            return;
        }
        self.changed[0].note(&place.1, !is_new);
        let matched = if is_new { nearest(near, right, &place.0) } else { None };
        let left = rows.left.entry(place.clone()).or_insert(Left { multiplicity: 0, matched });
        left.multiplicity += diff;
        changes.push((row, left.matched.clone(), diff));
        if is_new {
            self.n_rows += 1;
            self.n_bytes += n_bytes;
        }
        if left.multiplicity == 0 {
            self.changed[0].gone(&place.1);
            rows.left.remove(&place);
            self.n_rows -= 1;
            self.n_bytes -= n_bytes;
        }
    }

    /// Takes a right row and returns whether that changed what is there.
    fn take_right(&mut self, slot: u32, place: &Place, diff: i64) -> bool {
        let right = &mut self.by_key[slot as usize].right;
        let n_bytes = place.0.len() + place.1.len() + RIGHT_BYTES;
        let before = right.get(place).copied().unwrap_or(0);
        let after = before + diff;
        if self.touched.is_some() && after < 0 {
            return false;
        }
        self.changed[1].note(&place.1, before != 0);
        match (before, after) {
            (_, 0) => {
                self.changed[1].gone(&place.1);
                right.remove(place);
                self.n_rows -= 1;
                self.n_bytes -= n_bytes;
            }
            (0, _) => {
                right.insert(place.clone(), after);
                self.n_rows += 1;
                self.n_bytes += n_bytes;
            }
            _ => {
                right.insert(place.clone(), after);
            }
        }
        (before > 0) != (after > 0)
    }

    /// Finds the nearest right rows anew for the left rows that a change at some places can concern.
    fn rematch(&mut self, slot: u32, changed: &BTreeSet<Bytes>, changes: &mut Changes) {
        let near = self.config.near;
        let Rows { left, right } = &mut self.by_key[slot as usize];
        for at in changed {
            for ((compared, row), left) in left.range_mut(concerned(near, right, at)) {
                let matched = nearest(near, right, compared);
                if matched != left.matched {
                    let before = std::mem::replace(&mut left.matched, matched.clone());
                    changes.push((row.clone(), before, -left.multiplicity));
                    changes.push((row.clone(), matched, left.multiplicity));
                }
            }
        }
    }

    fn forget_if_empty(&mut self, slot: u32) {
        let rows = &self.by_key[slot as usize];
        if rows.left.is_empty() && rows.right.is_empty() {
            if let Some(touched) = &mut self.touched {
                touched.gone(slot, &self.keys);
            }
            self.keys.remove(slot);
        }
    }

    fn emit(&self, mut changes: Changes, out: &mut Output) -> Result<()> {
        changes.retain(|(_, right, diff)| *diff != 0 && (self.config.keeps_left || right.is_some()));
        if changes.is_empty() {
            return Ok(());
        }
        let mut rights: Vec<&[u8]> = Vec::new();
        let places = changes.iter().map(|(_, right, _)| {
            right.as_ref().map(|right| {
                rights.push(right);
                u32::try_from(rights.len() - 1).unwrap_or(u32::MAX)
            })
        });
        let places: UInt32Array = places.collect();
        let mut columns = self.codecs[0].decode(changes.iter().map(|(left, _, _)| &**left))?;
        if rights.is_empty() {
            let nulls = self.config.right.fields().iter().map(|f| new_null_array(f.data_type(), changes.len()));
            columns.extend(nulls);
        } else {
            for column in self.codecs[1].decode(rights)? {
                columns.push(compute::take(&column, &places, None)?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(changes.len()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        let diffs = Int64Array::from_iter_values(changes.iter().map(|(_, _, diff)| *diff));
        out.emit(consolidate(&Batch::changing(rows, diffs)?)?);
        Ok(())
    }
}

/// The state as tables.
impl AsOfJoinOperator {
    fn schema_of(&self, side: usize) -> &SchemaRef {
        if side == 0 { &self.config.left } else { &self.config.right }
    }

    fn changed_rows(&mut self, side: usize) -> Result<Option<StateTable>> {
        let rows_of = |rows: &Rows| -> Vec<Box<[u8]>> {
            let row = |(_, row): &Place| Box::from(&**row);
            if side == 0 { rows.left.keys().map(row).collect() } else { rows.right.keys().map(row).collect() }
        };
        let all = || self.by_key.iter().flat_map(rows_of).collect();
        let changed = self.changed[side].take().unwrap_or_else(all);
        if changed.is_empty() {
            return Ok(None);
        }
        let columns = self.codecs[side].decode(changed.iter().map(AsRef::as_ref))?;
        let rows = RecordBatch::try_new(self.schema_of(side).clone(), columns)?;
        let Found { keys, compared } = self.found(&evaluate_all(&self.exprs[side], &rows).map_err(engine_error)?)?;
        let multiplicity = |row: usize| {
            let of_key = self.keys.find(keys.get(row)).map(|slot| &self.by_key[slot as usize]);
            let place: Place = (compared.get(row).into(), Arc::from(&*changed[row]));
            of_key.and_then(|rows| match side {
                0 => rows.left.get(&place).map(|left| left.multiplicity),
                _ => rows.right.get(&place).copied(),
            })
        };
        let multiplicities: Vec<Option<i64>> = (0..changed.len()).map(multiplicity).collect();
        let is_there = multiplicities.iter().map(Option::is_some).collect();
        let values =
            vec![("multiplicity".to_owned(), numbers(multiplicities.into_iter().map(Option::unwrap_or_default)))];
        changed_rows((SIDES[side], Route::Key(self.context.route(side).to_vec())), &rows, is_there, values)
    }

    fn restore_rows(&mut self, side: usize, rows: &RecordBatch) -> Result<()> {
        let (rows, more) = stored_rows(SIDES[side], rows, self.schema_of(side), &[DataType::Int64])?;
        let Found { keys, compared } = self.found(&evaluate_all(&self.exprs[side], &rows).map_err(engine_error)?)?;
        let (encoded, multiplicities) = (self.codecs[side].encode(rows.columns())?, as_numbers(&more[0])?);
        for (row, multiplicity) in multiplicities.into_iter().enumerate() {
            let slot = self.slot(keys.get(row));
            let place: Place = (compared.get(row).into(), encoded.get(row).into());
            self.n_bytes += place.0.len() + place.1.len() + if side == 0 { LEFT_BYTES } else { RIGHT_BYTES };
            self.n_rows += 1;
            let Rows { left, right } = &mut self.by_key[slot as usize];
            if side == 0 {
                left.insert(place, Left { multiplicity, matched: None });
            } else {
                right.insert(place, multiplicity);
            }
        }
        self.changed[side].start();
        Ok(())
    }
}

/// The least bytes that are greater.
fn after(at: &Bytes) -> Bytes {
    at.iter().copied().chain([0]).collect()
}

/// The place before every row where this is compared.
fn start(at: Bytes) -> Place {
    (at, Arc::from([].as_slice()))
}

fn last_before(right: &BTreeMap<Place, i64>, end: Bytes) -> Option<&Place> {
    right.range(..start(end)).rev().find(|(_, n)| **n > 0).map(|(place, _)| place)
}

fn first_from(right: &BTreeMap<Place, i64>, from: Bytes) -> Option<&Place> {
    right.range(start(from)..).find(|(_, n)| **n > 0).map(|(place, _)| place)
}

/// Returns the right row that is nearest; among equally near ones the last.
fn nearest(near: Near, right: &BTreeMap<Place, i64>, at: &Bytes) -> Option<Bytes> {
    let found = match near {
        Near::AtOrBefore => last_before(right, after(at)),
        Near::Before => last_before(right, at.clone()),
        Near::AtOrAfter => first_from(right, at.clone()).and_then(|first| last_before(right, after(&first.0))),
        Near::After => first_from(right, after(at)).and_then(|first| last_before(right, after(&first.0))),
    };
    found.map(|(_, row)| row.clone())
}

/// Returns the left rows whose nearest right row a change at `at` can have changed: those that no right row beyond it is
/// nearer to.
fn concerned(near: Near, right: &BTreeMap<Place, i64>, at: &Bytes) -> (Bound<Place>, Bound<Place>) {
    let next = || first_from(right, after(at)).map(|(compared, _)| compared.clone());
    let previous = || last_before(right, at.clone()).map(|(compared, _)| compared.clone());
    let from = |at: Option<Bytes>| at.map_or(Unbounded, |at| Included(start(at)));
    let until = |at: Option<Bytes>| at.map_or(Unbounded, |at| Excluded(start(at)));
    match near {
        Near::AtOrBefore => (from(Some(at.clone())), until(next())),
        Near::Before => (from(Some(after(at))), until(next().map(|next| after(&next)))),
        Near::AtOrAfter => (from(previous().map(|previous| after(&previous))), until(Some(after(at)))),
        Near::After => (from(previous()), until(Some(at.clone()))),
    }
}

impl Operator for AsOfJoinOperator {
    fn on_batch(&mut self, input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let mut changes = Changes::new();
        let evaluated = evaluate_or_bury(&self.exprs[input], batch, &self.context, out)?;
        let Evaluated { batch, columns } = self.without_nulls(input, evaluated, &mut changes)?;
        let n_rows = batch.n_rows();
        let Found { keys, compared } = self.found(&columns)?;
        let rows = self.codecs[input].encode(batch.rows.columns())?;
        let slots = self.slots(&keys, n_rows);
        let mut changed: BTreeMap<u32, BTreeSet<Bytes>> = BTreeMap::new();
        for (row, slot) in slots.into_iter().enumerate() {
            let place: Place = (compared.get(row).into(), rows.get(row).into());
            let touched = changed.entry(slot).or_default();
            if input == 0 {
                self.take_left(slot, place, batch.diff(row), &mut changes);
            } else if self.take_right(slot, &place, batch.diff(row)) {
                touched.insert(place.0);
            }
        }
        for (slot, places) in changed {
            self.rematch(slot, &places, &mut changes);
            self.forget_if_empty(slot);
        }
        self.emit(changes, out)
    }

    fn on_barrier(&mut self, barrier: &Barrier, _out: &mut Output) -> Result<()> {
        let expired = self.touched.as_mut().map(|touched| touched.expire(barrier.time, &self.keys));
        for slot in expired.unwrap_or_default() {
            let Rows { left, right } = std::mem::take(&mut self.by_key[slot as usize]);
            left.keys().for_each(|(_, row)| self.changed[0].gone(row));
            right.keys().for_each(|(_, row)| self.changed[1].gone(row));
            self.n_rows -= left.len() + right.len();
            let bytes = |(compared, row): &Place| compared.len() + row.len();
            self.n_bytes -= left.keys().map(|place| bytes(place) + LEFT_BYTES).sum::<usize>();
            self.n_bytes -= right.keys().map(|place| bytes(place) + RIGHT_BYTES).sum::<usize>();
            self.keys.remove(slot);
        }
        Ok(())
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut snapshot = Snapshot::default();
        for side in [0, 1] {
            snapshot.tables.extend(self.changed_rows(side)?);
        }
        if let Some(touched) = &mut self.touched {
            snapshot.tables.extend(touched.snapshot(&self.keys)?);
        }
        Ok(snapshot)
    }

    fn restore(&mut self, table: &str, rows: RecordBatch) -> Result<()> {
        if let (Touched::TABLE, Some(touched)) = (table, &mut self.touched) {
            touched.restore(&mut self.keys, &rows)?;
            self.by_key.resize_with(self.keys.n_slots().max(self.by_key.len()), Rows::default);
            return Ok(());
        }
        let side = SIDES.iter().position(|name| *name == table).ok_or_else(|| unknown_table(table))?;
        self.restore_rows(side, &rows)
    }

    fn restore_end(&mut self) -> Result<()> {
        // Between two batches each left row is shown with the nearest right row.
        for Rows { left, right } in &mut self.by_key {
            for ((compared, _), left) in left {
                left.matched = nearest(self.config.near, right, compared);
            }
        }
        Ok(())
    }

    fn state_size(&self) -> StateSize {
        StateSize { rows: self.n_rows as u64, bytes: self.n_bytes as u64 + self.keys.size().bytes }
    }
}
