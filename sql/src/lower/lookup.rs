//! Lowers joins with a table that is looked up: the rows of the other side ask for theirs, as they come.
//!
//! The optimizer may have moved conditions and computed columns to the side of the table; they are done to the rows
//! that were found. Equalities that cannot be part of the key become conditions of the join.

use super::flow::{Feed, Flow, flow_like};
use super::{Lowering, Scope};
use crate::catalog::Relation;
use crate::position::WithPlace;
use crate::table::Table;
use crate::versions::{AsOf, take_as_of};
use crate::windows::is_event_time;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ExprSchema, JoinType, NullEquality};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan, TryCast};
use headwater_core::{AsyncOperatorSpec, Error, Exchange, LookupColumns, NodeBody, Result};
use headwater_operators::{FoundStep, LookupJoin, LookupJoinConfig, LookupKind};
use std::sync::Arc;

/// One side of a join that is looked up.
struct LookedUp<'a> {
    table: &'a Table,
    /// Everything from the scan of the table up, the scan first.
    layers: Vec<&'a LogicalPlan>,
}

/// One equality of the join: the value that comes in, the expression over the table, and the declared column that it
/// stands for, if it does.
struct Equality {
    value: Expr,
    found: Expr,
    column: Option<usize>,
}

impl<'a> Lowering<'a> {
    /// Lowers a join with a lookup table; `None` where both sides are read.
    pub(super) fn lookup_join(&mut self, join: &'a Join, scope: Scope<'a>) -> Result<Option<Flow>> {
        let (asking, looked, on, swapped) = match (self.looked_up(&join.left), self.looked_up(&join.right)) {
            (None, None) => return Ok(None),
            (None, Some(looked)) => (&join.left, looked, join.on.clone(), false),
            (Some(looked), None) => {
                let swapped = join.on.iter().map(|(left, right)| (right.clone(), left.clone()));
                (&join.right, looked, swapped.collect(), true)
            }
            (Some(looked), Some(_)) => {
                return Err(refuse(&looked, "is joined with another lookup table", "join both with a stream", scope));
            }
        };
        let kind = kind(join, swapped).ok_or_else(|| {
            let help = "write FROM rows JOIN table ON …, or rows LEFT JOIN table ON …";
            refuse(&looked, "is not read, so not all of its rows can be kept", help, scope)
        })?;
        let flow = self.exact(asking, scope)?;
        let (versions, rest) = take_as_of(join.filter.as_ref());
        check_versions(&versions, &flow, &looked, scope)?;
        if join.null_equality == NullEquality::NullEqualsNull {
            return Err(refuse(&looked, "is compared with IS NOT DISTINCT FROM", "compare with =", scope));
        }
        let (config, schema) = config(kind, &looked, on, rest, &flow, scope)?;
        let exchange = if flow.changing { by_key(&flow, join, swapped) } else { Exchange::Forward };
        let operator = Arc::new(LookupJoin::new(config)?);
        let mut flow = self.asynchronous(flow, exchange, operator, &format!("lookup_{}", looked.table.name), scope);
        flow.schema = Arc::new(schema);
        flow.label = "lookup";
        let columns = join.schema.columns();
        if flow.schema.columns() == columns {
            return Ok(Some(flow));
        }
        let exprs: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
        self.project(flow, &exprs, scope).map(Some)
    }

    /// Ends a chain and puts an asynchronous operator behind it; the columns are still those of the chain.
    pub(super) fn asynchronous(
        &mut self,
        flow: Flow,
        exchange: Exchange,
        operator: Arc<dyn AsyncOperatorSpec>,
        name: &str,
        scope: Scope<'_>,
    ) -> Flow {
        let (schema, changing, lateness) = (flow.schema.clone(), flow.changing, flow.lateness);
        let flow = self.exchange(flow, exchange, scope);
        let name = self.wiring.unique(&format!("{}_{name}", scope.name));
        let parallelism_max = self.wiring.parallelism_max(&flow.feeds);
        let node = self.wiring.graph.add(name, NodeBody::Async(operator), parallelism_max);
        self.wiring.connect(node, flow.feeds);
        let mut answered = flow_like(schema, changing, lateness);
        answered.feeds = vec![Feed { from: node, input: 0, exchange: Exchange::Forward, changing }];
        answered
    }

    fn looked_up(&self, plan: &'a LogicalPlan) -> Option<LookedUp<'a>> {
        let mut layers = vec![plan];
        loop {
            match *layers.last()? {
                LogicalPlan::SubqueryAlias(alias) => layers.push(alias.input.as_ref()),
                LogicalPlan::Filter(filter) => layers.push(filter.input.as_ref()),
                LogicalPlan::Projection(projection) => layers.push(projection.input.as_ref()),
                LogicalPlan::TableScan(scan) => {
                    let Some(Relation::Table(table)) = self.inputs.catalog.get(scan.table_name.table()) else {
                        return None;
                    };
                    layers.reverse();
                    return table.is_lookup().then_some(LookedUp { table, layers });
                }
                _ => return None,
            }
        }
    }
}

/// Returns the refusal to read a lookup table.
pub(super) fn refuse_reading(table: &Table, scope: Scope<'_>) -> Error {
    let name = &table.name;
    let error = Error::invalid(format!("the lookup table '{name}' is asked by key and cannot be read"));
    let help = format!("join it: FROM rows JOIN {name} ON rows.key = {name}.key; or declare type = 'source'");
    error.with_help(help).with_place(scope.place.find_name(name).unwrap_or_else(|| scope.place.start()))
}

fn refuse(looked: &LookedUp<'_>, what: &str, help: &str, scope: Scope<'_>) -> Error {
    let name = &looked.table.name;
    let error = Error::invalid(format!("the lookup table '{name}' {what}")).with_help(help);
    error.with_place(scope.place.find_name(name).unwrap_or_else(|| scope.place.start()))
}

fn kind(join: &Join, swapped: bool) -> Option<LookupKind> {
    match (join.join_type, swapped) {
        (JoinType::Inner, _) => Some(LookupKind::Inner),
        (JoinType::Left, false) | (JoinType::Right, true) => Some(LookupKind::Left),
        (JoinType::LeftSemi, false) | (JoinType::RightSemi, true) => Some(LookupKind::Semi),
        (JoinType::LeftAnti, false) | (JoinType::RightAnti, true) if !join.null_aware => Some(LookupKind::Anti),
        _ => None,
    }
}

/// The answer is of now, so nobody may ask for that of an event time.
fn check_versions(versions: &[AsOf], flow: &Flow, looked: &LookedUp<'_>, scope: Scope<'_>) -> Result<()> {
    let of_event_time = |version: &&AsOf| {
        let columns = version.time.column_refs();
        let fields = columns.into_iter().filter_map(|column| flow.schema.field_from_column(column).ok());
        fields.into_iter().any(|field| is_event_time(field))
    };
    match versions.iter().find(of_event_time) {
        None => Ok(()),
        Some(_) => {
            let help = "write FOR SYSTEM_TIME AS OF PROCTIME(), or read the table's history as a stream";
            Err(refuse(looked, "answers as of now, not as of an event time", help, scope))
        }
    }
}

fn config(
    kind: LookupKind,
    looked: &LookedUp<'_>,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    flow: &Flow,
    scope: Scope<'_>,
) -> Result<(LookupJoinConfig, DFSchema)> {
    let looker = looked.table.looker()?;
    let table = looker.spec.schema();
    let (keys, columns, rest) = keys(looked, on, &flow.schema, scope)?;
    let side = looked.layers.last().ok_or_else(|| Error::internal("a lookup without a table"))?.schema();
    let both = flow.schema.join(&nullable(side, kind)).map_err(|e| scope.fail(e))?;
    let filter = conjunction(rest.into_iter().chain(filter));
    let filter = filter.map(|filter| scope.physical(&filter, &both)).transpose()?;
    let schema = match kind {
        LookupKind::Inner | LookupKind::Left => both.clone(),
        LookupKind::Semi | LookupKind::Anti => flow.schema.as_ref().clone(),
    };
    let wanted = match looked.layers.first() {
        Some(LogicalPlan::TableScan(scan)) => scan.projection.clone(),
        _ => None,
    };
    let config = LookupJoinConfig {
        kind,
        lookup: looker.spec.clone(),
        columns: LookupColumns { key: columns, wanted: wanted.unwrap_or_else(|| (0..table.fields().len()).collect()) },
        keys: keys.iter().map(|key| scope.physical(key, &flow.schema)).collect::<Result<_>>()?,
        steps: steps(looked, scope)?,
        filter,
        both: both.inner().clone(),
        schema: schema.inner().clone(),
        settings: looker.settings.clone(),
    };
    Ok((config, schema))
}

/// Splits the equalities into keys with their columns, and conditions.
fn keys(
    looked: &LookedUp<'_>,
    on: Vec<(Expr, Expr)>,
    asking: &DFSchema,
    scope: Scope<'_>,
) -> Result<(Vec<Expr>, Vec<usize>, Vec<Expr>)> {
    let looker = looked.table.looker()?;
    let table = looker.spec.schema();
    let equalities = on.into_iter().map(|(value, found)| {
        let column = declared_column(&looked.layers, &found);
        Equality { value, found, column }
    });
    let mut equalities: Vec<Equality> = equalities.collect();
    let mut candidates: Vec<usize> = equalities.iter().filter_map(|equality| equality.column).collect();
    candidates.sort_unstable();
    candidates.dedup();
    if candidates.is_empty() {
        let help = format!("add ON row.key = {}.key", looked.table.name);
        return Err(refuse(looked, "is joined by no equality with one of its columns", &help, scope));
    }
    let columns = looker.spec.key(&candidates).map_err(|error| {
        error.with_place(scope.place.find_name(&looked.table.name).unwrap_or_else(|| scope.place.start()))
    })?;
    let mut keys = Vec::with_capacity(columns.len());
    for column in &columns {
        let Some(at) = equalities.iter().position(|equality| equality.column == Some(*column)) else {
            return Err(Error::internal(format!("nothing is compared with the column {column}")));
        };
        let value = equalities.remove(at).value;
        let wanted = table.field(*column).data_type();
        let given = value.get_type(asking).map_err(|e| scope.fail(e))?;
        // A value that the column's type cannot hold equals none of its values.
        let fits = given == *wanted;
        let cast = || Expr::TryCast(TryCast::new(Box::new(value.clone()), wanted.clone()));
        keys.push(if fits { value.clone() } else { cast() });
    }
    let rest = equalities.into_iter().map(|equality| equality.value.eq(equality.found)).collect();
    Ok((keys, columns, rest))
}

/// Returns the declared column that an expression over the last of these layers stands for.
fn declared_column(layers: &[&LogicalPlan], expr: &Expr) -> Option<usize> {
    let (plan, below) = layers.split_last()?;
    let column = match expr {
        Expr::Column(column) => column,
        Expr::Alias(alias) => return declared_column(layers, &alias.expr),
        Expr::Cast(cast) => {
            let from = cast.expr.get_type(plan.schema()).ok()?;
            return if keeps_equality(&from, cast.field.data_type()) {
                declared_column(layers, &cast.expr)
            } else {
                None
            };
        }
        _ => return None,
    };
    let index = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan.projection.as_ref().map_or(index, |columns| columns[index])),
        LogicalPlan::Projection(projection) => declared_column(below, &projection.expr[index]),
        _ => {
            let input = below.last()?;
            declared_column(below, &Expr::from(input.schema().qualified_field(index)))
        }
    }
}

/// Whether two values are equal exactly when they are after a cast from one type to the other, and a value that has no
/// counterpart in the first type is found out by a cast back.
fn keeps_equality(from: &DataType, to: &DataType) -> bool {
    let is_text = |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    from == to || (from.is_integer() && to.is_integer()) || (is_text(from) && is_text(to))
}

fn steps(looked: &LookedUp<'_>, scope: Scope<'_>) -> Result<Vec<FoundStep>> {
    let mut steps = Vec::new();
    for plan in &looked.layers {
        match plan {
            LogicalPlan::Filter(filter) => {
                steps.push(FoundStep::Filter(scope.physical(&filter.predicate, filter.input.schema())?));
            }
            LogicalPlan::Projection(projection) => {
                let input = projection.input.schema();
                let exprs = projection.expr.iter().map(|expr| scope.physical(expr, input)).collect::<Result<_>>()?;
                steps.push(FoundStep::Project(exprs, projection.schema.inner().clone()));
            }
            _ => {}
        }
    }
    Ok(steps)
}

/// Lets every column be null where a row may have found nothing.
fn nullable(schema: &DFSchema, kind: LookupKind) -> DFSchema {
    if kind != LookupKind::Left {
        return schema.clone();
    }
    let fields = schema.iter().map(|(qualifier, field)| {
        let field: Field = field.as_ref().clone().with_nullable(true);
        (qualifier.cloned(), Arc::new(field))
    });
    DFSchema::new_with_metadata(fields.collect(), schema.metadata().clone()).unwrap_or_else(|_| schema.clone())
}

/// A row and its retraction must meet in one subtask.
fn by_key(flow: &Flow, join: &Join, swapped: bool) -> Exchange {
    let side = |(left, right): &(Expr, Expr)| if swapped { right.clone() } else { left.clone() };
    let place = |expr: Expr| match expr {
        Expr::Column(column) => flow.schema.maybe_index_of_column(&column),
        _ => None,
    };
    let columns: Vec<usize> = join.on.iter().filter_map(|pair| place(side(pair))).collect();
    if columns.is_empty() { Exchange::Gather } else { Exchange::Hash(columns) }
}
