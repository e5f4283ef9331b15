//! Which column of a query becomes which column of the table that it is inserted into. Pure.

use crate::near::help_for_name;
use crate::position::WithPlace;
use crate::share::Insert;
use datafusion::arrow::compute::can_cast_types;
use datafusion::arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::Column;
use headwater_core::{Error, Result, Span};
use std::collections::BTreeSet;

/// Returns for each column of `schema` the number of the column of the query that fills it, or `None` where it stays null.
///
/// # Errors
/// `Invalid` when names or numbers of columns do not fit, a type cannot be cast, or a column that is not nullable is
/// left out.
pub(crate) fn match_columns(insert: &Insert, schema: &SchemaRef) -> Result<Vec<Option<usize>>> {
    let query: Vec<Column> = insert.plan.schema().columns();
    let wanted: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let order = if insert.columns.is_empty() {
        check_positions(insert, &query, &wanted)?;
        (0..wanted.len()).map(Some).collect()
    } else {
        listed(insert, query.len(), &wanted)?
    };
    let fields = insert.plan.schema().fields();
    let mut matched = Vec::with_capacity(wanted.len());
    for (field, index) in schema.fields().iter().zip(order) {
        match index {
            Some(index) => {
                check_type(insert, &fields[index], field)?;
                matched.push(Some(index));
            }
            None if field.is_nullable() => matched.push(None),
            None => {
                let message = format!(
                    "the column '{}' of '{}' is NOT NULL, but the INSERT leaves it out",
                    field.name(),
                    insert.target
                );
                let error = Error::invalid(message).with_help("add it to the list and to the query");
                return Err(error.with_place(place_of_target(insert)));
            }
        }
    }
    Ok(matched)
}

fn place_of_target(insert: &Insert) -> Span {
    insert.place.find_words(&["INTO", &insert.target]).unwrap_or_else(|| insert.place.start())
}

fn listed(insert: &Insert, n_columns: usize, wanted: &[&str]) -> Result<Vec<Option<usize>>> {
    if insert.columns.len() != n_columns {
        let message = format!("the INSERT lists {} columns, its query has {n_columns}", insert.columns.len());
        let error = Error::invalid(message).with_help("list as many columns as the query has");
        return Err(error.with_place(place_of_target(insert)));
    }
    let mut seen = BTreeSet::new();
    for name in &insert.columns {
        let problem = if !wanted.contains(&name.as_str()) {
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
