//! Brings a SQLite store to the newest schema, one numbered step after the other, each in a transaction.

use headwater_core::{Error, ErrorKind, Result};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// How long a migration waits for another process that writes to the store.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the store, creates it where it is missing, and applies the migrations that it does not have yet. The number of
/// the last one applied is SQLite's `user_version`.
///
/// # Errors
/// `Conflict` when the store is newer than these migrations, `Invalid` when it cannot be opened, `Data` when it is not a
/// SQLite file, `Unavailable` when the disk is full or the store is locked.
pub fn migrate(store: &Path, migrations: &[&str]) -> Result<()> {
    let place = |error: rusqlite::Error| failure(store, &error);
    let mut connection = Connection::open(store).map_err(place)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(place)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(place)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(place)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(place)?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    if version > migrations.len() {
        return Err(Error::conflict(format!(
            "the store '{}' has schema version {version}, this Headwater knows {}",
            store.display(),
            migrations.len()
        ))
        .with_help("use the Headwater that wrote it, or another --data folder"));
    }
    for migration in &migrations[version..] {
        transaction.execute_batch(migration).map_err(place)?;
    }
    transaction
        .pragma_update(None, "user_version", i64::try_from(migrations.len()).unwrap_or(i64::MAX))
        .map_err(place)?;
    transaction.commit().map_err(place)
}

fn failure(store: &Path, error: &rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => ErrorKind::Invalid,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ErrorKind::Data,
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::DatabaseBusy) => ErrorKind::Unavailable,
        _ => ErrorKind::Internal,
    };
    Error::new(kind, format!("store '{}': {error}", store.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user_version(store: &Path) -> i64 {
        let connection = Connection::open(store).expect("the store exists");
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("every store has one")
    }

    #[test]
    fn steps_are_applied_once_and_a_newer_store_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = folder.path().join("s.db");
        let steps = ["CREATE TABLE a (x)", "CREATE TABLE b (x)"];
        migrate(&store, &steps[..1]).expect("a new store");
        assert_eq!(user_version(&store), 1);
        migrate(&store, &steps).expect("one step more; the first one again would fail");
        assert_eq!(user_version(&store), 2);
        let error = migrate(&store, &steps[..1]).expect_err("the store is newer");
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }

    #[test]
    fn a_failing_step_leaves_the_store_as_it_was() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = folder.path().join("s.db");
        migrate(&store, &["CREATE TABLE a (x)", "CREATE TABEL b (x)"]).expect_err("the second step is wrong");
        assert_eq!(user_version(&store), 0);
        migrate(&store, &["CREATE TABLE a (x)"]).expect("nothing of the failed attempt is left");
    }

    #[test]
    fn a_file_that_is_no_store_is_named() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = folder.path().join("s.db");
        std::fs::write(&store, "this is a text file, long enough to be looked at as a header").expect("written");
        let error = migrate(&store, &[]).expect_err("no SQLite file");
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains("s.db"), "{error}");
    }
}
