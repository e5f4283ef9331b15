//! Rows by the folder that they belong to, as Hive and everything after it names folders: `column=value`. Pure.
//!
//! Files hold the other columns; who reads the folder finds the value in its name. Null is
//! `__HIVE_DEFAULT_PARTITION__`, and a character that a path cannot hold is `%` and two hexadecimal digits.

use super::FilesSpec;
use arrow::array::{Array, UInt32Array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use headwater_core::{Batch, Error, Result, TableDefinition};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// The value of a folder whose rows have none.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Reads the option `partition_by`.
pub(super) fn columns(table: &TableDefinition) -> Result<Vec<usize>> {
    let Some(names) = table.options.get("partition_by") else { return Ok(Vec::new()) };
    let schema = table.columns()?;
    let mut columns = Vec::new();
    for name in names.split(',').map(str::trim) {
        let known: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let Some(at) = known.iter().position(|other| *other == name) else {
            let error = Error::invalid(format!("the option partition_by = '{names}' names no column '{name}'"));
            return Err(error.with_help(format!("the columns are: {}", known.join(", "))));
        };
        let data_type = schema.field(at).data_type();
        if data_type.is_nested() || data_type.is_floating() || matches!(data_type, DataType::Binary) {
            let error =
                Error::invalid(format!("partition_by = '{names}': '{name}' is {data_type}, which names no folder"));
            return Err(error.with_help("use text, whole numbers, dates, times or BOOLEAN"));
        }
        if columns.contains(&at) {
            return Err(Error::invalid(format!("the option partition_by = '{names}' has '{name}' twice")));
        }
        columns.push(at);
    }
    if columns.len() == schema.fields().len() {
        let error = Error::invalid(format!("the option partition_by = '{names}' leaves no column for the files"));
        return Err(error.with_help("leave out one of them"));
    }
    Ok(columns)
}

/// Returns the columns that stand in the files.
pub(super) fn rest(schema: &SchemaRef, partition_by: &[usize]) -> (Vec<usize>, SchemaRef) {
    let kept: Vec<usize> = (0..schema.fields().len()).filter(|at| !partition_by.contains(at)).collect();
    let fields: Vec<_> = kept.iter().map(|at| schema.fields()[*at].clone()).collect();
    (kept, Arc::new(Schema::new(fields)))
}

/// Finds the folder of each row.
pub(super) struct Partitioned {
    columns: Vec<(usize, String)>,
    kept: Vec<usize>,
}

impl Partitioned {
    /// Makes it for a table.
    pub(super) fn new(spec: &FilesSpec) -> Result<Self> {
        let columns = spec.partition_by.iter().map(|at| (*at, escaped(spec.schema.field(*at).name())));
        let (kept, _) = rest(&spec.schema, &spec.partition_by);
        Ok(Self { columns: columns.collect(), kept })
    }

    /// Splits rows by folder; what comes out has no columns of the folders' names.
    pub(super) fn split(&self, batch: Batch) -> Result<Vec<(String, Batch)>> {
        let options = FormatOptions::default().with_timestamp_format(Some("%Y-%m-%dT%H:%M:%S%.f"));
        let mut rows_of: BTreeMap<String, Vec<u32>> = BTreeMap::new();
        let formatters = self.columns.iter().map(|(at, name)| {
            let column = batch.rows.column(*at);
            Ok((name, column, ArrayFormatter::try_new(column.as_ref(), &options)?))
        });
        let formatters: Vec<_> = formatters.collect::<Result<_>>()?;
        let mut folder = String::new();
        for row in 0..batch.n_rows() {
            folder.clear();
            for (name, column, formatter) in &formatters {
                let value = match column.is_null(row) {
                    true => NULL.to_owned(),
                    false => escaped(&formatter.value(row).try_to_string()?),
                };
                let slash = if folder.is_empty() { "" } else { "/" };
                let _ = write!(folder, "{slash}{name}={value}");
            }
            let number = u32::try_from(row).map_err(|_| Error::internal("a batch of more than 2^32 rows"))?;
            match rows_of.get_mut(&folder) {
                Some(rows) => rows.push(number),
                None => drop(rows_of.insert(folder.clone(), vec![number])),
            }
        }
        drop(formatters);
        let only = rows_of.len() == 1;
        let split = rows_of.into_iter().map(|(folder, rows)| {
            let taken = if only { batch.clone() } else { batch.take(&UInt32Array::from(rows))? };
            Ok((folder, Batch { rows: taken.rows.project(&self.kept)?, diffs: taken.diffs }))
        });
        split.collect()
    }
}

/// Writes what a path cannot hold, or what means something in one, as `%` and two digits.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '/' | '\\' | '=' | '%' | ':' | '"' | '\'' | '*' | '?' | '#' | '<' | '>' | '|' | '{' | '}' | '[' | ']'
            | '^' => {
                let _ = write!(out, "%{:02X}", u32::from(character));
            }
            control if control.is_ascii_control() => {
                let _ = write!(out, "%{:02X}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    // A name of dots alone would be another folder.
    if !out.is_empty() && out.chars().all(|character| character == '.') {
        return out.replace('.', "%2E");
    }
    if out.is_empty() { NULL.to_owned() } else { out }
}
