//! The ends of windows: what decides when the rows of a window are shown and when they are late. No state.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::TimestampNanosecondType;
use headwater_core::{Error, Result};

/// Returns the end of the window in each row of a window column, which is a struct with the field `end`, or the end
/// itself (nanoseconds, UTC); a row without a window has one that never ends before the input.
///
/// # Errors
/// `Internal` when the column is no window.
pub(crate) fn window_ends(column: &ArrayRef) -> Result<Int64Array> {
    let ends = match column.as_struct_opt() {
        Some(window) => window.column_by_name("end").cloned(),
        None => Some(column.clone()),
    };
    let ends = ends.ok_or_else(|| Error::internal("the window column is no window"))?;
    let ends = ends.as_primitive_opt::<TimestampNanosecondType>();
    let ends = ends.ok_or_else(|| Error::internal("windows do not end in nanoseconds"))?;
    let end = |row: usize| if column.is_null(row) || ends.is_null(row) { i64::MAX } else { ends.value(row) };
    Ok(Int64Array::from_iter_values((0..column.len()).map(end)))
}
