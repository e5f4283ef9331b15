//! Which subtask of a node owns which key.
//!
//! A key's row encoding is hashed with XxHash3 to one of [`KEY_GROUPS`] key groups, and each subtask owns a contiguous
//! range of groups. The hash is part of the stored format: state is kept by key group, so it must never change. The
//! state of [`KeyGroups`] is one scratch buffer, bounded by the largest batch.

use crate::{Error, Result};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Float64Type, Schema};
use arrow::row::{RowConverter, Rows, SortField};
use std::sync::Arc;
use twox_hash::XxHash3_64;

/// How many key groups there are, and so the greatest parallelism of a node.
pub const KEY_GROUPS: usize = 256;

/// Returns the key group of an encoded key.
#[must_use]
pub fn key_group(encoded_key: &[u8]) -> usize {
    let hash = XxHash3_64::oneshot(encoded_key);
    usize::try_from(hash % KEY_GROUPS as u64).unwrap_or(0)
}

/// Returns the subtask that owns a key group.
#[must_use]
pub fn subtask_of(group: usize, parallelism: usize) -> usize {
    group * parallelism / KEY_GROUPS
}

/// Encodes keys as bytes that are equal exactly where the keys are, whether a column has a dictionary, views or neither.
pub struct KeyEncoder {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl KeyEncoder {
    /// Makes it for rows of `schema` whose key is in `columns`, in this order.
    ///
    /// # Errors
    /// `Internal` when a column is not there, or has a type that cannot be a key.
    pub fn new(schema: &Schema, columns: &[usize]) -> Result<Self> {
        if let Some(column) = columns.iter().find(|column| **column >= schema.fields().len()) {
            return Err(Error::internal(format!("column {column} of a key is not one of its rows'")));
        }
        let fields = columns.iter().map(|column| SortField::new(schema.field(*column).data_type().clone())).collect();
        Ok(Self { columns: columns.to_vec(), converter: RowConverter::new(fields)? })
    }

    /// Returns room for keys.
    #[must_use]
    pub fn room(&self) -> Rows {
        self.converter.empty_rows(0, 0)
    }

    /// Adds the keys of rows.
    ///
    /// # Errors
    /// `Internal` when the columns have other types.
    pub fn encode(&self, rows: &RecordBatch, into: &mut Rows) -> Result<()> {
        let keys: Vec<_> = self.columns.iter().map(|column| with_one_zero(rows.column(*column))).collect();
        Ok(self.converter.append(into, &keys)?)
    }
}

/// Finds the key groups of rows by some of their columns.
pub struct KeyGroups {
    keys: KeyEncoder,
    encoded: Rows,
}

impl KeyGroups {
    /// Makes it for rows of `schema` whose key is in `columns`, in this order. Without columns, all rows have one key.
    ///
    /// # Errors
    /// As for [`KeyEncoder::new`].
    pub fn new(schema: &Schema, columns: &[usize]) -> Result<Self> {
        let keys = KeyEncoder::new(schema, columns)?;
        let encoded = keys.room();
        Ok(Self { keys, encoded })
    }

    /// Returns the key group of each row.
    ///
    /// # Errors
    /// `Internal` when the columns have other types.
    pub fn of(&mut self, rows: &RecordBatch) -> Result<Vec<usize>> {
        if self.keys.columns.is_empty() {
            return Ok(vec![0; rows.num_rows()]);
        }
        self.encoded.clear();
        self.keys.encode(rows, &mut self.encoded)?;
        Ok(self.encoded.iter().map(|key| key_group(key.data())).collect())
    }
}

/// Makes −0 of floating-point columns 0: they are one key to an aggregation.
fn with_one_zero(column: &ArrayRef) -> ArrayRef {
    if let Some(numbers) = column.as_primitive_opt::<Float64Type>() {
        if numbers.values().iter().any(|number| number.to_bits() == (-0.0_f64).to_bits()) {
            return Arc::new(numbers.unary::<_, Float64Type>(|number| number + 0.0));
        }
    } else if let Some(numbers) = column.as_primitive_opt::<Float32Type>()
        && numbers.values().iter().any(|number| number.to_bits() == (-0.0_f32).to_bits())
    {
        return Arc::new(numbers.unary::<_, Float32Type>(|number| number + 0.0));
    }
    column.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Float64Array, StringArray};

    #[test]
    fn the_owner_of_a_group_does_not_depend_on_anything_but_the_parallelism() {
        // Pinned: stored state is found by these numbers.
        assert_eq!(key_group(b""), 0x2d06_8005_38d3_94c2 % KEY_GROUPS);
        assert_eq!((subtask_of(0, 4), subtask_of(63, 4), subtask_of(64, 4), subtask_of(255, 4)), (0, 0, 1, 3));
    }

    #[test]
    fn the_group_of_a_row_is_that_of_its_key_whatever_else_it_has() {
        let names: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("a"), Some("b")]));
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![0.0, 1.0, -0.0, 0.0]));
        let rows = RecordBatch::try_from_iter(vec![("name", names), ("n", numbers)]).expect("columns of one length");
        let groups = |columns: &[usize]| KeyGroups::new(&rows.schema(), columns).expect("a key").of(&rows);
        // Pinned, as above.
        assert_eq!(groups(&[0]).expect("groups"), [241, 219, 241, 72]);
        let both = groups(&[0, 1]).expect("groups");
        assert_eq!((both[0] == both[2], both[0] == both[3]), (true, false));
        assert_eq!(groups(&[]).expect("groups"), [0; 4]);
        assert!(KeyGroups::new(&rows.schema(), &[7]).is_err());
    }
}
