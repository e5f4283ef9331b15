//! `EXISTS` among the results of a query: a join that marks each row with whether there is a match. DataFusion's rule
//! does the same for conditions. No state.

use super::{has_subquery, only};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection, lit, not};
use datafusion::optimizer::decorrelate::PullUpCorrelatedExpr;
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(crate) struct Marks;

impl OptimizerRule for Marks {
    fn name(&self) -> &str {
        "mark_subqueries"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Projection(projection) = plan else { return Ok(Transformed::no(plan)) };
        if !projection.expr.iter().any(has_subquery) {
            return Ok(Transformed::no(LogicalPlan::Projection(projection)));
        }
        let mut input = projection.input.as_ref().clone();
        let mut is_changed = false;
        let names = NamePreserver::new_for_projection();
        let mut exprs = Vec::with_capacity(projection.expr.len());
        for expr in projection.expr {
            let name = names.save(&expr);
            let marked = expr.transform_down(|expr| {
                let Expr::Exists(Exists { subquery, negated }) = &expr else { return Ok(Transformed::no(expr)) };
                let alias = config.alias_generator().next("__mark");
                let Some((plan, mark)) = mark_join(&input, &subquery.subquery, &alias)? else {
                    return Ok(Transformed::no(expr));
                };
                input = plan;
                Ok(Transformed::yes(if *negated { not(mark) } else { mark }))
            })?;
            is_changed |= marked.transformed;
            exprs.push(name.restore(marked.data));
        }
        let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
        Ok(if is_changed { Transformed::yes(plan) } else { Transformed::no(plan) })
    }
}

/// Joins a plan with a subquery, so that a column says whether the subquery gives a row; `None` where the correlation
/// cannot be moved out of it.
fn mark_join(input: &LogicalPlan, subquery: &LogicalPlan, alias: &str) -> Result<Option<(LogicalPlan, Expr)>> {
    let mut pull_up = PullUpCorrelatedExpr::new().with_exists_sub_query(true);
    let plan = subquery.clone().rewrite(&mut pull_up)?.data;
    if !pull_up.can_pull_up {
        return Ok(None);
    }
    let correlated: BTreeSet<Column> = pull_up.correlated_subquery_cols_map.values().flatten().cloned().collect();
    let plan = LogicalPlanBuilder::from(plan).alias(alias)?.build()?;
    let requalified = conjunction(pull_up.join_filters).unwrap_or_else(|| lit(true)).transform_up(|expr| match expr {
        Expr::Column(column) if correlated.contains(&column) => {
            Ok(Transformed::yes(Expr::Column(Column::new(Some(alias), column.name))))
        }
        other => Ok(Transformed::no(other)),
    });
    let on = requalified?.data;
    let mut needed: Vec<Column> =
        on.column_refs().into_iter().filter(|c| plan.schema().has_column(c)).cloned().collect();
    needed.sort();
    let plan = if needed.is_empty() { plan } else { only(plan, needed)? };
    let joined = LogicalPlanBuilder::from(input.clone()).join_on(plan, JoinType::LeftMark, Some(on))?.build()?;
    let mark = joined.schema().columns().pop().map(Expr::Column);
    Ok(mark.map(|mark| (joined, mark)))
}
