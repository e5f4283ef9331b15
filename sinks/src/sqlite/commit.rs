//! The merge of one epoch from staging into the table: deletions by key, then insertions, by net multiplicity, and
//! the epoch's number, all in the transaction that it is given. No state.

use super::file::Node;
use super::schema::{names, quoted};
use super::stage::column;
use headwater_core::{Epoch, Error, Result};
use rusqlite::{OptionalExtension, Transaction, params};

/// The last epoch that each node committed, and in which run.
pub(super) const CREATE_EPOCHS: &str = "CREATE TABLE IF NOT EXISTS _headwater_epochs (\
     pipeline TEXT NOT NULL, node TEXT NOT NULL, run INTEGER NOT NULL, epoch INTEGER NOT NULL, \
     PRIMARY KEY (pipeline, node))";

/// What helps when a file is not what it was.
pub(super) const PUT_BACK: &str = "the file was changed or replaced: put it back, or start the pipeline anew";

/// Starts a run of a node and returns its number.
pub(super) fn start_run(transaction: &Transaction<'_>, node: &Node) -> Result<i64> {
    let start = "INSERT INTO _headwater_epochs VALUES (?1, ?2, 1, 0) \
                 ON CONFLICT (pipeline, node) DO UPDATE SET run = run + 1, epoch = 0 RETURNING run";
    let started = transaction.query_row(start, params![node.pipeline, node.name], |row| row.get(0));
    started.map_err(|error| node.failed(error))
}

/// Goes on with a run from the checkpoint of an epoch. Its number rises too, so that a process which is thought dead
/// and is not can commit no more. Returns it, and whether there was no such run.
pub(super) fn continue_run(transaction: &Transaction<'_>, node: &Node, restored: Epoch) -> Result<(i64, bool)> {
    let recorded = recorded(transaction, node)?;
    if let Some((_, last)) = recorded
        && last > number(restored)
    {
        let (table, file) = (&node.spec.table, node.spec.path.display());
        let message =
            format!("the table '{table}' in '{file}' has epoch {last}, the checkpoint is of epoch {restored}");
        return Err(Error::conflict(message)
            .with_help("go on from the newest checkpoint, or put back the file as it was at that checkpoint"));
    }
    let go_on = "INSERT INTO _headwater_epochs VALUES (?1, ?2, 1, 0) \
                 ON CONFLICT (pipeline, node) DO UPDATE SET run = run + 1 RETURNING run";
    let run = transaction.query_row(go_on, params![node.pipeline, node.name], |row| row.get(0));
    Ok((run.map_err(|error| node.failed(error))?, recorded.is_none()))
}

fn number(epoch: Epoch) -> i64 {
    i64::try_from(epoch.0).unwrap_or(i64::MAX)
}

/// Returns the run and the last epoch of a node.
fn recorded(transaction: &Transaction<'_>, node: &Node) -> Result<Option<(i64, i64)>> {
    let query = "SELECT run, epoch FROM _headwater_epochs WHERE pipeline = ?1 AND node = ?2";
    let recorded =
        transaction.query_row(query, params![node.pipeline, node.name], |row| Ok((row.get(0)?, row.get(1)?)));
    recorded.optional().map_err(|error| node.failed(error))
}

/// Whether a node's run is the newest one.
pub(super) fn is_current(transaction: &Transaction<'_>, node: &Node) -> Result<bool> {
    Ok(recorded(transaction, node)?.is_some_and(|(run, _)| run == node.run))
}

/// Whether an epoch is recorded already.
pub(super) fn is_done(transaction: &Transaction<'_>, node: &Node, epoch: Epoch) -> Result<bool> {
    match recorded(transaction, node)? {
        Some((run, last)) if run == node.run => Ok(number(epoch) <= last),
        _ => {
            let file = node.spec.path.display();
            let error = Error::conflict(format!("another run of pipeline '{}' writes to '{file}'", node.pipeline));
            Err(error.with_help("stop one of the two"))
        }
    }
}

/// Checks that all that was prepared is there.
pub(super) fn check_staged(transaction: &Transaction<'_>, node: &Node, epoch: Epoch, n_rows: u64) -> Result<()> {
    let query = format!("SELECT count(*) FROM {} WHERE epoch = ?1", node.staging);
    let n_staged: i64 =
        transaction.query_row(&query, [number(epoch)], |row| row.get(0)).map_err(|error| node.failed(error))?;
    if u64::try_from(n_staged).ok() == Some(n_rows) {
        return Ok(());
    }
    let (table, file) = (&node.spec.table, node.spec.path.display());
    let message = format!("'{file}' holds {n_staged} rows of epoch {epoch} for '{table}', {n_rows} were prepared");
    Err(Error::data(message).with_help(PUT_BACK))
}

/// Merges an epoch that is not recorded yet.
pub(super) fn epoch(transaction: &Transaction<'_>, node: &Node, epoch: Epoch) -> Result<()> {
    let failed = |error| node.failed(error);
    let last = recorded(transaction, node)?.map_or(0, |(_, last)| last);
    if last == 0 && node.spec.replaces {
        transaction.execute(&format!("DELETE FROM {}", quoted(&node.spec.table)), []).map_err(failed)?;
    }
    merge(transaction, node, number(epoch))?;
    let record = "UPDATE _headwater_epochs SET epoch = ?3 WHERE pipeline = ?1 AND node = ?2";
    transaction.execute(record, params![node.pipeline, node.name, number(epoch)]).map_err(failed)?;
    Ok(())
}

fn merge(transaction: &Transaction<'_>, node: &Node, epoch: i64) -> Result<()> {
    let failed = |error| node.failed(error);
    let staging = &node.staging;
    let query =
        format!("SELECT count(*), coalesce(max(piece), 0), coalesce(min(diff), 0) < 0 FROM {staging} WHERE epoch = ?1");
    let (n_rows, last_piece, deletes): (i64, i64, bool) =
        transaction.query_row(&query, [epoch], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).map_err(failed)?;
    if n_rows == 0 {
        return Ok(());
    }
    let columns: Vec<usize> = (0..node.spec.schema.fields().len()).collect();
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
        transaction.execute(&delete(node, &net)?, [epoch]).map_err(failed)?;
        let nulls = format!("SELECT EXISTS (SELECT 1 FROM {staging} WHERE epoch = ?1 AND ({}))", is_null(node));
        if transaction.query_row(&nulls, [epoch], |row| row.get(0)).map_err(failed)? {
            transaction.execute(&delete_null_keys(node, &net), [epoch]).map_err(failed)?;
        }
    }
    transaction.execute(&insert(node, &net, &staged), [epoch]).map_err(failed)?;
    transaction.execute(&format!("DELETE FROM {staging} WHERE epoch = ?1"), [epoch]).map_err(failed)?;
    Ok(())
}

fn delete(node: &Node, net: &str) -> Result<String> {
    let spec = &node.spec;
    if spec.key.is_empty() {
        return Err(Error::internal(format!("a deletion reached the table '{}', which has no key", spec.table)));
    }
    let keys: Vec<String> = spec.key.iter().map(|at| column(*at)).collect();
    let target = quoted(&spec.table);
    let keyed = names(spec, &spec.key);
    Ok(format!("DELETE FROM {target} WHERE ({keyed}) IN (SELECT {} FROM {net} WHERE diff < 0)", keys.join(", ")))
}

fn is_null(node: &Node) -> String {
    let parts: Vec<String> = node.spec.key.iter().map(|at| format!("{} IS NULL", column(*at))).collect();
    parts.join(" OR ")
}

/// A key with a null part is equal to nothing, and needs `IS`.
fn delete_null_keys(node: &Node, net: &str) -> String {
    let spec = &node.spec;
    let target = quoted(&spec.table);
    let same =
        spec.key.iter().map(|at| format!("kept.{} IS net.{}", quoted(spec.schema.field(*at).name()), column(*at)));
    let same: Vec<String> = same.collect();
    format!(
        "DELETE FROM {target} WHERE rowid IN (SELECT kept.rowid FROM {net} AS net, {target} AS kept \
         WHERE net.diff < 0 AND ({}) AND {})",
        is_null(node),
        same.join(" AND ")
    )
}

fn insert(node: &Node, net: &str, staged: &str) -> String {
    let spec = &node.spec;
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
