//! The general way to take the correlation out of a subquery: compute it for all values of the outer columns at once.
//!
//! The *domain* is each different combination of values of the outer columns that the subquery looks at. It is joined
//! to the subquery as deep as nothing below looks outside, and carried up from there: filters see it, groups are made
//! within it, and an aggregation without groups gives its one row for each combination. What comes out is the result
//! of the subquery for every combination, to be joined to the outer rows by it. Each call plans; there is no state.

use super::has_subquery;
use datafusion::arrow::datatypes::{Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, ExprSchema, JoinType, Result, ScalarValue, TableReference};
use datafusion::functions::expr_fn::coalesce;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprFunctionExt, ExprSchemable, FetchType, Join, Limit, LogicalPlan, LogicalPlanBuilder,
    Operator, SkipType, Union, binary_expr, lit,
};
use std::sync::Arc;

/// The names of the columns of a domain begin so.
const OUTER: &str = "__outer";
/// The column that numbers the rows of each combination.
const ROW_NUMBER: &str = "__nth";

/// A subquery that was computed for all combinations of outer values.
pub(super) struct Decorrelated {
    pub(super) plan: LogicalPlan,
    /// The outer columns, and the columns of the plan that hold their values.
    pub(super) pairs: Vec<(Column, Column)>,
    fields: Vec<FieldRef>,
}

impl Decorrelated {
    /// Gives the columns of the plan a qualifier.
    pub(super) fn aliased(self, alias: impl Into<TableReference>) -> Result<Self> {
        let alias: TableReference = alias.into();
        let plan = LogicalPlanBuilder::from(self.plan).alias(alias.clone())?.build()?;
        let pairs = self.pairs.into_iter().map(|(outer, own)| (outer, Column::new(Some(alias.clone()), own.name)));
        Ok(Self { plan, pairs: pairs.collect(), fields: self.fields })
    }

    /// The condition under which a row of the plan belongs to an outer row.
    pub(super) fn condition(&self) -> Expr {
        let same = self.pairs.iter().zip(&self.fields).map(|((outer, own), field)| same(outer, own, field));
        conjunction(same).unwrap_or_else(|| lit(true))
    }
}

/// The condition under which two columns of one type are equal, nulls included. It is made of plain equalities: a join
/// holds nulls for equal or not for all of its keys alike, and others may be put together with these.
fn same(left: &Column, right: &Column, field: &Field) -> Expr {
    let (left, right) = (Expr::Column(left.clone()), Expr::Column(right.clone()));
    if !field.is_nullable() {
        return left.eq(right);
    }
    match ScalarValue::new_default(field.data_type()) {
        Ok(filler) if !filler.is_null() => {
            let filled = |expr: &Expr| coalesce(vec![expr.clone(), lit(filler.clone())]);
            let values = filled(&left).eq(filled(&right));
            left.is_null().eq(right.is_null()).and(values)
        }
        _ => binary_expr(left, Operator::IsNotDistinctFrom, right),
    }
}

/// Computes a subquery for all values of the columns of `outer` that it looks at; `None` where it looks at others, or
/// has a part to which this cannot be done.
pub(super) fn decorrelated(subquery: &LogicalPlan, outer: &LogicalPlan) -> Result<Option<Decorrelated>> {
    let mut columns: Vec<Column> = Vec::new();
    for reference in subquery.all_out_ref_exprs() {
        if let Expr::OuterReferenceColumn(_, column) = reference
            && !columns.contains(&column)
        {
            columns.push(column);
        }
    }
    if columns.is_empty() || !columns.iter().all(|column| outer.schema().has_column(column)) {
        return Ok(None);
    }
    let fields = columns.iter().map(|column| outer.schema().field_from_column(column).cloned());
    let fields = fields.collect::<Result<Vec<FieldRef>>>()?;
    let mut pushing = Pushing { outer, columns, fields, n_domains: 0 };
    let Some((plan, own)) = pushing.push(subquery)? else { return Ok(None) };
    let pairs = pushing.columns.into_iter().zip(own).collect();
    Ok(Some(Decorrelated { plan, pairs, fields: pushing.fields }))
}

/// Whether a subquery is made so that DataFusion's rules take the correlation out of it rightly: at most one
/// aggregation, and below it nothing but filters and inner joins that look outside.
pub(super) fn is_simple(subquery: &LogicalPlan) -> bool {
    match subquery {
        LogicalPlan::Projection(projection) => is_simple(&projection.input),
        LogicalPlan::Filter(filter) if matches!(filter.input.as_ref(), LogicalPlan::Aggregate(_)) => {
            !filter.predicate.contains_outer() && is_simple(&filter.input)
        }
        LogicalPlan::Aggregate(aggregate) => looks_out_by_filters(&aggregate.input),
        other => looks_out_by_filters(other),
    }
}

fn looks_out_by_filters(plan: &LogicalPlan) -> bool {
    if plan.all_out_ref_exprs().is_empty() {
        return true;
    }
    match plan {
        LogicalPlan::Filter(filter) => looks_out_by_filters(&filter.input),
        LogicalPlan::Projection(projection) => looks_out_by_filters(&projection.input),
        LogicalPlan::Join(join) if join.join_type == JoinType::Inner => {
            looks_out_by_filters(&join.left) && looks_out_by_filters(&join.right)
        }
        _ => false,
    }
}

struct Pushing<'a> {
    outer: &'a LogicalPlan,
    columns: Vec<Column>,
    fields: Vec<FieldRef>,
    n_domains: usize,
}

/// A plan, and where in it the outer columns are.
type Pushed = Option<(LogicalPlan, Vec<Column>)>;

impl Pushing<'_> {
    /// Makes a domain with names of its own.
    fn domain(&mut self) -> Result<(LogicalPlan, Vec<Column>)> {
        self.n_domains += 1;
        let names: Vec<String> = (0..self.columns.len()).map(|n| format!("{OUTER}_{}_{n}", self.n_domains)).collect();
        let exprs = self.columns.iter().zip(&names).map(|(column, name)| Expr::Column(column.clone()).alias(name));
        let exprs: Vec<Expr> = exprs.collect();
        let columns: Vec<Column> = names.iter().map(Column::new_unqualified).collect();
        let groups: Vec<Expr> = columns.iter().cloned().map(Expr::Column).collect();
        let plan = LogicalPlanBuilder::from(self.outer.clone()).project(exprs)?;
        Ok((plan.aggregate(groups, Vec::<Expr>::new())?.build()?, columns))
    }

    /// Puts the columns of a domain in the place of references to the outer query.
    fn inner(&self, expr: Expr, own: &[Column]) -> Result<Expr> {
        let inner = expr.transform_up(|expr| match &expr {
            Expr::OuterReferenceColumn(_, column) => match self.columns.iter().position(|outer| outer == column) {
                Some(index) => Ok(Transformed::yes(Expr::Column(own[index].clone()))),
                None => Ok(Transformed::no(expr)),
            },
            _ => Ok(Transformed::no(expr)),
        });
        Ok(inner?.data)
    }

    fn all_inner(&self, exprs: &[Expr], own: &[Column]) -> Result<Vec<Expr>> {
        let names = NamePreserver::new_for_projection();
        let one = |expr: &Expr| {
            let name = names.save(expr);
            Ok(name.restore(self.inner(expr.clone(), own)?))
        };
        exprs.iter().map(one).collect()
    }

    fn all_same(&self, left: &[Column], right: &[Column]) -> Vec<Expr> {
        left.iter().zip(right).zip(&self.fields).map(|((left, right), field)| same(left, right, field)).collect()
    }

    fn push(&mut self, plan: &LogicalPlan) -> Result<Pushed> {
        if plan.all_out_ref_exprs().is_empty() {
            let (domain, own) = self.domain()?;
            return Ok(Some((LogicalPlanBuilder::from(domain).cross_join(plan.clone())?.build()?, own)));
        }
        if plan.expressions().iter().any(has_subquery) {
            return Ok(None);
        }
        match plan {
            LogicalPlan::Filter(filter) => {
                let Some((input, own)) = self.push(&filter.input)? else { return Ok(None) };
                let predicate = self.inner(filter.predicate.clone(), &own)?;
                Ok(Some((LogicalPlanBuilder::from(input).filter(predicate)?.build()?, own)))
            }
            LogicalPlan::Projection(projection) => {
                let Some((input, own)) = self.push(&projection.input)? else { return Ok(None) };
                let mut exprs = self.all_inner(&projection.expr, &own)?;
                exprs.extend(own.iter().cloned().map(Expr::Column));
                Ok(Some((LogicalPlanBuilder::from(input).project(exprs)?.build()?, own)))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let Some((input, own)) = self.push(&alias.input)? else { return Ok(None) };
                let own = own.into_iter().map(|column| Column::new(Some(alias.alias.clone()), column.name)).collect();
                Ok(Some((LogicalPlanBuilder::from(input).alias(alias.alias.clone())?.build()?, own)))
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let Some((input, own)) = self.push(input)? else { return Ok(None) };
                Ok(Some((LogicalPlanBuilder::from(input).distinct()?.build()?, own)))
            }
            // The order of what is joined or aggregated does not matter.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.push(&sort.input),
            LogicalPlan::Limit(limit) => self.limit(limit),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            _ => Ok(None),
        }
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<Pushed> {
        if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
            return Ok(None);
        }
        let Some((input, own)) = self.push(&aggregate.input)? else { return Ok(None) };
        let calls = self.all_inner(&aggregate.aggr_expr, &own)?;
        let mut group: Vec<Expr> = own.iter().cloned().map(Expr::Column).collect();
        group.extend(self.all_inner(&aggregate.group_expr, &own)?);
        let grouped = LogicalPlanBuilder::from(input).aggregate(group, calls)?.build()?;
        if !aggregate.group_expr.is_empty() {
            return Ok(Some((grouped, own)));
        }
        // Without groups there is a row for each combination, also where nothing was aggregated.
        let (domain, all) = self.domain()?;
        let on = conjunction(self.all_same(&all, &own));
        let joined = LogicalPlanBuilder::from(domain).join_on(grouped, JoinType::Left, on)?.build()?;
        let mut exprs: Vec<Expr> = all.iter().cloned().map(Expr::Column).collect();
        for (call, column) in aggregate.aggr_expr.iter().zip(aggregate.schema.columns()) {
            let value = Expr::Column(column.clone());
            let empty = empty_value(call, aggregate)?;
            let value = if empty.is_null() { value } else { coalesce(vec![value, lit(empty)]) };
            exprs.push(value.alias_qualified(column.relation.clone(), &column.name));
        }
        Ok(Some((LogicalPlanBuilder::from(joined).project(exprs)?.build()?, all)))
    }

    /// The first rows for each combination, by their number in the order.
    fn limit(&mut self, limit: &Limit) -> Result<Pushed> {
        let (SkipType::Literal(skip), FetchType::Literal(Some(fetch))) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Ok(None);
        };
        let (mut input, mut exprs) = (limit.input.as_ref(), None);
        if let LogicalPlan::Projection(projection) = input
            && matches!(projection.input.as_ref(), LogicalPlan::Sort(_))
        {
            (input, exprs) = (projection.input.as_ref(), Some(&projection.expr));
        }
        let (input, order) = match input {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (sort.input.as_ref(), sort.expr.clone()),
            other => (other, Vec::new()),
        };
        let all: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
        let Some((plan, own)) = self.push(input)? else { return Ok(None) };
        let outer: Vec<Expr> = own.iter().cloned().map(Expr::Column).collect();
        let number = row_number().partition_by(outer.clone()).order_by(order).build()?.alias(ROW_NUMBER);
        let number_column = || Expr::Column(Column::new_unqualified(ROW_NUMBER));
        let is_in = number_column().gt(lit(skip as u64)).and(number_column().lt_eq(lit((skip + fetch) as u64)));
        let mut kept = self.all_inner(exprs.unwrap_or(&all), &own)?;
        kept.extend(outer);
        let plan = LogicalPlanBuilder::from(plan).window(vec![number])?.filter(is_in)?.project(kept)?;
        Ok(Some((plan.build()?, own)))
    }

    fn join(&mut self, join: &Join) -> Result<Pushed> {
        let looks_out = |plan: &LogicalPlan| !plan.all_out_ref_exprs().is_empty();
        let (left, right) = (looks_out(&join.left), looks_out(&join.right));
        let is_inner = join.join_type == JoinType::Inner;
        let keeps_left = is_inner
            || matches!(join.join_type, JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark);
        let mut conditions = join.filter.clone().map(split_conjunction_owned).unwrap_or_default();
        let (left, right, own) = match (left, right) {
            (false, true) if is_inner => {
                let Some((right, own)) = self.push(&join.right)? else { return Ok(None) };
                (join.left.as_ref().clone(), right, own)
            }
            (_, false) if keeps_left => {
                let Some((left, own)) = self.push(&join.left)? else { return Ok(None) };
                (left, join.right.as_ref().clone(), own)
            }
            (_, true) if keeps_left => {
                let Some((left, own)) = self.push(&join.left)? else { return Ok(None) };
                let Some((right, other)) = self.push(&join.right)? else { return Ok(None) };
                conditions.extend(self.all_same(&own, &other));
                (left, right, own)
            }
            _ => return Ok(None),
        };
        let pairs = join.on.iter().map(|(left, right)| left.clone().eq(right.clone()));
        let conditions: Vec<Expr> = pairs.chain(conditions).map(|e| self.inner(e, &own)).collect::<Result<_>>()?;
        let joined = LogicalPlanBuilder::from(left).join_on(right, join.join_type, conditions)?.build()?;
        Ok(Some((joined, own)))
    }

    fn union(&mut self, union: &Union) -> Result<Pushed> {
        let n_columns = union.schema.fields().len();
        let mut inputs = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let Some((plan, own)) = self.push(input)? else { return Ok(None) };
            let mut exprs: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
            exprs
                .extend(own.iter().enumerate().map(|(n, own)| Expr::Column(own.clone()).alias(format!("{OUTER}_{n}"))));
            inputs.push(Arc::new(LogicalPlanBuilder::from(plan).project(exprs)?.build()?));
        }
        let united = Union::try_new_with_loose_types(inputs)?;
        let own = united.schema.columns().split_off(n_columns);
        Ok(Some((LogicalPlan::Union(united), own)))
    }
}

/// Returns the value of an aggregate over no rows.
fn empty_value(call: &Expr, aggregate: &Aggregate) -> Result<ScalarValue> {
    let data_type = call.get_type(aggregate.input.schema())?;
    match call.clone().unalias() {
        Expr::AggregateFunction(call) => call.func.default_value(&data_type),
        _ => ScalarValue::try_from(&data_type),
    }
}
