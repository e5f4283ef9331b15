//! Optimized logical plans to nodes of a graph. Consecutive operators become one chain, and a chain ends where rows
//! must change hands. A plan that occurs twice becomes one node with two readers. It never rewrites a plan; its state
//! is the graph while it grows.

mod aggregate;
mod answers;
mod columns;
mod extension;
mod flow;
mod join;
mod lookup;
mod over;
mod panes;
mod rows;
mod sink;
mod source;
mod temporal_filter;
mod time_join;
mod unnest;
mod values;
mod version_join;
mod windows;

use crate::catalog::{Catalog, Context, Relation};
use crate::errors::from_datafusion;
use crate::functions::Functions;
use crate::now::asks_for_now;
use crate::position::{Place, WithPlace};
use crate::settings::{Lateness, Settings};
use crate::share::{Insert, Planned, Shared, Unit};
use crate::version_join::VersionJoin;
use crate::windows::AssignWindows;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError, TableReference};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use flow::{Flow, Wiring};
use headwater_core::{Error, Graph, NodeId, Registry, Result};
pub(crate) use sink::STDOUT;
use sink::SinkNode;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// What lowering reads: it is the same for all statements.
pub(crate) struct Inputs<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) functions: &'a Functions,
    pub(crate) registry: &'a Registry,
    pub(crate) inserts: &'a [Insert],
    pub(crate) shared: &'a Shared,
    pub(crate) base: &'a Path,
}

/// A graph, and what it does not say itself.
pub(crate) struct Lowered {
    pub(crate) graph: Graph,
    /// For sinks, and for sources whose records are changes, the key that names a row.
    pub(crate) keys: BTreeMap<NodeId, Vec<String>>,
}

/// Makes the graph of all plans.
pub(crate) fn lower(inputs: &Inputs<'_>) -> Result<Lowered> {
    let mut lowering = Lowering::new(inputs)?;
    for planned in &inputs.shared.plans {
        lowering.unit(planned)?;
    }
    let Lowering { wiring, keys, .. } = lowering;
    wiring.graph.check()?;
    Ok(Lowered { graph: wiring.graph, keys })
}

struct Lowering<'a> {
    inputs: &'a Inputs<'a>,
    wiring: Wiring,
    relations: BTreeMap<String, Flow>,
    /// Tables of connectors as they are read, before rows of one key replace each other.
    sources: BTreeMap<String, Flow>,
    sinks: BTreeMap<String, SinkNode>,
    n_readers: BTreeMap<String, usize>,
    keys: BTreeMap<NodeId, Vec<String>>,
    /// Plans that occur more than once under the same settings, and their flow once there is one.
    repeated: HashMap<(&'a Settings, &'a LogicalPlan), Option<Flow>>,
    /// A plan that was lowered before it was clear what for.
    prepared: Option<(&'a LogicalPlan, Flow)>,
}

/// The statement that is being lowered.
#[derive(Clone, Copy)]
struct Scope<'a> {
    name: &'a str,
    settings: &'a Settings,
    place: &'a Place,
    functions: &'a Functions,
}

impl Scope<'_> {
    fn fail(&self, error: DataFusionError) -> Error {
        from_datafusion(error, self.place, &self.functions.all_names())
    }

    fn refuse(&self, what: &str, help: &str) -> Error {
        let error = Error::invalid(format!("{what} is not supported")).with_help(help);
        error.with_place(self.place.start())
    }

    fn physical(&self, expr: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        answers::refuse_calls([expr], *self)?;
        if let Some(name) = asks_for_now(expr) {
            return Err(self.misplaced_now(name));
        }
        let planning = PhysicalPlanningContext::default();
        create_physical_expr(expr, schema, &ExecutionProps::new(), &planning).map_err(|e| self.fail(e))
    }
}

/// Names the columns of an operator as the plan does.
fn qualified(qualifiers: Vec<Option<TableReference>>, schema: &SchemaRef) -> Result<DFSchema, DataFusionError> {
    DFSchema::from_field_specific_qualified_schema(qualifiers, schema)
}

impl<'a> Lowering<'a> {
    fn new(inputs: &'a Inputs<'a>) -> Result<Self> {
        let mut n_readers: BTreeMap<String, usize> = BTreeMap::new();
        let mut n_seen: HashMap<(&Settings, &LogicalPlan), usize> = HashMap::new();
        for Planned { plan, settings, .. } in &inputs.shared.plans {
            plan.apply(|node| {
                if let LogicalPlan::TableScan(scan) = node {
                    *n_readers.entry(scan.table_name.table().to_owned()).or_default() += 1;
                    return Ok(TreeNodeRecursion::Continue);
                }
                let n = n_seen.entry((settings, node)).or_default();
                *n += 1;
                // What is inside of a repeated plan is repeated with it.
                Ok(if *n > 1 { TreeNodeRecursion::Jump } else { TreeNodeRecursion::Continue })
            })
            .map_err(|error| Error::internal(error.strip_backtrace()))?;
        }
        let repeated = n_seen.into_iter().filter(|(_, n)| *n > 1).map(|(key, _)| (key, None)).collect();
        let (wiring, relations, sources, sinks, keys) = Default::default();
        Ok(Self { inputs, wiring, relations, sources, sinks, n_readers, keys, repeated, prepared: None })
    }

    fn unit(&mut self, planned: &'a Planned) -> Result<()> {
        let name = match &planned.unit {
            Unit::Insert(number) => self.inputs.inserts[*number].target.as_str(),
            Unit::Relation(name) => name.as_str(),
        };
        let functions = self.inputs.functions;
        let scope = Scope { name, settings: &planned.settings, place: &planned.place, functions };
        let flow = self.exact(&planned.plan, scope)?;
        match &planned.unit {
            Unit::Insert(number) => self.write(&self.inputs.inserts[*number], flow, scope),
            Unit::Relation(name) => {
                let flow = match self.inputs.catalog.get(name) {
                    Some(Relation::Memory { table, .. }) => self.stored(table, flow, scope)?,
                    _ => flow,
                };
                let kind =
                    if matches!(self.inputs.catalog.get(name), Some(Relation::View { .. })) { "view" } else { "table" };
                let is_shared = self.n_readers.get(name).is_some_and(|n| *n > 1);
                let flow = if is_shared { self.wiring.seal(flow, &format!("{kind}_{name}")) } else { flow };
                self.relations.insert(name.clone(), flow);
                Ok(())
            }
        }
    }

    fn plan(&mut self, plan: &'a LogicalPlan, scope: Scope<'a>) -> Result<Flow> {
        let key = (scope.settings, plan);
        let Some(known) = self.repeated.get(&key) else { return self.node(plan, scope) };
        if let Some(flow) = known {
            return Ok(flow.clone());
        }
        let flow = self.node(plan, scope)?;
        let flow = self.seal(flow, scope);
        self.repeated.insert(key, Some(flow.clone()));
        Ok(flow)
    }

    /// Lowers a plan to its own columns and no others: a scan may leave more than were asked for, which whatever
    /// computes columns does not mind.
    fn exact(&mut self, plan: &'a LogicalPlan, scope: Scope<'a>) -> Result<Flow> {
        let flow = self.plan(plan, scope)?;
        self.columns_of(plan, flow, scope)
    }

    fn columns_of(&mut self, plan: &LogicalPlan, flow: Flow, scope: Scope<'_>) -> Result<Flow> {
        let columns = plan.schema().columns();
        if flow.schema.columns() == columns {
            return Ok(flow);
        }
        let exprs: Vec<Expr> = columns.into_iter().map(Expr::Column).collect();
        self.project(flow, &exprs, scope)
    }

    fn seal(&mut self, flow: Flow, scope: Scope<'_>) -> Flow {
        let name = format!("{}_{}", scope.name, flow.label);
        self.wiring.seal(flow, &name)
    }

    fn exchange(&mut self, flow: Flow, exchange: headwater_core::Exchange, scope: Scope<'_>) -> Flow {
        let name = format!("{}_{}", scope.name, flow.label);
        self.wiring.exchange(flow, exchange, &name)
    }

    fn node(&mut self, plan: &'a LogicalPlan, scope: Scope<'a>) -> Result<Flow> {
        match plan {
            LogicalPlan::Aggregate(aggregate) => answers::refuse_calls(&aggregate.aggr_expr, scope)?,
            LogicalPlan::Window(window) => answers::refuse_calls(&window.window_expr, scope)?,
            _ => {}
        }
        if let Some(join) = VersionJoin::of(plan) {
            return self.version_join(join, scope);
        }
        if let Some(assign) = AssignWindows::of(plan) {
            return self.assign_windows(assign, scope);
        }
        match plan {
            LogicalPlan::Projection(projection) => self.projection(projection, scope),
            LogicalPlan::Filter(filter) => self.filter(filter, scope),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, scope),
            LogicalPlan::Join(join) => self.join(join, scope),
            LogicalPlan::Union(union) => self.union(union, scope),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, scope),
            LogicalPlan::TableScan(scan) => self.scan(scan, scope),
            LogicalPlan::SubqueryAlias(alias) => {
                let mut flow = self.plan(&alias.input, scope)?;
                let qualifiers = vec![Some(alias.alias.clone()); flow.schema.fields().len()];
                flow.schema = Arc::new(qualified(qualifiers, flow.schema.inner()).map_err(|e| scope.fail(e))?);
                Ok(flow)
            }
            LogicalPlan::Values(values) => self.values(&values.values, &values.schema, scope),
            LogicalPlan::EmptyRelation(empty) => {
                let rows = if empty.produce_one_row { vec![Vec::new()] } else { Vec::new() };
                self.values(&rows, &empty.schema, scope)
            }
            LogicalPlan::Subquery(subquery) => self.plan(&subquery.subquery, scope),
            LogicalPlan::Extension(extension) => self.extension(extension, scope),
            LogicalPlan::Distinct(_) => Err(scope.refuse("this DISTINCT", "use GROUP BY")),
            // A table has no order: inside of a query it means nothing unless a LIMIT follows.
            LogicalPlan::Sort(sort) => self.exact(&sort.input, scope),
            LogicalPlan::Limit(limit) => self.limit(limit, scope),
            LogicalPlan::Window(window) => self.window(window, scope),
            LogicalPlan::RecursiveQuery(_) => Err(scope.refuse("WITH RECURSIVE", "write the steps out")),
            LogicalPlan::Repartition(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_) => Err(scope.refuse("this statement inside of a query", "write a SELECT")),
        }
    }

    fn scan(&mut self, scan: &'a datafusion::logical_expr::TableScan, scope: Scope<'a>) -> Result<Flow> {
        let name = scan.table_name.table();
        let mut flow = match self.relations.get(name) {
            Some(flow) => flow.clone(),
            None => self.read(name, scope)?,
        };
        let qualifiers = vec![Some(scan.table_name.clone()); flow.schema.fields().len()];
        flow.schema = Arc::new(qualified(qualifiers, flow.schema.inner()).map_err(|e| scope.fail(e))?);
        Ok(flow)
    }

    fn read(&mut self, name: &str, scope: Scope<'a>) -> Result<Flow> {
        let Some(Relation::Table(table)) = self.inputs.catalog.get(name) else {
            return Err(Error::internal(format!("the relation '{name}' was not planned")));
        };
        if table.is_lookup() {
            return Err(lookup::refuse_reading(table, scope));
        }
        let context = Context { catalog: self.inputs.catalog, functions: self.inputs.functions, place: &table.place };
        let flow = self.source(table, table.reader(&context)?, scope)?;
        let is_shared = self.n_readers.get(name).is_some_and(|n| *n > 1);
        let flow = if is_shared { self.wiring.seal(flow, &format!("{name}_dedup")) } else { flow };
        self.relations.insert(name.to_owned(), flow.clone());
        Ok(flow)
    }
}

/// What two inputs together say about late rows and about what is kept: the kinder of both.
fn kinder(a: Lateness, b: Lateness) -> Lateness {
    use crate::settings::LateSetting::Update;
    let late = if a.late == Some(Update) || b.late == Some(Update) { Some(Update) } else { a.late.or(b.late) };
    // What one of them wants to keep for ever is kept for ever.
    let ttl_ns = a.ttl_ns.zip(b.ttl_ns).map(|(a, b)| a.max(b));
    Lateness { late, allowed_ns: a.allowed_ns.max(b.allowed_ns), ttl_ns }
}
