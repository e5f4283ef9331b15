//! Scalar subqueries as exactly one row: what could give several is checked by the aggregate `single_value`, and
//! `ORDER BY … LIMIT 1` is the first value in that order. And the other way round: `IN` and `EXISTS` over an
//! aggregate without groups, which always gives one row, are questions about a scalar subquery. Pure.

use super::subquery;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::bool_and_or::bool_or_udaf;
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, Exists, InSubquery};
use datafusion::logical_expr::{Expr, FetchType, Filter, Limit, LogicalPlan, LogicalPlanBuilder, SkipType, Sort, lit};

/// What the value of a subquery is called: a name that no column around it has.
const VALUE: &str = "__value";

/// Makes sure that every scalar subquery in an expression gives at most one row.
pub(super) fn one_row(expr: Expr) -> Result<Transformed<Expr>> {
    expr.transform_up(|expr| match expr {
        Expr::ScalarSubquery(inner) if inner.subquery.schema().fields().len() == 1 => {
            let plan = inner.subquery.as_ref();
            let first = if let LogicalPlan::Limit(limit) = plan { first_of(limit)? } else { None };
            let plan = match first {
                Some(plan) => plan,
                None if plan.max_rows().is_some_and(|n| n <= 1) => {
                    return Ok(Transformed::no(Expr::ScalarSubquery(inner)));
                }
                None => {
                    let function = headwater_operators::functions::single_value();
                    let column = Expr::Column(plan.schema().columns().swap_remove(0));
                    let call = AggregateFunction::new_udf(function, vec![column], false, None, Vec::new(), None);
                    aggregated(plan.clone(), Expr::AggregateFunction(call))?
                }
            };
            Ok(Transformed::yes(Expr::ScalarSubquery(subquery(plan, &inner))))
        }
        other => Ok(Transformed::no(other)),
    })
}

/// Aggregates a plan to one value.
fn aggregated(plan: LogicalPlan, call: Expr) -> Result<LogicalPlan> {
    let result = Expr::Column(Column::new_unqualified(call.schema_name().to_string())).alias(VALUE);
    LogicalPlanBuilder::from(plan).aggregate(Vec::<Expr>::new(), vec![call])?.project(vec![result])?.build()
}

/// Returns `SELECT x … ORDER BY y LIMIT 1` as `SELECT first_value(x ORDER BY y) …`.
fn first_of(limit: &Limit) -> Result<Option<LogicalPlan>> {
    let is_first = matches!(limit.get_skip_type()?, SkipType::Literal(0))
        && matches!(limit.get_fetch_type()?, FetchType::Literal(Some(1)));
    if !is_first {
        return Ok(None);
    }
    let (input, value, order) = match limit.input.as_ref() {
        LogicalPlan::Sort(Sort { input, expr, fetch: None }) => {
            (input.clone(), Expr::Column(input.schema().columns().swap_remove(0)), expr.clone())
        }
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Sort(Sort { input, expr, fetch: None }) => {
                (input.clone(), projection.expr[0].clone().unalias(), expr.clone())
            }
            _ => (limit.input.clone(), Expr::Column(limit.input.schema().columns().swap_remove(0)), Vec::new()),
        },
        other => (limit.input.clone(), Expr::Column(other.schema().columns().swap_remove(0)), Vec::new()),
    };
    let call = AggregateFunction::new_udf(first_value_udaf(), vec![value], false, None, order, None);
    aggregated(input.as_ref().clone(), Expr::AggregateFunction(call)).map(Some)
}

/// What a plan that aggregates without groups keeps of its only row.
struct OneRow<'a> {
    aggregate: &'a LogicalPlan,
    having: Option<&'a Expr>,
}

impl<'a> OneRow<'a> {
    fn of(plan: &'a LogicalPlan) -> Option<Self> {
        match plan {
            LogicalPlan::Projection(projection) => Self::of(&projection.input),
            LogicalPlan::SubqueryAlias(alias) => Self::of(&alias.input),
            LogicalPlan::Filter(Filter { predicate, input, .. }) => match input.as_ref() {
                LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                    Some(Self { aggregate: input, having: Some(predicate) })
                }
                _ => None,
            },
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                Some(Self { aggregate: plan, having: None })
            }
            _ => None,
        }
    }
}

/// Returns `x IN (SELECT max(y) …)` as `x = (SELECT max(y) …)`.
pub(super) fn as_comparison(member: &InSubquery) -> Option<Expr> {
    let InSubquery { expr, subquery, negated } = member;
    OneRow::of(&subquery.subquery).filter(|one| one.having.is_none())?;
    let value = Expr::ScalarSubquery(subquery.clone());
    let searched = expr.as_ref().clone();
    Some(if *negated { searched.not_eq(value) } else { searched.eq(value) })
}

/// Returns `EXISTS` over a plan that is one row, or that does not look at the query around it, as a question about a
/// scalar subquery: whether the condition of `HAVING` is true of the row, or whether there is a row at all.
pub(super) fn simple_exists(expr: Expr) -> Result<Expr> {
    let Expr::Exists(Exists { subquery: inner, negated }) = &expr else { return Ok(expr) };
    let plan = match OneRow::of(&inner.subquery) {
        Some(OneRow { having: None, .. }) => return Ok(lit(!negated)),
        Some(OneRow { aggregate, having: Some(having) }) => {
            let having = having.clone().alias("__having");
            LogicalPlanBuilder::from(aggregate.clone()).project(vec![having])?.build()?
        }
        None if inner.subquery.all_out_ref_exprs().is_empty() => {
            // Unlike a count, it does not change with every row.
            let any = AggregateFunction::new_udf(bool_or_udaf(), vec![lit(true)], false, None, Vec::new(), None);
            aggregated(inner.subquery.as_ref().clone(), Expr::AggregateFunction(any))?
        }
        None => return Ok(expr),
    };
    let value = Expr::ScalarSubquery(subquery(plan, inner));
    Ok(if *negated { value.is_not_true() } else { value.is_true() })
}
