//! A table of a connector: what `CREATE TABLE` declared, checked, and what reading or writing it needs. It never opens
//! the system behind it. Its state is the declaration, and the source's spec once something reads the table.

use crate::catalog::Context;
use crate::create_table::{OptionSyntax, TableSyntax, WatermarkSyntax};
use crate::errors::{at_ident, from_datafusion};
use crate::lookup_table::Looker;
use crate::near::help_for_name;
use crate::parser::normalized;
use crate::position::{Place, WithPlace};
use crate::settings::{Lateness, parse_duration, parse_late};
use crate::types::TIMESTAMP;
use crate::windows::mark_event_time;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Column, DFSchema, TableReference};
use datafusion::logical_expr::Expr;
use datafusion::sql::planner::{ParserOptions, PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{ColumnDef, ColumnOption, ColumnOptionDef, Ident};
use headwater_contracts::Contract;
use headwater_core::{Connector, Error, OperatorSpec, Options, Registry, Result, SourceSpec, Span, TableDefinition};
use headwater_operators::DecodeContract;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// The columns of a source that delivers records undecoded.
fn raw_schema() -> SchemaRef {
    let value = Field::new("value", DataType::Binary, false);
    Arc::new(Schema::new(vec![value, Field::new("position", DataType::Utf8, false)]))
}

/// The key and version columns of every contract table.
const CONTRACT_KEY: &str = "_id";
const CONTRACT_VERSION: &str = "_time";
/// The column of contract tables that dead letters take their position from.
pub(crate) const CONTRACT_POSITION: &str = "_position";

/// What a table may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Source,
    Sink,
    Lookup,
}

/// A table of a connector as declared.
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) definition: TableDefinition,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) contract: Option<&'static Contract>,
    pub(crate) primary_key: Vec<Ident>,
    pub(crate) lateness: Lateness,
    pub(crate) role: Option<Role>,
    watermark: Option<WatermarkSyntax>,
    option_spans: Vec<(String, Span)>,
    reader: OnceLock<Reader>,
    pub(crate) looker: OnceLock<Looker>,
}

/// What reading a table takes.
pub(crate) struct Reader {
    pub(crate) source: Arc<dyn SourceSpec>,
    pub(crate) decode: Option<Arc<dyn OperatorSpec>>,
    /// The columns, with the event time marked.
    pub(crate) schema: SchemaRef,
    /// The event-time column and the watermark, as expressions over the columns.
    pub(crate) event_time: Option<(Expr, Expr)>,
    /// The key and the version column, where rows are corrected by rows of the same key.
    pub(crate) dedup: Option<(Vec<usize>, usize)>,
}

impl Table {
    /// Checks a declaration.
    pub(crate) fn declare(
        syntax: TableSyntax,
        options: Vec<OptionSyntax>,
        registry: &Registry,
        base: &Path,
        context: &Context<'_>,
    ) -> Result<Self> {
        let name = normalized(&syntax.name);
        let option_spans: Vec<(String, Span)> = options.iter().map(|o| (o.name.clone(), o.span)).collect();
        let span_of_option =
            |name: &str| option_spans.iter().find(|(n, _)| n == name).map_or(context.place.start(), |(_, span)| *span);
        let schema = declared_schema(&syntax, context)?;
        let mut values: Vec<(String, String)> = options.into_iter().map(|option| (option.name, option.value)).collect();
        let Some(at) = values.iter().position(|(name, _)| name == "connector") else {
            let names: Vec<&str> = registry.iter().map(|connector| connector.name()).collect();
            let error = Error::invalid(format!("the table '{name}' does not say which connector it uses"));
            let error = error.with_help(format!("add connector = '…', one of: {}", names.join(", ")));
            return Err(at_ident(error, &syntax.name));
        };
        let (_, connector) = values.swap_remove(at);
        let connector = registry.get(&connector).map_err(|e| e.with_place(span_of_option("connector")))?.clone();
        if values.iter().any(|(name, _)| name == "contract") {
            values.retain(|(name, _)| name != "format");
            values.push(("format".to_owned(), "raw".to_owned()));
        }
        let options: Options = values.into_iter().collect();
        let place = context.place.clone();
        let primary_key = key_indices(&syntax.primary_key, schema.as_ref())?;
        let mut table = Self {
            definition: TableDefinition { name: name.clone(), schema, primary_key, options, base: base.to_owned() },
            name,
            place,
            connector,
            contract: None,
            primary_key: syntax.primary_key,
            lateness: Lateness::default(),
            role: None,
            watermark: syntax.watermark,
            option_spans,
            reader: OnceLock::new(),
            looker: OnceLock::new(),
        };
        table.read_own_options()?;
        Ok(table)
    }

    /// Reads the options that belong to the planner and not to the connector.
    fn read_own_options(&mut self) -> Result<()> {
        let options = &self.definition.options;
        let at = |error: Error, name: &str| error.with_place(self.option_span(name));
        let role = match options.get("type") {
            None => None,
            Some("source") => Some(Role::Source),
            Some("sink") => Some(Role::Sink),
            Some("lookup") => Some(Role::Lookup),
            Some(other) => {
                let error = Error::invalid(format!("type = '{other}' is not understood"));
                return Err(at(error.with_help("use 'source', 'sink' or 'lookup', or leave it out"), "type"));
            }
        };
        let contract = match options.get("contract") {
            Some(name) => Some(headwater_contracts::find(name).map_err(|e| at(e, "contract"))?),
            None => None,
        };
        let late = options.get("late").map(parse_late).transpose().map_err(|e| at(e, "late"))?;
        let allowed = options.get("allowed_lateness").map(parse_duration).transpose();
        let allowed_ns = allowed.map_err(|e| at(e, "allowed_lateness"))?;
        let short_form = options.get("event_time_field").map(Ident::new);
        if short_form.is_some() && self.watermark.is_some() {
            let error = Error::invalid("the event time is declared twice");
            return Err(at(error.with_help("keep WATERMARK FOR and remove event_time_field"), "event_time_field"));
        }
        if contract.is_some() && self.definition.schema.is_some() {
            let error = Error::invalid(format!("the columns of '{}' are those of its contract", self.name));
            return Err(at(error.with_help("leave the columns out, or leave contract out"), "contract"));
        }
        if let Some(column) = short_form {
            self.watermark = Some(WatermarkSyntax { column, expression: None });
        }
        self.role = role;
        self.contract = contract;
        self.lateness = Lateness { late, allowed_ns };
        Ok(())
    }

    fn option_span(&self, name: &str) -> Span {
        self.option_spans.iter().find(|(n, _)| n == name).map_or_else(|| self.place.start(), |(_, span)| *span)
    }

    /// Puts the place of the option that an error names, or else of the table, on the error.
    pub(crate) fn placed(&self, error: Error) -> Error {
        let named = self.option_spans.iter().find(|(name, _)| {
            error.message().contains(&format!("'{name}'")) || error.message().contains(&format!("{name} = "))
        });
        let span = named.map_or_else(|| self.place.start(), |(_, span)| *span);
        error.with_place(span)
    }

    /// Whether the declaration says which column is the event time.
    pub(crate) fn has_event_time(&self) -> bool {
        self.watermark.is_some()
    }

    /// Whether the table says that it is only read.
    pub(crate) fn is_source_only(&self) -> bool {
        self.role == Some(Role::Source) || self.contract.is_some()
    }

    /// Returns what reading the table takes; the first call asks the connector.
    pub(crate) fn reader(&self, context: &Context<'_>) -> Result<&Reader> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        if self.role == Some(Role::Sink) {
            let error = Error::invalid(format!("the table '{}' is a sink and cannot be read", self.name));
            let span = context.place.find_words(&["FROM", &self.name]).unwrap_or_else(|| context.place.start());
            return Err(error.with_help("remove type = 'sink', or read another table").with_place(span));
        }
        let reader = self.make_reader(context)?;
        Ok(self.reader.get_or_init(|| reader))
    }

    fn make_reader(&self, context: &Context<'_>) -> Result<Reader> {
        let (source, decode, schema) = match self.contract {
            Some(contract) => {
                let definition = TableDefinition { schema: Some(raw_schema()), ..self.definition.clone() };
                let source = self.connector.source(&definition).map_err(|e| self.placed(e))?;
                self.check_options(&definition.options)?;
                let decode = DecodeContract::new(contract, self.name.clone());
                let schema = decode.schema();
                (source, Some(Arc::new(decode) as Arc<dyn OperatorSpec>), schema)
            }
            None => {
                let source = self.connector.source(&self.definition).map_err(|e| self.placed(e))?;
                self.check_options(&self.definition.options)?;
                let schema = self.definition.schema.clone().unwrap_or_else(|| source.schema());
                (source, None, schema)
            }
        };
        let (schema, event_time) = self.event_time(&schema, context)?;
        let dedup = self.dedup(&schema)?;
        Ok(Reader { source, decode, schema, event_time, dedup })
    }

    fn event_time(&self, schema: &SchemaRef, context: &Context<'_>) -> Result<(SchemaRef, Option<(Expr, Expr)>)> {
        let (column, ident) = match (&self.watermark, self.contract) {
            (Some(watermark), _) => (normalized(&watermark.column), Some(&watermark.column)),
            (None, Some(contract)) => (contract.event_time_column().to_owned(), None),
            (None, None) => return Ok((schema.clone(), None)),
        };
        let placed = |error: Error| match ident {
            Some(ident) if ident.span.start.line > 0 => at_ident(error, ident),
            _ => error.with_place(self.option_span("event_time_field")),
        };
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let Ok(index) = schema.index_of(&column) else {
            let error = Error::invalid(format!("there is no column '{column}' for the event time"));
            return Err(placed(error.with_help(help_for_name("columns", &column, &names))));
        };
        if !matches!(schema.field(index).data_type(), DataType::Timestamp(..)) {
            let found = schema.field(index).data_type();
            let error = Error::invalid(format!("the event time '{column}' is {found}, not a TIMESTAMP"));
            return Err(placed(error.with_help(format!("declare it as {column} TIMESTAMP"))));
        }
        let marked = mark_event_time(schema, index);
        let event_time = Expr::Column(Column::new_unqualified(&column));
        let expression = self.watermark.as_ref().and_then(|watermark| watermark.expression.clone());
        let watermark = match expression {
            None => event_time.clone(),
            Some(expression) => plan_watermark(expression, &marked, context)?,
        };
        Ok((marked, Some((event_time, watermark))))
    }

    fn dedup(&self, schema: &SchemaRef) -> Result<Option<(Vec<usize>, usize)>> {
        if self.contract.is_some() && self.primary_key.is_empty() {
            return Ok(Some((vec![schema.index_of(CONTRACT_KEY)?], schema.index_of(CONTRACT_VERSION)?)));
        }
        if self.primary_key.is_empty() {
            return Ok(None);
        }
        let key = key_indices(&self.primary_key, Some(schema))?;
        let named = self.definition.options.get("version");
        let event_time = schema.fields().iter().position(|field| crate::windows::is_event_time(field));
        let version = match (named, event_time) {
            (Some(name), _) => schema.index_of(name).map_err(|_| {
                let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
                let error = Error::invalid(format!("there is no column '{name}' for the version"));
                error.with_help(help_for_name("columns", name, &names)).with_place(self.option_span("version"))
            })?,
            (None, Some(index)) => index,
            (None, None) if self.contract.is_some() => schema.index_of(CONTRACT_VERSION)?,
            (None, None) => {
                let error =
                    Error::invalid(format!("'{}' has a PRIMARY KEY, but nothing says which row is newer", self.name));
                let help = "add version = 'column' to WITH, declare WATERMARK FOR a column, or remove PRIMARY KEY";
                return Err(at_ident(error.with_help(help), &self.primary_key[0]));
            }
        };
        Ok(Some((key, version)))
    }

    /// Checks that somebody asked for every option.
    pub(crate) fn check_options(&self, options: &Options) -> Result<()> {
        // The options that the planner reads are known to every table.
        for name in ["type", "contract", "late", "allowed_lateness", "event_time_field", "version"] {
            options.get(name);
        }
        if self.contract.is_some() {
            options.get("format");
        }
        options.check_all_known().map_err(|e| self.placed(e))
    }
}

/// Checks that the columns of a key exist and returns their places; all are 0 where no columns are declared.
fn key_indices(key: &[Ident], schema: Option<&SchemaRef>) -> Result<Vec<usize>> {
    let Some(schema) = schema else { return Ok(Vec::new()) };
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let find = |ident: &Ident| {
        let name = normalized(ident);
        schema.index_of(&name).map_err(|_| {
            let error = Error::invalid(format!("there is no column '{name}' for the primary key"));
            at_ident(error.with_help(help_for_name("columns", &name, &names)), ident)
        })
    };
    key.iter().map(find).collect()
}

/// Turns declared columns into a schema; `None` where they are left out.
pub(crate) fn declared_schema(syntax: &TableSyntax, context: &Context<'_>) -> Result<Option<SchemaRef>> {
    if syntax.columns.is_empty() {
        return Ok(None);
    }
    let planner = SqlToRel::new_with_options(context, parser_options());
    let mut fields: Vec<Field> = Vec::with_capacity(syntax.columns.len());
    for column in &syntax.columns {
        let not_null = ColumnOptionDef { name: None, option: ColumnOption::NotNull };
        let key = syntax.primary_key.iter().any(|ident| normalized(ident) == normalized(&column.name));
        let options = if column.not_null || key { vec![not_null] } else { Vec::new() };
        let definition = ColumnDef { name: column.name.clone(), data_type: column.data_type.clone(), options };
        let schema = planner.build_schema(vec![definition]).map_err(|_| {
            let error = Error::invalid(format!("the type {} is not supported", column.data_type));
            let help = "use BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), TEXT, BYTEA, DATE, TIMESTAMP, \
                        a type with [], or STRUCT<name type, …>";
            error.with_help(help).with_place(column.type_span)
        })?;
        let field = schema.field(0).clone();
        if fields.iter().any(|other| other.name() == field.name()) {
            let error = Error::invalid(format!("the column '{}' is declared twice", field.name()));
            return Err(at_ident(error.with_help("give one of them another name"), &column.name));
        }
        fields.push(field);
    }
    Ok(Some(Arc::new(Schema::new(fields))))
}

/// How DataFusion reads SQL for us.
pub(crate) fn parser_options() -> ParserOptions {
    ParserOptions::new().with_map_string_types_to_utf8view(false).with_collect_spans(true)
}

fn plan_watermark(
    expression: datafusion::sql::sqlparser::ast::Expr,
    schema: &SchemaRef,
    context: &Context<'_>,
) -> Result<Expr> {
    let fail = |e| from_datafusion(e, context.place, &context.functions.all_names());
    let qualifiers = vec![None::<TableReference>; schema.fields().len()];
    let schema = DFSchema::from_field_specific_qualified_schema(qualifiers, schema).map_err(fail)?;
    let planner = SqlToRel::new_with_options(context, parser_options());
    let expr = planner.sql_to_expr(expression, &schema, &mut PlannerContext::new()).map_err(fail)?;
    let expr = crate::optimize::coerced(expr, &schema, &context.functions.config).map_err(fail)?;
    let data_type = datafusion::logical_expr::ExprSchemable::get_type(&expr, &schema).map_err(fail)?;
    if matches!(data_type, DataType::Timestamp(..)) {
        return Ok(if data_type == TIMESTAMP { expr } else { datafusion::logical_expr::cast(expr, TIMESTAMP) });
    }
    let error = Error::invalid(format!("the watermark is {data_type}, not a TIMESTAMP"));
    let error = error.with_help("write WATERMARK FOR ts AS ts - INTERVAL '5 seconds'");
    Err(match context.place.find_name("WATERMARK") {
        Some(span) => error.with_place(span),
        None => error,
    })
}
