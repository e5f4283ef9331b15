//! What operators over partitions have in common: rows are kept by partition, ordered within it, and a partition that
//! was touched is asked at the barrier, or when its window closes, how its part of the output has changed.
//!
//! It never knows what is computed: that is a [`Logic`]. State is bounded by what the logic keeps of the rows that are
//! there; a partition without rows is forgotten, and one that belongs to a window goes with its window.

mod layout;
mod operator;
mod snapshot;

pub use layout::OrderBy;
pub(crate) use layout::{Changed, PartitionLayout};
pub(crate) use operator::PartitionOperator;

use crate::changed_slots::ChangedRows;
use crate::state_table::Named;
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use headwater_core::{Result, StateSize};

/// What is computed over each partition.
pub(crate) trait Logic: Send {
    /// What is kept of a partition.
    type Partition: Default + Send;
    /// What the output has besides the columns of a row.
    type Value;

    /// What is stored of a row besides itself: one for each time that it is shown, at least one.
    type Stored;

    /// Takes a row, by its bytes in the order of the partition, `diff` times; notes rows of which something else is kept
    /// than before.
    fn change(&mut self, partition: &mut Self::Partition, row: &[u8], diff: i64, noted: &mut ChangedRows);

    /// Whether nothing is kept of a partition and nothing of it is shown.
    fn is_empty(&self, partition: &Self::Partition) -> bool;

    /// Says what has changed in the output since the last call, and takes it as shown.
    ///
    /// # Errors
    /// Any error ends the pipeline.
    fn show(
        &mut self,
        partition: &mut Self::Partition,
        layout: &PartitionLayout,
        changed: &mut Changed<Self::Value>,
        noted: &mut ChangedRows,
    ) -> Result<()>;

    /// Lays the values of output rows out as columns.
    ///
    /// # Errors
    /// `Internal`, never for values that it made.
    fn columns(&self, values: Vec<Self::Value>) -> Result<Vec<ArrayRef>>;

    /// Forgets rows of which more was taken back than ever came: they were forgotten before, by `state_ttl`.
    fn drop_overdrawn(&self, partition: &mut Self::Partition, noted: &mut ChangedRows);

    /// Returns the rows of a partition.
    fn rows<'a>(&self, partition: &'a Self::Partition) -> Vec<&'a [u8]>;

    /// Returns what is to be stored of a row; nothing where it is not kept.
    fn stored(&self, partition: &Self::Partition, row: &[u8]) -> Vec<Self::Stored>;

    /// The types of the columns of what is stored.
    fn stored_types(&self) -> Vec<DataType>;

    /// Lays out what is stored.
    ///
    /// # Errors
    /// `Internal`, never for values that it made.
    fn store(&self, stored: Vec<Self::Stored>) -> Result<Vec<Named>>;

    /// Takes over rows of partitions, with what [`Logic::store`] laid out.
    ///
    /// # Errors
    /// `Internal`, never for columns of [`Logic::stored_types`].
    fn restore(&self, rows: &[(u32, &[u8])], partitions: &mut [Self::Partition], stored: &[ArrayRef]) -> Result<()>;

    /// Hears that all rows of a partition have been taken over, and whether it was shown as it is.
    fn restore_end(&self, partition: &mut Self::Partition, is_shown: bool) {
        let _ = (partition, is_shown);
    }

    /// Returns how much a partition keeps.
    fn size(&self, partition: &Self::Partition) -> StateSize;
}
