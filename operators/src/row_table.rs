//! Rows as bytes: how state keeps rows of any types, and finds them by content.
//!
//! It never interprets a value; two rows are equal when their encodings are. A freed number is used again, so what
//! bounds a table is the greatest number of rows that were in it at one time.

use arrow::array::ArrayRef;
use arrow::compute::{self, SortOptions};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use hashbrown::{DefaultHashBuilder, HashTable};
use headwater_core::{Result, StateSize};
use std::hash::BuildHasher;

/// What a row takes besides its own bytes: the pointer to them and their length.
pub(crate) const ROW_BYTES: usize = size_of::<Box<[u8]>>();

/// Turns columns into one string of bytes per row, and back.
pub(crate) struct RowCodec {
    converter: RowConverter,
    parser: RowParser,
    /// The types as declared: dictionaries come back as their values.
    types: Vec<DataType>,
}

/// Encoded rows of a batch.
pub(crate) struct EncodedRows(Option<Rows>);

impl EncodedRows {
    /// The bytes of a row.
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        self.0.as_ref().map_or(&[], |rows| rows.row(row).data())
    }
}

impl RowCodec {
    pub(crate) fn new(types: impl Iterator<Item = DataType>) -> Result<Self> {
        Self::ordered(types.map(|data_type| (data_type, SortOptions::default())).collect())
    }

    /// Makes a codec whose bytes are ordered as the options say.
    pub(crate) fn ordered(columns: Vec<(DataType, SortOptions)>) -> Result<Self> {
        let types = columns.iter().map(|(data_type, _)| data_type.clone()).collect();
        let fields = columns.into_iter().map(|(data_type, by)| SortField::new_with_options(data_type, by)).collect();
        let converter = RowConverter::new(fields)?;
        Ok(Self { parser: converter.parser(), converter, types })
    }

    /// The types of the columns.
    pub(crate) fn types(&self) -> &[DataType] {
        &self.types
    }

    pub(crate) fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        debug_assert_eq!(columns.len(), self.types.len());
        if self.types.is_empty() {
            return Ok(EncodedRows(None));
        }
        Ok(EncodedRows(Some(self.converter.convert_columns(columns)?)))
    }

    pub(crate) fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        if self.types.is_empty() {
            return Ok(Vec::new());
        }
        let mut columns = self.converter.convert_rows(rows.into_iter().map(|bytes| self.parser.parse(bytes)))?;
        for (column, data_type) in columns.iter_mut().zip(&self.types) {
            if column.data_type() != data_type {
                *column = compute::cast(column, data_type)?;
            }
        }
        Ok(columns)
    }
}

/// Gives equal rows the same number, from 0, and finds rows by number and by content.
pub(crate) struct RowTable {
    codec: RowCodec,
    hasher: DefaultHashBuilder,
    table: HashTable<u32>,
    rows: Vec<Box<[u8]>>,
    free: Vec<u32>,
    /// The length of all rows together.
    n_bytes: usize,
}

impl RowTable {
    pub(crate) fn new(types: impl Iterator<Item = DataType>) -> Result<Self> {
        let codec = RowCodec::new(types)?;
        let (hasher, table) = (DefaultHashBuilder::default(), HashTable::new());
        Ok(Self { codec, hasher, table, rows: Vec::new(), free: Vec::new(), n_bytes: 0 })
    }

    pub(crate) fn encode(&self, columns: &[ArrayRef]) -> Result<EncodedRows> {
        self.codec.encode(columns)
    }

    /// Returns the columns of encoded rows, of which some may be gone.
    pub(crate) fn decode<'a>(&self, rows: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<ArrayRef>> {
        self.codec.decode(rows)
    }

    /// The types of the columns.
    pub(crate) fn types(&self) -> &[DataType] {
        self.codec.types()
    }

    /// Returns the numbers of all rows, in order.
    pub(crate) fn slots(&self) -> Vec<u32> {
        let mut slots: Vec<u32> = self.table.iter().copied().collect();
        slots.sort_unstable();
        slots
    }

    /// One more than the greatest number that was ever given.
    pub(crate) fn n_slots(&self) -> usize {
        self.rows.len()
    }

    /// Returns how many rows there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns how many rows there are, and what they and the table that finds them take.
    pub(crate) fn size(&self) -> StateSize {
        let slots = self.rows.len() * ROW_BYTES + self.table.capacity() * size_of::<u32>();
        StateSize { rows: self.table.len() as u64, bytes: (self.n_bytes + slots) as u64 }
    }

    pub(crate) fn find(&self, row: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(row);
        self.table.find(hash, |slot| *self.rows[*slot as usize] == *row).copied()
    }

    /// Returns the number of a row, and whether it is new.
    pub(crate) fn intern(&mut self, row: &[u8]) -> (u32, bool) {
        let Self { hasher, table, rows, free, .. } = self;
        let hash = hasher.hash_one(row);
        let rehash = |rows: &[Box<[u8]>], slot: &u32| hasher.hash_one(&*rows[*slot as usize]);
        if let Some(slot) = table.find(hash, |slot| *rows[*slot as usize] == *row) {
            return (*slot, false);
        }
        let slot = match free.pop() {
            Some(slot) => {
                rows[slot as usize] = row.into();
                slot
            }
            None => {
                rows.push(row.into());
                u32::try_from(rows.len() - 1).expect("four thousand million rows of state do not fit into memory")
            }
        };
        table.insert_unique(hash, slot, |slot| rehash(rows, slot));
        self.n_bytes += row.len();
        (slot, true)
    }

    /// Forgets a row; its number may be given to another.
    pub(crate) fn remove(&mut self, slot: u32) {
        let Self { hasher, table, rows, free, .. } = self;
        let row = std::mem::take(&mut rows[slot as usize]);
        if let Ok(entry) = table.find_entry(hasher.hash_one(&*row), |other| *other == slot) {
            entry.remove();
            free.push(slot);
            self.n_bytes -= row.len();
        }
    }

    pub(crate) fn row(&self, slot: u32) -> &[u8] {
        &self.rows[slot as usize]
    }

    /// Returns the columns of rows, by number.
    pub(crate) fn columns(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        self.codec.decode(slots.iter().map(|slot| self.row(*slot)))
    }
}
