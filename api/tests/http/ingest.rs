//! Ingest and imports: what is taken, what is refused, and that the same request is done once.

use crate::world::{A, B, KEY_A, KEY_ALL, NOW, World};
use axum::http::StatusCode;
use headwater_api::Limits;
use headwater_core::EventTime;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Notify;

const FEEDBACK: &str = "buddy.feedback.submitted";

#[tokio::test]
async fn one_event_is_on_disk_before_the_answer() {
    let world = World::new();
    let answer =
        world.ingest(FEEDBACK, &[("x-company-id", A)], r#"{"rating": 1, "submittedAt": "2026-01-02T00:00:00Z"}"#).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let (body, lines) = (answer.json(), world.lines());
    assert_eq!((&body["accepted"], &body["malformed"]), (&json!(1), &json!(0)));
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["metadata"]["id"], body["ids"][0]);
    assert_eq!(lines[0]["metadata"]["metadata"]["companyId"], A);
    assert_eq!(lines[0]["metadata"]["timestamp"], "2026-01-02T00:00:00Z");
}

#[tokio::test]
async fn an_array_keeps_its_order_and_data_without_a_time_gets_the_clocks() {
    let world = World::new();
    let answer = world.ingest(FEEDBACK, &[], r#"[{"rating": 0}, {"rating": 1}]"#).await;
    assert_eq!(answer.json()["accepted"], 2);
    let ratings: Vec<Value> = world.lines().iter().map(|line| line["data"]["rating"].clone()).collect();
    assert_eq!(ratings, [json!(0), json!(1)]);
    assert_eq!(world.lines()[0]["metadata"]["timestamp"], "2026-03-01T00:00:00Z");
}

#[tokio::test]
async fn a_bad_line_of_ndjson_becomes_a_refused_record_and_the_others_pass() {
    let world = World::new();
    let headers = [("content-type", "application/x-ndjson"), ("x-company-id", A)];
    let body = "{\"rating\": 1}\r\n\n{\"rating\": \n[1]\n{\"rating\": 0}";
    let answer = world.send("POST", "/v1/ingest/buddy.feedback.submitted", &headers, body).await.json();
    assert_eq!((&answer["accepted"], &answer["malformed"]), (&json!(4), &json!(2)));
    assert_eq!((&answer["ids"][1], &answer["ids"][2]), (&Value::Null, &Value::Null));
    let refused = &world.lines()[1]["rejected"];
    assert_eq!((&refused["reason"], &refused["payload"]), (&json!("undecodable"), &json!("{\"rating\":")));
    assert_eq!(refused["source"], format!("http:{A}"));
    let position = refused["position"].as_str().expect("text");
    assert!(position.starts_with("buddy.feedback.submitted/") && position.ends_with(":3"), "{position}");
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_and_nothing_is_appended() {
    let world = World::new();
    let near = world.ingest("buddy.feedback.submited", &[], "{}").await.problem(404, "unknown-event-type");
    assert_eq!(near["near"][0], FEEDBACK);
    let place = world.ingest(FEEDBACK, &[], "{\n \"rating\": }").await.problem(400, "undecodable-body");
    assert_eq!((&place["line"], &place["column"]), (&json!(2), &json!(12)));
    let index = world.ingest(FEEDBACK, &[], "[{}, 7]").await.problem(422, "unprocessable");
    assert_eq!(index["index"], 1);
    world.ingest(FEEDBACK, &[], "[]").await.problem(422, "unprocessable");
    world.ingest(FEEDBACK, &[], r#"{"type": "x.y", "data": {}}"#).await.problem(422, "unprocessable");
    let two = format!(r#"{{"companyId": "{B}"}}"#);
    world.ingest(FEEDBACK, &[("x-company-id", A)], &two).await.problem(422, "unprocessable");
    let media =
        world.send("POST", "/v1/ingest/buddy.feedback.submitted", &[("content-type", "text/plain")], "{}").await;
    media.problem(415, "unsupported-media-type");
    assert_eq!(world.lines(), [Value::Null; 0]);
}

#[tokio::test]
async fn sizes_are_limited() {
    let limits = Limits { ingest_bytes_max: 400, event_bytes_max: 300, events_max: 2, ..Limits::default() };
    let world = World::with(false, true, limits);
    let text = |n: usize| format!(r#"{{"feedbackText": "{}"}}"#, "x".repeat(n));
    world.ingest(FEEDBACK, &[], &text(500)).await.problem(413, "too-large");
    world.ingest(FEEDBACK, &[], &text(250)).await.problem(413, "too-large");
    world.ingest(FEEDBACK, &[], "[{},{},{}]").await.problem(413, "too-large");
    let ndjson = [("content-type", "application/x-ndjson")];
    world.send("POST", "/v1/ingest/buddy.feedback.submitted", &ndjson, "{}\n{}\n{}").await.problem(413, "too-large");
    assert_eq!(world.ingest(FEEDBACK, &[], "[{},{}]").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_full_disk_is_a_retriable_problem() {
    let world = World::new();
    *world.log.full.lock().expect("whole") = true;
    let answer = world.ingest(FEEDBACK, &[("idempotency-key", "\"k\"")], "{}").await;
    answer.problem(503, "not-ready");
    assert_eq!(answer.header("retry-after"), "1");
    *world.log.full.lock().expect("whole") = false;
    assert_eq!(world.ingest(FEEDBACK, &[("idempotency-key", "\"k\"")], "{}").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_scoped_key_writes_for_its_own_company_only() {
    let world = World::keyed();
    let key = ("x-api-key", KEY_A);
    assert_eq!(world.ingest(FEEDBACK, &[key], r#"{"rating": 1}"#).await.status, StatusCode::ACCEPTED);
    assert_eq!(world.lines()[0]["metadata"]["metadata"]["companyId"], A);
    world.ingest(FEEDBACK, &[key, ("x-company-id", B)], "{}").await.problem(403, "forbidden");
    let hidden =
        format!(r#"{{"data": {{"companyId": "{B}"}}, "metadata": {{"id": "x", "metadata": {{"companyId": "{A}"}}}}}}"#);
    world.ingest(FEEDBACK, &[key], &hidden).await.problem(403, "forbidden");
    let ndjson = [key, ("content-type", "application/x-ndjson")];
    world.send("POST", "/v1/ingest/buddy.feedback.submitted", &ndjson, &hidden).await.problem(403, "forbidden");
    assert_eq!(world.lines().len(), 1);
    // What one JSON parser refuses another may read, company and all: it must not reach the log as it is.
    let deep = format!(r#"{{"data": {{"companyId": "{B}", "x": {}1{}}}}}"#, "[".repeat(200), "]".repeat(200));
    let answer = world.send("POST", "/v1/ingest/buddy.feedback.submitted", &ndjson, &deep).await;
    assert_eq!(answer.json()["malformed"], 1);
    assert!(world.lines()[1].get("rejected").is_some() && world.lines()[1].get("data").is_none());
}

#[tokio::test]
async fn the_same_key_and_request_is_done_once_also_after_a_restart() {
    let mut world = World::new();
    let key = [("idempotency-key", "\"k-1\"")];
    let first = world.ingest(FEEDBACK, &key, r#"{"rating": 1}"#).await;
    let second = world.ingest(FEEDBACK, &key, r#"{"rating": 1}"#).await;
    world.reopen();
    let third = world.ingest(FEEDBACK, &key, r#"{"rating": 1}"#).await;
    assert_eq!((first.status, &first.text), (third.status, &third.text));
    assert_eq!((first.header("idempotency-replayed"), second.header("idempotency-replayed")), ("", "true"));
    assert_eq!(world.lines().len(), 1);
    world.ingest(FEEDBACK, &key, r#"{"rating": 0}"#).await.problem(422, "idempotency-key-reused");
    world.ingest("buddy.checkin.completed", &key, r#"{"rating": 1}"#).await.problem(422, "idempotency-key-reused");
    let other_tenant = [key[0], ("x-company-id", B)];
    assert_eq!(world.ingest(FEEDBACK, &other_tenant, r#"{"rating": 0}"#).await.status, StatusCode::ACCEPTED);
    world.ingest(FEEDBACK, &[("idempotency-key", "bare")], "{}").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn a_key_expires_after_a_day_and_two_api_keys_do_not_share_theirs() {
    let world = World::keyed();
    let send = |key: &'static str, body: &'static str| {
        let world = &world;
        async move { world.ingest(FEEDBACK, &[("x-api-key", key), ("idempotency-key", "\"k\"")], body).await.status }
    };
    assert_eq!(send(KEY_A, "{}").await, StatusCode::ACCEPTED);
    assert_eq!(send(KEY_ALL, r#"{"rating": 1}"#).await, StatusCode::ACCEPTED);
    let day = 24 * 60 * 60 * EventTime::SECOND;
    world.clock.set(NOW.saturating_add(day - 1));
    assert_eq!(send(KEY_A, r#"{"rating": 1}"#).await, StatusCode::UNPROCESSABLE_ENTITY);
    world.clock.set(NOW.saturating_add(day));
    assert_eq!(send(KEY_A, r#"{"rating": 1}"#).await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_second_request_with_the_key_waits_for_no_one() {
    let world = World::new();
    let hold = Arc::new(Notify::new());
    *world.log.hold.lock().expect("whole") = Some(hold.clone());
    let key = [("idempotency-key", "\"k\"")];
    let first = world.ingest(FEEDBACK, &key, "{}");
    let second = async {
        world.log.entered.notified().await;
        world.ingest(FEEDBACK, &key, "{}").await.problem(409, "idempotency-key-in-flight");
        hold.notify_one();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_dropped_request_frees_its_key() {
    let world = World::new();
    *world.log.hold.lock().expect("whole") = Some(Arc::new(Notify::new()));
    let key = [("idempotency-key", "\"k\"")];
    tokio::select! {
        biased;
        answer = world.ingest(FEEDBACK, &key, "{}") => panic!("{answer:?}"),
        () = world.log.entered.notified() => {}
    }
    *world.log.hold.lock().expect("whole") = None;
    assert_eq!(world.ingest(FEEDBACK, &key, "{}").await.status, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_file_goes_to_its_importer() {
    let world = World::keyed();
    let csv = [("x-api-key", KEY_A), ("content-type", "text/csv; charset=utf-8")];
    let path = "/v1/imports/kintell?rating_scale=1-5&file_name=a.csv";
    let summary = world.send("POST", path, &csv, "head\nrow\nrow").await;
    assert_eq!((summary.status, summary.json()["rows"].as_u64()), (StatusCode::OK, Some(2)), "{summary:?}");
    assert_eq!(summary.json()["file_hash"], format!("kintell/{A}/1-5"));
    let other = format!("/v1/imports/kintell?company={B}");
    world.send("POST", &other, &csv, "x").await.problem(403, "forbidden");
    let unknown = world.send("POST", "/v1/imports/kintel", &csv, "x").await.problem(404, "unknown-import");
    assert_eq!(unknown["near"], json!(["kintell"]));
    let bad = world.send("POST", "/v1/imports/kintell", &csv, "bad").await.problem(400, "invalid-request");
    assert_eq!(bad["help"], "name the columns in a mapping file");
    world.send("POST", "/v1/imports/kintell", &csv, "").await.problem(422, "unprocessable");
    world.send("POST", "/v1/imports/kintell?rating_scale=1-9", &csv, "x").await.problem(400, "invalid-request");
    let json = [("x-api-key", KEY_A), ("content-type", "application/json")];
    world.send("POST", "/v1/imports/kintell", &json, "{}").await.problem(415, "unsupported-media-type");
    assert_eq!(world.get_as(KEY_A, "/v1/imports").await.items("kind"), ["kintell", "buddy-feedback"]);
}
