//! `headwater query`: read-only SQL over the reporting store, printed as a table.

use crate::data_folder::DataFolder;
use crate::output::show_line;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use headwater_core::{Error, Result};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;

/// The most rows that are printed: a terminal is for looking, files are for more.
const ROWS_MAX: usize = 1_000;

/// Answers `sql` from the store of the data folder.
pub(crate) fn query(data: &Path, sql: &str) -> Result<()> {
    let store = DataFolder::existing(data)?.store();
    show_line(answer(&store, sql)?);
    Ok(())
}

/// Answers `sql` as a printed table.
pub(crate) fn answer(store: &Path, sql: &str) -> Result<String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(store, flags)
        .map_err(|e| Error::not_found(format!("cannot open '{}': {e}", store.display())))?;
    let wrong = |error: rusqlite::Error| {
        Error::invalid(format!("the query failed: {error}"))
            .with_help("list the tables with \"SELECT name FROM sqlite_master WHERE type = 'table'\"")
    };
    let mut statement = connection.prepare(sql).map_err(wrong)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut columns: Vec<Vec<Option<String>>> = vec![Vec::new(); names.len()];
    let mut rows = statement.query([]).map_err(wrong)?;
    let mut n_rows = 0;
    let mut more = false;
    while let Some(row) = rows.next().map_err(wrong)? {
        if n_rows == ROWS_MAX {
            more = true;
            break;
        }
        n_rows += 1;
        for (index, column) in columns.iter_mut().enumerate() {
            column.push(shown(row.get_ref(index).map_err(wrong)?));
        }
    }
    let arrays = names.into_iter().zip(columns);
    let arrays = arrays.map(|(name, column)| (name, Arc::new(StringArray::from(column)) as ArrayRef, true));
    let batch = RecordBatch::try_from_iter_with_nullable(arrays)?;
    let mut text = pretty_format_batches(&[batch])?.to_string();
    if more {
        text.push_str(&format!("\nthe first {ROWS_MAX} rows; narrow the query to see others"));
    }
    Ok(text)
}

fn shown(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Some(format!("{} bytes", bytes.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_rows_and_refuses_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("s.db");
        Connection::open(&store)
            .unwrap()
            .execute_batch("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, NULL)")
            .unwrap();
        let expected = "+---+---+\n| a | b |\n+---+---+\n| 1 |   |\n+---+---+";
        assert_eq!(answer(&store, "SELECT * FROM t").unwrap(), expected);
        let error = answer(&store, "DELETE FROM t").unwrap_err();
        assert!(error.to_string().contains("readonly"), "{error}");
    }
}
