//! PostgreSQL's changes: a table as it is, and then every change of it, by logical replication.
//!
//! Rows come as Debezium's events (`before`, `after`, `op`), which the planner turns into changes of rows; with a
//! `PRIMARY KEY` the operator `upsert` keeps the row of each key.
//!
//! | option | meaning |
//! |---|---|
//! | `url` | `postgresql://user:password@host:port/database`; never printed |
//! | `sslmode`, `sslrootcert` | how the way is protected, see `postgres/address.rs` |
//! | `table` | the table, with its schema if need be; by default the declared name |
//! | `slot` | the replication slot, by default `headwater_PIPELINE_TABLE` |
//! | `publication` | by default `headwater_TABLE` |
//! | `create` | `true` (default): slot and publication are made when they are missing; nothing is ever dropped |
//!
//! Guarantee: exactly once. First the table is read in one transaction; a checkpoint waits until that is done, and a
//! crash meanwhile starts it over. Then the slot is read with `pg_logical_slot_peek_binary_changes`, whole transactions
//! at a time: a checkpoint never lies within one. Those that the copy had seen are left out. A position is the place in
//! the log after the last commit that was returned; the slot is moved there when a checkpoint is durable.
//!
//! Memory: one transaction. `TRUNCATE` and a change of the table's columns end the pipeline.

mod pgoutput;
mod place;
mod rows;
mod session;
mod source;

use crate::formats::metadata::POSITION;
use crate::postgres::{Address, sql_name};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use headwater_core::{Connector, Error, Result, Source, SourceSpec, TableDefinition, TaskContext};
use std::sync::Arc;

/// The longest name that PostgreSQL keeps.
const NAME_BYTES_MAX: usize = 63;

/// The connector.
#[derive(Debug)]
pub(crate) struct PostgresCdc;

impl Connector for PostgresCdc {
    fn name(&self) -> &'static str {
        "postgres_cdc"
    }

    fn writes(&self) -> bool {
        false
    }

    fn reads_changes(&self) -> bool {
        true
    }

    fn metadata_keys(&self) -> &'static [&'static str] {
        &[POSITION]
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        let options = &table.options;
        let address = Address::of(options, &table.base)?;
        options.one_of("format", "debezium_json", &["debezium_json", "json"])?;
        let envelope = table.columns()?;
        let columns = match envelope.field_with_name("after").map(|field| field.data_type()) {
            Ok(DataType::Struct(fields)) => Arc::new(Schema::new(fields.clone())),
            _ => return Err(Error::invalid("a contract cannot be read from postgres_cdc").with_help("declare columns")),
        };
        let name = options.get("table").unwrap_or(&table.name).to_owned();
        let plain = |text: &str| -> String {
            let letters = text.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' });
            letters.collect::<String>().to_ascii_lowercase()
        };
        let publication =
            options.get("publication").map_or_else(|| cut(format!("headwater_{}", plain(&name))), str::to_owned);
        let slot = options.get("slot").map(str::to_owned);
        if let Some(slot) = &slot {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if slot.is_empty() || slot.len() > NAME_BYTES_MAX || !slot.bytes().all(is_plain) {
                return Err(Error::invalid(format!("the option slot = '{slot}' is no name of a slot"))
                    .with_help("use up to 63 lower case letters, digits and '_'"));
            }
        }
        Ok(Arc::new(CdcSpec {
            server: address.server.clone(),
            address,
            declared: table.name.clone(),
            table: name.clone(),
            plain: plain(&name),
            publication,
            slot,
            creates: options.parse("create", "true or false")?.unwrap_or(true),
            key: table.primary_key.iter().map(|at| columns.field(*at).name().clone()).collect(),
            columns,
            envelope,
        }))
    }
}

fn cut(mut name: String) -> String {
    // Only letters that are one byte are left in it.
    name.truncate(NAME_BYTES_MAX);
    name
}

/// The changes of a table, as declared.
#[derive(Clone)]
struct CdcSpec {
    address: Address,
    server: String,
    /// The name in the pipeline.
    declared: String,
    /// The name in the database.
    table: String,
    /// That name, of letters, digits and `_`.
    plain: String,
    publication: String,
    slot: Option<String>,
    creates: bool,
    /// The columns of the declared key, by name.
    key: Vec<String>,
    /// The columns of a row, all of which may be null.
    columns: SchemaRef,
    /// The columns of an event.
    envelope: SchemaRef,
}

impl std::fmt::Debug for CdcSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.describe())
    }
}

impl CdcSpec {
    fn quoted_table(&self) -> String {
        sql_name(&self.table)
    }

    fn slot(&self, pipeline: &str) -> String {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '_' };
        let pipeline: String = pipeline.chars().map(plain).collect();
        self.slot.clone().unwrap_or_else(|| cut(format!("headwater_{pipeline}_{}", self.plain)))
    }
}

#[async_trait]
impl SourceSpec for CdcSpec {
    fn describe(&self) -> String {
        format!("postgres_cdc {} table {}", self.server, self.table)
    }

    fn schema(&self) -> SchemaRef {
        self.envelope.clone()
    }

    fn parallelism_max(&self) -> usize {
        1
    }

    async fn open(&self, context: &TaskContext) -> Result<Box<dyn Source>> {
        let at = |error: Error| error.at(format!("table {}", self.declared));
        let slot = self.slot(&context.pipeline);
        let session = session::Session::open(self).await.map_err(at)?;
        Ok(Box::new(source::CdcSource::new(self.clone(), slot, session, context.subtask == 0)))
    }
}
