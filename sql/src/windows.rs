//! `tumble` in SQL: finds the event-time column that `tumble(interval '…')` leaves unsaid, adds the time zone that is
//! set, and marks the result as a window over event time. The mark travels as metadata of the column, so every
//! projection carries it. It computes nothing itself: the function is that of `operators`. No state.

use crate::errors::wrapped;
use crate::optimize::coerced;
use crate::position::{Place, WithPlace};
use crate::settings::Settings;
use crate::types::TIMESTAMP;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, lit,
};
use headwater_core::Error;
use headwater_operators::interval_words;
use std::collections::HashMap;
use std::sync::Arc;

/// The name of the function.
pub(crate) const TUMBLE: &str = "tumble";
const EVENT_TIME: &str = "headwater.event_time";
const WINDOW: &str = "headwater.window";

/// Marks a column as the event time of its table.
pub(crate) fn mark_event_time(schema: &SchemaRef, column: usize) -> SchemaRef {
    let fields: Vec<Field> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(index, field)| if index == column { marked(field, EVENT_TIME) } else { field.as_ref().clone() })
        .collect();
    Arc::new(Schema::new(fields))
}

fn marked(field: &Field, mark: &str) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(mark.to_owned(), "true".to_owned());
    field.clone().with_metadata(metadata)
}

/// Whether a column is the event time of its rows.
pub(crate) fn is_event_time(field: &Field) -> bool {
    field.metadata().contains_key(EVENT_TIME)
}

/// Whether a column is a window over event time.
pub(crate) fn is_window(field: &Field) -> bool {
    field.metadata().contains_key(WINDOW)
}

/// Returns a schema without the marks: its rows come at another time than the watermark promises.
pub(crate) fn unmarked(schema: &DFSchema) -> Result<DFSchema> {
    let fields = schema.iter().map(|(qualifier, field)| {
        let mut metadata = field.metadata().clone();
        metadata.retain(|key, _| key != EVENT_TIME && key != WINDOW);
        (qualifier.cloned(), Arc::new(field.as_ref().clone().with_metadata(metadata)))
    });
    DFSchema::new_with_metadata(fields.collect(), HashMap::new())
}

/// Returns the name of the column that a call makes, with intervals as a user writes them.
fn name(args: &[Expr]) -> String {
    let of = |arg: &Expr| match arg {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval_words(*interval),
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => format!("'{text}'"),
        other => other.schema_name().to_string(),
    };
    format!("{TUMBLE}({})", args.iter().map(of).collect::<Vec<_>>().join(", "))
}

/// `tumble` as the user writes it: with or without the event-time column. It is never executed.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Written {
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

impl Written {
    /// Wraps the function of `operators`.
    pub(crate) fn new(inner: Arc<ScalarUDF>) -> Self {
        Self { inner, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Written {
    fn name(&self) -> &str {
        TUMBLE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        self.inner.return_type(&[TIMESTAMP, DataType::Interval(IntervalUnit::MonthDayNano)])
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(name(args))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal("tumble was not resolved".to_owned()))
    }
}

/// `tumble` with all of its arguments. It is the function of `operators`, whose result carries the mark.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Resolved {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Resolved {
    fn name(&self) -> &str {
        TUMBLE
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.inner.return_type(args)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(name(args))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let over_event_time = args.arg_fields.first().is_some_and(|field| is_event_time(field));
        let field = self.inner.return_field_from_args(args)?;
        Ok(if over_event_time { Arc::new(marked(&field, WINDOW)) } else { field })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

/// Resolves every `tumble` of a plan.
pub(crate) fn resolve_windows(plan: LogicalPlan, settings: &Settings, place: &Place) -> Result<LogicalPlan> {
    let resolved = plan.transform_up_with_subqueries(|node| {
        let mut inputs = DFSchema::empty();
        for input in node.inputs() {
            inputs.merge(input.schema());
        }
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| resolve_call(expr, &inputs, settings, place))?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        // A mark that appears below must be seen above, so the schema is made anew at every node.
        Ok(Transformed::yes(node.data.recompute_schema()?))
    })?;
    Ok(resolved.data)
}

fn resolve_call(expr: Expr, inputs: &DFSchema, settings: &Settings, place: &Place) -> Result<Transformed<Expr>> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = &expr else { return Ok(Transformed::no(expr)) };
    let Some(written) = func.inner().as_any_written() else { return Ok(Transformed::no(expr)) };
    let mut args = args.clone();
    let first = args.first().map(|arg| arg.get_type(inputs)).transpose()?;
    match first {
        Some(DataType::Interval(_) | DataType::Duration(_)) => args.insert(0, event_time_of(inputs, place)?),
        Some(DataType::Timestamp(..)) if first == Some(TIMESTAMP) => {}
        Some(DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) => {
            args[0] = Expr::Cast(Cast::new(Box::new(args[0].clone()), TIMESTAMP));
        }
        other => {
            let what = other.map_or_else(|| "nothing".to_owned(), |data_type| data_type.to_string());
            let error = Error::invalid(format!("tumble takes a time and an interval, not {what}"))
                .with_help("write tumble(interval '1 month') or tumble(ts, interval '1 month', 'Europe/Oslo')");
            return Err(wrapped(placed(error, place)));
        }
    }
    // What follows the time must be constant where it is planned: `timestamp '2024-04-01'` is a cast of a text so far.
    let config = Arc::new(ConfigOptions::new());
    for arg in args.iter_mut().skip(1) {
        *arg = coerced(arg.clone(), inputs, &config)?;
    }
    if let (2, Some(zone)) = (args.len(), &settings.time_zone) {
        args.push(lit(zone.as_str()));
    }
    let resolved = ScalarUDF::new_from_impl(Resolved { inner: written.inner.clone() });
    Ok(Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(resolved), args))))
}

trait AsWritten {
    fn as_any_written(&self) -> Option<&Written>;
}

impl AsWritten for Arc<dyn ScalarUDFImpl> {
    fn as_any_written(&self) -> Option<&Written> {
        (self.as_ref() as &dyn std::any::Any).downcast_ref::<Written>()
    }
}

fn event_time_of(inputs: &DFSchema, place: &Place) -> Result<Expr> {
    let columns: Vec<Column> = inputs.iter().filter(|(_, field)| is_event_time(field)).map(Column::from).collect();
    match columns.as_slice() {
        [column] => Ok(Expr::Column(column.clone())),
        [] => {
            let error = Error::invalid("tumble(interval) needs an event-time column, and its input has none").with_help(
                "write tumble(ts, interval '…'), or declare WATERMARK FOR ts in the table and select ts in every view",
            );
            Err(wrapped(placed(error, place)))
        }
        several => {
            let names: Vec<String> = several.iter().map(Column::flat_name).collect();
            let error = Error::invalid(format!("the input has several event-time columns: {}", names.join(", ")))
                .with_help(format!("say which one: tumble({}, interval '…')", names[0]));
            Err(wrapped(placed(error, place)))
        }
    }
}

fn placed(error: Error, place: &Place) -> Error {
    match place.find_call(TUMBLE) {
        Some(span) => error.with_place(span),
        None => error,
    }
}
