//! `POST /v1/ingest/{event_type}`: events from a request to the durable log.
//!
//! It answers 202 only when every event is on disk, and appends all events of a request or none. It does not check
//! events against their contract: that is the pipelines' work, and what fails there is a dead letter. A line of NDJSON
//! that is no JSON object does not fail the request either: it is appended as a refused record, counted as `malformed`,
//! and becomes a dead letter. It is never appended raw, because another parser might read a company into it.

use crate::auth::Caller;
use crate::event::{Refusal, Stamp, stamp};
use crate::idempotency::{self, Answer, fingerprint};
use crate::layers::{Segment, media_type, read_body};
use crate::parameters::{Parameter, Parameters};
use crate::problem::{Fault, Problem};
use crate::provided::EventType;
use crate::routes::{Content, Route};
use crate::state::{ApiState, Limits};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use headwater_core::{DeadLetter, Reason};
use serde_json::{Value, json};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
/// The header that says which company a request is for.
pub(crate) const COMPANY_HEADER: &str = "x-company-id";
/// How many near names an unknown event type is answered with.
const NEAR_NAMES_MAX: usize = 5;

pub(crate) const COMPANY: Parameter =
    Parameter::header("X-Company-Id", "The company that the request is for.", "6f1c2b6e-0000-4000-8000-000000000001");
pub(crate) const KEY: Parameter = Parameter::header(
    "Idempotency-Key",
    "A quoted string, unique per request: the same request with the same key is done once and answered the same for 24 h.",
    "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"",
);

/// The routes of this file.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "post",
        path: "/v1/ingest/{event_type}",
        tag: "ingest",
        summary: "Send events",
        description: "One event, an array, or one event a line (NDJSON). An event is the full envelope {type, data, \
            metadata} or its bare data, which gets an envelope: its id derives from the data, the company and the \
            Idempotency-Key, its time from the data. Answered when all events are on disk. A line that is no JSON \
            object is counted as malformed and becomes a dead letter; the others are taken.",
        parameters: &[Parameter::path("event_type", "The event type.", "buddy.feedback.submitted"), COMPANY, KEY],
        body: Some(Content { media_types: &[JSON, NDJSON], schema: "Event", description: "The events." }),
        answer: Content { media_types: &[JSON], schema: "Accepted", description: "The events are on disk." },
        status: 202,
        faults: &[
            Fault::UndecodableBody,
            Fault::InvalidRequest,
            Fault::Forbidden,
            Fault::UnknownEventType,
            Fault::KeyInFlight,
            Fault::TooLarge,
            Fault::UnsupportedMediaType,
            Fault::KeyReused,
            Fault::Unprocessable,
            Fault::NotReady,
        ],
        secured: true,
        handler: || post(ingest),
    },
    Route {
        method: "get",
        path: "/v1/event-types",
        tag: "ingest",
        summary: "List the event types",
        description: "The event types that can be sent, and the data field that says when each happened.",
        parameters: &[],
        body: None,
        answer: Content { media_types: &[JSON], schema: "Items", description: "The event types." },
        status: 200,
        faults: &[],
        secured: true,
        handler: || get(event_types),
    },
];

/// The events of one request, ready for the log.
struct Lines {
    lines: Vec<Bytes>,
    ids: Vec<Value>,
    malformed: usize,
}

async fn event_types(State(state): State<ApiState>, _caller: Caller, uri: Uri) -> Result<axum::Json<Value>, Problem> {
    Parameters::read(&uri, &[])?;
    let kinds = state.event_types.values().map(|kind| json!({"event_type": kind.name, "event_time": kind.event_time}));
    Ok(axum::Json(json!({"items": kinds.collect::<Vec<_>>()})))
}

async fn ingest(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(name): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Parameters::read(&uri, &[])?;
    let event_type = find_event_type(&state, &name)?.clone();
    let media = accepted_media(&headers)?;
    let key = idempotency::key(&headers)?;
    let company = company_of(&headers, &caller)?;
    let body = read_body(&headers, body, state.limits.ingest_bytes_max).await?;
    let print = fingerprint(&[b"ingest", name.as_bytes(), media.as_bytes(), &body]);
    let tenant = tenant_of(company.as_deref(), &caller);
    let work = async {
        let Lines { lines, ids, malformed } =
            prepare(&state, caller, event_type, company, key.clone(), media == NDJSON, body).await?;
        let accepted = lines.len();
        state.log.append(&name, lines).await?;
        let answer = json!({"event_type": name, "accepted": accepted, "malformed": malformed, "ids": ids});
        Ok(Answer { status: StatusCode::ACCEPTED, body: answer.to_string().into_bytes() })
    };
    idempotency::once(&state, &tenant, key.as_deref(), print, work).await
}

/// Finds an event type, or names the nearest.
pub(crate) fn find_event_type<'a>(state: &'a ApiState, name: &str) -> Result<&'a EventType, Problem> {
    state.event_types.get(name).ok_or_else(|| {
        let near = near_names(name, state.event_types.keys().map(String::as_str));
        let shown: String = name.chars().take(100).collect();
        Problem::new(Fault::UnknownEventType, format!("There is no event type '{shown}'.")).with("near", near)
    })
}

/// Ranks names by how many pairs of neighbouring letters they share with the one that was asked for.
pub(crate) fn near_names<'a>(asked: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let pairs = |text: &str| -> std::collections::BTreeSet<[u8; 2]> {
        let lower = text.to_ascii_lowercase();
        lower.as_bytes().windows(2).take(200).map(|pair| [pair[0], pair[1]]).collect()
    };
    let wanted = pairs(asked);
    let mut ranked: Vec<(f64, &str)> = names
        .map(|name| {
            let own = pairs(name);
            let shared = 2.0 * f64::from(u32::try_from(wanted.intersection(&own).count()).unwrap_or(0));
            (shared / f64::from(u32::try_from(wanted.len() + own.len()).unwrap_or(u32::MAX)), name)
        })
        .filter(|(score, _)| *score > 0.4)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    ranked.into_iter().take(NEAR_NAMES_MAX).map(|(_, name)| name).collect()
}

fn accepted_media(headers: &HeaderMap) -> Result<&'static str, Problem> {
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(JSON),
        Some("application/x-ndjson" | "application/ndjson" | "application/jsonl") => Ok(NDJSON),
        other => {
            let found = other.unwrap_or("nothing");
            let detail = format!("Content-Type must be {JSON} or {NDJSON}, not {found}.");
            Err(Problem::new(Fault::UnsupportedMediaType, detail)
                .with_header(header::ACCEPT, HeaderValue::from_static("application/json, application/x-ndjson")))
        }
    }
}

/// Returns the company that a request is for: the header, else the only one that the caller reaches.
pub(crate) fn company_of(headers: &HeaderMap, caller: &Caller) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(COMPANY_HEADER) else { return Ok(caller.companies.only_one().map(String::from)) };
    let company = value.to_str().map(str::trim).unwrap_or_default();
    if company.is_empty() {
        return Err(Problem::invalid("X-Company-Id is empty or not ASCII."));
    }
    caller.reach(company)?;
    Ok(Some(company.to_lowercase()))
}

/// Returns whose idempotency keys these are. Two keys of one company share them, so that a key can be rotated.
pub(crate) fn tenant_of(company: Option<&str>, caller: &Caller) -> String {
    company.map_or_else(|| format!("key/{}", caller.name), |company| format!("company/{company}"))
}

async fn prepare(
    state: &ApiState,
    caller: Caller,
    event_type: EventType,
    company: Option<String>,
    key: Option<String>,
    ndjson: bool,
    body: Bytes,
) -> Result<Lines, Problem> {
    let (limits, now) = (state.limits.clone(), state.clock.now());
    // Parsing the largest body takes longer than an async thread may be held.
    let task = tokio::task::spawn_blocking(move || {
        let companies = &caller.companies;
        let stamp = Stamp { event_type: &event_type, company: company.as_deref(), companies, key: key.as_deref(), now };
        if ndjson { from_ndjson(&body, &stamp, &limits) } else { from_json(&body, &stamp, &limits) }
    });
    task.await.map_err(|error| Problem::internal(&error))?
}

fn from_json(body: &[u8], given: &Stamp<'_>, limits: &Limits) -> Result<Lines, Problem> {
    let events = match serde_json::from_slice(body).map_err(|error| undecodable(&error))? {
        Value::Array(events) => events,
        single => vec![single],
    };
    check_count(events.len(), limits)?;
    let mut taken = Lines { lines: Vec::with_capacity(events.len()), ids: Vec::new(), malformed: 0 };
    for (index, value) in events.into_iter().enumerate() {
        let event = stamp(value, index, given).map_err(|refusal| refused(refusal, given).with("index", index))?;
        taken.push(event.envelope.to_string().into(), event.id, limits)?;
    }
    Ok(taken)
}

fn from_ndjson(body: &Bytes, given: &Stamp<'_>, limits: &Limits) -> Result<Lines, Problem> {
    let mut taken = Lines { lines: Vec::new(), ids: Vec::new(), malformed: 0 };
    let digest = fingerprint(&[body]);
    for (number, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        check_count(taken.lines.len() + 1, limits)?;
        let parsed = serde_json::from_slice::<Value>(line).map_err(|error| error.to_string());
        let value = match parsed {
            Ok(value) if value.is_object() => value,
            other => {
                let message = other.err().unwrap_or_else(|| "the line is no JSON object".into());
                let position =
                    format!("{:02x}{:02x}{:02x}{:02x}:{}", digest[0], digest[1], digest[2], digest[3], number + 1);
                taken.malformed += 1;
                taken.push(refused_record(line, message, position, given).into(), None, limits)?;
                continue;
            }
        };
        match stamp(value, taken.lines.len(), given) {
            Ok(event) => taken.push(event.envelope.to_string().into(), event.id, limits)?,
            Err(refusal) => return Err(refused(refusal, given).with("line", number + 1)),
        }
    }
    check_count(taken.lines.len(), limits)?;
    Ok(taken)
}

/// The source of letters that this route refused itself; the company follows after a colon.
pub(crate) const REFUSED_SOURCE: &str = "http";

/// Writes a line that is no event as a record that decodes to a dead letter. The same body names the same letters.
fn refused_record(line: &[u8], message: String, position: String, given: &Stamp<'_>) -> Vec<u8> {
    let source = given.company.map_or_else(|| REFUSED_SOURCE.to_owned(), |id| format!("{REFUSED_SOURCE}:{id}"));
    let payload = headwater_contracts::payload_text(line);
    let position = format!("{}/{position}", given.event_type.name);
    let reason = Reason::Undecodable;
    headwater_contracts::rejected_line(&DeadLetter { reason, message, path: String::new(), source, position, payload })
}

impl Lines {
    fn push(&mut self, line: Bytes, id: Option<String>, limits: &Limits) -> Result<(), Problem> {
        let limit = limits.event_bytes_max;
        if line.len() > limit {
            let detail = format!("Event {} of the request is over {limit} bytes.", self.lines.len() + 1);
            return Err(Problem::new(Fault::TooLarge, detail).with("limit_bytes", limit));
        }
        self.lines.push(line);
        self.ids.push(id.map_or(Value::Null, Value::String));
        Ok(())
    }
}

fn check_count(n_events: usize, limits: &Limits) -> Result<(), Problem> {
    let limit = limits.events_max;
    match n_events {
        0 => Err(Problem::new(Fault::Unprocessable, "There is no event in the body.")),
        n if n > limit => {
            let detail = format!("A request takes at most {limit} events.");
            Err(Problem::new(Fault::TooLarge, detail).with("limit_events", limit))
        }
        _ => Ok(()),
    }
}

/// Makes the problem of a body that is no JSON, with the place.
pub(crate) fn undecodable(error: &serde_json::Error) -> Problem {
    Problem::new(Fault::UndecodableBody, format!("The body is not JSON: {error}."))
        .with("line", error.line())
        .with("column", error.column())
}

/// Makes the problem of an event that is not taken.
pub(crate) fn refused(refusal: Refusal, given: &Stamp<'_>) -> Problem {
    let wrong = |detail: String| Problem::new(Fault::Unprocessable, detail);
    match refusal {
        Refusal::NotAnObject => wrong("An event must be a JSON object.".into()),
        Refusal::OtherType(found) => {
            wrong(format!("The event's type is '{found}', the path says '{}'.", given.event_type.name))
        }
        Refusal::OtherCompany(found) => wrong(format!("The event names the company '{found}', which is another.")),
        Refusal::Forbidden(found) => {
            Problem::new(Fault::Forbidden, format!("This API key does not reach the company '{found}'."))
        }
        Refusal::NoCompany => Problem::new(
            Fault::Forbidden,
            "This API key reaches several companies: say which one in X-Company-Id or in metadata.metadata.companyId.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::near_names;

    #[test]
    fn near_names_come_nearest_first_and_far_ones_not_at_all() {
        let names = ["buddy.feedback.submitted", "buddy.match.created", "kintell.rating.created"];
        assert_eq!(near_names("buddy.feedback.submited", names.into_iter())[0], "buddy.feedback.submitted");
        assert_eq!(near_names("zzz", names.into_iter()), [""; 0]);
        assert_eq!(near_names("", names.into_iter()), [""; 0]);
    }
}
