//! From SQL text to a graph: reads the statements one after the other, then plans what they ask for together. It never
//! opens a connector's system. A planner keeps the connectors and functions; nothing of one text reaches the next.

use crate::catalog::{Catalog, Context, Relation};
use crate::create_table::TableSyntax;
use crate::errors::{at_ident, from_datafusion};
use crate::functions::Functions;
use crate::lower::{self, Inputs, STDOUT};
use crate::parser::{Statement, StatementKind, normalized, parse};
use crate::position::{Place, WithPlace, span_of};
use crate::query::{check_unique_names, plan_query, rename_columns};
use crate::repeated::name_repeated_columns;
use crate::settings::Settings;
use crate::share::{Insert, share};
use crate::table::{Role, Table, declared_schema};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::logical_expr::planner::ContextProvider;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use datafusion::sql::sqlparser::ast::Ident;
use headwater_core::{Error, Graph, Registry, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a text is planned for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// The name of the pipeline; errors carry it unless it is empty.
    pub pipeline: String,
    /// What relative paths in options are relative to.
    pub base: PathBuf,
}

/// Plans pipelines.
pub struct Planner {
    registry: Registry,
    functions: Functions,
}

impl Planner {
    /// Makes a planner that knows these connectors, DataFusion's functions and those of `headwater_operators`.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self::with_functions(registry, headwater_operators::functions::all())
    }

    /// As [`Planner::new`], with other functions in the place of those of `headwater_operators`.
    #[must_use]
    pub fn with_functions(registry: Registry, functions: Vec<Arc<ScalarUDF>>) -> Self {
        Self { registry, functions: Functions::new(functions) }
    }

    /// Turns a text into a graph.
    ///
    /// # Errors
    /// `Invalid`, with line, column and what to do.
    pub fn plan(&self, sql: &str, options: &PlanOptions) -> Result<Graph> {
        let named = |error: Error| {
            if options.pipeline.is_empty() { error } else { error.at(format!("pipeline {}", options.pipeline)) }
        };
        self.plan_text(sql, &options.base).map_err(named)
    }

    /// Checks a text as far as that is possible without running it.
    ///
    /// # Errors
    /// As for [`Planner::plan`].
    pub fn check(&self, sql: &str, options: &PlanOptions) -> Result<()> {
        self.plan(sql, options).map(|_| ())
    }

    /// Prints the graph of a text.
    ///
    /// # Errors
    /// As for [`Planner::plan`].
    pub fn explain(&self, sql: &str, options: &PlanOptions) -> Result<String> {
        Ok(self.plan(sql, options)?.to_string())
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    fn plan_text(&self, sql: &str, base: &Path) -> Result<Graph> {
        let mut script = Script::new(self, base.to_owned());
        for statement in parse(sql)? {
            script.statement(statement)?;
        }
        script.finish()
    }
}

/// What the statements so far declared and asked for.
pub(crate) struct Script<'a> {
    planner: &'a Planner,
    base: PathBuf,
    catalog: Catalog,
    settings: Settings,
    inserts: Vec<Insert>,
}

impl<'a> Script<'a> {
    pub(crate) fn new(planner: &'a Planner, base: PathBuf) -> Self {
        Self { planner, base, catalog: Catalog::default(), settings: Settings::default(), inserts: Vec::new() }
    }

    fn statement(&mut self, statement: Statement) -> Result<()> {
        let Statement { kind, place } = statement;
        let start = place.start();
        let done = match kind {
            StatementKind::CreateTable(syntax) => self.create_table(*syntax, place),
            StatementKind::CreateView { name, columns, query } => {
                let context = self.context(&place);
                let plan = plan_query(query, &self.settings, &context)?;
                let plan = rename_columns(plan, &columns, &context)?;
                check_unique_names(&plan, &context)?;
                self.create_view(&name, plan, place)
            }
            StatementKind::Insert { table, columns, mut query } => {
                self.check_target(&table)?;
                name_repeated_columns(&mut query);
                let plan = plan_query(query, &self.settings, &self.context(&place))?;
                let columns = columns.iter().map(normalized).collect();
                self.insert(normalized(&table), columns, plan, place)
            }
            StatementKind::Select(query) => {
                let plan = plan_query(query, &self.settings, &self.context(&place))?;
                self.insert(STDOUT.to_owned(), Vec::new(), plan, place)
            }
            StatementKind::Set { name, value, value_span } => {
                self.settings.set(&normalized(&name), &value, span_of(name.span), value_span)
            }
        };
        done.map_err(|error| error.with_place(start))
    }

    pub(crate) fn context<'b>(&'b self, place: &'b Place) -> Context<'b> {
        Context { catalog: &self.catalog, functions: &self.planner.functions, place }
    }

    pub(crate) fn create_table(&mut self, mut syntax: TableSyntax, place: Place) -> Result<()> {
        let name = normalized(&syntax.name);
        let span = span_of(syntax.name.span);
        let context = self.context(&place);
        let relation = match syntax.options.take() {
            Some(options) => {
                let table = Table::declare(syntax, options, &self.planner.registry, &self.base, &context)?;
                Relation::Table(Box::new(table))
            }
            None => {
                let schema = memory_schema(&syntax, &context)?;
                Relation::Memory { schema, place: place.clone() }
            }
        };
        self.catalog.add(name, relation, span)
    }

    fn create_view(&mut self, name: &Ident, plan: LogicalPlan, place: Place) -> Result<()> {
        let schema: SchemaRef = plan.schema().inner().clone();
        let relation = Relation::View { plan: Box::new(plan), schema, settings: self.settings.clone(), place };
        self.catalog.add(normalized(name), relation, span_of(name.span))
    }

    /// Makes the plan that reads all of a table.
    pub(crate) fn scan(&self, name: &str) -> Result<LogicalPlan> {
        let place = Place::default();
        let context = self.context(&place);
        let source = context.get_table_source(TableReference::bare(name));
        let plan =
            source.and_then(|source| LogicalPlanBuilder::scan(TableReference::bare(name), source, None)?.build());
        plan.map_err(|error| from_datafusion(error, &place, &[]))
    }

    fn check_target(&self, table: &Ident) -> Result<()> {
        let name = normalized(table);
        match self.catalog.get(&name) {
            Some(Relation::Table(_) | Relation::Memory { .. }) => Ok(()),
            Some(Relation::View { .. }) => {
                let error = Error::invalid(format!("'{name}' is a view and cannot be written"));
                Err(at_ident(error.with_help("insert into a table"), table))
            }
            None => Err(at_ident(self.catalog.unknown(&name), table)),
        }
    }

    pub(crate) fn insert(
        &mut self,
        target: String,
        columns: Vec<String>,
        plan: LogicalPlan,
        place: Place,
    ) -> Result<()> {
        if columns.is_empty() {
            check_unique_names(&plan, &self.context(&place))?;
        }
        self.inserts.push(Insert { target, columns, plan, settings: self.settings.clone(), place });
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<Graph> {
        let is_sink = |insert: &Insert| !matches!(self.catalog.get(&insert.target), Some(Relation::Memory { .. }));
        if !self.inserts.iter().any(is_sink) {
            let error = Error::invalid("nothing is asked for");
            return Err(error.with_help("add INSERT INTO table SELECT …, or a SELECT at the end"));
        }
        self.check_unread()?;
        let functions = &self.planner.functions;
        let shared = share(&self.catalog, &self.inserts, functions)?;
        let inputs = Inputs {
            catalog: &self.catalog,
            functions,
            registry: &self.planner.registry,
            inserts: &self.inserts,
            shared: &shared,
            base: &self.base,
        };
        lower::lower(&inputs)
    }

    /// Finds the mistakes in sources that nothing reads.
    fn check_unread(&self) -> Result<()> {
        for (_, relation) in self.catalog.iter() {
            let Relation::Table(table) = relation else { continue };
            if table.role == Some(Role::Lookup) {
                table.looker()?;
            }
            if table.is_source_only() {
                table.reader(&self.context(&table.place)).map_err(|e| e.with_place(table.place.start()))?;
            }
        }
        Ok(())
    }
}

fn memory_schema(syntax: &TableSyntax, context: &Context<'_>) -> Result<SchemaRef> {
    let name = normalized(&syntax.name);
    if let Some(ident) = syntax.primary_key.first() {
        let error = Error::invalid(format!("the table '{name}' is between statements and keeps no key"));
        return Err(at_ident(error.with_help("leave PRIMARY KEY out, or add WITH (connector = '…')"), ident));
    }
    if let Some(watermark) = &syntax.watermark {
        let error = Error::invalid(format!("the table '{name}' takes its event time from what is inserted"));
        return Err(at_ident(error.with_help("leave WATERMARK out, or add WITH (connector = '…')"), &watermark.column));
    }
    declared_schema(syntax, context)?.ok_or_else(|| {
        let error = Error::invalid(format!("the table '{name}' has neither columns nor a connector"));
        at_ident(error.with_help("list its columns, or add WITH (connector = '…')"), &syntax.name)
    })
}
