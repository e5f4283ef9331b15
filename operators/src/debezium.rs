//! Turns Debezium's change events into changes of rows. It never guesses: an event that does not say which row goes or
//! which comes is a dead letter. It has no state; with a key, [`Upsert`](crate::Upsert) behind it has.

use crate::expression::{check_columns, dead_letter};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StructArray, UInt32Array, new_null_array};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use headwater_core::{Batch, Error, Operator, OperatorSpec, Output, Reason, Result, TaskContext};
use std::sync::Arc;

const BEFORE: &str = "before";
const AFTER: &str = "after";
const OP: &str = "op";
const PAYLOAD: &str = "payload";

/// Reads `{"before": …, "after": …, "op": "c" | "r" | "u" | "d"}`, alone or below `payload`.
///
/// Without a key an event says all: the row before goes, the row after comes, and an update or deletion without
/// `before` is a dead letter. With a key only the columns of the key are looked at of the row before: where they
/// differ from those of the row after, or there is no row after, the row of that key goes. Its deletion is a row with
/// nothing but the key.
#[derive(Debug, Clone)]
pub struct Debezium {
    columns: SchemaRef,
    schema: SchemaRef,
    required: Vec<usize>,
    key: Vec<usize>,
}

impl Debezium {
    /// Returns the fields of an event about rows of `columns`.
    #[must_use]
    pub fn envelope(columns: &Schema) -> Vec<Field> {
        let any = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
        let row = DataType::Struct(columns.fields().iter().map(any).collect());
        let event = vec![
            Field::new(BEFORE, row.clone(), true),
            Field::new(AFTER, row, true),
            Field::new(OP, DataType::Utf8, true),
        ];
        let mut fields = event.clone();
        fields.push(Field::new(PAYLOAD, DataType::Struct(Fields::from(event)), true));
        fields
    }

    /// Makes it for rows of `columns`, of which `required` must have a value, and whose key is `key`, or empty.
    ///
    /// # Errors
    /// `Internal` when a column is not there.
    pub fn new(columns: SchemaRef, required: Vec<usize>, key: Vec<usize>) -> Result<Self> {
        for list in [&required, &key] {
            if !list.is_empty() {
                check_columns(&columns, list)?;
            }
        }
        let schema = if key.is_empty() {
            columns.clone()
        } else {
            let field = |(index, field): (usize, &Arc<Field>)| {
                field.as_ref().clone().with_nullable(!key.contains(&index) || field.is_nullable())
            };
            Arc::new(Schema::new(columns.fields().iter().enumerate().map(field).collect::<Vec<_>>()))
        };
        Ok(Self { columns, schema, required, key })
    }
}

impl OperatorSpec for Debezium {
    fn describe(&self) -> String {
        let names: Vec<&str> = self.key.iter().map(|index| self.columns.field(*index).name().as_str()).collect();
        match names.as_slice() {
            [] => "debezium".to_owned(),
            names => format!("debezium by [{}]", names.join(", ")),
        }
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn build(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(DebeziumOperator { spec: self.clone(), context: context.clone() }))
    }
}

/// Events of one batch, wherever they stood.
struct Events {
    /// `before`, `after`, `op`, and the other columns: what a dead letter shows.
    rows: RecordBatch,
    before: StructArray,
    after: StructArray,
}

impl Events {
    fn read(rows: &RecordBatch) -> Result<Self> {
        let wrong = || Error::internal(format!("no change events: {}", rows.schema()));
        let column = |name: &str| rows.column_by_name(name).cloned().ok_or_else(wrong);
        let mut parts: Vec<ArrayRef> = [BEFORE, AFTER, OP].into_iter().map(column).collect::<Result<_>>()?;
        let payload = column(PAYLOAD)?;
        let payload = payload.as_struct_opt().ok_or_else(wrong)?;
        if payload.null_count() < payload.len() {
            let is_wrapped = compute::is_not_null(payload)?;
            for (part, wrapped) in parts.iter_mut().zip(payload.columns()) {
                *part = compute::kernels::zip::zip(&is_wrapped, wrapped, part)?;
            }
        }
        let side = |part: &ArrayRef| part.as_struct_opt().cloned().ok_or_else(wrong);
        let (before, after) = (side(&parts[0])?, side(&parts[1])?);
        let schema = rows.schema();
        let mut fields: Vec<Field> = [BEFORE, AFTER, OP]
            .into_iter()
            .zip(&parts)
            .map(|(name, part)| Field::new(name, part.data_type().clone(), true))
            .collect();
        let is_event = |name: &str| [BEFORE, AFTER, OP, PAYLOAD].contains(&name);
        for (field, column) in schema.fields().iter().zip(rows.columns()).filter(|(f, _)| !is_event(f.name())) {
            fields.push(field.as_ref().clone());
            parts.push(column.clone());
        }
        Ok(Self { rows: RecordBatch::try_new(Arc::new(Schema::new(fields)), parts)?, before, after })
    }

    fn operation(&self, row: usize) -> Option<&str> {
        let column = self.rows.column(2).as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row))
    }
}

/// What is wrong with an event: the reason, the field and a message.
type Fault = (Reason, String, String);

struct DebeziumOperator {
    spec: Debezium,
    context: TaskContext,
}

impl Operator for DebeziumOperator {
    fn on_batch(&mut self, _input: usize, batch: Batch, out: &mut Output) -> Result<()> {
        let events = Events::read(&batch.rows)?;
        let n_events = batch.n_rows();
        // Numbers below `n_events` are rows before, the others rows after.
        let mut taken: Vec<u32> = Vec::with_capacity(n_events);
        let mut diffs: Vec<i64> = Vec::with_capacity(n_events);
        let number = |row: usize| u32::try_from(row).map_err(|_| Error::internal("a batch of more than 2^32 rows"));
        for row in 0..n_events {
            for change in self.changes(&events, row) {
                match change {
                    Ok((at, diff)) => {
                        taken.push(number(at)?);
                        diffs.push(diff);
                    }
                    Err((reason, path, message)) => {
                        out.dead_letter(dead_letter(reason, message, path, &events.rows, row, &self.context)?);
                    }
                }
            }
        }
        let taken = UInt32Array::from(taken);
        let columns = self.sides(&events)?.into_iter().map(|column| compute::take(&column, &taken, None));
        let rows = RecordBatch::try_new(self.spec.schema.clone(), columns.collect::<Result<_, _>>()?)?;
        out.emit(Batch::changing(rows, Int64Array::from(diffs))?);
        Ok(())
    }
}

impl DebeziumOperator {
    /// Lays the rows before and the rows after end to end; of a row before, only the key where there is one.
    fn sides(&self, events: &Events) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.spec.columns.fields().len());
        for (index, field) in self.spec.columns.fields().iter().enumerate() {
            let keeps_before = self.spec.key.is_empty() || self.spec.key.contains(&index);
            let before = match keeps_before {
                true => events.before.column(index).clone(),
                false => new_null_array(field.data_type(), events.before.len()),
            };
            columns.push(compute::concat(&[&before, events.after.column(index)])?);
        }
        Ok(columns)
    }

    /// Returns the rows that go and come with an event, by number and multiplicity, or what is wrong with it.
    fn changes(&self, events: &Events, row: usize) -> Vec<Result<(usize, i64), Fault>> {
        let gone = || Ok((row, -1));
        let come = || self.complete(&events.after, AFTER, row).map(|()| (events.before.len() + row, 1));
        match (events.operation(row), self.spec.key.is_empty()) {
            (Some("c" | "r"), _) => vec![come()],
            (Some("d"), true) => vec![self.complete(&events.before, BEFORE, row).and_then(|()| gone())],
            (Some("d"), false) => vec![self.has_key(&events.before, row).and_then(|()| gone())],
            (Some("u"), true) => {
                if events.before.is_null(row) {
                    return vec![Err(missing(BEFORE, "an update without a PRIMARY KEY must say which row it changes"))];
                }
                // A row before that lacks a value never came in: it was a dead letter then.
                let before = self.complete(&events.before, BEFORE, row).ok().map(|()| gone());
                before.into_iter().chain([come()]).collect()
            }
            (Some("u"), false) => {
                let moved = self.has_key(&events.before, row).is_ok() && !self.same_key(events, row);
                match come() {
                    Ok(come) if moved => vec![gone(), Ok(come)],
                    come => vec![come],
                }
            }
            (Some(other), _) => {
                let message = format!("op '{other}' is not one of c, r, u, d");
                vec![Err((Reason::MalformedField, OP.to_owned(), message))]
            }
            (None, _) => vec![Err(missing(OP, "the record is no change event"))],
        }
    }

    /// Checks that a row is there, with a value wherever there must be one.
    fn complete(&self, side: &StructArray, name: &str, row: usize) -> Result<(), Fault> {
        if side.is_null(row) {
            return Err(missing(name, "the event has no such row"));
        }
        let lacks = self.spec.required.iter().chain(&self.spec.key).find(|index| side.column(**index).is_null(row));
        lacks.map_or(Ok(()), |index| {
            let column = self.spec.columns.field(*index).name();
            Err((Reason::MissingField, format!("{name}.{column}"), format!("the field '{name}.{column}' is missing")))
        })
    }

    fn has_key(&self, side: &StructArray, row: usize) -> Result<(), Fault> {
        let lacks = |index: &usize| side.is_null(row) || side.column(*index).is_null(row);
        if self.spec.key.iter().any(lacks) {
            return Err(missing(BEFORE, "a deletion must have the columns of the PRIMARY KEY"));
        }
        Ok(())
    }

    fn same_key(&self, events: &Events, row: usize) -> bool {
        let one = |side: &StructArray, index: usize| side.column(index).slice(row, 1);
        self.spec.key.iter().all(|index| one(&events.before, *index) == one(&events.after, *index))
    }
}

fn missing(field: &str, message: &str) -> Fault {
    (Reason::MissingField, field.to_owned(), format!("the field '{field}' is missing: {message}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{context, print, schema};
    use arrow::json::ReaderBuilder;
    use expect_test::{Expect, expect};
    use headwater_core::Message;

    fn check(key: &[usize], events: &str, output: Expect) {
        let columns = schema("id int, v text");
        let spec = Debezium::new(columns.clone(), vec![0], key.to_vec()).expect("columns");
        let envelope = Arc::new(Schema::new(Debezium::envelope(&columns)));
        let mut reader = ReaderBuilder::new(envelope).build(events.as_bytes()).expect("a reader");
        let rows = reader.next().expect("a batch").expect("events");
        let mut out = Output::default();
        spec.build(&context()).expect("builds").on_batch(0, Batch::append_only(rows), &mut out).expect("a good batch");
        let mut text = String::new();
        for message in out.take_messages() {
            match message {
                Message::Batch(batch) => text.push_str(&print(&batch)),
                other => panic!("{other:?}"),
            }
        }
        for letter in out.take_dead_letters() {
            text.push_str(&format!("{} [{}] {}\n", letter.reason, letter.path, letter.message));
        }
        for (counter, n) in out.take_counts() {
            text.push_str(&format!("{} {n}\n", counter.name()));
        }
        output.assert_eq(&text);
    }

    const EVENTS: &str = r#"{"op": "c", "after": {"id": 1, "v": "a"}, "source": {"x": 1}}
        {"op": "u", "before": {"id": 1, "v": "a"}, "after": {"id": 1, "v": "b"}}
        {"schema": {}, "payload": {"op": "u", "before": {"id": 1, "v": "b"}, "after": {"id": 2, "v": "b"}}}
        {"op": "d", "before": {"id": 2, "v": "b"}, "after": null}
        {"op": "r", "before": null, "after": {"id": 3}}
        {"op": "u", "after": {"id": 3, "v": "c"}}
        {"op": "d"}
        {"op": "t"}
        {"id": 1}
        {"op": "c", "after": {"v": "x"}}
        {"op": "u", "before": {"v": "x"}, "after": {"id": 4, "v": "x"}}
        {"op": "u", "before": {"id": 4, "v": "x"}, "after": {"v": "y"}}"#;

    #[test]
    fn without_a_key_an_event_says_what_goes_and_what_comes() {
        check(
            &[],
            EVENTS,
            expect![[r#"
            + 1 a
            - 1 a
            + 1 b
            - 1 b
            + 2 b
            - 2 b
            + 3 _
            + 4 x
            - 4 x
            missing_field [before] the field 'before' is missing: an update without a PRIMARY KEY must say which row it changes
            missing_field [before] the field 'before' is missing: the event has no such row
            malformed_field [op] op 't' is not one of c, r, u, d
            missing_field [op] the field 'op' is missing: the record is no change event
            missing_field [after.id] the field 'after.id' is missing
            missing_field [after.id] the field 'after.id' is missing
        "#]],
        );
    }

    #[test]
    fn with_a_key_only_the_key_of_the_row_before_matters() {
        check(
            &[0],
            EVENTS,
            expect![[r#"
            + 1 a
            + 1 b
            - 1 _
            + 2 b
            - 2 _
            + 3 _
            + 3 c
            + 4 x
            missing_field [before] the field 'before' is missing: a deletion must have the columns of the PRIMARY KEY
            malformed_field [op] op 't' is not one of c, r, u, d
            missing_field [op] the field 'op' is missing: the record is no change event
            missing_field [after.id] the field 'after.id' is missing
            missing_field [after.id] the field 'after.id' is missing
        "#]],
        );
    }
}
