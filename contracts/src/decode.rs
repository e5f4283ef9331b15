//! Decodes lines of a topic into typed rows. Every line becomes either one row or one dead letter; the first fault in
//! the order of the schema names the letter. It reads a line once, straight into columns; it never looks at a clock,
//! keeps nothing between two batches, and refuses a line longer than `RECORD_BYTES_MAX` unread.

use crate::cell::Cell;
use crate::column::{Column, Fault, Row};
use crate::contract::{Contract, nearest};
use crate::events::LISTED;
use crate::rules::shown;
use crate::wire::{RECORD_BYTES_MAX, Rejected, payload_text};
use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, RecordBatch, StringArray, StringBuilder};
use arrow::compute;
use headwater_core::{DeadLetter, Reason, Result};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;

/// What became of a batch of lines.
#[derive(Debug)]
pub struct Decoded {
    /// The good ones, in their order.
    pub rows: RecordBatch,
    /// One for each of the others, in their order.
    pub dead_letters: Vec<DeadLetter>,
}

impl Contract {
    /// Decodes lines of this contract's topic. `positions` has the place of each line, `source` names the table or
    /// endpoint they come from.
    ///
    /// # Errors
    /// `Internal`, when the arrays have different lengths; a bad line is never an error.
    pub fn decode(&self, values: &BinaryArray, positions: &StringArray, source: &str) -> Result<Decoded> {
        let (rows, letters) = self.decode_numbered(values, positions, source)?;
        Ok(Decoded { rows, dead_letters: letters.into_iter().map(|(_, letter)| letter).collect() })
    }

    /// Decodes lines; each dead letter comes with the index of its line.
    pub(crate) fn decode_numbered(
        &self,
        values: &BinaryArray,
        positions: &StringArray,
        source: &str,
    ) -> Result<(RecordBatch, Vec<(usize, DeadLetter)>)> {
        let n_lines = values.len();
        if positions.len() != n_lines {
            let message = format!("{n_lines} lines with {} positions", positions.len());
            return Err(headwater_core::Error::internal(message));
        }
        let mut columns = Columns {
            contract: self,
            metadata: Column::new(&self.metadata, n_lines),
            data: Column::new(&self.data, n_lines),
            companies: StringBuilder::with_capacity(n_lines, n_lines * 36),
        };
        let mut dead_letters = Vec::new();
        let mut good = Vec::with_capacity(n_lines);
        for index in 0..n_lines {
            let line = if values.is_null(index) { &[] } else { values.value(index) };
            let position = if positions.is_null(index) { "" } else { positions.value(index) };
            let letter = columns.read_line(line, position, source).err();
            columns.metadata.pad_to(index + 1);
            columns.data.pad_to(index + 1);
            good.push(letter.is_none());
            dead_letters.extend(letter.map(|letter| (index, *letter)));
        }
        let mask = (!dead_letters.is_empty()).then(|| BooleanArray::from(good));
        Ok((columns.finish(positions, mask.as_ref())?, dead_letters))
    }
}

/// The columns of a batch under construction.
struct Columns<'c> {
    contract: &'c Contract,
    metadata: Column<'c>,
    data: Column<'c>,
    companies: StringBuilder,
}

impl Columns<'_> {
    /// Reads a line; what is wrong with it comes back as its dead letter.
    fn read_line(&mut self, line: &[u8], position: &str, source: &str) -> Result<(), Box<DeadLetter>> {
        let letter = |reason, message: String, path: &str| {
            let (path, source, position) = (path.to_owned(), source.to_owned(), position.to_owned());
            Err(Box::new(DeadLetter { reason, message, path, source, position, payload: payload_text(line) }))
        };
        let (row, rejected) = match self.parse(line) {
            Ok(parsed) => parsed,
            Err((reason, message)) => {
                self.companies.append_null();
                return letter(reason, message, "");
            }
        };
        self.companies.append_option(row.company);
        match (rejected, row.fault) {
            (Some(Ok(rejected)), _) => Err(Box::new(rejected.into_letter(source, position))),
            (Some(Err(message)), _) => letter(Reason::MalformedField, message, "rejected"),
            (None, Some(Fault { reason, path, message, .. })) => letter(reason, message, &path),
            (None, None) => Ok(()),
        }
    }

    fn parse(&mut self, line: &[u8]) -> Result<Parsed, (Reason, String)> {
        if line.len() > RECORD_BYTES_MAX {
            let message = format!("the record has {} bytes, expected at most {RECORD_BYTES_MAX}", line.len());
            return Err((Reason::TooLong, message));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return Err((Reason::Undecodable, "the line is empty, expected a JSON object".to_owned()));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(line);
        let parsed = Line { columns: self }.deserialize(&mut deserializer);
        let parsed = parsed.and_then(|parsed| deserializer.end().map(|()| parsed));
        parsed.map_err(|error| (Reason::Undecodable, format!("the line is not an event in JSON: {error}")))
    }

    /// Ends the columns and keeps the rows for which `mask` is true.
    fn finish(mut self, positions: &StringArray, mask: Option<&BooleanArray>) -> Result<RecordBatch> {
        let keep = |array: ArrayRef| match mask {
            Some(mask) => compute::filter(&array, mask),
            None => Ok(array),
        };
        let metadata = self.metadata.finish_fields()?;
        let data = self.data.finish_fields()?;
        let named: ArrayRef = Arc::new(self.companies.finish());
        let own = data.iter().find(|(shape, _)| shape.column == "company_id").map(|(_, array)| array);
        let company = match own {
            Some(own) if named.null_count() > 0 => first_of(&named, own),
            _ => named,
        };
        let metadata_column = |name: &str| {
            let found = metadata.iter().find(|(shape, _)| shape.name == name).map(|(_, array)| array.clone());
            found.ok_or_else(|| headwater_core::Error::internal(format!("the envelope has no '{name}'")))
        };
        let mut columns = Vec::with_capacity(data.len() + 8);
        for name in ["id", "version", "timestamp", "correlationId", "causationId"] {
            columns.push(keep(metadata_column(name)?)?);
        }
        columns.push(keep(company)?);
        columns.push(keep(metadata_column("metadata")?)?);
        columns.push(keep(Arc::new(positions.clone()))?);
        for (_, array) in data {
            columns.push(keep(array)?);
        }
        Ok(RecordBatch::try_new(self.contract.schema(), columns)?)
    }
}

/// Returns, row by row, the first text that is there.
fn first_of(first: &ArrayRef, second: &ArrayRef) -> ArrayRef {
    let (first, second) = (first.as_string::<i32>(), second.as_string::<i32>());
    Arc::new(first.iter().zip(second.iter()).map(|(first, second)| first.or(second)).collect::<StringArray>())
}

impl Rejected {
    fn into_letter(self, source: &str, position: &str) -> DeadLetter {
        let or = |given: String, known: &str| if given.is_empty() { known.to_owned() } else { given };
        let reason = Reason::from_code(&self.reason).unwrap_or(Reason::Undecodable);
        let (source, position) = (or(self.source, source), or(self.position, position));
        DeadLetter { reason, message: self.message, path: self.path, source, position, payload: self.payload }
    }
}

/// What a line held: its row, and the refused row that it reports, or why that report cannot be read.
type Parsed = (Row, Option<Result<Rejected, String>>);

/// Reads one line.
struct Line<'l, 'c> {
    columns: &'l mut Columns<'c>,
}

impl<'de> DeserializeSeed<'de> for Line<'_, '_> {
    type Value = Parsed;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Parsed, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Line<'_, '_> {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parsed, A::Error> {
        let Columns { contract, metadata, data, .. } = self.columns;
        let mut row = Row::default();
        let mut rejected = None;
        let mut seen = [false; PARTS.len()];
        while let Some(key) = map.next_key_seed(PartKey)? {
            let Some(part) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if std::mem::replace(&mut seen[part], true) {
                let (rank, name) = ([0, contract.data.rank, 1, 0][part], PARTS[part]);
                row.fault(rank, name, (Reason::MalformedField, format!("the key '{name}' occurs twice")));
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            match PARTS[part] {
                "type" => map.next_value_seed(TypeSeed { contract, row: &mut row })?,
                "data" => map.next_value_seed(Cell { column: &mut *data, row: &mut row })?,
                "metadata" => map.next_value_seed(Cell { column: &mut *metadata, row: &mut row })?,
                _ => rejected = Some(read_rejected(map.next_value::<&RawValue>()?)),
            }
        }
        if !seen[0] {
            let message = format!("'type' is missing, expected '{}'", contract.event_type());
            row.fault(0, "type", (Reason::MissingField, message));
        }
        for (part, column) in [(1, &*data), (2, &*metadata)] {
            if !seen[part] || column.last_is_null {
                row.missing(column.shape);
            }
        }
        Ok((row, rejected))
    }
}

/// The parts of a line.
const PARTS: [&str; 4] = ["type", "data", "metadata", "rejected"];

fn read_rejected(raw: &RawValue) -> Result<Rejected, String> {
    let rejected: Rejected =
        serde_json::from_str(raw.get()).map_err(|error| format!("the refused row cannot be read: {error}"))?;
    match Reason::from_code(&rejected.reason) {
        Some(_) => Ok(rejected),
        None => Err(format!("found the reason {}, expected a code of ours", shown(&rejected.reason, false))),
    }
}

/// Reads the name of a part.
struct PartKey;

impl<'de> DeserializeSeed<'de> for PartKey {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for PartKey {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Option<usize>, E> {
        Ok(PARTS.iter().position(|part| *part == key))
    }
}

/// Reads the type of an event and compares it with the one that the topic has.
struct TypeSeed<'l> {
    contract: &'l Contract,
    row: &'l mut Row,
}

impl TypeSeed<'_> {
    fn fault(self, reason: Reason, found: &str) {
        let expected = self.contract.event_type();
        self.row.fault(0, "type", (reason, format!("found {found}, expected '{expected}'")));
    }
}

impl<'de> DeserializeSeed<'de> for TypeSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?.get();
        if raw == "null" {
            self.fault(Reason::MissingField, "null");
            return Ok(());
        }
        let Ok(text) = serde_json::from_str::<String>(raw) else {
            self.fault(Reason::MalformedField, "another value than a text");
            return Ok(());
        };
        if text == self.contract.event_type() {
            return Ok(());
        }
        let known = LISTED.iter().any(|listed| listed.event_type == text);
        let hint = match nearest(&text) {
            _ if known => " (an event of another topic)".to_owned(),
            Some(name) => format!(" (did you mean '{name}'?)"),
            None => String::new(),
        };
        self.fault(Reason::UnknownType, &format!("{}{hint}", shown(&text, false)));
        Ok(())
    }
}
