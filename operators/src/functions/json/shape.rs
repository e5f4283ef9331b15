//! What a document is and contains. Never fails on data. No state.

use super::{document, plain_text};
use crate::functions::scalar::{Argument, define, function, map_text, text, texts};
use crate::functions::strings::{list_of_texts, text_lists};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion_expr::ScalarUDF;
use serde_json::Value;
use std::sync::Arc;

pub(super) fn all() -> Vec<Arc<ScalarUDF>> {
    vec![
        is_json(),
        json_typeof(),
        elements("json_array_elements", "jsonb_array_elements", |value| Some(value.to_string())),
        elements("json_array_elements_text", "jsonb_array_elements_text", plain_text),
        contains(),
        has_key(),
        has_keys("jsonb_exists_any", false),
        has_keys("jsonb_exists_all", true),
        json_unquote(),
    ]
}

/// `is_json(text)`: whether a text is a JSON document; null for null.
fn is_json() -> Arc<ScalarUDF> {
    function("is_json", &[Argument::Text], DataType::Boolean, |columns| {
        let is = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        Ok(Arc::new(texts(&columns[0]).iter().map(|text| text.map(is)).collect::<BooleanArray>()))
    })
}

/// `json_typeof(json)`, as in Postgres.
fn json_typeof() -> Arc<ScalarUDF> {
    define("json_typeof", &[Argument::Text], DataType::Utf8).alias(&["jsonb_typeof"]).evaluate(|columns| {
        Ok(map_text(columns, |text| {
            let name = match document(text)? {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            Some(name.to_owned())
        }))
    })
}

/// `json_array_elements(json)`: the elements as a list, for UNNEST; null where the document is no array.
fn elements(name: &'static str, alias: &str, of: fn(&Value) -> Option<String>) -> Arc<ScalarUDF> {
    define(name, &[Argument::Text], list_of_texts()).alias(&[alias]).evaluate(move |columns| {
        text_lists(texts(&columns[0]).iter().map(|text| match text.and_then(document) {
            Some(Value::Array(values)) => Ok(Some(values.iter().map(of).collect())),
            _ => Ok(None),
        }))
    })
}

/// Whether one document contains another, as Postgres means it: an object has all the members of the other, an array
/// some element for each element of the other, and an array contains a scalar that is among its elements.
fn holds(outer: &Value, inner: &Value, is_top: bool) -> bool {
    match (outer, inner) {
        (Value::Object(outer), Value::Object(inner)) => {
            inner.iter().all(|(key, value)| outer.get(key).is_some_and(|own| holds(own, value, false)))
        }
        (Value::Array(outer), Value::Array(inner)) => {
            inner.iter().all(|value| outer.iter().any(|own| holds(own, value, false)))
        }
        (Value::Array(_), Value::Object(_)) => false,
        (Value::Array(outer), scalar) => is_top && outer.iter().any(|own| holds(own, scalar, false)),
        (Value::Number(outer), Value::Number(inner)) => outer == inner || outer.as_f64() == inner.as_f64(),
        (outer, inner) => outer == inner,
    }
}

/// `jsonb_contains(json, part)`, which is what `json @> part` means.
fn contains() -> Arc<ScalarUDF> {
    function("jsonb_contains", &[Argument::Text, Argument::Text], DataType::Boolean, |columns| {
        let mut last: Option<(&str, Option<Value>)> = None;
        let answers = (0..columns[0].len()).map(|row| {
            let (outer, inner) = (text(columns, 0, row)?, text(columns, 1, row)?);
            // What is looked for is a constant nearly always.
            if last.as_ref().is_none_or(|(known, _)| *known != inner) {
                last = Some((inner, document(inner)));
            }
            let inner = last.as_ref().and_then(|(_, value)| value.as_ref())?;
            Some(holds(&document(outer)?, inner, true))
        });
        Ok(Arc::new(answers.collect::<BooleanArray>()))
    })
}

/// Whether an object has a key, or an array or string is or holds that text.
fn has(json: &Value, key: &str) -> bool {
    match json {
        Value::Object(members) => members.contains_key(key),
        Value::Array(values) => values.iter().any(|value| value.as_str() == Some(key)),
        other => other.as_str() == Some(key),
    }
}

/// `jsonb_exists(json, key)`, which is what `?` means.
fn has_key() -> Arc<ScalarUDF> {
    function("jsonb_exists", &[Argument::Text, Argument::Text], DataType::Boolean, |columns| {
        let answers =
            (0..columns[0].len()).map(|row| Some(has(&document(text(columns, 0, row)?)?, text(columns, 1, row)?)));
        Ok(Arc::new(answers.collect::<BooleanArray>()))
    })
}

/// `jsonb_exists_any(json, keys)` and `jsonb_exists_all`, which are what `?|` and `?&` mean.
fn has_keys(name: &'static str, all: bool) -> Arc<ScalarUDF> {
    function(name, &[Argument::Text, Argument::Texts], DataType::Boolean, move |columns| {
        let lists = columns[1].as_list::<i32>();
        let answers = (0..columns[0].len()).map(|row| {
            let json = document(text(columns, 0, row)?)?;
            let keys: ArrayRef = lists.is_valid(row).then(|| lists.value(row))?;
            let has = |key: &str| has(&json, key);
            let mut keys = texts(&keys).iter().flatten();
            Some(if all { keys.all(has) } else { keys.any(has) })
        });
        Ok(Arc::new(answers.collect::<BooleanArray>()))
    })
}

/// `json_unquote(json)`: the text of a JSON string; anything else stays as it is, as in Flink.
fn json_unquote() -> Arc<ScalarUDF> {
    function("json_unquote", &[Argument::Text], DataType::Utf8, |columns| {
        Ok(map_text(columns, |text| match document(text) {
            Some(Value::String(inner)) => Some(inner),
            _ => Some(text.to_owned()),
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(outer: &str, inner: &str) -> bool {
        holds(&document(outer).expect("JSON"), &document(inner).expect("JSON"), true)
    }

    /// The examples of Postgres' manual.
    #[test]
    fn containment_is_that_of_postgres() {
        assert!(check("\"foo\"", "\"foo\""));
        assert!(check("[1, 2, 3]", "[1, 3]"));
        assert!(check("[1, 2, 3]", "[3, 1]"));
        assert!(check("[1, 2, 3]", "[1, 2, 2]"));
        assert!(check(r#"{"product": "PostgreSQL", "version": 9.4, "jsonb": true}"#, r#"{"version": 9.4}"#));
        assert!(!check("[1, 2, [1, 3]]", "[1, 3]"));
        assert!(check("[1, 2, [1, 3]]", "[[1, 3]]"));
        assert!(!check(r#"{"foo": {"bar": "baz"}}"#, r#"{"bar": "baz"}"#));
        assert!(check(r#"{"foo": {"bar": "baz"}}"#, r#"{"foo": {}}"#));
        assert!(check(r#"["foo", "bar"]"#, "\"bar\""));
        assert!(!check("\"bar\"", r#"["bar"]"#));
        assert!(check("1.0", "1"));
    }
}
