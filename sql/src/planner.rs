//! From SQL text to a graph: reads the statements one after the other, then plans what they ask for together. It never
//! opens a connector's system. A planner keeps the connectors and functions; nothing of one text reaches the next.

use crate::async_udf::AsyncFunction;
use crate::catalog::{Catalog, Context, Relation};
use crate::create_table::{OptionSyntax, TableSyntax};
use crate::environment::Environment;
use crate::errors::{at_ident, from_datafusion};
use crate::explain::{Detail, explanation};
use crate::functions::Functions;
use crate::lower::{self, Inputs, Lowered, STDOUT};
use crate::memory::Memory;
use crate::parser::{Statement, StatementKind, normalized, parse};
use crate::position::{Place, WithPlace, span_of};
use crate::query::{check_unique_names, plan_query, rename_columns};
use crate::repeated::name_repeated_columns;
use crate::settings::Settings;
use crate::share::{Insert, Shared, share};
use crate::sql_functions::declare;
use crate::table::{OWN_OPTIONS, Role, Table};
use crate::udf::FunctionRegistry;
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

/// What a text asks for.
#[derive(Debug)]
pub struct Prepared {
    /// What each `EXPLAIN` of the text prints, in their order.
    pub explanations: Vec<String>,
    /// The graph of everything else; `None` when there is nothing else.
    pub graph: Option<Graph>,
}

/// Plans pipelines.
pub struct Planner {
    registry: Registry,
    functions: Functions,
    environment: Environment,
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
        Self { registry, functions: Functions::new(functions), environment: Environment::default() }
    }

    /// Lets options of tables name these variables as `{{ NAME }}`; without it there are none.
    #[must_use]
    pub fn with_environment(self, environment: Environment) -> Self {
        Self { environment, ..self }
    }

    /// Adds functions of the user to those that this planner knows.
    ///
    /// # Errors
    /// `Invalid` for a name that is taken, or a function that is not immutable.
    pub fn with_udfs(mut self, functions: &FunctionRegistry) -> Result<Self> {
        functions.extend(&mut self.functions)?;
        Ok(self)
    }

    /// Adds asynchronous functions of the user to those that this planner knows.
    ///
    /// # Errors
    /// `Invalid` for a name that is taken or cannot be called, and for a setting out of range.
    pub fn with_async_functions(mut self, functions: impl IntoIterator<Item = AsyncFunction>) -> Result<Self> {
        functions.into_iter().try_for_each(|function| function.register(&mut self.functions))?;
        Ok(self)
    }

    /// Turns a text into a graph.
    ///
    /// # Errors
    /// `Invalid`, with line, column and what to do.
    pub fn plan(&self, sql: &str, options: &PlanOptions) -> Result<Graph> {
        self.prepare(sql, options)?.graph.ok_or_else(|| named(nothing_asked(), options))
    }

    /// Turns a text into a graph and the answers to its `EXPLAIN`s.
    ///
    /// # Errors
    /// As for [`Planner::plan`].
    pub fn prepare(&self, sql: &str, options: &PlanOptions) -> Result<Prepared> {
        let prepared = self.script(sql, &options.base).and_then(|script| script.prepare());
        prepared.map_err(|error| named(error, options))
    }

    /// Checks a text as far as that is possible without running it.
    ///
    /// # Errors
    /// As for [`Planner::plan`].
    pub fn check(&self, sql: &str, options: &PlanOptions) -> Result<()> {
        self.prepare(sql, options).map(|_| ())
    }

    /// Prints the graph of a text.
    ///
    /// # Errors
    /// As for [`Planner::plan`].
    pub fn explain(&self, sql: &str, options: &PlanOptions) -> Result<String> {
        Ok(self.plan(sql, options)?.to_string())
    }

    /// Prints the graph of a text, after the answers to its `EXPLAIN`s.
    ///
    /// # Errors
    /// As for [`Planner::plan`].
    pub fn explain_as(&self, sql: &str, options: &PlanOptions, detail: Detail) -> Result<String> {
        let explained = self.script(sql, &options.base).and_then(|script| script.explained(detail));
        explained.map_err(|error| named(error, options))
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    fn script(&self, sql: &str, base: &Path) -> Result<Script<'_>> {
        let mut script = Script::new(self, base.to_owned());
        for statement in parse(sql)? {
            script.statement(statement)?;
        }
        Ok(script)
    }
}

fn named(error: Error, options: &PlanOptions) -> Error {
    if options.pipeline.is_empty() { error } else { error.at(format!("pipeline {}", options.pipeline)) }
}

fn nothing_asked() -> Error {
    Error::invalid("nothing is asked for").with_help("add INSERT INTO table SELECT …, or a SELECT at the end")
}

/// What the statements so far declared and asked for.
pub(crate) struct Script<'a> {
    planner: &'a Planner,
    base: PathBuf,
    catalog: Catalog,
    settings: Settings,
    inserts: Vec<Insert>,
    /// What is explained and not run.
    explains: Vec<(Detail, Insert)>,
}

impl<'a> Script<'a> {
    pub(crate) fn new(planner: &'a Planner, base: PathBuf) -> Self {
        Self {
            planner,
            base,
            catalog: Catalog::default(),
            settings: Settings::default(),
            inserts: Vec::new(),
            explains: Vec::new(),
        }
    }

    fn statement(&mut self, statement: Statement) -> Result<()> {
        let Statement { kind, place } = statement;
        let start = place.start();
        self.kind(kind, place).map_err(|error| error.with_place(start))
    }

    fn kind(&mut self, kind: StatementKind, place: Place) -> Result<()> {
        match kind {
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
            StatementKind::CreateFunction(create) => {
                declare(*create, &self.context(&place)).and_then(|function| self.catalog.functions.add(function))
            }
            StatementKind::Set { name, value, value_span } => {
                self.settings.set(&normalized(&name), &value, span_of(name.span), value_span)
            }
            StatementKind::Reset(None) => {
                self.settings = Settings::default();
                Ok(())
            }
            StatementKind::Reset(Some(name)) => self.settings.reset(&normalized(&name), span_of(name.span)),
            StatementKind::Explain { detail, statement } => {
                let n_inserts = self.inserts.len();
                self.kind(*statement, place)?;
                let explained = self.inserts.split_off(n_inserts);
                self.explains.extend(explained.into_iter().map(|insert| (detail, insert)));
                Ok(())
            }
        }
    }

    pub(crate) fn context<'b>(&'b self, place: &'b Place) -> Context<'b> {
        Context { catalog: &self.catalog, functions: &self.planner.functions, place }
    }

    pub(crate) fn create_table(&mut self, mut syntax: TableSyntax, place: Place) -> Result<()> {
        let name = normalized(&syntax.name);
        let span = span_of(syntax.name.span);
        let context = self.context(&place);
        let relation = match syntax.options.take() {
            Some(mut options) if !Memory::is_meant(&options) => {
                let own = |option: &&mut OptionSyntax| !OWN_OPTIONS.contains(&option.name.as_str());
                options.iter_mut().filter(own).try_for_each(|option| self.planner.environment.fill(option))?;
                let table = Table::declare(syntax, options, &self.planner.registry, &self.base, &context)?;
                Relation::Table(Box::new(table))
            }
            options => {
                let table = Memory::declare(&syntax, &options.unwrap_or_default(), &context)?;
                let schema = table.declared.schema.clone();
                Relation::Memory { schema, place: place.clone(), table: Box::new(table) }
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
        self.prepare()?.graph.ok_or_else(nothing_asked)
    }

    fn prepare(self) -> Result<Prepared> {
        let explanations = self.explanations()?;
        let graph = if self.is_asked() {
            Some(self.lowered(&self.inserts, |lowered, _| Ok(lowered.graph))?)
        } else if self.explains.is_empty() {
            return Err(nothing_asked());
        } else {
            None
        };
        Ok(Prepared { explanations, graph })
    }

    fn explained(self, detail: Detail) -> Result<String> {
        let mut texts = self.explanations()?;
        if self.is_asked() {
            let all = |lowered: Lowered, shared: &Shared| explanation(&lowered, &self.inserts, shared, detail);
            texts.push(self.lowered(&self.inserts, all)?);
        } else if texts.is_empty() {
            return Err(nothing_asked());
        }
        Ok(texts.join("\n"))
    }

    fn is_asked(&self) -> bool {
        self.inserts.iter().any(|insert| !self.is_memory(&insert.target))
    }

    fn is_memory(&self, target: &str) -> bool {
        matches!(self.catalog.get(target), Some(Relation::Memory { .. }))
    }

    /// Plans each query that is explained, together with what fills the tables that it may read.
    fn explanations(&self) -> Result<Vec<String>> {
        let mut texts = Vec::with_capacity(self.explains.len());
        for (detail, insert) in &self.explains {
            let mut inserts: Vec<Insert> =
                self.inserts.iter().filter(|insert| self.is_memory(&insert.target)).cloned().collect();
            let mut insert = insert.clone();
            if self.is_memory(&insert.target) {
                // A table between statements is nothing by itself; what would be inserted is shown.
                insert.target = STDOUT.to_owned();
                insert.columns.clear();
            }
            inserts.push(insert);
            let explained = |lowered: Lowered, shared: &Shared| explanation(&lowered, &inserts, shared, *detail);
            texts.push(self.lowered(&inserts, explained)?);
        }
        Ok(texts)
    }

    fn lowered<T>(&self, inserts: &[Insert], then: impl FnOnce(Lowered, &Shared) -> Result<T>) -> Result<T> {
        self.check_unread()?;
        let functions = &self.planner.functions;
        let shared = share(&self.catalog, inserts, functions)?;
        let inputs = Inputs {
            catalog: &self.catalog,
            functions,
            registry: &self.planner.registry,
            inserts,
            shared: &shared,
            base: &self.base,
        };
        then(lower::lower(&inputs)?, &shared)
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
