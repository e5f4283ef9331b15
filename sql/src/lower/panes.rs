//! Finds groupings by windows that share panes: `hop` and `cumulate` over rows that only come, shown once. Such a grouping
//! takes each row once instead of once for each window. It looks at one plan and keeps no state.

use super::aggregate::{call, exchange_for};
use super::flow::Flow;
use super::windows::{emit, late};
use super::{Lowering, Scope, qualified};
use crate::async_udf::deferred;
use crate::windows::{AssignWindows, CUMULATE, HOP, Part, WINDOW_TIME, marked_only_by, part_taken, window_of};
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};
use headwater_core::{OperatorSpec, Result};
use headwater_operators::functions::WindowRule;
use headwater_operators::{self as operators, AggregateCall, Emit, Late};
use std::sync::Arc;

/// A grouping in terms of the rows that are given windows.
pub(super) struct Shared<'a> {
    assign: &'a AssignWindows,
    /// The group expressions over those rows and the window.
    groups: Vec<Expr>,
    /// The calls over those rows.
    calls: Vec<Expr>,
}

impl<'a> Lowering<'a> {
    /// Returns the grouping in terms of the rows that are given windows, where their windows are all that it knows of
    /// them.
    pub(super) fn shared_panes(&self, aggregate: &'a Aggregate, scope: Scope<'a>) -> Option<Shared<'a>> {
        let mut exprs: Vec<Expr> = aggregate.group_expr.iter().chain(&aggregate.aggr_expr).cloned().collect();
        let mut plan = aggregate.input.as_ref();
        let assign = loop {
            if self.repeated.contains_key(&(scope.settings, plan)) {
                return None;
            }
            if let Some(assign) = AssignWindows::of(plan) {
                break assign;
            }
            let replaced = exprs.into_iter().map(|expr| below(expr, plan, scope)).collect::<Option<Vec<Expr>>>();
            exprs = replaced?;
            plan = match plan {
                LogicalPlan::Projection(projection) => &projection.input,
                LogicalPlan::SubqueryAlias(alias) => &alias.input,
                _ => return None,
            };
        };
        if !matches!(assign.function, HOP | CUMULATE) || scope.settings.emit_empty {
            return None;
        }
        let calls = exprs.split_off(aggregate.group_expr.len());
        let window = assign.window_column();
        let is_used = |expr: &Expr| expr.column_refs().contains(&window);
        if calls.iter().any(is_used) {
            return None;
        }
        let mut parts = Vec::new();
        for group in exprs.iter().filter(|group| is_used(group)) {
            match group.clone().unalias() {
                Expr::Column(column) if column == window => parts.extend([Part::Start, Part::End]),
                other => match part_taken(&other) {
                    Some((part, Expr::Column(column))) if column == window => parts.push(part),
                    _ => return None,
                },
            }
        }
        // What is grouped by must say which window it is, and when it ends.
        let says = |part| parts.contains(&part);
        let is_whole = says(Part::End) && (says(Part::Start) || assign.function == CUMULATE);
        is_whole.then_some(Shared { assign, groups: exprs, calls })
    }

    /// Lowers such a grouping; `None` where the rows may be taken back, or late rows are to be taken.
    pub(super) fn by_panes(
        &mut self,
        shared: Shared<'a>,
        aggregate: &'a Aggregate,
        scope: Scope<'a>,
    ) -> Result<Option<Flow>> {
        let Shared { assign, groups, calls: written } = shared;
        let input = self.plan(&assign.input, scope)?;
        let is_final = emit(&input, scope) == Emit::Final && late(&input, scope) == Late::DeadLetter;
        let window = assign.window(&input.schema).map_err(|e| scope.fail(e))?;
        let text = window_of(&window).filter(|_| is_final && !input.changing).map(str::to_owned);
        let Some(text) = text else {
            // It goes the way of all groupings, over the rows that are lowered already.
            self.prepared = Some((&assign.input, input));
            return Ok(None);
        };
        let column = assign.window_column();
        let is_key = |group: &&Expr| !group.column_refs().contains(&column);
        let keys: Vec<Expr> = groups.iter().filter(is_key).map(as_key).collect();
        let n_keys = keys.len();
        // The keys, then the time in whose place the window comes, then what the calls need.
        let mut exprs = keys.clone();
        exprs.push(assign.time.clone().unalias().alias(column.name()));
        let mut needed: Vec<&Column> = written.iter().flat_map(|call| call.column_refs()).collect();
        needed.sort();
        needed.dedup();
        let needed: Vec<Expr> = needed.into_iter().cloned().map(Expr::Column).collect();
        exprs.extend(needed.into_iter().filter(|column| !keys.contains(column)));
        let input = self.project(input, &exprs, scope)?;
        let places: Vec<usize> = (0..n_keys).collect();
        let mut flow = self.exchange(input, exchange_for(&places, None), scope);
        let group: Vec<(_, String)> = (0..=n_keys)
            .map(|index| {
                let (qualifier, field) = flow.schema.qualified_field(index);
                let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
                Ok((scope.physical(&column, &flow.schema)?, field.name().clone()))
            })
            .collect::<Result<_>>()?;
        let named = written.iter().zip(&aggregate.aggr_expr);
        let calls: Vec<AggregateCall> =
            named.map(|(expr, named)| call(expr, named, &flow.schema, scope)).collect::<Result<_>>()?;
        let operator = operators::Aggregate::new(&flow.rows(), group, calls)?;
        let rule = WindowRule::from_constants(assign.function, &assign.constants).map_err(|e| scope.fail(e))?;
        let operator = operator.with_panes(n_keys, rule)?;
        let schema = with_window(&operator, &keys, window, scope)?;
        let schema = marked_only_by(&schema, &text).map_err(|e| scope.fail(e))?;
        let operator = operator.with_schema(schema.inner().clone())?;
        flow.label = "aggregate";
        let flow = flow.then(operator, schema);
        let flow = self.project(flow, &as_written(aggregate, &groups, &keys, &column), scope)?;
        Ok(Some(flow))
    }
}

/// A key as an expression with a name of its own.
fn as_key(key: &Expr) -> Expr {
    let name = key.qualified_name().1;
    match key.clone().unalias() {
        Expr::Column(column) => Expr::Column(column),
        other => other.alias(name),
    }
}

/// Rewrites an expression over the result of a projection or alias as one over its input.
fn below(expr: Expr, plan: &LogicalPlan, scope: Scope<'_>) -> Option<Expr> {
    let is_costly = |expr: &Expr| match expr {
        Expr::ScalarFunction(call) => {
            let is_costly = call.name() != WINDOW_TIME && scope.functions.costly.contains(call.name());
            is_costly || deferred(call).is_some()
        }
        _ => false,
    };
    let (_, name) = expr.qualified_name();
    let mut lost = false;
    let replaced = expr.transform_up(|expr| {
        let Expr::Column(column) = &expr else { return Ok(Transformed::no(expr)) };
        let index = plan.schema().maybe_index_of_column(column);
        let replacement = match (plan, index) {
            (LogicalPlan::Projection(projection), Some(index)) => Some(projection.expr[index].clone().unalias()),
            (LogicalPlan::SubqueryAlias(alias), Some(index)) => {
                Some(Expr::from(alias.input.schema().qualified_field(index)))
            }
            _ => None,
        };
        // What costs much is computed once, where it stands.
        let replacement = replacement.filter(|expr| !expr.exists(|part| Ok(is_costly(part))).unwrap_or(true));
        lost |= replacement.is_none();
        Ok(Transformed::yes(replacement.unwrap_or(expr)))
    });
    let replaced = replaced.ok().filter(|_| !lost)?.data;
    // The name says what a key is called; of calls it is kept elsewhere.
    Some(if matches!(replaced, Expr::AggregateFunction(_) | Expr::Column(_)) {
        replaced
    } else {
        replaced.unalias().alias(name)
    })
}

/// Names the columns of a grouping, with the window marked.
fn with_window(operator: &operators::Aggregate, keys: &[Expr], window: Field, scope: Scope<'_>) -> Result<DFSchema> {
    let rows = operator.schema();
    let qualifiers = keys.iter().map(|key| key.qualified_name().0);
    let qualifiers = qualifiers.chain(std::iter::repeat(None)).take(rows.fields().len());
    let mut fields: Vec<_> = rows.fields().iter().cloned().collect();
    fields[keys.len()] = Arc::new(window);
    qualified(qualifiers.collect(), &Arc::new(Schema::new(fields))).map_err(|e| scope.fail(e))
}

/// Returns the columns of the grouping as the plan has them.
fn as_written(aggregate: &Aggregate, groups: &[Expr], keys: &[Expr], window: &Column) -> Vec<Expr> {
    let as_column = |expr: &Expr| {
        let (qualifier, name) = expr.qualified_name();
        Expr::Column(Column::new(qualifier, name))
    };
    let mut keys = keys.iter().map(as_column);
    let column = |(written, group): (&Expr, &Expr)| {
        let (qualifier, name) = written.qualified_name();
        let is_window = group.column_refs().contains(window);
        let value = if is_window { Some(group.clone().unalias()) } else { keys.next() };
        value.map(|value| value.alias_qualified(qualifier, name))
    };
    let mut exprs: Vec<Expr> = aggregate.group_expr.iter().zip(groups).filter_map(column).collect();
    exprs.extend(aggregate.aggr_expr.iter().map(as_column));
    exprs
}
