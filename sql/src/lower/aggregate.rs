//! Lowers `GROUP BY` and `DISTINCT`.
//!
//! Windows show their results when they close (`emit = 'final'`), unless the input takes rows back or the user asked
//! for early results: then at every flush, as changes. A window over a changing input shows changes by default because
//! a correction may come after the window closed, and must restate it. Late rows are dead letters by default;
//! `late = 'update'` keeps a window for `allowed_lateness` after its end, and for ever where none is given;
//! `allowed_lateness` alone means `late = 'update'`. What a statement sets goes before what its tables declare.

use super::flow::Flow;
use super::windows::{emit, late};
use super::{Lowering, Scope, qualified};
use crate::position::WithPlace;
use crate::settings::EmitSetting;
use crate::windows::{
    CUMULATE, Part, SESSION, TUMBLE, function_of, is_window, marked_only_by, part_of, rule_of, unmarked, window_of,
};
use datafusion::arrow::datatypes::Field;
use datafusion::common::{Column, DFSchema};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use headwater_core::{Error, Exchange, OperatorSpec, Result};
use headwater_operators::{self as operators, AggregateCall, Emit, WindowColumn, Windowing};
use std::collections::HashSet;
use std::sync::Arc;

impl<'a> Lowering<'a> {
    pub(super) fn aggregate(&mut self, aggregate: &'a Aggregate, scope: Scope<'a>) -> Result<Flow> {
        if let Some(shared) = self.shared_panes(aggregate, scope)
            && let Some(flow) = self.by_panes(shared, aggregate, scope)?
        {
            return Ok(flow);
        }
        let are_columns = aggregate.group_expr.iter().all(|expr| matches!(expr, Expr::Column(_)));
        let input =
            if are_columns { self.exact(&aggregate.input, scope)? } else { self.plan(&aggregate.input, scope)? };
        let grouping = Grouping::new(&aggregate.group_expr, &input.schema);
        let (input, group) = self.with_group_columns(input, aggregate, &grouping.exprs, scope)?;
        let window = windowing_column(&input.schema, &group);
        // Which window is the newest is known only where all rows are.
        let exchange = match window {
            Some(_) if scope.settings.emit_empty => Exchange::Gather,
            _ => exchange_for(&group, window),
        };
        let mut flow = self.exchange(input, exchange, scope);
        let operator = operator(aggregate, &flow, (&grouping.exprs, &group), window, scope)?;
        let mut qualifiers: Vec<_> = grouping.exprs.iter().map(|expr| expr.qualified_name().0).collect();
        qualifiers.resize(grouping.exprs.len() + aggregate.aggr_expr.len(), None);
        let schema = qualified(qualifiers, &operator.schema()).map_err(|e| scope.fail(e))?;
        let changing = operator.output_changing();
        // Changes come at the flush, behind the watermark; closed windows come before the watermark that closed them.
        let closed_by = window.filter(|_| !changing).and_then(|window| window_text(schema.field(window)));
        let schema = match closed_by {
            Some(window) => marked_only_by(&schema, &window),
            None => unmarked(&schema),
        };
        let schema = schema.map_err(|e| scope.fail(e))?;
        let operator = operator.with_schema(schema.inner().clone())?;
        flow.label = "aggregate";
        flow.changing = changing;
        let flow = flow.then(operator, schema);
        match grouping.parts(aggregate) {
            Some(exprs) => self.project(flow, &exprs, scope),
            None => Ok(flow),
        }
    }

    /// Makes every group expression a column, so that rows can be exchanged by it, and returns where they are.
    fn with_group_columns(
        &mut self,
        input: Flow,
        aggregate: &Aggregate,
        groups: &[Expr],
        scope: Scope<'_>,
    ) -> Result<(Flow, Vec<usize>)> {
        let find = |schema: &DFSchema, expr: &Expr| {
            let (qualifier, name) = expr.qualified_name();
            schema.maybe_index_of_column(&Column::new(qualifier, name))
        };
        let is_column = |expr: &Expr| matches!(expr, Expr::Column(_));
        let input = if groups.iter().all(is_column) {
            input
        } else {
            let mut exprs = groups.to_vec();
            let mut seen: HashSet<Column> = exprs
                .iter()
                .map(|expr| {
                    let (qualifier, name) = expr.qualified_name();
                    Column::new(qualifier, name)
                })
                .collect();
            for expr in &aggregate.aggr_expr {
                let mut columns: Vec<&Column> = expr.column_refs().into_iter().collect();
                columns.sort();
                for column in columns {
                    if seen.insert(Column::new(column.relation.clone(), &column.name)) {
                        exprs.push(Expr::Column(column.clone()));
                    }
                }
            }
            self.project(input, &exprs, scope)?
        };
        let group: Option<Vec<usize>> = groups.iter().map(|expr| find(&input.schema, expr)).collect();
        let group = group.ok_or_else(|| Error::internal("a group column was lost"))?;
        Ok((input, group))
    }
}

/// Group expressions, with whole windows in the place of their parts: who groups by the start of a window groups by the
/// window, and it can close.
struct Grouping {
    exprs: Vec<Expr>,
    /// For each group expression as written that is part of a window, the window.
    windows: Vec<Option<Expr>>,
}

impl Grouping {
    fn new(written: &[Expr], schema: &DFSchema) -> Self {
        let mut exprs: Vec<Expr> = Vec::with_capacity(written.len());
        let windows: Vec<Option<Expr>> = written.iter().map(|expr| whole_window(expr, written, schema)).collect();
        for (expr, window) in written.iter().zip(&windows) {
            let expr = window.as_ref().unwrap_or(expr);
            if !exprs.contains(expr) {
                exprs.push(expr.clone());
            }
        }
        Self { exprs, windows }
    }

    /// Returns the columns as written; `None` where they are the group expressions.
    fn parts(&self, aggregate: &Aggregate) -> Option<Vec<Expr>> {
        if self.windows.iter().all(Option::is_none) {
            return None;
        }
        let as_column = |expr: &Expr| {
            let (qualifier, name) = expr.qualified_name();
            Expr::Column(Column::new(qualifier, name))
        };
        let part = |(expr, window): (&Expr, &Option<Expr>)| match (expr.clone().unalias(), window) {
            (Expr::ScalarFunction(mut call), Some(window)) => {
                let (qualifier, name) = expr.qualified_name();
                call.args[0] = as_column(window);
                Expr::ScalarFunction(call).alias_qualified(qualifier, name)
            }
            _ => as_column(expr),
        };
        let mut exprs: Vec<Expr> = aggregate.group_expr.iter().zip(&self.windows).map(part).collect();
        exprs.extend(aggregate.aggr_expr.iter().map(as_column));
        Some(exprs)
    }
}

/// Returns the window that an expression is the start or end of.
fn whole_window(expr: &Expr, written: &[Expr], schema: &DFSchema) -> Option<Expr> {
    let (window, field) = taken_from(expr)?;
    let (_, marked) = window.to_field(schema).ok()?;
    let function = function_of(window_of(&marked)?);
    // Several of these windows start together.
    let is_ambiguous = field == "start" && matches!(function, CUMULATE | SESSION);
    let is_told = |other: &Expr| {
        *other == window || taken_from(other).is_some_and(|(other, field)| other == window && field == "end")
    };
    (!is_ambiguous || written.iter().any(is_told)).then_some(window)
}

/// Returns the struct and the name of the field that an expression takes from it.
fn taken_from(expr: &Expr) -> Option<(Expr, String)> {
    let Expr::ScalarFunction(call) = expr.clone().unalias() else { return None };
    let [window, Expr::Literal(field, _)] = call.args.as_slice() else { return None };
    let field = field.try_as_str().flatten()?;
    (call.name() == "get_field").then(|| (window.clone(), field.to_owned()))
}

/// Returns which group column says when a group is complete: a window, or the end of one.
fn windowing_column(schema: &DFSchema, group: &[usize]) -> Option<usize> {
    let is_end = |index: &usize| matches!(part_of(schema.field(*index)), Some((Part::End, _)));
    group.iter().position(|index| is_window(schema.field(*index))).or_else(|| group.iter().position(is_end))
}

fn window_text(field: &Field) -> Option<String> {
    window_of(field).or_else(|| part_of(field).map(|(_, window)| window)).map(str::to_owned)
}

/// All windows of a key go to one subtask, so the window is not part of the hash unless it is all there is.
pub(super) fn exchange_for(group: &[usize], window: Option<usize>) -> Exchange {
    let keys: Vec<usize> =
        group.iter().enumerate().filter(|(n, _)| Some(*n) != window).map(|(_, index)| *index).collect();
    match (keys.is_empty(), group.is_empty()) {
        (false, _) => Exchange::Hash(keys),
        (true, false) => Exchange::Hash(group.to_vec()),
        (true, true) => Exchange::Gather,
    }
}

fn operator(
    aggregate: &Aggregate,
    input: &Flow,
    (exprs, places): (&[Expr], &[usize]),
    window: Option<usize>,
    scope: Scope<'_>,
) -> Result<operators::Aggregate> {
    let mut groups = Vec::with_capacity(places.len());
    for (expr, index) in exprs.iter().zip(places) {
        let column = Expr::from(input.schema.qualified_field(*index));
        groups.push((scope.physical(&column, &input.schema)?, expr.qualified_name().1));
    }
    let calls: Vec<AggregateCall> =
        aggregate.aggr_expr.iter().map(|expr| call(expr, expr, &input.schema, scope)).collect::<Result<_>>()?;
    let operator = operators::Aggregate::new(&input.rows(), groups, calls)?;
    let operator = if input.changing { operator.over_changes() } else { operator };
    match window {
        Some(column) => {
            let windowing = Windowing { column, emit: emit(input, scope), late: late(input, scope) };
            let operator = operator.windowed(windowing)?;
            if !scope.settings.emit_empty {
                return Ok(operator);
            }
            with_empty_windows(operator, windowing, input, places, scope)
        }
        None if scope.settings.emit == Some(EmitSetting::Final) => {
            let error = Error::invalid("a GROUP BY without a window has no final result");
            let help = "group by tumble(interval '…') over event time, or write SET emit = 'changes'; before it";
            let span = scope.place.find_words(&["GROUP", "BY"]).or_else(|| scope.place.find_call(TUMBLE));
            Err(error.with_help(help).with_place(span.unwrap_or_else(|| scope.place.start())))
        }
        None => Ok(operator.forgetting(scope.settings.lateness.ttl_ns.or(input.lateness.ttl_ns))),
    }
}

/// Asks for windows without rows.
fn with_empty_windows(
    operator: operators::Aggregate,
    windowing: Windowing,
    input: &Flow,
    places: &[usize],
    scope: Scope<'_>,
) -> Result<operators::Aggregate> {
    let refuse = |what: &str, help: &str| {
        let error = Error::invalid(format!("emit_empty = 'true' {what}")).with_help(help);
        let span = scope.place.find_words(&["GROUP", "BY"]).unwrap_or_else(|| scope.place.start());
        Err(error.with_place(span))
    };
    if windowing.emit != Emit::Final {
        let help = "write SET emit = 'final'; before the statement, or SET emit_empty = 'false'";
        return refuse("asks for windows without rows, which only final results have", help);
    }
    let field = |column: usize| input.schema.field(places[column]);
    let text = window_text(field(windowing.column)).unwrap_or_default();
    let Some(rule) = rule_of(&text).filter(|_| function_of(&text) == TUMBLE) else {
        let help = "group by tumble(…), or write SET emit_empty = 'false'; before the statement";
        return refuse("works for tumble alone", help);
    };
    let says = |column: usize| match part_of(field(column)) {
        _ if window_of(field(column)) == Some(text.as_str()) => Some(WindowColumn::Whole),
        Some((Part::Start, window)) if window == text => Some(WindowColumn::Start),
        Some((Part::End, window)) if window == text => Some(WindowColumn::End),
        Some((Part::Time, window)) if window == text => Some(WindowColumn::Time),
        _ => None,
    };
    let columns = (0..places.len()).map(says).collect();
    Ok(operator.with_empty_windows(rule, columns))
}

/// Lowers an aggregate call; it is called as the plan calls `named`.
pub(super) fn call(expr: &Expr, named: &Expr, schema: &Arc<DFSchema>, scope: Scope<'_>) -> Result<AggregateCall> {
    let name = named.qualified_name().1;
    let planning = PhysicalPlanningContext::default();
    let properties = ExecutionProps::new();
    let lowered = LoweredAggregateBuilder::new(expr, schema, schema.as_arrow(), &properties, &planning)
        .with_name(name.clone())
        .build()
        .map_err(|e| scope.fail(e))?;
    Ok(AggregateCall { function: lowered.aggregate, filter: lowered.filter, name })
}
