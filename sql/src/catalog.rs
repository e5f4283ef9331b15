//! The relations of one pipeline by name: tables of connectors, tables between statements, views; and the door through
//! which DataFusion's planner sees them. It never opens anything. Its state is what the statements so far declared.

use crate::errors::wrapped;
use crate::functions::Functions;
use crate::memory::Memory;
use crate::near::help_for_name;
use crate::position::{Place, UNKNOWN, WithPlace};
use crate::settings::Settings;
use crate::sql_functions::SqlFunctions;
use crate::table::Table;
use crate::types::Types;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{DataFusionError, Result as PlanResult, TableReference};
use datafusion::config::ConfigOptions;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use headwater_core::{Error, Result, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a name stands for.
pub(crate) enum Relation {
    /// A table of a connector.
    Table(Box<Table>),
    /// A table between statements, with its declared columns.
    Memory { schema: SchemaRef, place: Place, table: Box<Memory> },
    /// A named query.
    View { plan: Box<LogicalPlan>, schema: SchemaRef, settings: Settings, place: Place },
}

impl Relation {
    pub(crate) fn place(&self) -> &Place {
        match self {
            Self::Table(table) => &table.place,
            Self::Memory { place, .. } | Self::View { place, .. } => place,
        }
    }
}

/// All relations of a pipeline.
#[derive(Default)]
pub(crate) struct Catalog {
    relations: BTreeMap<String, Relation>,
    /// The functions that CREATE FUNCTION declared.
    pub(crate) functions: SqlFunctions,
}

impl Catalog {
    /// Declares a relation.
    pub(crate) fn add(&mut self, name: String, relation: Relation, span: Span) -> Result<()> {
        if let Some(other) = self.relations.get(&name) {
            let place = match other.place().start() {
                UNKNOWN => String::new(),
                start => format!(", in line {}", start.line),
            };
            let error = Error::invalid(format!("'{name}' is declared already{place}"));
            return Err(error.with_help("give it another name").with_place(span));
        }
        self.relations.insert(name, relation);
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Relation> {
        self.relations.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Relation)> {
        self.relations.iter()
    }

    /// Returns the error for a name that is not declared.
    pub(crate) fn unknown(&self, name: &str) -> Error {
        let names: Vec<&str> = self.relations.keys().map(String::as_str).collect();
        let error = Error::invalid(format!("there is no table or view '{name}'"));
        if names.is_empty() {
            return error.with_help("declare it first with CREATE TABLE or CREATE VIEW");
        }
        error.with_help(help_for_name("tables and views", name, &names))
    }
}

/// A relation as DataFusion's planner sees it: its columns.
#[derive(Debug)]
pub(crate) struct RelationSource(pub(crate) SchemaRef);

impl TableSource for RelationSource {
    fn schema(&self) -> SchemaRef {
        self.0.clone()
    }
}

/// What DataFusion's planner may ask for while it plans one statement.
pub(crate) struct Context<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) functions: &'a Functions,
    pub(crate) place: &'a Place,
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> PlanResult<Arc<dyn TableSource>> {
        let table = name.table();
        let relation = match &name {
            TableReference::Bare { .. } => self.catalog.get(table),
            TableReference::Partial { .. } | TableReference::Full { .. } => None,
        };
        let schema = match relation {
            Some(Relation::Table(table)) if table.is_lookup() => table.looker().map_err(wrapped)?.spec.schema(),
            Some(Relation::Table(table)) => {
                table.reader(self).map_err(|e| wrapped(e.with_place(table.place.start())))?.schema.clone()
            }
            Some(Relation::Memory { schema, .. } | Relation::View { schema, .. }) => schema.clone(),
            None => {
                let error = self.catalog.unknown(&name.to_string());
                let span = self.place.find_words(&["FROM", table]).or_else(|| self.place.find_name(table));
                return Err(wrapped(match span {
                    // The name, not the FROM before it.
                    Some(span) => error.with_place(self.place.find_name_from(table, span).unwrap_or(span)),
                    None => error,
                }));
            }
        };
        Ok(Arc::new(RelationSource(schema)))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.functions.scalar.get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.functions.higher_order.get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.functions.aggregate.get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.functions.window.get(name).cloned()
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.functions.planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_variable_type(&self, _names: &[String]) -> Option<DataType> {
        None
    }

    fn create_cte_work_table(&self, _name: &str, _schema: SchemaRef) -> PlanResult<Arc<dyn TableSource>> {
        Err(DataFusionError::NotImplemented("WITH RECURSIVE is not supported".to_owned()))
    }

    fn options(&self) -> &ConfigOptions {
        &self.functions.config
    }

    fn udf_names(&self) -> Vec<String> {
        self.functions.scalar.keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.functions.higher_order.keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.functions.aggregate.keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
