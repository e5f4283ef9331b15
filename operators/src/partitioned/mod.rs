//! What operators over partitions have in common: rows are kept by partition, ordered within it, and a partition that
//! was touched is asked at the barrier, or when its window closes, how its part of the output has changed.
//!
//! It never knows what is computed: that is a [`Logic`]. State is bounded by what the logic keeps of the rows that are
//! there; a partition without rows is forgotten, and one that belongs to a window goes with its window.

mod layout;
mod operator;

pub use layout::OrderBy;
pub(crate) use layout::{Changed, PartitionLayout};
pub(crate) use operator::PartitionOperator;

use arrow::array::ArrayRef;
use headwater_core::{Result, StateSize};

/// What is computed over each partition.
pub(crate) trait Logic: Send {
    /// What is kept of a partition.
    type Partition: Default + Send;
    /// What the output has besides the columns of a row.
    type Value;

    /// Takes a row, by its bytes in the order of the partition, `diff` times.
    fn change(&mut self, partition: &mut Self::Partition, row: &[u8], diff: i64);

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
    ) -> Result<()>;

    /// Lays the values of output rows out as columns.
    ///
    /// # Errors
    /// `Internal`, never for values that it made.
    fn columns(&self, values: Vec<Self::Value>) -> Result<Vec<ArrayRef>>;

    /// Forgets rows of which more was taken back than ever came: they were forgotten before, by `state_ttl`.
    fn drop_overdrawn(&self, partition: &mut Self::Partition);

    /// Returns how much a partition keeps.
    fn size(&self, partition: &Self::Partition) -> StateSize;
}
