//! One side of an interval join: its rows by key and time.
//!
//! It never knows the other side nor the watermark. Its state is the rows that were put into it and not taken out;
//! whoever owns it takes them out when the watermark says that nothing can match them.

use crate::changed_slots::ChangedSlots;
use crate::row_table::{EncodedRows, RowTable};
use crate::state_table::{as_flags, as_numbers, flags, keyed_table, numbers, stored_rows};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use headwater_core::{Error, Result, Route, StateSize, StateTable};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// What a row takes besides its own bytes: itself, and its number in two lists.
const KEPT_BYTES: usize = size_of::<Kept>() + 2 * size_of::<u32>();

/// A row that waits for others.
#[derive(Default)]
struct Kept {
    /// How often it is there.
    n: usize,
    key: u32,
    time: i64,
    matched: bool,
}

/// The rows of one side.
pub(super) struct Side {
    schema: SchemaRef,
    rows: RowTable,
    kept: Vec<Kept>,
    keys: RowTable,
    /// For each key, the rows by time.
    by_key: Vec<BTreeMap<i64, Vec<u32>>>,
    by_time: BTreeMap<i64, Vec<u32>>,
    changed: ChangedSlots,
}

impl Side {
    pub(super) fn new(schema: &SchemaRef, keys: &[DataType]) -> Result<Self> {
        Ok(Self {
            schema: schema.clone(),
            rows: RowTable::new(schema.fields().iter().map(|field| field.data_type().clone()))?,
            kept: Vec::new(),
            keys: RowTable::new(keys.iter().cloned())?,
            by_key: Vec::new(),
            by_time: BTreeMap::new(),
            changed: ChangedSlots::default(),
        })
    }

    pub(super) fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.rows.encode(columns)
    }

    pub(super) fn encode_keys(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.keys.encode(columns)
    }

    /// Returns the rows with a key in a range of times, each as often as it is there.
    pub(super) fn matching(&self, key: &[u8], times: RangeInclusive<i64>) -> impl Iterator<Item = u32> {
        let rows = self.keys.find(key).filter(|_| !times.is_empty()).map(|key| &self.by_key[key as usize]);
        let slots = rows.into_iter().flat_map(move |rows| rows.range(times.clone())).flat_map(|(_, slots)| slots);
        slots.flat_map(|slot| std::iter::repeat_n(*slot, self.kept[*slot as usize].n))
    }

    /// Keeps a row. Equal rows are one: they have one time and key, so they match the same.
    pub(super) fn put(&mut self, row: &[u8], key: &[u8], time: i64, matched: bool) {
        let slot = self.add(row, key, time, 1);
        self.kept[slot as usize].matched |= matched;
        self.changed.touch(slot);
    }

    fn add(&mut self, row: &[u8], key: &[u8], time: i64, n: usize) -> u32 {
        let (slot, is_new) = self.rows.intern(row);
        if is_new {
            let (key, _) = self.keys.intern(key);
            self.by_key.resize_with(self.keys.n_slots().max(self.by_key.len()), BTreeMap::new);
            self.by_key[key as usize].entry(time).or_default().push(slot);
            self.by_time.entry(time).or_default().push(slot);
            self.kept.resize_with(self.rows.n_slots().max(self.kept.len()), Kept::default);
            self.kept[slot as usize] = Kept { n: 0, key, time, matched: false };
        }
        self.kept[slot as usize].n += n;
        slot
    }

    /// Notes a match of a row, and returns whether it is the first.
    pub(super) fn first_match(&mut self, slot: u32) -> bool {
        let is_first = !std::mem::replace(&mut self.kept[slot as usize].matched, true);
        if is_first {
            self.changed.touch(slot);
        }
        is_first
    }

    pub(super) fn is_matched(&self, slot: u32) -> bool {
        self.kept[slot as usize].matched
    }

    /// Returns the earliest time of any row.
    pub(super) fn earliest(&self) -> Option<i64> {
        self.by_time.first_key_value().map(|(time, _)| *time)
    }

    /// Takes the rows of the earliest time out of reach; they are there until [`Side::forget`] is called for each.
    pub(super) fn take_earliest(&mut self) -> Vec<u32> {
        let Some((time, slots)) = self.by_time.pop_first() else { return Vec::new() };
        for slot in &slots {
            let key = self.kept[*slot as usize].key;
            self.by_key[key as usize].remove(&time);
            if self.by_key[key as usize].is_empty() {
                self.keys.remove(key);
            }
        }
        slots
    }

    /// Takes one row out of reach.
    pub(super) fn take(&mut self, slot: u32) {
        let Kept { key, time, .. } = self.kept[slot as usize];
        let of_key = &mut self.by_key[key as usize];
        remove(of_key, time, slot);
        if of_key.is_empty() {
            self.keys.remove(key);
        }
        remove(&mut self.by_time, time, slot);
    }

    /// Forgets a row that is out of reach.
    pub(super) fn forget(&mut self, slot: u32) {
        self.changed.gone(slot, self.rows.row(slot));
        self.rows.remove(slot);
    }

    /// Returns the columns of rows, each as often as it is there, and how many that are.
    pub(super) fn columns_of_all(&self, slots: &[u32]) -> Result<(Vec<ArrayRef>, usize)> {
        let slots = slots.iter().flat_map(|slot| std::iter::repeat_n(*slot, self.kept[*slot as usize].n));
        let slots: Vec<u32> = slots.collect();
        Ok((self.rows.columns(&slots)?, slots.len()))
    }

    pub(super) fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.rows.columns(slots)
    }

    /// Returns what has changed since the last call, as a table of this name.
    pub(super) fn snapshot(&mut self, name: &'static str, route: Route) -> Result<Option<StateTable>> {
        let taken = self.changed.take(|| self.rows.slots());
        let kept = || taken.slots.iter().map(|slot| &self.kept[*slot as usize]);
        let n = kept().map(|kept| i64::try_from(kept.n).unwrap_or(i64::MAX));
        let values = vec![
            ("multiplicity".to_owned(), numbers(n)),
            ("matched".to_owned(), flags(kept().map(|kept| kept.matched))),
        ];
        keyed_table((name, route), (&self.rows, self.schema.fields()), taken, values)
    }

    /// Takes over rows of a snapshot; `find` evaluates their keys and times.
    pub(super) fn restore(
        &mut self,
        table: &str,
        rows: &RecordBatch,
        find: impl FnOnce(&RecordBatch) -> Result<(Vec<ArrayRef>, Vec<Option<i64>>)>,
    ) -> Result<()> {
        let (rows, more) = stored_rows(table, rows, &self.schema, &[DataType::Int64, DataType::Boolean])?;
        let (keys, times) = find(&rows)?;
        let (encoded, keys) = (self.encode(rows.columns())?, self.encode_keys(&keys)?);
        let (n, matched) = (as_numbers(&more[0])?, as_flags(&more[1])?);
        for (row, time) in times.into_iter().enumerate() {
            let time = time.ok_or_else(|| Error::data(format!("the table '{table}' has a row without a time")))?;
            let slot = self.add(encoded.get(row), keys.get(row), time, usize::try_from(n[row]).unwrap_or(0));
            self.kept[slot as usize].matched = matched[row];
            self.changed.restored(slot);
        }
        Ok(())
    }

    pub(super) fn size(&self) -> StateSize {
        let rows = self.rows.size();
        let kept = rows.rows as usize * KEPT_BYTES;
        StateSize { rows: rows.rows, bytes: rows.bytes + kept as u64 + self.keys.size().bytes }
    }
}

fn remove(rows: &mut BTreeMap<i64, Vec<u32>>, time: i64, slot: u32) {
    if let Some(slots) = rows.get_mut(&time) {
        slots.retain(|other| *other != slot);
        if slots.is_empty() {
            rows.remove(&time);
        }
    }
}
