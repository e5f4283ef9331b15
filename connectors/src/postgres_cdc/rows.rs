//! Changes of a table as rows of events: `before`, `after`, `op`. Pure.
//!
//! A row that does not fit the declared columns is a dead letter, and the event says the rest: where a good row becomes
//! a bad one it goes, where a bad one becomes a good one it comes.

use super::CdcSpec;
use super::pgoutput::{Change, Lsn, Relation, Value};
use crate::formats::metadata::POSITION;
use crate::formats::payload;
use crate::lookups::{Cell, Rows};
use crate::postgres::cell;
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, StructArray, UInt32Array, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;
use headwater_core::{DeadLetter, Error, Reason, Result, metadata_key};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A row as text, a cell for each declared column.
pub(super) type Texts = Vec<Option<String>>;

/// An event: what goes, what comes, and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) op: &'static str,
    pub(super) before: Option<Texts>,
    pub(super) after: Option<Texts>,
    pub(super) position: String,
}

impl CdcSpec {
    /// Returns the places of the declared columns in a relation.
    fn places(&self, relation: &Relation, end: Lsn) -> Result<Vec<usize>> {
        let place = |name: &String| {
            relation.columns.iter().position(|other| other == name).ok_or_else(|| {
                let message = format!("the table '{}' has no column '{name}' any more, from {end} on", self.table);
                Error::conflict(message).with_help(format!("its columns are: {}", relation.columns.join(", ")))
            })
        };
        self.columns.fields().iter().map(|field| place(field.name())).collect()
    }

    /// Turns a change into an event.
    pub(super) fn event(&self, relation: &Relation, change: Change, end: Lsn, number: usize) -> Result<Event> {
        let places = self.places(relation, end)?;
        let position = format!("{end}:{number}");
        let of = |op, before, after| Ok(Event { op, before, after, position: position.clone() });
        match change {
            Change::Insert { after } => of("c", None, Some(self.texts(&places, after, None)?)),
            Change::Update { before, after } => {
                let whole = before.as_ref().filter(|old| old.is_whole).map(|old| old.values.clone());
                let after = self.texts(&places, after, whole)?;
                let before = match before {
                    Some(old) => self.texts(&places, old.values, None)?,
                    // The key is as it was.
                    None => self.key_of(&after),
                };
                of("u", Some(before), Some(after))
            }
            Change::Delete { before } => of("d", Some(self.texts(&places, before.values, None)?), None),
            Change::Truncate => {
                let message =
                    format!("the table '{}' was truncated at {end}: nobody says which rows are gone", self.table);
                Err(Error::data(message).with_help(
                    "start the pipeline anew, without its checkpoint, and use DELETE instead of TRUNCATE from now on",
                ))
            }
        }
    }

    /// Returns the key of a row, without the rest.
    fn key_of(&self, row: &Texts) -> Texts {
        let is_key = self.columns.fields().iter().map(|field| self.key.contains(field.name()));
        row.iter().zip(is_key).map(|(text, is_key)| text.clone().filter(|_| is_key)).collect()
    }

    /// Takes the declared columns out of a row; what was left as it was comes from the old row.
    fn texts(&self, places: &[usize], values: Vec<Value>, old: Option<Vec<Value>>) -> Result<Texts> {
        let text = |at: &usize| match (&values[*at], old.as_ref().map(|old| &old[*at])) {
            (Value::Text(text), _) | (Value::Unchanged, Some(Value::Text(text))) => Ok(Some(text.clone())),
            (Value::Null, _) | (Value::Unchanged, Some(Value::Null)) => Ok(None),
            (Value::Unchanged, None | Some(Value::Unchanged)) => {
                let message =
                    format!("the table '{}' does not tell long values that a change leaves as they are", self.table);
                Err(Error::data(message).with_help(format!(
                    "run ALTER TABLE {} REPLICA IDENTITY FULL; and start the pipeline anew, without its checkpoint; \
                     or leave the column out",
                    self.quoted_table()
                )))
            }
        };
        places.iter().map(text).collect()
    }

    /// Lays events out as rows.
    pub(super) fn batch(&self, events: &VecDeque<Event>, n_events: usize) -> Result<(RecordBatch, Vec<DeadLetter>)> {
        let events: Vec<&Event> = events.iter().take(n_events).collect();
        let (before, bad_before) = self.side(&events, |event| event.before.as_ref())?;
        let (after, bad_after) = self.side(&events, |event| event.after.as_ref())?;
        let mut letters = Vec::new();
        let mut ops = Vec::with_capacity(events.len());
        let mut kept = Vec::with_capacity(events.len());
        for (number, event) in events.iter().enumerate() {
            let at = u32::try_from(number).map_err(|_| Error::internal("a batch of more than 2^32 events"))?;
            let has = |side: &StructArray| side.is_valid(number);
            // A bad row that goes never came in.
            if let Some(error) = bad_after.get(&at) {
                letters.push(self.letter(event, error));
            }
            let is_bad = bad_after.contains_key(&at) || bad_before.contains_key(&at);
            let op = match (is_bad, has(&before), has(&after)) {
                (false, _, _) => event.op,
                (true, _, true) => "c",
                (true, true, false) => "d",
                (true, false, false) => continue,
            };
            ops.push(op);
            kept.push(at);
        }
        let kept = UInt32Array::from(kept);
        let columns = self.envelope.fields().iter().map(|field| -> Result<ArrayRef> {
            Ok(match (field.name().as_str(), metadata_key(field)) {
                (_, Some(POSITION)) => {
                    let texts = kept.values().iter().map(|at| events[*at as usize].position.as_str());
                    Arc::new(StringArray::from_iter_values(texts))
                }
                ("before", _) => take(&before, &kept, None)?,
                ("after", _) => take(&after, &kept, None)?,
                ("op", _) => Arc::new(StringArray::from_iter_values(&ops)),
                _ => new_null_array(field.data_type(), kept.len()),
            })
        });
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        Ok((RecordBatch::try_new(self.envelope.clone(), columns)?, letters))
    }

    /// Lays one side of the events out; returns it, null where it is not there or bad, and what is bad.
    fn side<'a>(
        &self,
        events: &[&'a Event],
        side: impl Fn(&'a Event) -> Option<&'a Texts>,
    ) -> Result<(StructArray, BTreeMap<u32, Error>)> {
        let mut rows = Rows::new(self.columns.clone());
        for (number, event) in events.iter().enumerate() {
            let Some(texts) = side(event) else { continue };
            let at = u32::try_from(number).map_err(|_| Error::internal("a batch of more than 2^32 events"))?;
            let cells = texts.iter().zip(self.columns.fields()).map(|(text, field)| match text {
                Some(text) => cell(text.clone(), field.data_type()),
                None => Cell::Null,
            });
            rows.push(at, cells);
        }
        let found = rows.found()?;
        let mut place_of = vec![None; events.len()];
        for (place, event) in found.of.iter().enumerate() {
            place_of[*event as usize] = u32::try_from(place).ok();
        }
        let places = UInt32Array::from(place_of);
        let columns = found.rows.columns().iter().map(|column| take(column, &places, None));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
        let nulls = NullBuffer::from_iter(places.iter().map(|place| place.is_some()));
        let fields = match self.envelope.field_with_name("after")?.data_type() {
            DataType::Struct(fields) => fields.clone(),
            other => return Err(Error::internal(format!("an event whose row is {other}"))),
        };
        Ok((StructArray::try_new(fields, columns, Some(nulls))?, found.failed.into_iter().collect()))
    }

    fn letter(&self, event: &Event, error: &Error) -> DeadLetter {
        let row = event.after.iter().flatten().zip(self.columns.fields());
        let row: serde_json::Map<String, serde_json::Value> =
            row.map(|(text, field)| (field.name().clone(), text.clone().into())).collect();
        let text = serde_json::Value::Object(row).to_string();
        DeadLetter {
            reason: Reason::MalformedField,
            message: error.message().to_owned(),
            path: String::new(),
            source: self.declared.clone(),
            position: event.position.clone(),
            payload: payload(text.as_bytes(), text.len() as u64),
        }
    }
}
