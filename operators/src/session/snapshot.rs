//! Snapshots of sessions: a table of the rows with what was shown of them, where the newest complete session of each key
//! ended, and how far sessions are complete. Which sessions there are follows from the rows.

use super::operator::SessionOperator;
use super::partition::{Entry, Partition};
use crate::expression::{engine_error, evaluate};
use crate::state_table::{
    TIME, as_numbers, as_times, everyone, named, numbers, removed_keys, route_by, rows_of, stored_columns, times,
    unknown_table,
};
use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute;
use arrow::datatypes::{DataType, FieldRef};
use headwater_core::{Error, Result, Snapshot, StateTable};
use std::collections::BTreeSet;

const ROWS: &str = "rows";
const LET_GO: &str = "let_go";
const PASSED: &str = "passed";

/// A row with its time, where it has one, and what is kept of it.
type Kept<'a> = (&'a [u8], Option<i64>, Entry);

/// What was found of a row: its time, where it has one, and what is kept of it.
type Found = Option<(Option<i64>, Entry)>;

impl SessionOperator {
    fn input_fields(&self) -> &[FieldRef] {
        &self.schema.fields()[..self.schema.fields().len() - 1]
    }

    pub(super) fn save(&mut self) -> Result<Snapshot> {
        let mut tables: Vec<StateTable> = self.save_rows()?.into_iter().collect();
        tables.extend(self.save_let_go()?);
        if self.time.watermark != self.stored_watermark {
            self.stored_watermark = self.time.watermark;
            tables.push(everyone(PASSED, vec![("watermark".to_owned(), times([Some(self.stored_watermark)]))])?);
        }
        Ok(Snapshot { tables })
    }

    fn save_rows(&mut self) -> Result<Option<StateTable>> {
        let route = route_by(self.context.route(0), Some)?;
        let changed = self.changed.take();
        let (mut kept, mut removed): (Vec<Kept<'_>>, Vec<&[u8]>) = (Vec::new(), Vec::new());
        if let Some(rows) = &changed {
            for (row, found) in rows.iter().zip(self.find(rows)?) {
                match found {
                    Some((at, entry)) => kept.push((row, at, entry)),
                    None => removed.push(row),
                }
            }
        } else {
            for partition in &self.partitions {
                let entries = partition.entries();
                kept.extend(entries.filter_map(|(at, row)| Some((row, Some(at), *partition.entry(at, row)?))));
            }
            let timeless = self.timeless.iter().flatten();
            kept.extend(timeless.map(|(row, n)| (row.as_ref(), None, Entry { n: *n, ..Entry::default() })));
        }
        if kept.is_empty() && removed.is_empty() {
            return Ok(None);
        }
        let layout = |rows: Vec<&[u8]>| Ok::<_, Error>(named(self.input_fields(), self.codec.decode(rows)?));
        let mut columns = layout(kept.iter().map(|(row, ..)| *row).collect())?;
        let key = (0..columns.len()).collect();
        let entries = || kept.iter().map(|(_, _, entry)| entry);
        let shown = |of: fn(&Entry) -> i64| times(entries().map(|entry| (entry.n_shown != 0).then(|| of(entry))));
        columns.extend([
            ("time".to_owned(), times(kept.iter().map(|(_, at, _)| *at))),
            ("n".to_owned(), numbers(entries().map(|entry| entry.n))),
            ("n_shown".to_owned(), numbers(entries().map(|entry| entry.n_shown))),
            ("shown_start".to_owned(), shown(|entry| entry.shown_in.0)),
            ("shown_end".to_owned(), shown(|entry| entry.shown_in.1)),
        ]);
        let rows = rows_of(columns, kept.len())?;
        let n_removed = removed.len();
        let removed = removed_keys(layout(removed)?, n_removed)?;
        Ok(Some(StateTable { name: ROWS, key, route, rows, removed }))
    }

    /// Finds what is kept of rows: the time of each and its entry.
    fn find(&self, rows: &[Box<[u8]>]) -> Result<Vec<Found>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let columns = self.codec.decode(rows.iter().map(AsRef::as_ref))?;
        let keys: Vec<ArrayRef> = self.key_columns.iter().map(|column| columns[*column].clone()).collect();
        let keys = self.keys.encode(&keys)?;
        let fields = self.input_fields().iter();
        let columns = fields.map(|field| field.name().clone()).zip(columns).collect();
        let batch = rows_of(columns, rows.len())?;
        let at = as_times(&evaluate(&self.exprs[0], &batch).map_err(engine_error)?)?;
        let found = rows.iter().zip(at).enumerate().map(|(index, (row, at))| match at {
            Some(at) => {
                let slot = self.keys.find(keys.get(index))?;
                self.partitions[slot as usize].entry(at, row).map(|entry| (Some(at), *entry))
            }
            None => {
                let n = *self.timeless.as_ref()?.get(row)?;
                Some((None, Entry { n, ..Entry::default() }))
            }
        });
        Ok(found.collect())
    }

    fn save_let_go(&mut self) -> Result<Option<StateTable>> {
        let place = |column: usize| self.key_columns.iter().position(|key| *key == column);
        let route = route_by(self.context.route(0), place)?;
        let mut is_first = false;
        let taken = self.changed_keys.take(|| {
            is_first = true;
            self.keys.slots()
        });
        let gone_of = |slot: u32| self.partitions[slot as usize].gone();
        let (slots, without): (Vec<u32>, Vec<u32>) = taken.slots.iter().partition(|slot| gone_of(**slot).is_some());
        let is_back = |key: &[u8]| self.keys.find(key).and_then(gone_of).is_some();
        let mut removed: BTreeSet<&[u8]> =
            taken.removed.iter().map(AsRef::as_ref).filter(|key| !is_back(key)).collect();
        if !is_first {
            removed.extend(without.iter().map(|slot| self.keys.row(*slot)));
        }
        if slots.is_empty() && removed.is_empty() {
            return Ok(None);
        }
        let fields: Vec<FieldRef> = self.key_columns.iter().map(|key| self.schema.fields()[*key].clone()).collect();
        let mut columns = named(&fields, self.keys.columns(&slots)?);
        columns.push(("last".to_owned(), times(slots.iter().map(|slot| gone_of(*slot)))));
        let rows = rows_of(columns, slots.len())?;
        let n_removed = removed.len();
        let removed = removed_keys(named(&fields, self.keys.decode(removed)?), n_removed)?;
        Ok(Some(StateTable { name: LET_GO, key: (0..fields.len()).collect(), route, rows, removed }))
    }

    /// Returns the numbers of keys, new ones among them.
    fn slots_of(&mut self, keys: &[ArrayRef], n_rows: usize) -> Result<Vec<u32>> {
        let encoded = self.keys.encode(keys)?;
        let slots = (0..n_rows).map(|row| self.keys.intern(encoded.get(row)).0).collect();
        self.partitions.resize_with(self.keys.n_slots().max(self.partitions.len()), Partition::default);
        Ok(slots)
    }

    pub(super) fn take_over(&mut self, table: &str, rows: &RecordBatch) -> Result<()> {
        match table {
            ROWS => self.take_over_rows(rows),
            LET_GO => {
                let columns = stored_columns(table, rows, self.keys.types().iter().chain(&[TIME]))?;
                let (keys, last) = columns.split_at(self.key_columns.len());
                let slots = self.slots_of(keys, rows.num_rows())?;
                for (slot, last) in slots.into_iter().zip(as_times(&last[0])?) {
                    last.into_iter().for_each(|last| self.partitions[slot as usize].restore_gone(last));
                    self.changed_keys.restored(slot);
                }
                Ok(())
            }
            PASSED => {
                // The latest counts, as for other windows: a session that one subtask has let go is not begun again.
                let columns = stored_columns(table, rows, &[TIME])?;
                let watermark = as_times(&columns[0])?.into_iter().flatten().max();
                self.time.watermark = self.time.watermark.max(watermark.unwrap_or(i64::MIN));
                Ok(())
            }
            _ => Err(unknown_table(table)),
        }
    }

    fn take_over_rows(&mut self, rows: &RecordBatch) -> Result<()> {
        let kept = [TIME, DataType::Int64, DataType::Int64, TIME, TIME];
        let columns = stored_columns(ROWS, rows, self.codec.types().iter().chain(&kept))?;
        let (columns, kept) = columns.split_at(self.codec.types().len());
        let keys: Vec<ArrayRef> = self.key_columns.iter().map(|column| columns[*column].clone()).collect();
        let encoded = self.codec.encode(columns)?;
        let (at, n, n_shown) = (as_times(&kept[0])?, as_numbers(&kept[1])?, as_numbers(&kept[2])?);
        let (start, end) = (as_times(&kept[3])?, as_times(&kept[4])?);
        let timed: Vec<usize> = (0..at.len()).filter(|row| at[*row].is_some()).collect();
        let places: UInt32Array = timed.iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX)).collect();
        let keys: Vec<ArrayRef> = keys.iter().map(|key| compute::take(key, &places, None)).collect::<Result<_, _>>()?;
        let slots = self.slots_of(&keys, timed.len())?;
        for (row, slot) in timed.into_iter().zip(slots) {
            let shown_in = (start[row].unwrap_or_default(), end[row].unwrap_or_default());
            let entry = Entry { n: n[row], n_shown: n_shown[row], shown_in };
            self.partitions[slot as usize].restore(at[row].unwrap_or_default(), encoded.get(row), entry);
        }
        for row in (0..at.len()).filter(|row| at[*row].is_none()) {
            let timeless = self.timeless.as_mut().ok_or_else(|| Error::data("the state has rows without a time"))?;
            timeless.insert(encoded.get(row).into(), n[row]);
        }
        self.changed.start();
        Ok(())
    }

    /// Finds the sessions of restored rows.
    pub(super) fn make_sessions(&mut self) {
        self.stored_watermark = self.time.watermark;
        for (slot, partition) in (0..).zip(&mut self.partitions) {
            let next = partition.restore_sessions(self.gap_ns, self.time);
            self.deadlines.extend(next.map(|next| (next, slot)));
        }
    }
}
