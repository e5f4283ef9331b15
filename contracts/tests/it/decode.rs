//! The decoder against generated and broken events: each line is one row or one dead letter, and the letter names the
//! first fault. Inputs are bounded by the generators.

use crate::generate::{Numbers, event};
use arrow::array::{Array, AsArray, BinaryArray, StringArray};
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use headwater_contracts::{Contract, Decoded, FieldShape, Kind, RECORD_BYTES_MAX, catalog, find, rejected_line};
use headwater_core::{DeadLetter, Reason};
use proptest::prelude::*;
use serde_json::{Value, json};

fn decode<L: AsRef<[u8]>>(contract: &Contract, lines: &[L]) -> Decoded {
    let values = BinaryArray::from_iter_values(lines);
    let positions = StringArray::from_iter_values((0..lines.len()).map(|line| format!("topic:{line}")));
    let decoded = contract.decode(&values, &positions, "events").expect("lines are never an error");
    assert_eq!(decoded.rows.num_rows() + decoded.dead_letters.len(), lines.len());
    decoded
}

/// Decodes one line that must be refused.
fn refused(contract: &Contract, line: impl AsRef<[u8]>) -> DeadLetter {
    let decoded = decode(contract, &[line]);
    assert_eq!(decoded.rows.num_rows(), 0);
    decoded.dead_letters.into_iter().next().expect("one line, no row, one letter")
}

fn feedback() -> (&'static Contract, Value) {
    let id = "123e4567-e89b-42d3-a456-426614174000";
    let event = json!({
        "type": "buddy.feedback.submitted",
        "data": {"feedbackId": id, "matchId": id, "fromRole": "buddy", "rating": 0.75, "feedbackText": "Good talk.",
                 "submittedAt": "2024-01-15T11:00:00+01:00", "categories": {"communication": 1}},
        "metadata": {"id": id, "version": "v1", "timestamp": "2024-01-15T10:00:01Z",
                     "metadata": {"companyId": "AAAAAAAA-0000-4000-8000-000000000001", "row": 3}},
    });
    (find("buddy.feedback.submitted").expect("a contract"), event)
}

/// Changes the feedback at a JSON pointer and returns reason, path and message of its dead letter.
fn broken(pointer: &str, value: Value) -> (Reason, String, String) {
    let (contract, mut event) = feedback();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer starts with a slash");
    event.pointer_mut(parent).expect("the parent is there")[name] = value;
    let letter = refused(contract, event.to_string());
    (letter.reason, letter.path, letter.message)
}

#[test]
fn an_event_becomes_a_row_of_typed_columns() {
    let (contract, event) = feedback();
    let rows = decode(contract, &[event.to_string()]).rows;
    let text = |name: &str| rows.column_by_name(name).expect("a column").as_string::<i32>().value(0).to_owned();
    assert_eq!(rows.schema(), contract.schema());
    assert_eq!(text("_company_id"), "aaaaaaaa-0000-4000-8000-000000000001");
    assert_eq!(text("_position"), "topic:0");
    assert_eq!(text("_metadata"), r#"{"companyId":"AAAAAAAA-0000-4000-8000-000000000001","row":3}"#);
    let time = |name: &str| rows[name].as_primitive::<TimestampNanosecondType>().value(0);
    assert_eq!((time("_time") - time("submitted_at")), 1_000_000_000);
    assert_eq!(rows["rating"].as_primitive::<Float64Type>().value(0).to_bits(), 0.75_f64.to_bits());
    let categories = rows["categories"].as_struct();
    assert_eq!(
        categories.column_by_name("communication").expect("a field").as_primitive::<Float64Type>().value(0),
        1.0
    );
    assert!(categories.column_by_name("engagement").expect("a field").is_null(0));
}

#[test]
fn a_bad_value_is_named_with_its_path_and_what_is_expected() {
    let (reason, path, message) = broken("/data/rating", json!(1.5));
    assert_eq!((reason, path.as_str()), (Reason::OutOfRange, "data.rating"));
    assert_eq!(message, "found 1.5, expected at least 0 and at most 1");

    let (reason, path, message) = broken("/data/rating", json!("0.5"));
    assert_eq!((reason, path.as_str()), (Reason::MalformedField, "data.rating"));
    assert_eq!(message, "found the text '0.5', expected a number");

    let (reason, path, message) = broken("/data/fromRole", json!("mentor"));
    assert_eq!((reason, path.as_str()), (Reason::OutOfRange, "data.fromRole"));
    assert_eq!(message, "found 'mentor', expected one of: participant, buddy");

    let (reason, path, message) = broken("/data/categories", json!({"communication": true}));
    assert_eq!((reason, path.as_str()), (Reason::MalformedField, "data.categories.communication"));
    assert_eq!(message, "found true, expected a number");

    for (pointer, value, reason, path) in [
        ("/data/matchId", json!("M1"), Reason::MalformedField, "data.matchId"),
        ("/data/matchId", Value::Null, Reason::MissingField, "data.matchId"),
        ("/data/submittedAt", json!("15.01.2024"), Reason::MalformedField, "data.submittedAt"),
        ("/data/feedbackText", json!(["Good talk."]), Reason::MalformedField, "data.feedbackText"),
        ("/data/categories", json!([]), Reason::MalformedField, "data.categories"),
        ("/data", Value::Null, Reason::MissingField, "data"),
        ("/data", json!("x"), Reason::MalformedField, "data"),
        ("/metadata", json!([]), Reason::MalformedField, "metadata"),
        ("/metadata/id", json!(7), Reason::MalformedField, "metadata.id"),
        ("/metadata/version", json!("v2"), Reason::UnknownVersion, "metadata.version"),
        ("/metadata/metadata", json!([]), Reason::MalformedField, "metadata.metadata"),
        ("/metadata/metadata/companyId", json!("C001"), Reason::MalformedField, "metadata.metadata.companyId"),
        ("/type", Value::Null, Reason::MissingField, "type"),
        ("/type", json!(3), Reason::MalformedField, "type"),
        ("/type", json!("buddy.match.created"), Reason::UnknownType, "type"),
        ("/type", json!("buddy.feedback"), Reason::UnknownType, "type"),
    ] {
        let (found_reason, found_path, message) = broken(pointer, value.clone());
        assert_eq!((found_reason, found_path.as_str()), (reason, path), "{pointer} = {value}: {message}");
    }
}

#[test]
fn what_is_optional_may_be_null_and_what_is_unknown_is_ignored() {
    let (contract, mut event) = feedback();
    event["data"]["feedbackText"] = Value::Null;
    event["data"]["categories"] = Value::Null;
    event["data"]["mood"] = json!({"new": [1]});
    event["extra"] = json!(1);
    event["metadata"].as_object_mut().expect("an object").remove("version");
    let rows = decode(contract, &[event.to_string()]).rows;
    assert!(rows["feedback_text"].is_null(0) && rows["categories"].is_null(0));
    assert_eq!(rows["_version"].as_string::<i32>().value(0), "v1", "the default of the envelope");
}

#[test]
fn the_first_fault_in_the_order_of_the_schema_is_reported() {
    let (contract, mut event) = feedback();
    event["data"] = json!({"submittedAt": 1, "rating": 7, "matchId": "x", "feedbackId": event["data"]["matchId"]});
    let letter = refused(contract, event.to_string());
    assert_eq!((letter.reason, letter.path.as_str()), (Reason::MalformedField, "data.matchId"));
    event["metadata"]["version"] = json!("v9");
    assert_eq!(refused(contract, event.to_string()).path, "metadata.version");
}

#[test]
fn a_key_that_occurs_twice_is_a_fault() {
    let (contract, event) = feedback();
    let line = event.to_string().replace(r#""rating":"#, r#""rating":1,"rating":"#);
    let letter = refused(contract, line);
    assert_eq!((letter.reason, letter.path.as_str()), (Reason::MalformedField, "data.rating"));
    let line = event.to_string().replace(r#""data":{"#, r#""data":{},"data":{"#);
    assert_eq!(refused(contract, line).message, "the key 'data' occurs twice");
}

#[test]
fn lines_that_are_no_event_in_json_do_not_touch_their_neighbours() {
    let (contract, event) = feedback();
    let good = event.to_string().into_bytes();
    let cut = good[..good.len() / 2].to_vec();
    let two = [good.clone(), good.clone()].concat();
    let deep = [b"[".repeat(10_000), good.clone()].concat();
    let lines: [&[u8]; 11] =
        [&good, &cut, b"", b"  ", b"5", b"[]", b"\xff\xfe", &two, &deep, br#"{"type":"a","data":1e999}"#, &good];
    let decoded = decode(contract, &lines);
    assert_eq!(decoded.rows.num_rows(), 2);
    for letter in &decoded.dead_letters {
        assert_eq!((letter.reason, letter.source.as_str()), (Reason::Undecodable, "events"), "{}", letter.payload);
    }
    assert_eq!(decoded.dead_letters[0].payload.as_bytes(), cut, "the payload is the line");
    assert_eq!(decoded.dead_letters[0].position, "topic:1");
    assert_eq!(decoded.rows["_position"].as_string::<i32>().value(1), "topic:10");
}

#[test]
fn a_record_that_is_too_long_is_refused_unread() {
    let (contract, mut event) = feedback();
    event["data"]["feedbackText"] = json!("x".repeat(RECORD_BYTES_MAX));
    let letter = refused(contract, event.to_string());
    assert_eq!(letter.reason, Reason::TooLong);
    assert!(letter.payload.len() < RECORD_BYTES_MAX / 8 && letter.payload.ends_with("bytes in all]"));
}

#[test]
fn a_refused_row_comes_back_verbatim() {
    let (contract, event) = feedback();
    let letter = DeadLetter {
        reason: Reason::ImportRating,
        message: "found '9'".into(),
        path: "rating".into(),
        source: "a.csv".into(),
        position: "a.csv:7".into(),
        payload: "x,\"y\"\n".into(),
    };
    let decoded = decode(contract, &[event.to_string().into_bytes(), rejected_line(&letter)]);
    assert_eq!((decoded.rows.num_rows(), decoded.dead_letters), (1, vec![letter]));
    let unknown = refused(contract, r#"{"rejected":{"reason":"E999"}}"#);
    assert_eq!((unknown.reason, unknown.path.as_str()), (Reason::MalformedField, "rejected"));
}

#[test]
fn numbers_keep_their_kind() {
    let contract = find("kintell.session.completed").expect("a contract");
    let mut event = event(contract, 1);
    let mut minutes = |value: Value| {
        event["data"]["durationMinutes"] = value;
        decode(contract, &[event.to_string()])
    };
    assert_eq!(minutes(json!(60.0)).rows["duration_minutes"].as_primitive::<Int64Type>().value(0), 60);
    for (value, reason) in [
        (json!(60.5), Reason::MalformedField),
        (json!(0), Reason::OutOfRange),
        (json!(u64::MAX), Reason::OutOfRange),
        (json!(1e300), Reason::OutOfRange),
        (json!("60"), Reason::MalformedField),
    ] {
        assert_eq!(minutes(value.clone()).dead_letters[0].reason, reason, "{value}");
    }
}

#[test]
fn faults_in_lists_are_named_by_index() {
    let contract = find("reporting.evidence_gate.violation").expect("a contract");
    let mut event = event(contract, 1);
    let good = json!({"paragraph": "p", "citationCount": 0, "requiredCount": 1});
    event["data"]["violations"] = json!([good, {"paragraph": "p", "citationCount": 0}]);
    let letter = refused(contract, event.to_string());
    assert_eq!((letter.reason, letter.path.as_str()), (Reason::MissingField, "data.violations[1].requiredCount"));
    event["data"]["violations"] = json!([good, null]);
    assert_eq!(refused(contract, event.to_string()).path, "data.violations[1]");
}

#[test]
fn defaults_are_filled_in() {
    let contract = find("external.donation.made").expect("a contract");
    let mut event = event(contract, 5);
    for name in ["currency", "matchEligible", "donationType"] {
        event["data"].as_object_mut().expect("an object").remove(name);
    }
    let rows = decode(contract, &[event.to_string()]).rows;
    assert_eq!(rows["currency"].as_string::<i32>().value(0), "USD");
    assert_eq!(rows["donation_type"].as_string::<i32>().value(0), "one_time");
    assert!(!rows["match_eligible"].as_boolean().value(0));
    event["data"]["currency"] = json!("kr");
    assert_eq!(refused(contract, event.to_string()).message, "found 'kr', expected a text that matches ^[A-Z]{3}$");
}

#[test]
fn a_malformed_value_with_a_default_inside_an_object_is_a_fault_and_not_a_failure() {
    let contract = find("ingest.directory.synced").expect("a contract");
    let mut event = event(contract, 5);
    event["data"]["permissions"] = json!({"canDonate": "yes"});
    assert_eq!(refused(contract, event.to_string()).path, "data.permissions.canDonate");
}

/// Returns the paths of all fields that an event has and needs: required ones whose parents are there.
fn required_pointers(fields: &[FieldShape], value: &Value, pointer: &str, found: &mut Vec<(String, String)>) {
    for field in fields {
        let Some(inner) = value.get(&field.name).filter(|inner| !inner.is_null()) else { continue };
        let pointer = format!("{pointer}/{}", field.name);
        if let Kind::Object(fields) = &field.kind {
            required_pointers(fields, inner, &pointer, found);
        }
        if field.required {
            found.push((pointer, field.path.clone()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn valid_events_of_every_contract_decode(seed: u64, which in 0..34_usize) {
        let contract = &catalog()[which];
        let lines: Vec<String> = (0..8).map(|row| event(contract, seed ^ row).to_string()).collect();
        let decoded = decode(contract, &lines);
        prop_assert_eq!(decoded.dead_letters, vec![]);
        prop_assert_eq!(decoded.rows.num_rows(), 8);
    }

    #[test]
    fn a_required_field_that_is_taken_away_is_named(seed: u64, which in 0..34_usize, null: bool) {
        let contract = &catalog()[which];
        let mut broken = event(contract, seed);
        let mut places = vec![];
        required_pointers(contract.fields(), &broken["data"], "/data", &mut places);
        let (pointer, path) = places[Numbers(seed).below(places.len())].clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer starts with a slash");
        let parent = broken.pointer_mut(parent).expect("the parent is there").as_object_mut().expect("an object");
        if null { parent.insert(name.into(), Value::Null); } else { parent.remove(name); }
        let neighbours = [event(contract, seed ^ 1).to_string(), broken.to_string(), event(contract, seed ^ 2).to_string()];
        let decoded = decode(contract, &neighbours);
        prop_assert_eq!(decoded.rows.num_rows(), 2);
        prop_assert_eq!((decoded.dead_letters[0].reason, &decoded.dead_letters[0].path), (Reason::MissingField, &path));
    }

    #[test]
    fn any_bytes_are_rows_or_letters(seed: u64, which in 0..34_usize, edits in prop::collection::vec((any::<u16>(), any::<u8>(), 0..3_u8), 0..6), noise: Vec<u8>) {
        let contract = &catalog()[which];
        let good = event(contract, seed).to_string().into_bytes();
        let mut edited = good.clone();
        for (at, byte, how) in edits {
            let at = usize::from(at) % edited.len().max(1);
            match how {
                0 => edited.insert(at, byte),
                1 if at < edited.len() => edited[at] = byte,
                _ => edited.truncate(at),
            }
        }
        let lines = [good.clone(), edited, noise, good];
        let decoded = decode(contract, &lines);
        prop_assert!(decoded.rows.num_rows() >= 2, "the first and the last are untouched");
    }
}
