//! One row of a file on its way to events: its cells by field, and the ids that follow from them. Ids are version 5
//! uuids of what names a thing, so the same row in another file gives the same event. An e-mail address goes into the
//! id of a person and nowhere else. There is no state beyond the row.

use crate::cell::{Cell, Refusal, Terms, fold_email, read};
use crate::mapping::{Layout, Mapping};
use crate::{ImportContext, Kind};
use csv::ByteRecord;
use headwater_contracts::{Metadata, event_line, time_text};
use headwater_core::{EventTime, Reason};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// What is between the parts of a name, so that no two lists of parts give the same name.
const BETWEEN: &str = "\u{1f}";

/// A row whose cells are read.
pub(crate) struct Row<'a> {
    pub(crate) kind: Kind,
    pub(crate) mapping: &'a Mapping,
    context: &'a ImportContext,
    /// The row as a spreadsheet counts: the header is row 1.
    number: u64,
    cells: Vec<Option<Cell>>,
}

/// A file's way of being read.
pub(crate) struct Reading<'a> {
    pub(crate) kind: Kind,
    pub(crate) mapping: &'a Mapping,
    pub(crate) context: &'a ImportContext,
    pub(crate) layout: Layout,
    pub(crate) terms: Terms,
    pub(crate) n_columns: usize,
}

impl<'a> Reading<'a> {
    /// Reads the cells of a row.
    pub(crate) fn row(&self, record: &ByteRecord, number: u64) -> Result<Row<'a>, Refusal> {
        let whole = |message: String| Refusal { reason: Reason::Undecodable, field: String::new(), message };
        let surplus = record.iter().skip(self.n_columns).any(|cell| !cell.is_empty());
        if record.len() < self.n_columns || surplus {
            let message = format!("the row has {} cells, expected {}", record.len(), self.n_columns);
            return Err(whole(format!(
                "{message}; look for a quotation mark or delimiter that is missing or too many"
            )));
        }
        let mut cells = Vec::with_capacity(self.mapping.fields.len());
        for (field, column) in self.mapping.fields.iter().zip(&self.layout.columns) {
            let bytes = column.and_then(|column| record.get(column)).unwrap_or_default();
            let text = std::str::from_utf8(bytes).map_err(|_| Refusal {
                field: field.name.clone(),
                ..whole(format!("'{}' is not UTF-8", field.name))
            })?;
            cells.push(read(field, text, self.terms)?);
        }
        Ok(Row { kind: self.kind, mapping: self.mapping, context: self.context, number, cells })
    }
}

impl<'a> Row<'a> {
    fn cell(&self, name: &str) -> Option<&Cell> {
        let place = self.mapping.fields.iter().position(|field| field.name == name)?;
        self.cells.get(place)?.as_ref()
    }

    fn missing(name: &str) -> Refusal {
        Refusal { reason: Reason::ImportMissing, field: name.to_owned(), message: format!("'{name}' is empty") }
    }

    /// Returns a text that may be missing.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.cell(name) {
            Some(Cell::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// Returns a text that must be there.
    pub(crate) fn need_text(&self, name: &str) -> Result<&str, Refusal> {
        self.text(name).ok_or_else(|| Self::missing(name))
    }

    /// Returns a number that may be missing.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.cell(name) {
            Some(Cell::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// Returns a whole number that must be there.
    #[expect(clippy::cast_possible_truncation, reason = "durations are whole and small by the rules of their cell")]
    pub(crate) fn need_whole(&self, name: &str) -> Result<i64, Refusal> {
        self.number(name).map(|number| number as i64).ok_or_else(|| Self::missing(name))
    }

    /// Returns a time that may be missing.
    pub(crate) fn time(&self, name: &str) -> Option<i64> {
        match self.cell(name) {
            Some(Cell::Time(nanos)) => Some(*nanos),
            _ => None,
        }
    }

    /// Returns a time that must be there.
    pub(crate) fn need_time(&self, name: &str) -> Result<i64, Refusal> {
        self.time(name).ok_or_else(|| Self::missing(name))
    }

    /// Returns a list that may be missing.
    pub(crate) fn list(&self, name: &str) -> Option<Value> {
        match self.cell(name) {
            Some(Cell::List(items)) if !items.is_empty() => Some(json!(items)),
            _ => None,
        }
    }

    /// Returns an object that may be missing.
    pub(crate) fn object(&self, name: &str) -> Option<Value> {
        match self.cell(name) {
            Some(Cell::Object(object)) => Some(object.clone()),
            _ => None,
        }
    }

    /// Returns the person with the e-mail address of a cell.
    pub(crate) fn person(&self, name: &str) -> Result<Uuid, Refusal> {
        Ok(person_id(self.context.namespace, self.need_text(name)?))
    }

    /// Returns the people of a list of e-mail addresses or ids.
    pub(crate) fn people(&self, name: &str) -> Result<Option<Value>, Refusal> {
        let Some(Cell::List(items)) = self.cell(name) else { return Ok(None) };
        let person = |item: &String| {
            let email = || fold_email(item).map(|email| person_id(self.context.namespace, &email));
            Uuid::try_parse(item).ok().or_else(email).map(|id| id.to_string()).ok_or_else(|| Refusal {
                reason: Reason::ImportEmail,
                field: name.to_owned(),
                message: format!("found '{item}', expected e-mail addresses"),
            })
        };
        let people: Vec<String> = items.iter().map(person).collect::<Result<_, _>>()?;
        Ok((!people.is_empty()).then(|| json!(people)))
    }

    /// Returns the id of a thing of this company that is named by `parts`.
    pub(crate) fn id(&self, what: &str, parts: &[&str]) -> Uuid {
        let name = format!("{what}:{}:{}", self.context.company_id, parts.join(BETWEEN));
        Uuid::new_v5(&self.context.namespace, name.as_bytes())
    }

    /// Returns the id of a thing that a file names in its own way: a uuid stays itself.
    pub(crate) fn named(&self, what: &str, name: &str) -> Uuid {
        Uuid::try_parse(name).unwrap_or_else(|_| self.id(what, &[name]))
    }

    /// Returns the company, as events name it.
    pub(crate) fn company(&self) -> String {
        self.context.company_id.to_string()
    }

    /// Writes an event whose identity is `identity`, at the time of the fact unless the row has a time of its own.
    pub(crate) fn event(
        &self,
        event_type: &'static str,
        identity: &[&str],
        time: i64,
        data: Data,
    ) -> (&'static str, Vec<u8>) {
        let mut about = Map::new();
        about.insert("companyId".into(), self.company().into());
        if let Some(name) = &self.context.company_name {
            about.insert("companyName".into(), name.as_str().into());
        }
        about.insert("sourceFile".into(), self.context.file_name.as_str().into());
        about.insert("row".into(), self.number.into());
        let metadata = Metadata {
            id: self.id(&format!("event:{event_type}:{}", self.kind), identity),
            timestamp: EventTime(self.time("updated_at").unwrap_or(time)),
            correlation_id: None,
            causation_id: None,
            metadata: about,
        };
        (event_type, event_line(event_type, data.0, metadata))
    }
}

/// Returns the id of the person with an e-mail address.
#[must_use]
pub fn person_id(namespace: Uuid, email: &str) -> Uuid {
    Uuid::new_v5(&namespace, format!("person:{}", email.trim().to_lowercase()).as_bytes())
}

/// The data of an event under construction.
#[derive(Default)]
pub(crate) struct Data(Map<String, Value>);

impl Data {
    /// Adds a field.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a field when there is a value.
    pub(crate) fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds an id.
    pub(crate) fn with_id(self, name: &str, id: Uuid) -> Self {
        self.with(name, id.to_string())
    }

    /// Adds a time.
    pub(crate) fn with_time(self, name: &str, nanos: i64) -> Self {
        self.with(name, time_text(nanos))
    }

    /// Returns the fields as an object, or nothing when there are none.
    pub(crate) fn into_object(self) -> Option<Value> {
        (!self.0.is_empty()).then_some(Value::Object(self.0))
    }
}
