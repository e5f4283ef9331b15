//! An event that is valid: it can be made in no other way. Pure.

use crate::broker::Outgoing;
use bytes::Bytes;
use headwater_contracts::{Contract, FieldShape, Form, Kind, Metadata, check_line, event_line};
use headwater_core::{DeadLetter, Error, EventTime, Result};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use uuid::Uuid;

/// The most faults that are listed of one event.
const FAULTS_MAX: usize = 20;
/// What stands in for an id or a time at fault while the rest is looked at.
const STAND_IN_ID: &str = "00000000-0000-4000-8000-000000000000";
const STAND_IN_TIME: &str = "2026-01-01T00:00:00Z";

/// An event with its envelope, which fulfils its contract.
#[derive(Debug, Clone)]
pub struct Event {
    contract: &'static Contract,
    line: Bytes,
    id: Uuid,
    timestamp: String,
    correlation_id: Option<Uuid>,
    causation_id: Option<Uuid>,
}

impl Event {
    /// Reads an event in its envelope: `{"type", "data", "metadata"}`.
    ///
    /// # Errors
    /// The dead letter that it would be; `source` and `position` say where it was.
    pub fn parse(line: &[u8], source: &str, position: &str) -> Result<Self, Box<DeadLetter>> {
        let line = line.trim_ascii();
        let contract = check_line(line, source, position)?;
        let envelope: Value = serde_json::from_slice(line).unwrap_or_default();
        let metadata = &envelope["metadata"];
        let text = |name: &str| metadata[name].as_str().unwrap_or_default();
        let uuid = |name: &str| text(name).parse::<Uuid>().ok();
        Ok(Self {
            contract,
            id: uuid("id").unwrap_or_default(),
            timestamp: text("timestamp").to_owned(),
            correlation_id: uuid("correlationId"),
            causation_id: uuid("causationId"),
            // A message is one line, whatever stands between the fields of this one.
            line: if line.contains(&b'\n') { envelope.to_string().into() } else { Bytes::copy_from_slice(line) },
        })
    }

    /// Makes an event of a contract's type.
    ///
    /// # Errors
    /// `Invalid`, with every field at fault that can be named.
    pub fn new<E: headwater_contracts::Event>(data: Map<String, Value>, metadata: Metadata) -> Result<Self> {
        let line = event_line(E::TYPE, data, metadata);
        Self::parse(&line, "event", E::TYPE).map_err(|_| {
            let faults = faults(&line, "event", E::TYPE);
            let named: Vec<String> = faults.iter().map(|fault| format!("{}: {}", fault.path, fault.message)).collect();
            Error::invalid(format!("the event does not fulfil '{}': {}", E::TYPE, named.join("; ")))
                .with_help(format!("'headwater contracts show {}' says what it promises", E::TYPE))
        })
    }

    /// Returns what an event that this one causes says of itself: another id, the same occasion, this one as the cause.
    #[must_use]
    pub fn caused(&self, id: Uuid, timestamp: EventTime) -> Metadata {
        let correlation_id = Some(self.correlation_id.unwrap_or(self.id));
        Metadata { id, timestamp, correlation_id, causation_id: Some(self.id), metadata: Map::new() }
    }

    /// Returns the event type, which is its subject or topic as well.
    #[must_use]
    pub fn event_type(&self) -> &'static str {
        self.contract.event_type()
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Returns what all events of one occasion have in common.
    #[must_use]
    pub fn correlation_id(&self) -> Option<Uuid> {
        self.correlation_id
    }

    /// Returns the event that caused this one.
    #[must_use]
    pub fn causation_id(&self) -> Option<Uuid> {
        self.causation_id
    }

    /// Returns the event as one line of JSON.
    #[must_use]
    pub fn line(&self) -> &[u8] {
        &self.line
    }

    /// Returns what names this version of the event: a correction has the id of what it corrects, and a later time.
    #[must_use]
    pub fn version_id(&self) -> String {
        format!("{}@{}", self.id, self.timestamp)
    }

    pub(crate) fn outgoing(&self) -> Outgoing {
        let mut headers = vec![("Headwater-Type", self.event_type().to_owned())];
        headers.extend(self.correlation_id.map(|id| ("Correlation-Id", id.to_string())));
        headers.extend(self.causation_id.map(|id| ("Causation-Id", id.to_string())));
        Outgoing {
            topic: self.event_type().to_owned(),
            key: self.id.to_string(),
            id: self.version_id(),
            payload: self.line.clone(),
            headers,
        }
    }
}

/// Lists what is wrong with a line: each fault is found with all earlier ones mended.
#[must_use]
pub fn faults(line: &[u8], source: &str, position: &str) -> Vec<DeadLetter> {
    let mut found: Vec<DeadLetter> = Vec::new();
    let mut seen = BTreeSet::new();
    let Err(first) = check_line(line, source, position) else { return found };
    let Ok(mut value) = serde_json::from_slice::<Value>(line) else { return vec![*first] };
    let contract = value["type"].as_str().and_then(|name| headwater_contracts::find(name).ok());
    let mut next = Some(first);
    while let Some(letter) = next.take().filter(|_| found.len() < FAULTS_MAX) {
        let path = letter.path.clone();
        if !seen.insert(path.clone()) {
            break;
        }
        found.push(*letter);
        if contract.is_some_and(|contract| mend(&mut value, contract, &path)) {
            next = check_line(value.to_string().as_bytes(), source, position).err();
        }
    }
    found
}

/// Puts a value that is right where one is needed, and removes one that is not; says whether it could.
fn mend(value: &mut Value, contract: &Contract, path: &str) -> bool {
    let Some((parents, name)) = path.rsplit_once('.') else { return false };
    let pointer: String = parents.split('.').map(|part| format!("/{part}")).collect();
    let Some(object) = value.pointer_mut(&pointer).and_then(Value::as_object_mut) else { return false };
    let needed = match parents {
        "metadata" => match name {
            "id" => Some(Value::from(STAND_IN_ID)),
            "version" => Some(Value::from("v1")),
            "timestamp" => Some(Value::from(STAND_IN_TIME)),
            _ => None,
        },
        _ => match field(contract.fields(), path).filter(|field| field.required) {
            None => None,
            Some(field) => match stand_in(field) {
                None => return false,
                some => some,
            },
        },
    };
    match needed {
        Some(right) => {
            object.insert(name.to_owned(), right);
            true
        }
        None => object.shift_remove(name).is_some(),
    }
}

/// Finds the field of a path such as `data.feedback.rating`.
fn field<'a>(fields: &'a [FieldShape], path: &str) -> Option<&'a FieldShape> {
    fields.iter().find_map(|shape| match &shape.kind {
        _ if shape.path == path => Some(shape),
        Kind::Object(inner) => field(inner, path),
        _ => None,
    })
}

/// Returns some value that a field may have; none where that would take thought.
fn stand_in(shape: &FieldShape) -> Option<Value> {
    Some(match &shape.kind {
        Kind::Text(rule) if rule.pattern.is_some() => return None,
        Kind::Text(rule) => match (rule.choices.first(), rule.form) {
            (Some(choice), _) => Value::from(choice.as_str()),
            (None, Form::Uuid) => Value::from(STAND_IN_ID),
            (None, Form::Plain) => Value::from("x".repeat(rule.length_min.unwrap_or(1).max(1))),
            (None, Form::Email | Form::Uri) => return None,
        },
        Kind::Time => Value::from(STAND_IN_TIME),
        Kind::Int(range) => {
            let least = range.minimum.or(range.above.map(|bound| bound.floor() + 1.0)).unwrap_or_default();
            serde_json::from_str(&format!("{least:.0}")).ok()?
        }
        Kind::Float(range) => {
            Value::from(range.minimum.or(range.maximum).or(range.above.map(|bound| bound + 1.0)).unwrap_or_default())
        }
        Kind::Bool => Value::from(false),
        Kind::Map => Value::Object(Map::new()),
        Kind::List(_) => Value::Array(Vec::new()),
        Kind::Object(fields) => {
            let required = fields.iter().filter(|field| field.required);
            let values = required.map(|field| Some((field.name.clone(), stand_in(field)?)));
            Value::Object(values.collect::<Option<Map<_, _>>>()?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use headwater_contracts::BuddyFeedbackSubmitted;
    use serde_json::json;

    fn metadata() -> Metadata {
        let id = Uuid::from_u128(1);
        Metadata { id, timestamp: EventTime(0), correlation_id: None, causation_id: None, metadata: Map::new() }
    }

    fn data(more: Value) -> Map<String, Value> {
        let mut data = json!({
            "feedbackId": Uuid::from_u128(2), "matchId": Uuid::from_u128(3), "fromRole": "buddy", "rating": 0.5,
            "submittedAt": "2026-01-01T00:00:00Z",
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        data.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn an_event_is_valid_and_says_what_it_is() {
        let event = Event::new::<BuddyFeedbackSubmitted>(data(json!({})), metadata()).expect("is valid");
        assert_eq!((event.event_type(), event.id()), ("buddy.feedback.submitted", Uuid::from_u128(1)));
        let caused = event.caused(Uuid::from_u128(9), EventTime(1_000_000_000));
        let next = Event::new::<BuddyFeedbackSubmitted>(data(json!({})), caused).expect("is valid");
        assert_eq!((next.correlation_id(), next.causation_id()), (Some(event.id()), Some(event.id())));
        let headers = next.outgoing().headers;
        assert!(headers.contains(&("Causation-Id", event.id().to_string())), "{headers:?}");
        assert_ne!(event.version_id(), next.version_id());
    }

    #[test]
    fn every_field_at_fault_is_named() {
        let wrong = json!({"feedbackText": 7, "categories": {"communication": 3, "helpfulness": 0.5}, "rating": 7});
        let error = Event::new::<BuddyFeedbackSubmitted>(data(wrong), metadata()).expect_err("is not valid");
        let message = error.message();
        for field in ["data.rating", "data.feedbackText", "data.categories.communication"] {
            assert!(message.contains(field), "{field}: {message}");
        }
        assert!(!message.contains("helpfulness"), "{message}");
        assert_eq!(faults(b"{", "s", "p").len(), 1);
    }
}
