//! One side of an interval join: its rows by key and time.
//!
//! It never knows the other side nor the watermark. Its state is the rows that were put into it and not taken out;
//! whoever owns it takes them out when the watermark says that nothing can match them.

use crate::row_table::{EncodedRows, ROW_BYTES, RowCodec, RowTable};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use headwater_core::{Result, StateSize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// What a row takes besides its own bytes: itself, and its number in two lists.
const KEPT_BYTES: usize = size_of::<Kept>() + 2 * size_of::<u32>();

/// A row that waits for others.
#[derive(Default)]
struct Kept {
    row: Box<[u8]>,
    key: u32,
    time: i64,
    matched: bool,
}

/// The rows of one side.
pub(super) struct Side {
    codec: RowCodec,
    keys: RowTable,
    /// For each key, the rows by time.
    by_key: Vec<BTreeMap<i64, Vec<u32>>>,
    kept: Vec<Kept>,
    free: Vec<u32>,
    by_time: BTreeMap<i64, Vec<u32>>,
    n_rows: usize,
    n_bytes: usize,
}

impl Side {
    pub(super) fn new(schema: &SchemaRef, keys: &[DataType]) -> Result<Self> {
        Ok(Self {
            codec: RowCodec::new(schema.fields().iter().map(|field| field.data_type().clone()))?,
            keys: RowTable::new(keys.iter().cloned())?,
            by_key: Vec::new(),
            kept: Vec::new(),
            free: Vec::new(),
            by_time: BTreeMap::new(),
            n_rows: 0,
            n_bytes: 0,
        })
    }

    pub(super) fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.codec.encode(columns)
    }

    pub(super) fn encode_keys(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.keys.encode(columns)
    }

    /// Returns the rows with a key in a range of times.
    pub(super) fn matching(&self, key: &[u8], times: RangeInclusive<i64>) -> impl Iterator<Item = u32> {
        let rows = self.keys.find(key).filter(|_| !times.is_empty()).map(|key| &self.by_key[key as usize]);
        rows.into_iter().flat_map(move |rows| rows.range(times.clone())).flat_map(|(_, slots)| slots.iter().copied())
    }

    pub(super) fn put(&mut self, row: &[u8], key: &[u8], time: i64, matched: bool) {
        let (key, _) = self.keys.intern(key);
        self.by_key.resize_with(self.keys.n_slots().max(self.by_key.len()), BTreeMap::new);
        let kept = Kept { row: row.into(), key, time, matched };
        self.n_rows += 1;
        self.n_bytes += kept.row.len();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.kept[slot as usize] = kept;
                slot
            }
            None => {
                self.kept.push(kept);
                u32::try_from(self.kept.len() - 1).expect("four thousand million rows of state do not fit into memory")
            }
        };
        self.by_key[key as usize].entry(time).or_default().push(slot);
        self.by_time.entry(time).or_default().push(slot);
    }

    /// Notes a match of a row, and returns whether it is the first.
    pub(super) fn first_match(&mut self, slot: u32) -> bool {
        !std::mem::replace(&mut self.kept[slot as usize].matched, true)
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
        let kept = std::mem::take(&mut self.kept[slot as usize]);
        self.n_rows -= 1;
        self.n_bytes -= kept.row.len();
        self.free.push(slot);
    }

    pub(super) fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.codec.decode(slots.iter().map(|slot| &*self.kept[*slot as usize].row))
    }

    pub(super) fn size(&self) -> StateSize {
        let rows = self.n_bytes + self.n_rows * KEPT_BYTES + self.free.len() * ROW_BYTES;
        StateSize { rows: self.n_rows as u64, bytes: rows as u64 + self.keys.size().bytes }
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
