//! Turns the errors of DataFusion into ours: a kind, a place in the user's text and the way out. It never shows a
//! backtrace or asks the user to report a fault to DataFusion. No state.

use crate::near::help_for_name;
use crate::position::{Place, WithPlace, span_of};
use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};
use headwater_core::{Error, Span};

/// Wraps an error of ours so that it passes through DataFusion unharmed.
pub(crate) fn wrapped(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Turns an error of DataFusion into one of ours; `functions` are the names of all functions.
pub(crate) fn from_datafusion(error: DataFusionError, place: &Place, functions: &[&str]) -> Error {
    let mut diagnostic = None;
    let root = peel(error, &mut diagnostic);
    let span = diagnostic
        .as_ref()
        .and_then(|diagnostic| diagnostic.span)
        .map(|span| Span { line: span.start.line.max(1), column: span.start.column.max(1) });
    let error = match root {
        DataFusionError::External(error) => match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(error) => Error::invalid(error.to_string()),
        },
        DataFusionError::SchemaError(error, _) => from_schema(*error, place, span),
        DataFusionError::SQL(error, _) => crate::parser::from_parser(*error),
        DataFusionError::Plan(message) => from_message(&message, place, functions, diagnostic.as_ref()),
        DataFusionError::NotImplemented(message) => {
            let message = from_message(&message, place, functions, None);
            if message.help().is_some() { message } else { message.with_help("write the query without it") }
        }
        DataFusionError::Internal(message) => Error::internal(cleaned(&message)),
        other => from_message(&other.strip_backtrace(), place, functions, diagnostic.as_ref()),
    };
    let error = match span {
        Some(span) => error.with_place(span),
        None => error,
    };
    error.with_place(place.start())
}

fn peel(error: DataFusionError, diagnostic: &mut Option<Diagnostic>) -> DataFusionError {
    match error {
        DataFusionError::Context(_, inner) => peel(*inner, diagnostic),
        DataFusionError::Diagnostic(found, inner) => {
            diagnostic.get_or_insert(*found);
            peel(*inner, diagnostic)
        }
        DataFusionError::Collection(mut errors) if !errors.is_empty() => peel(errors.swap_remove(0), diagnostic),
        DataFusionError::Shared(inner) => match std::sync::Arc::try_unwrap(inner) {
            Ok(inner) => peel(inner, diagnostic),
            Err(shared) => DataFusionError::Plan(shared.strip_backtrace()),
        },
        other => other,
    }
}

fn from_schema(error: SchemaError, place: &Place, span: Option<Span>) -> Error {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => {
            let mut names: Vec<&str> = valid_fields.iter().map(|column| column.name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            let shown = field.flat_name();
            let error = Error::invalid(format!("there is no column '{shown}'"));
            let error = error.with_help(help_for_name("columns", &field.name, &names));
            at_column(error, &field, place, span)
        }
        SchemaError::AmbiguousReference { field } => {
            let error = Error::invalid(format!("the column '{}' is in several inputs", field.name));
            at_column(error.with_help("write it with the name of its table, as in t.column"), &field, place, span)
        }
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::invalid(format!("two columns are called '{name}'"))
                .with_help("give one of them another name with AS")
        }
    }
}

fn at_column(error: Error, column: &Column, place: &Place, span: Option<Span>) -> Error {
    let known = column.spans.first().map(|s| Span { line: s.start.line.max(1), column: s.start.column.max(1) });
    match known.or(span).or_else(|| place.find_name(&column.name)) {
        Some(span) => error.with_place(span),
        None => error,
    }
}

fn from_message(message: &str, place: &Place, functions: &[&str], diagnostic: Option<&Diagnostic>) -> Error {
    if let Some(name) = quoted_after(message, "Invalid function '") {
        let error = Error::invalid(format!("there is no function '{name}'"));
        let error = error.with_help(help_for_name("functions", &name, functions));
        return match place.find_call(&name) {
            Some(span) => error.with_place(span),
            None => error,
        };
    }
    let mut error = Error::invalid(cleaned(message));
    if let Some(column) = quoted_after(message, "column \"").filter(|_| message.contains("must be in GROUP BY")) {
        error = Error::invalid(format!("the column '{column}' is neither in GROUP BY nor in an aggregate function"));
        error = error.with_help("add it to GROUP BY, or say which of its values is meant: min, max, first_value, …");
    } else if let Some(name) = function_in(message).filter(|_| message.contains("failed to match any signature")) {
        error = Error::invalid(format!("the function '{name}' does not take these arguments"));
        error = error.with_help("check the number and types of the arguments, or CAST them");
    } else if message.contains("No function matches the given name and argument types") {
        error = error.with_help("check the number and types of the arguments, or CAST them");
    } else if message.contains("Projections require unique expression names") {
        let name = quoted_after(message, "the expression \"").unwrap_or_default();
        let name = name.rsplit(" AS ").next().unwrap_or_default();
        error = Error::invalid(format!("two columns of the result are called '{name}'"));
        error = error.with_help("give one of them another name with AS");
        if let Some(span) = place.find_name(name) {
            error = error.with_place(span);
        }
    } else if let Some(about_subquery) = about_subquery(message, place) {
        error = about_subquery;
    } else if message.contains("Unnest should be rewritten") {
        error = Error::invalid("UNNEST is not supported here");
        error = error.with_help("unnest in the select list of a subquery, and use its result outside");
        if let Some(span) = place.find_call("unnest") {
            error = error.with_place(span);
        }
    } else if let Some(field) = field_in(message) {
        error = Error::invalid(format!("there is no field '{field}' in this struct"));
        error = error.with_help("look at the declaration of the column; a window of tumble has start and end");
        if let Some(span) = place.find_name(field) {
            error = error.with_place(span);
        }
    } else if message.contains("for type interval") {
        error = error.with_help("write a number and a unit, such as interval '3 months' or interval '1 day'");
        if let Some(span) = place.find_name("interval") {
            error = error.with_place(span);
        }
    } else if message.contains("Cannot coerce") || message.contains("cannot be cast") {
        error = error.with_help("CAST one side to the type of the other");
    } else if message.starts_with("Error during planning: in ") || message.starts_with("in ") {
        error = error.with_help("correct the constant; docs/sql/functions.md says how it is written");
    } else if message.contains(" takes ") && message.contains(" argument") || message.contains("argument ") {
        error = error.with_help("check the number and types of the arguments, or CAST them");
    } else if let Some(help) = diagnostic.and_then(|diagnostic| diagnostic.helps.first()) {
        error = error.with_help(help.message.clone());
    }
    let words = message.split(|c: char| !c.is_alphanumeric() && c != '_');
    let span = words.filter(|word| functions.binary_search(word).is_ok()).find_map(|word| place.find_call(word));
    match span {
        Some(span) => error.with_place(span),
        None => error,
    }
}

/// Says what is wrong with a subquery, a set operation or a grouping function.
fn about_subquery(message: &str, place: &Place) -> Option<Error> {
    if message.contains("queries have different number of columns") {
        let error = Error::invalid(cleaned(message)).with_help("select as many columns on both sides");
        let word = ["INTERSECT", "EXCEPT", "UNION"].into_iter().find(|word| message.contains(word))?;
        Some(match place.find_name(word) {
            Some(span) => error.with_place(span),
            None => error,
        })
    } else if message.contains("to grouping function is not in grouping columns") {
        Some(Error::invalid(cleaned(message)).with_help("give GROUPING columns of its GROUP BY alone"))
    } else if message.contains("The subquery should only return one column") {
        let error = Error::invalid("a subquery that stands for one value selects several columns");
        Some(error.with_help("select one column; for (a, b) IN (…) write EXISTS with a condition for each"))
    } else {
        None
    }
}

/// Returns the name of a function that a message of DataFusion is about.
fn function_in(message: &str) -> Option<&str> {
    let after = ["Function '", "function '", "call to '", "call '"].iter().find_map(|p| message.split_once(p))?.1;
    let end = after.find(['\'', '('])?;
    Some(&after[..end])
}

/// Returns the field that a struct has not.
fn field_in(message: &str) -> Option<&str> {
    let (before, _) = message.split_once(" not found in struct")?;
    before.rsplit_once("Field ").map(|(_, field)| field)
}

fn quoted_after(message: &str, prefix: &str) -> Option<String> {
    let (_, rest) = message.split_once(prefix)?;
    let end = if prefix.ends_with('\'') { '\'' } else { '"' };
    Some(rest.split(end).next().unwrap_or_default().to_owned())
}

/// What DataFusion and Arrow put before a message, and what tells the user nothing.
const PREFIXES: [&str; 7] = [
    "Error during planning: ",
    "Execution error: ",
    "Internal error: ",
    "Arrow error: ",
    "Parser error: ",
    "Invalid argument error: ",
    "This feature is not implemented: ",
];

/// Keeps the first sentence of what concerns the user.
fn cleaned(message: &str) -> String {
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or_default();
    let message = message.split("\nThis issue was likely caused by a bug").next().unwrap_or_default();
    let message = message.split(" No function matches the given name").next().unwrap_or_default();
    let mut message = message.rsplit("user-defined coercion failed with: ").next().unwrap_or_default();
    while let Some(rest) = PREFIXES.iter().find_map(|prefix| message.strip_prefix(prefix)) {
        message = rest;
    }
    let text = message.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    text.trim_end_matches('.').to_owned()
}

/// Adds the place of an identifier to an error.
pub(crate) fn at_ident(error: Error, ident: &datafusion::sql::sqlparser::ast::Ident) -> Error {
    if ident.span.start.line == 0 { error } else { error.with_place(span_of(ident.span)) }
}
