//! Evaluates physical expressions on batches, and finds the rows on which they fail.
//!
//! It never ends a pipeline for what concerns single rows: those go to the dead-letter stream. A fault that is not
//! about a row (a type that does not fit, a function that is not there) does end it. There is no state; a batch with
//! `f` failing rows of `n` costs `O(f log n)` further evaluations.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute;
use arrow::datatypes::{IntervalMonthDayNano, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DataFusionError, ScalarValue};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, Literal};
use datafusion_physical_expr::utils::collect_columns;
use headwater_core::{Batch, DeadLetter, Error, EventTime, Output, Reason, Result, TaskContext};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// The column from which a dead letter takes its position, where the row has it.
const POSITION_COLUMN: &str = "_position";

/// Turns an error of DataFusion into one of ours.
pub(crate) fn engine_error(error: DataFusionError) -> Error {
    match error {
        DataFusionError::ArrowError(error, _) => Error::from(*error),
        DataFusionError::External(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::data(error.to_string()),
        },
        other if is_about_rows(&other) => Error::data(other.strip_backtrace()),
        other => Error::internal(other.strip_backtrace()),
    }
}

/// Whether another row might not fail: values can cause it, types and plans cannot.
fn is_about_rows(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::ArrowError(error, _) => !matches!(
            **error,
            ArrowError::SchemaError(_) | ArrowError::NotYetImplemented(_) | ArrowError::MemoryError(_)
        ),
        DataFusionError::Execution(_) | DataFusionError::External(_) => true,
        _ => false,
    }
}

/// Evaluates an expression to one value per row.
pub(crate) fn evaluate(expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<ArrayRef, DataFusionError> {
    expr.evaluate(rows)?.into_array(rows.num_rows())
}

/// Evaluates expressions over rows; the first failure is that of all.
pub(crate) fn evaluate_all(
    exprs: &[Arc<dyn PhysicalExpr>],
    rows: &RecordBatch,
) -> Result<Vec<ArrayRef>, DataFusionError> {
    exprs.iter().map(|expr| evaluate(expr, rows)).collect()
}

/// Rows, and the values of some expressions on them.
pub(crate) struct Evaluated {
    /// The rows on which no expression failed.
    pub(crate) batch: Batch,
    /// One array per expression.
    pub(crate) columns: Vec<ArrayRef>,
}

/// Evaluates expressions on a batch. Rows on which one fails are left out and become dead letters; the retraction of
/// such a row is left out without another letter, because the row itself is in the stream already.
pub(crate) fn evaluate_or_bury(
    exprs: &[Arc<dyn PhysicalExpr>],
    batch: Batch,
    context: &TaskContext,
    out: &mut Output,
) -> Result<Evaluated> {
    match evaluate_all(exprs, &batch.rows) {
        Ok(columns) => return Ok(Evaluated { batch, columns }),
        Err(error) if !is_about_rows(&error) => return Err(engine_error(error)),
        Err(_) => {}
    }
    let mut good = Vec::new();
    bisect(exprs, batch.slice(0, batch.n_rows()), context, out, &mut good)?;
    let schema = batch.schema();
    let batches: Vec<Batch> = good.iter().map(|part| part.batch.clone()).collect();
    let joined = Batch::concat(&schema, &batches)?;
    let columns = (0..exprs.len())
        .map(|index| {
            let parts: Vec<&dyn Array> = good.iter().map(|part| part.columns[index].as_ref()).collect();
            if parts.is_empty() {
                return evaluate(&exprs[index], &joined.rows).map_err(engine_error);
            }
            Ok(compute::concat(&parts)?)
        })
        .collect::<Result<_>>()?;
    Ok(Evaluated { batch: joined, columns })
}

fn bisect(
    exprs: &[Arc<dyn PhysicalExpr>],
    batch: Batch,
    context: &TaskContext,
    out: &mut Output,
    good: &mut Vec<Evaluated>,
) -> Result<()> {
    let error = match evaluate_all(exprs, &batch.rows) {
        Ok(columns) => {
            good.push(Evaluated { batch, columns });
            return Ok(());
        }
        Err(error) if !is_about_rows(&error) => return Err(engine_error(error)),
        Err(error) => error,
    };
    let n_rows = batch.n_rows();
    if n_rows > 1 {
        let half = n_rows / 2;
        bisect(exprs, batch.slice(0, half), context, out, good)?;
        return bisect(exprs, batch.slice(half, n_rows - half), context, out, good);
    }
    if batch.diff(0) > 0 {
        let message = match error.find_root() {
            DataFusionError::ArrowError(error, _) => error.to_string(),
            other => other.strip_backtrace(),
        };
        let path = failing_columns(exprs, &batch.rows);
        out.dead_letter(dead_letter(Reason::FailedExpression, message, path, &batch.rows, 0, context)?);
    }
    Ok(())
}

/// Names the columns that the first failing expression reads.
fn failing_columns(exprs: &[Arc<dyn PhysicalExpr>], row: &RecordBatch) -> String {
    let Some(failing) = exprs.iter().find(|expr| evaluate(expr, row).is_err()) else { return String::new() };
    let mut columns: Vec<_> = collect_columns(failing).into_iter().collect();
    columns.sort_by_key(Column::index);
    columns.iter().map(|column| column.name().to_owned()).collect::<Vec<_>>().join(", ")
}

/// Makes a dead letter of one row, with the row as JSON.
pub(crate) fn dead_letter(
    reason: Reason,
    message: String,
    path: String,
    rows: &RecordBatch,
    row: usize,
    context: &TaskContext,
) -> Result<DeadLetter> {
    let position = rows.column_by_name(POSITION_COLUMN).and_then(|column| {
        let column = column.as_string_opt::<i32>()?;
        column.is_valid(row).then(|| column.value(row).to_owned())
    });
    let payload = row_as_json(&rows.slice(row, 1))?;
    let source = context.node.to_string();
    Ok(DeadLetter { reason, message, path, source, position: position.unwrap_or_default(), payload })
}

fn row_as_json(row: &RecordBatch) -> Result<String> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(Vec::new());
    writer.write(row)?;
    writer.finish()?;
    let mut bytes = writer.into_inner();
    bytes.truncate(bytes.trim_ascii_end().len());
    String::from_utf8(bytes).map_err(|_| Error::internal("JSON that is not text"))
}

/// Returns an interval as a user writes it: `1 month`, `2 hours 30 minutes`.
#[must_use]
pub fn interval_words(interval: IntervalMonthDayNano) -> String {
    let seconds = interval.nanoseconds / EventTime::SECOND;
    let parts = [
        (i64::from(interval.months), "month"),
        (i64::from(interval.days), "day"),
        (seconds / 3_600, "hour"),
        (seconds % 3_600 / 60, "minute"),
        (seconds % 60, "second"),
        (interval.nanoseconds % EventTime::SECOND, "nanosecond"),
    ];
    let parts = parts.iter().filter(|(n, _)| *n != 0);
    let words: Vec<String> =
        parts.map(|(n, unit)| if *n == 1 { format!("1 {unit}") } else { format!("{n} {unit}s") }).collect();
    if words.is_empty() { "0 seconds".to_owned() } else { words.join(" ") }
}

/// Returns a duration as a user writes it.
pub(crate) fn duration_words(nanoseconds: i64) -> String {
    const DAY: i64 = 86_400 * EventTime::SECOND;
    let days = i32::try_from(nanoseconds / DAY).unwrap_or(i32::MAX);
    interval_words(IntervalMonthDayNano { months: 0, days, nanoseconds: nanoseconds % DAY })
}

/// Puts a name that reads as SQL in the place of each interval, for printing alone.
fn with_readable_intervals(expr: &Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    let readable = Arc::clone(expr).transform_up(|expr| {
        let literal = (expr.as_ref() as &dyn Any).downcast_ref::<Literal>().map(Literal::value);
        let Some(ScalarValue::IntervalMonthDayNano(Some(interval))) = literal else { return Ok(Transformed::no(expr)) };
        let text = format!("interval '{}'", interval_words(*interval));
        Ok(Transformed::yes(Arc::new(Column::new(&text, 0)) as _))
    });
    readable.map_or_else(|_| Arc::clone(expr), |readable| readable.data)
}

/// Prints an expression for a plan: columns by name alone, intervals as a user writes them.
pub(crate) fn sql(expr: &Arc<dyn PhysicalExpr>) -> String {
    let expr = with_readable_intervals(expr);
    struct Sql<'a>(&'a dyn PhysicalExpr);
    impl fmt::Display for Sql<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.fmt_sql(f)
        }
    }
    Sql(expr.as_ref()).to_string()
}

/// Prints `expr AS name`, or the name alone where they are the same.
pub(crate) fn sql_as(expr: &Arc<dyn PhysicalExpr>, name: &str) -> String {
    let text = sql(expr);
    if text == name { text } else { format!("{text} AS {name}") }
}

/// Checks that two schemas have the same types, so that rows of one can carry the names of the other.
pub(crate) fn check_relabel(from: &Schema, to: &SchemaRef) -> Result<()> {
    let types = |schema: &Schema| schema.fields().iter().map(|field| field.data_type().clone()).collect::<Vec<_>>();
    let (has, wants) = (types(from), types(to));
    let fits = has.len() == wants.len() && has.iter().zip(&wants).all(|(a, b)| a.equals_datatype(b));
    if fits { Ok(()) } else { Err(Error::internal(format!("columns {has:?} cannot be called {wants:?}"))) }
}

/// Checks that column numbers are there, and at least one.
pub(crate) fn check_columns(schema: &Schema, columns: &[usize]) -> Result<()> {
    let n_columns = schema.fields().len();
    if columns.is_empty() || columns.iter().any(|column| *column >= n_columns) {
        return Err(Error::internal(format!("there are no columns {columns:?} among {n_columns}")));
    }
    Ok(())
}
