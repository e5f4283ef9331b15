//! Documents that are made from the contracts: an event catalogue for people and an AsyncAPI document for programs. Pure
//! functions; the same contracts give the same bytes.

use crate::canonical::canonical_pairs;
use crate::contract::{Contract, catalog, envelope_schema, object_fields};
use crate::shape::{FieldShape, Form, Kind, Range, TextRule};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// Writes the event catalogue in Markdown.
#[must_use]
pub fn event_catalogue_markdown() -> String {
    let mut text = String::from(
        "# Event catalogue\n\n\
         Made from the files in `contracts/schemas`; do not edit. `UPDATE_DOCUMENTS=1 cargo test -p headwater-contracts`\n\
         writes it again.\n\n\
         An event is one line of JSON: `{\"type\": …, \"data\": {…}, \"metadata\": {…}}`. Its type is the name of its topic. A\n\
         table of a contract has the columns `_id`, `_version`, `_time`, `_correlation_id`, `_causation_id`, `_company_id`,\n\
         `_metadata` and `_position`, then those below. The same `_id` with a newer `_time` replaces the row.\n\
         An optional field may be null as well as missing; fields that are not listed are passed over, so a sender may be\n\
         ahead of this list. Columns marked P may hold personal data.\n\n\
         ## Types\n\n| type | what it says | event time |\n|---|---|---|\n",
    );
    for contract in catalog() {
        let (name, time) = (contract.event_type(), contract.event_time_column());
        let anchor: String = name.chars().filter(|c| *c != '.').collect();
        line(&mut text, format_args!("| [`{name}`](#{anchor}) | {} | `{time}` |", contract.description()));
    }
    line(&mut text, format_args!("\n## Envelope\n"));
    text.push_str(FIELDS_HEAD);
    if let Some(first) = catalog().first() {
        object_fields(&first.metadata).iter().for_each(|field| field_rows(&mut text, field, "metadata."));
    }
    catalog().iter().for_each(|contract| contract_section(&mut text, contract));
    canonical_section(&mut text);
    text
}

const FIELDS_HEAD: &str = "| field | column | type | | meaning |\n|---|---|---|---|---|\n";

/// Adds a line. Writing to a String cannot fail.
fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
    text.push('\n');
}

fn contract_section(text: &mut String, contract: &Contract) {
    let (name, version) = (contract.event_type(), contract.version());
    line(text, format_args!("\n## {name}\n\n{} Version `{version}`.", contract.description()));
    let tables: Vec<String> = contract.tables().iter().map(|table| format!("`{table}`")).collect();
    if !tables.is_empty() {
        line(text, format_args!("Feeds {}.", tables.join(", ")));
    }
    text.push('\n');
    text.push_str(FIELDS_HEAD);
    contract.fields().iter().for_each(|field| field_rows(text, field, ""));
}

fn field_rows(text: &mut String, field: &FieldShape, above: &str) {
    let name = format!("{above}{}", field.name);
    let personal = if field.personal { "P" } else { "" };
    let needed = match (&field.default, field.required) {
        (Some(default), _) => format!(", `{default}` unless given"),
        (None, true) => String::new(),
        (None, false) => ", optional".to_owned(),
    };
    let column = if above.is_empty() { format!("`{}`", field.column) } else { String::new() };
    let kind = kind_text(&field.kind);
    line(text, format_args!("| `{name}` | {column} | {kind}{needed} | {personal} | {} |", field.description));
    inner_fields(&field.kind).iter().for_each(|inner| field_rows(text, inner, &format!("{name}.")));
}

fn inner_fields(kind: &Kind) -> &[FieldShape] {
    match kind {
        Kind::Object(fields) => fields,
        Kind::List(item) => object_fields(item),
        _ => &[],
    }
}

fn kind_text(kind: &Kind) -> String {
    match kind {
        Kind::Text(rule) => text_rule_text(rule),
        Kind::Time => "time".to_owned(),
        Kind::Int(range) => format!("whole number{}", range_text(range)),
        Kind::Float(range) => format!("number{}", range_text(range)),
        Kind::Bool => "true or false".to_owned(),
        Kind::Map => "any object".to_owned(),
        Kind::Object(_) => "object".to_owned(),
        Kind::List(item) => format!("list of {}", kind_text(&item.kind)),
    }
}

fn text_rule_text(rule: &TextRule) -> String {
    if !rule.choices.is_empty() {
        let choices: Vec<String> = rule.choices.iter().map(|choice| format!("`{choice}`")).collect();
        return choices.join(" ");
    }
    let form = match rule.form {
        Form::Plain => "text",
        Form::Uuid => "uuid",
        Form::Email => "e-mail address",
        Form::Uri => "URI",
    };
    let length = rule.length_max.map(|most| format!(" ≤ {most} characters")).unwrap_or_default();
    let pattern = rule.pattern.as_ref().map(|pattern| format!(" like `{pattern}`")).unwrap_or_default();
    format!("{form}{length}{pattern}")
}

fn range_text(range: &Range) -> String {
    let bounds = [("≥", range.minimum), (">", range.above), ("≤", range.maximum)];
    bounds.into_iter().filter_map(|(sign, bound)| bound.map(|bound| format!(" {sign} {bound}"))).collect()
}

fn canonical_section(text: &mut String) {
    line(text, format_args!("\n## One fact, two contracts\n"));
    line(
        text,
        format_args!("The `ingest.*` contract is the canonical one (`contracts/mappings/external_to_ingest.json`).\n"),
    );
    line(text, format_args!("| field | value | canonical field | value |\n|---|---|---|---|"));
    for pair in canonical_pairs() {
        line(text, format_args!("| **`{}`** | | **`{}`** | |", pair.from, pair.to));
        for (field, canonical) in &pair.fields {
            line(text, format_args!("| `{field}` | | `{canonical}` | |"));
            for (value, other) in pair.values.get(field).into_iter().flatten() {
                line(text, format_args!("| | `{value}` | | `{other}` |"));
            }
        }
    }
}

/// Makes the AsyncAPI 3.0 document: a channel and two operations for each event type.
#[must_use]
pub fn asyncapi() -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    let mut schemas = Map::new();
    schemas.insert("envelope".into(), without_id(envelope_schema()));
    for contract in catalog() {
        let name = contract.event_type();
        let reference = |place: &str| json!({"$ref": format!("#/{place}")});
        schemas.insert(name.into(), without_id(contract.json_schema()));
        let payload = json!({
            "allOf": [
                reference("components/schemas/envelope"),
                {"properties": {"type": {"const": name}, "data": reference(&format!("components/schemas/{name}"))}},
            ],
        });
        messages.insert(
            name.into(),
            json!({"name": name, "title": contract.title(), "summary": contract.description(),
                   "contentType": "application/json", "payload": payload}),
        );
        let in_channel = json!({ name: reference(&format!("components/messages/{name}")) });
        channels.insert(name.into(), json!({"address": name, "messages": in_channel}));
        let of_channel = json!([reference(&format!("channels/{name}/messages/{name}"))]);
        for action in ["send", "receive"] {
            let operation =
                json!({"action": action, "channel": reference(&format!("channels/{name}")), "messages": of_channel});
            operations.insert(format!("{action}.{name}"), operation);
        }
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Headwater events",
            "version": "1.0.0",
            "description": "The events that Headwater takes in. A topic of the inbox, a NATS subject and a channel have the same name.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    })
}

/// Returns a schema without what names it as a document of its own, since here it is part of another.
fn without_id(schema: &Value) -> Value {
    let mut schema = schema.clone();
    if let Some(object) = schema.as_object_mut() {
        object.retain(|keyword, _| keyword != "$id" && keyword != "$schema");
    }
    schema
}
