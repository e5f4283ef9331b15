//! Cells as a store gives them, brought to the declared types. A cell that does not fit makes its key fail, not the
//! request. Pure.

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray, new_empty_array,
};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, concat, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use headwater_core::{Error, Found, Result};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A value as a store gives it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    /// Text; lists and structs are JSON.
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    /// Returns the value as the text that the declared type is read from.
    fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::Integer(number) => Some(number.to_string()),
            Self::Real(number) => Some(number.to_string()),
            Self::Text(text) => Some(text.clone()),
            Self::Bytes(bytes) => String::from_utf8(bytes.clone()).ok(),
        }
    }
}

/// Checks that every declared column has a type that cells can be brought to.
pub(crate) fn check_types(schema: &SchemaRef) -> Result<()> {
    let fits = |data_type: &DataType| {
        data_type.is_nested() || is_binary(data_type) || can_cast_types(&DataType::Utf8, data_type)
    };
    match schema.fields().iter().find(|field| !fits(field.data_type())) {
        None => Ok(()),
        Some(field) => Err(Error::invalid(format!(
            "the column '{}' is {}, which cannot be looked up",
            field.name(),
            field.data_type()
        ))
        .with_help("declare it as TEXT")),
    }
}

fn is_binary(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

/// Rows while they are found, key by key.
pub(crate) struct Rows {
    schema: SchemaRef,
    columns: Vec<Vec<Cell>>,
    of: Vec<u32>,
    failed: BTreeMap<u32, Error>,
}

impl Rows {
    /// Makes an empty collection of rows with these columns.
    pub(crate) fn new(schema: SchemaRef) -> Self {
        let columns = vec![Vec::new(); schema.fields().len()];
        Self { schema, columns, of: Vec::new(), failed: BTreeMap::new() }
    }

    /// Adds a row of a key; keys come in growing order.
    pub(crate) fn push(&mut self, key: u32, cells: impl IntoIterator<Item = Cell>) {
        self.of.push(key);
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.push(cell);
        }
    }

    /// Gives a key up.
    pub(crate) fn fail(&mut self, key: u32, error: Error) {
        self.failed.entry(key).or_insert(error);
    }

    /// Brings the cells to their types.
    pub(crate) fn found(mut self) -> Result<Found> {
        let mut arrays = Vec::with_capacity(self.columns.len());
        for (field, cells) in self.schema.fields().iter().zip(std::mem::take(&mut self.columns)) {
            let array = array(&cells, field)?;
            for (row, cell) in cells.iter().enumerate() {
                if let Some(error) = fault(cell, array.as_ref(), row, field) {
                    self.failed.entry(self.of[row]).or_insert(error);
                }
            }
            arrays.push(array);
        }
        // A null in a column that has none is among the faults, so the schema is put on afterwards.
        let nullable: Vec<Field> =
            self.schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.of.len()));
        let rows = RecordBatch::try_new_with_options(Arc::new(Schema::new(nullable)), arrays, &options)?;
        let good: BooleanArray = self.of.iter().map(|key| Some(!self.failed.contains_key(key))).collect();
        let rows = filter_record_batch(&rows, &good)?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema, rows.columns().to_vec(), &options)?;
        let failed = &self.failed;
        let of = self.of.iter().copied().filter(|key| !failed.contains_key(key)).collect();
        Ok(Found { rows, of, failed: self.failed.into_iter().collect() })
    }
}

fn fault(cell: &Cell, array: &dyn Array, row: usize, field: &Field) -> Option<Error> {
    if array.is_valid(row) {
        return None;
    }
    let name = field.name();
    match cell {
        Cell::Null if field.is_nullable() => None,
        Cell::Null => Some(Error::data(format!("the column '{name}' is null, but declared NOT NULL"))),
        other => {
            let shown = other.text().unwrap_or_else(|| "bytes".to_owned());
            Some(Error::data(format!("the value '{shown}' of the column '{name}' is no {}", field.data_type())))
        }
    }
}

/// Returns cells as an array of the field's type; what does not fit is null.
fn array(cells: &[Cell], field: &Field) -> Result<ArrayRef> {
    if is_binary(field.data_type()) {
        let bytes = cells.iter().map(|cell| match cell {
            Cell::Bytes(bytes) => Some(bytes.clone()),
            other => other.text().map(String::into_bytes),
        });
        let bytes: BinaryArray = bytes.collect();
        return cast(Arc::new(bytes), field.data_type());
    }
    if field.data_type().is_nested() {
        return nested(cells, field);
    }
    let is_time = matches!(field.data_type(), DataType::Timestamp(..) | DataType::Date32 | DataType::Date64);
    let texts: StringArray = cells
        .iter()
        .map(|cell| match cell {
            // A number has no unit that anybody declared.
            Cell::Integer(_) | Cell::Real(_) if is_time => None,
            other => other.text(),
        })
        .collect();
    cast(Arc::new(texts), field.data_type())
}

fn cast(array: ArrayRef, data_type: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: true, ..CastOptions::default() };
    Ok(cast_with_options(&array, data_type, &options)?)
}

fn nested(cells: &[Cell], field: &Field) -> Result<ArrayRef> {
    let schema = Arc::new(Schema::new(vec![field.clone().with_name("v").with_nullable(true)]));
    let decode = |cell: &Cell| -> Option<ArrayRef> {
        let line = format!("{{\"v\":{}}}", cell.text().as_deref().unwrap_or("null"));
        let mut reader = ReaderBuilder::new(schema.clone()).with_batch_size(1).build_decoder().ok()?;
        let n_read = reader.decode(line.as_bytes()).ok()?;
        let rows = reader.flush().ok()??;
        (n_read == line.len() && rows.num_rows() == 1).then(|| rows.column(0).clone())
    };
    let null = arrow::array::new_null_array(field.data_type(), 1);
    let arrays: Vec<ArrayRef> = cells.iter().map(|cell| decode(cell).unwrap_or_else(|| null.clone())).collect();
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    if arrays.is_empty() { Ok(new_empty_array(field.data_type())) } else { Ok(concat(&arrays)?) }
}

/// Returns the values of a key column as text, one a row.
pub(crate) fn text_of(column: &ArrayRef) -> Result<Vec<String>> {
    let formatter = ArrayFormatter::try_new(column, &FormatOptions::default())?;
    (0..column.len()).map(|row| Ok(formatter.value(row).try_to_string()?)).collect()
}
