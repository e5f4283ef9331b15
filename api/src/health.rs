//! `GET /healthz`, `GET /readyz` and `GET /metrics`: for the machines that watch this one.
//!
//! They need no key and show nothing of a tenant: states, numbers and names of nodes.

use crate::problem::{Fault, Problem};
use crate::provided::PipelineStatus;
use crate::routes::{Content, Route};
use crate::state::ApiState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use headwater_core::{Counter, StateSize};
use serde_json::{Value, json};
use std::fmt::Write;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes of this file.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/healthz",
        tag: "operation",
        summary: "Tell whether the process lives",
        description: "It answers as long as the process does.",
        parameters: &[],
        body: None,
        answer: Content { media_types: &["application/json"], schema: "Health", description: "It lives." },
        status: 200,
        faults: &[],
        secured: false,
        handler: || get(healthz),
    },
    Route {
        method: "get",
        path: "/readyz",
        tag: "operation",
        summary: "Tell whether requests can be answered",
        description: "The reporting store can be read and the pipelines run.",
        parameters: &[],
        body: None,
        answer: Content { media_types: &["application/json"], schema: "Health", description: "It is ready." },
        status: 200,
        faults: &[Fault::NotReady],
        secured: false,
        handler: || get(readyz),
    },
    Route {
        method: "get",
        path: "/metrics",
        tag: "operation",
        summary: "Measure",
        description: "Counters and gauges in the Prometheus text format.",
        parameters: &[],
        body: None,
        answer: Content { media_types: &["text/plain"], schema: "", description: "The metrics." },
        status: 200,
        faults: &[],
        secured: false,
        handler: || get(metrics),
    },
];

async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

async fn readyz(State(state): State<ApiState>) -> Result<Json<Value>, Problem> {
    let not_ready = |error: headwater_core::Error| Problem::new(Fault::NotReady, error.message());
    state.status.ready().map_err(not_ready)?;
    let probe = |connection: &rusqlite::Connection| {
        connection.query_row("SELECT 1 FROM metric_values LIMIT 1", [], |_| Ok(())).or_else(|error| match error {
            rusqlite::Error::QueryReturnedNoRows => Ok(()),
            other => Err(other),
        })
    };
    state.store.read(probe).await.map_err(not_ready)?;
    Ok(Json(json!({"status": "ready"})))
}

async fn metrics(State(state): State<ApiState>) -> Response {
    let mut text = String::new();
    let pipelines = state.status.pipelines();
    header_of(&mut text, "headwater_pipeline_running", "gauge", "Whether the pipeline's tasks run.");
    for pipeline in &pipelines {
        let running = u8::from(pipeline.running);
        line(&mut text, "headwater_pipeline_running", &[("pipeline", &pipeline.name)], running);
    }
    header_of(&mut text, "headwater_pipeline_committed_epoch", "gauge", "The last epoch that all sinks show.");
    for pipeline in &pipelines {
        if let Some(epoch) = pipeline.committed_epoch {
            line(&mut text, "headwater_pipeline_committed_epoch", &[("pipeline", &pipeline.name)], epoch);
        }
    }
    for counter in Counter::ALL {
        let name = format!("headwater_{}_total", counter.name());
        header_of(&mut text, &name, "counter", "Rows counted by the nodes of a pipeline.");
        for pipeline in &pipelines {
            for (node, _, n) in pipeline.counters.iter().filter(|(_, counted, _)| *counted == counter) {
                line(&mut text, &name, &[("pipeline", &pipeline.name), ("node", node)], n);
            }
        }
    }
    states(&mut text, &pipelines);
    header_of(&mut text, "headwater_http_requests_total", "counter", "Requests answered.");
    for ((method, route, status), n) in state.requests.all() {
        let labels = [("method", method.as_str()), ("route", &route), ("status", &status.to_string())];
        line(&mut text, "headwater_http_requests_total", &labels, n);
    }
    header_of(&mut text, "headwater_http_requests_in_flight", "gauge", "Requests being answered, this one included.");
    let in_flight = state.limits.requests_max.max(1) - state.gate.available_permits();
    line(&mut text, "headwater_http_requests_in_flight", &[], in_flight);
    ([(header::CONTENT_TYPE, HeaderValue::from_static(PROMETHEUS))], text).into_response()
}

/// What the operators keep: groups, rows of joins, and so on.
fn states(text: &mut String, pipelines: &[PipelineStatus]) {
    let mut gauge = |name: &str, help: &str, of: fn(&StateSize) -> u64| {
        header_of(text, name, "gauge", help);
        for pipeline in pipelines {
            for (node, size) in &pipeline.states {
                line(text, name, &[("pipeline", &pipeline.name), ("node", node)], of(size));
            }
        }
    };
    gauge("headwater_state_rows", "Rows, groups or pairs that a node keeps.", |size| size.rows);
    gauge("headwater_state_bytes", "Bytes that a node keeps, as far as it can tell.", |size| size.bytes);
}

fn header_of(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{name}{labels} {value}");
}
