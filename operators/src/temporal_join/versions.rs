//! The versions of each key, by the time from which they are valid.
//!
//! It never knows who asks. Its state is, for each key, the version that is valid at the watermark and all later ones;
//! earlier ones are freed as the watermark passes their successors. The number of keys bounds it.

use crate::idle::Idle;
use crate::row_table::{EncodedRows, RowCodec, RowTable};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use headwater_core::{EventTime, Result, StateSize};
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
    idle: Option<Idle>,
    n_versions: usize,
    n_bytes: usize,
}

impl Versions {
    pub(super) fn new(schema: &SchemaRef, keys: &[DataType], same_time: SameTime, ttl_ns: Option<i64>) -> Result<Self> {
        Ok(Self {
            same_time,
            codec: RowCodec::new(schema.fields().iter().map(|field| field.data_type().clone()))?,
            keys: RowTable::new(keys.iter().cloned())?,
            by_key: Vec::new(),
            later: BTreeMap::new(),
            taken_back: Vec::new(),
            idle: ttl_ns.map(Idle::new),
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
        let (slot, _) = self.keys.intern(key);
        self.by_key.resize_with(self.keys.n_slots().max(self.by_key.len()), BTreeMap::new);
        if let Some(idle) = &mut self.idle {
            idle.touch(slot);
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
                *there = Version { row: row.into(), taken_back: false };
            }
            None => {
                versions.insert(time, Version { row: row.into(), taken_back: false });
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
            self.n_versions -= 1;
            self.n_bytes -= entry.remove().row.len();
        }
    }

    /// Forgets keys that no version has come for, at the end of an epoch.
    pub(super) fn expire(&mut self, now: EventTime) {
        let expired = self.idle.as_mut().map(|idle| idle.expire(now)).unwrap_or_default();
        for slot in expired {
            for version in std::mem::take(&mut self.by_key[slot as usize]).into_values() {
                self.n_versions -= 1;
                self.n_bytes -= version.row.len();
            }
            self.keys.remove(slot);
        }
    }

    fn forget(&mut self, slot: u32) {
        if let Some(idle) = &mut self.idle {
            idle.gone(slot);
        }
        self.keys.remove(slot);
    }

    pub(super) fn size(&self) -> StateSize {
        let bytes = self.n_bytes + self.n_versions * VERSION_BYTES;
        StateSize { rows: self.n_versions as u64, bytes: bytes as u64 + self.keys.size().bytes }
    }
}
