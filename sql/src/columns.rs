//! Which column of a query becomes which column of the table that it is inserted into. Pure.

use crate::declared::{Declared, Origin};
use crate::near::help_for_name;
use crate::position::WithPlace;
use crate::share::Insert;
use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, cast};
use headwater_core::{Error, Result, Span};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The columns of a table as expressions: first those that are given, over the columns of the query, then all of them,
/// over those that are given.
pub(crate) struct Filling {
    pub(crate) given: Vec<Expr>,
    /// `None` where all columns are given.
    pub(crate) all: Option<Vec<Expr>>,
    /// Whether the columns of the query are those of the table, with their names and types.
    pub(crate) is_identity: bool,
}

/// Matches the columns of an insert with those of the table. `input` are the columns of the query.
///
/// # Errors
/// `Invalid` when names or numbers of columns do not fit, a type cannot be cast, a column that is not nullable and has
/// no default is left out, or one that is generated is written.
pub(crate) fn filling(
    insert: &Insert,
    schema: &SchemaRef,
    declared: Option<&Declared>,
    input: &DFSchema,
) -> Result<Filling> {
    let origin = |column: usize| declared.map(|declared| &declared.origins[column]);
    let is_given = |column: &usize| !matches!(origin(*column), Some(Origin::Generated(_)));
    let columns: Vec<usize> = (0..schema.fields().len()).filter(is_given).collect();
    let wanted: Vec<&str> = columns.iter().map(|column| schema.field(*column).name().as_str()).collect();
    let order: Vec<Option<usize>> = if insert.columns.is_empty() {
        let query: Vec<Column> = insert.plan.schema().columns();
        check_positions(insert, &query, &wanted)?;
        (0..wanted.len()).map(Some).collect()
    } else {
        listed(insert, schema, &wanted)?
    };
    let mut given = Vec::with_capacity(columns.len());
    let mut is_identity = columns.len() == schema.fields().len() && input.fields().len() == columns.len();
    for (place, (column, index)) in columns.iter().zip(order).enumerate() {
        let field = schema.field(*column);
        let expr = match index {
            Some(index) => {
                check_type(insert, &insert.plan.schema().fields()[index], field)?;
                let found = input.field(index);
                let same_type = found.data_type() == field.data_type();
                is_identity &= index == place && same_type && found.name() == field.name();
                let expr = Expr::from(input.qualified_field(index));
                if same_type { expr } else { cast(expr, field.data_type().clone()) }
            }
            None => {
                is_identity = false;
                left_out(insert, field, origin(*column))?
            }
        };
        given.push(expr.alias(field.name()));
    }
    let generated = |(column, field): (usize, &Arc<Field>)| match origin(column) {
        Some(Origin::Generated(expr)) => expr.clone().alias(field.name()),
        _ => Expr::Column(Column::new_unqualified(field.name())),
    };
    let all =
        (columns.len() < schema.fields().len()).then(|| schema.fields().iter().enumerate().map(generated).collect());
    Ok(Filling { given, all, is_identity })
}

/// Returns what a column holds that the list of the insert does not name.
fn left_out(insert: &Insert, field: &Field, origin: Option<&Origin>) -> Result<Expr> {
    if let Some(Origin::Given { default: Some(default) }) = origin {
        return Ok(default.clone());
    }
    if field.is_nullable() {
        return Ok(cast(Expr::Literal(ScalarValue::Null, None), field.data_type().clone()));
    }
    let (name, target) = (field.name(), &insert.target);
    let message = format!("the column '{name}' of '{target}' is NOT NULL, but the INSERT leaves it out");
    let error = Error::invalid(message).with_help("add it to the list and to the query, or declare a DEFAULT");
    Err(error.with_place(place_of_target(insert)))
}

fn place_of_target(insert: &Insert) -> Span {
    insert.place.find_words(&["INTO", &insert.target]).unwrap_or_else(|| insert.place.start())
}

fn listed(insert: &Insert, schema: &SchemaRef, wanted: &[&str]) -> Result<Vec<Option<usize>>> {
    let n_columns = insert.plan.schema().fields().len();
    if insert.columns.len() != n_columns {
        let message = format!("the INSERT lists {} columns, its query has {n_columns}", insert.columns.len());
        let error = Error::invalid(message).with_help("list as many columns as the query has");
        return Err(error.with_place(place_of_target(insert)));
    }
    let mut seen = BTreeSet::new();
    for name in &insert.columns {
        let problem = if !wanted.contains(&name.as_str()) && schema.index_of(name).is_ok() {
            let error = Error::invalid(format!("the column '{name}' is generated and cannot be written"));
            error.with_help("leave it out of the list: it is computed from the others")
        } else if !wanted.contains(&name.as_str()) {
            let error = Error::invalid(format!("the table '{}' has no column '{name}'", insert.target));
            error.with_help(help_for_name("columns", name, wanted))
        } else if !seen.insert(name) {
            Error::invalid(format!("the column '{name}' is listed twice")).with_help("list each column once")
        } else {
            continue;
        };
        return Err(problem.with_place(insert.place.find_name(name).unwrap_or_else(|| place_of_target(insert))));
    }
    Ok(wanted.iter().map(|name| insert.columns.iter().position(|listed| listed == name)).collect())
}

fn check_positions(insert: &Insert, query: &[Column], wanted: &[&str]) -> Result<()> {
    let names: Vec<&str> = query.iter().map(|column| column.name.as_str()).collect();
    let error = |message: String, help: String| {
        Err(Error::invalid(message).with_help(help).with_place(place_of_target(insert)))
    };
    if names.len() != wanted.len() {
        let message =
            format!("the query has {} columns, the table '{}' has {}", names.len(), insert.target, wanted.len());
        let help = format!("the table wants: {}; the query gives: {}", wanted.join(", "), names.join(", "));
        return error(message, help);
    }
    let same_names = names.iter().collect::<BTreeSet<_>>() == wanted.iter().collect::<BTreeSet<_>>();
    if same_names && names != wanted {
        let message = format!("the columns of the query are those of '{}' in another order", insert.target);
        let listed = names.join(", ");
        let help = format!("columns are matched by position: write INSERT INTO {} ({listed}) SELECT …", insert.target);
        return error(message, help);
    }
    Ok(())
}

fn check_type(insert: &Insert, from: &Field, to: &Field) -> Result<()> {
    if fits(from.data_type(), to.data_type()) {
        return Ok(());
    }
    let message = format!(
        "the column '{}' of '{}' is {}, the query gives '{}' as {}",
        to.name(),
        insert.target,
        to.data_type(),
        from.name(),
        from.data_type()
    );
    let span = insert.place.find_name(from.name()).unwrap_or_else(|| place_of_target(insert));
    Err(Error::invalid(message)
        .with_help("CAST it in the query, or declare the column with another type")
        .with_place(span))
}

fn fits(from: &DataType, to: &DataType) -> bool {
    from == to
        || *from == DataType::Null
        || (can_cast_types(from, to) && !(is_time(to) && from.is_numeric()) && !(is_time(from) && to.is_numeric()))
}

/// Numbers and times are cast to each other without an error, in a unit that nobody said.
fn is_time(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64)
}
