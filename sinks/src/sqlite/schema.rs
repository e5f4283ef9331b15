//! The table that rows end in: its declaration, and the check of one that is there already. It never changes a table
//! that exists: migrations do. No state.

use super::SqliteSpec;
use super::failure::sql;
use arrow::datatypes::DataType;
use headwater_core::{Error, Result};
use rusqlite::Connection;

/// Quotes an identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the type that a column is declared with.
fn declared_type(data_type: &DataType) -> Result<String> {
    Ok(match data_type {
        DataType::Boolean => "BOOLEAN".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => "INTEGER".into(),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "BIGINT".into(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "DOUBLE".into(),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => format!("DECIMAL({p},{s})"),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => format!("DECIMAL({p},{s})"),
        DataType::Timestamp(_, _) => "TIMESTAMP".into(),
        DataType::Date32 | DataType::Date64 => "DATE".into(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => "BLOB".into(),
        DataType::Dictionary(_, value) => declared_type(value)?,
        DataType::RunEndEncoded(_, _) | DataType::Union(_, _) => {
            return Err(Error::invalid(format!("SQLite cannot hold a column of type {data_type}")));
        }
        _ => "TEXT".into(),
    })
}

/// How SQLite converts what is stored in a column, from its declared type (section 3.1 of its documentation).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Affinity {
    Integer,
    Text,
    Blob,
    Real,
    Numeric,
}

impl Affinity {
    fn of(declared: &str) -> Self {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if has("INT") {
            Self::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Self::Text
        } else if has("BLOB") || declared.is_empty() || declared == "ANY" {
            Self::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Self::Real
        } else {
            Self::Numeric
        }
    }

    /// Whether a column of this affinity gives back what a column of affinity `wanted` would.
    fn holds(self, wanted: Self, declared: &str) -> bool {
        let is_text_type = |name: &str| matches!(name, "TIMESTAMP" | "DATE");
        self == wanted
            || self == Self::Blob
            || matches!((self, wanted), (Self::Integer, Self::Numeric) if declared == "BOOLEAN")
            || matches!((self, wanted), (Self::Numeric, Self::Integer | Self::Real))
            || matches!((self, wanted), (Self::Real, Self::Numeric) if declared.starts_with("DECIMAL"))
            || (self == Self::Text && wanted == Self::Numeric && (is_text_type(declared) || declared.starts_with('D')))
    }
}

/// Makes the table when it is missing, and checks it when it is there.
pub(super) fn ensure(connection: &Connection, spec: &SqliteSpec) -> Result<()> {
    let present = columns(connection, spec)?;
    if !present.is_empty() {
        return check(connection, spec, &present);
    }
    let fields = spec.schema.fields().iter().map(|field| {
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        Ok(format!("{} {}{not_null}", quoted(field.name()), declared_type(field.data_type())?))
    });
    let mut parts: Vec<String> = fields.collect::<Result<_>>()?;
    if !spec.key.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", names(spec, &spec.key)));
    }
    let create = format!("CREATE TABLE {} ({})", quoted(&spec.table), parts.join(", "));
    connection.execute_batch(&create).map_err(|error| sql(&spec.path, error))
}

/// Returns columns as a quoted list.
pub(super) fn names(spec: &SqliteSpec, columns: &[usize]) -> String {
    let names: Vec<String> = columns.iter().map(|at| quoted(spec.schema.field(*at).name())).collect();
    names.join(", ")
}

/// A column that is there.
struct Present {
    name: String,
    declared: String,
    is_required: bool,
    /// Its place in the primary key, from 1; 0 outside.
    key_place: i64,
}

fn columns(connection: &Connection, spec: &SqliteSpec) -> Result<Vec<Present>> {
    let failed = |error| sql(&spec.path, error);
    let query = "SELECT name, type, \"notnull\" <> 0 AND dflt_value IS NULL AND pk = 0, pk, hidden \
                 FROM pragma_table_xinfo(?1) WHERE hidden <> 1";
    let mut statement = connection.prepare(query).map_err(failed)?;
    let rows = statement.query_map([&spec.table], |row| {
        let is_generated = row.get::<_, i64>(4)? > 1;
        let is_required = row.get::<_, bool>(2)? && !is_generated;
        Ok(Present { name: row.get(0)?, declared: row.get(1)?, is_required, key_place: row.get(3)? })
    });
    rows.map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}

fn check(connection: &Connection, spec: &SqliteSpec, present: &[Present]) -> Result<()> {
    let mut differences = Vec::new();
    for field in spec.schema.fields() {
        let wanted = declared_type(field.data_type())?;
        let Some(column) = present.iter().find(|column| column.name.eq_ignore_ascii_case(field.name())) else {
            differences.push(format!("it has no column '{}' ({wanted})", field.name()));
            continue;
        };
        if !Affinity::of(&column.declared).holds(Affinity::of(&wanted), &wanted) {
            differences.push(format!("'{}' is {} there, {wanted} is needed", field.name(), column.declared));
        }
    }
    for column in present.iter().filter(|column| column.is_required) {
        if !spec.schema.fields().iter().any(|field| field.name().eq_ignore_ascii_case(&column.name)) {
            differences.push(format!("'{}' there needs a value and has no default", column.name));
        }
    }
    let mut key: Vec<String> = spec.key.iter().map(|at| spec.schema.field(*at).name().to_lowercase()).collect();
    let mut there: Vec<String> =
        present.iter().filter(|column| column.key_place > 0).map(|column| column.name.to_lowercase()).collect();
    key.sort();
    there.sort();
    // A table of insertions may have a key of its own, such as a row number, as long as no row repeats it.
    if !key.is_empty() && key != there && !has_unique_index(connection, spec, &key)? {
        differences.push(format!("its primary key is ({}), ({}) is needed", there.join(", "), key.join(", ")));
    }
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("the table '{}' in '{}' does not fit", spec.table, spec.path.display());
    Err(Error::conflict(format!("{message}: {}", differences.join("; ")))
        .with_help("change the declaration, migrate the table, or name another with table = '…'"))
}

fn has_unique_index(connection: &Connection, spec: &SqliteSpec, key: &[String]) -> Result<bool> {
    let failed = |error| sql(&spec.path, error);
    let query = "SELECT group_concat(lower(name), char(10)) FROM (SELECT list.name AS listed, info.name AS name \
                 FROM pragma_index_list(?1) AS list, pragma_index_info(list.name) AS info \
                 WHERE list.\"unique\" AND NOT list.partial ORDER BY info.name) GROUP BY listed";
    let mut statement = connection.prepare(query).map_err(failed)?;
    let indices = statement.query_map([&spec.table], |row| row.get::<_, Option<String>>(0)).map_err(failed)?;
    for index in indices {
        let index = index.map_err(failed)?.unwrap_or_default();
        let mut names: Vec<&str> = index.split('\n').collect();
        names.sort_unstable();
        if names == key {
            return Ok(true);
        }
    }
    Ok(false)
}
