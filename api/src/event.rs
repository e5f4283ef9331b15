//! One event on its way to the log: the full envelope as sent, or one made around bare data.
//!
//! Pure. Ids are derived (UUID version 5), never random: the same data sent twice by the same company, or under the
//! same idempotency key, is the same event, and the pipelines drop the second as a duplicate.

use crate::auth::Companies;
use crate::period::iso;
use crate::provided::EventType;
use headwater_core::EventTime;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The namespace of derived event ids; any constant will do, this one was drawn once.
const EVENT_IDS: Uuid = Uuid::from_u128(0x6f1d_1f1e_60f5_4c3f_9b0e_8f3b_52c7_d0a4);

/// What is known about every event of one request.
pub(crate) struct Stamp<'a> {
    /// The type in the path.
    pub(crate) event_type: &'a EventType,
    /// The company that the request is for.
    pub(crate) company: Option<&'a str>,
    /// The companies that the caller reaches.
    pub(crate) companies: &'a Companies,
    /// The idempotency key.
    pub(crate) key: Option<&'a str>,
    /// The wall time.
    pub(crate) now: EventTime,
}

/// Why an event is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is no JSON object.
    NotAnObject,
    /// Its `type` is another than the path's.
    OtherType(String),
    /// It says another company than the request.
    OtherCompany(String),
    /// The caller does not reach its company.
    Forbidden(String),
    /// The caller's key reaches certain companies, and nothing says which one this is for.
    NoCompany,
}

/// An event as it goes to the log.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Its id; `None` when an envelope came without one, which the contract will reject.
    pub(crate) id: Option<String>,
    /// The envelope.
    pub(crate) envelope: Value,
}

/// Makes the envelope of one event; `index` is its place in the request.
pub(crate) fn stamp(value: Value, index: usize, stamp: &Stamp<'_>) -> Result<Event, Refusal> {
    let Value::Object(object) = value else { return Err(Refusal::NotAnObject) };
    let mut envelope = if is_envelope(&object) { object } else { Map::from_iter([("data".to_owned(), object.into())]) };
    match envelope.get("type") {
        None => {
            envelope.shift_insert(0, "type".into(), json!(stamp.event_type.name));
        }
        Some(Value::String(name)) if *name == stamp.event_type.name => {}
        Some(other) => return Err(Refusal::OtherType(other.as_str().map_or_else(|| other.to_string(), String::from))),
    }
    let company = settle_company(&envelope, stamp)?;
    if !envelope.contains_key("metadata") {
        let metadata = derived_metadata(&envelope["data"], index, company.as_deref(), stamp);
        envelope.insert("metadata".into(), metadata);
    }
    if let Some(company) = &company {
        put_company(&mut envelope, company);
    }
    let id = envelope["metadata"]["id"].as_str().map(String::from);
    Ok(Event { id, envelope: Value::Object(envelope) })
}

/// Data has no field `data` in any contract; an envelope always has one, and its type or its metadata. A `rejected`
/// beside them is how the log marks refused records: nobody outside writes those, so it is wrapped as bare data is.
fn is_envelope(object: &Map<String, Value>) -> bool {
    !object.contains_key("rejected")
        && object.get("data").is_some_and(Value::is_object)
        && (object.contains_key("metadata") || object.get("type").is_some_and(Value::is_string))
}

/// Agrees on the company: every one that the event names must be the request's and within the caller's reach.
fn settle_company(envelope: &Map<String, Value>, stamp: &Stamp<'_>) -> Result<Option<String>, Refusal> {
    let in_metadata = envelope.get("metadata").and_then(|value| value.get("metadata")?.get("companyId"));
    let in_data = envelope.get("data").and_then(|value| value.get("companyId"));
    let mut settled: Option<String> = stamp.company.map(String::from);
    for found in [in_metadata, in_data].into_iter().flatten().filter(|value| !value.is_null()) {
        // A company that is no string is for the contract to reject; it must not pass as "no company" meanwhile.
        let found = found.as_str().map_or_else(|| found.to_string(), String::from);
        if !stamp.companies.allow(&found) {
            return Err(Refusal::Forbidden(found));
        }
        match &settled {
            Some(company) if !company.eq_ignore_ascii_case(&found) => return Err(Refusal::OtherCompany(found)),
            Some(_) => {}
            None => settled = Some(found),
        }
    }
    match (&settled, stamp.companies) {
        (None, Companies::Only(_)) => Err(Refusal::NoCompany),
        _ => Ok(settled),
    }
}

fn derived_metadata(data: &Value, index: usize, company: Option<&str>, stamp: &Stamp<'_>) -> Value {
    let mut hash = Sha256::new();
    let (index, data_text) = (index.to_string(), data.to_string());
    let place = if stamp.key.is_some() { index.as_str() } else { "" };
    for part in [&stamp.event_type.name, company.unwrap_or(""), stamp.key.unwrap_or(""), place, &data_text] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    let happened = stamp.event_type.event_time.as_ref().and_then(|field| data.get(field)?.as_str());
    json!({
        "id": Uuid::new_v5(&EVENT_IDS, &hash.finalize()).to_string(),
        "version": "v1",
        "timestamp": happened.map_or_else(|| iso(stamp.now), String::from),
    })
}

/// Writes the company where the pipelines look first. What is malformed is left for the contract to reject.
fn put_company(envelope: &mut Map<String, Value>, company: &str) {
    let Some(Value::Object(metadata)) = envelope.get_mut("metadata") else { return };
    let map = metadata.entry("metadata").or_insert_with(|| json!({}));
    if map.is_null() {
        *map = json!({});
    }
    if let Value::Object(map) = map {
        let slot = map.entry("companyId").or_insert(Value::Null);
        if slot.is_null() {
            *slot = json!(company);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(event_type: &'a EventType, company: Option<&'a str>, companies: &'a Companies) -> Stamp<'a> {
        Stamp { event_type, company, companies, key: None, now: EventTime(0) }
    }

    fn feedback() -> EventType {
        EventType { name: "buddy.feedback.submitted".into(), event_time: Some("submittedAt".into()) }
    }

    #[test]
    fn bare_data_gets_an_envelope_with_its_own_time() {
        let (kind, all) = (feedback(), Companies::All);
        let data = json!({"rating": 0.5, "submittedAt": "2026-02-03T04:05:06Z"});
        let event = stamp(data.clone(), 0, &with(&kind, Some("c1"), &all)).expect("taken");
        let id = event.id.clone().expect("derived");
        let expected = json!({
            "type": "buddy.feedback.submitted",
            "data": data,
            "metadata": {"id": id, "version": "v1", "timestamp": "2026-02-03T04:05:06Z", "metadata": {"companyId": "c1"}},
        });
        assert_eq!(event.envelope, expected);
        assert_eq!(Uuid::parse_str(&id).expect("a uuid").get_version_num(), 5);
    }

    #[test]
    fn ids_depend_on_data_company_and_key_and_on_the_place_only_with_a_key() {
        let (kind, all) = (feedback(), Companies::All);
        let id = |company, key, index, rating: f64| {
            let given = Stamp { key, ..with(&kind, company, &all) };
            stamp(json!({"rating": rating}), index, &given).expect("taken").id
        };
        let first = id(Some("a"), None, 0, 0.5);
        assert_eq!(first, id(Some("a"), None, 7, 0.5));
        assert_ne!(first, id(Some("b"), None, 0, 0.5));
        assert_ne!(first, id(Some("a"), None, 0, 0.6));
        assert_ne!(first, id(Some("a"), Some("k"), 0, 0.5));
        assert_ne!(id(Some("a"), Some("k"), 0, 0.5), id(Some("a"), Some("k"), 1, 0.5));
    }

    #[test]
    fn a_whole_envelope_keeps_what_it_says() {
        let (kind, all) = (feedback(), Companies::All);
        let sent = json!({"type": kind.name, "data": {"rating": 1}, "metadata": {"id": "x", "metadata": {"companyId": "c9", "k": 1}}});
        let event = stamp(sent.clone(), 0, &with(&kind, None, &all)).expect("taken");
        assert_eq!((event.envelope, event.id.as_deref()), (sent, Some("x")));
    }

    #[test]
    fn no_event_slips_past_the_callers_companies() {
        let kind = feedback();
        let only = Companies::Only(["a".to_owned(), "b".to_owned()].into());
        let refused = |value: Value, company| stamp(value, 0, &with(&kind, company, &only)).expect_err("refused");
        let in_both = json!({"data": {"companyId": "c"}, "metadata": {"metadata": {"companyId": "a"}}});
        assert_eq!(refused(in_both, None), Refusal::Forbidden("c".into()));
        assert_eq!(refused(json!({"companyId": "c"}), Some("a")), Refusal::Forbidden("c".into()));
        assert_eq!(refused(json!({"companyId": "b"}), Some("a")), Refusal::OtherCompany("b".into()));
        assert_eq!(refused(json!({"companyId": ["c"]}), None), Refusal::Forbidden("[\"c\"]".into()));
        assert_eq!(refused(json!({"rating": 1}), None), Refusal::NoCompany);
    }

    #[test]
    fn nobody_outside_writes_refused_records() {
        let (kind, all) = (feedback(), Companies::All);
        let sent = json!({"type": kind.name, "data": {}, "metadata": {"id": "x"}, "rejected": {"reason": "late"}});
        let event = stamp(sent.clone(), 0, &with(&kind, None, &all)).expect("taken");
        assert_eq!((&event.envelope["data"], event.envelope.get("rejected")), (&sent, None));
    }

    #[test]
    fn another_type_and_no_object_are_refused() {
        let (kind, all) = (feedback(), Companies::All);
        let refused = |value: Value| stamp(value, 0, &with(&kind, None, &all)).expect_err("refused");
        assert_eq!(refused(json!({"type": "x.y", "data": {}})), Refusal::OtherType("x.y".into()));
        assert_eq!(refused(json!([1])), Refusal::NotAnObject);
    }
}
