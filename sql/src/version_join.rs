//! Joins of each left row with one right row, as a step of a plan: as-of joins, and joins with the version of a table
//! `FOR SYSTEM_TIME AS OF` an event time. Until a query is planned they are joins with a marked condition; the optimizer
//! must not take them for joins, because a condition on the right rows that it moves below would choose other ones.
//! Tables that are looked up are left alone. No state.

use crate::as_of::MATCH;
use crate::catalog::Context;
use crate::errors::wrapped;
use crate::position::WithPlace;
use crate::versions::{AsOf, is_looked_up, take_as_of};
use crate::windows::{is_event_time, unmarked};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, Result};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, Extension, Join, LogicalPlan, Operator, UserDefinedLogicalNodeCore, build_join_schema,
};
use headwater_core::Error;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Joins each left row with one right row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct VersionJoin {
    pub(crate) left: Arc<LogicalPlan>,
    pub(crate) right: Arc<LogicalPlan>,
    /// Whether rows without a right row are in the output.
    pub(crate) keeps_left: bool,
    /// Whether the right rows are versions of a table: `FOR SYSTEM_TIME AS OF`.
    pub(crate) of_table: bool,
    /// Equalities of a left and a right expression.
    pub(crate) on: Vec<Expr>,
    /// The comparison of a left and a right expression.
    pub(crate) compared: Expr,
    schema: DFSchemaRef,
}

impl VersionJoin {
    fn new(left: Arc<LogicalPlan>, right: Arc<LogicalPlan>, parts: Parts) -> Result<Self> {
        let Parts { keeps_left, of_table, on, compared } = parts;
        let kind = if keeps_left { JoinType::Left } else { JoinType::Inner };
        // Rows come by the time of the left side; that of the right one says nothing about when.
        let schema = Arc::new(build_join_schema(left.schema(), &unmarked(right.schema())?, &kind)?);
        Ok(Self { left, right, keeps_left, of_table, on, compared, schema })
    }

    /// Returns the step, if a plan is one.
    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Self> {
        let LogicalPlan::Extension(extension) = plan else { return None };
        extension.node.as_any().downcast_ref()
    }
}

/// What a step is besides its inputs.
struct Parts {
    keeps_left: bool,
    of_table: bool,
    on: Vec<Expr>,
    compared: Expr,
}

impl PartialOrd for VersionJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (&self.on, &self.compared).partial_cmp(&(&other.on, &other.compared))
    }
}

impl UserDefinedLogicalNodeCore for VersionJoin {
    fn name(&self) -> &str {
        "VersionJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.on.iter().chain([&self.compared]).cloned().collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let on: Vec<String> = self.on.iter().map(ToString::to_string).collect();
        write!(f, "VersionJoin: {} on [{}]", self.compared, on.join(", "))
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let (Some(compared), Ok([left, right])) = (exprs.pop(), <[LogicalPlan; 2]>::try_from(inputs)) else {
            return datafusion::common::internal_err!("a version join of other than two inputs");
        };
        let parts = Parts { keeps_left: self.keeps_left, of_table: self.of_table, on: exprs, compared };
        Self::new(Arc::new(left), Arc::new(right), parts)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let n_left = self.left.schema().fields().len();
        let (left, right): (Vec<usize>, Vec<usize>) = output_columns.iter().partition(|column| **column < n_left);
        Some(vec![left, right.into_iter().map(|column| column - n_left).collect()])
    }
}

/// Makes steps of the marked joins of a plan.
pub(crate) fn make_version_joins(plan: LogicalPlan, context: &Context<'_>) -> Result<LogicalPlan> {
    let made = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Join(join) = &node else { return Ok(Transformed::no(node)) };
        match version_join(join, context)? {
            Some(step) => {
                let step = LogicalPlan::Extension(Extension { node: Arc::new(step) });
                Ok(Transformed::yes(step))
            }
            None => Ok(Transformed::no(node)),
        }
    })?;
    // What is above refers to the same columns, so no schema changes.
    Ok(made.data)
}

fn version_join(join: &Join, context: &Context<'_>) -> Result<Option<VersionJoin>> {
    let conditions = join.filter.as_ref().map(split_conjunction).unwrap_or_default();
    let is_match = |expr: &Expr| matches!(expr, Expr::ScalarFunction(call) if call.name() == MATCH);
    let (versions, _) = take_as_of(join.filter.as_ref());
    let compared = match (conditions.iter().find(|expr| is_match(expr)), versions.first()) {
        (Some(Expr::ScalarFunction(call)), _) => call.args.first().cloned(),
        (_, Some(version)) if !reads_lookup(&join.right, context)? => Some(of_version(version, join, context)?),
        _ => None,
    };
    let Some(compared) = compared else { return Ok(None) };
    let keeps_left = match join.join_type {
        JoinType::Inner => false,
        JoinType::Left => true,
        _ => return Err(refused("this kind of join", context)),
    };
    let mut on: Vec<Expr> = join.on.iter().map(|(left, right)| left.clone().eq(right.clone())).collect();
    let is_mark = |expr: &Expr| is_match(expr) || !take_as_of(Some(expr)).0.is_empty();
    on.extend(conditions.into_iter().filter(|expr| !is_mark(expr)).cloned());
    let (left, right) = (join.left.schema(), join.right.schema());
    for condition in &on {
        let is_equality = matches!(condition, Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. }));
        if !is_equality || sides(condition, left, right).is_none() {
            return Err(not_a_key(condition, context));
        }
    }
    if sides(&compared, left, right).is_none() {
        return Err(not_a_key(&compared, context));
    }
    let parts = Parts { keeps_left, of_table: !versions.is_empty(), on, compared };
    VersionJoin::new(join.left.clone(), join.right.clone(), parts).map(Some)
}

/// Splits a comparison into its left, its operator and its right side, as if the left rows stood to the left.
pub(crate) fn sides(expr: &Expr, left: &DFSchema, right: &DFSchema) -> Option<(Expr, Operator, Expr)> {
    // The optimizer keeps the names of what it simplifies.
    let expr = expr.clone().unalias_nested().data;
    let Expr::BinaryExpr(BinaryExpr { left: l, op, right: r }) = &expr else { return None };
    let is_of = |expr: &Expr, schema: &DFSchema| {
        let columns = expr.column_refs();
        !columns.is_empty() && columns.iter().all(|column| schema.maybe_index_of_column(column).is_some())
    };
    if is_of(l, left) && is_of(r, right) {
        return Some((l.as_ref().clone(), *op, r.as_ref().clone()));
    }
    let is_turned = is_of(l, right) && is_of(r, left);
    is_turned.then_some(())?;
    Some((r.as_ref().clone(), op.swap()?, l.as_ref().clone()))
}

/// Returns the comparison that a version of a table stands for: its event time is not after the time that is named.
fn of_version(version: &AsOf, join: &Join, context: &Context<'_>) -> Result<Expr> {
    let times: Vec<Column> =
        join.right.schema().iter().filter(|(_, field)| is_event_time(field)).map(Column::from).collect();
    let name = version.table.relation.as_ref().map_or("the table", |name| name.table());
    let span = context.place.find_name(name).unwrap_or_else(|| context.place.start());
    match times.as_slice() {
        [time] => Ok(version.time.clone().gt_eq(Expr::Column(time.clone()))),
        [] => {
            let error = Error::invalid(format!("'{name}' has no event time, so nothing says when a row became valid"));
            let help = "declare WATERMARK FOR the column with the time from which a row is valid";
            Err(wrapped(error.with_help(help).with_place(span)))
        }
        several => {
            let names: Vec<&str> = several.iter().map(Column::name).collect();
            let error = Error::invalid(format!("'{name}' has several event times: {}", names.join(", ")));
            let help = "join with a view that selects one of them";
            Err(wrapped(error.with_help(help).with_place(span)))
        }
    }
}

fn reads_lookup(plan: &LogicalPlan, context: &Context<'_>) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found |= is_looked_up(scan.table_name.table(), context.catalog);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

const HELP: &str = "compare columns of both sides with =, and put other conditions into WHERE or into a subquery";

fn not_a_key(condition: &Expr, context: &Context<'_>) -> datafusion::common::DataFusionError {
    let error = Error::invalid(format!("the condition {condition} does not fit an as-of join")).with_help(HELP);
    wrapped(error.with_place(place_of_join(context)))
}

fn refused(what: &str, context: &Context<'_>) -> datafusion::common::DataFusionError {
    let error = Error::invalid(format!("{what} is not supported with a version of a table"));
    wrapped(error.with_help("write JOIN or LEFT JOIN").with_place(place_of_join(context)))
}

fn place_of_join(context: &Context<'_>) -> headwater_core::Span {
    let place = context.place;
    place.find_name("ASOF").or_else(|| place.find_name("JOIN")).unwrap_or_else(|| place.start())
}
