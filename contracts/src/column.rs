//! Typed columns that values are written to one by one, and what is learnt of a row on the way. Every value is checked
//! against its rules. A value that breaks one becomes a null and a fault of its row; the caller filters such rows out
//! when the batch is done, so columns always have one value for each row. The state is the columns of one batch; they
//! grow with the bytes that are read and with nothing else. How JSON becomes values is `cell`'s business.

use crate::rules::{Wrong, check_range, check_text, shown, time_nanos};
use crate::shape::{FieldShape, Kind, arrow_fields};
use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, ListArray, StringBuilder, StructArray,
    TimestampNanosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::Field;
use headwater_core::{Reason, Result};
use serde_json::Value;
use std::sync::Arc;

/// The first fault of a row in the order of the schema.
#[derive(Debug)]
pub(crate) struct Fault {
    rank: u32,
    pub(crate) reason: Reason,
    pub(crate) path: String,
    pub(crate) message: String,
}

/// What is learnt of a row while it is read.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) fault: Option<Fault>,
    /// The company that the metadata names.
    pub(crate) company: Option<String>,
    /// Where in lists the reader is, from the outside in.
    pub(crate) indexes: Vec<usize>,
}

impl Row {
    /// Notes a fault, unless one that comes earlier in the schema is known.
    pub(crate) fn fault(&mut self, rank: u32, path: &str, (reason, message): Wrong) {
        if self.fault.as_ref().is_some_and(|known| known.rank <= rank) {
            return;
        }
        let mut path = path.to_owned();
        for index in &self.indexes {
            path = path.replacen("[]", &format!("[{index}]"), 1);
        }
        self.fault = Some(Fault { rank, reason, path, message });
    }

    /// Notes that a required field is missing, or has no value.
    pub(crate) fn missing(&mut self, shape: &FieldShape) {
        let message = format!("'{}' is missing or null, expected {}", shape.name, expected(&shape.kind));
        self.fault(shape.rank, &shape.path, (Reason::MissingField, message));
    }

    /// Notes that an item of a list is null.
    pub(crate) fn missing_item(&mut self, shape: &FieldShape) {
        let message = format!("found null, expected {}", expected(&shape.kind));
        self.fault(shape.rank, &shape.path, (Reason::MalformedField, message));
    }
}

/// A column under construction.
pub(crate) struct Column<'s> {
    pub(crate) shape: &'s FieldShape,
    pub(crate) data: Data<'s>,
    /// Whether the last value is a null.
    pub(crate) last_is_null: bool,
}

/// The values of a column.
pub(crate) enum Data<'s> {
    Text(StringBuilder),
    Time(TimestampNanosecondBuilder),
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Object { fields: Vec<Column<'s>>, valid: Vec<bool> },
    List { items: Box<Column<'s>>, ends: Vec<i32>, valid: Vec<bool> },
}

impl<'s> Column<'s> {
    /// Makes an empty column with room for some rows.
    pub(crate) fn new(shape: &'s FieldShape, n_rows: usize) -> Self {
        let data = match &shape.kind {
            Kind::Text(_) | Kind::Map => Data::Text(StringBuilder::with_capacity(n_rows, n_rows * 16)),
            Kind::Time => Data::Time(TimestampNanosecondBuilder::with_capacity(n_rows)),
            Kind::Int(_) => Data::Int(Int64Builder::with_capacity(n_rows)),
            Kind::Float(_) => Data::Float(Float64Builder::with_capacity(n_rows)),
            Kind::Bool => Data::Bool(BooleanBuilder::with_capacity(n_rows)),
            Kind::Object(fields) => {
                let fields = fields.iter().map(|field| Column::new(field, n_rows)).collect();
                Data::Object { fields, valid: Vec::with_capacity(n_rows) }
            }
            Kind::List(item) => {
                let items = Box::new(Column::new(item, n_rows));
                Data::List { items, ends: vec![0], valid: Vec::with_capacity(n_rows) }
            }
        };
        Self { shape, data, last_is_null: false }
    }

    /// Returns the number of values.
    pub(crate) fn len(&self) -> usize {
        use arrow::array::ArrayBuilder as _;
        match &self.data {
            Data::Text(builder) => builder.len(),
            Data::Time(builder) => builder.len(),
            Data::Int(builder) => builder.len(),
            Data::Float(builder) => builder.len(),
            Data::Bool(builder) => builder.len(),
            Data::Object { valid, .. } | Data::List { valid, .. } => valid.len(),
        }
    }

    /// Completes the values that a reader left unfinished, then adds nulls up to `n_rows` values.
    pub(crate) fn pad_to(&mut self, n_rows: usize) {
        self.settle();
        while self.len() < n_rows {
            self.push_null();
        }
    }

    /// Completes a value that a reader left unfinished, when there is one.
    fn settle(&mut self) {
        match &mut self.data {
            Data::Object { fields, valid } => {
                fields.iter_mut().for_each(Column::settle);
                let longest = fields.iter().map(Column::len).max().unwrap_or(0).max(valid.len());
                fields.iter_mut().for_each(|field| field.pad_to(longest));
                valid.resize(longest, false);
            }
            Data::List { items, ends, valid } => {
                items.settle();
                let end = offset(items.len());
                if ends.last().is_some_and(|last| *last < end) {
                    ends.push(end);
                    valid.push(false);
                }
            }
            _ => {}
        }
    }

    /// Adds a null.
    fn push_null(&mut self) {
        self.last_is_null = true;
        match &mut self.data {
            Data::Text(builder) => builder.append_null(),
            Data::Time(builder) => builder.append_null(),
            Data::Int(builder) => builder.append_null(),
            Data::Float(builder) => builder.append_null(),
            Data::Bool(builder) => builder.append_null(),
            Data::Object { fields, valid } => {
                valid.push(false);
                let n_rows = valid.len();
                fields.iter_mut().for_each(|field| field.pad_to(n_rows));
            }
            Data::List { items, ends, valid } => {
                valid.push(false);
                ends.push(offset(items.len()));
            }
        }
    }

    /// Adds what the absence of a value means: the default, or null.
    pub(crate) fn push_absent(&mut self) {
        match (&mut self.data, &self.shape.default) {
            (Data::Text(builder), Some(Value::String(text))) => builder.append_value(text),
            (Data::Bool(builder), Some(Value::Bool(value))) => builder.append_value(*value),
            _ => return self.push_null(),
        }
        self.last_is_null = false;
    }

    /// Notes a fault of the value and adds a null in its place.
    fn refuse(&mut self, row: &mut Row, wrong: Wrong) {
        row.fault(self.shape.rank, &self.shape.path, wrong);
        self.push_null();
    }

    /// Notes that a value has the wrong type, and adds a null in its place.
    pub(crate) fn refuse_type(&mut self, row: &mut Row, found: &str) {
        self.refuse(row, (Reason::MalformedField, format!("found {found}, expected {}", expected(&self.shape.kind))));
    }

    /// Adds a text, or what a text stands for.
    pub(crate) fn push_text(&mut self, row: &mut Row, text: &str) {
        let personal = self.shape.personal;
        let wrong = match (&mut self.data, &self.shape.kind) {
            (Data::Text(builder), Kind::Text(rule)) => match check_text(rule, text, personal) {
                Ok(text) => {
                    builder.append_value(text);
                    None
                }
                Err(wrong) => Some(wrong),
            },
            (Data::Time(builder), _) => match time_nanos(text) {
                Ok(nanos) => {
                    builder.append_value(nanos);
                    None
                }
                Err(reason) => Some((reason, format!("found {}, expected {}", shown(text, personal), TIME))),
            },
            _ => {
                let found = format!("the text {}", shown(text, personal));
                return self.refuse_type(row, &found);
            }
        };
        match wrong {
            Some((Reason::OutOfRange, message)) if self.shape.path == "metadata.version" => {
                self.refuse(row, (Reason::UnknownVersion, message));
            }
            Some(wrong) => self.refuse(row, wrong),
            None => self.last_is_null = false,
        }
    }

    /// Adds a number; `whole` is the same number when it is one that fits 64 bits.
    pub(crate) fn push_number(&mut self, row: &mut Row, number: f64, whole: Option<i64>) {
        let wrong = match (&mut self.data, &self.shape.kind, whole) {
            (Data::Int(builder), Kind::Int(range), Some(whole)) => match check_range(range, number) {
                Ok(()) => {
                    builder.append_value(whole);
                    None
                }
                Err(wrong) => Some(wrong),
            },
            (Data::Int(_), _, None) if number.fract() == 0.0 => {
                Some((Reason::OutOfRange, format!("found {number}, expected a whole number of 64 bits")))
            }
            (Data::Float(builder), Kind::Float(range), _) => match check_range(range, number) {
                Ok(()) => {
                    builder.append_value(number);
                    None
                }
                Err(wrong) => Some(wrong),
            },
            _ => return self.refuse_type(row, &format!("the number {number}")),
        };
        match wrong {
            Some(wrong) => self.refuse(row, wrong),
            None => self.last_is_null = false,
        }
    }

    /// Ends the column.
    pub(crate) fn finish(self) -> Result<ArrayRef> {
        Ok(match self.data {
            Data::Text(mut builder) => Arc::new(builder.finish()),
            Data::Time(mut builder) => Arc::new(builder.finish()),
            Data::Int(mut builder) => Arc::new(builder.finish()),
            Data::Float(mut builder) => Arc::new(builder.finish()),
            Data::Bool(mut builder) => Arc::new(builder.finish()),
            Data::Object { fields, valid } => {
                let shapes = match &self.shape.kind {
                    Kind::Object(shapes) => arrow_fields(shapes),
                    _ => arrow_fields(&[]),
                };
                let n_rows = valid.len();
                let arrays = fields.into_iter().map(Column::finish).collect::<Result<Vec<_>>>()?;
                let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
                Arc::new(StructArray::try_new_with_length(shapes, arrays, nulls, n_rows)?)
            }
            Data::List { items, ends, valid } => {
                let items = items.finish()?;
                let field = Arc::new(Field::new("item", items.data_type().clone(), true));
                let nulls = Some(NullBuffer::from(valid)).filter(|nulls| nulls.null_count() > 0);
                Arc::new(ListArray::try_new(field, OffsetBuffer::new(ends.into()), items, nulls)?)
            }
        })
    }

    /// Ends a column of objects and returns the columns of its fields, whatever nulls they have.
    pub(crate) fn finish_fields(self) -> Result<Vec<(&'s FieldShape, ArrayRef)>> {
        match self.data {
            Data::Object { fields, .. } => fields.into_iter().map(|field| Ok((field.shape, field.finish()?))).collect(),
            _ => Ok(Vec::new()),
        }
    }
}

const TIME: &str = "a time with its offset such as 2026-01-31T23:00:00Z";

/// Says what kind of value a field has.
fn expected(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text(_) => "a text",
        Kind::Time => TIME,
        Kind::Int(_) => "a whole number",
        Kind::Float(_) => "a number",
        Kind::Bool => "true or false",
        Kind::Map | Kind::Object(_) => "an object",
        Kind::List(_) => "a list",
    }
}

/// Offsets are 32 bits wide; the bytes of a batch, which bound the items in it, are counted in 32 bits as well.
pub(crate) fn offset(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
