//! Puts subqueries where they can become joins: those of `ON` into a filter above or a column below, those of `GROUP BY`
//! and of the arguments of aggregates into a column below. Pure.

use super::{has_subquery, is_subquery, only, with_columns};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Aggregate, Expr, Join, LogicalPlan, LogicalPlanBuilder};
use std::collections::HashSet;
use std::sync::Arc;

/// Moves the subqueries of a node that must not stay in it.
pub(super) fn moved(node: LogicalPlan) -> Result<LogicalPlan> {
    match node {
        LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(has_subquery) => from_on(join),
        LogicalPlan::Aggregate(aggregate)
            if aggregate.group_expr.iter().chain(&aggregate.aggr_expr).any(has_subquery) =>
        {
            from_aggregate(aggregate)
        }
        other => Ok(other),
    }
}

fn from_on(join: Join) -> Result<LogicalPlan> {
    let columns = join.schema.columns();
    let conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
    if join.join_type == JoinType::Inner {
        let (above, on): (Vec<_>, Vec<_>) = conditions.into_iter().partition(has_subquery);
        let joined = LogicalPlan::Join(Join { filter: conjunction(on), ..join });
        return match conjunction(above) {
            Some(above) => LogicalPlanBuilder::from(joined).filter(above)?.build(),
            None => Ok(joined),
        };
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut on = Vec::with_capacity(conditions.len());
    for condition in conditions {
        let moved = condition.transform_down(|expr| {
            if !is_subquery(&expr) {
                return Ok(Transformed::no(expr));
            }
            let seen = seen_by(&expr)?;
            let side = |schema: &DFSchema| seen.iter().all(|column| schema.has_column(column));
            let (side, name) = if side(join.left.schema()) {
                (&mut left, "__on_left")
            } else if side(join.right.schema()) {
                (&mut right, "__on_right")
            } else {
                // It is refused later, with its place.
                return Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
            };
            let name = format!("{name}_{}", side.len());
            side.push(expr.alias(&name));
            Ok(Transformed::new(Expr::Column(Column::new_unqualified(name)), true, TreeNodeRecursion::Jump))
        });
        on.push(moved?.data);
    }
    let widened = |side: &Arc<LogicalPlan>, more: Vec<Expr>| {
        if more.is_empty() { Ok(side.clone()) } else { with_columns(side.as_ref().clone(), more).map(Arc::new) }
    };
    let joined = Join::try_new(
        widened(&join.left, left)?,
        widened(&join.right, right)?,
        join.on,
        conjunction(on),
        join.join_type,
        join.join_constraint,
        join.null_equality,
        join.null_aware,
    )?;
    only(LogicalPlan::Join(joined), columns)
}

/// Returns the columns of the query around it that a subquery looks at.
fn seen_by(expr: &Expr) -> Result<HashSet<Column>> {
    let mut seen: HashSet<Column> = expr.column_refs().into_iter().cloned().collect();
    let inner = match expr {
        Expr::Exists(exists) => &exists.subquery,
        Expr::InSubquery(member) => &member.subquery,
        Expr::SetComparison(comparison) => &comparison.subquery,
        Expr::ScalarSubquery(subquery) => subquery,
        _ => return Ok(seen),
    };
    for reference in &inner.outer_ref_columns {
        if let Expr::OuterReferenceColumn(_, column) = reference {
            seen.insert(column.clone());
        }
    }
    Ok(seen)
}

fn from_aggregate(aggregate: Aggregate) -> Result<LogicalPlan> {
    let mut below: Vec<Expr> = Vec::new();
    let names = NamePreserver::new_for_projection();
    let mut moved = |exprs: Vec<Expr>| -> Result<Vec<Expr>> {
        let one = |expr: Expr| {
            let name = names.save(&expr);
            let moved = expr.transform_down(|expr| {
                if !is_subquery(&expr) {
                    return Ok(Transformed::no(expr));
                }
                let known = below.iter().position(|other| other.clone().unalias() == expr);
                let index = known.unwrap_or_else(|| {
                    below.push(expr.alias(format!("__value_{}", below.len())));
                    below.len() - 1
                });
                let column = Expr::Column(Column::new_unqualified(format!("__value_{index}")));
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            });
            Ok(name.restore(moved?.data))
        };
        exprs.into_iter().map(one).collect()
    };
    let group = moved(aggregate.group_expr)?;
    let calls = moved(aggregate.aggr_expr)?;
    let input = with_columns(aggregate.input.as_ref().clone(), below)?;
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group, calls)?))
}
