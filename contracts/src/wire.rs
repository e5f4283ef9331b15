//! The two kinds of lines of an inbox topic, as they are written: an event in its envelope, and a row that an importer
//! refused. Pure functions without state; a line never holds a line break.

use crate::rules::time_text;
use headwater_core::{DeadLetter, EventTime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The longest record that is decoded. A longer one is a dead letter: no programme event comes near, and a single
/// row must not be able to fill memory.
pub const RECORD_BYTES_MAX: usize = 1 << 20;

/// The most bytes of a record that a dead letter keeps. Events are far smaller and stay whole, so that they can be
/// replayed; of a greater one the beginning is kept, and its position says where the rest is.
pub const PAYLOAD_BYTES_MAX: usize = 64 << 10;

/// Where an event comes from.
#[derive(Debug, Clone)]
pub struct Metadata {
    /// The event.
    pub id: uuid::Uuid,
    /// When this version of the event was made.
    pub timestamp: EventTime,
    /// What all events of one occasion have in common.
    pub correlation_id: Option<uuid::Uuid>,
    /// The event that caused this one.
    pub causation_id: Option<uuid::Uuid>,
    /// More about the event; `companyId` names the company it belongs to.
    pub metadata: Map<String, Value>,
}

/// Writes an event as one line, without the line break.
#[must_use]
pub fn event_line(event_type: &str, data: Map<String, Value>, metadata: Metadata) -> Vec<u8> {
    let mut about = Map::new();
    about.insert("id".into(), metadata.id.to_string().into());
    about.insert("version".into(), "v1".into());
    about.insert("timestamp".into(), time_text(metadata.timestamp.0).into());
    let related = [("correlationId", metadata.correlation_id), ("causationId", metadata.causation_id)];
    for (name, id) in related {
        if let Some(id) = id {
            about.insert(name.into(), id.to_string().into());
        }
    }
    if !metadata.metadata.is_empty() {
        about.insert("metadata".into(), Value::Object(metadata.metadata));
    }
    json!({"type": event_type, "data": data, "metadata": about}).to_string().into_bytes()
}

/// A refused row as it is written.
#[derive(Serialize, Deserialize)]
pub(crate) struct Rejected {
    pub(crate) reason: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) position: String,
    #[serde(default)]
    pub(crate) payload: String,
}

/// Writes a refused row as one line, without the line break. Decoding turns it into the same dead letter again.
#[must_use]
pub fn rejected_line(letter: &DeadLetter) -> Vec<u8> {
    let rejected = Rejected {
        reason: letter.reason.code().to_owned(),
        message: letter.message.clone(),
        path: letter.path.clone(),
        source: letter.source.clone(),
        position: letter.position.clone(),
        payload: letter.payload.clone(),
    };
    json!({ "rejected": rejected }).to_string().into_bytes()
}

/// Returns the text of a record that a dead letter keeps: bytes that are not UTF-8 are replaced, and of a record longer
/// than [`PAYLOAD_BYTES_MAX`] the beginning stays, with a note of its length.
#[must_use]
pub fn payload_text(record: &[u8]) -> String {
    if record.len() <= PAYLOAD_BYTES_MAX {
        return String::from_utf8_lossy(record).into_owned();
    }
    let mut end = PAYLOAD_BYTES_MAX;
    while end > PAYLOAD_BYTES_MAX - 4 && record[end] & 0b1100_0000 == 0b1000_0000 {
        end -= 1;
    }
    format!("{}…[cut: {} bytes in all]", String::from_utf8_lossy(&record[..end]), record.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_record_is_cut_between_characters_and_says_so() {
        let record = "é".repeat(PAYLOAD_BYTES_MAX);
        let text = payload_text(format!("x{record}").as_bytes());
        assert!(text.ends_with(&format!("é…[cut: {} bytes in all]", 2 * PAYLOAD_BYTES_MAX + 1)));
        assert!(!text.contains('\u{fffd}'));
    }
}
