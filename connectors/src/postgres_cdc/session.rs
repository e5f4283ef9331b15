//! What is asked of the server: checks, the slot and the publication, the copy, the changes. Every answer that a user
//! can do something about says what, as SQL. It keeps one connection and no other state.

use super::CdcSpec;
use super::pgoutput::Lsn;
use super::place::{Copied, Place};
use crate::postgres::{Connection, failure, sql_quoted};
use arrow::datatypes::DataType;
use headwater_core::{Error, Result};
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;

/// What the connection is told: texts of values are in one form whatever the server's settings.
const SETTINGS: &str = "SET TIME ZONE 'UTC'; SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; \
                        SET extra_float_digits = 1; SET bytea_output = 'hex'; SET client_encoding = 'UTF8'";
/// The first version of the server that has `pg_current_snapshot` and tells about lost slots.
const VERSION_MIN: i32 = 130_000;
/// The cursor of the copy.
const CURSOR: &str = "headwater_copy";

/// A connection.
pub(super) struct Session {
    connection: Connection,
    /// The table, by its schema and its name.
    pub(super) table: (String, String),
}

/// What a replication slot says of itself.
struct Slot {
    plugin: Option<String>,
    database: Option<String>,
    confirmed: Option<Lsn>,
    is_lost: bool,
}

impl Session {
    /// Connects and checks everything that can be checked without changing anything.
    pub(super) async fn open(spec: &CdcSpec) -> Result<Self> {
        let connection = spec.address.connect(SETTINGS).await?;
        let mut session = Self { connection, table: Default::default() };
        session.check_server(spec).await?;
        session.table = session.check_table(spec).await?;
        Ok(session)
    }

    /// Whether the connection is gone.
    pub(super) fn is_closed(&self) -> bool {
        self.connection.client.is_closed()
    }

    async fn rows(&self, spec: &CdcSpec, sql: &str, texts: &[&str]) -> Result<Vec<Row>> {
        let parameters: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            texts.iter().map(|text| text as &(dyn tokio_postgres::types::ToSql + Sync)).collect();
        self.connection.client.query(sql, &parameters).await.map_err(|error| explained(spec, &error))
    }

    async fn execute(&self, spec: &CdcSpec, sql: &str) -> Result<()> {
        self.connection.client.batch_execute(sql).await.map_err(|error| explained(spec, &error))
    }

    async fn check_server(&self, spec: &CdcSpec) -> Result<()> {
        let sql = "SELECT current_setting('server_version_num')::int4, current_setting('wal_level')";
        let rows = self.rows(spec, sql, &[]).await?;
        let (version, level): (i32, String) = match rows.first() {
            Some(row) => (get(spec, row, 0)?, get(spec, row, 1)?),
            None => return Err(Error::internal("a SELECT without rows")),
        };
        if version < VERSION_MIN {
            let error = Error::invalid(format!("PostgreSQL at {} is version {}", spec.server, version / 10_000));
            return Err(error.with_help("use version 13 or later"));
        }
        if level != "logical" {
            let error = Error::invalid(format!("PostgreSQL at {} has wal_level = {level}", spec.server));
            return Err(error.with_help("run ALTER SYSTEM SET wal_level = 'logical'; and restart the server"));
        }
        Ok(())
    }

    async fn check_table(&self, spec: &CdcSpec) -> Result<(String, String)> {
        let table = spec.quoted_table();
        let sql = "SELECT c.relreplident::text, n.nspname::text, c.relname::text \
                   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE c.oid = to_regclass($1::text) AND c.relkind IN ('r', 'p')";
        let rows = self.rows(spec, sql, &[&table]).await?;
        let Some(row) = rows.first() else {
            let error = Error::not_found(format!("there is no table '{}' in {}", spec.table, spec.server));
            return Err(error.with_help("name it with the option table, with its schema if need be"));
        };
        let identity: String = get(spec, row, 0)?;
        self.check_columns(spec, &table).await?;
        self.check_identity(spec, &table, &identity).await?;
        Ok((get(spec, row, 1)?, get(spec, row, 2)?))
    }

    async fn check_columns(&self, spec: &CdcSpec, table: &str) -> Result<()> {
        let sql = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute \
                   WHERE attrelid = to_regclass($1::text) AND attnum > 0 AND NOT attisdropped ORDER BY attnum";
        let rows = self.rows(spec, sql, &[table]).await?;
        let columns: Vec<(String, String)> =
            rows.iter().map(|row| Ok((get(spec, row, 0)?, get(spec, row, 1)?))).collect::<Result<_>>()?;
        for field in spec.columns.fields() {
            let Some((_, there)) = columns.iter().find(|(name, _)| name == field.name()) else {
                let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
                let message = format!("the table '{}' in {} has no column '{}'", spec.table, spec.server, field.name());
                return Err(Error::conflict(message).with_help(format!("its columns are: {}", names.join(", "))));
            };
            if field.data_type().is_nested() && !["json", "jsonb"].contains(&there.as_str()) {
                let message = format!("the column '{}' is {there} there, not {}", field.name(), field.data_type());
                return Err(
                    Error::invalid(message).with_help("declare it as TEXT: only JSON is read into lists and structs")
                );
            }
            let is_binary =
                matches!(field.data_type(), DataType::Binary | DataType::LargeBinary | DataType::BinaryView);
            if is_binary && there != "bytea" {
                let message = format!("the column '{}' is {there} there, not bytes", field.name());
                return Err(Error::invalid(message).with_help("declare it as TEXT"));
            }
        }
        Ok(())
    }

    /// Checks that an old row will be told by what the declaration needs: its key, or all of it.
    async fn check_identity(&self, spec: &CdcSpec, table: &str, identity: &str) -> Result<()> {
        if identity == "f" {
            return Ok(());
        }
        let full = format!("ALTER TABLE {table} REPLICA IDENTITY FULL;");
        if spec.key.is_empty() {
            let message = format!("the table '{}' tells of old rows only their key, and none is declared", spec.table);
            return Err(Error::invalid(message).with_help(format!("declare a PRIMARY KEY, or run {full}")));
        }
        let sql = "SELECT a.attname::text FROM pg_index i JOIN pg_attribute a \
                   ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[]) \
                   WHERE i.indrelid = to_regclass($1::text) AND \
                   CASE $2::text WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END";
        let rows = self.rows(spec, sql, &[table, identity]).await?;
        let told: Vec<String> = rows.iter().map(|row| get(spec, row, 0)).collect::<Result<_>>()?;
        let Some(missing) = spec.key.iter().find(|name| !told.contains(name)) else { return Ok(()) };
        let told = if told.is_empty() { "nothing".to_owned() } else { format!("({})", told.join(", ")) };
        let message = format!("the key of '{}' has '{missing}', of old rows the server tells {told}", spec.declared);
        Err(Error::invalid(message).with_help(format!("declare the PRIMARY KEY of the table, or run {full}")))
    }

    /// Makes the publication and the slot when they are missing; returns the place after which the slot has all.
    pub(super) async fn set_up(&self, spec: &CdcSpec, slot: &str) -> Result<Lsn> {
        // The slot sees the catalogue as it was: a publication that is made later is not there for it.
        self.check_publication(spec, spec.creates).await?;
        if let Some(confirmed) = self.check_slot(spec, slot).await? {
            return Ok(confirmed);
        }
        let create = format!("SELECT pg_create_logical_replication_slot({}, 'pgoutput');", literal(slot));
        if !spec.creates {
            let error = Error::not_found(format!("there is no replication slot '{slot}' in {}", spec.server));
            return Err(error.with_help(format!("run {create}")));
        }
        let sql = "SELECT lsn::text FROM pg_create_logical_replication_slot($1::text::name, 'pgoutput')";
        let rows = self.rows(spec, sql, &[slot]).await?;
        tracing::info!(slot, server = spec.server, "made a replication slot");
        rows.first().map_or_else(|| Err(Error::internal("a slot without a place")), |row| lsn(spec, row, 0))
    }

    async fn check_publication(&self, spec: &CdcSpec, creates: bool) -> Result<()> {
        let (name, table) = (&spec.publication, spec.quoted_table());
        let create = format!(
            "CREATE PUBLICATION {} FOR TABLE {table} WITH (publish_via_partition_root = true)",
            sql_quoted(name)
        );
        let sql = "SELECT EXISTS (SELECT 1 FROM pg_publication_tables t JOIN pg_class c ON c.relname = t.tablename \
                   JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = t.schemaname \
                   WHERE t.pubname = p.pubname AND c.oid = to_regclass($2::text)), \
                   p.pubinsert AND p.pubupdate AND p.pubdelete \
                   FROM pg_publication p WHERE p.pubname = $1::text";
        let rows = self.rows(spec, sql, &[name, &table]).await?;
        let Some(row) = rows.first() else {
            if !creates {
                let error = Error::not_found(format!("there is no publication '{name}' in {}", spec.server));
                return Err(error.with_help(format!("run {create};")));
            }
            self.execute(spec, &create).await?;
            tracing::info!(publication = name, server = spec.server, "made a publication");
            return Ok(());
        };
        let (has_table, has_all): (bool, bool) = (get(spec, row, 0)?, get(spec, row, 1)?);
        let alter = format!("ALTER PUBLICATION {}", sql_quoted(name));
        if !has_table {
            let error = Error::invalid(format!("the publication '{name}' does not have the table '{}'", spec.table));
            return Err(error.with_help(format!("run {alter} ADD TABLE {table};")));
        }
        if !has_all {
            let error = Error::invalid(format!("the publication '{name}' leaves out insertions, updates or deletions"));
            return Err(error.with_help(format!("run {alter} SET (publish = 'insert, update, delete, truncate');")));
        }
        Ok(())
    }

    async fn slot(&self, spec: &CdcSpec, slot: &str) -> Result<Option<Slot>> {
        let sql = "SELECT plugin::text, database::text, confirmed_flush_lsn::text, wal_status::text = 'lost' \
                   FROM pg_replication_slots WHERE slot_name = $1::text";
        let rows = self.rows(spec, sql, &[slot]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let confirmed: Option<String> = get(spec, row, 2)?;
        Ok(Some(Slot {
            plugin: get(spec, row, 0)?,
            database: get(spec, row, 1)?,
            confirmed: confirmed.map(|text| text.parse()).transpose()?,
            is_lost: get::<Option<bool>>(spec, row, 3)?.unwrap_or(false),
        }))
    }

    /// Checks a slot that is there; returns the place up to which it has been read.
    async fn check_slot(&self, spec: &CdcSpec, slot: &str) -> Result<Option<Lsn>> {
        let Some(found) = self.slot(spec, slot).await? else { return Ok(None) };
        let drop = format!("SELECT pg_drop_replication_slot({});", literal(slot));
        let current: String = match self.rows(spec, "SELECT current_database()::text", &[]).await?.first() {
            Some(row) => get(spec, row, 0)?,
            None => return Err(Error::internal("a SELECT without rows")),
        };
        let plugin = found.plugin.unwrap_or_else(|| "none".to_owned());
        if plugin != "pgoutput" || found.database.as_ref() != Some(&current) {
            let database = found.database.unwrap_or_else(|| "none".to_owned());
            let message = format!("the slot '{slot}' is of plugin {plugin} and database {database}");
            return Err(Error::conflict(message).with_help("name another one with the option slot"));
        }
        if found.is_lost {
            let message = format!("the slot '{slot}' is lost: the server has removed the log that it needs");
            return Err(Error::data(message).with_help(format!(
                "run {drop} raise max_slot_wal_keep_size, and start the pipeline anew, without its checkpoint"
            )));
        }
        Ok(Some(found.confirmed.unwrap_or_default()))
    }

    /// Checks that the changes after a place are still there.
    pub(super) async fn check_place(&self, spec: &CdcSpec, slot: &str, place: &Place) -> Result<()> {
        let anew = "start the pipeline anew, without its checkpoint: the table is then copied again";
        let Some(confirmed) = self.check_slot(spec, slot).await? else {
            let message = format!("the slot '{slot}' is gone, and with it the changes after {}", place.lsn);
            return Err(Error::data(message).with_help(anew));
        };
        if confirmed > place.lsn {
            let message =
                format!("the slot '{slot}' was moved to {confirmed}, past {}: the changes between are gone", place.lsn);
            return Err(Error::data(message).with_help(anew));
        }
        self.check_publication(spec, false).await
    }

    /// Begins the copy; returns what it sees.
    pub(super) async fn begin_copy(&self, spec: &CdcSpec) -> Result<Copied> {
        self.execute(spec, "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        // The place is asked for after the snapshot is taken: whatever has been seen committed before it.
        let sql = "SELECT pg_current_snapshot()::text, pg_current_wal_insert_lsn()::text";
        let rows = self.rows(spec, sql, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::internal("a SELECT without rows"))?;
        let snapshot: String = get(spec, row, 0)?;
        let copied = Copied { snapshot: snapshot.parse()?, until: lsn(spec, row, 1)? };
        let columns: Vec<String> =
            spec.columns.fields().iter().map(|field| format!("{}::text", sql_quoted(field.name()))).collect();
        let select = format!("SELECT {} FROM {}", columns.join(", "), spec.quoted_table());
        self.execute(spec, &format!("DECLARE {CURSOR} NO SCROLL CURSOR FOR {select}")).await?;
        Ok(copied)
    }

    /// Returns the next rows of the copy, as text; fewer than asked for at its end.
    pub(super) async fn copy(&self, spec: &CdcSpec, n_rows: usize) -> Result<Vec<Vec<Option<String>>>> {
        let rows = self.rows(spec, &format!("FETCH FORWARD {n_rows} FROM {CURSOR}"), &[]).await?;
        let rows: Vec<Vec<Option<String>>> = rows.iter().map(|row| texts(spec, row)).collect::<Result<_>>()?;
        if rows.len() < n_rows {
            self.execute(spec, "COMMIT").await?;
        }
        Ok(rows)
    }

    /// Returns messages of the slot without taking them: at least `n_messages`, or all there are, in whole
    /// transactions; and a place before which all have been returned if these are all.
    pub(super) async fn peek(&self, spec: &CdcSpec, slot: &str, n_messages: usize) -> Result<(Vec<Vec<u8>>, Lsn)> {
        let rows = self.rows(spec, "SELECT pg_current_wal_flush_lsn()::text", &[]).await?;
        let flushed =
            rows.first().map_or_else(|| Err(Error::internal("a SELECT without rows")), |row| lsn(spec, row, 0))?;
        let n_messages = i32::try_from(n_messages).unwrap_or(i32::MAX);
        let publication = sql_quoted(&spec.publication);
        let sql = format!(
            "SELECT data FROM pg_logical_slot_peek_binary_changes($1::text::name, NULL, {n_messages}, \
             'proto_version', '1', 'publication_names', $2::text)"
        );
        let rows = self.rows(spec, &sql, &[slot, &publication]).await?;
        let messages = rows.iter().map(|row| get(spec, row, 0)).collect::<Result<_>>()?;
        Ok((messages, flushed))
    }

    /// Tells the server that what lies before a place is not needed any more.
    pub(super) async fn advance(&self, spec: &CdcSpec, slot: &str, to: Lsn) -> Result<()> {
        let sql = "SELECT pg_replication_slot_advance(slot_name, $2::text::pg_lsn)::text FROM pg_replication_slots \
                   WHERE slot_name = $1::text AND confirmed_flush_lsn < $2::text::pg_lsn";
        self.rows(spec, sql, &[slot, &to.to_string()]).await.map(|_| ())
    }
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(spec: &CdcSpec, row: &'a Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(|error| failure(&spec.server, &error))
}

fn lsn(spec: &CdcSpec, row: &Row, at: usize) -> Result<Lsn> {
    get::<String>(spec, row, at)?.parse()
}

fn texts(spec: &CdcSpec, row: &Row) -> Result<Vec<Option<String>>> {
    (0..row.len()).map(|at| get(spec, row, at)).collect()
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Turns a failure into an error of ours, with the way out where there is one.
fn explained(spec: &CdcSpec, error: &tokio_postgres::Error) -> Error {
    let ours = failure(&spec.server, error);
    let code = error.code();
    if code == Some(&SqlState::OBJECT_IN_USE) {
        return Error::unavailable(ours.message().to_owned()).with_help("stop whoever else reads the slot");
    }
    if code == Some(&SqlState::INSUFFICIENT_PRIVILEGE) {
        let table = spec.quoted_table();
        let grant = format!("ALTER ROLE … REPLICATION; GRANT SELECT ON {table} TO …;");
        let help = format!("run {grant} only the owner of the table can make the publication");
        return Error::invalid(ours.message().to_owned()).with_help(help);
    }
    if code == Some(&SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE) {
        return Error::data(ours.message().to_owned())
            .with_help("drop the slot and start the pipeline anew, without its checkpoint");
    }
    if code == Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED) {
        return Error::invalid(ours.message().to_owned())
            .with_help("raise max_replication_slots, or drop slots not used");
    }
    if code == Some(&SqlState::UNDEFINED_OBJECT) {
        let help = match ours.message().contains("publication") {
            true => "the publication was made after the slot, or is gone: make it, drop the slot, and start anew",
            false => "start the pipeline anew, without its checkpoint: the table is then copied again",
        };
        return Error::data(ours.message().to_owned()).with_help(help);
    }
    ours
}
