//! Merging neighbours among the parts of a table into one, so that a restore reads few files and voided rows go away.

use super::manifest::{Part, TableState};
use super::part::PartWriter;
use super::restore::{Layer, survivors};
use super::{EncodedPart, PartName, StateStore};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::{Epoch, Error, Result, Route};
use std::ops::Range;

/// Merges neighbours, given oldest first. Removed keys stay unless nothing is older than they. It is synchronous and
/// computes: not for an async task.
///
/// # Errors
/// `Data` when a file is not a part or does not fit the others.
pub fn merge_parts(table: &TableState, parts: &[Bytes], keep_removed: bool) -> Result<EncodedPart> {
    let layers = parts.iter().map(|part| Layer::open(part, true, table)).collect::<Result<Vec<_>>>()?;
    let newest = layers.last().ok_or_else(|| Error::internal("there is nothing to merge"))?;
    let stored = newest.stored().clone();
    if layers.iter().any(|layer| *layer.stored() != stored) {
        return Err(Error::data(format!("parts of table '{}' have different columns", table.name)));
    }
    let mut writer = PartWriter::new(&stored)?;
    survivors(table, &layers, &|_| true, &mut |range, _, rows, removed| {
        if removed && !keep_removed { Ok(()) } else { writer.add(range, rows, removed) }
    })?;
    writer.finish()
}

/// Above this number of rows parts are merged on a thread of its own; fewer cost less than the thread, and leave a
/// simulation in virtual time repeatable.
const INLINE_ROWS_MAX: u64 = 4_096;

impl StateStore {
    /// Merges the parts that [`super::worth_merging`] names. The manifest after that puts it in their place with
    /// [`TableState::replace`]; `epoch` is that of the next manifest.
    ///
    /// # Errors
    /// As for [`StateStore::read_part`] and [`StateStore::write_part`].
    pub async fn merge(&self, epoch: Epoch, operator: &str, table: &TableState, range: Range<usize>) -> Result<Part> {
        let parts = table.parts.get(range.clone()).unwrap_or_default();
        let (Some(first), true) = (parts.first(), parts.len() > 1) else {
            return Err(Error::internal(format!("the parts {range:?} of table '{}' cannot be merged", table.name)));
        };
        // Rows of a key may come from everywhere; others stay those of the subtask that wrote them.
        let of_one = parts.iter().all(|part| part.subtask == first.subtask);
        if !of_one && !matches!(table.route, Route::Key(_)) {
            return Err(Error::internal(format!("parts of table '{}' are of different subtasks", table.name)));
        }
        let subtask = if of_one { first.subtask } else { (0, 1) };
        let read = stream::iter(parts.to_vec()).map(|part| async move { self.read_part(&part).await });
        let files: Vec<Bytes> = read.buffered(super::store::AT_ONCE).try_collect().await?;
        let (shape, keep_removed) = (TableState { parts: Vec::new(), ..table.clone() }, range.start > 0);
        let n_rows: u64 = parts.iter().map(|part| part.rows + part.removed).sum();
        let merged = if n_rows <= INLINE_ROWS_MAX {
            merge_parts(&shape, &files, keep_removed)?
        } else {
            let merging = tokio::task::spawn_blocking(move || merge_parts(&shape, &files, keep_removed)).await;
            merging.map_err(|error| Error::internal(format!("merging ended early: {error}")))??
        };
        self.write_part(&PartName { epoch, operator, subtask, table: &table.name }, merged).await
    }
}
