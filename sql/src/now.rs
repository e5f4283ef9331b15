//! `now()` in SQL: the time of the epoch. It is a name without a value, because a result that asked for the time could
//! not be corrected; only a comparison in WHERE may use it, which becomes a filter that retracts as time passes. No
//! state.

use crate::types::TIMESTAMP;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, Result};
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, cast,
};
use headwater_operators::Compare;
use std::sync::Arc;

/// The names under which the present is known, with whether it is a date.
const NAMES: [(&str, bool); 4] =
    [("now", false), ("current_timestamp", false), ("localtimestamp", false), ("current_date", true)];

/// The present, as a time or as a date. It is never executed.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Present {
    name: &'static str,
    is_date: bool,
    signature: Signature,
}

impl ScalarUDFImpl for Present {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(if self.is_date { DataType::Date32 } else { TIMESTAMP })
    }

    fn invoke_with_args(&self, _args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        Err(DataFusionError::Internal(format!("{}() was not resolved", self.name)))
    }
}

/// Returns the functions by name.
pub(crate) fn functions() -> impl Iterator<Item = (String, Arc<ScalarUDF>)> {
    NAMES.into_iter().map(|(name, is_date)| {
        let signature = Signature::nullary(Volatility::Volatile);
        (name.to_owned(), Arc::new(ScalarUDF::new_from_impl(Present { name, is_date, signature })))
    })
}

fn present_of(expr: &Expr) -> Option<&Present> {
    let Expr::ScalarFunction(call) = expr else { return None };
    (call.func.inner().as_ref() as &dyn std::any::Any).downcast_ref::<Present>()
}

/// Returns the name of the present in an expression, if it asks for it.
pub(crate) fn asks_for_now(expr: &Expr) -> Option<&'static str> {
    let mut found = None;
    // The walk itself never fails.
    let _ = expr.exists(|part| {
        found = found.or_else(|| present_of(part).map(|present| present.name));
        Ok(found.is_some())
    });
    found
}

/// A comparison of a value of the row with a function of the present.
pub(crate) struct Comparison {
    pub(crate) value: Expr,
    pub(crate) compare: Compare,
    /// Over the column `now()`.
    pub(crate) present: Expr,
}

/// Reads a condition on the present; `None` when it has a form that cannot be followed as time passes.
pub(crate) fn comparisons(condition: &Expr) -> Option<Vec<Comparison>> {
    let (value, op, present) = match condition {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            match (asks_for_now(left).is_some(), asks_for_now(right).is_some()) {
                (false, true) => (left, *op, right),
                (true, false) => (right, op.swap()?, left),
                _ => return None,
            }
        }
        Expr::Between(between) if !between.negated => {
            let side = |op, bound: &Expr| {
                let expr = Expr::BinaryExpr(BinaryExpr::new(between.expr.clone(), op, Box::new(bound.clone())));
                comparisons(&expr)
            };
            let (low, high) = (side(Operator::GtEq, &between.low)?, side(Operator::LtEq, &between.high)?);
            return Some(low.into_iter().chain(high).collect());
        }
        _ => return None,
    };
    if !never_falls(present) {
        return None;
    }
    let compares: &[Compare] = match op {
        Operator::Gt => &[Compare::Greater],
        Operator::GtEq => &[Compare::GreaterOrEqual],
        Operator::Lt => &[Compare::Less],
        Operator::LtEq => &[Compare::LessOrEqual],
        Operator::Eq => &[Compare::GreaterOrEqual, Compare::LessOrEqual],
        _ => return None,
    };
    let present = as_column(present);
    let make =
        |compare: &Compare| Comparison { value: value.as_ref().clone(), compare: *compare, present: present.clone() };
    Some(compares.iter().map(make).collect())
}

/// Whether an expression is a function of the present that never falls as time passes.
fn never_falls(expr: &Expr) -> bool {
    let is_constant = |expr: &Expr| matches!(expr, Expr::Literal(..));
    match expr {
        Expr::Alias(alias) => never_falls(&alias.expr),
        Expr::Cast(Cast { expr, field, .. }) => {
            let to = field.data_type();
            matches!(to, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) && never_falls(expr)
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) => {
            never_falls(left) && is_constant(right)
        }
        Expr::ScalarFunction(call) if present_of(expr).is_none() => match (call.name(), call.args.as_slice()) {
            ("date_trunc", [unit, time]) => is_constant(unit) && never_falls(time),
            ("date_bin", [step, time, rest @ ..]) => {
                is_constant(step) && never_falls(time) && rest.iter().all(is_constant)
            }
            _ => false,
        },
        other => present_of(other).is_some(),
    }
}

fn as_column(expr: &Expr) -> Expr {
    let replaced = expr.clone().transform_up(|expr| {
        Ok(match present_of(&expr) {
            None => Transformed::no(expr),
            Some(present) => {
                let now = Expr::Column(Column::new_unqualified("now()"));
                Transformed::yes(if present.is_date { cast(now, DataType::Date32) } else { now })
            }
        })
    });
    // The walk itself never fails.
    replaced.map_or_else(|_| expr.clone(), |replaced| replaced.data)
}
