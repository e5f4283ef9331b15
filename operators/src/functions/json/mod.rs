//! JSON in SQL: paths (SQL/JSON, Flink, Arroyo), containment (Postgres), and documents made of values.
//!
//! JSON is text; a column of type `JSON` or `JSONB` is one. A text that is no JSON has no parts: every answer about it
//! is null, never an error. A path that is a constant and none is refused while the query is planned. Getting at parts
//! by key (`->`, `->>`) is the planner's, on the parser of `datafusion-functions-json`.

mod build;
mod paths;
mod shape;

pub(super) use build::JSON;

use super::compiled::Compiled;
use datafusion_expr::ScalarUDF;
use serde_json::Value;
use serde_json_path::JsonPath;
use std::sync::Arc;

/// Returns the functions of this family.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    let mut functions = paths::all();
    functions.extend(shape::all());
    functions.extend(build::all());
    functions
}

/// Reads a document; `None` where the text is none.
fn document(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

/// A path, and whether it can find more than one value.
struct Path {
    path: JsonPath,
    is_definite: bool,
}

impl Path {
    /// Reads a path: JSONPath (RFC 9535), with or without the words `lax` and `strict` of SQL/JSON.
    fn new(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let bare = ["lax ", "strict "].iter().find_map(|mode| trimmed.strip_prefix(mode)).unwrap_or(trimmed).trim();
        let path = JsonPath::parse(bare).map_err(|error| format!("'{text}' is not a JSON path: {error}"))?;
        Ok(Self { path, is_definite: is_definite(bare) })
    }

    fn compiled() -> Compiled<Self> {
        Compiled::new(Self::new)
    }
}

/// Whether a valid path is made of names and single indices alone.
fn is_definite(path: &str) -> bool {
    let mut quote = None;
    let mut before = ' ';
    for c in path.chars() {
        match quote {
            Some(end) if c == end && before != '\\' => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if matches!(c, '*' | '?' | ':' | ',') || c == '.' && before == '.' => return false,
            None => {}
        }
        before = c;
    }
    true
}

fn check_path(path: &str, _: &arrow::datatypes::DataType) -> Result<(), String> {
    Path::new(path).map(|_| ())
}

/// Returns a value as text: a string without its quotes, anything else as JSON; JSON's null is null.
fn plain_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definite_paths_are_told_from_others() {
        for path in ["$", "$.a.b", "$['a:b'][0]", "$[\"*\"]", "$.a[-1]"] {
            assert!(Path::new(path).expect("a path").is_definite, "{path}");
        }
        for path in ["$.*", "$..a", "$[0,1]", "$[1:2]", "$[?@.a > 1]", "lax $.a[*].b"] {
            assert!(!Path::new(path).expect("a path").is_definite, "{path}");
        }
        assert!(Path::new("a.b").is_err());
    }
}
