//! The whole surface: every route is documented and every documented route answers; problems, keys, limits, metrics.

use crate::world::{A, KEY_A, KEY_ALL, World};
use axum::http::StatusCode;
use headwater_api::Limits;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What the interface promises; the description must list exactly these.
const ROUTES: &[(&str, &str)] = &[
    ("get", "/"),
    ("get", "/docs"),
    ("get", "/healthz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get", "/readyz"),
    ("get", "/v1/companies"),
    ("get", "/v1/companies/{id}/evidence"),
    ("get", "/v1/companies/{id}/metrics"),
    ("get", "/v1/companies/{id}/outcomes"),
    ("get", "/v1/companies/{id}/sroi"),
    ("get", "/v1/companies/{id}/vis"),
    ("get", "/v1/dead-letters"),
    ("get", "/v1/event-types"),
    ("get", "/v1/imports"),
    ("get", "/v1/lineage/{metric_id}"),
    ("post", "/v1/dead-letters/{id}/replay"),
    ("post", "/v1/imports/{kind}"),
    ("post", "/v1/ingest/{event_type}"),
];

async fn documented(world: &World) -> Vec<(String, String, Value)> {
    let api = world.get("/openapi.json").await.json();
    let paths = api["paths"].as_object().expect("paths").clone();
    let operations = paths.into_iter().flat_map(|(path, methods)| {
        let methods = methods.as_object().expect("methods").clone();
        methods.into_iter().map(move |(method, operation)| (method, path.clone(), operation))
    });
    let mut operations: Vec<_> = operations.collect();
    operations.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    operations
}

fn filled(path: &str) -> String {
    let path = path.replace("{id}", A).replace("{event_type}", "buddy.feedback.submitted");
    path.replace("{kind}", "kintell").replace("{metric_id}", "m-a-vis-02")
}

#[tokio::test]
async fn every_route_is_documented_and_every_documented_route_answers() {
    let world = World::new();
    let (operations, api) = (documented(&world).await, world.get("/openapi.json").await);
    let listed: Vec<(&str, &str)> =
        operations.iter().map(|(method, path, _)| (method.as_str(), path.as_str())).collect();
    assert_eq!(listed, ROUTES);
    for (method, path, operation) in &operations {
        let media = match path.as_str() {
            "/v1/imports/{kind}" => "text/csv",
            _ => "application/json",
        };
        let answer = world.send(&method.to_uppercase(), &filled(path), &[("content-type", media)], "{}").await;
        let is_problem = answer.header("content-type") == "application/problem+json";
        assert!(!(is_problem && answer.text.contains("no-such-route")), "{method} {path} has no route");
        let status = answer.status.as_u16().to_string();
        assert!(operation["responses"].get(&status).is_some(), "{method} {path} answers {status}, not documented");
        assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}");
        // A JSON success has what its schema requires.
        let schema = &operation["responses"][&status]["content"]["application/json"]["schema"]["$ref"];
        if let Some(name) = schema.as_str().and_then(|reference| reference.rsplit('/').next()) {
            let required = api.json()["components"]["schemas"][name]["required"].clone();
            for field in required.as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert!(answer.json().get(field).is_some(), "{path} answers without '{field}'");
            }
        }
        // Every parameter in the path is described, and every reference resolves.
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            let parameters = operation["parameters"].as_array().expect("parameters");
            assert!(parameters.iter().any(|parameter| parameter["name"] == name), "{path}: {name}");
        }
    }
    for name in api.text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(api.json()["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[tokio::test]
async fn every_v1_route_needs_a_key_when_keys_are_configured() {
    let world = World::keyed();
    for (method, path) in ROUTES.iter().filter(|(_, path)| path.starts_with("/v1")) {
        let method = method.to_uppercase();
        let answer = world.send(&method, &filled(path), &[("content-type", "application/json")], "{}").await;
        answer.problem(401, "unauthorised");
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        let wrong = [("authorization", "Bearer key-of-nobody-0123456789abcdef0123")];
        world.send(&method, &filled(path), &wrong, "{}").await.problem(401, "unauthorised");
    }
    assert_eq!(world.lines(), [Value::Null; 0]);
    let bearer = format!("Bearer {KEY_A}");
    assert_eq!(world.send("GET", "/v1/companies", &[("authorization", &bearer)], "").await.status, 200);
    assert_eq!(world.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn an_open_interface_answers_no_foreign_page() {
    let world = World::new();
    world.send("GET", "/v1/companies", &[("host", "evil.example")], "").await.problem(403, "forbidden");
    world.send("GET", "/v1/companies", &[("sec-fetch-site", "cross-site")], "").await.problem(403, "forbidden");
    assert_eq!(world.send("GET", "/v1/companies", &[("host", "localhost:8080")], "").await.status, 200);
    let keyed = World::keyed();
    let host = [("host", "impact.example"), ("x-api-key", KEY_ALL)];
    assert_eq!(keyed.send("GET", "/v1/companies", &host, "").await.status, 200);
}

#[tokio::test]
async fn whatever_goes_wrong_is_a_problem() {
    let world = World::new();
    world.get("/nowhere").await.problem(404, "no-such-route");
    world.get("/v1/companies/").await.problem(404, "no-such-route");
    let wrong_method = world.send("DELETE", "/v1/companies", &[], "").await;
    wrong_method.problem(405, "method-not-allowed");
    assert!(wrong_method.header("allow").contains("GET"));
    for path in ["/v1/companies?limit=0", "/v1/companies?limt=1", "/v1/event-types?x=1"] {
        world.get(path).await.problem(400, "invalid-request");
    }
    world.get(&format!("/v1/companies/{A}/metrics?period=2026-13")).await.problem(400, "invalid-request");
    world.get(&format!("/v1/companies/{A}/outcomes?dimension=joy")).await.problem(400, "invalid-request");
    let panicked = world.ingest("kintell.session.scheduled", &[], "{}").await.problem(500, "internal");
    assert!(!panicked.to_string().contains("on purpose"), "{panicked}");
    assert_eq!(world.get("/v1/companies").await.status, 200);
}

#[tokio::test]
async fn requests_over_the_limit_are_refused_but_not_the_health_check() {
    let world = World::with(false, true, Limits { requests_max: 1, ..Limits::default() });
    let hold = Arc::new(Notify::new());
    *world.log.hold.lock().expect("whole") = Some(hold.clone());
    let first = world.ingest("buddy.feedback.submitted", &[], "{}");
    let others = async {
        world.log.entered.notified().await;
        let refused = world.get("/v1/companies").await;
        refused.problem(503, "overloaded");
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(world.get("/healthz").await.status, 200);
        hold.notify_one();
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.status, StatusCode::ACCEPTED);
    assert_eq!(world.get("/v1/companies").await.status, 200);
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_abandoned() {
    let world = World::with(false, true, Limits { request_timeout: Duration::from_millis(5), ..Limits::default() });
    *world.log.hold.lock().expect("whole") = Some(Arc::new(Notify::new()));
    world.ingest("buddy.feedback.submitted", &[], "{}").await.problem(503, "timed-out");
}

#[tokio::test]
async fn metrics_are_prometheus_text_without_tenants() {
    let world = World::new();
    world.get(&format!("/v1/companies/{A}/metrics")).await;
    let metrics = world.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    for line in [
        "headwater_pipeline_running{pipeline=\"impact\"} 1",
        "headwater_pipeline_committed_epoch{pipeline=\"impact\"} 3",
        "headwater_rows_out_total{pipeline=\"impact\",node=\"sqlite \\\"x\\\"\"} 7",
        "headwater_http_requests_total{method=\"GET\",route=\"/v1/companies/{id}/metrics\",status=\"200\"} 1",
        "headwater_http_requests_in_flight 1",
    ] {
        assert!(metrics.text.lines().any(|found| found == line), "{line}\n{}", metrics.text);
    }
    assert!(!metrics.text.contains(A));
    for line in metrics.text.lines().filter(|line| !line.starts_with('#')) {
        assert!(
            line.starts_with("headwater_") && line.rsplit(' ').next().is_some_and(|n| n.parse::<f64>().is_ok()),
            "{line}"
        );
    }
}

#[tokio::test]
async fn the_page_stands_alone_and_answers_are_not_cached() {
    let world = World::new();
    let page = world.get("/").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("script-src 'sha256-"), "{policy}");
    assert_eq!(page.text, world.get("/docs").await.text);
    let answer = world.get("/v1/companies").await;
    assert_eq!((answer.header("cache-control"), answer.header("x-content-type-options")), ("no-store", "nosniff"));
}

#[tokio::test]
async fn it_serves_until_told_to_stop() {
    let world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let stop = Arc::new(Notify::new());
    let stopped = stop.clone();
    let server = headwater_api::serve(listener, world.router.clone(), async move { stopped.notified().await });
    let client = async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connects");
        let request = format!("GET /healthz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("writes");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("reads");
        stop.notify_one();
        text
    };
    let (served, text) = tokio::join!(server, client);
    served.expect("ends well");
    assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("{\"status\":\"ok\"}"), "{text}");
}
