//! Calls of `tumble`, `hop`, `cumulate` and `session` as written and as resolved. They compute nothing themselves: what is
//! computed is in `operators`. No state.

use super::SESSION;
use super::marks::{Part, is_event_time, mark_part, mark_window, window_of, window_text};
use crate::types::TIMESTAMP;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{DataFusionError, ExprSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use headwater_operators::functions::WindowRule;
use headwater_operators::interval_words;
use std::any::Any;
use std::sync::Arc;

/// Returns the name of the column that a call makes, with intervals as a user writes them.
fn name(function: &str, args: &[Expr]) -> String {
    let of = |arg: &Expr| match arg {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval_words(*interval),
        Expr::Literal(ScalarValue::Utf8(Some(text)), _) => format!("'{text}'"),
        other => other.schema_name().to_string(),
    };
    format!("{function}({})", args.iter().map(of).collect::<Vec<_>>().join(", "))
}

/// The type of a window.
pub(super) fn window_type(nullable: bool) -> DataType {
    DataType::Struct(Fields::from(vec![
        Field::new("start", TIMESTAMP, nullable),
        Field::new("end", TIMESTAMP, nullable),
    ]))
}

/// A window function as the user writes it: with or without the event-time column. It is never executed.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Written {
    name: &'static str,
    /// What computes it; only `tumble` gives one window for each row.
    pub(super) inner: Option<Arc<ScalarUDF>>,
    signature: Signature,
}

impl Written {
    /// Makes it from the function of `operators`, if there is one.
    pub(crate) fn new(name: &'static str, inner: Option<Arc<ScalarUDF>>) -> Self {
        Self { name, inner, signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Written {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(window_type(true))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(name(self.name, args))
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal(format!("{} was not resolved", self.name)))
    }
}

/// A window function with all of its arguments; its result carries the mark of a window.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Resolved {
    name: &'static str,
    inner: Option<Arc<ScalarUDF>>,
    signature: Signature,
}

impl Resolved {
    pub(super) fn call(written: &Written, args: Vec<Expr>) -> Expr {
        let signature = match &written.inner {
            Some(inner) => inner.signature().clone(),
            None => Signature::variadic_any(Volatility::Immutable),
        };
        let resolved = Self { name: written.name, inner: written.inner.clone(), signature };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::new_from_impl(resolved)), args))
    }

    pub(super) fn function(&self) -> &'static str {
        self.name
    }

    /// Whether it gives one window for each row, and is so a function like any other.
    pub(super) fn is_function(&self) -> bool {
        self.name == super::TUMBLE
    }
}

impl ScalarUDFImpl for Resolved {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        match &self.inner {
            Some(inner) => inner.coerce_types(arg_types),
            None => Ok(arg_types.to_vec()),
        }
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(window_type(true))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        Ok(name(self.name, args))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let constants = args.scalar_arguments.get(1..).unwrap_or_default().to_vec();
        let time = args.arg_fields.first().cloned();
        let nullable = time.as_ref().is_none_or(|time| time.is_nullable());
        let field = match &self.inner {
            Some(inner) if self.is_function() => inner.return_field_from_args(args)?,
            inner => {
                if inner.is_some() {
                    let known: Vec<ScalarValue> = constants.iter().copied().flatten().cloned().collect();
                    WindowRule::from_constants(self.name, &known)?;
                }
                Arc::new(Field::new(self.name, window_type(nullable), nullable))
            }
        };
        Ok(match time {
            Some(time) if is_event_time(&time) => {
                Arc::new(mark_window(&field, &window_text(self.name, &constants, time.name())))
            }
            _ => field,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &self.inner {
            Some(inner) if self.is_function() => inner.invoke_with_args(args),
            _ => Err(DataFusionError::Internal(format!("{} was not planned", self.name))),
        }
    }
}

/// A function that takes a part of a window; its result carries the mark of the part. It is another function in every
/// other respect, its name included.
#[derive(Debug, PartialEq, Eq, Hash)]
struct PartOfWindow {
    inner: Arc<ScalarUDF>,
    part: Part,
}

impl ScalarUDFImpl for PartOfWindow {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
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

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let window = args.arg_fields.first().and_then(|field| window_of(field).map(str::to_owned));
        let field = self.inner.return_field_from_args(args)?;
        Ok(match window {
            Some(window) => Arc::new(mark_part(&field, self.part, &window)),
            None => field,
        })
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.inner.simplify(args, info)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

/// Wraps a function that takes a part of a window, such as `window['end']`, so that its result says so.
pub(super) fn with_part_marked(expr: &Expr, inputs: &dyn ExprSchema) -> Option<Expr> {
    let (part, window) = part_taken(expr)?;
    let Expr::ScalarFunction(call) = expr else { return None };
    if (call.func.inner().as_ref() as &dyn Any).is::<PartOfWindow>() {
        return None;
    }
    let (_, field) = datafusion::logical_expr::ExprSchemable::to_field(&window, inputs).ok()?;
    window_of(&field)?;
    let marked = ScalarUDF::new_from_impl(PartOfWindow { inner: call.func.clone(), part });
    Some(Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(marked), call.args.clone())))
}

/// Returns which part of a window an expression takes, and the window.
pub(crate) fn part_taken(expr: &Expr) -> Option<(Part, Expr)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let part = match (call.name(), call.args.as_slice()) {
        ("get_field", [_, Expr::Literal(field, _)]) => match field.try_as_str().flatten()? {
            "start" => Part::Start,
            "end" => Part::End,
            _ => return None,
        },
        (super::WINDOW_TIME, [_]) => Part::Time,
        _ => return None,
    };
    Some((part, call.args[0].clone()))
}

/// Returns the window function of a call, as written.
pub(super) fn as_written(call: &ScalarFunction) -> Option<&Written> {
    (call.func.inner().as_ref() as &dyn Any).downcast_ref::<Written>()
}

/// Returns the window function of a call that gives each row any number of windows.
pub(super) fn as_assignment(expr: &Expr) -> Option<(&Resolved, &[Expr])> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let resolved = (call.func.inner().as_ref() as &dyn Any).downcast_ref::<Resolved>()?;
    (!resolved.is_function()).then_some((resolved, &call.args))
}

/// How many intervals a window function takes.
pub(super) fn n_intervals(function: &str) -> usize {
    if matches!(function, super::TUMBLE | SESSION) { 1 } else { 2 }
}
