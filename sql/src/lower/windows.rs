//! Lowers the step that gives rows their windows, and says when windows show results and what happens to late rows.

use super::flow::Flow;
use super::{Lowering, Scope, qualified};
use crate::settings::{EmitSetting, LateSetting};
use crate::windows::{AssignWindows, SESSION, gap_ns, marked_only_by, unmarked, window_of};
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, lit};
use headwater_core::{Error, Exchange, Result};
use headwater_operators::{self as operators, Emit, Late, SessionConfig, UnnestColumns};
use std::sync::Arc;

impl<'a> Lowering<'a> {
    pub(super) fn assign_windows(&mut self, assign: &'a AssignWindows, scope: Scope<'a>) -> Result<Flow> {
        let input = match self.prepared.take() {
            Some((plan, flow)) if std::ptr::eq(plan, assign.input.as_ref()) => self.columns_of(plan, flow, scope)?,
            _ => self.exact(&assign.input, scope)?,
        };
        match assign.function {
            SESSION => self.sessions(assign, input, scope),
            _ => self.windows_of_rows(assign, input, scope),
        }
    }

    /// Lowers windows of which a row is in several or in none: a row for each of them.
    fn windows_of_rows(&mut self, assign: &AssignWindows, input: Flow, scope: Scope<'_>) -> Result<Flow> {
        let schema = assign.output();
        let column = schema.fields().len() - 1;
        let function = scope.functions.windows.get(assign.function);
        let function = function.ok_or_else(|| Error::internal(format!("there is no function {}", assign.function)))?;
        let args = std::iter::once(assign.time.clone()).chain(assign.constants.iter().map(|c| lit(c.clone())));
        let mut exprs: Vec<Expr> = input.schema.columns().into_iter().map(Expr::Column).collect();
        exprs.push(function.call(args.collect()).alias(schema.field(column).name()));
        // The mark depends on whether the rows still come in the order of time, which the plan does not know.
        let window = assign.window(&input.schema).map_err(|e| scope.fail(e))?;
        let flow = self.project(input, &exprs, scope)?;
        let columns =
            UnnestColumns { lists: vec![column], structs: Vec::new(), preserve_nulls: true, preserve_empty: false };
        let mut fields: Vec<_> = flow.schema.iter().map(|(q, field)| (q.cloned(), field.clone())).collect();
        fields[column].1 = Arc::new(window);
        let (qualifiers, fields): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
        let rows = Arc::new(datafusion::arrow::datatypes::Schema::new(fields));
        let unnest = operators::Unnest::new(columns, &flow.rows(), rows.clone())?;
        let schema = qualified(qualifiers, &rows).map_err(|e| scope.fail(e))?;
        Ok(flow.then(unnest, schema))
    }

    fn sessions(&mut self, assign: &AssignWindows, input: Flow, scope: Scope<'_>) -> Result<Flow> {
        let n_columns = input.schema.fields().len();
        let mut exprs: Vec<Expr> = input.schema.columns().into_iter().map(Expr::Column).collect();
        let mut keys = Vec::with_capacity(assign.partition.len());
        for key in &assign.partition {
            let known = exprs.iter().position(|expr| expr == key);
            keys.push(known.unwrap_or_else(|| {
                exprs.push(key.clone().alias(format!("__key_{}", exprs.len())));
                exprs.len() - 1
            }));
        }
        let input = if exprs.len() > n_columns { self.project(input, &exprs, scope)? } else { input };
        let window = assign.window(&input.schema).map_err(|e| scope.fail(e))?;
        let exchange = if keys.is_empty() { Exchange::Gather } else { Exchange::Hash(keys.clone()) };
        let mut flow = self.exchange(input, exchange, scope);
        let gap_ns = assign.constants.first().and_then(gap_ns);
        let config = SessionConfig {
            input: flow.rows(),
            time: scope.physical(&assign.time, &flow.schema)?,
            keys,
            gap_ns: gap_ns.ok_or_else(|| Error::internal("a session without a gap"))?,
            emit: emit(&flow, scope),
            late: late(&flow, scope),
            input_changing: flow.changing,
        };
        let session = operators::Session::new(config, window.name())?;
        let mut fields: Vec<_> = flow.schema.iter().map(|(q, field)| (q.cloned(), field.clone())).collect();
        let text = window_of(&window).map(str::to_owned);
        fields.push((None, Arc::new(window)));
        let schema = DFSchema::new_with_metadata(fields, Default::default()).map_err(|e| scope.fail(e))?;
        flow.changing = session.output_changing();
        // Rows come when their session is complete, or over and over again.
        let schema = match text.filter(|_| !flow.changing) {
            Some(window) => marked_only_by(&schema, &window),
            None => unmarked(&schema),
        };
        let schema = schema.map_err(|e| scope.fail(e))?;
        let session = session.with_schema(schema.inner().clone())?;
        flow.label = "session";
        let flow = flow.then(session, schema);
        let exprs: Vec<Expr> = assign.output().columns().into_iter().map(Expr::Column).collect();
        if exprs.len() == flow.schema.fields().len() { Ok(flow) } else { self.project(flow, &exprs, scope) }
    }
}

pub(super) fn emit(input: &Flow, scope: Scope<'_>) -> Emit {
    match scope.settings.emit {
        Some(EmitSetting::Final) => Emit::Final,
        Some(EmitSetting::Changes) => Emit::Changes,
        None if input.changing => Emit::Changes,
        None => Emit::Final,
    }
}

pub(super) fn late(input: &Flow, scope: Scope<'_>) -> Late {
    let (set, declared) = (scope.settings.lateness, input.lateness);
    let allowed_ns = set.allowed_ns.or(declared.allowed_ns);
    let implied = allowed_ns.map(|_| LateSetting::Update);
    match set.late.or(declared.late).or(implied) {
        Some(LateSetting::Update) => Late::Update { allowed_lateness_ns: allowed_ns.unwrap_or(i64::MAX) },
        Some(LateSetting::DeadLetter) | None => Late::DeadLetter,
    }
}
