//! The staging table: rows with their multiplicity, the piece they came in and the epoch they belong to. Columns have
//! no type there, so that nothing is converted twice. Epoch 0 is the running one. No state.

use super::store::StoreParts;
use super::value::{Bound, Cells};
use headwater_core::{Batch, Epoch, Result};
use rusqlite::{Transaction, params_from_iter};

/// Returns the name of the `at`th column there.
pub(super) fn column(at: usize) -> String {
    format!("c{at}")
}

/// Returns the statements that make an empty staging table.
pub(super) fn create(staging: &str, n_columns: usize) -> String {
    let columns: String = (0..n_columns).map(|at| format!(", {}", column(at))).collect();
    format!(
        "DROP TABLE IF EXISTS {staging}; \
         CREATE TABLE {staging} (seq INTEGER PRIMARY KEY, epoch INTEGER, piece INTEGER, diff INTEGER{columns})"
    )
}

/// Adds rows to the running epoch.
pub(super) fn insert(transaction: &Transaction<'_>, store: &StoreParts<'_>, batch: &Batch, piece: i64) -> Result<()> {
    let failed = |error| store.failed(error);
    let fields = store.spec.schema.fields();
    let cells = fields.iter().zip(batch.rows.columns()).map(|(field, column)| Cells::new(field, column));
    let cells: Vec<Cells> = cells.collect::<Result<_>>()?;
    let names: String = (0..fields.len()).map(|at| format!(", {}", column(at))).collect();
    let places = ", ?".repeat(fields.len());
    let insert = format!("INSERT INTO {} (epoch, piece, diff{names}) VALUES (0, ?, ?{places})", store.staging);
    let mut statement = transaction.prepare_cached(&insert).map_err(failed)?;
    for row in 0..batch.n_rows() {
        let head = [piece, batch.diff(row)].map(rusqlite::types::ValueRef::Integer);
        let values = head.into_iter().chain(cells.iter().map(|cells| cells.value(row))).map(Bound);
        statement.execute(params_from_iter(values)).map_err(failed)?;
    }
    Ok(())
}

/// Gives the rows of the running epoch its number.
pub(super) fn name_epoch(transaction: &Transaction<'_>, store: &StoreParts<'_>, epoch: Epoch) -> Result<()> {
    let update = format!("UPDATE {} SET epoch = ?1 WHERE epoch = 0", store.staging);
    let number = i64::try_from(epoch.0).unwrap_or(i64::MAX);
    let mut statement = transaction.prepare_cached(&update).map_err(|error| store.failed(error))?;
    statement.execute([number]).map_err(|error| store.failed(error))?;
    Ok(())
}
