//! A table of a connector: what `CREATE TABLE` declared, checked, and what reading or writing it needs. It never opens
//! the system behind it. Its state is the declaration, and the source's spec once something reads the table.

use crate::catalog::Context;
use crate::create_table::{OptionSyntax, Placed, TableSyntax, WatermarkSyntax};
use crate::declared::{Declared, planned, unqualified};
use crate::errors::{at_ident, from_datafusion};
use crate::lookup_table::Looker;
use crate::near::help_for_name;
use crate::parser::normalized;
use crate::position::{Place, WithPlace};
use crate::settings::{LateSetting, Lateness, parse_duration, parse_late, parse_ttl};
use crate::types::TIMESTAMP;
use crate::windows::mark_event_time;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::Column;
use datafusion::logical_expr::Expr;
use datafusion::sql::planner::ParserOptions;
use datafusion::sql::sqlparser::ast::{self, Ident};
use headwater_contracts::Contract;
use headwater_core::{
    Connector, Error, OperatorSpec, Options, Registry, Result, SourceSpec, Span, TableDefinition, metadata_column,
};
use headwater_operators::{Debezium, DecodeContract};
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

/// The formats whose records are changes of rows: events of Debezium's, and the present row of each key, or that there
/// is none. The connector makes events of the latter.
const CHANGELOGS: [&str; 2] = ["debezium_json", UPSERT];
const UPSERT: &str = "upsert_json";
/// The metadata of connectors whose records have keys.
const KEY: &str = "key";
/// The metadata that dead letters take their position from, where the connector knows it.
const POSITION: &str = "position";

/// The options that the planner reads itself. They are the same wherever a pipeline runs.
pub(crate) const OWN_OPTIONS: [&str; 8] =
    ["connector", "type", "contract", "late", "allowed_lateness", "event_time_field", "state_ttl", "version"];

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
    /// The columns as declared; `None` where they are left out.
    pub(crate) declared: Option<Declared>,
    pub(crate) contract: Option<&'static Contract>,
    pub(crate) primary_key: Vec<Ident>,
    pub(crate) lateness: Lateness,
    pub(crate) role: Option<Role>,
    key_is_promised: bool,
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
    /// Where records are changes of rows, the key by which they say which row is meant; empty where they say all of it.
    pub(crate) changelog: Option<Vec<usize>>,
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
        let declared = Declared::new(&syntax, context)?;
        let schema = declared.as_ref().map(|declared| declared.schema.clone());
        let written = options.iter().filter_map(|option| Some((option.name.clone(), option.written.clone()?)));
        let written: Vec<(String, String)> = written.collect();
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
        let mut options: Options = values.into_iter().collect();
        written.into_iter().for_each(|(name, written)| options.hide(name, written));
        let place = context.place.clone();
        let primary_key = key_indices(&syntax.primary_key, schema.as_ref())?;
        let mut table = Self {
            definition: TableDefinition { name: name.clone(), schema, primary_key, options, base: base.to_owned() },
            name,
            place,
            connector,
            declared,
            contract: None,
            primary_key: syntax.primary_key,
            key_is_promised: syntax.key_is_promised,
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
        let ttl_ns = options.get("state_ttl").map(parse_ttl).transpose().map_err(|e| at(e, "state_ttl"))?;
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
        let has_version = options.get("version").is_some();
        if self.is_changelog() && has_version {
            let error = Error::invalid("a change says itself which row is newer: it comes later");
            return Err(at(error.with_help("leave version out, or read the format json"), "version"));
        }
        // Changes come in the order in which they were made, whatever the event time of the rows: a deletion of an old
        // row must find its window.
        let late = if self.is_changelog() && allowed_ns.is_none() { late.or(Some(LateSetting::Update)) } else { late };
        if let Some(column) = short_form {
            self.watermark = Some(WatermarkSyntax { column, expression: None });
        }
        self.role = role;
        self.contract = contract;
        self.lateness = Lateness { late, allowed_ns, ttl_ns };
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
                let definition = self.delivered()?;
                let source = self.connector.source(&definition).map_err(|e| self.placed(e))?;
                self.check_options(&definition.options)?;
                let schema = self.definition.schema.clone().unwrap_or_else(|| source.schema());
                (source, None, schema)
            }
        };
        let (schema, event_time) = self.event_time(&schema, context)?;
        let dedup = if self.is_changelog() { None } else { self.dedup(&schema)? };
        let key = || key_indices(&self.primary_key, Some(&schema));
        let changelog = if self.is_changelog() { Some(key()?) } else { None };
        Ok(Reader { source, decode, schema, event_time, dedup, changelog })
    }

    /// Whether the records are changes of rows.
    fn is_changelog(&self) -> bool {
        let is_format = self.definition.options.get("format").is_some_and(|format| CHANGELOGS.contains(&format));
        self.contract.is_none() && (is_format || self.connector.reads_changes())
    }

    /// Returns the table as its connector reads it: without what is computed afterwards.
    fn delivered(&self) -> Result<TableDefinition> {
        let mut definition = self.definition.clone();
        if let Some(declared) = &self.declared {
            declared.check_metadata(self.connector.name(), self.connector.metadata_keys())?;
            definition.schema = Some(declared.delivered());
        }
        if self.is_changelog() {
            if let Some((name, span)) = self.declared.as_ref().and_then(Declared::metadata) {
                let error =
                    Error::invalid(format!("the column '{name}' is about one record, a row here is made by several"));
                return Err(error.with_help("leave METADATA out, or read the format json").with_place(span));
            }
            let format = definition.options.shown("format").unwrap_or_default().to_owned();
            if self.definition.options.get("format") == Some(UPSERT) && !self.connector.metadata_keys().contains(&KEY) {
                let connector = self.connector.name();
                let error =
                    Error::invalid(format!("format = '{UPSERT}' needs messages with keys, '{connector}' has none"));
                return Err(self.placed(error.with_help("use json or debezium_json")));
            }
            let columns = definition.columns().map_err(|e| self.placed(e))?;
            // The key by its places among these columns; what is computed has none.
            let place = |ident: &Ident| columns.index_of(&normalized(ident)).ok();
            definition.primary_key = self.primary_key.iter().filter_map(place).collect();
            let mut fields = Debezium::envelope(&columns);
            if self.connector.metadata_keys().contains(&POSITION) {
                fields.push(metadata_column(Field::new(CONTRACT_POSITION, DataType::Utf8, false), POSITION));
            }
            definition.schema = Some(Arc::new(Schema::new(fields)));
            definition.options.set("format", "json");
            definition.options.hide("format", format);
        }
        Ok(definition)
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
        let expression = self.watermark.as_ref().and_then(|watermark| watermark.expression.as_ref());
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
        if self.primary_key.is_empty() || self.key_is_promised {
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
                let help = "add version = 'column' to WITH, declare WATERMARK FOR a column, or write NOT ENFORCED";
                return Err(at_ident(error.with_help(help), &self.primary_key[0]));
            }
        };
        Ok(Some((key, version)))
    }

    /// Checks that somebody asked for every option.
    pub(crate) fn check_options(&self, options: &Options) -> Result<()> {
        // The options that the planner reads are known to every table.
        for name in &OWN_OPTIONS[1..] {
            options.get(name);
        }
        if self.contract.is_some() {
            options.get("format");
        }
        options.check_all_known().map_err(|e| self.placed(e))
    }
}

/// Checks that the columns of a key exist and returns their places; all are 0 where no columns are declared.
pub(crate) fn key_indices(key: &[Ident], schema: Option<&SchemaRef>) -> Result<Vec<usize>> {
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

/// How DataFusion reads SQL for us.
pub(crate) fn parser_options() -> ParserOptions {
    ParserOptions::new().with_map_string_types_to_utf8view(false).with_collect_spans(true)
}

fn plan_watermark(watermark: &Placed<ast::Expr>, schema: &SchemaRef, context: &Context<'_>) -> Result<Expr> {
    let expr = planned(watermark, schema, "a watermark", context)?;
    let schema = unqualified(schema, context)?;
    let data_type = datafusion::logical_expr::ExprSchemable::get_type(&expr, &schema)
        .map_err(|e| from_datafusion(e, context.place, &[]))?;
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
