//! The table that rows end in: its declaration, and the check of one that is there already. It never changes a table
//! that exists: migrations do. No state.

use super::PostgresSpec;
use super::failure::failure;
use super::types::{Found, Shape, declared, shape};
use headwater_core::{Error, Result};
use tokio_postgres::{Client, Row};

/// Quotes an identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The table as it is at the server.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The schema, as the catalog names it.
    pub(super) schema: String,
    /// The name with its schema, quoted.
    pub(super) name: String,
    /// The forms of the declared columns' values.
    pub(super) shapes: Vec<Shape>,
    /// The types of declared columns whose values have no equality.
    pub(super) opaque: Vec<Option<String>>,
    /// The columns that are not declared.
    pub(super) undeclared: Vec<String>,
    /// Whether something can refuse rows at the merge that a copy of the columns and their checks does not find:
    /// references, unique indexes beside the key, partitions, triggers, checks over columns that are not declared. Then
    /// merges are tried before they count.
    pub(super) needs_trial: bool,
}

/// A column at the server.
struct Column {
    name: String,
    shown: String,
    found: Found,
    is_required: bool,
    is_generated: bool,
}

const COLUMNS: &str = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), b.typname::text, \
     b.typtype::text = 'e', e.oid, e.typname::text, e.typtype::text = 'e', \
     a.attnotnull AND NOT a.atthasdef AND a.attidentity::text = '', \
     a.attgenerated::text <> '' OR a.attidentity::text = 'a' \
     FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
     JOIN pg_type b ON b.oid = CASE WHEN t.typtype::text = 'd' THEN t.typbasetype ELSE t.oid END \
     LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory::text = 'A' \
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/// The columns of each unique index that a key can be found by.
const UNIQUE: &str = "SELECT ARRAY(SELECT a.attname::text FROM pg_attribute a \
         WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])) \
     FROM pg_index i WHERE i.indrelid = $1 AND i.indisunique";

/// Whether anything but the columns, their checks and unique indexes can refuse a row.
const REFUSES: &str = "SELECT EXISTS (SELECT 1 FROM pg_constraint \
         WHERE contype::text IN ('f', 'x') AND (conrelid = $1 OR confrelid = $1)) \
     OR EXISTS (SELECT 1 FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal) \
     OR EXISTS (SELECT 1 FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid \
         WHERE c.conrelid = $1 AND c.contype::text = 'c' AND a.attnum = ANY (c.conkey) \
         AND a.attname::text = ANY ($2::text[]))";

/// Makes the table when it is missing, and checks it when it is there.
pub(super) async fn ensure(client: &Client, spec: &PostgresSpec) -> Result<Target> {
    let failed = |error| failure(&spec.address.server, &error);
    let name = spec.quoted_table();
    let find = "SELECT to_regclass($1::text)::oid";
    let mut oid: Option<u32> = client.query_one(find, &[&name]).await.map_err(failed)?.try_get(0).map_err(failed)?;
    if oid.is_none() {
        client.batch_execute(&create(client, spec).await?).await.map_err(failed)?;
        oid = client.query_one(find, &[&name]).await.map_err(failed)?.try_get(0).map_err(failed)?;
    }
    let oid = oid.ok_or_else(|| Error::conflict(format!("the table '{}' was dropped meanwhile", spec.table)))?;
    let about = "SELECT n.nspname::text, c.relname::text, c.relkind::text FROM pg_class c \
                 JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1";
    let about = client.query_one(about, &[&oid]).await.map_err(failed)?;
    let [schema, relation, kind]: [String; 3] = [text(&about, 0)?, text(&about, 1)?, text(&about, 2)?];
    if !matches!(kind.as_str(), "r" | "p") {
        return Err(Error::conflict(format!("'{}' in {} is no table", spec.table, spec.address.server))
            .with_help("name a table with table = '…'"));
    }
    let columns = client.query(COLUMNS, &[&oid]).await.map_err(failed)?;
    let columns: Vec<Column> = columns.iter().map(column).collect::<Result<_>>()?;
    let unique = client.query(UNIQUE, &[&oid]).await.map_err(failed)?;
    let unique = unique.iter().map(|row| row.try_get::<_, Vec<String>>(0).map_err(failed));
    let unique: Vec<Vec<String>> = unique.collect::<Result<_>>()?;
    let usable = format!("{UNIQUE} AND i.indpred IS NULL AND i.indexprs IS NULL AND i.indimmediate AND i.indisvalid");
    let usable = client.query(&usable, &[&oid]).await.map_err(failed)?;
    let usable = usable.iter().map(|row| row.try_get::<_, Vec<String>>(0).map_err(failed));
    let has_key = usable.collect::<Result<Vec<_>>>()?.iter().any(|index| is_key(spec, index));
    let shapes = check(spec, &columns, has_key)?;
    let is_declared = |column: &&Column| spec.schema.index_of(&column.name).is_ok();
    let undeclared: Vec<String> =
        columns.iter().filter(|column| !is_declared(column)).map(|column| column.name.clone()).collect();
    let refuses = client.query_one(REFUSES, &[&oid, &undeclared]).await.map_err(failed)?;
    let refuses: bool = refuses.try_get(0).map_err(failed)?;
    let opaque = spec.schema.fields().iter().map(|field| {
        let column = columns.iter().find(|column| column.name == *field.name())?;
        matches!(column.found.name.as_str(), "json" | "xml").then(|| column.found.name.clone())
    });
    let opaque = opaque.collect();
    let name = format!("{}.{}", quoted(&schema), quoted(&relation));
    let needs_trial = refuses || kind == "p" || unique.iter().any(|index| !is_key(spec, index));
    Ok(Target { schema, name, shapes, opaque, undeclared, needs_trial })
}

fn text(row: &Row, at: usize) -> Result<String> {
    row.try_get(at).map_err(|error| Error::internal(format!("PostgreSQL's catalog: {error}")))
}

fn column(row: &Row) -> Result<Column> {
    let odd = |error| Error::internal(format!("PostgreSQL's catalog: {error}"));
    let element = match row.try_get::<_, Option<u32>>(4).map_err(odd)? {
        Some(oid) => Some((oid, text(row, 5)?, row.try_get(6).map_err(odd)?)),
        None => None,
    };
    Ok(Column {
        name: text(row, 0)?,
        shown: text(row, 1)?,
        found: Found { name: text(row, 2)?, is_enum: row.try_get(3).map_err(odd)?, element },
        is_required: row.try_get(7).map_err(odd)?,
        is_generated: row.try_get(8).map_err(odd)?,
    })
}

fn is_key(spec: &PostgresSpec, index: &[String]) -> bool {
    let key: Vec<&str> = spec.key.iter().map(|at| spec.schema.field(*at).name().as_str()).collect();
    !key.is_empty() && key.len() == index.len() && index.iter().all(|name| key.contains(&name.as_str()))
}

/// Returns the statement that makes the table. A key that may be null needs an index in which nulls are equal, which
/// there is from PostgreSQL 15 on.
async fn create(client: &Client, spec: &PostgresSpec) -> Result<String> {
    let fields = spec.schema.fields().iter().map(|field| {
        let not_null = if field.is_nullable() { "" } else { " NOT NULL" };
        Ok(format!("{} {}{not_null}", quoted(field.name()), declared(field.data_type())?))
    });
    let mut parts: Vec<String> = fields.collect::<Result<_>>()?;
    if !spec.key.is_empty() {
        let may_be_null = spec.key.iter().any(|at| spec.schema.field(*at).is_nullable());
        let row = client.query_one("SELECT current_setting('server_version_num')::int >= 150000", &[]).await;
        let row = row.map_err(|error| failure(&spec.address.server, &error))?;
        let kind = match (may_be_null, row.try_get(0).unwrap_or(true)) {
            (false, _) => "PRIMARY KEY",
            (true, true) => "UNIQUE NULLS NOT DISTINCT",
            (true, false) => "UNIQUE",
        };
        parts.push(format!("{kind} ({})", names(spec, &spec.key)));
    }
    Ok(format!("CREATE TABLE {} ({})", spec.quoted_table(), parts.join(", ")))
}

/// Returns columns as a quoted list.
pub(super) fn names(spec: &PostgresSpec, columns: &[usize]) -> String {
    let names: Vec<String> = columns.iter().map(|at| quoted(spec.schema.field(*at).name())).collect();
    names.join(", ")
}

/// Compares what is declared with what is there, and tells every difference with the way out.
fn check(spec: &PostgresSpec, columns: &[Column], has_key: bool) -> Result<Vec<Shape>> {
    let (mut differences, mut statements, mut shapes) = (Vec::new(), Vec::new(), Vec::new());
    let table = spec.quoted_table();
    for field in spec.schema.fields() {
        let (name, wanted) = (field.name(), declared(field.data_type())?);
        let Some(column) = columns.iter().find(|column| column.name == *name) else {
            differences.push(format!("it has no column '{name}' ({wanted})"));
            statements.push(format!("ALTER TABLE {table} ADD COLUMN {} {wanted};", quoted(name)));
            continue;
        };
        if column.is_generated {
            differences.push(format!("'{name}' is computed there and takes no values"));
        }
        match shape(field.data_type(), &column.found) {
            Some(shape) => shapes.push(shape),
            None => {
                differences.push(format!("'{name}' is {} there, {wanted} is needed", column.shown));
                statements.push(format!("ALTER TABLE {table} ALTER COLUMN {} TYPE {wanted};", quoted(name)));
            }
        }
    }
    for column in columns.iter().filter(|column| column.is_required && !column.is_generated) {
        if spec.schema.index_of(&column.name).is_err() {
            differences.push(format!("'{}' there needs a value and has no default", column.name));
            statements.push(format!("ALTER TABLE {table} ALTER COLUMN {} DROP NOT NULL;", quoted(&column.name)));
        }
    }
    if !spec.key.is_empty() && !has_key {
        let key = names(spec, &spec.key);
        differences.push(format!("it has no unique index over ({key})"));
        statements.push(format!("CREATE UNIQUE INDEX ON {table} ({key});"));
    }
    if differences.is_empty() {
        return Ok(shapes);
    }
    let message = format!("the table '{}' in {} does not fit", spec.table, spec.address.server);
    let mut help = "change the declaration, or name another table with table = '…'".to_owned();
    if !statements.is_empty() {
        help.push_str(&format!(", or run at the server: {}", statements.join(" ")));
    }
    Err(Error::conflict(format!("{message}: {}", differences.join("; "))).with_help(help))
}
