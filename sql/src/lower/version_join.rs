//! Lowers joins of each left row with one right row: `FOR SYSTEM_TIME AS OF` an event time, and `ASOF JOIN`.
//!
//! Where event time bounds the join, a row waits for the watermark and its answer is final. That takes left rows that
//! only come, two event times, and a right row that is not after the left one; for `ASOF JOIN` also right rows that only
//! come. Everything else is kept and corrected as rows come and go. No state.

use super::flow::{Feed, Flow, flow_like};
use super::time_join::{is_time, waits};
use super::{Lowering, Scope, kinder, qualified};
use crate::catalog::{Context, Relation};
use crate::parser::normalized;
use crate::position::WithPlace;
use crate::settings::EmitSetting;
use crate::table::{Reader, Table};
use crate::version_join::{VersionJoin, sides};
use crate::windows::{Part, part_of, unmarked};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::DFSchema;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::physical_expr::PhysicalExpr;
use headwater_core::{Error, Exchange, OperatorSpec, Result};
use headwater_operators::{AsOfJoin, AsOfJoinConfig, Near, SameTime, TemporalJoin, TemporalJoinConfig};
use std::collections::HashMap;
use std::sync::Arc;

/// Both inputs, and where their keys and what is compared are.
struct Inputs {
    left: Flow,
    right: Flow,
    left_keys: Vec<usize>,
    right_keys: Vec<usize>,
    times: [usize; 2],
}

/// Pairs of expressions over left and right rows.
type Pairs = Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>;

impl<'a> Lowering<'a> {
    pub(super) fn version_join(&mut self, join: &'a VersionJoin, scope: Scope<'a>) -> Result<Flow> {
        let left = self.exact(&join.left, scope)?;
        let right = match self.table_of(join)? {
            Some((table, reader)) => {
                self.check_key(table, join, scope)?;
                self.all_versions(&join.right, (table, reader), scope)?
            }
            None => self.exact(&join.right, scope)?,
        };
        let lost = || Error::internal("a condition of an as-of join was lost");
        let of = |expr: &Expr| sides(expr, join.left.schema(), join.right.schema()).ok_or_else(lost);
        let on = join.on.iter().map(of).collect::<Result<Vec<_>>>()?;
        let (left_time, op, right_time) = of(&join.compared)?;
        let near = match op {
            Operator::GtEq => Near::AtOrBefore,
            Operator::Gt => Near::Before,
            Operator::LtEq => Near::AtOrAfter,
            Operator::Lt => Near::After,
            _ => return Err(lost()),
        };
        let n = [left.schema.fields().len(), right.schema.fields().len()];
        let with_time = |keys: Vec<Expr>, time: Expr| keys.into_iter().chain([time]).collect::<Vec<_>>();
        let (left_on, right_on): (Vec<_>, Vec<_>) = on.into_iter().map(|(left, _, right)| (left, right)).unzip();
        let (left, mut left_keys) = self.with_keys(left, &with_time(left_on, left_time), scope)?;
        let (right, mut right_keys) = self.with_keys(right, &with_time(right_on, right_time), scope)?;
        let (Some(left_time), Some(right_time)) = (left_keys.pop(), right_keys.pop()) else { return Err(lost()) };
        let n_all = [left.schema.fields().len(), right.schema.fields().len()];
        let inputs = Inputs { left, right, left_keys, right_keys, times: [left_time, right_time] };
        let flow = match final_wait(join, &inputs, near, scope) {
            Some(waits_ns) => self.final_join(join, inputs, near, waits_ns, scope)?,
            None => self.changing_join(join, inputs, near, scope)?,
        };
        self.without_keys(flow, n, n_all, scope)
    }

    fn final_join(
        &mut self,
        join: &VersionJoin,
        inputs: Inputs,
        near: Near,
        allowed_lateness_ns: i64,
        scope: Scope<'_>,
    ) -> Result<Flow> {
        let right_lateness = inputs.right.lateness;
        let operator = TemporalJoin::new(TemporalJoinConfig {
            left: inputs.left.rows(),
            right: inputs.right.rows(),
            on: inputs.keys(scope)?,
            times: inputs.times,
            at_time_too: near == Near::AtOrBefore,
            keeps_left: join.keeps_left,
            same_time: if join.of_table { SameTime::First } else { SameTime::Last },
            allowed_lateness_ns,
            ttl_ns: scope.settings.lateness.ttl_ns.or(right_lateness.ttl_ns),
        })?;
        // A window closes just before its end, so a row that waits for the end comes after that.
        let is_end = matches!(part_of(inputs.left.schema.field(inputs.times[0])), Some((Part::End, _)));
        let time = Some(inputs.times[0]).filter(|_| !is_end);
        let schema = self.joined(&inputs, &operator.schema(), time, scope)?;
        let operator = operator.with_schema(schema.inner().clone())?;
        Ok(self.wire(inputs, false, &schema, scope).then(operator, schema))
    }

    fn changing_join(&mut self, join: &VersionJoin, inputs: Inputs, near: Near, scope: Scope<'_>) -> Result<Flow> {
        let lateness = kinder(inputs.left.lateness, inputs.right.lateness);
        let operator = AsOfJoin::new(AsOfJoinConfig {
            left: inputs.left.rows(),
            right: inputs.right.rows(),
            on: inputs.keys(scope)?,
            compared: inputs.pair(inputs.times[0], inputs.times[1], scope)?,
            near,
            keeps_left: join.keeps_left,
            ttl_ns: scope.settings.lateness.ttl_ns.or(lateness.ttl_ns),
        })?;
        let schema = self.joined(&inputs, &operator.schema(), None, scope)?;
        let operator = operator.with_schema(schema.inner().clone())?;
        Ok(self.wire(inputs, true, &schema, scope).then(operator, schema))
    }

    /// Returns the columns of the output. Rows come when the watermark passes their time, so no other column is an event
    /// time of the output.
    fn joined(&self, inputs: &Inputs, rows: &SchemaRef, time: Option<usize>, scope: Scope<'_>) -> Result<DFSchema> {
        let both = inputs.left.schema.iter().chain(inputs.right.schema.iter());
        let marked = qualified(both.map(|(qualifier, _)| qualifier.cloned()).collect(), rows);
        let marked = marked.map_err(|e| scope.fail(e))?;
        let plain = unmarked(&marked).map_err(|e| scope.fail(e))?;
        let fields = marked.iter().zip(plain.iter()).enumerate().map(|(index, (marked, (qualifier, plain)))| {
            let field = if Some(index) == time { marked.1 } else { plain };
            (qualifier.cloned(), field.clone())
        });
        DFSchema::new_with_metadata(fields.collect(), HashMap::new()).map_err(|e| scope.fail(e))
    }

    /// Returns a flow that both inputs lead into, by their keys.
    fn wire(&mut self, inputs: Inputs, changing: bool, schema: &DFSchema, scope: Scope<'_>) -> Flow {
        let Inputs { left, right, left_keys, right_keys, .. } = inputs;
        let lateness = kinder(left.lateness, right.lateness);
        let exchange = |keys: Vec<usize>| if keys.is_empty() { Exchange::Gather } else { Exchange::Hash(keys) };
        let left = self.exchange(left, exchange(left_keys), scope);
        let right = self.exchange(right, exchange(right_keys), scope);
        let mut flow = flow_like(Arc::new(schema.clone()), changing, lateness);
        flow.label = "join";
        let feeds = |flow: Flow, input: usize| flow.feeds.into_iter().map(move |feed| Feed { input, ..feed });
        flow.feeds = feeds(left, 0).chain(feeds(right, 1)).collect();
        flow
    }

    /// Returns the table whose versions are joined, where its rows replace each other by key: what it shows at any time
    /// is only the newest of each key, but the join needs all.
    fn table_of(&self, join: &VersionJoin) -> Result<Option<(&'a Table, &'a Reader)>> {
        let mut plan = join.right.as_ref();
        while let (LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_), Some(input)) =
            (plan, plan.inputs().first().copied())
        {
            plan = input;
        }
        let LogicalPlan::TableScan(scan) = plan else { return Ok(None) };
        let Some(Relation::Table(table)) = self.inputs.catalog.get(scan.table_name.table()) else { return Ok(None) };
        if !join.of_table || table.primary_key.is_empty() || table.contract.is_some() {
            return Ok(None);
        }
        let context = Context { catalog: self.inputs.catalog, functions: self.inputs.functions, place: &table.place };
        let reader = table.reader(&context)?;
        Ok(reader.dedup.is_some().then_some((table, reader)))
    }

    fn check_key(&self, table: &Table, join: &VersionJoin, scope: Scope<'_>) -> Result<()> {
        let mut wanted: Vec<String> = table.primary_key.iter().map(normalized).collect();
        let mut compared: Vec<String> = Vec::with_capacity(join.on.len());
        for condition in &join.on {
            if let Some((_, _, Expr::Column(column))) = sides(condition, join.left.schema(), join.right.schema()) {
                compared.push(column.name);
            }
        }
        wanted.sort_unstable();
        compared.sort_unstable();
        if wanted == compared && compared.len() == join.on.len() {
            return Ok(());
        }
        let key = wanted.join(", ");
        let error =
            Error::invalid(format!("'{}' has versions by its key ({key}), so the join compares that", table.name));
        let help = format!("write ON with = for each of ({key}), and put other conditions into WHERE");
        let span = scope.place.find_name(&table.name).unwrap_or_else(|| scope.place.start());
        Err(error.with_help(help).with_place(span))
    }

    /// Lowers the scan of a table to all rows that ever came.
    fn all_versions(
        &mut self,
        plan: &'a LogicalPlan,
        table: (&'a Table, &'a Reader),
        scope: Scope<'a>,
    ) -> Result<Flow> {
        let flow = match plan {
            LogicalPlan::SubqueryAlias(alias) => {
                let mut flow = self.all_versions(&alias.input, table, scope)?;
                let qualifiers = vec![Some(alias.alias.clone()); flow.schema.fields().len()];
                flow.schema = Arc::new(qualified(qualifiers, flow.schema.inner()).map_err(|e| scope.fail(e))?);
                return Ok(flow);
            }
            LogicalPlan::Projection(projection) => {
                let flow = self.all_versions(&projection.input, table, scope)?;
                self.project(flow, &projection.expr, scope)?
            }
            _ => {
                let mut flow = self.rows_of(table.0, table.1, scope)?;
                let LogicalPlan::TableScan(scan) = plan else { return Err(Error::internal("no scan of a table")) };
                let qualifiers = vec![Some(scan.table_name.clone()); flow.schema.fields().len()];
                flow.schema = Arc::new(qualified(qualifiers, flow.schema.inner()).map_err(|e| scope.fail(e))?);
                flow
            }
        };
        let columns = plan.schema().columns();
        if flow.schema.columns() == columns {
            return Ok(flow);
        }
        let exprs: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
        self.project(flow, &exprs, scope)
    }
}

impl Inputs {
    fn pair(
        &self,
        left: usize,
        right: usize,
        scope: Scope<'_>,
    ) -> Result<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)> {
        let of =
            |flow: &Flow, index: usize| scope.physical(&Expr::from(flow.schema.qualified_field(index)), &flow.schema);
        Ok((of(&self.left, left)?, of(&self.right, right)?))
    }

    fn keys(&self, scope: Scope<'_>) -> Result<Pairs> {
        self.left_keys.iter().zip(&self.right_keys).map(|(left, right)| self.pair(*left, *right, scope)).collect()
    }
}

/// Returns how long a join waits for late rows when its answer is final; `None` when it is not.
fn final_wait(join: &VersionJoin, inputs: &Inputs, near: Near, scope: Scope<'_>) -> Option<i64> {
    let Inputs { left, right, times, .. } = inputs;
    let only_come = !left.changing && (join.of_table || !right.changing);
    let is_before = matches!(near, Near::AtOrBefore | Near::Before);
    let have_time = is_time(&left.schema, times[0]) && is_time(&right.schema, times[1]);
    let wants_changes = scope.settings.emit == Some(EmitSetting::Changes);
    if !only_come || !is_before || !have_time || wants_changes {
        return None;
    }
    waits(kinder(left.lateness, right.lateness), scope)
}
