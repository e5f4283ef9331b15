//! Dead letters: who sees which, and that a replay happens once.

use crate::world::{A, B, KEY_A, KEY_ALL, World};
use headwater_api::Limits;
use serde_json::{Value, json};

/// Returns the id of the letter at a position.
async fn id_at(world: &World, key: &str, position: &str) -> String {
    let page = world.get_as(key, "/v1/dead-letters").await.json();
    let letters = page["items"].as_array().expect("items").clone();
    let letter = letters.iter().find(|letter| letter["position"].as_str().is_some_and(|text| text.ends_with(position)));
    letter.expect("it is listed")["id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn letters_come_newest_first_and_filtered() {
    let world = World::new();
    let list = |query: &'static str| {
        let world = &world;
        async move { world.get(&format!("/v1/dead-letters?{query}")).await.items("recorded_at") }
    };
    let times = ["2026-02-05T00:00:00Z", "2026-02-03T00:00:00Z", "2026-02-02T00:00:00Z", "2026-02-01T00:00:00Z"];
    assert_eq!(list("").await, times);
    assert_eq!(list("reason=E003").await, times[..1]);
    assert_eq!(list("source=feedback").await, times[2..]);
    assert_eq!(list("since=2026-02-03").await, times[..2]);
    let first = world.get("/v1/dead-letters?limit=3").await.json();
    let next = format!("/v1/dead-letters?limit=3&cursor={}", first["next_cursor"].as_str().expect("one more"));
    assert_eq!(world.get(&next).await.items("recorded_at"), times[3..]);
    world.get("/v1/dead-letters?reason=E999").await.problem(400, "invalid-request");
    world.get("/v1/dead-letters?since=soon").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn a_scoped_key_sees_and_replays_only_its_companys_letters() {
    let world = World::keyed();
    let times = world.get_as(KEY_A, "/v1/dead-letters").await.items("recorded_at");
    assert_eq!(times, ["2026-02-03T00:00:00Z", "2026-02-01T00:00:00Z"]);
    let foreign = id_at(&world, KEY_ALL, "jsonl:99").await;
    let path = format!("/v1/dead-letters/{foreign}/replay");
    world.send("POST", &path, &[("x-api-key", KEY_A)], "").await.problem(404, "not-found");
    let own = format!("/v1/dead-letters/{}/replay", id_at(&world, KEY_A, "jsonl:0").await);
    let smuggled = format!(r#"{{"companyId": "{B}", "rating": 1}}"#);
    let headers = [("x-api-key", KEY_A), ("content-type", "application/json")];
    world.send("POST", &own, &headers, &smuggled).await.problem(403, "forbidden");
    assert_eq!(world.lines(), [Value::Null; 0]);
    assert_eq!(world.send("POST", &path, &[("x-api-key", KEY_ALL)], "").await.status, 200);
}

#[tokio::test]
async fn a_replay_appends_once_per_payload_also_after_a_restart() {
    let mut world = World::with(true, true, Limits::default());
    let path = format!("/v1/dead-letters/{}/replay", id_at(&world, KEY_A, "jsonl:0").await);
    let key = ("x-api-key", KEY_A);
    let first = world.send("POST", &path, &[key], "").await.json();
    assert_eq!((&first["already_replayed"], &first["event_id"]), (&json!(false), &json!("e-1")));
    world.reopen();
    let again = world.send("POST", &path, &[key], "").await.json();
    assert_eq!((&again["already_replayed"], &again["replayed_at"]), (&json!(true), &first["replayed_at"]));
    assert_eq!(world.lines().len(), 1);
    assert_eq!(world.lines()[0]["data"]["feedbackId"], "f1");
    let corrected =
        world.send("POST", &path, &[key, ("content-type", "application/json")], r#"{"rating": 1}"#).await.json();
    assert_eq!(
        (&corrected["already_replayed"], &corrected["event_type"]),
        (&json!(false), &json!("buddy.feedback.submitted"))
    );
    assert_eq!(world.lines()[1]["metadata"]["metadata"]["companyId"], A);
    let letters = world.get_as(KEY_A, "/v1/dead-letters?reason=missing_field").await.json();
    assert_eq!(letters["items"][0]["replays"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_replay_that_cannot_be_is_refused() {
    let world = World::new();
    let broken = format!("/v1/dead-letters/{}/replay", id_at(&world, "", "ab:3").await);
    world.send("POST", &broken, &[], "").await.problem(422, "unprocessable");
    let json = [("content-type", "application/json")];
    assert_eq!(world.send("POST", &broken, &json, "{}").await.json()["event_type"], "buddy.checkin.completed");
    let csv = id_at(&world, "", "sessions.csv:17").await;
    let path = format!("/v1/dead-letters/{csv}/replay");
    world.send("POST", &path, &json, "{}").await.problem(422, "unprocessable");
    world.send("POST", &path, &json, "{").await.problem(400, "undecodable-body");
    world.send("POST", &path, &json, "[]").await.problem(422, "unprocessable");
    world.send("POST", &path, &[], "{}").await.problem(415, "unsupported-media-type");
    let named = |name: &str| format!("{path}?event_type={name}");
    world.send("POST", &named("nothing"), &json, "{}").await.problem(404, "unknown-event-type");
    assert_eq!(world.send("POST", &named("kintell.session.completed"), &json, "{}").await.status, 200);
    world.send("POST", "/v1/dead-letters/bm9uc2Vuc2U/replay", &[], "").await.problem(404, "not-found");
}
