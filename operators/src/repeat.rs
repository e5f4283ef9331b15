//! Multiplicities as repeated rows, for outputs that only grow. Pure.

use arrow::array::UInt32Array;
use headwater_core::{Batch, Result};

/// Turns positive multiplicities into so many rows.
pub(crate) fn repeated(batch: &Batch) -> Result<Batch> {
    if batch.diffs.as_ref().is_none_or(|diffs| diffs.values().iter().all(|diff| *diff == 1)) {
        return Ok(Batch::append_only(batch.rows.clone()));
    }
    let times = |row: u32| std::iter::repeat_n(row, usize::try_from(batch.diff(row as usize)).unwrap_or(0));
    let indices: Vec<u32> = (0..u32::try_from(batch.n_rows()).unwrap_or(u32::MAX)).flat_map(times).collect();
    Ok(Batch::append_only(batch.take(&UInt32Array::from(indices))?.rows))
}
