//! What paths find in documents. Never fails on data: a document without what a path names gives null. No state but
//! the paths that were compiled.

use super::{Path, check_path, document, plain_text};
use crate::functions::scalar::{Argument, define, text};
use crate::functions::strings::{list_of_texts, text_lists};
use arrow::array::{Array, ArrayRef, BooleanArray, StringArray};
use arrow::datatypes::DataType;
use datafusion_common::Result;
use datafusion_expr::ScalarUDF;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        texts("json_value", &[], json_value),
        texts("json_query", &[], json_query),
        texts("get_first_json_object", &["json_path_query_first", "jsonb_path_query_first"], first),
        texts("get_json_object", &[], first_as_text),
        texts("extract_json_string", &[], first_string),
        extract_json(),
        json_exists(),
    ]
}

const ARGUMENTS: &[Argument] = &[Argument::Text, Argument::Text];

/// What is found for each row: `None` where there is no document or no path.
fn found<T>(
    columns: &[ArrayRef],
    row: usize,
    paths: &mut super::super::compiled::Batch<'_, Path>,
    of: impl Fn(&[&Value], bool) -> T,
) -> Result<Option<T>> {
    let (Some(json), Some(path)) = (text(columns, 0, row), text(columns, 1, row)) else { return Ok(None) };
    let path = paths.get(path)?;
    let Some(document) = document(json) else { return Ok(None) };
    Ok(Some(of(&path.path.query(&document).all(), path.is_definite)))
}

fn texts(name: &'static str, aliases: &[&str], of: fn(&[&Value], bool) -> Option<String>) -> Arc<ScalarUDF> {
    let compiled = Path::compiled();
    define(name, ARGUMENTS, DataType::Utf8).alias(aliases).constant(1, check_path).evaluate(move |columns| {
        let mut paths = compiled.batch();
        let rows = (0..columns[0].len()).map(|row| found(columns, row, &mut paths, of).map(Option::flatten));
        Ok(Arc::new(rows.collect::<Result<StringArray>>()?))
    })
}

/// `json_value(json, path)`: the one scalar that is found, as text; null for anything else.
fn json_value(found: &[&Value], _: bool) -> Option<String> {
    match found {
        [Value::Object(_) | Value::Array(_)] => None,
        [value] => plain_text(value),
        _ => None,
    }
}

/// `json_query(json, path)`: the one object or array that is found; a path that can find several gives their array.
fn json_query(found: &[&Value], is_definite: bool) -> Option<String> {
    match found {
        _ if !is_definite => Some(Value::Array(found.iter().map(|value| (*value).clone()).collect()).to_string()),
        [value @ (Value::Object(_) | Value::Array(_))] => Some(value.to_string()),
        _ => None,
    }
}

/// `get_first_json_object(json, path)`: the first value that is found, as JSON, as in Arroyo.
fn first(found: &[&Value], _: bool) -> Option<String> {
    found.first().map(|value| value.to_string())
}

/// `get_json_object(json, path)`: the first value that is found, as text, as in Spark and Hive.
fn first_as_text(found: &[&Value], _: bool) -> Option<String> {
    found.first().and_then(|value| plain_text(value))
}

/// `extract_json_string(json, path)`: the first value that is found, if it is a string, as in Arroyo.
fn first_string(found: &[&Value], _: bool) -> Option<String> {
    found.first().and_then(|value| value.as_str()).map(str::to_owned)
}

/// `extract_json(json, path)`: all values that are found, as a list of JSON texts, as in Arroyo.
fn extract_json() -> Arc<ScalarUDF> {
    let compiled = Path::compiled();
    define("extract_json", ARGUMENTS, list_of_texts())
        .alias(&["json_path_query", "jsonb_path_query"])
        .constant(1, check_path)
        .evaluate(move |columns| {
            let mut paths = compiled.batch();
            let all = |found: &[&Value], _| found.iter().map(|value| Some(value.to_string())).collect::<Vec<_>>();
            text_lists((0..columns[0].len()).map(|row| found(columns, row, &mut paths, all)))
        })
}

/// `json_exists(json, path)`: whether anything is found, as in Flink; `json @? path` of Postgres.
fn json_exists() -> Arc<ScalarUDF> {
    let compiled = Path::compiled();
    define("json_exists", ARGUMENTS, DataType::Boolean)
        .alias(&["json_path_exists", "jsonb_path_exists"])
        .constant(1, check_path)
        .evaluate(move |columns| {
            let mut paths = compiled.batch();
            let rows = (0..columns[0].len()).map(|row| found(columns, row, &mut paths, |found, _| !found.is_empty()));
            Ok(Arc::new(rows.collect::<Result<BooleanArray>>()?))
        })
}
