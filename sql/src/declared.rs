//! What `CREATE TABLE` says about columns beyond their names: types, what fills them when nothing else does, what they
//! are computed from. It reads the syntax once and never looks at a row. Its state is the declaration.

use crate::catalog::Context;
use crate::create_table::{ColumnSyntax, Placed, TableSyntax};
use crate::errors::{at_ident, from_datafusion};
use crate::near::help_for_name;
use crate::now::asks_for_now;
use crate::optimize::{aggregates_of, coerced};
use crate::parser::normalized;
use crate::position::WithPlace;
use crate::table::parser_options;
use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, TableReference};
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{self, ColumnDef, ColumnOption, ColumnOptionDef, visit_expressions};
use headwater_core::{Error, Result, Span, metadata_column};
use std::ops::ControlFlow;
use std::sync::Arc;

/// Where the values of a column come from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Origin {
    /// The record, or whoever inserts; where that has nothing, the default.
    Given { default: Option<Expr> },
    /// The other columns of the row.
    Generated(Expr),
    /// What the connector knows of the record.
    Metadata { key: String, span: Span },
}

/// Declared columns.
#[derive(Debug, Clone)]
pub(crate) struct Declared {
    /// The columns as queries see them.
    pub(crate) schema: SchemaRef,
    /// For each column, where its values come from.
    pub(crate) origins: Vec<Origin>,
}

impl Declared {
    /// Reads the columns of a table; `None` where they are left out.
    pub(crate) fn new(syntax: &TableSyntax, context: &Context<'_>) -> Result<Option<Self>> {
        if syntax.columns.is_empty() {
            return Ok(None);
        }
        check_names(syntax)?;
        let given = given_fields(syntax, context)?;
        let row: SchemaRef = Arc::new(Schema::new(given.iter().flatten().cloned().collect::<Vec<_>>()));
        let mut fields = Vec::with_capacity(syntax.columns.len());
        let mut origins = Vec::with_capacity(syntax.columns.len());
        for (column, field) in syntax.columns.iter().zip(given) {
            let (field, origin) = match (&column.generated, field) {
                (None, Some(field)) => {
                    let origin = given_origin(column, &field, context)?;
                    (field, origin)
                }
                (generated, _) => generated_column(column, generated.as_ref(), &row, syntax, context)?,
            };
            fields.push(field);
            origins.push(origin);
        }
        if origins.iter().all(|origin| matches!(origin, Origin::Generated(_))) {
            let error = Error::invalid("every column of the table is generated");
            return Err(at_ident(error.with_help("declare the columns that they are computed from"), &syntax.name));
        }
        Ok(Some(Self { schema: Arc::new(Schema::new(fields)), origins }))
    }

    /// Returns the columns that a source delivers: those of the record, and what the connector knows. A column with a
    /// default may be null there.
    pub(crate) fn delivered(&self) -> SchemaRef {
        let fields = self.schema.fields().iter().zip(&self.origins).filter_map(|(field, origin)| {
            let field = field.as_ref().clone();
            match origin {
                Origin::Given { default: None } => Some(field),
                Origin::Given { default: Some(_) } => Some(field.with_nullable(true)),
                Origin::Metadata { key, .. } => Some(metadata_column(field, key)),
                Origin::Generated(_) => None,
            }
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }

    /// Whether all columns are those of the record, as they are.
    pub(crate) fn is_plain(&self) -> bool {
        self.origins.iter().all(|origin| matches!(origin, Origin::Given { default: None }))
    }

    /// Whether a column needs more than what a source delivers.
    pub(crate) fn is_computed(&self, column: usize) -> bool {
        matches!(self.origins[column], Origin::Generated(_) | Origin::Given { default: Some(_) })
    }

    /// Returns the first column that the connector fills.
    pub(crate) fn metadata(&self) -> Option<(&str, Span)> {
        self.origins.iter().zip(self.schema.fields()).find_map(|(origin, field)| match origin {
            Origin::Metadata { span, .. } => Some((field.name().as_str(), *span)),
            _ => None,
        })
    }

    /// Checks that the connector knows what its columns ask for.
    pub(crate) fn check_metadata(&self, connector: &str, known: &[&str]) -> Result<()> {
        for origin in &self.origins {
            if let Origin::Metadata { key, span } = origin
                && !known.contains(&key.as_str())
            {
                let error = Error::invalid(format!("the connector '{connector}' has no metadata '{key}'"));
                let help = match known {
                    [] => "it has none: leave the column out".to_owned(),
                    known => help_for_name("keys", key, known),
                };
                return Err(error.with_help(help).with_place(*span));
            }
        }
        Ok(())
    }
}

fn check_names(syntax: &TableSyntax) -> Result<()> {
    for (index, column) in syntax.columns.iter().enumerate() {
        let name = normalized(&column.name);
        if syntax.columns[..index].iter().any(|other| normalized(&other.name) == name) {
            let error = Error::invalid(format!("the column '{name}' is declared twice"));
            return Err(at_ident(error.with_help("give one of them another name"), &column.name));
        }
        let twice = match (&column.generated, &column.default, &column.metadata) {
            (Some(_), Some(other), _) => Some(("a DEFAULT", other.span)),
            (Some(_), _, Some(other)) | (_, Some(_), Some(other)) => Some(("METADATA", other.span)),
            _ => None,
        };
        if let Some((what, span)) = twice {
            let error = Error::invalid(format!("the column '{name}' has two origins, one of them {what}"));
            return Err(error.with_help("keep one of them").with_place(span));
        }
    }
    Ok(())
}

/// Returns a field for each column that is not generated.
fn given_fields(syntax: &TableSyntax, context: &Context<'_>) -> Result<Vec<Option<Field>>> {
    let field = |column: &ColumnSyntax| match (&column.generated, &column.data_type) {
        (None, Some(data_type)) => typed_field(column, data_type, syntax, context).map(Some),
        _ => Ok(None),
    };
    syntax.columns.iter().map(field).collect()
}

fn typed_field(
    column: &ColumnSyntax,
    data_type: &ast::DataType,
    syntax: &TableSyntax,
    context: &Context<'_>,
) -> Result<Field> {
    let not_null = ColumnOptionDef { name: None, option: ColumnOption::NotNull };
    let options = if is_required(column, syntax) { vec![not_null] } else { Vec::new() };
    let definition = ColumnDef { name: column.name.clone(), data_type: data_type.clone(), options };
    let planner = SqlToRel::new_with_options(context, parser_options());
    let schema = planner.build_schema(vec![definition]).map_err(|_| {
        let error = Error::invalid(format!("the type {data_type} is not supported"));
        let help = "use BOOLEAN, INT, BIGINT, FLOAT, DOUBLE, DECIMAL(p, s), TEXT, BYTEA, DATE, TIMESTAMP, \
                    a type with [], or STRUCT<name type, …>";
        error.with_help(help).with_place(column.type_span)
    })?;
    Ok(schema.field(0).clone())
}

fn is_required(column: &ColumnSyntax, syntax: &TableSyntax) -> bool {
    column.not_null || syntax.primary_key.iter().any(|ident| normalized(ident) == normalized(&column.name))
}

fn given_origin(column: &ColumnSyntax, field: &Field, context: &Context<'_>) -> Result<Origin> {
    if let Some(Placed { value, span }) = &column.metadata {
        if field.data_type() != &DataType::Utf8 {
            let found = field.data_type();
            let error = Error::invalid(format!("the metadata '{value}' is text, the column is {found}"));
            return Err(error.with_help(format!("declare {} TEXT METADATA …", column.name)).with_place(*span));
        }
        return Ok(Origin::Metadata { key: value.clone(), span: *span });
    }
    let Some(default) = &column.default else { return Ok(Origin::Given { default: None }) };
    let is_name = |name: &ast::Expr| matches!(name, ast::Expr::Identifier(_) | ast::Expr::CompoundIdentifier(_));
    if let Some(name) = find(&default.value, is_name) {
        let error = Error::invalid(format!("a default cannot name a column, such as '{name}'"));
        return Err(error.with_help("use GENERATED ALWAYS AS (expression)").with_place(default.span));
    }
    let empty = Arc::new(Schema::empty());
    let expr = planned(default, &empty, "a default", context)?;
    let expr = fitted(expr, field, &empty, default.span, context)?;
    Ok(Origin::Given { default: Some(expr) })
}

fn generated_column(
    column: &ColumnSyntax,
    generated: Option<&Placed<ast::Expr>>,
    row: &SchemaRef,
    syntax: &TableSyntax,
    context: &Context<'_>,
) -> Result<(Field, Origin)> {
    let Some(generated) = generated else {
        let error = Error::invalid(format!("the column '{}' has no type", column.name));
        return Err(error.with_help("write its type after its name").with_place(column.type_span));
    };
    refuse_generated_names(&generated.value, syntax, generated.span)?;
    let expr = planned(generated, row, "a generated column", context)?;
    let nullable = !is_required(column, syntax);
    let name = normalized(&column.name);
    let (field, expr) = match &column.data_type {
        Some(data_type) => {
            let field = typed_field(column, data_type, syntax, context)?;
            let expr = fitted(expr, &field, row, generated.span, context)?;
            (field, expr)
        }
        None => {
            let data_type = expr.get_type(&unqualified(row, context)?).map_err(|e| fail(e, context))?;
            let data_type = crate::types::plain(&data_type);
            (Field::new(name, data_type.clone(), nullable), cast(expr, data_type))
        }
    };
    Ok((field, Origin::Generated(expr)))
}

/// Returns the first part of an expression that fits, as it is written.
fn find(expr: &ast::Expr, fits: impl Fn(&ast::Expr) -> bool) -> Option<String> {
    let found = visit_expressions(expr, |part| {
        if fits(part) { ControlFlow::Break(part.to_string()) } else { ControlFlow::Continue(()) }
    });
    found.break_value()
}

/// A generated column that names another one would depend on the order in which they are computed.
fn refuse_generated_names(expr: &ast::Expr, syntax: &TableSyntax, span: Span) -> Result<()> {
    let is_generated = |part: &ast::Expr| {
        let ast::Expr::Identifier(ident) = part else { return false };
        let generated = syntax.columns.iter().filter(|column| column.generated.is_some());
        generated.into_iter().any(|column| normalized(&column.name) == normalized(ident))
    };
    let Some(name) = find(expr, is_generated) else { return Ok(()) };
    let error = Error::invalid(format!("a generated column cannot use '{name}', which is generated too"));
    Err(error.with_help("write out what that is computed from").with_place(span))
}

fn fail(error: datafusion::common::DataFusionError, context: &Context<'_>) -> Error {
    from_datafusion(error, context.place, &context.functions.all_names())
}

/// Names columns as an expression over one row does.
pub(crate) fn unqualified(schema: &SchemaRef, context: &Context<'_>) -> Result<DFSchema> {
    let qualifiers = vec![None::<TableReference>; schema.fields().len()];
    DFSchema::from_field_specific_qualified_schema(qualifiers, schema).map_err(|e| fail(e, context))
}

/// Plans an expression over the columns of one row.
pub(crate) fn planned(
    written: &Placed<ast::Expr>,
    schema: &SchemaRef,
    what: &str,
    context: &Context<'_>,
) -> Result<Expr> {
    let at = |error: Error| error.with_place(written.span);
    for name in &context.functions.unrepeatable {
        if let Some(span) = context.place.find_call(name) {
            let error = Error::invalid(format!("the function {name} has another value at each call"));
            return Err(error.with_help(format!("{what} must be the same for the same row")).with_place(span));
        }
    }
    let schema = unqualified(schema, context)?;
    let planner = SqlToRel::new_with_options(context, parser_options());
    let mut value = written.value.clone();
    context.catalog.functions.expand(&mut value).map_err(at)?;
    let expr = planner.sql_to_expr(value, &schema, &mut PlannerContext::new());
    let expr = expr.map_err(|e| at(fail(e, context)))?;
    let has_subquery = expr.exists(|expr| {
        Ok(matches!(expr, Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::WindowFunction(_)))
    });
    if has_subquery.map_err(|e| fail(e, context))? || !aggregates_of([&expr]).is_empty() {
        let error = Error::invalid(format!("{what} can look at one row alone"));
        return Err(at(error.with_help("leave out the subquery, aggregate or window function")));
    }
    if let Some(name) = asks_for_now(&expr) {
        let error = Error::invalid(format!("the function {name} has another value at each moment"));
        return Err(at(error.with_help(format!("{what} must be the same for the same row"))));
    }
    coerced(expr, &schema, &context.functions.config).map_err(|e| at(fail(e, context)))
}

/// Casts an expression to the type of its column.
fn fitted(expr: Expr, field: &Field, schema: &SchemaRef, span: Span, context: &Context<'_>) -> Result<Expr> {
    let schema = unqualified(schema, context)?;
    let found = expr.get_type(&schema).map_err(|e| fail(e, context))?;
    if found == *field.data_type() {
        return Ok(expr);
    }
    if found != DataType::Null && !can_cast_types(&found, field.data_type()) {
        let error =
            Error::invalid(format!("the column '{}' is {}, its value is {found}", field.name(), field.data_type()));
        return Err(error.with_help("CAST the value, or declare the column with another type").with_place(span));
    }
    coerced(cast(expr, field.data_type().clone()), &schema, &context.functions.config)
        .map_err(|e| fail(e, context).with_place(span))
}
