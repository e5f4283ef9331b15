//! The keys that newer parts have: a row of an older part with one of them is void.
//!
//! Its state is the keys of one sixteenth of the newer parts, whole and not as hashes: a collision would lose a row.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::row::Rows;
use hashbrown::HashTable;
use headwater_core::{Error, KeyEncoder, Result};
use twox_hash::XxHash3_64;

/// See the module.
pub(super) struct Seen {
    /// None for a table without key columns: all its rows have the same key.
    encoder: Option<KeyEncoder>,
    table: HashTable<Place>,
    keys: Vec<Rows>,
    the_only_key: bool,
}

#[derive(Clone, Copy)]
struct Place {
    hash: u64,
    chunk: u32,
    row: u32,
}

/// The keys of a batch, to be added once the whole part has been looked at: a key may have many rows in it.
pub(super) struct Keys(Option<Rows>);

impl Seen {
    pub(super) fn new(rows: &arrow::datatypes::Schema, key: &[usize]) -> Result<Self> {
        let encoder = if key.is_empty() { None } else { Some(KeyEncoder::new(rows, key)?) };
        Ok(Self { encoder, table: HashTable::new(), keys: Vec::new(), the_only_key: false })
    }

    fn is_empty(&self) -> bool {
        self.table.is_empty() && !self.the_only_key
    }

    /// Encodes the keys of a batch.
    pub(super) fn keys(&self, rows: &RecordBatch) -> Result<Keys> {
        let Some(encoder) = &self.encoder else { return Ok(Keys(None)) };
        let mut encoded = encoder.room();
        encoder.encode(rows, &mut encoded)?;
        Ok(Keys(Some(encoded)))
    }

    /// Returns the rows whose key has not been seen.
    pub(super) fn unseen(&self, rows: RecordBatch, keys: &Keys) -> Result<RecordBatch> {
        if self.is_empty() {
            return Ok(rows);
        }
        let Some(keys) = &keys.0 else { return Ok(rows.slice(0, 0)) };
        let unseen: Vec<bool> = keys.iter().map(|key| !self.contains(key.data())).collect();
        if unseen.iter().all(|unseen| *unseen) {
            return Ok(rows);
        }
        Ok(filter_record_batch(&rows, &BooleanArray::from(unseen))?)
    }

    fn contains(&self, key: &[u8]) -> bool {
        let hash = XxHash3_64::oneshot(key);
        self.table.find(hash, |place| place.hash == hash && self.at(*place) == key).is_some()
    }

    fn at(&self, place: Place) -> &[u8] {
        self.keys[place.chunk as usize].row(place.row as usize).data()
    }

    /// Adds the keys of a batch.
    pub(super) fn add(&mut self, keys: Keys) -> Result<()> {
        let Some(keys) = keys.0 else {
            self.the_only_key = true;
            return Ok(());
        };
        let too_many = |_| Error::internal("a table of state has too many batches");
        let chunk = u32::try_from(self.keys.len()).map_err(too_many)?;
        let n_rows = u32::try_from(keys.num_rows()).map_err(too_many)?;
        self.keys.push(keys);
        for row in 0..n_rows {
            let key = self.keys[chunk as usize].row(row as usize);
            let hash = XxHash3_64::oneshot(key.data());
            let is_it = |place: &Place| {
                place.hash == hash && self.keys[place.chunk as usize].row(place.row as usize).data() == key.data()
            };
            if self.table.find(hash, is_it).is_none() {
                self.table.insert_unique(hash, Place { hash, chunk, row }, |place| place.hash);
            }
        }
        Ok(())
    }

    /// Forgets everything: the next sixteenth has other keys.
    pub(super) fn clear(&mut self) {
        self.table.clear();
        self.keys.clear();
        self.the_only_key = false;
    }
}
