//! The staging table: rows with their multiplicity, the piece they came in and the epoch they belong to. Columns have
//! no type there, so that nothing is converted twice. Epoch 0 is the running one. No state.

use super::file::Node;
use super::value::{Bound, Cells};
use headwater_core::{Batch, Epoch, Error, Result};
use rusqlite::{Transaction, params_from_iter};

/// How many columns there are of its own.
const COLUMNS: usize = 4;

/// Returns the name of the `at`th column there.
pub(super) fn column(at: usize) -> String {
    format!("c{at}")
}

/// Makes an empty staging table.
pub(super) fn create(transaction: &Transaction<'_>, node: &Node) -> Result<()> {
    let columns: String = (0..node.spec.schema.fields().len()).map(|at| format!(", {}", column(at))).collect();
    let staging = &node.staging;
    let create = format!(
        "DROP TABLE IF EXISTS {staging}; \
         CREATE TABLE {staging} (seq INTEGER PRIMARY KEY, epoch INTEGER, piece INTEGER, diff INTEGER{columns})"
    );
    transaction.execute_batch(&create).map_err(|error| node.failed(error))
}

/// Keeps what an earlier run staged for an epoch and clears everything else.
pub(super) fn keep(transaction: &Transaction<'_>, node: &Node, epoch: Epoch) -> Result<()> {
    let failed = |error| node.failed(error);
    let columns = "SELECT count(*) FROM pragma_table_info(?1)";
    let n_columns: i64 = transaction.query_row(columns, [node.staging_name()], |row| row.get(0)).map_err(failed)?;
    let n_columns = usize::try_from(n_columns).unwrap_or(0);
    if n_columns == 0 {
        return create(transaction, node);
    }
    let number = i64::try_from(epoch.0).unwrap_or(i64::MAX);
    let staging = &node.staging;
    transaction.execute(&format!("DELETE FROM {staging} WHERE epoch <> ?1"), [number]).map_err(failed)?;
    if n_columns == node.spec.schema.fields().len() + COLUMNS {
        return Ok(());
    }
    let kept = format!("SELECT count(*) FROM {staging}");
    let n_rows: i64 = transaction.query_row(&kept, [], |row| row.get(0)).map_err(failed)?;
    if n_rows == 0 {
        return create(transaction, node);
    }
    let message = format!(
        "the table '{}' had {} columns when epoch {epoch} was prepared, and has {} now",
        node.spec.table,
        n_columns - COLUMNS,
        node.spec.schema.fields().len()
    );
    Err(Error::conflict(message).with_help("run the pipeline once as it was, then change it"))
}

/// Adds rows to the running epoch.
pub(super) fn insert(transaction: &Transaction<'_>, node: &Node, batch: &Batch, piece: i64) -> Result<()> {
    let failed = |error| node.failed(error);
    let fields = node.spec.schema.fields();
    let cells = fields.iter().zip(batch.rows.columns()).map(|(field, column)| Cells::new(field, column));
    let cells: Vec<Cells> = cells.collect::<Result<_>>()?;
    let names: String = (0..fields.len()).map(|at| format!(", {}", column(at))).collect();
    let places = ", ?".repeat(fields.len());
    let insert = format!("INSERT INTO {} (epoch, piece, diff{names}) VALUES (0, ?, ?{places})", node.staging);
    let mut statement = transaction.prepare_cached(&insert).map_err(failed)?;
    for row in 0..batch.n_rows() {
        let head = [piece, batch.diff(row)].map(rusqlite::types::ValueRef::Integer);
        let values = head.into_iter().chain(cells.iter().map(|cells| cells.value(row))).map(Bound);
        statement.execute(params_from_iter(values)).map_err(failed)?;
    }
    Ok(())
}

/// Gives the rows of the running epoch its number.
pub(super) fn name_epoch(transaction: &Transaction<'_>, node: &Node, epoch: Epoch) -> Result<()> {
    let update = format!("UPDATE {} SET epoch = ?1 WHERE epoch = 0", node.staging);
    let number = i64::try_from(epoch.0).unwrap_or(i64::MAX);
    let mut statement = transaction.prepare_cached(&update).map_err(|error| node.failed(error))?;
    statement.execute([number]).map_err(|error| node.failed(error))?;
    Ok(())
}
