//! The merge of one epoch from staging into the table: deletions by key, then insertions, by net multiplicity, and
//! the epoch's number, all in the transaction that it is given. No state.

use super::schema::{names, quoted};
use super::stage::column;
use super::store::StoreParts;
use headwater_core::{Epoch, Error, Result};
use rusqlite::{Transaction, params};

/// The last epoch that each node committed, and in which run.
pub(super) const CREATE_EPOCHS: &str = "CREATE TABLE IF NOT EXISTS _headwater_epochs (\
     pipeline TEXT NOT NULL, node TEXT NOT NULL, run INTEGER NOT NULL, epoch INTEGER NOT NULL, \
     PRIMARY KEY (pipeline, node))";

/// Starts a run of a node and returns its number.
pub(super) const START_RUN: &str = "INSERT INTO _headwater_epochs VALUES (?1, ?2, 1, 0) \
     ON CONFLICT (pipeline, node) DO UPDATE SET run = run + 1, epoch = 0 RETURNING run";

/// Merges an epoch, unless it is recorded already.
pub(super) fn epoch(transaction: &Transaction<'_>, store: &StoreParts<'_>, epoch: Epoch) -> Result<()> {
    let failed = |error| store.failed(error);
    let number = i64::try_from(epoch.0).unwrap_or(i64::MAX);
    let query = "SELECT run, epoch FROM _headwater_epochs WHERE pipeline = ?1 AND node = ?2";
    let recorded = transaction.query_row(query, params![store.pipeline, store.node], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    });
    let (run, last) = recorded.map_err(failed)?;
    if run != store.run {
        let message = format!("another run of pipeline '{}' writes to '{}'", store.pipeline, store.spec.path.display());
        return Err(Error::conflict(message).with_help("stop one of the two"));
    }
    if number <= last {
        return Ok(());
    }
    if last == 0 && store.spec.replaces {
        transaction.execute(&format!("DELETE FROM {}", quoted(&store.spec.table)), []).map_err(failed)?;
    }
    merge(transaction, store, number)?;
    let record = "UPDATE _headwater_epochs SET epoch = ?3 WHERE pipeline = ?1 AND node = ?2";
    transaction.execute(record, params![store.pipeline, store.node, number]).map_err(failed)?;
    Ok(())
}

fn merge(transaction: &Transaction<'_>, store: &StoreParts<'_>, epoch: i64) -> Result<()> {
    let failed = |error| store.failed(error);
    let staging = store.staging;
    let query =
        format!("SELECT count(*), coalesce(max(piece), 0), coalesce(min(diff), 0) < 0 FROM {staging} WHERE epoch = ?1");
    let (n_rows, last_piece, deletes): (i64, i64, bool) =
        transaction.query_row(&query, [epoch], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(failed)?;
    if n_rows == 0 {
        return Ok(());
    }
    let columns: Vec<usize> = (0..store.spec.schema.fields().len()).collect();
    let staged: Vec<String> = columns.iter().map(|at| column(*at)).collect();
    let staged = staged.join(", ");
    // One piece is net already; several may cancel each other.
    let net = if deletes && last_piece > 0 {
        format!(
            "(SELECT max(seq) AS seq, sum(diff) AS diff, {staged} FROM {staging} WHERE epoch = ?1 \
             GROUP BY {staged} HAVING sum(diff) <> 0)"
        )
    } else {
        format!("(SELECT seq, diff, {staged} FROM {staging} WHERE epoch = ?1)")
    };
    if deletes {
        transaction.execute(&delete(store, &net)?, [epoch]).map_err(failed)?;
        let nulls = format!("SELECT EXISTS (SELECT 1 FROM {staging} WHERE epoch = ?1 AND ({}))", is_null(store));
        if transaction.query_row(&nulls, [epoch], |row| row.get(0)).map_err(failed)? {
            transaction.execute(&delete_null_keys(store, &net), [epoch]).map_err(failed)?;
        }
    }
    transaction.execute(&insert(store, &net, &staged), [epoch]).map_err(failed)?;
    transaction.execute(&format!("DELETE FROM {staging} WHERE epoch = ?1"), [epoch]).map_err(failed)?;
    Ok(())
}

fn delete(store: &StoreParts<'_>, net: &str) -> Result<String> {
    let spec = store.spec;
    if spec.key.is_empty() {
        return Err(Error::internal(format!("a deletion reached the table '{}', which has no key", spec.table)));
    }
    let keys: Vec<String> = spec.key.iter().map(|at| column(*at)).collect();
    let target = quoted(&spec.table);
    let keyed = names(spec, &spec.key);
    Ok(format!("DELETE FROM {target} WHERE ({keyed}) IN (SELECT {} FROM {net} WHERE diff < 0)", keys.join(", ")))
}

fn is_null(store: &StoreParts<'_>) -> String {
    let parts: Vec<String> = store.spec.key.iter().map(|at| format!("{} IS NULL", column(*at))).collect();
    parts.join(" OR ")
}

/// A key with a null part is equal to nothing, and needs `IS`.
fn delete_null_keys(store: &StoreParts<'_>, net: &str) -> String {
    let spec = store.spec;
    let target = quoted(&spec.table);
    let same =
        spec.key.iter().map(|at| format!("kept.{} IS net.{}", quoted(spec.schema.field(*at).name()), column(*at)));
    let same: Vec<String> = same.collect();
    format!(
        "DELETE FROM {target} WHERE rowid IN (SELECT kept.rowid FROM {net} AS net, {target} AS kept \
         WHERE net.diff < 0 AND ({}) AND {})",
        is_null(store),
        same.join(" AND ")
    )
}

fn insert(store: &StoreParts<'_>, net: &str, staged: &str) -> String {
    let spec = store.spec;
    let columns: Vec<usize> = (0..spec.schema.fields().len()).collect();
    let target = quoted(&spec.table);
    let rest: Vec<String> = columns
        .iter()
        .filter(|at| !spec.key.contains(at))
        .map(|at| quoted(spec.schema.field(*at).name()))
        .map(|name| format!("{name} = excluded.{name}"))
        .collect();
    let on_conflict = match (spec.key.is_empty(), spec.ignores || rest.is_empty()) {
        (true, _) => String::new(),
        (false, true) => format!(" ON CONFLICT ({}) DO NOTHING", names(spec, &spec.key)),
        (false, false) => format!(" ON CONFLICT ({}) DO UPDATE SET {}", names(spec, &spec.key), rest.join(", ")),
    };
    let columns = names(spec, &columns);
    format!("INSERT INTO {target} ({columns}) SELECT {staged} FROM {net} WHERE diff > 0 ORDER BY seq{on_conflict}")
}
