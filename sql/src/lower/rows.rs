//! Lowers what looks at one row at a time: projection and filter; and union, which looks at none.

use super::flow::{Flow, flow_like};
use super::{Lowering, Scope, kinder, qualified};
use crate::now::asks_for_now;
use datafusion::arrow::datatypes::{Field, Schema};
use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, Union, lit};
use headwater_core::{OperatorSpec, Result};
use headwater_operators as operators;
use std::sync::Arc;

/// The column of a stream whose rows are only counted.
pub(super) const ROW: &str = "__row";

impl<'a> Lowering<'a> {
    pub(super) fn projection(&mut self, projection: &'a Projection, scope: Scope<'a>) -> Result<Flow> {
        if let LogicalPlan::Filter(filter) = projection.input.as_ref()
            && !self.repeated.contains_key(&(scope.settings, projection.input.as_ref()))
        {
            let calls = calls_in_both(&filter.predicate, &projection.expr, scope);
            if !calls.is_empty() {
                return self.filter_and_project(filter, &projection.expr, &calls, scope);
            }
        }
        if let Some(flow) = self.projected_top_n(projection, scope)? {
            return Ok(flow);
        }
        let flow = self.plan(&projection.input, scope)?;
        self.project(flow, &projection.expr, scope)
    }

    /// Lowers a filter and a projection that make the same costly calls: the optimizer moves a condition below the
    /// projection that computes what it looks at, and so doubles the call.
    fn filter_and_project(
        &mut self,
        filter: &'a Filter,
        exprs: &[Expr],
        calls: &[Expr],
        scope: Scope<'a>,
    ) -> Result<Flow> {
        let flow = self.plan(&filter.input, scope)?;
        let mut computed: Vec<Expr> = flow.schema.columns().into_iter().map(Expr::Column).collect();
        let named = calls.iter().enumerate().map(|(n, call)| (call.clone(), format!("__call_{n}")));
        let named: Vec<(Expr, String)> = named.collect();
        computed.extend(named.iter().map(|(call, name)| call.clone().alias(name)));
        let flow = self.project(flow, &computed, scope)?;
        let predicate = scope.physical(&with_columns(&filter.predicate, &named, scope)?, &flow.schema)?;
        let (rows, schema) = (flow.rows(), flow.schema.as_ref().clone());
        let flow = flow.then(operators::Filter::new(predicate, rows), schema);
        let names = NamePreserver::new_for_projection();
        let rewritten = exprs.iter().map(|expr| {
            let name = names.save(expr);
            Ok(name.restore(with_columns(expr, &named, scope)?))
        });
        let rewritten: Vec<Expr> = rewritten.collect::<Result<_>>()?;
        self.project(flow, &rewritten, scope)
    }

    /// Adds a projection to a flow.
    pub(super) fn project(&mut self, flow: Flow, exprs: &[Expr], scope: Scope<'_>) -> Result<Flow> {
        // A batch without columns would be a batch without rows to much of what is on its way.
        let placeholder = [lit(true).alias(ROW)];
        let exprs = if exprs.is_empty() { &placeholder } else { exprs };
        let (flow, exprs) = self.answered(flow, exprs, scope)?;
        let mut qualifiers = Vec::with_capacity(exprs.len());
        let mut physical = Vec::with_capacity(exprs.len());
        for expr in &exprs {
            let (qualifier, name) = expr.qualified_name();
            qualifiers.push(qualifier);
            physical.push((scope.physical(expr, &flow.schema)?, name));
        }
        let project = operators::Project::new(physical, &flow.rows())?;
        let schema = qualified(qualifiers, &project.schema()).map_err(|e| scope.fail(e))?;
        Ok(flow.then(project, schema))
    }

    pub(super) fn filter(&mut self, filter: &'a Filter, scope: Scope<'a>) -> Result<Flow> {
        if let Some(flow) = self.numbered(filter, true, scope)? {
            return Ok(flow);
        }
        let flow = self.plan(&filter.input, scope)?;
        self.where_true(flow, &filter.predicate, scope)
    }

    /// Adds a filter, which may ask for the present.
    pub(super) fn where_true(&mut self, flow: Flow, predicate: &Expr, scope: Scope<'_>) -> Result<Flow> {
        if asks_for_now(predicate).is_some() {
            return self.temporal_filter(flow, predicate, scope);
        }
        self.keep_where(flow, predicate, scope)
    }

    /// Adds a filter to a flow.
    pub(super) fn keep_where(&mut self, flow: Flow, predicate: &Expr, scope: Scope<'_>) -> Result<Flow> {
        let columns: Vec<Expr> = flow.schema.columns().into_iter().map(Expr::Column).collect();
        let (flow, predicate) = self.answered(flow, std::slice::from_ref(predicate), scope)?;
        let predicate = predicate.into_iter().map(Expr::unalias).map(|expr| scope.physical(&expr, &flow.schema));
        let filters = predicate.collect::<Result<Vec<_>>>()?;
        let (rows, schema) = (flow.rows(), flow.schema.as_ref().clone());
        let flow = filters
            .into_iter()
            .fold(flow, |flow, filter| flow.then(operators::Filter::new(filter, rows.clone()), schema.clone()));
        // The answers that the condition looked at are nobody else's business.
        if schema.fields().len() > columns.len() { self.project(flow, &columns, scope) } else { Ok(flow) }
    }

    pub(super) fn union(&mut self, union: &'a Union, scope: Scope<'a>) -> Result<Flow> {
        let mut flows = Vec::with_capacity(union.inputs.len());
        for input in &union.inputs {
            let flow = self.exact(input, scope)?;
            flows.push(self.seal(flow, scope));
        }
        let first = flows[0].schema.clone();
        let fields = (0..first.fields().len()).map(|index| {
            let of = |flow: &Flow| flow.schema.field(index).clone();
            let name = if union.schema.fields().is_empty() { ROW } else { union.schema.field(index).name() };
            let same = flows.iter().all(|flow| of(flow).metadata() == first.field(index).metadata());
            let metadata = if same { first.field(index).metadata().clone() } else { Default::default() };
            let nullable = flows.iter().any(|flow| of(flow).is_nullable());
            Field::new(name, first.field(index).data_type().clone(), nullable).with_metadata(metadata)
        });
        let rows = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let qualifiers: Vec<_> = if union.schema.fields().is_empty() {
            vec![None]
        } else {
            union.schema.iter().map(|(qualifier, _)| qualifier.cloned()).collect()
        };
        let schema = qualified(qualifiers, &rows).map_err(|e| scope.fail(e))?;
        let changing = flows.iter().any(|flow| flow.changing);
        let lateness = flows.iter().map(|flow| flow.lateness).reduce(kinder).unwrap_or_default();
        let mut united = flow_like(Arc::new(schema.clone()), changing, lateness);
        united.label = "union";
        united.feeds = flows.into_iter().flat_map(|flow| flow.feeds).collect();
        Ok(united.then(operators::Union::new(rows), schema))
    }
}

/// Returns the costly calls of a condition that a projection makes too, outermost first.
fn calls_in_both(predicate: &Expr, exprs: &[Expr], scope: Scope<'_>) -> Vec<Expr> {
    let occurs = |call: &Expr| exprs.iter().any(|expr| expr.exists(|part| Ok(part == call)).unwrap_or(false));
    let mut calls: Vec<Expr> = Vec::new();
    let walk = predicate.apply(|expr| {
        let is_costly = matches!(expr, Expr::ScalarFunction(call) if scope.functions.costly.contains(call.name()));
        if !is_costly || !occurs(expr) {
            return Ok(TreeNodeRecursion::Continue);
        }
        if !calls.contains(expr) {
            calls.push(expr.clone());
        }
        Ok(TreeNodeRecursion::Jump)
    });
    // The walk itself never fails.
    walk.map(|_| calls).unwrap_or_default()
}

/// Replaces calls by the columns that hold their results.
fn with_columns(expr: &Expr, named: &[(Expr, String)], scope: Scope<'_>) -> Result<Expr> {
    let replaced = expr.clone().transform_down(|expr| {
        Ok(match named.iter().find(|(call, _)| *call == expr) {
            Some((_, name)) => Transformed::yes(Expr::Column(Column::new_unqualified(name))),
            None => Transformed::no(expr),
        })
    });
    Ok(replaced.map_err(|e| scope.fail(e))?.data)
}
