//! The rule that joins what `domain` made of a subquery: for the subqueries and lateral joins that DataFusion's own
//! rules leave alone, such as aggregates that are correlated by `<`. It comes after them. No state.

use super::domain::{decorrelated, is_simple};
use super::{has_subquery, only};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError, JoinType, Result, ScalarValue, TableReference};
use datafusion::functions::expr_fn::coalesce;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, lit, not};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(crate) struct Domains {
    /// Whether it only takes the subqueries that DataFusion's rules must not: those fail on some of them, and give a
    /// wrong answer to others.
    pub(crate) first: bool,
}

impl OptimizerRule for Domains {
    fn name(&self) -> &str {
        if self.first { "decorrelate_by_domain" } else { "decorrelate_rest_by_domain" }
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let first = self.first;
        match plan {
            LogicalPlan::Projection(projection) if projection.expr.iter().any(has_subquery) => {
                let Projection { expr, input, .. } = projection;
                let mut joined = Joined { input: input.as_ref().clone(), is_changed: false, first, config };
                let exprs = expr.into_iter().map(|expr| joined.replaced(expr)).collect::<Result<Vec<_>>>()?;
                let Joined { input, is_changed, .. } = joined;
                let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
                Ok(if is_changed { Transformed::yes(plan) } else { Transformed::no(plan) })
            }
            LogicalPlan::Filter(filter) if has_subquery(&filter.predicate) => {
                let Filter { predicate, input, .. } = filter;
                let columns = input.schema().columns();
                let mut joined = Joined { input: input.as_ref().clone(), is_changed: false, first, config };
                let predicate = joined.replaced(predicate)?;
                let Joined { input, is_changed, .. } = joined;
                let plan = LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?);
                Ok(if is_changed { Transformed::yes(only(plan, columns)?) } else { Transformed::no(plan) })
            }
            LogicalPlan::Join(join) => {
                let is_taken = lateral_subquery(&join.right).is_some_and(|(subquery, _)| {
                    !first || !is_simple(&subquery.subquery) || filters_totals(&subquery.subquery)
                });
                if is_taken { lateral(join, config) } else { Ok(Transformed::no(LogicalPlan::Join(join))) }
            }
            other => Ok(Transformed::no(other)),
        }
    }
}

/// Whether something but a projection is on top of an aggregation without groups: DataFusion's rule for lateral joins
/// would make rows for outer rows that have none.
fn filters_totals(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => filters_totals(&projection.input),
        LogicalPlan::Filter(filter) => {
            matches!(filter.input.as_ref(), LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty())
        }
        _ => false,
    }
}

/// A plan that grows by the results of subqueries.
struct Joined<'a> {
    input: LogicalPlan,
    is_changed: bool,
    first: bool,
    config: &'a dyn OptimizerConfig,
}

impl Joined<'_> {
    fn replaced(&mut self, expr: Expr) -> Result<Expr> {
        let name = NamePreserver::new_for_projection().save(&expr);
        let first = self.first;
        let is_left = |subquery: &Subquery| first && is_simple(&subquery.subquery);
        let replaced = expr.transform_down(|expr| match &expr {
            Expr::ScalarSubquery(subquery)
            | Expr::Exists(Exists { subquery, .. })
            | Expr::InSubquery(InSubquery { subquery, .. })
                if is_left(subquery) =>
            {
                Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump))
            }
            Expr::ScalarSubquery(subquery) => self.scalar(subquery, &expr),
            Expr::Exists(Exists { subquery, negated }) => self.exists(subquery, *negated, None, &expr),
            Expr::InSubquery(InSubquery { subquery, negated, expr: searched }) => {
                self.exists(subquery, *negated, Some(searched.as_ref()), &expr)
            }
            _ => Ok(Transformed::no(expr)),
        });
        Ok(name.restore(replaced?.data))
    }

    fn scalar(&mut self, subquery: &Subquery, expr: &Expr) -> Result<Transformed<Expr>> {
        let Some(found) = decorrelated(&subquery.subquery, &self.input)? else {
            return Ok(Transformed::new(expr.clone(), false, TreeNodeRecursion::Jump));
        };
        let found = found.aliased(self.config.alias_generator().next("__scalar"))?;
        let wanted = subquery.subquery.schema().field(0);
        let value = found.plan.schema().columns().into_iter().find(|own| own.name == *wanted.name());
        let value =
            value.ok_or_else(|| DataFusionError::Internal(format!("the column '{}' was lost", wanted.name())))?;
        let mut value = Expr::Column(value);
        if !wanted.is_nullable() {
            // A row may come before its combination does; what then stands here is taken back within the epoch.
            value = coalesce(vec![value, lit(ScalarValue::new_default(wanted.data_type())?)]);
        }
        let on = found.condition();
        self.join(found.plan, JoinType::Left, on)?;
        Ok(Transformed::new(value, true, TreeNodeRecursion::Jump))
    }

    fn exists(
        &mut self,
        subquery: &Subquery,
        negated: bool,
        searched: Option<&Expr>,
        expr: &Expr,
    ) -> Result<Transformed<Expr>> {
        let Some(mut found) = decorrelated(&subquery.subquery, &self.input)? else {
            return Ok(Transformed::new(expr.clone(), false, TreeNodeRecursion::Jump));
        };
        let mut keys: Vec<Column> = found.pairs.iter().map(|(_, own)| own.clone()).collect();
        if searched.is_some() {
            let (qualifier, field) = subquery.subquery.schema().qualified_field(0);
            keys.push(Column::new(qualifier.cloned(), field.name()));
        }
        let member = keys.last().cloned();
        found.plan = LogicalPlanBuilder::from(only(found.plan, keys)?).distinct()?.build()?;
        let alias = self.config.alias_generator().next("__exists");
        let found = found.aliased(alias.as_str())?;
        let mut on = found.condition();
        if let (Some(searched), Some(member)) = (searched, member) {
            on = on.and(searched.clone().eq(Expr::Column(Column::new(Some(alias), member.name))));
        }
        self.join(found.plan, JoinType::LeftMark, on)?;
        let mark = Expr::Column(self.input.schema().columns().pop().unwrap_or_else(|| Column::new_unqualified("mark")));
        Ok(Transformed::new(if negated { not(mark) } else { mark }, true, TreeNodeRecursion::Jump))
    }

    fn join(&mut self, plan: LogicalPlan, kind: JoinType, on: Expr) -> Result<()> {
        self.input = LogicalPlanBuilder::from(self.input.clone()).join_on(plan, kind, Some(on))?.build()?;
        self.is_changed = true;
        Ok(())
    }
}

/// Joins each row of the left with the rows that the right gives for it.
fn lateral(join: Join, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
    if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    }
    let Some((subquery, alias)) = lateral_subquery(&join.right) else {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    let Some(found) = decorrelated(&subquery.subquery, &join.left)? else {
        return Ok(Transformed::no(LogicalPlan::Join(join)));
    };
    let found = match alias {
        Some(alias) => found.aliased(alias.clone())?,
        None => found.aliased(config.alias_generator().next("__lateral"))?,
    };
    let mut on = vec![found.condition()];
    on.extend(join.filter.clone().map(split_conjunction_owned).unwrap_or_default());
    on.extend(join.on.iter().map(|(left, right)| left.clone().eq(right.clone())));
    let columns = join.schema.columns();
    let joined =
        LogicalPlanBuilder::from(join.left.as_ref().clone()).join_on(found.plan, join.join_type, conjunction(on))?;
    let joined = joined.build()?;
    let exprs = columns.into_iter().map(|column| {
        let own = Column::new(alias.cloned(), &column.name);
        if joined.schema().has_column(&column) { Expr::Column(column) } else { Expr::Column(own) }
    });
    let exprs: Vec<Expr> = exprs.collect();
    Ok(Transformed::yes(LogicalPlanBuilder::from(joined).project(exprs)?.build()?))
}

/// Returns the subquery of a lateral join, and its alias.
pub(super) fn lateral_subquery(plan: &LogicalPlan) -> Option<(&Subquery, Option<&TableReference>)> {
    match plan {
        LogicalPlan::Subquery(subquery) => Some((subquery, None)),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => Some((subquery, Some(&alias.alias))),
            _ => None,
        },
        _ => None,
    }
}
