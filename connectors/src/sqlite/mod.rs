//! SQLite as a lookup table: rows of a table or view by any of their columns.
//!
//! | option | meaning |
//! |---|---|
//! | `path` | the database file, relative to the pipeline; it is opened for reading only |
//! | `table` | the table or view; by default the name of the declared table |
//! | `cache.…`, `lookup.…` | see `lookups`, and the SQL reference |
//!
//! Each subtask has one connection and runs its queries on the threads for blocking calls. An index over the key is
//! the user's business. A locked database is waited for, and asked again.

use crate::lookups::{Cell, Rows, cached, text_of};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef};
use async_trait::async_trait;
use headwater_core::{
    Connector, Error, Found, Lookup, LookupColumns, LookupSpec, Result, SourceSpec, TableDefinition, TaskContext,
};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, params_from_iter};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a locked database is waited for before the engine is told: the length of somebody else's commit.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// The connector.
#[derive(Debug)]
pub(crate) struct Sqlite;

impl Connector for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn writes(&self) -> bool {
        false
    }

    fn only_looks_up(&self) -> bool {
        true
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        Err(crate::lookups::refuse_source(self.name(), table))
    }

    fn lookup(&self, table: &TableDefinition) -> Result<Arc<dyn LookupSpec>> {
        let spec = SqliteSpec {
            path: table.base.join(table.options.require("path")?),
            shown: table.options.require("path")?.to_owned(),
            table: table.options.get("table").unwrap_or(&table.name).to_owned(),
            schema: table.columns()?,
        };
        cached(spec, table)
    }
}

#[derive(Debug, Clone)]
struct SqliteSpec {
    path: PathBuf,
    shown: String,
    table: String,
    schema: SchemaRef,
}

#[async_trait]
impl LookupSpec for SqliteSpec {
    fn describe(&self) -> String {
        format!("sqlite '{}' table {}", self.shown, self.table)
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn key(&self, candidates: &[usize]) -> Result<Vec<usize>> {
        Ok(candidates.to_vec())
    }

    async fn open(&self, columns: &LookupColumns, _context: &TaskContext) -> Result<Arc<dyn Lookup>> {
        let (spec, columns) = (self.clone(), columns.clone());
        blocking(move || {
            let connection = spec.connect()?;
            let name = |column: &usize| quoted(spec.schema.field(*column).name());
            let wanted: Vec<String> = columns.wanted.iter().map(name).collect();
            let key: Vec<String> = columns.key.iter().map(|column| format!("{} = ?", name(column))).collect();
            // A query for no column would be a syntax error.
            let wanted = if wanted.is_empty() { "1".to_owned() } else { wanted.join(", ") };
            let sql = format!("SELECT {wanted} FROM {} WHERE {}", quoted(&spec.table), key.join(" AND "));
            connection.prepare(&sql).map(drop).map_err(|e| failure(&spec, &e))?;
            let schema = Arc::new(spec.schema.project(&columns.wanted)?);
            Ok(Arc::new(SqliteLookup { connection: Arc::new(Mutex::new(connection)), sql, schema, spec })
                as Arc<dyn Lookup>)
        })
        .await
    }
}

impl SqliteSpec {
    fn connect(&self) -> Result<Connection> {
        if !self.path.exists() {
            let error = Error::not_found(format!("there is no file '{}'", self.path.display()));
            return Err(error.with_help("check the option path; it is relative to the pipeline"));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|e| failure(self, &e))?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(|e| failure(self, &e))?;
        let mut statement =
            connection.prepare("SELECT name FROM pragma_table_xinfo(?1)").map_err(|e| failure(self, &e))?;
        let names: rusqlite::Result<Vec<String>> =
            statement.query_map([&self.table], |row| row.get(0)).and_then(Iterator::collect);
        let names = names.map_err(|e| failure(self, &e))?;
        drop(statement);
        if names.is_empty() {
            let error = Error::not_found(format!("there is no table '{}' in '{}'", self.table, self.shown));
            return Err(error.with_help("name it with the option table"));
        }
        // SQLite takes an unknown column in double quotes for a text.
        let is_there = |name: &str| names.iter().any(|other| other.eq_ignore_ascii_case(name));
        match self.schema.fields().iter().find(|field| !is_there(field.name())) {
            None => Ok(connection),
            Some(field) => {
                let message =
                    format!("the table '{}' in '{}' has no column '{}'", self.table, self.shown, field.name());
                Err(Error::conflict(message).with_help(format!("its columns are: {}", names.join(", "))))
            }
        }
    }
}

struct SqliteLookup {
    connection: Arc<Mutex<Connection>>,
    sql: String,
    schema: SchemaRef,
    spec: SqliteSpec,
}

#[async_trait]
impl Lookup for SqliteLookup {
    async fn find(&self, keys: &RecordBatch) -> Result<Found> {
        let columns = keys.columns().iter().map(values).collect::<Result<Vec<_>>>()?;
        let n_keys = u32::try_from(keys.num_rows()).unwrap_or(u32::MAX);
        let (connection, sql, schema, spec) =
            (self.connection.clone(), self.sql.clone(), self.schema.clone(), self.spec.clone());
        blocking(move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let mut statement = connection.prepare_cached(&sql).map_err(|e| failure(&spec, &e))?;
            let mut rows = Rows::new(schema.clone());
            for key in 0..n_keys {
                let parameters = params_from_iter(columns.iter().map(|column| &column[key as usize]));
                let mut found = statement.query(parameters).map_err(|e| failure(&spec, &e))?;
                while let Some(row) = found.next().map_err(|e| failure(&spec, &e))? {
                    let cells = (0..schema.fields().len()).map(|at| row.get_ref(at).map(cell));
                    rows.push(key, cells.collect::<rusqlite::Result<Vec<_>>>().map_err(|e| failure(&spec, &e))?);
                }
            }
            rows.found()
        })
        .await
    }
}

/// Returns the values of a key column as SQLite keeps such values.
fn values(column: &ArrayRef) -> Result<Vec<Value>> {
    Ok(match column.data_type() {
        DataType::Boolean => {
            column.as_boolean().iter().map(|v| v.map_or(Value::Null, |v| i64::from(v).into())).collect()
        }
        data_type if data_type.is_integer() && *data_type != DataType::UInt64 => {
            let numbers = cast(column, &DataType::Int64)?;
            numbers.as_primitive::<Int64Type>().iter().map(|v| v.map_or(Value::Null, Value::from)).collect()
        }
        data_type if data_type.is_floating() => {
            let numbers = cast(column, &DataType::Float64)?;
            numbers.as_primitive::<Float64Type>().iter().map(|v| v.map_or(Value::Null, Value::from)).collect()
        }
        DataType::Binary => {
            column.as_binary::<i32>().iter().map(|v| v.map_or(Value::Null, |v| v.to_vec().into())).collect()
        }
        _ => text_of(column)?.into_iter().map(Value::Text).collect(),
    })
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Real(number) => Cell::Real(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Bytes(bytes.to_vec()),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn failure(spec: &SqliteSpec, error: &rusqlite::Error) -> Error {
    let message = format!("cannot look up in '{}': {error}", spec.shown);
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::SchemaChanged) => {
            Error::unavailable(message)
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Error::conflict(message),
        _ => Error::invalid(message),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let result = tokio::task::spawn_blocking(work).await;
    result.unwrap_or_else(|error| Err(Error::internal(format!("a query ended early: {error}"))))
}
