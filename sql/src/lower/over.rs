//! Lowers window functions, `ORDER BY … LIMIT`, and the pattern `ROW_NUMBER() OVER (…) <= n`, which becomes a top-n.
//!
//! Results change as rows come, unless a partition belongs to a window over event time of an append-only input: then
//! each is shown once, when its window closes.

use super::flow::Flow;
use super::{Lowering, Scope, qualified};
use crate::position::WithPlace;
use crate::settings::EmitSetting;
use crate::windows::{is_window, unmarked};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunctionParams};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    BinaryExpr, Expr, FetchType, Filter, Limit, LogicalPlan, Operator, Projection, SkipType, Window,
    WindowFunctionDefinition,
};
use datafusion::physical_planner::create_window_expr_with_name;
use headwater_core::{Error, Exchange, OperatorSpec, Result};
use headwater_operators::{self as operators, OrderBy, OverConfig, TopNConfig};

/// What makes a partition, and its order, as columns of a flow.
struct By {
    partition: Vec<usize>,
    order: Vec<OrderBy>,
    /// The partition column that is a window which shows its rows once, at its end.
    closing: Option<usize>,
}

/// A filter on a row number: which numbers, and what else is asked.
struct Numbered<'a> {
    window: &'a Window,
    params: &'a WindowFunctionParams,
    first: u64,
    last: Option<u64>,
    rest: Vec<&'a Expr>,
}

impl<'a> Lowering<'a> {
    /// Lowers window functions.
    pub(super) fn window(&mut self, window: &'a Window, scope: Scope<'a>) -> Result<Flow> {
        let mut flow = self.exact(&window.input, scope)?;
        let mut waiting: Vec<&Expr> = window.window_expr.iter().collect();
        while let Some(first) = waiting.first() {
            let by = |expr: &Expr| params(expr).map(|p| (p.partition_by.clone(), p.order_by.clone()));
            let wanted = by(first);
            let (now, later): (Vec<&Expr>, Vec<&Expr>) = waiting.iter().partition(|expr| by(expr) == wanted);
            flow = self.over(flow, &now, scope)?;
            waiting = later;
        }
        let columns = window.schema.columns();
        if flow.schema.columns() == columns {
            return Ok(flow);
        }
        let exprs: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
        self.project(flow, &exprs, scope)
    }

    /// Adds the columns of window functions that share partitioning and order.
    fn over(&mut self, flow: Flow, exprs: &[&Expr], scope: Scope<'a>) -> Result<Flow> {
        let Some(shared) = exprs.first().and_then(|expr| params(expr)) else {
            return Err(Error::internal("a window without a window function"));
        };
        let columns = flow.schema.columns();
        let (flow, by) = self.ordered(flow, &shared.partition_by, &shared.order_by, scope)?;
        let mut flow = flow;
        let mut functions = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let (with_columns, function) = self.over_columns(flow, expr, scope)?;
            functions.push((function, expr.qualified_name().1));
            flow = with_columns;
        }
        let planning = PhysicalPlanningContext::default();
        let functions = functions.into_iter().map(|(function, name)| {
            create_window_expr_with_name(&function, name, &flow.schema, &ExecutionProps::new(), &planning)
                .map_err(|e| scope.fail(e))
        });
        let functions = functions.collect::<Result<Vec<_>>>()?;
        let n_functions = functions.len();
        let By { partition: partition_by, order: order_by, closing } = by;
        let ttl_ns = scope.settings.lateness.ttl_ns.or(flow.lateness.ttl_ns);
        let config = OverConfig { partition_by, order_by, functions, closing, ttl_ns };
        let partition = config.partition_by.clone();
        let mut flow = self.exchange(flow, by_key(partition), scope);
        let operator = operators::Over::new(config, flow.rows())?;
        let mut qualifiers: Vec<_> = flow.schema.iter().map(|(qualifier, _)| qualifier.cloned()).collect();
        qualifiers.resize(qualifiers.len() + n_functions, None);
        let schema = qualified(qualifiers, &operator.schema()).map_err(|e| scope.fail(e))?;
        let (flow_changing, schema) = shown(operator.output_changing(), schema, scope)?;
        let operator = operator.with_schema(schema.inner().clone())?;
        flow.label = "over";
        flow.changing = flow_changing;
        let helpers = flow.schema.fields().len() - columns.len();
        let flow = flow.then(operator, schema);
        if helpers == 0 {
            return Ok(flow);
        }
        let kept = columns.into_iter().map(Expr::Column);
        let added = exprs.iter().map(|expr| Expr::Column(Column::new_unqualified(expr.qualified_name().1)));
        let exprs: Vec<Expr> = kept.chain(added).collect();
        self.project(flow, &exprs, scope)
    }

    /// Makes everything that a window function looks at a column, and returns the function over those columns.
    fn over_columns(&mut self, flow: Flow, expr: &Expr, scope: Scope<'_>) -> Result<(Flow, Expr)> {
        let Expr::WindowFunction(call) = expr.clone().unalias_nested().data else {
            return Err(Error::internal("a window without a window function"));
        };
        let mut call = *call;
        let params = &mut call.params;
        let order: Vec<Expr> = params.order_by.iter().map(|by| by.expr.clone()).collect();
        let computed = params.args.iter().chain(&params.partition_by).chain(&order);
        let filter = params.filter.as_deref().into_iter();
        let computed: Vec<Expr> =
            computed.chain(filter).filter(|expr| !matches!(expr, Expr::Literal(..))).cloned().collect();
        let (flow, places) = self.with_keys(flow, &computed, scope)?;
        let column = |expr: &Expr| {
            let place = computed.iter().position(|other| other == expr);
            place.map_or_else(|| expr.clone(), |n| Expr::from(flow.schema.qualified_field(places[n])))
        };
        params.args = params.args.iter().map(column).collect();
        params.partition_by = params.partition_by.iter().map(column).collect();
        params.order_by = params.order_by.iter().map(|by| SortExpr { expr: column(&by.expr), ..by.clone() }).collect();
        params.filter = params.filter.as_deref().map(|filter| Box::new(column(filter)));
        Ok((flow, Expr::WindowFunction(Box::new(call))))
    }

    /// Makes partitioning and order columns.
    fn ordered(&mut self, flow: Flow, partition: &[Expr], order: &[SortExpr], scope: Scope<'_>) -> Result<(Flow, By)> {
        let keys: Vec<Expr> = partition.iter().chain(order.iter().map(|by| &by.expr)).cloned().collect();
        let (flow, places) = self.with_keys(flow, &keys, scope)?;
        let (partition, ordered) = places.split_at(partition.len());
        let order = order.iter().zip(ordered).map(|(by, column)| {
            let options = datafusion::arrow::compute::SortOptions { descending: !by.asc, nulls_first: by.nulls_first };
            OrderBy { column: *column, options }
        });
        let closes = !flow.changing && scope.settings.emit != Some(EmitSetting::Changes);
        let closing = partition.iter().copied().find(|column| closes && is_window(flow.schema.field(*column)));
        if closing.is_none() && scope.settings.emit == Some(EmitSetting::Final) {
            let error = Error::invalid("rows are ranked over a stream without end, which has no final result");
            let help = "add a window to PARTITION BY, such as that of tumble(interval '…'), or write \
                        SET emit = 'changes'; before it";
            let place = scope.place.find_name("OVER").or_else(|| scope.place.find_name("LIMIT"));
            return Err(error.with_help(help).with_place(place.unwrap_or_else(|| scope.place.start())));
        }
        let by = By { partition: partition.to_vec(), order: order.collect(), closing };
        Ok((flow, by))
    }

    /// Adds a top-n, and takes away the columns that it needed.
    fn top_n(
        &mut self,
        flow: Flow,
        (partition, order): (&[Expr], &[SortExpr]),
        wanted: TopNConfig,
        scope: Scope<'_>,
    ) -> Result<Flow> {
        let columns = flow.schema.columns();
        let (flow, by) = self.ordered(flow, partition, order, scope)?;
        let n_columns = flow.schema.fields().len();
        let By { partition: partition_by, order: order_by, closing } = by;
        let ttl_ns = scope.settings.lateness.ttl_ns.or(flow.lateness.ttl_ns);
        let config = TopNConfig { partition_by, order_by, closing, ttl_ns, input_changing: flow.changing, ..wanted };
        let rank = config.rank.clone();
        let mut flow = self.exchange(flow, by_key(config.partition_by.clone()), scope);
        let operator = operators::TopN::new(config, flow.rows())?;
        let mut qualifiers: Vec<_> = flow.schema.iter().map(|(qualifier, _)| qualifier.cloned()).collect();
        qualifiers.extend(rank.iter().map(|_| None));
        let schema = qualified(qualifiers, &operator.schema()).map_err(|e| scope.fail(e))?;
        let (changing, schema) = shown(operator.output_changing(), schema, scope)?;
        let operator = operator.with_schema(schema.inner().clone())?;
        flow.label = "top_n";
        flow.changing = changing;
        let flow = flow.then(operator, schema);
        if n_columns == columns.len() {
            return Ok(flow);
        }
        let kept = columns.into_iter().map(Expr::Column);
        let exprs: Vec<Expr> = kept.chain(rank.map(|name| Expr::Column(Column::new_unqualified(name)))).collect();
        self.project(flow, &exprs, scope)
    }

    /// Lowers `ORDER BY … LIMIT … OFFSET`, with or without an order.
    pub(super) fn limit(&mut self, limit: &'a Limit, scope: Scope<'a>) -> Result<Flow> {
        let place = |word: &str| scope.place.find_name(word).unwrap_or_else(|| scope.place.start());
        let refuse = |word: &str| {
            let error = Error::invalid(format!("{word} must be a whole number that is not negative"));
            error.with_help(format!("write {word} 10")).with_place(place(word))
        };
        let skip = match limit.get_skip_type() {
            Ok(SkipType::Literal(n)) => n as u64,
            Ok(SkipType::UnsupportedExpr) | Err(_) => return Err(refuse("OFFSET")),
        };
        let fetch = match limit.get_fetch_type() {
            Ok(FetchType::Literal(n)) => n.map(|n| n as u64),
            Ok(FetchType::UnsupportedExpr) | Err(_) => return Err(refuse("LIMIT")),
        };
        let (input, order, projection) = sorted(&limit.input);
        let flow = self.exact(input, scope)?;
        let wanted = TopNConfig { skip, fetch, ..TopNConfig::default() };
        let flow = self.top_n(flow, (&[], order), wanted, scope)?;
        match projection {
            Some(projection) => self.project(flow, &projection.expr, scope),
            None => Ok(flow),
        }
    }

    /// Lowers a filter on a row number as a top-n; `None` when the filter is something else. Without `needs_number` the
    /// number itself is not in the output.
    pub(super) fn numbered(
        &mut self,
        filter: &'a Filter,
        needs_number: bool,
        scope: Scope<'a>,
    ) -> Result<Option<Flow>> {
        let is_shared = self.repeated.contains_key(&(scope.settings, filter.input.as_ref()));
        let Some(numbered) = Numbered::find(filter).filter(|_| !is_shared) else { return Ok(None) };
        let Numbered { window, params, first, last, rest } = numbered;
        let flow = self.exact(&window.input, scope)?;
        let name = window.window_expr[0].qualified_name().1;
        let is_asked = rest.iter().any(|expr| expr.column_refs().iter().any(|column| column.name == name));
        let wanted = TopNConfig {
            skip: first - 1,
            fetch: last.map(|last| (last + 1).saturating_sub(first)),
            rank: (needs_number || is_asked).then_some(name),
            ..TopNConfig::default()
        };
        let mut flow = self.top_n(flow, (&params.partition_by, &params.order_by), wanted, scope)?;
        for predicate in rest {
            flow = self.where_true(flow, predicate, scope)?;
        }
        Ok(Some(flow))
    }

    /// Lowers a projection of a top-n that does not look at the row number.
    pub(super) fn projected_top_n(&mut self, projection: &'a Projection, scope: Scope<'a>) -> Result<Option<Flow>> {
        let LogicalPlan::Filter(filter) = projection.input.as_ref() else { return Ok(None) };
        let is_shared = self.repeated.contains_key(&(scope.settings, projection.input.as_ref()));
        let Some(numbered) = Numbered::find(filter).filter(|_| !is_shared) else { return Ok(None) };
        let name = numbered.window.window_expr[0].qualified_name().1;
        let is_asked = |expr: &Expr| expr.column_refs().iter().any(|column| column.name == name);
        if projection.expr.iter().any(is_asked) {
            return Ok(None);
        }
        let Some(flow) = self.numbered(filter, false, scope)? else { return Ok(None) };
        self.project(flow, &projection.expr, scope).map(Some)
    }
}

fn by_key(columns: Vec<usize>) -> Exchange {
    if columns.is_empty() { Exchange::Gather } else { Exchange::Hash(columns) }
}

/// Rows that come at the barrier come behind the watermark, so their event time means nothing to a window any more.
fn shown(changing: bool, schema: DFSchema, scope: Scope<'_>) -> Result<(bool, DFSchema)> {
    let schema = if changing { unmarked(&schema).map_err(|e| scope.fail(e))? } else { schema };
    Ok((changing, schema))
}

fn params(expr: &Expr) -> Option<&WindowFunctionParams> {
    match expr {
        Expr::WindowFunction(call) => Some(&call.params),
        Expr::Alias(alias) => params(&alias.expr),
        _ => None,
    }
}

/// Looks through a projection for what orders the rows below it.
fn sorted(plan: &LogicalPlan) -> (&LogicalPlan, &[SortExpr], Option<&Projection>) {
    match plan {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => (&sort.input, &sort.expr, None),
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (&sort.input, &sort.expr, Some(projection)),
            _ => (plan, &[], None),
        },
        _ => (plan, &[], None),
    }
}

impl<'a> Numbered<'a> {
    fn find(filter: &'a Filter) -> Option<Self> {
        let LogicalPlan::Window(window) = filter.input.as_ref() else { return None };
        let [expr] = window.window_expr.as_slice() else { return None };
        let Expr::WindowFunction(call) = unaliased(expr) else { return None };
        let is_number = matches!(&call.fun, WindowFunctionDefinition::WindowUDF(f) if f.name() == "row_number");
        if !is_number {
            return None;
        }
        let name = expr.qualified_name().1;
        let (mut first, mut last, mut rest) = (1_u64, None::<u64>, Vec::new());
        for conjunct in split_conjunction(&filter.predicate) {
            match bound(conjunct, &name) {
                Some((Operator::Eq, n)) => (first, last) = (first.max(n.max(1)), Some(last.map_or(n, |l| l.min(n)))),
                Some((Operator::LtEq, n)) => last = Some(last.map_or(n, |last| last.min(n))),
                Some((Operator::GtEq, n)) => first = first.max(n),
                _ => rest.push(conjunct),
            }
        }
        let is_bounded = last.is_some() || first > 1;
        is_bounded.then_some(Self { window, params: &call.params, first, last, rest })
    }
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Reads `number <op> literal` with `=`, `<=` or `>=`, however it is written.
fn bound(expr: &Expr, name: &str) -> Option<(Operator, u64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (column, op, literal) = match (left.as_ref(), right.as_ref()) {
        (Expr::Column(column), Expr::Literal(literal, _)) => (column, *op, literal),
        (Expr::Literal(literal, _), Expr::Column(column)) => (column, op.swap()?, literal),
        _ => return None,
    };
    if column.name != name {
        return None;
    }
    let ScalarValue::Int64(Some(n)) = literal.cast_to(&datafusion::arrow::datatypes::DataType::Int64).ok()? else {
        return None;
    };
    match op {
        Operator::Eq if n >= 0 => Some((Operator::Eq, n as u64)),
        Operator::LtEq => Some((Operator::LtEq, n.max(0) as u64)),
        Operator::Lt => Some((Operator::LtEq, n.saturating_sub(1).max(0) as u64)),
        Operator::GtEq => Some((Operator::GtEq, n.max(1) as u64)),
        Operator::Gt => Some((Operator::GtEq, n.saturating_add(1).max(1) as u64)),
        _ => None,
    }
}
