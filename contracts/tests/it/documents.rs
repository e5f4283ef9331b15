//! The committed documents are those that the contracts give. With `UPDATE_DOCUMENTS=1` they are written again.

use expect_test::expect_file;
use headwater_contracts::{asyncapi, catalog, event_catalogue_markdown};
use serde_json::Value;

/// Compares a document with the committed file, or writes the file.
fn check(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&path, text).expect("the documents can be written");
    }
    expect_file![path].assert_eq(text);
}

#[test]
fn the_event_catalogue_is_current() {
    check("EVENTS.md", &event_catalogue_markdown());
}

#[test]
fn the_asyncapi_document_is_current() {
    let text = serde_json::to_string_pretty(&asyncapi()).expect("JSON can be written");
    check("asyncapi.json", &format!("{text}\n"));
}

#[test]
fn every_reference_in_the_asyncapi_document_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                found.extend(object.get("$ref").and_then(Value::as_str).map(str::to_owned));
                object.values().for_each(|inner| references(inner, found));
            }
            Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
            _ => {}
        }
    }
    let document = asyncapi();
    let mut found = vec![];
    references(&document, &mut found);
    assert_eq!(found.len(), catalog().len() * 7);
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("a reference into the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}
