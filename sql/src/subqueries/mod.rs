//! Subqueries as streams can keep them: every one becomes a join.
//!
//! `prepared` runs when a query is planned. It puts subqueries where they can become joins (`place`), gives `IN` the
//! three values of SQL (`membership`), and makes a scalar subquery one row (`scalar`). The rules of the optimizer then
//! make joins: DataFusion's, `Marks` for `EXISTS` among the results, `LateralRows` for what is made of single rows, and
//! `Domains` for what is correlated in a way that DataFusion's rules leave alone. What is still a subquery after that is refused. No state.

mod domain;
mod domains;
mod lateral_rows;
mod marks;
mod membership;
mod place;
mod scalar;

use crate::errors::wrapped;
use crate::position::{Place, WithPlace};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, Result};
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::logical_plan::Subquery;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::rewrite_set_comparison::RewriteSetComparison;
use datafusion::optimizer::{OptimizerContext, OptimizerRule};
pub(crate) use domains::Domains;
use headwater_core::{Error, Span};
pub(crate) use lateral_rows::LateralRows;
pub(crate) use marks::Marks;
use std::sync::Arc;

/// Prepares the subqueries of a plan whose types have not been made to fit yet.
pub(crate) fn prepared(plan: LogicalPlan, place: &Place) -> Result<LogicalPlan> {
    let plan = RewriteSetComparison::new().rewrite(plan, &OptimizerContext::new())?.data;
    let prepared = plan.transform_up_with_subqueries(|node| {
        let has_any = node.expressions().iter().any(has_subquery);
        if !has_any {
            return Ok(Transformed::no(node));
        }
        let schema = inputs_of(&node)?;
        refuse_far(&node, &schema, place)?;
        let names = NamePreserver::new(&node);
        let one_row = |expr: Expr| {
            let name = names.save(&expr);
            Ok(scalar::one_row(expr)?.update_data(|expr| name.restore(expr)))
        };
        let node = node.map_expressions(one_row)?.data;
        let node = membership::three_valued(node, &schema)?;
        Ok(Transformed::yes(place::moved(node)?))
    })?;
    Ok(prepared.data)
}

/// Refuses a subquery that looks past the query around it, at one further out.
fn refuse_far(node: &LogicalPlan, schema: &DFSchema, place: &Place) -> Result<()> {
    let mut far: Option<Column> = None;
    node.apply_expressions(|expr| {
        expr.apply(|expr| {
            let inner = match expr {
                Expr::Exists(exists) => &exists.subquery,
                Expr::InSubquery(member) => &member.subquery,
                Expr::ScalarSubquery(subquery) => subquery,
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            for reference in &inner.outer_ref_columns {
                if let Expr::OuterReferenceColumn(_, column) = reference
                    && !schema.has_column(column)
                {
                    far.get_or_insert_with(|| column.clone());
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    let Some(column) = far else { return Ok(()) };
    let what = format!("a subquery that looks at '{}', two queries around it,", column.flat_name());
    let error = Error::invalid(format!("{what} is not supported"));
    let help = "select the column in the query between them, or write the inner subquery as a JOIN";
    Err(wrapped(error.with_help(help).with_place(place_of(&column, place))))
}

/// Returns where a column is written.
fn place_of(column: &Column, place: &Place) -> Span {
    let known = column.spans.first().map(|span| Span { line: span.start.line, column: span.start.column });
    let known = known.or_else(|| place.find_name(&column.name)).or_else(|| place.find_name("SELECT"));
    known.unwrap_or_else(|| place.start())
}

/// Refuses a plan in which a subquery is left that did not become a join.
pub(crate) fn refuse_rest(plan: &LogicalPlan, place: &Place) -> Result<()> {
    let mut left: Option<Option<Column>> = None;
    plan.apply_with_subqueries(|node| {
        if matches!(node, LogicalPlan::Subquery(_)) {
            left.get_or_insert(None);
        }
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                match expr {
                    Expr::OuterReferenceColumn(_, column) => match &mut left {
                        Some(Some(_)) => {}
                        other => *other = Some(Some(column.clone())),
                    },
                    _ if is_subquery(expr) => {
                        left.get_or_insert(None);
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    let Some(column) = left else { return Ok(()) };
    let what = match &column {
        Some(column) => format!("a subquery that looks at '{}' of the query around it in this way", column.flat_name()),
        None => "a subquery in this place".to_owned(),
    };
    let error = Error::invalid(format!("{what} is not supported"));
    let error = error.with_help("write it as a JOIN, with GROUP BY in a subquery of FROM");
    let somewhere = || place.find_name("SELECT").unwrap_or_else(|| place.start());
    Err(wrapped(error.with_place(column.map_or_else(somewhere, |column| place_of(&column, place)))))
}

fn is_subquery(expr: &Expr) -> bool {
    matches!(expr, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_))
}

fn has_subquery(expr: &Expr) -> bool {
    // The closure never fails.
    expr.exists(|expr| Ok(is_subquery(expr))).unwrap_or(false)
}

/// Returns the columns that expressions of a node can see.
fn inputs_of(node: &LogicalPlan) -> Result<DFSchema> {
    let mut schema = DFSchema::empty();
    for input in node.inputs() {
        schema.merge(input.schema());
    }
    Ok(schema)
}

/// Makes columns of the outer query references from the inside of a subquery.
fn outer(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let outer = expr.transform_up(|expr| match expr {
        Expr::Column(column) => {
            let field = Arc::clone(schema.field_from_column(&column)?);
            Ok(Transformed::yes(Expr::OuterReferenceColumn(field, column)))
        }
        other => Ok(Transformed::no(other)),
    });
    Ok(outer?.data)
}

/// Makes a subquery of a plan.
fn subquery(plan: LogicalPlan, like: &Subquery) -> Subquery {
    let outer_ref_columns = plan.all_out_ref_exprs();
    Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: like.spans.clone() }
}

fn exists(plan: LogicalPlan, like: &Subquery) -> Expr {
    Expr::Exists(Exists { subquery: subquery(plan, like), negated: false })
}

/// Computes further columns on top of a plan.
fn with_columns(plan: LogicalPlan, columns: Vec<Expr>) -> Result<LogicalPlan> {
    let exprs: Vec<Expr> = plan.schema().columns().into_iter().map(Expr::Column).chain(columns).collect();
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

/// Keeps the columns that a plan had.
fn only(plan: LogicalPlan, columns: Vec<Column>) -> Result<LogicalPlan> {
    LogicalPlanBuilder::from(plan).project(columns.into_iter().map(Expr::Column))?.build()
}
