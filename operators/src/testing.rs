//! Runs an operator on a script of batches, watermarks and barriers written as text, and prints what it did.
//!
//! It never hides anything: rows, watermarks, dead letters and counts are all printed. A script has a line per event:
//! `+ 1 4` and `- 7 5` are rows (`+2 1 4` twice), rows next to each other are one batch; `#1` switches to input 1;
//! `watermark 10`, `idle` and `barrier` are what they say; an empty line ends a batch. `_` is null.

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::compute;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionContext;
use headwater_core::{
    Barrier, BarrierKind, Batch, Epoch, EventTime, FixedClock, Message, Operator, OperatorSpec, Output, TaskContext,
    Watermark,
};
use std::fmt::Write;
use std::sync::Arc;

/// Makes a schema of nullable columns from `a int, b text, t time`.
pub(crate) fn schema(columns: &str) -> SchemaRef {
    let field = |column: &str| {
        let (name, kind) = column.trim().split_once(' ').expect("a name and a type");
        let data_type = match kind {
            "int" => DataType::Int64,
            "float" => DataType::Float64,
            "text" => DataType::Utf8,
            "decimal" => DataType::Decimal128(12, 2),
            "time" => DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None),
            other => panic!("no type {other}"),
        };
        Field::new(name, data_type, true)
    };
    Arc::new(Schema::new(columns.split(',').map(field).collect::<Vec<_>>()))
}

/// Plans an SQL expression over a schema.
pub(crate) fn expr(sql: &str, schema: &SchemaRef) -> Arc<dyn PhysicalExpr> {
    let context = SessionContext::new();
    for function in crate::functions::all() {
        context.register_udf(function.as_ref().clone());
    }
    let schema = DFSchema::try_from(schema.as_ref().clone()).expect("a schema");
    let expr = context.parse_sql_expr(sql, &schema).expect("an expression");
    context.create_physical_expr(expr, &schema).expect("a physical expression")
}

/// The context of a test's only task.
pub(crate) fn context() -> TaskContext {
    let clock = Arc::new(FixedClock::new(EventTime(0)));
    TaskContext::new("test", "node", clock)
}

/// A row of a script: its multiplicity and its values as text.
type ScriptRow = (i64, Vec<Option<String>>);

/// Makes a batch of rows of text, which are cast to the types of the schema. Without deletions it is append-only.
pub(crate) fn batch(schema: &SchemaRef, rows: &[ScriptRow]) -> Batch {
    let column = |index: usize| -> ArrayRef {
        let texts: StringArray = rows.iter().map(|(_, values)| values[index].clone()).collect();
        let data_type = schema.field(index).data_type();
        if matches!(data_type, DataType::Timestamp(..)) {
            let numbers = compute::cast(&texts, &DataType::Int64).expect("a number of nanoseconds");
            return compute::cast(&numbers, data_type).expect("a time");
        }
        compute::cast(&texts, data_type).expect("a value of the column's type")
    };
    let columns = (0..schema.fields().len()).map(column).collect();
    let columns = RecordBatch::try_new(schema.clone(), columns).expect("columns of the schema");
    if rows.iter().all(|(diff, _)| *diff == 1) {
        return Batch::append_only(columns);
    }
    Batch::changing(columns, rows.iter().map(|(diff, _)| *diff).collect::<Vec<_>>().into()).expect("a diff per row")
}

fn script_row(line: &str) -> ScriptRow {
    let (sign, values) = line.split_once(' ').expect("a multiplicity and values");
    let diff = match sign {
        "+" => 1,
        "-" => -1,
        other => other.parse().expect("a multiplicity"),
    };
    (diff, values.split_whitespace().map(|value| (value != "_").then(|| value.to_owned())).collect())
}

/// Prints rows as `+ 1 4`, or `+2 1 4` for a multiplicity of two.
pub(crate) fn print(batch: &Batch) -> String {
    let options = FormatOptions::default().with_null("_");
    let columns: Vec<_> = batch.rows.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    let mut text = String::new();
    for row in 0..batch.n_rows() {
        match batch.diff(row) {
            1 => text.push('+'),
            -1 => text.push('-'),
            diff => write!(text, "{diff:+}").unwrap(),
        }
        for column in &columns {
            write!(text, " {}", column.value(row)).unwrap();
        }
        text.push('\n');
    }
    text
}

fn drain(out: &mut Output, text: &mut String) {
    for message in out.take_messages() {
        match message {
            Message::Batch(batch) => text.push_str(&print(&batch)),
            Message::Watermark(Watermark::At(time)) => writeln!(text, "watermark {}", time.0).unwrap(),
            Message::Watermark(Watermark::Idle) => text.push_str("idle\n"),
            Message::Barrier(_) | Message::End => panic!("an operator must not emit {message:?}"),
        }
    }
    for letter in out.take_dead_letters() {
        writeln!(text, "dead letter {} [{}]: {}: {}", letter.reason, letter.path, letter.message, letter.payload)
            .unwrap();
    }
    for (counter, n) in out.take_counts() {
        writeln!(text, "{} {n}", counter.name()).unwrap();
    }
}

/// Runs a script over inputs of these schemas.
pub(crate) fn run(spec: &dyn OperatorSpec, inputs: &[SchemaRef], script: &str) -> String {
    let mut operator = spec.build(&context()).expect("the operator builds");
    let mut text = String::new();
    let mut out = Output::default();
    let mut rows: Vec<ScriptRow> = Vec::new();
    let (mut input, mut epoch) = (0, 0);
    for line in script.lines().map(str::trim).chain([""]) {
        if line.starts_with(['+', '-']) {
            rows.push(script_row(line));
            continue;
        }
        if !rows.is_empty() {
            operator
                .on_batch(input, batch(&inputs[input], &std::mem::take(&mut rows)), &mut out)
                .expect("a good batch");
        }
        match line.split_once(' ') {
            _ if line.is_empty() => {}
            _ if line.starts_with('#') => input = line[1..].parse().expect("the number of an input"),
            Some(("watermark", time)) => {
                let time = if time == "max" { i64::MAX } else { time.parse().expect("a time") };
                operator.on_watermark(Watermark::At(EventTime(time)), &mut out).expect("a good watermark");
            }
            None if line == "idle" => operator.on_watermark(Watermark::Idle, &mut out).expect("a good watermark"),
            None if line == "barrier" => {
                epoch += 1;
                barrier(operator.as_mut(), epoch, &mut out);
                drain(&mut out, &mut text);
                text.push_str("barrier\n");
            }
            _ => panic!("not understood: {line}"),
        }
        drain(&mut out, &mut text);
    }
    text
}

/// Ends an epoch.
pub(crate) fn barrier(operator: &mut dyn Operator, epoch: u64, out: &mut Output) {
    let barrier = Barrier { epoch: Epoch(epoch), kind: BarrierKind::Flush, time: EventTime(0) };
    operator.on_barrier(&barrier, out).expect("a good barrier");
}

/// Ends an epoch at a wall time.
pub(crate) fn barrier_at(operator: &mut dyn Operator, time: i64, out: &mut Output) {
    let barrier = Barrier { epoch: Epoch(1), kind: BarrierKind::Flush, time: EventTime(time) };
    operator.on_barrier(&barrier, out).expect("a good barrier");
}

/// Makes a column of whole numbers.
pub(crate) fn ints(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}
