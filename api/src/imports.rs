//! `POST /v1/imports/{kind}`: a CSV file from a request to its importer.
//!
//! Bad rows do not fail the upload: they are in the summary with their reasons, and dead letters. A file that was
//! imported before is reported as such and nothing is done.

use crate::auth::{Caller, Companies};
use crate::idempotency::{self, Answer, fingerprint};
use crate::ingest::{COMPANY_HEADER, KEY, company_of, near_names, tenant_of};
use crate::layers::{Segment, media_type, read_body};
use crate::parameters::{Parameter, Parameters};
use crate::problem::{Fault, Problem};
use crate::provided::ImportRequest;
use crate::routes::{Content, Route};
use crate::state::ApiState;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

const CSV: &str = "text/csv";

const UPLOAD: &[Parameter] = &[
    Parameter::path("kind", "The importer.", "kintell"),
    Parameter::query("company", "The company that the rows belong to.", "6f1c2b6e-0000-4000-8000-000000000001"),
    Parameter::query("company_name", "The name of a company that is new.", "Fjord AS"),
    Parameter::one_of("rating_scale", "The scale that the file's ratings are on.", &["1-5", "0-1"]),
    Parameter::query("file_name", "The name of the file, for positions and messages.", "kintell-sessions.csv"),
    KEY,
];

/// The routes of this file.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "post",
        path: "/v1/imports/{kind}",
        tag: "imports",
        summary: "Import a CSV file",
        description: "The body is the file. Answered when its events are on disk. Bad rows do not fail the import: \
            they are listed in error_csv and become dead letters. The same file again is a no-op.",
        parameters: UPLOAD,
        body: Some(Content { media_types: &[CSV], schema: "", description: "The file, UTF-8." }),
        answer: Content {
            media_types: &["application/json"],
            schema: "ImportSummary",
            description: "What became of the rows.",
        },
        status: 200,
        faults: &[
            Fault::InvalidRequest,
            Fault::UnknownImport,
            Fault::Conflict,
            Fault::KeyInFlight,
            Fault::TooLarge,
            Fault::UnsupportedMediaType,
            Fault::KeyReused,
            Fault::Unprocessable,
            Fault::NotReady,
        ],
        secured: true,
        handler: || post(import),
    },
    Route {
        method: "get",
        path: "/v1/imports",
        tag: "imports",
        summary: "List the importers",
        description: "The kinds of file that can be imported.",
        parameters: &[],
        body: None,
        answer: Content { media_types: &["application/json"], schema: "Items", description: "The importers." },
        status: 200,
        faults: &[],
        secured: true,
        handler: || get(kinds),
    },
];

async fn kinds(State(state): State<ApiState>, _caller: Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    Parameters::read(&uri, &[])?;
    let kinds: Vec<Value> = state.imports.kinds().into_iter().map(|kind| json!({"kind": kind})).collect();
    Ok(Json(json!({"items": kinds})))
}

async fn import(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(kind): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let kinds = state.imports.kinds();
    if !kinds.contains(&kind) {
        let near = near_names(&kind, kinds.iter().map(String::as_str));
        let shown: String = kind.chars().take(100).collect();
        return Err(Problem::new(Fault::UnknownImport, format!("There is no importer '{shown}'."))
            .with("near", near)
            .with("known", kinds));
    }
    if media_type(&headers).as_deref() != Some(CSV) {
        return Err(Problem::new(Fault::UnsupportedMediaType, "Content-Type must be text/csv.")
            .with_header(header::ACCEPT, HeaderValue::from_static(CSV)));
    }
    let asked = Parameters::read(&uri, UPLOAD)?;
    let company = company_for(&asked, &headers, &caller)?;
    let key = idempotency::key(&headers)?;
    let content = read_body(&headers, body, state.limits.import_bytes_max).await?;
    if content.is_empty() {
        return Err(Problem::new(Fault::Unprocessable, "The file is empty."));
    }
    let print = fingerprint(&[b"import", kind.as_bytes(), asked.without(&[]).as_bytes(), &content]);
    let tenant = tenant_of(company.as_deref(), &caller);
    let text = |name: &str| asked.get(name).map(String::from);
    let request = ImportRequest {
        kind,
        company,
        company_name: text("company_name"),
        rating_scale: text("rating_scale"),
        file_name: text("file_name"),
        content,
    };
    let work = async {
        let summary = state.imports.import(request).await?;
        let body = serde_json::to_vec(&summary).map_err(|error| Problem::internal(&error))?;
        Ok(Answer { status: StatusCode::OK, body })
    };
    idempotency::once(&state, &tenant, key.as_deref(), print, work).await
}

/// The company of the rows: the parameter, else as everywhere. A key for certain companies must end at one of them.
fn company_for(asked: &Parameters, headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, Problem> {
    let by_header = company_of(headers, caller)?;
    let company = match asked.get("company").map(str::to_lowercase) {
        Some(company) => {
            caller.reach(&company)?;
            if headers.contains_key(COMPANY_HEADER) && by_header.as_ref() != Some(&company) {
                return Err(Problem::invalid("'company' and X-Company-Id name different companies."));
            }
            Some(company)
        }
        None => by_header,
    };
    match (&company, &caller.companies) {
        (None, Companies::Only(_)) => {
            Err(Problem::new(Fault::Forbidden, "This API key reaches several companies: say which one in 'company'."))
        }
        _ => Ok(company),
    }
}
