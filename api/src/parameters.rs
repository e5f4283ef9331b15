//! Query parameters: each declared once, which is what the OpenAPI description shows and what a request is checked
//! against. A parameter that the route does not declare, or one given twice, is refused rather than ignored.

use crate::problem::Problem;
use axum::http::Uri;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The longest value of a parameter.
const VALUE_LENGTH_MAX: usize = 1024;

/// Where a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Header,
}

/// The form of a parameter's value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    Text,
    Limit,
    OneOf(&'static [&'static str]),
}

/// A declared parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) form: Form,
    pub(crate) description: &'static str,
    pub(crate) example: &'static str,
}

impl Parameter {
    /// Declares a query parameter of free text.
    pub(crate) const fn query(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self { name, place: Place::Query, form: Form::Text, description, example }
    }

    /// Declares a query parameter that is one of a list.
    pub(crate) const fn one_of(name: &'static str, description: &'static str, list: &'static [&'static str]) -> Self {
        Self { name, place: Place::Query, form: Form::OneOf(list), description, example: list[0] }
    }

    /// Declares a part of the path.
    pub(crate) const fn path(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self { name, place: Place::Path, form: Form::Text, description, example }
    }

    /// Declares a request header.
    pub(crate) const fn header(name: &'static str, description: &'static str, example: &'static str) -> Self {
        Self { name, place: Place::Header, form: Form::Text, description, example }
    }

    /// Describes it as an OpenAPI parameter.
    pub(crate) fn describe(&self) -> Value {
        let place = match self.place {
            Place::Path => "path",
            Place::Query => "query",
            Place::Header => "header",
        };
        let schema = match self.form {
            Form::Text => json!({"type": "string"}),
            Form::Limit => json!({"type": "integer", "minimum": 1, "maximum": 100, "default": 50}),
            Form::OneOf(list) => json!({"type": "string", "enum": list}),
        };
        json!({
            "name": self.name,
            "in": place,
            "required": self.place == Place::Path,
            "description": self.description,
            "schema": schema,
            "example": self.example,
        })
    }
}

/// How many rows a page has.
pub(crate) const LIMIT: Parameter = Parameter {
    name: "limit",
    place: Place::Query,
    form: Form::Limit,
    description: "Rows on a page, at most 100.",
    example: "50",
};
/// Where a page starts.
pub(crate) const CURSOR: Parameter =
    Parameter::query("cursor", "The 'next_cursor' of the page before, with the same filters.", "");
/// A calendar period.
pub(crate) const PERIOD: Parameter =
    Parameter::query("period", "A month YYYY-MM, a quarter YYYY-Qn or a year YYYY.", "2026-Q1");
/// The start of a range of time.
pub(crate) const FROM: Parameter =
    Parameter::query("from", "From this date, or time (UTC, to the second), on.", "2026-01-01");
/// The end of a range of time.
pub(crate) const TO: Parameter =
    Parameter::query("to", "Up to this date, which is included, or before this time (UTC).", "2026-03-31");

/// The parameters of one request.
#[derive(Debug, Default)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    /// Reads the query of a request to a route that declares `declared`.
    pub(crate) fn read(uri: &Uri, declared: &[Parameter]) -> Result<Self, Problem> {
        let axum::extract::Query(pairs) = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|error| Problem::invalid(format!("The query cannot be read: {error}.")))?;
        let mut values = BTreeMap::new();
        for (name, value) in pairs {
            let known = || declared.iter().filter(|parameter| parameter.place == Place::Query);
            let Some(parameter) = known().find(|parameter| parameter.name == name) else {
                let names: Vec<&str> = known().map(|parameter| parameter.name).collect();
                return Err(Problem::invalid(format!("There is no parameter '{name}' here.")).with("known", names));
            };
            if value.len() > VALUE_LENGTH_MAX {
                return Err(Problem::invalid(format!(
                    "The parameter '{name}' is longer than {VALUE_LENGTH_MAX} bytes."
                )));
            }
            if let Form::OneOf(list) = parameter.form
                && !list.contains(&value.as_str())
            {
                return Err(
                    Problem::invalid(format!("'{value}' is no value of '{name}'.")).with("known", list.to_vec())
                );
            }
            if values.insert(name.clone(), value).is_some() {
                return Err(Problem::invalid(format!("The parameter '{name}' is given twice.")));
            }
        }
        // An empty value is what a form sends for a field left blank: not given.
        values.retain(|_, value| !value.is_empty());
        Ok(Self(values))
    }

    /// Returns a value.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns a number within bounds.
    pub(crate) fn integer(&self, name: &str, min: usize, max: usize) -> Result<Option<usize>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse::<usize>() {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(Problem::invalid(format!("'{name}' must be a number from {min} to {max}, not '{text}'."))),
        }
    }

    /// Writes all parameters but some in one canonical text.
    pub(crate) fn without(&self, left_out: &[&str]) -> String {
        let kept = self.0.iter().filter(|(name, _)| !left_out.contains(&name.as_str()));
        json!(kept.collect::<BTreeMap<_, _>>()).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Parameters, Problem> {
        let uri: Uri = format!("/x?{query}").parse().expect("a uri");
        Parameters::read(&uri, &[LIMIT, CURSOR, Parameter::one_of("role", "", &["a", "b"])])
    }

    #[test]
    fn unknown_doubled_and_impossible_parameters_are_refused() {
        for bad in ["limits=1", "limit=1&limit=2", "role=c", &format!("cursor={}", "a".repeat(2000))] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("limit=&role=b").is_ok());
    }

    #[test]
    fn numbers_are_bounded() {
        for bad in ["0", "101", "-1", "ten", "1e1"] {
            assert!(read(&format!("limit={bad}")).expect("declared").integer("limit", 1, 100).is_err(), "{bad}");
        }
        assert_eq!(read("limit=100").expect("declared").integer("limit", 1, 100).expect("in bounds"), Some(100));
        assert_eq!(read("").expect("nothing").integer("limit", 1, 100).expect("not given"), None);
    }

    #[test]
    fn the_canonical_text_does_not_depend_on_the_order() {
        let (one, other) = (read("role=a&limit=1&cursor=x"), read("cursor=y&role=a"));
        let text = |read: Result<Parameters, Problem>| read.expect("declared").without(&["cursor", "limit"]);
        assert_eq!(text(one), text(other));
    }
}
