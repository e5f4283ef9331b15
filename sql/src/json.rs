//! JSON by key: `->`, `->>`, `#>`, `#>>`, `?`, and containment (`@>`, `<@`), on `datafusion-functions-json`. What `->`
//! gives is JSON text, marked as such so that `json_object` sets it in as it is; chains of keys are one call, so that
//! a document is read once. It computes nothing itself; no state.

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{Alias, ScalarFunction};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;
use datafusion_functions_json::udfs;
use headwater_operators::functions::JSON_MARK;
use std::sync::Arc;

/// The functions of the crate under the names that users know, the crate's own first.
const NAMES: &[(&str, &[&str])] = &[
    ("json_get_json", &["json_get", "json_extract_path", "jsonb_extract_path"]),
    ("json_as_text", &["json_extract_path_text", "jsonb_extract_path_text"]),
    ("json_get_str", &[]),
    ("json_get_int", &[]),
    ("json_get_float", &[]),
    ("json_get_bool", &[]),
    ("json_get_array", &[]),
    ("json_contains", &[]),
    ("json_length", &["json_array_length", "jsonb_array_length"]),
    ("json_object_keys", &["json_keys", "jsonb_object_keys"]),
];

/// Returns the functions with all of their names.
pub(crate) fn functions() -> Vec<(String, Arc<ScalarUDF>)> {
    let known = [
        marked(udfs::json_get_json_udf()),
        udfs::json_as_text_udf(),
        udfs::json_get_str_udf(),
        udfs::json_get_int_udf(),
        udfs::json_get_float_udf(),
        udfs::json_get_bool_udf(),
        udfs::json_get_array_udf(),
        udfs::json_contains_udf(),
        udfs::json_length_udf(),
        udfs::json_object_keys_udf(),
    ];
    let mut named = Vec::new();
    for (function, (name, aliases)) in known.into_iter().zip(NAMES) {
        debug_assert_eq!(function.name(), *name);
        named.extend(std::iter::once(name).chain(*aliases).map(|name| ((*name).to_owned(), function.clone())));
    }
    named
}

fn marked(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Marked { inner }))
}

/// A function whose text is JSON.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Marked {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Marked {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let field = Field::new(self.name(), self.return_type(&types)?, true);
        Ok(Arc::new(field.with_metadata([(JSON_MARK.to_owned(), "true".to_owned())].into())))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.inner.invoke_with_args(args)
    }
}

/// Plans the operators on JSON.
#[derive(Debug)]
pub(crate) struct JsonOperators {
    get: Arc<ScalarUDF>,
    text: Arc<ScalarUDF>,
    has_key: Arc<ScalarUDF>,
    has_any: Arc<ScalarUDF>,
    has_all: Arc<ScalarUDF>,
    holds: Arc<ScalarUDF>,
    finds: Arc<ScalarUDF>,
}

impl JsonOperators {
    /// Takes the functions behind the operators; `None` where one is not there.
    pub(crate) fn new(find: impl Fn(&str) -> Option<Arc<ScalarUDF>>) -> Option<Self> {
        Some(Self {
            get: find("json_get_json")?,
            text: find("json_as_text")?,
            has_key: find("jsonb_exists")?,
            has_any: find("jsonb_exists_any")?,
            has_all: find("jsonb_exists_all")?,
            holds: find("jsonb_contains")?,
            finds: find("json_exists")?,
        })
    }

    /// Calls a function with a document and a path; keys of a `->` on the left come first.
    fn at(&self, function: &Arc<ScalarUDF>, left: &Expr, right: &Expr) -> Expr {
        let mut args = match left.clone().unalias() {
            Expr::ScalarFunction(call) if call.func == self.get && call.args[1..].iter().all(is_literal) => call.args,
            other => vec![other],
        };
        match path(right) {
            Some(path) if path.iter().all(is_literal) => args.extend(path),
            // A path that is a column is taken alone.
            _ if args.len() > 1 => {
                args = vec![Expr::ScalarFunction(ScalarFunction::new_udf(self.get.clone(), args)), right.clone()];
            }
            _ => args.push(right.clone()),
        }
        Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), args))
    }
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..))
}

/// Returns the steps of a path: those of a list, those of Postgres' `{a,b,0}`, or the one key.
fn path(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::ScalarFunction(call) if call.name() == "make_array" => Some(call.args.clone()),
        Expr::Literal(..) => Some(vec![expr.clone()]),
        _ => None,
    }
}

/// Reads Postgres' text of an array; `None` where it is none.
fn array_text(expr: &Expr) -> Option<Vec<Expr>> {
    let Expr::Literal(value, _) = expr else { return None };
    let inner = value.try_as_str().flatten()?.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    let step = |step: &str| match step.parse::<i64>() {
        Ok(index) => ScalarValue::Int64(Some(index)),
        Err(_) => ScalarValue::Utf8(Some(step.trim_matches('"').to_owned())),
    };
    let steps = inner.split(',').map(str::trim).filter(|step| !step.is_empty());
    Some(steps.map(|text| Expr::Literal(step(text), None)).collect())
}

fn call(function: &Arc<ScalarUDF>, left: Expr, right: Expr) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(function.clone(), vec![left, right]))
}

fn is_text(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    Ok(matches!(expr.get_type(schema)?, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null))
}

/// The name of a column as the user would write it.
fn shown(expr: &Expr) -> String {
    match expr {
        Expr::Column(column) => column.name.clone(),
        Expr::Alias(alias) => alias.name.clone(),
        Expr::Literal(value, _) => match value.try_as_str() {
            Some(Some(text)) => format!("'{text}'"),
            _ => value.to_string(),
        },
        Expr::Cast(cast) => shown(&cast.expr),
        other => other.to_string(),
    }
}

impl ExprPlanner for JsonOperators {
    fn plan_binary_op(&self, expr: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = &expr;
        let planned = match op {
            BinaryOperator::Arrow => self.at(&self.get, left, right),
            BinaryOperator::LongArrow => self.at(&self.text, left, right),
            BinaryOperator::Question => call(&self.has_key, left.clone(), right.clone()),
            BinaryOperator::HashArrow | BinaryOperator::HashLongArrow => {
                let function = if *op == BinaryOperator::HashArrow { &self.get } else { &self.text };
                match array_text(right) {
                    Some(steps) => {
                        let path = datafusion::functions_nested::make_array::make_array_udf();
                        self.at(function, left, &Expr::ScalarFunction(ScalarFunction::new_udf(path, steps)))
                    }
                    None => self.at(function, left, right),
                }
            }
            BinaryOperator::QuestionPipe => call(&self.has_any, left.clone(), right.clone()),
            BinaryOperator::QuestionAnd => call(&self.has_all, left.clone(), right.clone()),
            BinaryOperator::AtQuestion => call(&self.finds, left.clone(), right.clone()),
            BinaryOperator::AtArrow | BinaryOperator::ArrowAt if is_text(left, schema)? && is_text(right, schema)? => {
                let (outer, inner) = if *op == BinaryOperator::AtArrow { (left, right) } else { (right, left) };
                call(&self.holds, outer.clone(), inner.clone())
            }
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let name = format!("{} {op} {}", shown(left), shown(right));
        Ok(PlannerResult::Planned(Expr::Alias(Alias::new(planned, None::<&str>, name))))
    }
}
