//! The table that rows end in: its declaration, and the check of one that is there already. It never changes a table
//! that exists: migrations do. No state.

use super::ClickHouseSpec;
use super::columns::{Fit, declared, fit, literal, quoted};
use headwater_core::{Error, Result};

/// The columns that a table with a key has beside the declared ones.
pub(super) const VERSION: &str = "_headwater_version";
pub(super) const DELETED: &str = "_headwater_deleted";

/// How many blocks a table that is made remembers: more than ten minutes of one block a second.
const WINDOW: u32 = 1000;

/// The table as it is at the server.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The name with its database, quoted.
    pub(super) name: String,
    /// Whether it may refuse rows that the declared types allow; then blocks are tried before they are promised.
    pub(super) needs_trial: bool,
}

/// A column at the server.
struct Column {
    name: String,
    type_name: String,
    default_kind: String,
}

/// What the server knows of a table.
struct Present {
    engine: String,
    engine_full: String,
    sorting_key: String,
    create: String,
    columns: Vec<Column>,
}

/// Makes the table when it is missing, and checks it.
pub(super) async fn ensure(spec: &ClickHouseSpec) -> Result<Target> {
    let mut present = present(spec).await?;
    if present.is_none() {
        spec.server.run(&create(spec)?).await?;
        present = self::present(spec).await?;
    }
    let Some(present) = present else {
        return Err(Error::conflict(format!("the table '{}' was dropped meanwhile", spec.table)));
    };
    let is_exact = check(spec, &present).await?;
    Ok(Target { name: name(spec), needs_trial: !is_exact || present.create.contains("CONSTRAINT ") })
}

fn name(spec: &ClickHouseSpec) -> String {
    format!("{}.{}", quoted(&spec.server.database), quoted(&spec.table))
}

async fn present(spec: &ClickHouseSpec) -> Result<Option<Present>> {
    let (database, table) = (literal(&spec.server.database), literal(&spec.table));
    let about = format!(
        "SELECT engine, engine_full, sorting_key, create_table_query FROM system.tables \
         WHERE database = {database} AND name = {table}"
    );
    let Some(row) = spec.server.rows(&about).await?.into_iter().next() else { return Ok(None) };
    let [engine, engine_full, sorting_key, create] = columns_of(row)?;
    let about = format!(
        "SELECT name, type, default_kind FROM system.columns WHERE database = {database} AND table = {table} \
         ORDER BY position"
    );
    let columns = spec.server.rows(&about).await?.into_iter().map(|row| {
        let [name, type_name, default_kind] = columns_of(row)?;
        Ok(Column { name, type_name, default_kind })
    });
    Ok(Some(Present { engine, engine_full, sorting_key, create, columns: columns.collect::<Result<_>>()? }))
}

fn columns_of<const N: usize>(row: Vec<String>) -> Result<[String; N]> {
    row.try_into().map_err(|row: Vec<String>| Error::internal(format!("ClickHouse's catalog: {} columns", row.len())))
}

/// Returns columns as a quoted list.
fn names(spec: &ClickHouseSpec, columns: &[usize]) -> String {
    let names: Vec<String> = columns.iter().map(|at| quoted(spec.schema.field(*at).name())).collect();
    names.join(", ")
}

/// Returns the columns of an insertion, quoted.
pub(super) fn inserted(spec: &ClickHouseSpec) -> String {
    let all: Vec<usize> = (0..spec.schema.fields().len()).collect();
    let more = if spec.key.is_empty() { String::new() } else { format!(", {VERSION}, {DELETED}") };
    format!("{}{more}", names(spec, &all))
}

fn create(spec: &ClickHouseSpec) -> Result<String> {
    let fields = spec.schema.fields().iter();
    let columns = fields.map(|field| Ok(format!("{} {}", quoted(field.name()), declared(field)?)));
    let mut columns: Vec<String> = columns.collect::<Result<_>>()?;
    let (engine, order) = if spec.key.is_empty() {
        ("MergeTree".to_owned(), spec.order_by.clone().unwrap_or_else(|| "tuple()".to_owned()))
    } else {
        columns.extend([format!("{VERSION} UInt64"), format!("{DELETED} UInt8")]);
        (format!("ReplacingMergeTree({VERSION}, {DELETED})"), format!("({})", names(spec, &spec.key)))
    };
    let engine = spec.engine.clone().unwrap_or(engine);
    let partition = spec.partition_by.as_ref().map_or_else(String::new, |by| format!(" PARTITION BY {by}"));
    let settings = format!("non_replicated_deduplication_window = {WINDOW}, allow_nullable_key = 1");
    Ok(format!(
        "CREATE TABLE IF NOT EXISTS {} ({}) ENGINE = {engine}{partition} ORDER BY {order} SETTINGS {settings}",
        name(spec),
        columns.join(", ")
    ))
}

/// Compares what is declared with what is there, and tells every difference with the way out; returns whether all
/// columns are as if the sink had made them.
async fn check(spec: &ClickHouseSpec, present: &Present) -> Result<bool> {
    let (mut differences, mut statements, mut is_exact) = (Vec::new(), Vec::new(), true);
    let table = name(spec);
    for field in spec.schema.fields() {
        let wanted = declared(field)?;
        let Some(column) = present.columns.iter().find(|column| column.name == *field.name()) else {
            differences.push(format!("it has no column '{}' ({wanted})", field.name()));
            statements.push(format!("ALTER TABLE {table} ADD COLUMN {} {wanted};", quoted(field.name())));
            continue;
        };
        if matches!(column.default_kind.as_str(), "MATERIALIZED" | "ALIAS") {
            differences.push(format!("'{}' is computed there and takes no values", field.name()));
        }
        match fit(field, &column.type_name)? {
            Fit::Same => {}
            Fit::Narrower => is_exact = false,
            Fit::Not => {
                differences.push(format!("'{}' is {} there, {wanted} is needed", field.name(), column.type_name));
                statements.push(format!("ALTER TABLE {table} MODIFY COLUMN {} {wanted};", quoted(field.name())));
            }
        }
    }
    check_engine(spec, present, &mut differences);
    if let Some(statement) = window(spec, present).await? {
        differences.push("it does not remember blocks, so one that is sent again would be there twice".to_owned());
        statements.push(statement);
    }
    if differences.is_empty() {
        return Ok(is_exact);
    }
    let message = format!("the table '{}' in {} does not fit", spec.table, spec.server.shown);
    let mut help = "change the declaration, or name another table with table = '…'".to_owned();
    if !statements.is_empty() {
        help.push_str(&format!(", or run at the server: {}", statements.join(" ")));
    }
    Err(Error::conflict(format!("{message}: {}", differences.join("; "))).with_help(help))
}

fn check_engine(spec: &ClickHouseSpec, present: &Present, differences: &mut Vec<String>) {
    if !present.engine.ends_with("MergeTree") {
        differences.push(format!("its engine is {}, one of the MergeTree family is needed", present.engine));
        return;
    }
    if spec.key.is_empty() {
        return;
    }
    let replaces = present.engine.ends_with("ReplacingMergeTree");
    if !replaces || !present.engine_full.contains(&format!("{VERSION}, {DELETED})")) {
        let engine = present.engine_full.split(" ORDER BY ").next().unwrap_or(&present.engine);
        differences.push(format!("its engine is {engine}, ReplacingMergeTree({VERSION}, {DELETED}) is needed"));
    }
    for (name, wanted) in [(VERSION, "UInt64"), (DELETED, "UInt8")] {
        if !present.columns.iter().any(|column| column.name == name && column.type_name == wanted) {
            differences.push(format!("it has no column '{name}' ({wanted})"));
        }
    }
    // One column in parentheses is printed with them, several are not.
    let order = present.sorting_key.trim_matches(['(', ')']);
    let mut there: Vec<&str> = order.split(", ").map(|name| name.trim_matches('`')).collect();
    let mut key: Vec<&str> = spec.key.iter().map(|at| spec.schema.field(*at).name().as_str()).collect();
    there.sort_unstable();
    key.sort_unstable();
    if there != key {
        differences.push(format!("it is ordered by ({order}), ({}) is needed", key.join(", ")));
    }
}

/// Returns the statement that makes the table remember blocks; nothing where it does.
async fn window(spec: &ClickHouseSpec, present: &Present) -> Result<Option<String>> {
    if !present.engine.ends_with("MergeTree") {
        return Ok(None);
    }
    let is_replicated = present.engine.starts_with("Replicated") || present.engine.starts_with("Shared");
    let setting = if is_replicated { "replicated_deduplication_window" } else { "non_replicated_deduplication_window" };
    let of_table = present.engine_full.split([',', ' ']).collect::<Vec<_>>();
    let of_table = of_table.windows(3).find(|words| words[0] == setting && words[1] == "=").map(|words| words[2]);
    let size = match of_table {
        Some(size) => size.to_owned(),
        None => {
            let query = format!("SELECT value FROM system.merge_tree_settings WHERE name = {}", literal(setting));
            let rows = spec.server.rows(&query).await?;
            rows.into_iter().flatten().next().unwrap_or_default()
        }
    };
    let statement = format!("ALTER TABLE {} MODIFY SETTING {setting} = {WINDOW};", name(spec));
    Ok((size == "0").then_some(statement))
}
