//! `GROUPING SETS`, `ROLLUP` and `CUBE`: every row comes once for each set, and is grouped by the columns of the set and
//! by its number. A window that is in every set stays a window, so that it can close. No state.

use crate::windows::without_marks;
use datafusion::arrow::datatypes::Field;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, ScalarValue, plan_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, Expr, Extension, GroupingSet, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNodeCore,
};
use headwater_operators as operators;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The name of the copy of the `n`th grouped column.
fn copy_of(n: usize) -> String {
    format!("__group_{n}")
}

/// Every row once for each grouping set: its columns, a copy of each grouped one that is null where the set leaves it
/// out, and the number of the set.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Expand {
    pub(crate) input: LogicalPlan,
    pub(crate) columns: Vec<usize>,
    pub(crate) sets: Vec<operators::GroupingSet>,
    schema: DFSchemaRef,
}

impl Expand {
    fn new(input: LogicalPlan, columns: Vec<usize>, sets: Vec<operators::GroupingSet>, id: &Field) -> Result<Self> {
        let schema = Arc::new(output(input.schema(), &columns, &sets, id)?);
        Ok(Self { input, columns, sets, schema })
    }

    /// Returns the columns that it makes of an input with columns like those of its own.
    pub(crate) fn output_of(&self, input: &DFSchema) -> Result<DFSchema> {
        let id = self.schema.field(self.schema.fields().len() - 1);
        output(input, &self.columns, &self.sets, id)
    }
}

fn output(input: &DFSchema, columns: &[usize], sets: &[operators::GroupingSet], id: &Field) -> Result<DFSchema> {
    let mut fields: Vec<_> = input.iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
    for (n, column) in columns.iter().enumerate() {
        let field = input.field(*column).as_ref().clone().with_name(copy_of(n));
        let is_everywhere = sets.iter().all(|set| set.groups_by[n]);
        let field = if is_everywhere { field } else { without_marks(&field).with_nullable(true) };
        fields.push((None, Arc::new(field)));
    }
    fields.push((None, Arc::new(id.clone())));
    DFSchema::new_with_metadata(fields, HashMap::new())
}

impl PartialOrd for Expand {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let own = (&self.columns, &self.sets, &self.input);
        own.partial_cmp(&(&other.columns, &other.sets, &other.input)).filter(|o| *o != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for Expand {
    fn name(&self) -> &str {
        "Expand"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Expand: {} sets", self.sets.len())
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        match (inputs.pop(), self.schema.fields().last()) {
            (Some(input), Some(id)) => Self::new(input, self.columns.clone(), self.sets.clone(), id),
            _ => plan_err!("grouping sets have one input"),
        }
    }
}

/// Computes what is grouped by sets in a projection below, so that the sets are of columns alone.
pub(crate) fn of_columns(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) => {
            let mut computed: Vec<Expr> =
                grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
            computed.retain(|expr| !matches!(expr, Expr::Column(_)));
            if computed.is_empty() {
                return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
            }
            let as_column = |expr: Expr| match computed.contains(&expr) {
                true => {
                    let column = Column::new_unqualified(expr.schema_name().to_string());
                    Ok(Transformed::new(Expr::Column(column), true, TreeNodeRecursion::Jump))
                }
                false => Ok(Transformed::no(expr)),
            };
            let names = NamePreserver::new_for_projection();
            let in_calls = |expr: Expr| {
                let name = names.save(&expr);
                // Elsewhere the values are computed from the rows, which is the same.
                let is_grouping =
                    |e: &Expr| matches!(e, Expr::AggregateFunction(call) if call.func.name() == "grouping");
                let expr =
                    if expr.exists(|e| Ok(is_grouping(e)))? { expr.transform_down(as_column)?.data } else { expr };
                Ok(name.restore(expr))
            };
            let mut exprs: Vec<Expr> = aggregate.input.schema().columns().into_iter().map(Expr::Column).collect();
            exprs.extend(computed.iter().map(|expr| expr.clone().alias(expr.schema_name().to_string())));
            let input = LogicalPlanBuilder::from(aggregate.input).project(exprs)?.build()?;
            let group = aggregate.group_expr.into_iter().map(|expr| Ok(expr.transform_down(as_column)?.data));
            let group = group.collect::<Result<Vec<_>>>()?;
            let calls = aggregate.aggr_expr.into_iter().map(in_calls).collect::<Result<Vec<_>>>()?;
            Ok(Transformed::yes(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), group, calls)?)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(rewritten?.data)
}

/// Rewrites every aggregation by grouping sets of an optimized plan.
pub(crate) fn expanded(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up(|node| match node {
        LogicalPlan::Aggregate(aggregate) if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) => {
            Ok(Transformed::yes(expand(&aggregate)?))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(rewritten?.data)
}

fn expand(aggregate: &Aggregate) -> Result<LogicalPlan> {
    let grouped: Vec<Expr> = grouping_set_to_exprlist(&aggregate.group_expr)?.into_iter().cloned().collect();
    let id = aggregate.schema.field(grouped.len()).as_ref().clone();
    // What is grouped and is not a column yet becomes one.
    let mut exprs: Vec<Expr> = aggregate.input.schema().columns().into_iter().map(Expr::Column).collect();
    let mut columns = Vec::with_capacity(grouped.len());
    for expr in &grouped {
        let known = exprs.iter().position(|other| other == expr);
        columns.push(known.unwrap_or(exprs.len()));
        if known.is_none() {
            exprs.push(expr.clone().unalias().alias(format!("__grouped_{}", exprs.len())));
        }
    }
    let input = LogicalPlanBuilder::from(aggregate.input.as_ref().clone()).project(exprs)?.build()?;
    let sets = sets(&aggregate.group_expr, &grouped);
    let (totals, sets): (Vec<_>, Vec<_>) = sets.into_iter().partition(|set| !set.groups_by.contains(&true));
    let mut parts = Vec::with_capacity(totals.len() + 1);
    if !sets.is_empty() {
        let node = Arc::new(Expand::new(input, columns, sets, &id)?);
        let expand = LogicalPlan::Extension(Extension { node });
        let mut group: Vec<Expr> =
            (0..grouped.len()).map(|n| Expr::Column(Column::new_unqualified(copy_of(n)))).collect();
        group.push(Expr::Column(Column::new_unqualified(Aggregate::INTERNAL_GROUPING_ID)));
        let result = Aggregate::try_new(Arc::new(expand), group, aggregate.aggr_expr.clone())?;
        parts.push(LogicalPlan::Aggregate(result));
    }
    for total in totals {
        parts.push(total_of(aggregate, grouped.len(), total.id)?);
    }
    let mut parts = parts.into_iter();
    let first = LogicalPlanBuilder::from(parts.next().unwrap_or_else(|| LogicalPlan::Aggregate(aggregate.clone())));
    let result = parts.try_fold(first, |united, part| united.union(part))?.build()?;
    let names = result.schema().columns().into_iter().zip(aggregate.schema.columns());
    let exprs = names.map(|(own, wanted)| match own == wanted {
        true => Expr::Column(own),
        false => Expr::Column(own).alias_qualified(wanted.relation, wanted.name),
    });
    let exprs: Vec<Expr> = exprs.collect();
    LogicalPlanBuilder::from(result).project(exprs)?.build()
}

/// Aggregates without groups, which gives a row over no input too, with nulls for what other sets group by.
fn total_of(aggregate: &Aggregate, n_grouped: usize, id: u64) -> Result<LogicalPlan> {
    let input = LogicalPlanBuilder::from(aggregate.input.as_ref().clone());
    let total = match aggregate.aggr_expr.is_empty() {
        true => LogicalPlanBuilder::empty(true),
        false => input.aggregate(Vec::<Expr>::new(), aggregate.aggr_expr.clone())?,
    };
    let fields = aggregate.schema.fields();
    let mut exprs = Vec::with_capacity(fields.len());
    for (n, field) in fields[..n_grouped].iter().enumerate() {
        exprs.push(Expr::Literal(ScalarValue::try_from(field.data_type())?, None).alias(copy_of(n)));
    }
    let id = ScalarValue::UInt64(Some(id)).cast_to(fields[n_grouped].data_type())?;
    exprs.push(Expr::Literal(id, None).alias(Aggregate::INTERNAL_GROUPING_ID));
    exprs.extend(total.schema().columns().into_iter().map(Expr::Column));
    total.project(exprs)?.build()
}

/// Returns the sets, numbered as DataFusion does: a bit for each expression that is left out, the last one lowest, and
/// above them which of several equal sets it is.
fn sets(group_expr: &[Expr], grouped: &[Expr]) -> Vec<operators::GroupingSet> {
    let sets: Vec<Vec<&Expr>> = match group_expr {
        [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => sets.iter().map(|set| set.iter().collect()).collect(),
        [Expr::GroupingSet(GroupingSet::Rollup(exprs))] => {
            (0..=exprs.len()).rev().map(|n| exprs[..n].iter().collect()).collect()
        }
        [Expr::GroupingSet(GroupingSet::Cube(exprs))] => {
            let chosen = |bits: u64| exprs.iter().enumerate().filter(move |(n, _)| bits >> n & 1 == 1);
            (0..1_u64 << exprs.len().min(63)).map(|bits| chosen(bits).map(|(_, expr)| expr).collect()).collect()
        }
        _ => Vec::new(),
    };
    let mut seen: HashMap<Vec<bool>, u64> = HashMap::new();
    let numbered = sets.into_iter().map(|set| {
        let groups_by: Vec<bool> = grouped.iter().map(|expr| set.contains(&expr)).collect();
        let mask = groups_by.iter().fold(0, |mask, is_in| mask << 1 | u64::from(!is_in));
        let ordinal = seen.entry(groups_by.clone()).or_default();
        let id = mask | *ordinal << grouped.len();
        *ordinal += 1;
        operators::GroupingSet { id, groups_by }
    });
    numbered.collect()
}
