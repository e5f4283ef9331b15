//! Redis as a lookup table: one row a key, whose value is a JSON object or a hash.
//!
//! | option | meaning |
//! |---|---|
//! | `url` | `redis://user:password@host:port/database`, never printed; `address` is the same |
//! | `key` | how the key of a row is made: `customer:{id}`; by default the column of the primary key alone |
//! | `value` | `json` (default): the value is a JSON object with a field a column; `hash`: it is a hash with a field a column |
//! | `cache.…`, `lookup.…` | see `lookups`, and the SQL reference |
//!
//! The columns that the key names are not read from the value unless it has them. A field that is missing is null. All
//! keys of a request are one pipeline over one connection, which is made anew when it broke.

mod pattern;

use crate::lookups::{Cell, Rows, cached, refuse_source, text_of};
use ::redis::{AsyncConnectionConfig, Client, ErrorKind as RedisKind, RedisError, RedisResult, ServerErrorKind};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use headwater_core::{
    Connector, Error, Found, Lookup, LookupColumns, LookupSpec, Result, SourceSpec, TableDefinition, TaskContext,
};
use pattern::Pattern;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Mutex;

/// The connector.
#[derive(Debug)]
pub(crate) struct Redis;

impl Connector for Redis {
    fn name(&self) -> &'static str {
        "redis"
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
        let options = &table.options;
        let url = match options.get("address") {
            Some(url) => url,
            None => options.require("url")?,
        };
        // The value may hold a password, so no message shows it.
        let client = Client::open(url).map_err(|_| {
            Error::invalid("the option 'url' is no address of a Redis server")
                .with_help("write redis://user:password@host:port/database")
        })?;
        options.one_of("format", "json", &["json"])?;
        let value = match options.one_of("value", "json", &["json", "hash"])? {
            "hash" => ValueKind::Hash,
            _ => ValueKind::Json,
        };
        let schema = table.columns()?;
        let pattern = match (options.get("key"), table.primary_key.as_slice()) {
            (Some(text), _) => Pattern::parse(text, &schema)?,
            (None, [column]) => Pattern::column(*column),
            (None, _) => {
                let error = Error::invalid(format!("nothing says how the keys of '{}' are made", table.name));
                return Err(
                    error.with_help("add key = 'prefix:{column}' to WITH, or declare a PRIMARY KEY of one column")
                );
            }
        };
        let server = client.get_connection_info().addr().to_string();
        cached(RedisSpec { table: table.name.clone(), client, server, pattern, value, schema }, table)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ValueKind {
    Json,
    Hash,
}

#[derive(Clone)]
struct RedisSpec {
    table: String,
    client: Client,
    server: String,
    pattern: Pattern,
    value: ValueKind,
    schema: SchemaRef,
}

impl std::fmt::Debug for RedisSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

#[async_trait]
impl LookupSpec for RedisSpec {
    fn describe(&self) -> String {
        let value = if self.value == ValueKind::Hash { "hash" } else { "json" };
        format!("redis {} key '{}' {value}", self.server, self.pattern.shown(&self.schema))
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn key(&self, candidates: &[usize]) -> Result<Vec<usize>> {
        let key = self.pattern.columns();
        if key.iter().all(|column| candidates.contains(column)) {
            return Ok(key);
        }
        let names: Vec<&str> = key.iter().map(|column| self.schema.field(*column).name().as_str()).collect();
        let error = Error::invalid(format!("the rows of '{}' are found by {} alone", self.table, names.join(" and ")));
        Err(error.with_help(format!("compare it: ON row.{0} = {1}.{0}", names.join(" AND …"), self.table)))
    }

    async fn open(&self, columns: &LookupColumns, _context: &TaskContext) -> Result<Arc<dyn Lookup>> {
        let lookup = RedisLookup { spec: self.clone(), columns: columns.clone(), connection: Mutex::new(None) };
        lookup.connection().await?;
        Ok(Arc::new(lookup))
    }
}

struct RedisLookup {
    spec: RedisSpec,
    columns: LookupColumns,
    connection: Mutex<Option<::redis::aio::MultiplexedConnection>>,
}

/// A hash as Redis gives it.
type Hash = HashMap<String, Vec<u8>>;

/// The value of one key, by field.
type Fields = HashMap<String, Cell>;

#[async_trait]
impl Lookup for RedisLookup {
    async fn find(&self, keys: &RecordBatch) -> Result<Found> {
        let texts = keys.columns().iter().map(text_of).collect::<Result<Vec<_>>>()?;
        let names: Vec<String> = (0..keys.num_rows()).map(|row| self.spec.pattern.fill(&texts, row)).collect();
        let wanted = Arc::new(self.spec.schema.project(&self.columns.wanted)?);
        let mut rows = Rows::new(wanted);
        for (number, value) in (0_u32..).zip(self.ask(&names).await?) {
            match value {
                Ok(None) => {}
                Ok(Some(fields)) => {
                    let cells = self.columns.wanted.iter().map(|column| {
                        let name = self.spec.schema.field(*column).name();
                        let of_key = self.columns.key.iter().position(|key| key == column);
                        let of_key = of_key.map(|at| Cell::Text(texts[at][number as usize].clone()));
                        fields.get(name).cloned().or(of_key).unwrap_or(Cell::Null)
                    });
                    rows.push(number, cells);
                }
                Err(message) => rows.fail(number, Error::data(format!("key '{}': {message}", names[number as usize]))),
            }
        }
        rows.found()
    }
}

impl RedisLookup {
    async fn connection(&self) -> Result<::redis::aio::MultiplexedConnection> {
        let mut place = self.connection.lock().await;
        if let Some(connection) = place.as_ref() {
            return Ok(connection.clone());
        }
        // The engine keeps the time of requests.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let made = self.spec.client.get_multiplexed_async_connection_with_config(&config).await;
        let connection = made.map_err(|error| self.failure(&error))?;
        *place = Some(connection.clone());
        Ok(connection)
    }

    /// Returns for each key its fields, nothing, or what is wrong with its value.
    async fn ask(&self, names: &[String]) -> Result<Vec<Result<Option<Fields>, String>>> {
        let mut connection = self.connection().await?;
        let mut pipeline = ::redis::pipe();
        let command = if self.spec.value == ValueKind::Hash { "HGETALL" } else { "GET" };
        for name in names {
            pipeline.cmd(command).arg(name);
        }
        pipeline.ignore_errors();
        let result = match self.spec.value {
            ValueKind::Json => {
                let values: RedisResult<Vec<RedisResult<Option<Vec<u8>>>>> =
                    pipeline.query_async(&mut connection).await;
                values.map(|values| {
                    values
                        .into_iter()
                        .map(|value| value.map(|value| value.map(|v| json(&v)).transpose()))
                        .collect::<Vec<_>>()
                })
            }
            ValueKind::Hash => {
                let values: RedisResult<Vec<RedisResult<Hash>>> = pipeline.query_async(&mut connection).await;
                values.map(|values| {
                    values.into_iter().map(|value| value.map(|value| Ok(hash(value)))).collect::<Vec<_>>()
                })
            }
        };
        let answers = match result {
            Ok(answers) => answers,
            Err(error) => {
                self.connection.lock().await.take();
                return Err(self.failure(&error));
            }
        };
        let is_about_value = |error: &RedisError| error.code() == Some("WRONGTYPE");
        answers
            .into_iter()
            .map(|answer| match answer {
                Ok(value) => Ok(value),
                Err(error) if is_about_value(&error) => Ok(Err(format!("the value is no {}", command_value(command)))),
                Err(error) => Err(self.failure(&error)),
            })
            .collect()
    }

    fn failure(&self, error: &RedisError) -> Error {
        let message = format!("Redis at {}: {error}", self.spec.server);
        let again = [
            ServerErrorKind::BusyLoading,
            ServerErrorKind::TryAgain,
            ServerErrorKind::ClusterDown,
            ServerErrorKind::MasterDown,
        ];
        match error.kind() {
            RedisKind::Io => Error::unavailable(message),
            RedisKind::Server(kind) if again.contains(&kind) => Error::unavailable(message),
            _ if error.is_unrecoverable_error() || error.is_connection_dropped() => Error::unavailable(message),
            _ => Error::invalid(message),
        }
    }
}

fn command_value(command: &str) -> &'static str {
    if command == "GET" { "text" } else { "hash" }
}

/// Reads a JSON object.
fn json(bytes: &[u8]) -> Result<Fields, String> {
    let object: serde_json::Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|error| format!("the value is no JSON object: {error}"))?;
    let cell = |value: Value| match value {
        Value::Null => Cell::Null,
        Value::String(text) => Cell::Text(text),
        other => Cell::Text(other.to_string()),
    };
    Ok(object.into_iter().map(|(name, value)| (name, cell(value))).collect())
}

/// Reads a hash; one without fields is a key that is not there.
fn hash(fields: Hash) -> Option<Fields> {
    if fields.is_empty() {
        return None;
    }
    Some(fields.into_iter().map(|(name, value)| (name, Cell::Bytes(value))).collect())
}
