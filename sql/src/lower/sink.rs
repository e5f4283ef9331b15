//! Lowers an `INSERT`: matches the columns of the query with those of the table, checks that the sink can hold what
//! comes, and connects it. Several inserts into one table lead to one node.

use super::flow::Flow;
use super::{Lowering, Scope};
use crate::catalog::Relation;
use crate::columns::filling;
use crate::declared::Declared;
use crate::errors::at_ident;
use crate::memory::Memory;
use crate::near::help_for_name;
use crate::parser::normalized;
use crate::position::WithPlace;
use crate::share::Insert;
use crate::table::Table;
use crate::types::plain;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use headwater_core::{Changes, Error, Exchange, NodeBody, NodeId, Options, Result, SinkSpec, TableDefinition};
use headwater_operators::{self as operators, Deletions};
use std::sync::Arc;

/// The name of the connector that shows the result of a bare `SELECT`.
pub(crate) const STDOUT: &str = "stdout";

/// A sink that is in the graph.
pub(super) struct SinkNode {
    node: NodeId,
    schema: SchemaRef,
    key: Vec<usize>,
    spec: Arc<dyn SinkSpec>,
}

impl<'a> Lowering<'a> {
    pub(super) fn write(&mut self, insert: &Insert, flow: Flow, scope: Scope<'a>) -> Result<()> {
        // Each bare SELECT shows columns of its own; inserts into one table meet in one sink.
        let is_shown = insert.target == STDOUT && self.inputs.catalog.get(STDOUT).is_none();
        if is_shown || !self.sinks.contains_key(&insert.target) {
            let node = self.sink(insert, scope)?;
            self.sinks.insert(insert.target.clone(), node);
        }
        let SinkNode { node, schema, key, spec } = &self.sinks[&insert.target];
        let (node, schema, key, mut spec) = (*node, schema.clone(), key.clone(), spec.clone());
        if flow.changing {
            if let Some(other) = spec.for_changes() {
                spec = other;
                self.wiring.graph.nodes[node].body = NodeBody::Sink(spec.clone());
                self.sinks.entry(insert.target.clone()).and_modify(|sink| sink.spec = spec.clone());
            }
            check_changes(insert, &key, spec.as_ref())?;
        }
        let declared = match self.inputs.catalog.get(&insert.target) {
            Some(Relation::Table(table)) => table.declared.as_ref(),
            _ => None,
        };
        let filling = filling(insert, &schema, declared, &flow.schema)?;
        let mut flow = if filling.is_identity { flow } else { self.project(flow, &filling.given, scope)? };
        if let Some(all) = &filling.all {
            flow = self.project(flow, all, scope)?;
        }
        let may_lack = |index: &usize| !schema.field(*index).is_nullable() && flow.schema.field(*index).is_nullable();
        let required: Vec<usize> = (0..schema.fields().len()).filter(may_lack).collect();
        let flow = not_null(flow, required)?;
        let exchange = match (spec.parallelism_max(), key.is_empty()) {
            (0 | 1, _) => Exchange::Gather,
            (_, false) => Exchange::Hash(key),
            (_, true) => Exchange::Forward,
        };
        let flow = self.exchange(flow, exchange, scope);
        self.wiring.connect(node, flow.feeds);
        Ok(())
    }

    /// Adds what a table between statements does with its rows.
    pub(super) fn stored(&mut self, table: &Memory, flow: Flow, scope: Scope<'_>) -> Result<Flow> {
        let fields = table.declared.schema.fields();
        let place = |index: &usize| flow.schema.index_of_column_by_name(None, fields[*index].name());
        let may_lack = |at: &usize| flow.schema.field(*at).is_nullable();
        let required = table.required().iter().filter_map(place).filter(may_lack).collect();
        let dedup = table
            .dedup
            .as_ref()
            .and_then(|(key, version)| Some((key.iter().map(place).collect::<Option<Vec<usize>>>()?, place(version)?)));
        let flow = not_null(flow, required)?;
        let Some((key, version)) = dedup else { return Ok(flow) };
        let mut flow = self.exchange(flow, Exchange::Hash(key.clone()), scope);
        flow.label = "dedup";
        flow.changing = true;
        let (rows, schema) = (flow.rows(), flow.schema.as_ref().clone());
        Ok(flow.then(operators::Dedup::new(rows, key, version)?, schema))
    }

    fn sink(&mut self, insert: &Insert, scope: Scope<'a>) -> Result<SinkNode> {
        let (spec, schema, key) = match self.inputs.catalog.get(&insert.target) {
            Some(Relation::Table(table)) => table_sink(table, insert)?,
            Some(Relation::Memory { .. } | Relation::View { .. }) => {
                return Err(Error::internal(format!("'{}' is no sink", insert.target)));
            }
            None if insert.target == STDOUT => self.stdout(insert, scope)?,
            None => return Err(self.inputs.catalog.unknown(&insert.target).with_place(scope.place.start())),
        };
        let name = self.wiring.unique(&format!("sink_{}", insert.target));
        let parallelism_max = spec.parallelism_max().max(1);
        let node = self.wiring.graph.add(name, NodeBody::Sink(spec.clone()), parallelism_max);
        self.keys.insert(node, key.iter().map(|index| schema.field(*index).name().clone()).collect());
        Ok(SinkNode { node, schema, key, spec })
    }

    fn stdout(&self, insert: &Insert, scope: Scope<'_>) -> Result<(Arc<dyn SinkSpec>, SchemaRef, Vec<usize>)> {
        let connector = self.inputs.registry.get(STDOUT).map_err(|e| e.with_place(scope.place.start()))?;
        let schema = inferred(insert);
        let definition = TableDefinition {
            name: STDOUT.to_owned(),
            schema: Some(schema.clone()),
            primary_key: Vec::new(),
            options: Options::default(),
            base: self.inputs.base.to_owned(),
        };
        let spec = connector.sink(&definition).map_err(|e| e.with_place(scope.place.start()))?;
        Ok((spec, schema, Vec::new()))
    }
}

/// Adds what refuses rows that lack one of these columns.
fn not_null(flow: Flow, required: Vec<usize>) -> Result<Flow> {
    if required.is_empty() {
        return Ok(flow);
    }
    let (rows, schema) = (flow.rows(), flow.schema.as_ref().clone());
    Ok(flow.then(operators::NotNull::new(&rows, required, Deletions::Drop, rows.clone())?, schema))
}

fn table_sink(table: &Table, insert: &Insert) -> Result<(Arc<dyn SinkSpec>, SchemaRef, Vec<usize>)> {
    if table.is_source_only() {
        let error = Error::invalid(format!("the table '{}' is a source and cannot be written", table.name));
        let span = insert.place.find_words(&["INTO", &table.name]).unwrap_or_else(|| insert.place.start());
        return Err(error.with_help("insert into a table that is a sink").with_place(span));
    }
    if let Some((column, span)) = table.declared.as_ref().and_then(Declared::metadata) {
        let error = Error::invalid(format!("the column '{column}' is METADATA, so '{}' cannot be written", table.name));
        return Err(error.with_help("declare another table for writing, without it").with_place(span));
    }
    let schema = table.definition.schema.clone().unwrap_or_else(|| inferred(insert));
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut key = Vec::with_capacity(table.primary_key.len());
    for ident in &table.primary_key {
        let name = normalized(ident);
        let index = schema.index_of(&name).map_err(|_| {
            let error = Error::invalid(format!("there is no column '{name}' for the primary key"));
            at_ident(error.with_help(help_for_name("columns", &name, &names)), ident)
        })?;
        key.push(index);
    }
    let definition =
        TableDefinition { schema: Some(schema.clone()), primary_key: key.clone(), ..table.definition.clone() };
    let spec = table.connector.sink(&definition).map_err(|e| table.placed(e))?;
    table.check_options(&definition.options)?;
    Ok((spec, schema, key))
}

/// Returns the columns of a query as a store is given them.
fn inferred(insert: &Insert) -> SchemaRef {
    let fields = insert
        .plan
        .schema()
        .fields()
        .iter()
        .map(|field| Field::new(field.name(), plain(field.data_type()), field.is_nullable()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn check_changes(insert: &Insert, key: &[usize], sink: &dyn SinkSpec) -> Result<()> {
    let (message, help) = match sink.changes() {
        Changes::Any => return Ok(()),
        Changes::Upsert if !key.is_empty() => return Ok(()),
        Changes::Upsert => (
            format!("the rows of this query are corrected later, but '{}' has no key to find them by", insert.target),
            "declare PRIMARY KEY (…) in the table",
        ),
        Changes::AppendOnly => (
            format!("the rows of this query are corrected later, but '{}' can only be appended to", insert.target),
            "write format = 'debezium_json' or a table with a PRIMARY KEY, or group by tumble(interval '…') with \
             SET emit = 'final'",
        ),
    };
    let span = insert.place.find_words(&["INTO", &insert.target]).unwrap_or_else(|| insert.place.start());
    Err(Error::invalid(message).with_help(help).with_place(span))
}
