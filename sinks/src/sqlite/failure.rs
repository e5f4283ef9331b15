//! What a failed SQLite call means for the user. Pure.
//!
//! Only a file that is busy is `Unavailable`. A full disk, a failed write and a file that may not be written are
//! `Invalid`: repeating does not help, and the run ends with one message.

use headwater_core::{Error, ErrorKind};
use rusqlite::ErrorCode;
use std::path::Path;

/// Makes the error of a failed call on the file at `path`.
pub(super) fn sql(path: &Path, error: rusqlite::Error) -> Error {
    use ErrorCode as Code;
    let (kind, help) = match error.sqlite_error_code() {
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => (ErrorKind::Unavailable, None),
        Some(Code::DiskFull) => (ErrorKind::Invalid, Some("the disk is full: free some space and run again")),
        Some(Code::SystemIoFailure) => (ErrorKind::Invalid, Some("the disk refuses: check its space and its health")),
        Some(Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied) => {
            (ErrorKind::Invalid, Some("check that the folder exists and may be written"))
        }
        Some(Code::DatabaseCorrupt | Code::NotADatabase | Code::ConstraintViolation | Code::TypeMismatch) => {
            (ErrorKind::Data, None)
        }
        _ => (ErrorKind::Internal, None),
    };
    let failed = Error::new(kind, format!("SQLite file '{}': {error}", path.display())).with_cause(error);
    match help {
        Some(help) => failed.with_help(help),
        None => failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    #[test]
    fn a_full_disk_ends_the_run_with_the_file_and_the_way_out() {
        let connection = Connection::open_in_memory().expect("opens");
        connection.execute_batch("CREATE TABLE t (x); PRAGMA max_page_count = 3").expect("runs");
        let full = loop {
            if let Err(error) = connection.execute("INSERT INTO t VALUES (randomblob(1000))", []) {
                break sql(Path::new("metrics.db"), error);
            }
        };
        assert_eq!(full.kind(), ErrorKind::Invalid);
        expect_test::expect![[r#"
            SQLite file 'metrics.db': database or disk is full
            help: the disk is full: free some space and run again"#]]
        .assert_eq(&full.to_string());
    }

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let dir = tempfile::tempdir().expect("makes a folder");
        let path = dir.path().join("x.db");
        std::fs::write(&path, vec![b'x'; 4096]).expect("writes");
        let error = Connection::open(&path).and_then(|opened| opened.execute_batch("CREATE TABLE t (x)"));
        assert_eq!(sql(&path, error.expect_err("no database")).kind(), ErrorKind::Data);
    }
}
