//! The same graph from Rust: streams whose type says what they carry, so that a step that needs a text, or a text
//! without personal data, does not compile on a stream without it. Names of columns are checked when the step is added.
//!
//! A step makes the logical plan that the same SQL would make, and both take one road from there. It never opens a
//! connector's system; its state is what the steps so far declared.
//!
//! ```no_run
//! use headwater_contracts::BuddyFeedbackSubmitted;
//! use headwater_sql::{Pipeline, PlanOptions, Planner, Table, calendar_quarter};
//!
//! # fn main() -> headwater_core::Result<()> {
//! let planner = Planner::new(headwater_core::Registry::default());
//! let pipeline = Pipeline::new(&planner, &PlanOptions::default());
//! pipeline
//!     .source::<BuddyFeedbackSubmitted>(Table::new("feedback", "inbox").option("path", "inbox"))?
//!     .normalize()?
//!     .screen()?
//!     .classify()?
//!     .window(calendar_quarter())
//!     .aggregate(&["_company_id"], &[("n", "count(*)"), ("rating", "avg(rating)")])?
//!     .sink(Table::new("metrics", "sqlite").key(&["_company_id", "window"]))?;
//! let graph = pipeline.finish()?;
//! # Ok(())
//! # }
//! ```

use crate::create_table::{OptionSyntax, TableSyntax};
use crate::errors::from_datafusion;
use crate::optimize::aggregates_of;
use crate::planner::{PlanOptions, Planner, Script};
use crate::position::{Place, UNKNOWN};
use crate::table::parser_options;
use crate::windows::{TUMBLE, resolve_windows};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::functions::core::expr_ext::FieldAccessor;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, lit};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::Ident;
use headwater_contracts::{Event, HasText};
use headwater_core::{Error, Graph, Result};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::path::PathBuf;

/// The columns that the steps add.
const TEXT: &str = "text";
const SCREENED: &str = "screened";
const CLASSIFIED: &str = "classified";
const WINDOW: &str = "window";

/// A stream as its source delivers it.
#[derive(Debug)]
pub struct Delivered;

/// A stream with a column `text`: the event's text in normal form.
#[derive(Debug)]
pub struct Normalized;

/// A stream with a column `screened`: the text without personal data, and what was decided about it.
#[derive(Debug)]
pub struct Screened;

/// A stream with a column `classified`: labels and scores of the screened text.
#[derive(Debug)]
pub struct Classified;

/// A stream of aggregated rows, which are no events any more.
#[derive(Debug)]
pub struct Aggregated;

/// A table of a connector, as a builder declares it.
#[derive(Debug, Clone)]
pub struct Table {
    name: String,
    connector: String,
    options: Vec<(String, String)>,
    key: Vec<String>,
}

impl Table {
    /// Declares a table.
    #[must_use]
    pub fn new(name: impl Into<String>, connector: impl Into<String>) -> Self {
        Self { name: name.into(), connector: connector.into(), options: Vec::new(), key: Vec::new() }
    }

    /// Adds an option, as in `WITH (name = 'value')`.
    #[must_use]
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push((name.into(), value.into()));
        self
    }

    /// Says which columns name a row.
    #[must_use]
    pub fn key(mut self, columns: &[&str]) -> Self {
        self.key = columns.iter().map(|column| (*column).to_owned()).collect();
        self
    }

    fn syntax(self, contract: Option<&str>) -> TableSyntax {
        let mut options = self.options;
        options.push(("connector".to_owned(), self.connector));
        options.extend(contract.map(|contract| ("contract".to_owned(), contract.to_owned())));
        let span = UNKNOWN;
        let options =
            options.into_iter().map(|(name, value)| OptionSyntax { name, value, written: None, span }).collect();
        TableSyntax {
            name: Ident::with_quote('"', self.name),
            columns: Vec::new(),
            primary_key: self.key.into_iter().map(|name| Ident::with_quote('"', name)).collect(),
            key_is_promised: false,
            watermark: None,
            options: Some(options),
        }
    }
}

/// The length of a window in event time.
#[derive(Debug, Clone)]
pub struct Window {
    months: i32,
    nanoseconds: i64,
    time_zone: Option<String>,
}

impl Window {
    /// Says in which time zone periods begin; UTC otherwise.
    #[must_use]
    pub fn in_time_zone(mut self, name: impl Into<String>) -> Self {
        self.time_zone = Some(name.into());
        self
    }
}

/// A window of one calendar month.
#[must_use]
pub fn calendar_month() -> Window {
    Window { months: 1, nanoseconds: 0, time_zone: None }
}

/// A window of one calendar quarter.
#[must_use]
pub fn calendar_quarter() -> Window {
    Window { months: 3, nanoseconds: 0, time_zone: None }
}

/// A window of one calendar year.
#[must_use]
pub fn calendar_year() -> Window {
    Window { months: 12, nanoseconds: 0, time_zone: None }
}

/// A window of a fixed length, counted from the Unix epoch.
#[must_use]
pub fn tumbling(length: std::time::Duration) -> Window {
    Window { months: 0, nanoseconds: i64::try_from(length.as_nanos()).unwrap_or(i64::MAX), time_zone: None }
}

/// A pipeline while it is built.
pub struct Pipeline<'p> {
    planner: &'p Planner,
    script: RefCell<Script<'p>>,
}

impl<'p> Pipeline<'p> {
    /// Begins a pipeline.
    #[must_use]
    pub fn new(planner: &'p Planner, options: &PlanOptions) -> Self {
        let base: PathBuf = options.base.clone();
        Self { planner, script: RefCell::new(Script::new(planner, base)) }
    }

    /// Reads the events of a contract.
    ///
    /// # Errors
    /// `Invalid` when the connector does not know an option, or the name is taken.
    pub fn source<E: Event>(&self, table: Table) -> Result<Stream<'_, 'p, E, Delivered>> {
        let name = table.name.clone();
        let mut script = self.script.borrow_mut();
        script.create_table(table.syntax(Some(E::TYPE)), Place::default())?;
        let plan = script.scan(&name)?;
        Ok(self.stream(plan))
    }

    /// Returns the graph of everything that ends in a sink.
    ///
    /// # Errors
    /// `Invalid` when nothing does, or a sink cannot hold what comes.
    pub fn finish(self) -> Result<Graph> {
        self.script.into_inner().finish()
    }

    fn stream<T, S>(&self, plan: LogicalPlan) -> Stream<'_, 'p, T, S> {
        Stream { pipeline: self, plan, carries: PhantomData }
    }

    fn call(&self, function: &str, args: Vec<Expr>) -> Result<Expr> {
        let found = self.planner.functions().scalar.get(function).cloned();
        let function = found.ok_or_else(|| Error::invalid(format!("there is no function '{function}'")))?;
        Ok(Expr::ScalarFunction(ScalarFunction::new_udf(function, args)))
    }

    fn fail(&self, error: DataFusionError) -> Error {
        from_datafusion(error, &Place::default(), &self.planner.functions().all_names())
    }

    /// Reads an expression of SQL over the columns of a plan.
    fn expression(&self, text: &str, plan: &LogicalPlan) -> Result<Expr> {
        let script = self.script.borrow();
        let place = Place::default();
        let context = script.context(&place);
        let planner = SqlToRel::new_with_options(&context, parser_options());
        let parsed = crate::parser::parse_expression(text).map_err(|e| e.at(format!("expression {text}")))?;
        let expr = planner.sql_to_expr(parsed, plan.schema(), &mut PlannerContext::new());
        expr.map_err(|e| self.fail(e).at(format!("expression {text}")))
    }
}

/// A stream of `T`; `S` says what the steps so far have added.
pub struct Stream<'b, 'p, T, S> {
    pipeline: &'b Pipeline<'p>,
    plan: LogicalPlan,
    carries: PhantomData<(T, S)>,
}

impl<'b, 'p, T, S> Stream<'b, 'p, T, S> {
    fn with_column<Next>(self, name: &str, expr: Expr) -> Result<Stream<'b, 'p, T, Next>> {
        let mut exprs: Vec<Expr> = self.plan.schema().columns().into_iter().map(Expr::Column).collect();
        exprs.push(expr.alias(name));
        let plan = LogicalPlanBuilder::from(self.plan).project(exprs).and_then(LogicalPlanBuilder::build);
        Ok(self.pipeline.stream(plan.map_err(|e| self.pipeline.fail(e))?))
    }

    fn column(&self, name: &str) -> Result<Expr> {
        let found = self.plan.schema().qualified_field_with_unqualified_name(name);
        Ok(Expr::from(found.map_err(|e| self.pipeline.fail(e))?))
    }

    /// Keeps the rows for which an expression of SQL is true.
    ///
    /// # Errors
    /// `Invalid`, with the name that is wrong.
    pub fn filter(self, condition: &str) -> Result<Self> {
        let predicate = self.pipeline.expression(condition, &self.plan)?;
        let plan = LogicalPlanBuilder::from(self.plan).filter(predicate).and_then(LogicalPlanBuilder::build);
        Ok(self.pipeline.stream(plan.map_err(|e| self.pipeline.fail(e))?))
    }

    /// Writes the rows.
    ///
    /// # Errors
    /// `Invalid` when the name is taken.
    pub fn sink(self, table: Table) -> Result<()> {
        let name = table.name.clone();
        let mut script = self.pipeline.script.borrow_mut();
        script.create_table(table.syntax(None), Place::default())?;
        script.insert(name, Vec::new(), self.plan, Place::default())
    }
}

impl<'b, 'p, T: HasText> Stream<'b, 'p, T, Delivered> {
    /// Adds `text`: the event's text in normal form.
    ///
    /// # Errors
    /// `Internal`, when the contract has lost its text.
    pub fn normalize(self) -> Result<Stream<'b, 'p, T, Normalized>> {
        let text = self.column(T::TEXT_FIELD)?;
        let call = self.pipeline.call("normalize", vec![text])?;
        self.with_column(TEXT, call)
    }
}

impl<'b, 'p, T> Stream<'b, 'p, T, Normalized> {
    /// Adds `screened`: the text without personal data, and what was decided about it.
    ///
    /// # Errors
    /// `Invalid` when the function is not there.
    pub fn screen(self) -> Result<Stream<'b, 'p, T, Screened>> {
        let text = self.column(TEXT)?;
        let call = self.pipeline.call("screen", vec![text])?;
        self.with_column(SCREENED, call)
    }
}

impl<'b, 'p, T> Stream<'b, 'p, T, Screened> {
    /// Adds `classified`: labels and scores of the screened text.
    ///
    /// # Errors
    /// `Invalid` when the function is not there.
    pub fn classify(self) -> Result<Stream<'b, 'p, T, Classified>> {
        let text = self.column(SCREENED)?.field(TEXT);
        let call = self.pipeline.call("classify", vec![text])?;
        self.with_column(CLASSIFIED, call)
    }
}

impl<'b, 'p, T: Event, S> Stream<'b, 'p, T, S> {
    /// Cuts the stream into windows of its event time, which every contract has.
    #[must_use]
    pub fn window(self, window: Window) -> Windowed<'b, 'p, T, S> {
        Windowed { stream: self, window }
    }
}

/// A stream that is cut into windows.
pub struct Windowed<'b, 'p, T, S> {
    stream: Stream<'b, 'p, T, S>,
    window: Window,
}

impl<'b, 'p, T, S> Windowed<'b, 'p, T, S> {
    /// Makes one row for each window and group: the group columns, `window`, and the measures, each a name and an
    /// expression of SQL with aggregate functions.
    ///
    /// # Errors
    /// `Invalid`, with the name that is wrong.
    pub fn aggregate(self, group: &[&str], measures: &[(&str, &str)]) -> Result<Stream<'b, 'p, T, Aggregated>> {
        let Self { stream, window } = self;
        let pipeline = stream.pipeline;
        let mut keys: Vec<Expr> = group.iter().map(|name| stream.column(name)).collect::<Result<_>>()?;
        let interval = ScalarValue::new_interval_mdn(window.months, 0, window.nanoseconds);
        let zone = window.time_zone.as_deref().map(lit);
        let mut args = vec![Expr::Literal(interval, None)];
        args.extend(zone);
        keys.push(pipeline.call(TUMBLE, args)?);
        let measures: Vec<(&str, Expr)> = measures
            .iter()
            .map(|(name, text)| Ok((*name, pipeline.expression(text, &stream.plan)?)))
            .collect::<Result<_>>()?;
        let calls = aggregates_of(measures.iter().map(|(_, expr)| expr));
        let mut columns: Vec<Expr> = keys.iter().map(as_column).collect();
        let last = columns.len() - 1;
        columns[last] = columns[last].clone().alias(WINDOW);
        for (name, expr) in measures {
            let rewritten = expr.transform_down(|expr| {
                Ok(if calls.contains(&expr) { Transformed::yes(as_column(&expr)) } else { Transformed::no(expr) })
            });
            columns.push(rewritten.map_err(|e| pipeline.fail(e))?.data.alias(name));
        }
        let plan = LogicalPlanBuilder::from(stream.plan)
            .aggregate(keys, calls)
            .and_then(|builder| builder.project(columns))
            .and_then(LogicalPlanBuilder::build)
            .and_then(|plan| resolve_windows(plan, &Default::default(), &Place::default()));
        Ok(pipeline.stream(plan.map_err(|e| pipeline.fail(e))?))
    }
}

fn as_column(expr: &Expr) -> Expr {
    let (qualifier, name) = expr.qualified_name();
    Expr::Column(Column::new(qualifier, name))
}
