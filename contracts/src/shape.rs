//! A JSON Schema compiled to what decoding needs: for each field its column, its Arrow type and its rules, in the
//! order of the file. It understands the keywords that our contracts use and refuses every other, so that no rule in
//! a file is ignored in silence. It never looks at events and holds no state.

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use headwater_core::{Error, Result};
use regex::Regex;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A field of an event.
#[derive(Debug, Clone)]
pub struct FieldShape {
    /// The name on the wire, such as `feedbackText`; empty for the items of a list.
    pub name: String,
    /// The name of the column, such as `feedback_text`.
    pub column: String,
    /// Where it is in an event, such as `data.feedbackText`; items of a list are `[]`.
    pub path: String,
    /// What it means.
    pub description: String,
    /// Whether an event without it is refused.
    pub required: bool,
    /// What an event without it means.
    pub default: Option<Value>,
    /// Whether it may hold what somebody wrote, or what names somebody.
    pub personal: bool,
    /// What values it may have.
    pub kind: Kind,
    /// Its place in the order of the schema: of several faults of an event the lowest is reported.
    pub(crate) rank: u32,
}

/// What values a field may have.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Text.
    Text(TextRule),
    /// A point in time.
    Time,
    /// A whole number.
    Int(Range),
    /// A number.
    Float(Range),
    /// True or false.
    Bool,
    /// Any object, kept as JSON text.
    Map,
    /// An object with these fields.
    Object(Vec<FieldShape>),
    /// A list.
    List(Box<FieldShape>),
}

/// What texts a field may have.
#[derive(Debug, Clone, Default)]
pub struct TextRule {
    /// The form.
    pub form: Form,
    /// The only values, when there are any.
    pub choices: Vec<String>,
    /// The least number of characters.
    pub length_min: Option<usize>,
    /// The greatest number of characters.
    pub length_max: Option<usize>,
    /// A regular expression that must match.
    pub pattern: Option<Regex>,
}

/// The form of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Any.
    #[default]
    Plain,
    /// A uuid with hyphens; it is kept in lower case.
    Uuid,
    /// An e-mail address.
    Email,
    /// An absolute URI.
    Uri,
}

/// The range of a number.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Range {
    /// The least value.
    pub minimum: Option<f64>,
    /// Every value is greater than this.
    pub above: Option<f64>,
    /// The greatest value.
    pub maximum: Option<f64>,
}

impl Range {
    /// Returns whether a number is in the range.
    #[must_use]
    pub fn holds(&self, number: f64) -> bool {
        self.minimum.is_none_or(|least| number >= least)
            && self.above.is_none_or(|bound| number > bound)
            && self.maximum.is_none_or(|greatest| number <= greatest)
    }
}

impl FieldShape {
    /// Returns the Arrow type of the column.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match &self.kind {
            Kind::Text(_) | Kind::Map => DataType::Utf8,
            Kind::Time => DataType::Timestamp(TimeUnit::Nanosecond, None),
            Kind::Int(_) => DataType::Int64,
            Kind::Float(_) => DataType::Float64,
            Kind::Bool => DataType::Boolean,
            Kind::Object(fields) => DataType::Struct(arrow_fields(fields)),
            Kind::List(item) => DataType::List(Arc::new(Field::new("item", item.data_type(), true))),
        }
    }

    /// Returns the column. It has no nulls when the field is required or has a default.
    #[must_use]
    pub fn arrow_field(&self) -> Field {
        Field::new(&self.column, self.data_type(), self.nullable())
    }

    /// Returns whether a decoded event may have no value here.
    #[must_use]
    pub fn nullable(&self) -> bool {
        !self.required && self.default.is_none()
    }
}

/// Returns the columns of fields.
pub(crate) fn arrow_fields(fields: &[FieldShape]) -> Fields {
    fields.iter().map(FieldShape::arrow_field).collect()
}

/// Returns the name of the column of a field: `amountUSD` becomes `amount_usd`.
pub(crate) fn column_name(name: &str) -> String {
    let mut column = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && after_lower {
            column.push('_');
        }
        after_lower = !letter.is_ascii_uppercase();
        column.push(letter.to_ascii_lowercase());
    }
    column
}

/// Keywords that say nothing about values.
const NOTES: &[&str] = &["title", "$schema", "$id", "x-event-type", "x-version", "x-event-time", "x-tables"];

/// Compiles one schema and those inside it, numbering them as they come.
pub(crate) struct Compiler {
    next_rank: u32,
}

impl Compiler {
    /// Starts to number at `first_rank`.
    pub(crate) fn new(first_rank: u32) -> Self {
        Self { next_rank: first_rank }
    }

    /// Compiles the schema of the field `name`, whose place is `path`.
    pub(crate) fn field(&mut self, name: &str, path: &str, required: bool, schema: &Value) -> Result<FieldShape> {
        let rank = self.next_rank;
        self.next_rank += 1;
        let refused = |what: String| Error::internal(what).at(path.to_owned());
        let schema = schema.as_object().ok_or_else(|| refused("a schema is an object".into()))?;
        let mut rest = Keywords { schema, read: NOTES.to_vec() };
        let description = rest.text("description").unwrap_or_default().to_owned();
        let personal = rest.get("x-personal-data").and_then(Value::as_bool).unwrap_or(false);
        let default = rest.get("default").cloned();
        let kind = match rest.text("type") {
            Some("string") => text_kind(&mut rest).map_err(|error| error.at(path.to_owned()))?,
            Some("integer") => Kind::Int(rest.range()),
            Some("number") => Kind::Float(rest.range()),
            Some("boolean") => Kind::Bool,
            Some("array") => {
                let item = rest.get("items").ok_or_else(|| refused("a list says what its items are".into()))?;
                Kind::List(Box::new(self.field("", &format!("{path}[]"), true, item)?))
            }
            Some("object") => self.object_kind(path, &mut rest)?,
            other => return Err(refused(format!("the type {other:?} is not one that contracts use"))),
        };
        rest.check_all_read().map_err(|error| error.at(path.to_owned()))?;
        let (name, column, path) = (name.to_owned(), column_name(name), path.to_owned());
        Ok(FieldShape { name, column, path, description, required, default, personal, kind, rank })
    }

    fn object_kind(&mut self, path: &str, rest: &mut Keywords<'_>) -> Result<Kind> {
        rest.get("additionalProperties");
        let required: Vec<&str> = rest.list("required");
        let Some(properties) = rest.get("properties").and_then(Value::as_object) else { return Ok(Kind::Map) };
        if let Some(unknown) = required.iter().find(|name| !properties.contains_key(**name)) {
            return Err(Error::internal(format!("'{unknown}' is required but not described")).at(path.to_owned()));
        }
        let fields = properties.iter().map(|(name, schema)| {
            self.field(name, &format!("{path}.{name}"), required.contains(&name.as_str()), schema)
        });
        Ok(Kind::Object(fields.collect::<Result<_>>()?))
    }
}

/// The keywords of one schema, and which of them were understood.
struct Keywords<'a> {
    schema: &'a Map<String, Value>,
    read: Vec<&'a str>,
}

impl<'a> Keywords<'a> {
    fn get(&mut self, keyword: &'a str) -> Option<&'a Value> {
        self.read.push(keyword);
        self.schema.get(keyword)
    }

    fn text(&mut self, keyword: &'a str) -> Option<&'a str> {
        self.get(keyword).and_then(Value::as_str)
    }

    fn list(&mut self, keyword: &'a str) -> Vec<&'a str> {
        let values = self.get(keyword).and_then(Value::as_array);
        values.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn length(&mut self, keyword: &'a str) -> Option<usize> {
        self.get(keyword).and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok())
    }

    fn range(&mut self) -> Range {
        let mut number = |keyword| self.get(keyword).and_then(Value::as_f64);
        Range { minimum: number("minimum"), above: number("exclusiveMinimum"), maximum: number("maximum") }
    }

    fn check_all_read(&self) -> Result<()> {
        match self.schema.keys().find(|keyword| !self.read.contains(&keyword.as_str())) {
            Some(unknown) => Err(Error::internal(format!("the keyword '{unknown}' is not one that contracts use"))),
            None => Ok(()),
        }
    }
}

fn text_kind(rest: &mut Keywords<'_>) -> Result<Kind> {
    let form = match rest.text("format") {
        None => Form::Plain,
        Some("date-time") => return Ok(Kind::Time),
        Some("uuid") => Form::Uuid,
        Some("email") => Form::Email,
        Some("uri") => Form::Uri,
        Some(other) => return Err(Error::internal(format!("the format '{other}' is not one that contracts use"))),
    };
    let mut choices = rest.list("enum");
    choices.extend(rest.text("const"));
    let choices = choices.into_iter().map(str::to_owned).collect();
    let pattern = rest.text("pattern").map(Regex::new).transpose();
    let pattern = pattern.map_err(|error| Error::internal("a pattern is no regular expression").with_cause(error))?;
    let (length_min, length_max) = (rest.length("minLength"), rest.length("maxLength"));
    Ok(Kind::Text(TextRule { form, choices, length_min, length_max, pattern }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_in_snake_case() {
        for (name, column) in [("matchId", "match_id"), ("amountUSD", "amount_usd"), ("nonprofitEin", "nonprofit_ein")]
        {
            assert_eq!(column_name(name), column);
        }
    }

    #[test]
    fn a_keyword_nobody_reads_is_refused() {
        let error = Compiler::new(0).field("a", "data.a", true, &json!({"type": "string", "maximum": 3}));
        let error = error.expect_err("a text has no maximum").to_string();
        assert_eq!(error, "data.a: the keyword 'maximum' is not one that contracts use");
    }

    #[test]
    fn a_required_field_is_described() {
        let schema = json!({"type": "object", "properties": {}, "required": ["b"]});
        let error = Compiler::new(0).field("a", "data.a", true, &schema).expect_err("'b' is not described");
        assert_eq!(error.to_string(), "data.a: 'b' is required but not described");
    }
}
