//! A contract: what an event type promises, read from its JSON Schema file, and the catalogue of all of them. It never
//! changes while the program runs: the catalogue is compiled once, on first use.

use crate::events::{ENVELOPE, Event, LISTED, Listed};
use crate::shape::{Compiler, FieldShape, Kind};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_core::{Error, Result};
use serde_json::Value;
use std::sync::{Arc, LazyLock};

/// Where the numbers of data fields start, behind all those of the envelope.
const DATA_RANK: u32 = 100;

/// What an event type promises.
#[derive(Debug)]
pub struct Contract {
    event_type: &'static str,
    text: &'static str,
    json: Value,
    schema: SchemaRef,
    event_time_column: String,
    pub(crate) metadata: FieldShape,
    pub(crate) data: FieldShape,
}

static CATALOG: LazyLock<Vec<Contract>> = LazyLock::new(|| {
    let compiled: Result<_> = LISTED.iter().map(Contract::compile).collect();
    compiled.expect("the contract files are part of the program, and a test compiles each of them")
});

static ENVELOPE_JSON: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(ENVELOPE).expect("the envelope file is part of the program and is JSON"));

/// Returns all contracts in the order of the catalogue.
#[must_use]
pub fn catalog() -> &'static [Contract] {
    &CATALOG
}

/// Returns the JSON Schema of what every event is wrapped in.
#[must_use]
pub fn envelope_schema() -> &'static Value {
    &ENVELOPE_JSON
}

/// Returns the contract of an event type.
///
/// # Errors
/// `Invalid`, with the nearest name there is.
pub fn find(event_type: &str) -> Result<&'static Contract> {
    catalog().iter().find(|contract| contract.event_type == event_type).ok_or_else(|| {
        let help = match nearest(event_type) {
            Some(name) => format!("did you mean '{name}'? 'headwater contracts list' shows all of them"),
            None => "'headwater contracts list' shows all of them".to_owned(),
        };
        Error::invalid(format!("there is no contract '{event_type}'")).with_help(help)
    })
}

/// Returns the contract that a Rust type stands for.
#[must_use]
pub fn contract_of<E: Event>() -> &'static Contract {
    let found = catalog().iter().find(|contract| contract.event_type == E::TYPE);
    found.expect("every type of an event is listed together with its contract")
}

/// Returns the event type whose name is nearest to one that does not exist, unless none is near.
#[must_use]
pub fn nearest(event_type: &str) -> Option<&'static str> {
    let near = event_type.chars().count().max(6) / 3;
    let distances = LISTED.iter().map(|listed| (distance(event_type, listed.event_type), listed.event_type));
    distances.min().filter(|(distance, _)| *distance <= near).map(|(_, name)| name)
}

/// Counts the insertions, deletions and replacements that turn one word into another.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

impl Contract {
    fn compile(listed: &Listed) -> Result<Self> {
        let Listed { event_type, text } = *listed;
        let wrong = |what: &str| Error::internal(what).at(event_type);
        let json: Value = serde_json::from_str(text).map_err(|error| wrong("is not JSON").with_cause(error))?;
        let envelope = &envelope_schema()["properties"]["metadata"];
        let metadata = Compiler::new(1).field("metadata", "metadata", true, envelope)?;
        let data = Compiler::new(DATA_RANK).field("data", "data", true, &json).map_err(|error| error.at(event_type))?;
        if json["x-event-type"] != event_type {
            return Err(wrong("x-event-type is not the name of the file"));
        }
        let event_time_column = match json["x-event-time"].as_str() {
            Some("metadata.timestamp") => "_time".to_owned(),
            Some(name) => {
                let field = object_fields(&data).iter().find(|field| field.name == name);
                let field = field.filter(|field| field.required && matches!(field.kind, Kind::Time));
                field.ok_or_else(|| wrong("x-event-time is not a required time"))?.column.clone()
            }
            None => return Err(wrong("x-event-time is missing")),
        };
        let schema = decoded_schema(&data);
        Ok(Self { event_type, text, json, schema, event_time_column, metadata, data })
    }

    /// Returns the event type, which is also the name of the topic.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        self.event_type
    }

    /// Returns the version of the contract.
    #[must_use]
    pub fn version(&self) -> &str {
        self.json["x-version"].as_str().unwrap_or("v1")
    }

    /// Returns the name for people.
    #[must_use]
    pub fn title(&self) -> &str {
        self.json["title"].as_str().unwrap_or(self.event_type)
    }

    /// Returns what the event says, in a sentence.
    #[must_use]
    pub fn description(&self) -> &str {
        self.json["description"].as_str().unwrap_or_default()
    }

    /// Returns the JSON Schema of `data`.
    #[must_use]
    pub fn json_schema(&self) -> &Value {
        &self.json
    }

    /// Returns the file of the JSON Schema as it was written.
    #[must_use]
    pub fn json_text(&self) -> &'static str {
        self.text
    }

    /// Returns the tables that are made of such events.
    #[must_use]
    pub fn tables(&self) -> Vec<&str> {
        self.json["x-tables"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Returns the schema of decoded rows: `_id`, `_version`, `_time`, `_correlation_id`, `_causation_id`,
    /// `_company_id`, `_metadata` (JSON text), `_position`, then the fields of `data` in snake case.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Returns the column that says when the fact happened.
    #[must_use]
    pub fn event_time_column(&self) -> &str {
        &self.event_time_column
    }

    /// Returns the fields of `data` in the order of the schema.
    #[must_use]
    pub fn fields(&self) -> &[FieldShape] {
        object_fields(&self.data)
    }
}

/// Returns the fields of an object; other kinds have none.
pub(crate) fn object_fields(shape: &FieldShape) -> &[FieldShape] {
    match &shape.kind {
        Kind::Object(fields) => fields,
        _ => &[],
    }
}

fn decoded_schema(data: &FieldShape) -> SchemaRef {
    let text = |name: &str, nullable| Field::new(name, DataType::Utf8, nullable);
    let mut fields = vec![
        text("_id", false),
        text("_version", false),
        Field::new("_time", DataType::Timestamp(TimeUnit::Nanosecond, None), false),
        text("_correlation_id", true),
        text("_causation_id", true),
        text("_company_id", true),
        text("_metadata", true),
        text("_position", false),
    ];
    fields.extend(object_fields(data).iter().map(FieldShape::arrow_field));
    Arc::new(Schema::new(fields))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{RATING_FIELD, TEXT_FIELD};

    #[test]
    fn there_are_thirty_four_contracts_and_each_file_is_listed() {
        assert_eq!(catalog().len(), 34);
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let files = std::fs::read_dir(folder).expect("the folder is there").count();
        assert_eq!(files, catalog().len() + 1, "one file for each contract and one for the envelope");
    }

    #[test]
    fn every_field_is_described() {
        fn check(shape: &FieldShape) {
            assert!(!shape.description.is_empty() || shape.path.ends_with("[]"), "{}", shape.path);
            object_fields(shape).iter().for_each(check);
        }
        for contract in catalog() {
            assert_eq!(contract.version(), "v1");
            check(&contract.data);
        }
    }

    #[test]
    fn capabilities_name_columns_of_their_type() {
        for (event_type, column) in TEXT_FIELD {
            let schema = find(event_type).expect("a contract").schema();
            assert_eq!(schema.field_with_name(column).expect("a column").data_type(), &DataType::Utf8);
        }
        for (event_type, column) in RATING_FIELD {
            let schema = find(event_type).expect("a contract").schema();
            assert_eq!(schema.field_with_name(column).expect("a column").data_type(), &DataType::Float64);
        }
    }

    #[test]
    fn an_unknown_type_names_the_nearest() {
        let error = find("buddy.feedback.submited").expect_err("a typing error").to_string();
        assert!(error.contains("did you mean 'buddy.feedback.submitted'?"), "{error}");
        assert_eq!(nearest("orders"), None);
        assert_eq!(contract_of::<crate::BuddyMatchCreated>().event_time_column(), "matched_at");
    }
}
