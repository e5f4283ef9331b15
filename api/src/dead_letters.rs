//! `GET /v1/dead-letters` and `POST /v1/dead-letters/{id}/replay`.
//!
//! A letter is named by what names its row: source, position, reason and path; the id is that, encoded. The table has
//! no company, so a key for certain companies sees only letters whose payload, or whose source, names one of them. A
//! replay appends to the log and is recorded in the journal; it never changes the letter.

use crate::auth::{Caller, Companies};
use crate::cursor;
use crate::event::{Stamp, stamp};
use crate::idempotency::{Answer, Replay, fingerprint};
use crate::ingest::{COMPANY, REFUSED_SOURCE, company_of, find_event_type, refused, undecodable};
use crate::layers::{Segment, media_type, read_body};
use crate::listing::{Column, Listing, plain};
use crate::parameters::{CURSOR, LIMIT, Parameter, Parameters};
use crate::period::{filter_since, iso};
use crate::problem::{Fault, Problem};
use crate::provided::EventType;
use crate::routes::{Content, Route};
use crate::state::ApiState;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, post};
use bytes::Bytes;
use headwater_core::Reason;
use rusqlite::types::Value as Sql;
use serde_json::{Value, json};

const JSON: &str = "application/json";

const LIST: &[Parameter] = &[
    Parameter::query("reason", "Only letters with this reason code: missing_field, late, E003, ….", "missing_field"),
    Parameter::query("source", "Only letters from this table or endpoint.", "feedback"),
    Parameter::query("since", "Only letters recorded from this date, or time (UTC, to the second), on.", "2026-01-01"),
    LIMIT,
    CURSOR,
];

const REPLAY: &[Parameter] = &[
    Parameter::path("id", "The letter's id.", "WyJhIl0"),
    Parameter::query(
        "event_type",
        "The event type, when neither payload nor position says.",
        "buddy.feedback.submitted",
    ),
    COMPANY,
];

/// The routes of this file.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: "get",
        path: "/v1/dead-letters",
        tag: "dead letters",
        summary: "List rows that could not be used",
        description: "Newest first, each with its reason, path, position, payload and its replays. A key for certain \
            companies sees the letters whose payload names one of them.",
        parameters: LIST,
        body: None,
        answer: Content { media_types: &[JSON], schema: "Page", description: "A page of dead letters." },
        status: 200,
        faults: &[Fault::InvalidRequest, Fault::NotReady],
        secured: true,
        handler: || get(list),
    },
    Route {
        method: "post",
        path: "/v1/dead-letters/{id}/replay",
        tag: "dead letters",
        summary: "Send a dead letter again",
        description: "Without a body the payload is sent as it was, with one the corrected event is. Done once for \
            each payload: again, it answers with the first time and appends nothing.",
        parameters: REPLAY,
        body: Some(Content {
            media_types: &[JSON],
            schema: "Event",
            description: "The corrected event; may be absent.",
        }),
        answer: Content { media_types: &[JSON], schema: "Replay", description: "The event is on disk." },
        status: 200,
        faults: &[
            Fault::InvalidRequest,
            Fault::UndecodableBody,
            Fault::NotFound,
            Fault::UnknownEventType,
            Fault::KeyInFlight,
            Fault::TooLarge,
            Fault::UnsupportedMediaType,
            Fault::Unprocessable,
            Fault::NotReady,
        ],
        secured: true,
        handler: || post(replay),
    },
];

const COLUMNS: &[Column] = &[
    plain("reason", "reason"),
    plain("message", "message"),
    plain("path", "path"),
    plain("source", "source"),
    plain("position", "position"),
    plain("payload", "payload"),
    plain("recorded_at", "recorded_at"),
];

const KEYS: &[&str] = &["recorded_at", "source", "position", "reason", "path"];

/// The fields that name a letter.
const NAME: [&str; 4] = ["source", "position", "reason", "path"];

/// The company that a payload names, as decoding would read it.
const PAYLOAD_COMPANY: &str = "lower(CASE WHEN json_valid(payload) THEN coalesce(\
    json_extract(payload, '$.metadata.metadata.companyId'), json_extract(payload, '$.data.companyId')) END)";

async fn list(State(state): State<ApiState>, caller: Caller, uri: Uri) -> Result<Json<Value>, Problem> {
    let asked = Parameters::read(&uri, LIST)?;
    if let Some(code) = asked.get("reason")
        && Reason::from_code(code).is_none()
    {
        let known: Vec<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
        return Err(Problem::invalid(format!("'{code}' is no reason.")).with("known", known));
    }
    let mut listing = visible(&caller.companies).newest_first();
    listing.filter_equal("reason", asked.get("reason"));
    listing.filter_equal("source", asked.get("source"));
    filter_since(&mut listing, "recorded_at", &asked)?;
    let mut page = listing.page(&state.store, "/v1/dead-letters", &asked).await?;
    let ids: Vec<String> = page.items.iter().map(id_of).collect();
    let replays = state.journal.replays(ids.clone()).await?;
    for (letter, id) in page.items.iter_mut().zip(ids) {
        let own = replays.iter().filter(|replay| replay.letter == id).map(|replay| {
            json!({"event_type": replay.event_type, "event_id": replay.event_id, "replayed_at": replay.replayed_at})
        });
        letter["replays"] = own.collect();
        letter["id"] = json!(id);
    }
    Ok(Json(page.into_json()))
}

/// Asks for the letters that a caller may see.
fn visible(companies: &Companies) -> Listing {
    let mut listing = Listing::new(COLUMNS, "dead_letters", KEYS);
    if let Companies::Only(ids) = companies {
        let marks = vec!["?"; ids.len()].join(", ");
        let sources = ids.iter().map(|id| format!("{REFUSED_SOURCE}:{id}"));
        listing.filter(
            format!("{PAYLOAD_COMPANY} IN ({marks}) OR source IN ({marks})"),
            ids.iter().cloned().chain(sources).collect::<Vec<_>>(),
        );
    }
    listing
}

fn id_of(letter: &Value) -> String {
    let name = NAME.map(|field| Sql::Text(letter[field].as_str().unwrap_or_default().to_owned()));
    cursor::encode("letter", &name)
}

/// Finds a letter that the caller may see; one that exists and is not the caller's is not found either.
async fn find(state: &ApiState, caller: &Caller, id: &str) -> Result<Value, Problem> {
    let missing = || Problem::new(Fault::NotFound, "There is no such dead letter.");
    let name = cursor::decode("letter", id, NAME.len()).map_err(|_| missing())?;
    let mut listing = visible(&caller.companies);
    for (field, value) in NAME.iter().zip(name) {
        let Sql::Text(value) = value else { return Err(missing()) };
        listing.filter_equal(field, Some(&value));
    }
    let found = state.store.read(move |connection| listing.first(connection, 1)).await?;
    found.into_iter().next().ok_or_else(missing)
}

async fn replay(
    State(state): State<ApiState>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Answer, Problem> {
    let asked = Parameters::read(&uri, REPLAY)?;
    let letter = find(&state, &caller, &id).await?;
    let company = company_of(&headers, &caller)?;
    let body = read_body(&headers, body, state.limits.event_bytes_max).await?;
    let payload = payload_of(&letter, &body, &headers)?;
    let event_type = event_type_of(&state, &asked, &letter, &payload)?;
    let text = payload.to_string();
    let hash = fingerprint(&[event_type.name.as_bytes(), company.as_deref().unwrap_or("").as_bytes(), text.as_bytes()]);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let Some(_claim) = state.journal.claim("replay", &id) else {
        return Err(Problem::new(Fault::KeyInFlight, "This letter is being replayed by another request."));
    };
    if let Some(first) = state.journal.replay(&id, &hash).await? {
        return answer(&first, true);
    }
    let now = state.clock.now();
    let companies = &caller.companies;
    let given = Stamp { event_type, company: company.as_deref(), companies, key: Some(&id), now };
    let event = stamp(payload, 0, &given).map_err(|refusal| refused(refusal, &given))?;
    let line = event.envelope.to_string();
    if line.len() > state.limits.event_bytes_max {
        return Err(Problem::new(
            Fault::TooLarge,
            format!("The event is over {} bytes.", state.limits.event_bytes_max),
        ));
    }
    state.log.append(&event_type.name, vec![Bytes::from(line)]).await?;
    let record = Replay {
        letter: id,
        payload_hash: hash,
        event_type: event_type.name.clone(),
        event_id: event.id.unwrap_or_default(),
        replayed_at: iso(now),
        replayed_by: caller.name.clone(),
    };
    state.journal.record_replay(record.clone()).await?;
    answer(&record, false)
}

fn answer(replay: &Replay, already_replayed: bool) -> Result<Answer, Problem> {
    let body = json!({
        "letter_id": replay.letter,
        "event_type": replay.event_type,
        "event_id": replay.event_id,
        "replayed_at": replay.replayed_at,
        "already_replayed": already_replayed,
    });
    Ok(Answer { status: StatusCode::OK, body: body.to_string().into_bytes() })
}

/// Returns the event to send: the body, or else the letter's payload.
fn payload_of(letter: &Value, body: &[u8], headers: &HeaderMap) -> Result<Value, Problem> {
    let payload: Value = if body.is_empty() {
        let text = letter["payload"].as_str().unwrap_or_default();
        serde_json::from_str(text).map_err(|error| {
            Problem::new(Fault::Unprocessable, format!("The payload is no JSON ({error}): send a corrected event."))
        })?
    } else {
        if media_type(headers).as_deref() != Some(JSON) {
            return Err(Problem::new(Fault::UnsupportedMediaType, "Content-Type must be application/json."));
        }
        serde_json::from_slice(body).map_err(|error| undecodable(&error))?
    };
    match payload {
        Value::Object(_) => Ok(payload),
        _ => Err(Problem::new(Fault::Unprocessable, "An event must be one JSON object.")),
    }
}

/// Finds the event type: the parameter, else the payload's own, else the topic at the front of the position.
fn event_type_of<'a>(
    state: &'a ApiState,
    asked: &Parameters,
    letter: &Value,
    payload: &Value,
) -> Result<&'a EventType, Problem> {
    if let Some(name) = asked.get("event_type") {
        return find_event_type(state, name);
    }
    let own = payload["type"].as_str();
    let topic = letter["position"].as_str().and_then(|position| position.split('/').next());
    let named = [own, topic].into_iter().flatten().find_map(|name| state.event_types.get(name));
    let unknown = || Problem::new(Fault::Unprocessable, "Nothing tells the event type: say it in 'event_type'.");
    named.ok_or_else(unknown)
}
