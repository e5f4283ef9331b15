//! PostgreSQL as a lookup table: rows of a table or view by any of their columns.
//!
//! | option | meaning |
//! |---|---|
//! | `url` | `postgresql://user:password@host:port/database`, as `psql` takes it; never printed |
//! | `sslmode`, `sslrootcert` | how the way is protected, see `address.rs` |
//! | `table` | the table or view, with its schema if need be: `public.customers`; by default the declared name |
//! | `connections` | how many connections a subtask opens, 2 by default |
//! | `cache.…`, `lookup.…` | see `lookups`, and the SQL reference |
//!
//! All keys of a request are one query, `… FROM unnest($1, …) AS k JOIN table …`, which an index over the key serves.
//! Values travel as text in ISO form and UTC, lists and structs as JSON. A connection that broke is made anew by the
//! next request.

mod address;
mod failure;
mod pool;

use crate::lookups::{Cell, Rows, cached, refuse_source, text_of};
pub(crate) use address::{Address, Connection};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use async_trait::async_trait;
pub(crate) use failure::failure;
use headwater_core::{
    Connector, Error, Found, Lookup, LookupColumns, LookupSpec, Result, SourceSpec, TableDefinition, TaskContext,
};
use pool::Pool;
use std::sync::Arc;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

/// How many connections a subtask opens unless the option says otherwise: one query is computed while the answer of
/// another travels.
const CONNECTIONS: usize = 2;
/// A bound for the option: more of them from every subtask is what servers are protected from.
const CONNECTIONS_MAX: usize = 64;

/// The connector.
#[derive(Debug)]
pub(crate) struct Postgres;

impl Connector for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn writes(&self) -> bool {
        false
    }

    fn only_looks_up(&self) -> bool {
        true
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        Err(refuse_source(self.name(), table))
    }

    fn lookup(&self, table: &TableDefinition) -> Result<Arc<dyn LookupSpec>> {
        let address = Address::of(&table.options, &table.base)?;
        let n = table.options.parse("connections", "a whole number")?.unwrap_or(CONNECTIONS);
        if !(1..=CONNECTIONS_MAX).contains(&n) {
            let error = Error::invalid(format!("the option connections = '{n}' is out of range"));
            return Err(error.with_help(format!("use 1 to {CONNECTIONS_MAX}")));
        }
        let name = table.options.get("table").unwrap_or(&table.name).to_owned();
        let spec = PostgresSpec { address, table: name, schema: table.columns()?, n_connections: n };
        cached(spec, table)
    }
}

#[derive(Clone)]
struct PostgresSpec {
    address: Address,
    table: String,
    schema: SchemaRef,
    n_connections: usize,
}

impl std::fmt::Debug for PostgresSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

#[async_trait]
impl LookupSpec for PostgresSpec {
    fn describe(&self) -> String {
        format!("postgres {} table {}", self.address.server, self.table)
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn key(&self, candidates: &[usize]) -> Result<Vec<usize>> {
        Ok(candidates.to_vec())
    }

    async fn open(&self, columns: &LookupColumns, _context: &TaskContext) -> Result<Arc<dyn Lookup>> {
        let pool = Pool::new(self.address.clone(), self.n_connections);
        let client = pool.client().await?;
        let types = self.types(&client).await?;
        let sql = self.sql(columns, &types)?;
        client
            .prepare_typed(&sql, &vec![Type::TEXT_ARRAY; columns.key.len()])
            .await
            .map_err(|e| failure(&self.address.server, &e))?;
        let schema = Arc::new(self.schema.project(&columns.wanted)?);
        let server = self.address.server.clone();
        Ok(Arc::new(PostgresLookup { pool, sql, schema, n_keys: columns.key.len(), server }))
    }
}

impl PostgresSpec {
    fn quoted_table(&self) -> String {
        sql_name(&self.table)
    }

    /// Asks for the columns of the table and their types.
    async fn types(&self, client: &Client) -> Result<Vec<(String, String)>> {
        let fail = |error| failure(&self.address.server, &error);
        let table = self.quoted_table();
        let row = client.query_one("SELECT to_regclass($1::text)::oid", &[&table]).await.map_err(fail)?;
        let Some(oid) = row.try_get::<_, Option<u32>>(0).map_err(fail)? else {
            let error = Error::not_found(format!("there is no table '{}' in {}", self.table, self.address.server));
            return Err(error.with_help("name it with the option table, with its schema if need be"));
        };
        let sql = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
                   WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
        let rows = client.query(sql, &[&oid]).await.map_err(fail)?;
        let types = rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        types.collect::<std::result::Result<_, _>>().map_err(fail)
    }

    /// Makes the query of all keys, with the number of the key first.
    fn sql(&self, columns: &LookupColumns, types: &[(String, String)]) -> Result<String> {
        let find = |column: &usize| {
            let name = self.schema.field(*column).name();
            types.iter().find(|(other, _)| other == name).ok_or_else(|| {
                let names: Vec<&str> = types.iter().map(|(name, _)| name.as_str()).collect();
                Error::conflict(format!("the table '{}' in {} has no column '{name}'", self.table, self.address.server))
                    .with_help(format!("its columns are: {}", names.join(", ")))
            })
        };
        let mut sql = "SELECT k.n".to_owned();
        for column in &columns.wanted {
            let (name, _) = find(column)?;
            let value = format!("t.{}", sql_quoted(name));
            let is_nested = self.schema.field(*column).data_type().is_nested();
            sql.push_str(&if is_nested { format!(", to_json({value})::text") } else { format!(", {value}::text") });
        }
        let (mut arrays, mut names, mut on) = (Vec::new(), Vec::new(), Vec::new());
        for (number, column) in columns.key.iter().enumerate() {
            let (name, data_type) = find(column)?;
            arrays.push(format!("${}::text[]::{data_type}[]", number + 1));
            names.push(format!("k{number}"));
            on.push(format!("t.{} = k.k{number}", sql_quoted(name)));
        }
        let (arrays, names, on) = (arrays.join(", "), names.join(", "), on.join(" AND "));
        let table = self.quoted_table();
        sql.push_str(&format!(
            " FROM unnest({arrays}) WITH ORDINALITY AS k({names}, n) JOIN {table} t ON {on} ORDER BY k.n"
        ));
        Ok(sql)
    }
}

struct PostgresLookup {
    pool: Pool,
    sql: String,
    schema: SchemaRef,
    n_keys: usize,
    server: String,
}

#[async_trait]
impl Lookup for PostgresLookup {
    async fn find(&self, keys: &RecordBatch) -> Result<Found> {
        let fail = |error| failure(&self.server, &error);
        let values = keys.columns().iter().map(parameter).collect::<Result<Vec<Vec<String>>>>()?;
        let parameters: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        let client = self.pool.client().await?;
        // The server has the statement already; asking for it costs a round trip less than a new query.
        let statement = client.prepare_typed(&self.sql, &vec![Type::TEXT_ARRAY; self.n_keys]).await.map_err(fail)?;
        let found = client.query(&statement, &parameters).await.map_err(fail)?;
        let mut rows = Rows::new(self.schema.clone());
        for row in &found {
            let number: i64 = row.try_get(0).map_err(fail)?;
            let key = u32::try_from(number - 1).map_err(|_| Error::internal("a row of no key"))?;
            let cells = self.schema.fields().iter().enumerate().map(|(at, field)| {
                let text: Option<String> = row.try_get(at + 1)?;
                Ok(text.map_or(Cell::Null, |text| cell(text, field.data_type())))
            });
            let cells: std::result::Result<Vec<Cell>, tokio_postgres::Error> = cells.collect();
            rows.push(key, cells.map_err(fail)?);
        }
        rows.found()
    }
}

/// Returns a key column as PostgreSQL reads such values.
fn parameter(column: &ArrayRef) -> Result<Vec<String>> {
    match column.data_type() {
        DataType::Binary => Ok(column.as_binary::<i32>().iter().map(|v| hex(v.unwrap_or_default())).collect()),
        _ => text_of(column),
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\\x{digits}")
}

/// Quotes the name of a table, with its schema or without.
pub(crate) fn sql_name(name: &str) -> String {
    name.split('.').map(sql_quoted).collect::<Vec<_>>().join(".")
}

/// Reads what PostgreSQL prints: bytes are in hexadecimal digits, everything else is as declared types are read.
pub(crate) fn cell(text: String, data_type: &DataType) -> Cell {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => match text.strip_prefix("\\x").map(unhex) {
            Some(Some(bytes)) => Cell::Bytes(bytes),
            _ => Cell::Bytes(text.into_bytes()),
        },
        _ => Cell::Text(text),
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Quotes an identifier.
pub(crate) fn sql_quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{Field, Schema};

    fn spec(url: &str) -> PostgresSpec {
        let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
        let fields = vec![
            Field::new("id", DataType::Int64, false),
            Field::new("na\"me", DataType::Utf8, true),
            Field::new("tags", list, true),
        ];
        let options = [("url".to_owned(), url.to_owned())].into_iter().collect();
        PostgresSpec {
            address: Address::of(&options, std::path::Path::new("")).expect("an address"),
            table: "crm.customers".into(),
            schema: Arc::new(Schema::new(fields)),
            n_connections: 1,
        }
    }

    #[test]
    fn what_is_shown_has_no_secrets() {
        let spec = spec("postgresql://alice:s3cret@db.example:5433/crm");
        assert_eq!(spec.describe(), "postgres db.example:5433/crm table crm.customers");
        let debug = format!("{spec:?}");
        assert!(!debug.contains("s3cret") && !debug.contains("alice"), "{debug}");
    }

    #[test]
    fn all_keys_are_one_query() {
        let types: Vec<(String, String)> = [("id", "integer"), ("na\"me", "character varying(20)"), ("tags", "text[]")]
            .map(|(name, data_type)| (name.to_owned(), data_type.to_owned()))
            .into();
        let columns = LookupColumns { key: vec![0, 1], wanted: vec![1, 2] };
        let sql = spec("postgresql://h/d").sql(&columns, &types).expect("all columns are there");
        let expected = "SELECT k.n, t.\"na\"\"me\"::text, to_json(t.\"tags\")::text \
             FROM unnest($1::text[]::integer[], $2::text[]::character varying(20)[]) WITH ORDINALITY AS k(k0, k1, n) \
             JOIN \"crm\".\"customers\" t ON t.\"id\" = k.k0 AND t.\"na\"\"me\" = k.k1 ORDER BY k.n";
        assert_eq!(sql, expected);
        let error = spec("postgresql://h/d").sql(&columns, &types[..2]).expect_err("a column is missing");
        assert_eq!(error.message(), "the table 'crm.customers' in h:5432/d has no column 'tags'");
    }

    #[test]
    fn bytes_travel_as_hexadecimal_digits() {
        assert_eq!(hex(&[0, 255, 16]), "\\x00ff10");
        assert_eq!(cell("\\x00ff10".into(), &DataType::Binary), Cell::Bytes(vec![0, 255, 16]));
        assert_eq!(cell("abc".into(), &DataType::Utf8), Cell::Text("abc".into()));
    }
}
