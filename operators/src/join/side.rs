//! One side of a join: its rows by key.
//!
//! It never knows the other side. Its state is every row that is there, with its multiplicity and the number of rows
//! of the other side that it matches; what bounds it is the table that the input stands for, or
//! the time after which a row is forgotten.

use crate::changed_slots::ChangedSlots;
use crate::idle::Idle;
use crate::row_table::{EncodedRows, RowTable};
use crate::state_table::{TIME, as_numbers, as_times, keyed_table, numbers, stored_rows, times};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use headwater_core::{EventTime, Result, Route, StateSize, StateTable};

/// A row that is there.
#[derive(Default, Clone)]
pub(super) struct Kept {
    /// How often it is there.
    pub(super) multiplicity: i64,
    /// How many rows of the other side it matches, by multiplicity.
    pub(super) matches: i64,
    key: u32,
    /// Where it is in the list of its key.
    place: u32,
}

/// The rows of one side.
pub(super) struct Side {
    schema: SchemaRef,
    rows: RowTable,
    kept: Vec<Kept>,
    keys: RowTable,
    by_key: Vec<Vec<u32>>,
    idle: Option<Idle>,
    changed: ChangedSlots,
}

impl Side {
    pub(super) fn new(schema: &SchemaRef, keys: &[DataType], ttl_ns: Option<i64>) -> Result<Self> {
        let rows = RowTable::new(schema.fields().iter().map(|field| field.data_type().clone()))?;
        let (keys, idle) = (RowTable::new(keys.iter().cloned())?, ttl_ns.map(Idle::new));
        let (schema, changed) = (schema.clone(), ChangedSlots::default());
        Ok(Self { schema, rows, kept: Vec::new(), keys, by_key: Vec::new(), idle, changed })
    }

    pub(super) fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.rows.encode(columns)
    }

    pub(super) fn encode_keys(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.keys.encode(columns)
    }

    /// Returns the rows with a key.
    pub(super) fn with_key(&self, key: &[u8]) -> &[u32] {
        self.keys.find(key).map_or(&[], |key| &self.by_key[key as usize])
    }

    /// Returns the number of a row, which is new with multiplicity 0 if it is not there.
    pub(super) fn place(&mut self, row: &[u8], key: &[u8]) -> (u32, bool) {
        let (slot, is_new) = self.put(row, key);
        self.changed.touch(slot);
        if let Some(idle) = &mut self.idle {
            idle.touch(slot);
        }
        (slot, is_new)
    }

    fn put(&mut self, row: &[u8], key: &[u8]) -> (u32, bool) {
        let (slot, is_new) = self.rows.intern(row);
        if is_new {
            let (key, _) = self.keys.intern(key);
            self.by_key.resize_with(self.keys.n_slots().max(self.by_key.len()), Vec::new);
            let bucket = &mut self.by_key[key as usize];
            bucket.push(slot);
            self.kept.resize_with(self.rows.n_slots().max(self.kept.len()), Kept::default);
            let place = u32::try_from(bucket.len() - 1).unwrap_or(u32::MAX);
            self.kept[slot as usize] = Kept { multiplicity: 0, matches: 0, key, place };
        }
        (slot, is_new)
    }

    pub(super) fn kept(&self, slot: u32) -> &Kept {
        &self.kept[slot as usize]
    }

    /// Counts a row in or out that has just been placed.
    pub(super) fn count(&mut self, slot: u32, diff: i64) {
        self.kept[slot as usize].multiplicity += diff;
    }

    /// Counts rows of the other side that a row matches, or does not match any more.
    pub(super) fn matched(&mut self, slot: u32, n: i64) {
        self.kept[slot as usize].matches += n;
        self.changed.touch(slot);
    }

    /// Forgets a row.
    pub(super) fn remove(&mut self, slot: u32) {
        if let Some(idle) = &mut self.idle {
            idle.gone(slot);
        }
        self.take(slot);
    }

    /// Forgets rows that have not come or gone for long, at the end of an epoch. What is shown of them stays, so rows of
    /// the other side do not lose a match.
    pub(super) fn expire(&mut self, now: EventTime) {
        for slot in self.idle.as_mut().map(|idle| idle.expire(now)).unwrap_or_default() {
            self.take(slot);
        }
    }

    pub(super) fn size(&self) -> StateSize {
        let kept = self.kept.len() * (size_of::<Kept>() + size_of::<u32>());
        let keys = self.keys.size();
        let lists = keys.rows as usize * size_of::<Vec<u32>>();
        let rows = self.rows.size();
        StateSize { rows: rows.rows, bytes: rows.bytes + keys.bytes + (kept + lists) as u64 }
    }

    fn take(&mut self, slot: u32) {
        self.changed.gone(slot, self.rows.row(slot));
        let Kept { key, place, .. } = self.kept[slot as usize];
        let bucket = &mut self.by_key[key as usize];
        bucket.swap_remove(place as usize);
        if let Some(moved) = bucket.get(place as usize) {
            self.kept[*moved as usize].place = place;
        }
        if bucket.is_empty() {
            self.by_key[key as usize] = Vec::new();
            self.keys.remove(key);
        }
        self.rows.remove(slot);
    }

    /// Returns what has changed since the last call, as a table of this name.
    pub(super) fn snapshot(&mut self, name: &'static str, route: Route) -> Result<Option<StateTable>> {
        let taken = self.changed.take(|| self.rows.slots());
        let kept = || taken.slots.iter().map(|slot| &self.kept[*slot as usize]);
        let mut values = vec![
            ("multiplicity".to_owned(), numbers(kept().map(|kept| kept.multiplicity))),
            ("matches".to_owned(), numbers(kept().map(|kept| kept.matches))),
        ];
        if let Some(idle) = &self.idle {
            values.push(("touched".to_owned(), times(taken.slots.iter().map(|slot| idle.last(*slot)))));
        }
        keyed_table((name, route), (&self.rows, self.schema.fields()), taken, values)
    }

    /// Takes over rows of a snapshot; `keys` evaluates their keys.
    pub(super) fn restore(
        &mut self,
        table: &str,
        rows: &RecordBatch,
        keys: impl FnOnce(&RecordBatch) -> Result<Vec<ArrayRef>>,
    ) -> Result<()> {
        let more = [DataType::Int64, DataType::Int64, TIME];
        let (rows, more) = stored_rows(table, rows, &self.schema, &more[..if self.idle.is_some() { 3 } else { 2 }])?;
        let (encoded, keys) = (self.encode(rows.columns())?, self.encode_keys(&keys(&rows)?)?);
        let (multiplicities, matches) = (as_numbers(&more[0])?, as_numbers(&more[1])?);
        let touched = more.get(2).map(as_times).transpose()?;
        for row in 0..rows.num_rows() {
            let (slot, _) = self.put(encoded.get(row), keys.get(row));
            let kept = &mut self.kept[slot as usize];
            (kept.multiplicity, kept.matches) = (multiplicities[row], matches[row]);
            self.changed.restored(slot);
            if let (Some(idle), Some(touched)) = (&mut self.idle, &touched) {
                idle.restore(slot, touched[row]);
            }
        }
        Ok(())
    }

    pub(super) fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.rows.columns(slots)
    }

    /// Returns how many rows are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}
