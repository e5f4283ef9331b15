//! `GET /v1/lineage/{metric_id}`: from a number back to what it was computed from.
//!
//! The metric with its formula version and window, then page by page the events, reference rows and sentences behind
//! it. A metric of a company that the caller does not reach is not found.

use crate::auth::Caller;
use crate::layers::Segment;
use crate::listing::{Column, Listing, nested, plain};
use crate::parameters::{CURSOR, LIMIT, Parameter, Parameters};
use crate::problem::{Fault, Problem};
use crate::routes::{Content, Route};
use crate::state::ApiState;
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;
use serde_json::{Value, json};

const PARAMETERS: &[Parameter] = &[
    Parameter::path("metric_id", "The id of a number, from /metrics, /sroi or /vis of a company.", "9f86d081884c7d65"),
    Parameter::one_of(
        "input",
        "Only this kind of input.",
        &[
            "participation",
            "volunteering",
            "session",
            "hours",
            "standing",
            "level",
            "text",
            "past_text",
            "outcome",
            "cost",
        ],
    ),
    LIMIT,
    CURSOR,
];

/// The routes of this file.
pub(crate) const ROUTES: &[Route] = &[Route {
    method: "get",
    path: "/v1/lineage/{metric_id}",
    tag: "lineage",
    summary: "Trace a number",
    description: "The number with its formula version and window, and page by page what it was computed from: events, \
        rows of reference tables, and sentences as byte ranges of the stored text.",
    parameters: PARAMETERS,
    body: None,
    answer: Content {
        media_types: &["application/json"],
        schema: "Lineage",
        description: "The number and its inputs.",
    },
    status: 200,
    faults: &[Fault::InvalidRequest, Fault::NotFound, Fault::NotReady],
    secured: true,
    handler: || get(lineage),
}];

const METRIC: &[Column] = &[
    plain("metric_id", "metric_id"),
    plain("company_id", "company_id"),
    plain("metric", "metric"),
    plain("value", "value"),
    plain("formula_version", "formula_version"),
    plain("period_kind", "period_kind"),
    plain("period_start", "period_start"),
    plain("period_end", "period_end"),
];

const INPUTS: &[Column] = &[
    plain("l.input", "input"),
    plain("l.source_id", "source_id"),
    plain("l.event_id", "event_id"),
    plain("l.detail", "detail"),
    plain("l.occurred_at", "occurred_at"),
    plain("l.text_id", "text_id"),
    nested(
        "CASE WHEN e.evidence_id IS NULL THEN NULL ELSE json_object('evidence_id', e.evidence_id, 'label', e.label, \
         'text_id', e.text_id, 'position_start', e.position_start, 'position_end', e.position_end, \
         'snippet_text', e.snippet_text) END",
        "evidence",
    ),
];

const FROM: &str = "metric_lineage l LEFT JOIN evidence_snippets e ON e.evidence_id = l.evidence_id";

/// An event can count for several people and in several ways, so all of them name an input.
const KEYS: &[&str] =
    &["l.input", "l.occurred_at", "l.source_id", "l.detail", "coalesce(l.participant_id, '')", "l.evidence_id"];

async fn lineage(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let asked = Parameters::read(&uri, PARAMETERS)?;
    let mut metric = Listing::new(METRIC, "metric_values", &["metric_id"]);
    metric.filter_equal("metric_id", Some(&id));
    let found = state.store.read(move |connection| metric.first(connection, 1)).await?.into_iter().next();
    let reached = found.filter(|metric| caller.companies.allow(metric["company_id"].as_str().unwrap_or_default()));
    let metric = reached.ok_or_else(|| Problem::new(Fault::NotFound, "There is no such metric."))?;
    let mut inputs = Listing::new(INPUTS, FROM, KEYS);
    inputs.filter_equal("l.metric_id", Some(&id));
    inputs.filter_equal("l.input", asked.get("input"));
    let page = inputs.page(&state.store, &format!("/v1/lineage/{id}"), &asked).await?;
    Ok(Json(json!({"metric": metric, "items": page.items, "next_cursor": page.next_cursor})))
}
