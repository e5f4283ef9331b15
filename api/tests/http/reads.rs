//! Reading: filters, pages, lineage, and that nobody sees another company's rows.

use crate::world::{A, B, KEY_A, KEY_ALL, World};
use headwater_api::Limits;
use serde_json::{Value, json};

/// Reads all pages of a path, one row at a time, and returns a field of every item.
async fn all_pages(world: &World, key: &str, path: &str, field: &str) -> Vec<Value> {
    let join = if path.contains('?') { '&' } else { '?' };
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = world.get_as(key, &format!("{path}{join}limit=1{cursor}")).await;
        found.extend(answer.items(field));
        match answer.json()["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return found,
        }
    }
}

#[tokio::test]
async fn companies_are_those_that_the_key_reaches() {
    let world = World::keyed();
    assert_eq!(all_pages(&world, KEY_ALL, "/v1/companies", "name").await, ["Fjord AS", "50% Rabatt", "Empty Ltd"]);
    assert_eq!(all_pages(&world, KEY_A, "/v1/companies", "name").await, ["Fjord AS"]);
    assert_eq!(all_pages(&world, KEY_ALL, "/v1/companies?search=FJORD", "name").await, ["Fjord AS"]);
    assert_eq!(all_pages(&world, KEY_ALL, "/v1/companies?search=0%25", "name").await, ["50% Rabatt"]);
    assert_eq!(all_pages(&world, KEY_ALL, "/v1/companies?search=%27%20OR%201=1--", "name").await, [Value::Null; 0]);
}

#[tokio::test]
async fn no_route_shows_another_companys_rows() {
    let world = World::keyed();
    for part in ["metrics", "sroi", "vis", "outcomes", "evidence"] {
        for id in [B, &B.to_uppercase(), "ffffffff-0000-4000-8000-00000000000f"] {
            world.get_as(KEY_A, &format!("/v1/companies/{id}/{part}")).await.problem(403, "forbidden");
        }
        let own = world.get_as(KEY_A, &format!("/v1/companies/{A}/{part}?limit=100")).await;
        assert!(!own.text.contains("-b") && !own.text.contains(B), "{part}: {}", own.text);
    }
    world.get_as(KEY_A, "/v1/lineage/m-b-vis-02").await.problem(404, "not-found");
    assert_eq!(world.get_as(KEY_ALL, "/v1/lineage/m-b-vis-02").await.status, 200);
}

#[tokio::test]
async fn pages_hold_every_row_once_and_cursors_fit_only_their_question() {
    let world = World::keyed();
    for part in ["metrics", "sroi", "vis", "outcomes", "evidence"] {
        let path = format!("/v1/companies/{A}/{part}");
        let whole = world.get_as(KEY_A, &path).await.json()["items"].as_array().expect("items").len();
        assert!(whole > 0, "{part}");
        assert_eq!(all_pages(&world, KEY_A, &path, "period_start").await.len(), whole, "{part}");
    }
    let first = world.get_as(KEY_A, &format!("/v1/companies/{A}/outcomes?limit=1")).await.json();
    let cursor = first["next_cursor"].as_str().expect("there are more");
    for path in [
        format!("/v1/companies/{A}/outcomes?dimension=confidence&cursor={cursor}"),
        format!("/v1/companies/{A}/evidence?cursor={cursor}"),
        format!("/v1/companies/{A}/outcomes?cursor=WzFd"),
        format!("/v1/companies/{A}/outcomes?cursor=%00"),
    ] {
        world.get_as(KEY_A, &path).await.problem(400, "invalid-request");
    }
}

#[tokio::test]
async fn metrics_are_filtered_by_period() {
    let world = World::new();
    let values = |query: &'static str| {
        let world = &world;
        async move { world.get(&format!("/v1/companies/{A}/sroi?{query}")).await.items("metric_id") }
    };
    assert_eq!(values("period=2026-Q1").await, ["m-a-sroi-q1"]);
    assert_eq!(values("period=2026-01").await, ["m-a-sroi-01"]);
    assert_eq!(values("period=2026").await, [Value::Null; 0]);
    assert_eq!(values("period_kind=month&from=2026-02-01").await, ["m-a-sroi-02", "m-a-value-02"]);
    assert_eq!(values("period_kind=month&to=2026-01-31").await, ["m-a-sroi-01"]);
    assert_eq!(values("metric=social_value").await, ["m-a-value-02"]);
    let vis = world.get(&format!("/v1/companies/{A}/vis")).await.json();
    let expected = json!([{"metric_id": "m-a-vis-02", "metric": "vis_score", "value": 49.25, "formula_version": "vis/1",
        "period_kind": "month", "period_start": "2026-02-01T00:00:00Z", "period_end": "2026-03-01T00:00:00Z",
        "lineage": "/v1/lineage/m-a-vis-02"}]);
    assert_eq!(vis["items"], expected);
    let month = world.get(&format!("/v1/companies/{A}/metrics?period=2026-02")).await.json();
    assert_eq!(month["items"][0]["lineage"]["sroi_ratio"], "/v1/lineage/m-a-sroi-02");
    assert_eq!(
        (&month["items"][0]["participants_count"], &month["items"][0]["avg_belonging"]),
        (&json!(2), &Value::Null)
    );
}

#[tokio::test]
async fn texts_are_filtered_by_what_they_are_and_when() {
    let world = World::new();
    let found = |part: &'static str, query: &'static str| {
        let world = &world;
        async move { world.get(&format!("/v1/companies/{A}/{part}?{query}")).await.items("text_id") }
    };
    assert_eq!(found("outcomes", "dimension=belonging").await, ["t-a1"]);
    assert_eq!(found("outcomes", "language=no&period=2026-02").await, ["t-a2"]);
    assert_eq!(found("outcomes", "period=2026-03").await, [""; 0]);
    assert_eq!(found("evidence", "from=2026-02-11T10:00:00Z").await, ["t-a2"]);
    assert_eq!(found("evidence", "to=2026-02-10").await, ["t-a1"]);
    assert_eq!(found("evidence", "label=isolation").await, ["t-a2"]);
    assert_eq!(found("evidence", "dimension=well_being").await, ["t-a2"]);
    assert_eq!(found("evidence", "text_type=buddy_feedback").await, ["t-a1"]);
    assert_eq!(found("evidence", "language=en").await, ["t-a1"]);
    assert_eq!(found("evidence", "search=CONFIDENT").await, ["t-a1"]);
    assert_eq!(found("evidence", "search=100_%25").await, ["t-a2"]);
    assert_eq!(found("evidence", "search=1__%25").await, [""; 0]);
    let item =
        world.get(&format!("/v1/companies/{A}/evidence?label=confidence_increase")).await.json()["items"][0].clone();
    assert_eq!(item["scores"], json!({"confidence": 0.8, "belonging": 0.5}));
    assert_eq!((&item["position_start"], &item["position_end"]), (&json!(6), &json!(27)));
}

#[tokio::test]
async fn lineage_ends_at_the_sentence() {
    let world = World::new();
    let traced = world.get("/v1/lineage/m-a-conf-02").await.json();
    assert_eq!((&traced["metric"]["value"], &traced["metric"]["formula_version"]), (&json!(0.8), &json!("q2q/1")));
    assert_eq!(traced["items"].as_array().map(Vec::len), Some(2));
    let first = &traced["items"][0];
    assert_eq!((&first["input"], &first["event_id"]), (&json!("text"), &json!("e-a1")));
    assert_eq!(
        (&first["evidence"]["snippet_text"], &first["evidence"]["position_start"]),
        (&json!("I feel confident now."), &json!(6))
    );
    let page = world.get("/v1/lineage/m-a-conf-02?limit=1").await.json();
    let next = format!("/v1/lineage/m-a-conf-02?limit=1&cursor={}", page["next_cursor"].as_str().expect("one more"));
    assert_eq!(world.get(&next).await.items("event_id"), ["e-a2"]);
    assert_eq!(world.get("/v1/lineage/m-a-conf-02?input=cost").await.items("event_id"), [""; 0]);
    world.get("/v1/lineage/nothing").await.problem(404, "not-found");
}

#[tokio::test]
async fn an_unknown_company_is_not_found_and_one_without_rows_is_empty() {
    let world = World::new();
    let empty = world.get("/v1/companies/cccccccc-0000-4000-8000-000000000003/metrics").await;
    assert_eq!(empty.json(), json!({"items": [], "next_cursor": null}));
    world.get("/v1/companies/nobody/metrics").await.problem(404, "not-found");
    world.get("/v1/companies/%FF/metrics").await.problem(400, "invalid-request");
}

#[tokio::test]
async fn a_store_that_is_not_there_yet_is_not_ready() {
    let world = World::with(false, false, Limits::default());
    for path in ["/v1/companies", "/v1/companies/x/metrics", "/v1/lineage/x", "/v1/dead-letters", "/readyz"] {
        world.get(path).await.problem(503, "not-ready");
    }
    rusqlite::Connection::open(world.folder.path().join("store.db"))
        .expect("opens")
        .execute_batch("CREATE TABLE x (y)")
        .expect("makes");
    let missing = world.get("/v1/companies").await.problem(503, "not-ready");
    assert_eq!(missing["detail"], "the reporting store has no table 'companies' yet");
    assert_eq!(world.get("/healthz").await.status, 200);
}
