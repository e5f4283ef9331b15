//! Messages of one partition become rows: what has no value, what cannot be decoded, and what is known of a message
//! besides its value. It never asks a broker. Its state is the decoder's.

use super::{KafkaSourceSpec, KeyFormat, Meaning, Tombstones};
use crate::formats::metadata::without_metadata;
use crate::formats::records::Place;
use crate::formats::{Decode, Fault, Item, LineFormat, decode_each, payload};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::SchemaRef;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, SecondsFormat};
use headwater_core::{DeadLetter, Reason, Result, metadata_key};
use rdkafka::message::{Headers, Message as _};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A message that waits to be decoded.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Option<String>,
}

impl Message {
    /// Copies a message out of the client's memory; headers only where a column shows them.
    pub(super) fn copy(message: &rdkafka::message::BorrowedMessage<'_>, with_headers: bool) -> Self {
        Self {
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            headers: if with_headers { message.headers().map(headers) } else { None },
        }
    }

    /// Returns how many bytes it holds.
    pub(super) fn n_bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.key) + length(&self.value) + self.headers.as_ref().map_or(0, String::len)
    }
}

/// Writes headers as a JSON array of `[name, value]`, because a name may occur twice.
fn headers(headers: &impl Headers) -> String {
    let pair = |header: rdkafka::message::Header<'_, &[u8]>| {
        Value::from(vec![
            Value::from(header.key),
            header.value.map_or(Value::Null, |bytes| Value::from(text(bytes).into_owned())),
        ])
    };
    Value::from(headers.iter().map(pair).collect::<Vec<_>>()).to_string()
}

/// Returns bytes as text; those that are none in base64.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(in_base64(bytes)),
    }
}

fn in_base64(bytes: &[u8]) -> String {
    format!("base64:{}", BASE64_STANDARD.encode(bytes))
}

/// Cuts Confluent's frame off: a zero byte and the number of a schema. JSON says itself what its fields are.
fn unframed(value: &[u8]) -> Result<&[u8], Fault> {
    match value.split_at_checked(5) {
        Some(([0, ..], json)) => Ok(json),
        _ => Err(undecodable("the message does not begin with the number of a schema".to_owned())),
    }
}

/// Turns messages into rows.
pub(super) struct Decoder {
    spec: KafkaSourceSpec,
    inner: Box<dyn Decode>,
    /// Whether a column shows headers.
    pub(super) with_headers: bool,
}

impl Decoder {
    pub(super) fn new(spec: &KafkaSourceSpec) -> Result<Self> {
        let declared = without_metadata(&spec.declared).unwrap_or_else(|| spec.declared.clone());
        let wanted = without_metadata(&spec.wanted).unwrap_or_else(|| spec.wanted.clone());
        // A message is read, and checked, when only what is known of it is wanted.
        let is_all = wanted.fields().is_empty() || !spec.format.can_project();
        let inner = spec.format.decoder(&declared, if is_all { declared.clone() } else { wanted }, None)?;
        let with_headers = spec.wanted.fields().iter().any(|field| metadata_key(field) == Some("headers"));
        Ok(Self { spec: spec.clone(), inner, with_headers })
    }

    /// Decodes messages of one partition.
    pub(super) fn decode(&mut self, partition: i32, messages: &[Message]) -> Result<(RecordBatch, Vec<DeadLetter>)> {
        let place = format!("{}/{partition}", self.spec.client.topic);
        let mut letters: BTreeMap<i64, DeadLetter> = BTreeMap::new();
        let mut values: Vec<(&Message, Cow<'_, [u8]>)> = Vec::with_capacity(messages.len());
        for message in messages {
            match self.spec.value(message) {
                Ok(Some(value)) => values.push((message, value)),
                Ok(None) => {}
                Err(fault) => drop(letters.insert(message.offset, self.spec.letter(fault, &place, message))),
            }
        }
        let mut items: Vec<Item<'_>> = Vec::with_capacity(values.len());
        for (message, value) in &values {
            let offset = u64::try_from(message.offset).unwrap_or_default();
            items.push(Item { bytes: value, place: Place { offset, line: 0 } });
        }
        let (rows, bad) = decode_each(self.inner.as_mut(), &place, &items)?;
        let mut is_bad = vec![false; values.len()];
        for (index, fault) in bad {
            is_bad[index] = true;
            let message = values[index].0;
            letters.insert(message.offset, self.spec.letter(fault, &place, message));
        }
        let good: Vec<&Message> = values.iter().zip(&is_bad).filter(|(_, bad)| !**bad).map(|((m, _), _)| *m).collect();
        let rows = assemble(&self.spec.wanted, &rows, &place, partition, &good)?;
        Ok((rows, letters.into_values().collect()))
    }
}

/// Puts the columns of the value and those that are about the message together.
fn assemble(
    wanted: &SchemaRef,
    rows: &RecordBatch,
    place: &str,
    partition: i32,
    messages: &[&Message],
) -> Result<RecordBatch> {
    let topic = place.rsplit_once('/').map_or(place, |(topic, _)| topic);
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(wanted.fields().len());
    for field in wanted.fields() {
        let same = |text: &str| StringArray::from_iter_values(std::iter::repeat_n(text, messages.len()));
        let column = match metadata_key(field) {
            None => {
                columns.push(rows.column(rows.schema().index_of(field.name())?).clone());
                continue;
            }
            Some("topic") => same(topic),
            Some("partition") => same(&partition.to_string()),
            Some("offset") => StringArray::from_iter_values(messages.iter().map(|m| m.offset.to_string())),
            Some("key") => messages.iter().map(|m| m.key.as_deref().map(text)).collect(),
            Some("timestamp") => messages.iter().map(|m| m.timestamp_ms.and_then(timestamp)).collect(),
            Some("headers") => messages.iter().map(|m| m.headers.as_deref()).collect(),
            Some(_) => StringArray::from_iter_values(messages.iter().map(|m| format!("{place}:{}", m.offset))),
        };
        columns.push(Arc::new(column));
    }
    let options = RecordBatchOptions::new().with_row_count(Some(messages.len()));
    Ok(RecordBatch::try_new_with_options(wanted.clone(), columns, &options)?)
}

fn timestamp(millis: i64) -> Option<String> {
    Some(DateTime::from_timestamp_millis(millis)?.to_rfc3339_opts(SecondsFormat::Millis, true))
}

impl KafkaSourceSpec {
    /// Returns what is decoded of a message, nothing when it is left out, or what is wrong with it.
    fn value<'a>(&self, message: &'a Message) -> Result<Option<Cow<'a, [u8]>>, Fault> {
        let value = match &message.value {
            Some(value) if self.is_framed_json => Some(unframed(value)?),
            value => value.as_deref(),
        };
        match (self.meaning, value) {
            (Meaning::Row | Meaning::Event, Some(value)) => Ok(Some(Cow::Borrowed(value))),
            (Meaning::Upsert, Some(value)) => {
                let row = serde_json::from_slice::<&RawValue>(value)
                    .map_err(|error| undecodable(format!("the message is not JSON: {error}")))?;
                if !row.get().starts_with('{') {
                    return Err(undecodable("the message is JSON, but not an object".to_owned()));
                }
                Ok(Some(Cow::Owned(format!("{{\"op\":\"c\",\"after\":{row}}}").into_bytes())))
            }
            // Debezium writes the deletion first and a message without a value after it, for the compaction.
            (Meaning::Event, None) if self.key.is_empty() => Ok(None),
            (Meaning::Event | Meaning::Upsert, None) => {
                let key = self.key_of(message)?;
                Ok(Some(Cow::Owned(format!("{{\"op\":\"d\",\"before\":{key}}}").into_bytes())))
            }
            (Meaning::Row, None) if self.tombstones == Tombstones::Skip => Ok(None),
            (Meaning::Row, None) => Err(undecodable("the message has no value".to_owned())),
        }
    }

    /// Returns the key of a message as a JSON object of the key's columns.
    fn key_of(&self, message: &Message) -> Result<String, Fault> {
        let wrong = |why: &str| Fault {
            reason: Reason::MissingField,
            path: "key".to_owned(),
            message: format!("the message has no value, and its key does not say which row to delete: {why}"),
        };
        let Some(key) = &message.key else { return Err(wrong("there is none")) };
        if self.key_format == KeyFormat::Raw {
            let text = std::str::from_utf8(key).map_err(|_| wrong("it is not UTF-8"))?;
            let object: serde_json::Map<String, Value> =
                self.key.iter().map(|name| (name.clone(), text.into())).collect();
            return Ok(Value::Object(object).to_string());
        }
        let object: serde_json::Map<String, Value> =
            serde_json::from_slice(key).map_err(|_| wrong("it is not a JSON object"))?;
        // Debezium's converter puts the key below `payload`, beside its schema.
        let object = match object.get("payload") {
            Some(Value::Object(inner)) if object.contains_key("schema") => inner.clone(),
            _ => object,
        };
        match self.key.iter().find(|name| object.get(*name).is_none_or(Value::is_null)) {
            Some(name) => Err(wrong(&format!("it has no field '{name}'"))),
            None => Ok(Value::Object(object).to_string()),
        }
    }

    fn letter(&self, fault: Fault, place: &str, message: &Message) -> DeadLetter {
        let value = message.value.as_deref().unwrap_or_default();
        let is_text = !matches!(self.format, LineFormat::Avro(_) | LineFormat::RawBytes);
        let shown = match std::str::from_utf8(value) {
            Ok(_) if is_text => payload(value, value.len() as u64),
            _ => {
                let shown = in_base64(value);
                payload(shown.as_bytes(), shown.len() as u64)
            }
        };
        DeadLetter {
            reason: fault.reason,
            message: fault.message.replacen("the line", "the message", 1),
            path: fault.path,
            source: self.table.clone(),
            position: format!("{place}:{}", message.offset),
            payload: shown,
        }
    }
}

fn undecodable(message: String) -> Fault {
    Fault { reason: Reason::Undecodable, path: String::new(), message }
}
