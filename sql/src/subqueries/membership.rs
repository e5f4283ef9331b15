//! `IN (SELECT …)` and `NOT IN (SELECT …)` with SQL's three values, in terms of `EXISTS`, which has two.
//!
//! `x IN (SELECT y …)` is true where some `y` equals `x`; else unknown where `x` is null and there is any row, or where
//! some `y` is null; else false. Where only truth counts (a condition), unknown and false are the same, so `IN` stays,
//! and `NOT IN` is: no `y` equals `x`, no `y` is null, and `x` is not null unless there are no rows. Pure.

use super::{exists, is_subquery, outer, scalar};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::{BinaryExpr, Case, Exists, InSubquery};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, Operator, lit, not};

/// The name of the column that a subquery is searched for.
const MEMBER: &str = "__member";

/// Rewrites every `IN` of a node whose expressions see `schema`.
pub(super) fn three_valued(node: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    let is_condition = matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_));
    let names = NamePreserver::new(&node);
    let node = node.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = if is_condition { condition(expr, schema)? } else { value(expr, schema)? };
        Ok(Transformed::yes(name.restore(expr)))
    })?;
    Ok(node.data)
}

/// Rewrites what is only asked whether it is true.
fn condition(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let (left, right) = (condition(*left, schema)?, condition(*right, schema)?);
            Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right))))
        }
        Expr::IsTrue(expr) => condition(*expr, schema),
        Expr::Not(inner) => match *inner {
            Expr::InSubquery(member) => {
                condition(Expr::InSubquery(InSubquery { negated: !member.negated, ..member }), schema)
            }
            Expr::Exists(exists) => condition(Expr::Exists(Exists { negated: !exists.negated, ..exists }), schema),
            other => Ok(not(value(other, schema)?)),
        },
        Expr::InSubquery(member) => match scalar::as_comparison(&member) {
            Some(comparison) => Ok(comparison),
            None if !member.negated => Ok(Expr::InSubquery(member)),
            None => {
                let parts = Parts::new(&member, schema)?;
                let no_match = not(parts.matches);
                let no_unknown = parts.unknown.into_iter().map(|unknown| match unknown {
                    // By cases, so that each part can become a join of its own.
                    Unknown::Member(expr) => not(expr),
                    Unknown::Searched(searched, any) => searched.is_not_null().or(not(any)),
                });
                Ok(no_unknown.fold(no_match, Expr::and))
            }
        },
        Expr::Exists(_) => Ok(scalar::simple_exists(expr)?),
        other => value(other, schema),
    }
}

/// Rewrites what has a value.
fn value(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    let rewritten = expr.transform_down(|expr| match expr {
        Expr::InSubquery(member) => {
            if let Some(comparison) = scalar::as_comparison(&member) {
                return Ok(Transformed::new(comparison, true, TreeNodeRecursion::Jump));
            }
            let Parts { matches, unknown } = Parts::new(&member, schema)?;
            let mut when = vec![(Box::new(matches), Box::new(lit(!member.negated)))];
            let unknown = unknown.into_iter().map(|unknown| match unknown {
                Unknown::Member(expr) => expr,
                Unknown::Searched(searched, any) => searched.is_null().and(any),
            });
            if let Some(unknown) = unknown.reduce(Expr::or) {
                when.push((Box::new(unknown), Box::new(Expr::Literal(ScalarValue::Boolean(None), None))));
            }
            let case = Case::new(None, when, Some(Box::new(lit(member.negated))));
            Ok(Transformed::new(Expr::Case(case), true, TreeNodeRecursion::Jump))
        }
        Expr::Exists(_) => Ok(Transformed::yes(scalar::simple_exists(expr)?)),
        other if is_subquery(&other) => Ok(Transformed::new(other, false, TreeNodeRecursion::Jump)),
        other => Ok(Transformed::no(other)),
    });
    Ok(rewritten?.data)
}

/// What makes an `IN` unknown.
enum Unknown {
    /// Some member is null.
    Member(Expr),
    /// What is searched for is null, and there is a member.
    Searched(Expr, Expr),
}

struct Parts {
    matches: Expr,
    unknown: Vec<Unknown>,
}

impl Parts {
    fn new(member: &InSubquery, schema: &DFSchema) -> Result<Self> {
        let InSubquery { expr: searched, subquery, .. } = member;
        let (qualifier, field) = subquery.subquery.schema().qualified_field(0);
        let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
        let plan = subquery.subquery.as_ref().clone();
        // A name of its own, because the subquery may read the table that the query around it reads.
        let plan = LogicalPlanBuilder::from(plan).project(vec![column.alias(MEMBER)])?.build()?;
        let with = |condition: Expr| {
            let plan = LogicalPlanBuilder::from(plan.clone()).filter(condition)?.build()?;
            scalar::simple_exists(exists(plan, subquery))
        };
        let y = || Expr::Column(Column::new_unqualified(MEMBER));
        let matches = with(outer(searched.as_ref().clone(), schema)?.eq(y()))?;
        let mut unknown = Vec::new();
        if field.is_nullable() {
            unknown.push(Unknown::Member(with(y().is_null())?));
        }
        if searched.nullable(schema)? {
            unknown.push(Unknown::Searched(
                searched.as_ref().clone(),
                scalar::simple_exists(exists(plan.clone(), subquery))?,
            ));
        }
        Ok(Self { matches, unknown })
    }
}
