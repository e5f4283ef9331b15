//! The versions of each key, by the time from which they are valid.
//!
//! It never knows who asks. Its state is, for each key, the version that is valid at the watermark and all later ones;
//! earlier ones are freed as the watermark passes their successors. The number of keys bounds it.

use crate::changed_slots::ChangedRows;
use crate::row_table::{EncodedRows, RowCodec, RowTable};
use crate::state_table::unknown_table;
use crate::touched::Touched;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use headwater_core::{EventTime, Result, StateSize, StateTable};
use std::collections::BTreeMap;
use std::ops::Bound;

/// Which of several versions of one time is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameTime {
    /// The one that came first: the others repeat it.
    First,
    /// The last in the order of its columns.
    Last,
}

struct Version {
    row: Box<[u8]>,
    /// It was taken back, and nothing has come in its place yet.
    taken_back: bool,
}

/// What a version takes besides its own bytes: itself, its time, and its place in the queue.
const VERSION_BYTES: usize = size_of::<Version>() + 2 * size_of::<i64>() + size_of::<u32>();

/// What became of a version that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    /// It is valid from its time on, for rows that are still to come.
    Kept,
    /// It is there already.
    Repeated,
    /// It has been replaced for all rows that are still to come.
    TooLate,
}

pub(super) struct Versions {
    same_time: SameTime,
    codec: RowCodec,
    keys: RowTable,
    by_key: Vec<BTreeMap<i64, Version>>,
    /// Keys by the times of versions that the watermark has not passed.
    later: BTreeMap<i64, Vec<u32>>,
    taken_back: Vec<(u32, i64)>,
    touched: Option<Touched>,
    changed: ChangedRows,
    n_versions: usize,
    n_bytes: usize,
}

impl Versions {
    pub(super) fn new(
        schema: &SchemaRef,
        keys: &[DataType],
        same_time: SameTime,
        touched: Option<Touched>,
    ) -> Result<Self> {
        Ok(Self {
            same_time,
            codec: RowCodec::new(schema.fields().iter().map(|field| field.data_type().clone()))?,
            keys: RowTable::new(keys.iter().cloned())?,
            by_key: Vec::new(),
            later: BTreeMap::new(),
            taken_back: Vec::new(),
            touched,
            changed: ChangedRows::default(),
            n_versions: 0,
            n_bytes: 0,
        })
    }

    pub(super) fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.codec.encode(columns)
    }

    pub(super) fn encode_keys(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.keys.encode(columns)
    }

    pub(super) fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        self.codec.decode(rows)
    }

    /// Takes a version of a key. Versions of the key that were just taken back and are older end where it begins.
    pub(super) fn put(&mut self, key: &[u8], time: i64, row: &[u8], passed: EventTime) -> Came {
        let slot = self.slot(key);
        if let Some(touched) = &mut self.touched {
            touched.touch(slot);
        }
        let versions = &mut self.by_key[slot as usize];
        if !self.taken_back.is_empty() {
            versions.range_mut(..time).for_each(|(_, version)| version.taken_back = false);
        }
        let is_passed = time <= passed.0 && passed > EventTime::MIN;
        if is_passed && versions.range((Bound::Excluded(time), Bound::Included(passed.0))).next().is_some() {
            return Came::TooLate;
        }
        match versions.get_mut(&time) {
            Some(there) => {
                let stays = match self.same_time {
                    SameTime::First => !there.taken_back,
                    SameTime::Last => *there.row >= *row,
                };
                if stays {
                    return Came::Repeated;
                }
                self.n_bytes = self.n_bytes + row.len() - there.row.len();
                if *there.row != *row {
                    self.changed.gone(&there.row);
                    self.changed.note(row, false);
                }
                *there = Version { row: row.into(), taken_back: false };
            }
            None => {
                versions.insert(time, Version { row: row.into(), taken_back: false });
                self.changed.note(row, false);
                self.n_versions += 1;
                self.n_bytes += row.len();
                if is_passed {
                    self.free_before(slot, time);
                } else {
                    self.later.entry(time).or_default().push(slot);
                }
            }
        }
        Came::Kept
    }

    fn slot(&mut self, key: &[u8]) -> u32 {
        let (slot, _) = self.keys.intern(key);
        self.by_key.resize_with(self.keys.n_slots().max(self.by_key.len()), BTreeMap::new);
        slot
    }

    /// Notes that a version was taken back; nothing happens to one that is not there.
    pub(super) fn take_back(&mut self, key: &[u8], time: i64, row: &[u8]) {
        let Some(slot) = self.keys.find(key) else { return };
        if let Some(version) = self.by_key[slot as usize].get_mut(&time).filter(|version| *version.row == *row) {
            version.taken_back = true;
            self.taken_back.push((slot, time));
        }
    }

    /// Forgets versions that were taken back and did not end because another began.
    pub(super) fn settle(&mut self) {
        for (slot, time) in std::mem::take(&mut self.taken_back) {
            let versions = &mut self.by_key[slot as usize];
            if versions.get(&time).is_some_and(|version| version.taken_back)
                && let Some(version) = versions.remove(&time)
            {
                self.changed.gone(&version.row);
                self.n_versions -= 1;
                self.n_bytes -= version.row.len();
            }
            if self.by_key[slot as usize].is_empty() {
                self.forget(slot);
            }
        }
    }

    /// Returns the version of a key that is valid at a time, or just before it.
    pub(super) fn valid(&self, key: &[u8], time: i64, at_time_too: bool) -> Option<&[u8]> {
        let slot = self.keys.find(key)?;
        let versions = &self.by_key[slot as usize];
        let mut until = if at_time_too { versions.range(..=time) } else { versions.range(..time) };
        until.next_back().map(|(_, version)| &*version.row)
    }

    /// Forgets versions that are replaced for every row after this time.
    pub(super) fn free(&mut self, passed: EventTime) {
        while let Some(entry) = self.later.first_entry() {
            let time = *entry.key();
            if time > passed.0 {
                break;
            }
            for slot in entry.remove() {
                self.free_before(slot, time);
            }
        }
    }

    fn free_before(&mut self, slot: u32, time: i64) {
        let versions = &mut self.by_key[slot as usize];
        // The version may have been taken back; then the one before it is valid still.
        if !versions.contains_key(&time) {
            return;
        }
        while let Some(entry) = versions.first_entry().filter(|entry| *entry.key() < time) {
            let version = entry.remove();
            self.changed.gone(&version.row);
            self.n_versions -= 1;
            self.n_bytes -= version.row.len();
        }
    }

    /// Forgets keys that no version has come for, at the end of an epoch.
    pub(super) fn expire(&mut self, now: EventTime) {
        let expired = self.touched.as_mut().map(|touched| touched.expire(now, &self.keys)).unwrap_or_default();
        for slot in expired {
            for version in std::mem::take(&mut self.by_key[slot as usize]).into_values() {
                self.changed.gone(&version.row);
                self.n_versions -= 1;
                self.n_bytes -= version.row.len();
            }
            self.keys.remove(slot);
        }
    }

    fn forget(&mut self, slot: u32) {
        if let Some(touched) = &mut self.touched {
            touched.gone(slot, &self.keys);
        }
        self.keys.remove(slot);
    }

    /// Returns the rows that have changed since the last call, those that are gone among them.
    pub(super) fn changed(&mut self) -> Vec<Box<[u8]>> {
        let all = || self.by_key.iter().flat_map(BTreeMap::values).map(|version| version.row.clone()).collect();
        self.changed.take().unwrap_or_else(all)
    }

    /// Returns whether a version is there.
    pub(super) fn has(&self, key: &[u8], time: i64, row: &[u8]) -> bool {
        let version = self.keys.find(key).and_then(|slot| self.by_key[slot as usize].get(&time));
        version.is_some_and(|version| *version.row == *row)
    }

    /// Returns when keys were touched last, if that matters and as far as it has changed since the last call.
    pub(super) fn touched(&mut self) -> Result<Option<StateTable>> {
        self.touched.as_mut().map_or(Ok(None), |touched| touched.snapshot(&self.keys))
    }

    /// Takes a version over that a snapshot has.
    pub(super) fn restore(&mut self, key: &[u8], time: i64, row: &[u8]) {
        let slot = self.slot(key);
        self.by_key[slot as usize].insert(time, Version { row: row.into(), taken_back: false });
        // Where the watermark has passed it already, it is looked at once more and nothing happens.
        self.later.entry(time).or_default().push(slot);
        self.changed.start();
        self.n_versions += 1;
        self.n_bytes += row.len();
    }

    /// Takes over when keys were touched.
    pub(super) fn restore_touched(&mut self, rows: &RecordBatch) -> Result<()> {
        let Some(touched) = &mut self.touched else { return Err(unknown_table(Touched::TABLE)) };
        touched.restore(&mut self.keys, rows)?;
        self.by_key.resize_with(self.keys.n_slots().max(self.by_key.len()), BTreeMap::new);
        Ok(())
    }

    pub(super) fn size(&self) -> StateSize {
        let bytes = self.n_bytes + self.n_versions * VERSION_BYTES;
        StateSize { rows: self.n_versions as u64, bytes: bytes as u64 + self.keys.size().bytes }
    }
}
