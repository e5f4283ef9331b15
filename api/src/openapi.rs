//! The OpenAPI 3.1 description, made from the table of routes and the schemas below. Nothing is written twice.

use crate::parameters::Parameter;
use crate::problem::{Fault, MEDIA_TYPE};
use crate::routes::{Content, Route, all};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The problems that every route can have.
const COMMON: &[Fault] = &[Fault::Internal, Fault::Overloaded, Fault::TimedOut];

/// Describes the whole interface.
pub(crate) fn description() -> Value {
    let mut paths = Map::new();
    for route in all() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Headwater",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Programme events in, audited social-return metrics out. Errors are problem details \
                (RFC 9457); lists are pages with opaque cursors; times are ISO 8601, UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "tags": [route.tag],
        "summary": route.summary,
        "description": route.description,
        "parameters": route.parameters.iter().map(Parameter::describe).collect::<Vec<_>>(),
        "responses": responses(route),
    });
    if let Some(body) = &route.body {
        operation["requestBody"] = json!({"required": true, "description": body.description, "content": content(body)});
    }
    if route.secured {
        operation["security"] = json!([{"bearer": []}, {"apiKey": []}]);
    }
    operation
}

fn operation_id(route: &Route) -> String {
    let words = route.path.split(['/', '{', '}', '.', '-']).filter(|word| !word.is_empty() && *word != "v1");
    std::iter::once(route.method).chain(words).collect::<Vec<_>>().join("_")
}

fn responses(route: &Route) -> Value {
    let mut responses = Map::new();
    let success = json!({"description": route.answer.description, "content": content(&route.answer)});
    responses.insert(route.status.to_string(), success);
    let unauthorised: &[Fault] = if route.secured { &[Fault::Unauthorised, Fault::Forbidden] } else { &[] };
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for fault in route.faults.iter().chain(unauthorised).chain(COMMON) {
        let (status, code, _) = fault.facts();
        let codes = by_status.entry(status.as_u16()).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    for (status, codes) in by_status {
        let schema = json!({"$ref": "#/components/schemas/Problem"});
        let described = format!("Problem: {}.", codes.join(", "));
        responses
            .insert(status.to_string(), json!({"description": described, "content": {MEDIA_TYPE: {"schema": schema}}}));
    }
    Value::Object(responses)
}

fn content(content: &Content) -> Value {
    let types = content.media_types.iter().map(|media| {
        let schema = match content.schema {
            "" => json!({"type": "string"}),
            name => json!({"$ref": format!("#/components/schemas/{name}")}),
        };
        ((*media).to_owned(), json!({"schema": schema}))
    });
    Value::Object(types.collect())
}

fn schemas() -> Value {
    let text = json!({"type": "string"});
    let count = json!({"type": "integer", "minimum": 0});
    let object = json!({"type": "object"});
    let counts = json!({"type": "object", "additionalProperties": count});
    json!({
        "Problem": problem_schema(),
        "Event": {
            "description": "One event or an array of them: the full envelope or its bare data.",
            "anyOf": [object, {"type": "array", "items": object}],
        },
        "Accepted": {
            "type": "object",
            "required": ["event_type", "accepted", "malformed", "ids"],
            "properties": {
                "event_type": text, "accepted": count, "malformed": count,
                "ids": {"type": "array", "description": "The id of each event in its order; null for what has none.",
                    "items": {"type": ["string", "null"]}},
            },
        },
        "ImportSummary": {
            "type": "object",
            "required": ["rows", "accepted", "rejected", "skipped", "partial", "events", "codes", "notes",
                "ignored_columns", "file_hash", "already_imported", "error_csv"],
            "properties": {
                "rows": count, "accepted": count, "rejected": count, "skipped": count, "partial": count,
                "events": count, "codes": counts, "notes": counts,
                "ignored_columns": {"type": "array", "items": text},
                "file_hash": text, "already_imported": {"type": "boolean"},
                "error_csv": {"type": "string", "description": "The rejected rows with their reasons, as CSV."},
            },
        },
        "Items": {"type": "object", "required": ["items"], "properties": {"items": {"type": "array", "items": object}}},
        "Page": {
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": {"type": "array", "maxItems": 100, "items": object},
                "next_cursor": {"type": ["string", "null"], "description": "The cursor of the next page; null on the last."},
            },
        },
        "Lineage": {
            "type": "object",
            "required": ["metric", "items", "next_cursor"],
            "properties": {
                "metric": {"type": "object", "description": "The number, its formula version and its window."},
                "items": {"type": "array", "items": object, "description": "The events behind it, with their evidence."},
                "next_cursor": {"type": ["string", "null"]},
            },
        },
        "Replay": {
            "type": "object",
            "required": ["letter_id", "event_type", "event_id", "replayed_at", "already_replayed"],
            "properties": {
                "letter_id": text, "event_type": text, "event_id": text, "replayed_at": text,
                "already_replayed": {"type": "boolean"},
            },
        },
        "Health": {"type": "object", "required": ["status"], "properties": {"status": text}},
        "Object": object,
    })
}

fn problem_schema() -> Value {
    let text = json!({"type": "string"});
    let types = Fault::ALL.iter().map(|fault| format!("urn:headwater:problem:{}", fault.facts().1)).collect::<Vec<_>>();
    json!({
        "type": "object",
        "description": "Problem details (RFC 9457); some problems have more members, such as line and column.",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "enum": types},
            "title": text, "status": {"type": "integer"}, "detail": text, "help": text,
        },
    })
}
