//! What is shared between statements: decides in which order queries are planned, puts views that are read once into
//! their reader, and finds out which columns of every shared relation somebody needs. It never makes a node. Its state
//! lives as long as one call; each query is visited a constant number of times.

use crate::catalog::{Catalog, Relation};
use crate::columns::{Filling, filling};
use crate::declared::Declared;
use crate::errors::from_datafusion;
use crate::functions::Functions;
use crate::optimize::optimized;
use crate::position::{Place, WithPlace};
use crate::settings::Settings;
use crate::subqueries::refuse_rest;
use crate::versions::is_looked_up;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DataFusionError};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, SubqueryAlias, Union};
use headwater_core::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An `INSERT`, or a `SELECT` at the end.
#[derive(Clone)]
pub(crate) struct Insert {
    pub(crate) target: String,
    /// The columns that are listed, or none.
    pub(crate) columns: Vec<String>,
    pub(crate) plan: LogicalPlan,
    pub(crate) settings: Settings,
    pub(crate) place: Place,
}

/// What one plan makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    /// The rows of an insert, by its number.
    Insert(usize),
    /// The rows of a view or of a table between statements.
    Relation(String),
}

/// An optimized plan for one unit.
pub(crate) struct Planned {
    pub(crate) unit: Unit,
    pub(crate) plan: LogicalPlan,
    pub(crate) settings: Settings,
    pub(crate) place: Place,
}

/// Everything that is to be lowered.
pub(crate) struct Shared {
    /// Plans so that each comes after those that it reads.
    pub(crate) plans: Vec<Planned>,
    /// The columns that are needed of each relation.
    pub(crate) required: BTreeMap<String, BTreeSet<usize>>,
}

struct Draft {
    plan: LogicalPlan,
    settings: Settings,
    place: Place,
    /// How often it reads each relation.
    reads: BTreeMap<String, usize>,
}

/// Orders and optimizes the queries of a pipeline.
pub(crate) fn share(catalog: &Catalog, inserts: &[Insert], functions: &Functions) -> Result<Shared> {
    let drafts = drafts(catalog, inserts)?;
    let order = readers_first(&drafts, catalog)?;
    let mut n_readers: BTreeMap<&str, usize> = BTreeMap::new();
    for unit in &order {
        for (name, n_reads) in &drafts[unit].reads {
            *n_readers.entry(name).or_default() += n_reads;
        }
    }
    let inlined: BTreeSet<&str> = drafts
        .iter()
        .flat_map(|(unit, draft)| draft.reads.keys().map(move |name| (unit, draft, name.as_str())))
        .filter(|(unit, draft, name)| {
            let same =
                matches!(catalog.get(name), Some(Relation::View { settings, .. }) if *settings == draft.settings);
            // A view of a lookup table cannot be a stream with several readers: each reader asks for its own rows.
            order.contains(unit) && same && (n_readers[name] == 1 || is_looked_up(name, catalog))
        })
        .map(|(_, _, name)| name)
        .collect();
    let mut required: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut plans = Vec::new();
    for unit in order {
        if matches!(&unit, Unit::Relation(name) if inlined.contains(name.as_str())) {
            continue;
        }
        let draft = &drafts[&unit];
        let fail = |error| from_datafusion(error, &draft.place, &functions.all_names());
        let plan = inline(draft.plan.clone(), catalog, &inlined).map_err(fail)?;
        let plan = match &unit {
            Unit::Insert(_) => plan,
            Unit::Relation(name) => match required.get_mut(name) {
                Some(required) => {
                    if let Some(Relation::Memory { table, .. }) = catalog.get(name) {
                        required.extend(table.own_columns());
                    }
                    narrowed(plan, required).map_err(fail)?
                }
                // The optimizer found that its readers never read it.
                None => continue,
            },
        };
        let plan = optimized(plan, &functions.config).map_err(fail)?;
        refuse_rest(&plan, &draft.place).map_err(fail)?;
        collect_required(&plan, catalog, &mut required).map_err(fail)?;
        plans.push(Planned { unit, plan, settings: draft.settings.clone(), place: draft.place.clone() });
    }
    plans.reverse();
    Ok(Shared { plans, required })
}

fn drafts(catalog: &Catalog, inserts: &[Insert]) -> Result<BTreeMap<Unit, Draft>> {
    let mut drafts = BTreeMap::new();
    let mut add = |unit: Unit, plan: LogicalPlan, settings: &Settings, place: &Place| -> Result<()> {
        let reads = reads_of(&plan).map_err(|e| from_datafusion(e, place, &[]))?;
        drafts.insert(unit, Draft { plan, settings: settings.clone(), place: place.clone(), reads });
        Ok(())
    };
    for (name, relation) in catalog.iter() {
        match relation {
            Relation::Table(_) => {}
            Relation::View { plan, settings, place, .. } => {
                add(Unit::Relation(name.clone()), plan.as_ref().clone(), settings, place)?;
            }
            Relation::Memory { schema, place, table } => {
                let sources: Vec<&Insert> = inserts.iter().filter(|insert| insert.target == *name).collect();
                let Some(first) = sources.first() else { continue };
                let plan = memory_plan(&sources, schema, &table.declared)?;
                add(Unit::Relation(name.clone()), plan, &first.settings, place)?;
            }
        }
    }
    for (number, insert) in inserts.iter().enumerate() {
        if !matches!(catalog.get(&insert.target), Some(Relation::Memory { .. })) {
            add(Unit::Insert(number), insert.plan.clone(), &insert.settings, &insert.place)?;
        }
    }
    Ok(drafts)
}

/// Lays the inserts of a table between statements together, under its columns.
fn memory_plan(inserts: &[&Insert], schema: &SchemaRef, declared: &Declared) -> Result<LogicalPlan> {
    let mut inputs = Vec::with_capacity(inserts.len());
    for insert in inserts {
        let Filling { given, all, .. } = filling(insert, schema, Some(declared), insert.plan.schema())?;
        let plan = LogicalPlanBuilder::from(insert.plan.clone()).project(given);
        let plan = match all {
            Some(all) => plan.and_then(|plan| plan.project(all)),
            None => plan,
        };
        let plan = plan.and_then(LogicalPlanBuilder::build);
        inputs.push(Arc::new(plan.map_err(|e| from_datafusion(e, &insert.place, &[]))?));
    }
    match inputs.len() {
        1 => Ok(Arc::unwrap_or_clone(inputs.swap_remove(0))),
        _ => Union::try_new(inputs).map(LogicalPlan::Union).map_err(|e| from_datafusion(e, &inserts[0].place, &[])),
    }
}

fn reads_of(plan: &LogicalPlan) -> Result<BTreeMap<String, usize>, DataFusionError> {
    let mut reads = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            *reads.entry(scan.table_name.table().to_owned()).or_default() += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(reads)
}

/// Orders what is reachable from the sinks so that each reader comes before what it reads.
fn readers_first(drafts: &BTreeMap<Unit, Draft>, catalog: &Catalog) -> Result<Vec<Unit>> {
    let mut finished: Vec<Unit> = Vec::new();
    let mut open: Vec<Unit> = Vec::new();
    for unit in drafts.keys().filter(|unit| matches!(unit, Unit::Insert(_))) {
        visit(unit, drafts, catalog, &mut finished, &mut open)?;
    }
    finished.reverse();
    Ok(finished)
}

fn visit(
    unit: &Unit,
    drafts: &BTreeMap<Unit, Draft>,
    catalog: &Catalog,
    finished: &mut Vec<Unit>,
    open: &mut Vec<Unit>,
) -> Result<()> {
    if finished.contains(unit) {
        return Ok(());
    }
    let draft = &drafts[unit];
    if open.contains(unit) {
        let Unit::Relation(name) = unit else { return Err(Error::internal("an insert is read")) };
        let error = Error::invalid(format!("the table '{name}' is filled from itself"));
        return Err(error.with_help("insert into another table").with_place(draft.place.start()));
    }
    open.push(unit.clone());
    for name in draft.reads.keys() {
        match catalog.get(name) {
            Some(Relation::Table(_)) => {}
            Some(_) if drafts.contains_key(&Unit::Relation(name.clone())) => {
                visit(&Unit::Relation(name.clone()), drafts, catalog, finished, open)?;
            }
            _ => {
                let error = Error::invalid(format!("nothing is inserted into the table '{name}'"));
                let help = format!("add INSERT INTO {name} SELECT …, or say WITH (connector = '…') in its declaration");
                let span = draft.place.find_name(name).unwrap_or_else(|| draft.place.start());
                return Err(error.with_help(help).with_place(span));
            }
        }
    }
    open.pop();
    finished.push(unit.clone());
    Ok(())
}

fn inline(plan: LogicalPlan, catalog: &Catalog, inlined: &BTreeSet<&str>) -> Result<LogicalPlan, DataFusionError> {
    let transformed = plan.transform_down_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else { return Ok(Transformed::no(node)) };
        let name = scan.table_name.table();
        match catalog.get(name) {
            Some(Relation::View { plan, .. }) if inlined.contains(name) => {
                let alias = SubqueryAlias::try_new(Arc::new(plan.as_ref().clone()), scan.table_name.clone())?;
                Ok(Transformed::yes(LogicalPlan::SubqueryAlias(alias)))
            }
            _ => Ok(Transformed::no(node)),
        }
    })?;
    Ok(transformed.data)
}

/// Keeps the columns that somebody needs; at least one, so that rows can be counted.
fn narrowed(plan: LogicalPlan, required: &BTreeSet<usize>) -> Result<LogicalPlan, DataFusionError> {
    let columns: Vec<Column> = plan.schema().columns();
    if required.len() == columns.len() {
        return Ok(plan);
    }
    let exprs = required.iter().map(|index| Expr::Column(columns[*index].clone()));
    LogicalPlanBuilder::from(plan).project(exprs)?.build()
}

fn collect_required(
    plan: &LogicalPlan,
    catalog: &Catalog,
    required: &mut BTreeMap<String, BTreeSet<usize>>,
) -> Result<(), DataFusionError> {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let name = scan.table_name.table().to_owned();
            debug_assert!(catalog.get(&name).is_some());
            let columns = required.entry(name).or_default();
            match &scan.projection {
                Some(projection) => columns.extend(projection),
                None => columns.extend(0..scan.source.schema().fields().len()),
            }
            if columns.is_empty() {
                columns.insert(0);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(())
}
