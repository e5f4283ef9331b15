//! `GET /v1/companies` and what is known about each: metrics, SROI, VIS, outcomes and evidence.
//!
//! Every question is bound to one company, in the WHERE clause, after the caller's reach was checked; there is no
//! question across companies but the list of them, which a key for certain companies sees only its own part of.

use crate::auth::{Caller, Companies};
use crate::layers::Segment;
use crate::listing::{Column, Listing, Page, flag, nested, plain};
use crate::parameters::{CURSOR, FROM, LIMIT, PERIOD, Parameter, Parameters, TO};
use crate::period::{filter_period, filter_time};
use crate::problem::{Fault, Problem};
use crate::routes::{Content, Route};
use crate::state::ApiState;
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;
use rusqlite::OptionalExtension;
use serde_json::Value;

const PAGE: Content =
    Content { media_types: &["application/json"], schema: "Page", description: "A page of rows, in a fixed order." };

const ID: Parameter = Parameter::path("id", "The company's id.", "6f1c2b6e-0000-4000-8000-000000000001");
const PERIOD_KIND: Parameter =
    Parameter::one_of("period_kind", "Only periods of this length.", &["month", "quarter", "year"]);
const SEARCH: Parameter =
    Parameter::query("search", "Only rows whose text contains this; the case of a-z does not count.", "confident");
const DIMENSION: Parameter = Parameter::one_of(
    "dimension",
    "Only this dimension.",
    &["confidence", "belonging", "lang_level_proxy", "job_readiness", "well_being"],
);
const TEXT_TYPE: Parameter =
    Parameter::query("text_type", "Only texts of this type: buddy_feedback, checkin_note, ….", "buddy_feedback");
const LANGUAGE: Parameter = Parameter::query("language", "Only texts in this language: en, no, uk, ….", "en");
const LABEL: Parameter = Parameter::query("label", "Only evidence of this label.", "confidence_increase");
const METRIC: Parameter = Parameter::query("metric", "Only this metric.", "sroi_ratio");

/// How rows are filtered by time.
enum Time {
    /// By their own period.
    Period,
    /// By a moment in a column.
    Moment(&'static str),
}

/// One question about a company.
struct View {
    path: &'static str,
    columns: &'static [Column],
    from: &'static str,
    company: &'static str,
    keys: &'static [&'static str],
    time: Time,
    /// Conditions that always hold.
    only: &'static [&'static str],
    /// Parameters that must equal a column.
    equal: &'static [(&'static str, &'static str)],
    /// The column that `search` looks into.
    search: &'static str,
    parameters: &'static [Parameter],
}

macro_rules! about_a_company {
    ($path:literal, $view:ident, $summary:literal, $description:literal) => {
        Route {
            method: "get",
            path: $path,
            tag: "companies",
            summary: $summary,
            description: $description,
            parameters: $view.parameters,
            body: None,
            answer: PAGE,
            status: 200,
            faults: &[Fault::InvalidRequest, Fault::NotFound, Fault::NotReady],
            secured: true,
            handler: || {
                get(|State(state): State<ApiState>, caller: Caller, Segment(id): Segment, uri: Uri| async move {
                    answer(&$view, &state, &caller, &id, &uri).await
                })
            },
        }
    };
}

const LIST: &[Parameter] = &[
    Parameter::query("search", "Only companies whose name contains this; the case of a-z does not count.", "fjord"),
    LIMIT,
    CURSOR,
];

/// The routes of this file.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/v1/companies",
        tag: "companies",
        summary: "List companies",
        description: "The companies that the caller's key reaches.",
        parameters: LIST,
        body: None,
        answer: PAGE,
        status: 200,
        faults: &[Fault::InvalidRequest, Fault::NotReady],
        secured: true,
        handler: || get(list),
    },
    about_a_company!(
        "/v1/companies/{id}/metrics",
        METRICS,
        "Metrics by period",
        "Participants, volunteers, sessions, scores, SROI and VIS of each month, quarter and year."
    ),
    about_a_company!(
        "/v1/companies/{id}/sroi",
        SROI,
        "Social return on investment",
        "The SROI numbers of each period, each with its formula version and the link to its lineage."
    ),
    about_a_company!(
        "/v1/companies/{id}/vis",
        VIS,
        "Volunteer impact score",
        "The VIS numbers of each period, each with its formula version and the link to its lineage."
    ),
    about_a_company!(
        "/v1/companies/{id}/outcomes",
        OUTCOMES,
        "Outcome scores",
        "The dimension scores of the company's texts."
    ),
    about_a_company!(
        "/v1/companies/{id}/evidence",
        EVIDENCE,
        "Evidence",
        "The sentences behind the scores, as byte ranges of the stored text."
    ),
];

const COMPANY_COLUMNS: &[Column] = &[
    plain("company_id", "company_id"),
    plain("name", "name"),
    plain("first_seen_at", "first_seen_at"),
    plain("last_seen_at", "last_seen_at"),
];

const METRICS: View = View {
    path: "/v1/companies/{id}/metrics",
    columns: &[
        plain("period_kind", "period_kind"),
        plain("period_start", "period_start"),
        plain("period_end", "period_end"),
        plain("participants_count", "participants_count"),
        plain("volunteers_count", "volunteers_count"),
        plain("sessions_count", "sessions_count"),
        plain("hours", "hours"),
        plain("avg_integration_score", "avg_integration_score"),
        plain("avg_language_level", "avg_language_level"),
        plain("avg_job_readiness", "avg_job_readiness"),
        plain("avg_confidence", "avg_confidence"),
        plain("avg_belonging", "avg_belonging"),
        plain("avg_lang_level_proxy", "avg_lang_level_proxy"),
        plain("avg_well_being", "avg_well_being"),
        plain("outcome_lift", "outcome_lift"),
        plain("placement_rate", "placement_rate"),
        plain("social_value", "social_value"),
        plain("investment", "investment"),
        plain("sroi_ratio", "sroi_ratio"),
        plain("vis_score", "vis_score"),
        plain("currency", "currency"),
        plain("formula_version", "formula_version"),
        // Where each number of the row came from, by its name.
        nested(
            "(SELECT json_group_object(v.metric, '/v1/lineage/' || v.metric_id) FROM metric_values v \
             WHERE v.company_id = m.company_id AND v.period_kind = m.period_kind AND v.period_start = m.period_start)",
            "lineage",
        ),
    ],
    from: "metrics_company_period m",
    company: "company_id",
    keys: &["period_start", "period_kind"],
    time: Time::Period,
    only: &[],
    equal: &[],
    search: "",
    parameters: &[ID, PERIOD, PERIOD_KIND, FROM, TO, LIMIT, CURSOR],
};

const VALUES: &[Column] = &[
    plain("metric_id", "metric_id"),
    plain("metric", "metric"),
    plain("value", "value"),
    plain("formula_version", "formula_version"),
    plain("period_kind", "period_kind"),
    plain("period_start", "period_start"),
    plain("period_end", "period_end"),
    plain("'/v1/lineage/' || metric_id", "lineage"),
];

const SROI: View = View {
    path: "/v1/companies/{id}/sroi",
    columns: VALUES,
    from: "metric_values",
    company: "company_id",
    keys: &["period_start", "period_kind", "metric", "metric_id"],
    time: Time::Period,
    only: &["metric IN ('sroi_ratio', 'social_value', 'investment')"],
    equal: &[("metric", "metric")],
    search: "",
    parameters: &[ID, PERIOD, PERIOD_KIND, FROM, TO, METRIC, LIMIT, CURSOR],
};

const VIS: View = View {
    path: "/v1/companies/{id}/vis",
    columns: VALUES,
    from: "metric_values",
    company: "company_id",
    keys: &["period_start", "period_kind", "metric", "metric_id"],
    time: Time::Period,
    only: &["metric IN ('vis_score', 'hours', 'outcome_lift', 'placement_rate')"],
    equal: &[("metric", "metric")],
    search: "",
    parameters: &[ID, PERIOD, PERIOD_KIND, FROM, TO, METRIC, LIMIT, CURSOR],
};

const OUTCOMES: View = View {
    path: "/v1/companies/{id}/outcomes",
    columns: &[
        plain("text_id", "text_id"),
        plain("dimension", "dimension"),
        plain("score", "score"),
        plain("confidence", "confidence"),
        flag("abstained", "abstained"),
        plain("method", "method"),
        plain("model_version", "model_version"),
        plain("language", "language"),
        plain("text_type", "text_type"),
        plain("author_role", "author_role"),
        plain("event_id", "event_id"),
        plain("created_at", "created_at"),
    ],
    from: "outcome_scores",
    company: "company_id",
    keys: &["created_at", "text_id", "dimension"],
    time: Time::Moment("created_at"),
    only: &[],
    equal: &[("dimension", "dimension"), ("text_type", "text_type"), ("language", "language")],
    search: "",
    parameters: &[ID, PERIOD, FROM, TO, DIMENSION, TEXT_TYPE, LANGUAGE, LIMIT, CURSOR],
};

/// The dimension that a label speaks for; topics speak for none.
const LABEL_DIMENSION: &str = "CASE \
    WHEN e.label IN ('confidence_increase', 'confidence_decrease') THEN 'confidence' \
    WHEN e.label IN ('belonging_increase', 'belonging_decrease') THEN 'belonging' \
    WHEN e.label IN ('language_comfort_low', 'language_comfort_medium', 'language_comfort_high') THEN 'lang_level_proxy' \
    WHEN e.label IN ('job_search', 'skills_gained', 'networking', 'resume_improvement', 'interview_prep', \
        'certification', 'portfolio_building', 'career_goal_setting') THEN 'job_readiness' \
    WHEN e.label IN ('isolation', 'frustration', 'disengagement', 'anxiety', 'dropout_indication', 'confusion', \
        'negative_self_talk', 'lack_of_support') THEN 'well_being' END";

const EVIDENCE: View = View {
    path: "/v1/companies/{id}/evidence",
    columns: &[
        plain("e.evidence_id", "evidence_id"),
        plain("e.label", "label"),
        plain(LABEL_DIMENSION, "dimension"),
        plain("e.snippet_text", "snippet_text"),
        plain("e.position_start", "position_start"),
        plain("e.position_end", "position_end"),
        plain("e.text_id", "text_id"),
        plain("e.text_type", "text_type"),
        plain("t.language", "language"),
        plain("e.event_id", "event_id"),
        plain("e.source_ref", "source_ref"),
        plain("e.created_at", "created_at"),
        // The scores that the same text has, by dimension.
        nested(
            "(SELECT json_group_object(s.dimension, s.score) FROM outcome_scores s WHERE s.text_id = e.text_id)",
            "scores",
        ),
    ],
    from: "evidence_snippets e LEFT JOIN texts t ON t.text_id = e.text_id",
    company: "e.company_id",
    keys: &["e.created_at", "e.evidence_id"],
    time: Time::Moment("e.created_at"),
    only: &[],
    equal: &[
        ("label", "e.label"),
        ("dimension", LABEL_DIMENSION),
        ("text_type", "e.text_type"),
        ("language", "t.language"),
    ],
    search: "e.snippet_text",
    parameters: &[ID, PERIOD, FROM, TO, LABEL, DIMENSION, TEXT_TYPE, LANGUAGE, SEARCH, LIMIT, CURSOR],
};

async fn list(State(state): State<ApiState>, caller: Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    let asked = Parameters::read(&uri, LIST)?;
    let mut listing = Listing::new(COMPANY_COLUMNS, "companies", &["company_id"]);
    if let Companies::Only(ids) = &caller.companies {
        listing.filter_in("lower(company_id)", ids.iter().map(String::as_str));
    }
    filter_search(&mut listing, "name", asked.get("search"));
    Ok(Json(listing.page(&state.store, "/v1/companies", &asked).await?.into_json()))
}

async fn answer(view: &View, state: &ApiState, caller: &Caller, id: &str, uri: &Uri) -> Result<Json<Value>, Problem> {
    caller.reach(id)?;
    let lower = id.to_lowercase();
    let asked = Parameters::read(uri, view.parameters)?;
    let mut listing = Listing::new(view.columns, view.from, view.keys).newest_first();
    // Ids that are UUIDs are stored in lower case; others as they were sent.
    listing.filter_in(view.company, [id, lower.as_str()]);
    for condition in view.only {
        listing.filter(*condition, []);
    }
    match view.time {
        Time::Period => filter_period(&mut listing, &asked)?,
        Time::Moment(column) => filter_time(&mut listing, column, &asked)?,
    }
    for (parameter, column) in view.equal {
        listing.filter_equal(column, asked.get(parameter));
    }
    filter_search(&mut listing, view.search, asked.get("search"));
    let page = listing.page(&state.store, &format!("{}/{lower}", view.path), &asked).await?;
    if page.items.is_empty() {
        known(state, id, lower).await?;
    }
    Ok(Json(Page::into_json(page)))
}

/// Tells an unknown company from one without rows.
async fn known(state: &ApiState, id: &str, lower: String) -> Result<(), Problem> {
    let asked = [id.to_owned(), lower];
    let find = move |connection: &rusqlite::Connection| {
        connection.query_row("SELECT 1 FROM companies WHERE company_id IN (?1, ?2)", asked, |_| Ok(())).optional()
    };
    let missing = || Problem::new(Fault::NotFound, format!("There is no company '{id}'."));
    state.store.read(find).await?.ok_or_else(missing)
}

/// Keeps rows whose text contains what was asked for, taken literally.
fn filter_search(listing: &mut Listing, column: &str, wanted: Option<&str>) {
    if let Some(wanted) = wanted {
        let literal = wanted.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        listing.filter(format!("{column} LIKE ? ESCAPE '\\'"), [format!("%{literal}%")]);
    }
}
