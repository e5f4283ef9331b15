//! A lateral join with what is made of each row alone, such as `CROSS JOIN UNNEST(t.list)`: the subquery reads no table,
//! so its steps can be done to the outer rows themselves, without a join. No state.

use super::domains::lateral_subquery;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{JoinType, NullHandling, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Unnest};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(crate) struct LateralRows;

impl OptimizerRule for LateralRows {
    fn name(&self) -> &str {
        "lateral_rows"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Join(join) = &plan else { return Ok(Transformed::no(plan)) };
        match joined(join)? {
            Some(rewritten) => Ok(Transformed::yes(rewritten)),
            None => Ok(Transformed::no(plan)),
        }
    }
}

fn joined(join: &Join) -> Result<Option<LogicalPlan>> {
    let keeps_rows = match (join.join_type, &join.filter) {
        (JoinType::Inner, _) => false,
        (JoinType::Left, None) => true,
        (JoinType::Left, Some(Expr::Literal(ScalarValue::Boolean(Some(true)), _))) => true,
        _ => return Ok(None),
    };
    let Some((subquery, alias)) = lateral_subquery(&join.right).filter(|_| join.on.is_empty()) else { return Ok(None) };
    let rows = Rows { rows: &join.left, keeps_rows };
    let Some(plan) = rows.after(&subquery.subquery)? else { return Ok(None) };
    let n_left = join.left.schema().fields().len();
    let mut exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).collect();
    for (expr, wanted) in exprs.iter_mut().zip(join.schema.columns()).skip(n_left) {
        *expr = expr.clone().alias_qualified(alias.cloned().or(wanted.relation), wanted.name);
    }
    let plan = LogicalPlanBuilder::from(plan).project(exprs)?;
    let plan = match &join.filter {
        Some(filter) => plan.filter(filter.clone())?,
        None => plan,
    };
    plan.build().map(Some)
}

/// Outer rows, to which the steps of a subquery are done.
struct Rows<'a> {
    rows: &'a LogicalPlan,
    /// Whether a row of which nothing comes is kept with nulls.
    keeps_rows: bool,
}

impl Rows<'_> {
    /// The columns of the rows: they stay the first ones.
    fn kept(&self, plan: &LogicalPlan) -> Vec<Expr> {
        plan.schema().columns().into_iter().take(self.rows.schema().fields().len()).map(Expr::Column).collect()
    }

    fn after(&self, subquery: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        match subquery {
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row && empty.schema.fields().is_empty() => {
                Ok(Some(self.rows.clone()))
            }
            LogicalPlan::Projection(projection) => {
                let Some(input) = self.after(&projection.input)? else { return Ok(None) };
                let mut exprs = self.kept(&input);
                for expr in &projection.expr {
                    exprs.push(own(expr.clone())?);
                }
                LogicalPlanBuilder::from(input).project(exprs)?.build().map(Some)
            }
            LogicalPlan::Filter(filter) if !self.keeps_rows => {
                let Some(input) = self.after(&filter.input)? else { return Ok(None) };
                LogicalPlanBuilder::from(input).filter(own(filter.predicate.clone())?)?.build().map(Some)
            }
            LogicalPlan::Unnest(unnest) => {
                let Some(input) = self.after(&unnest.input)? else { return Ok(None) };
                let mut options = unnest.options.clone();
                if self.keeps_rows {
                    options.null_handling = NullHandling::PreserveAndExpandEmpty;
                }
                let unnest = Unnest::try_new(Arc::new(input), unnest.exec_columns.clone(), options)?;
                Ok(Some(LogicalPlan::Unnest(unnest)))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let Some(input) = self.after(&alias.input)? else { return Ok(None) };
                let mut exprs = self.kept(&input);
                let columns = input.schema().columns();
                for (column, wanted) in columns.into_iter().skip(exprs.len()).zip(alias.schema.columns()) {
                    exprs.push(Expr::Column(column).alias_qualified(wanted.relation, wanted.name));
                }
                LogicalPlanBuilder::from(input).project(exprs)?.build().map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Makes references to the outer query references to columns.
fn own(expr: Expr) -> Result<Expr> {
    let name = NamePreserver::new_for_projection().save(&expr);
    let own = expr.transform_up(|expr| match expr {
        Expr::OuterReferenceColumn(_, column) => Ok(Transformed::yes(Expr::Column(column))),
        other => Ok(Transformed::no(other)),
    });
    Ok(name.restore(own?.data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::{DataType, Field};
    use datafusion::common::Column;

    #[test]
    fn a_reference_to_the_outer_query_becomes_a_column_of_the_same_name() {
        let field = Arc::new(Field::new("x", DataType::Int64, true));
        let expr = Expr::OuterReferenceColumn(field, Column::new(Some("t"), "x"));
        assert_eq!(own(expr).expect("a column").unalias(), Expr::Column(Column::new(Some("t"), "x")));
    }
}
