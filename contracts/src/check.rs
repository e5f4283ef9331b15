//! Checks lines of any event type, as `headwater contracts check FILE` does: the type of each line picks its contract.
//! It never keeps more of a file than `BATCH_LINES_MAX` lines, each cut behind `RECORD_BYTES_MAX`, and of the dead
//! letters the first `LETTERS_KEPT_MAX`; the counts are complete.

use crate::contract::{Contract, catalog, find, nearest};
use crate::rules::shown;
use crate::wire::{RECORD_BYTES_MAX, payload_text};
use arrow::array::{BinaryArray, StringArray};
use headwater_core::{DeadLetter, Error, Reason, Result};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::BufRead;

/// Lines that are decoded together.
const BATCH_LINES_MAX: usize = 1024;
/// Bytes of lines that are decoded together.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// Dead letters that a report keeps; a file that has more has one cause for most of them.
pub const LETTERS_KEPT_MAX: usize = 1000;

/// What a file of events holds.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Lines that are not empty.
    pub n_lines: u64,
    /// Good events by type.
    pub events: BTreeMap<&'static str, u64>,
    /// Bad lines by reason.
    pub reasons: BTreeMap<Reason, u64>,
    /// The first bad lines, in their order; their position is the number of the line.
    pub dead_letters: Vec<DeadLetter>,
}

impl CheckReport {
    /// Returns how many events are good.
    #[must_use]
    pub fn n_good(&self) -> u64 {
        self.events.values().sum()
    }

    /// Returns how many lines are bad.
    #[must_use]
    pub fn n_bad(&self) -> u64 {
        self.reasons.values().sum()
    }
}

/// Checks one line and returns the contract that it fulfils.
///
/// # Errors
/// The dead letter that the line would become.
pub fn check_line(line: &[u8], source: &str, position: &str) -> Result<&'static Contract, Box<DeadLetter>> {
    let contract = contract_for(line, source, position)?;
    let internal = |error: &Error| Box::new(letter(line, source, position, Reason::Undecodable, error.message(), ""));
    let decoded = contract.decode(&BinaryArray::from_iter_values([line]), &StringArray::from(vec![position]), source);
    match decoded.map_err(|error| internal(&error))?.dead_letters.into_iter().next() {
        Some(letter) => Err(Box::new(letter)),
        None => Ok(contract),
    }
}

/// Checks every line of a file.
///
/// # Errors
/// `Unavailable` and the like when reading fails; a bad line is never an error.
pub fn check_reader(mut reader: impl BufRead, source: &str) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    let mut batch: Vec<(u64, Vec<u8>)> = Vec::new();
    let (mut n_bytes, mut number) = (0, 0);
    loop {
        let line = read_line(&mut reader).map_err(|error| Error::io(format!("cannot read '{source}'"), error))?;
        let ended = line.is_none();
        number += 1;
        if let Some(line) = line.filter(|line| !line.iter().all(u8::is_ascii_whitespace)) {
            n_bytes += line.len();
            batch.push((number, line));
        }
        if ended || batch.len() >= BATCH_LINES_MAX || n_bytes >= BATCH_BYTES_MAX {
            check_batch(&batch, source, &mut report)?;
            batch.clear();
            n_bytes = 0;
        }
        if ended {
            return Ok(report);
        }
    }
}

impl Contract {
    /// Checks lines of this contract's topic; returns the index and the dead letter of each bad one.
    ///
    /// # Errors
    /// As for [`Contract::decode`].
    pub fn check_lines<L: AsRef<[u8]>>(&self, lines: &[L], source: &str) -> Result<Vec<(usize, DeadLetter)>> {
        let values = BinaryArray::from_iter_values(lines.iter().map(AsRef::as_ref));
        let positions = StringArray::from_iter_values((0..lines.len()).map(|index| index.to_string()));
        Ok(self.decode_numbered(&values, &positions, source)?.1)
    }
}

fn check_batch(batch: &[(u64, Vec<u8>)], source: &str, report: &mut CheckReport) -> Result<()> {
    report.n_lines += batch.len() as u64;
    let mut by_type: BTreeMap<&str, (&Contract, Vec<usize>)> = BTreeMap::new();
    let mut letters: Vec<(usize, DeadLetter)> = Vec::new();
    for (index, (number, line)) in batch.iter().enumerate() {
        match contract_for(line, source, &number.to_string()) {
            Ok(contract) => by_type.entry(contract.event_type()).or_insert((contract, Vec::new())).1.push(index),
            Err(letter) => letters.push((index, *letter)),
        }
    }
    for (contract, indexes) in by_type.values() {
        let values = BinaryArray::from_iter_values(indexes.iter().map(|index| &batch[*index].1));
        let positions = StringArray::from_iter_values(indexes.iter().map(|index| batch[*index].0.to_string()));
        let (rows, bad) = contract.decode_numbered(&values, &positions, source)?;
        if rows.num_rows() > 0 {
            *report.events.entry(contract.event_type()).or_default() += rows.num_rows() as u64;
        }
        letters.extend(bad.into_iter().map(|(index, letter)| (indexes[index], letter)));
    }
    letters.sort_by_key(|(index, _)| *index);
    for (_, letter) in letters {
        *report.reasons.entry(letter.reason).or_default() += 1;
        if report.dead_letters.len() < LETTERS_KEPT_MAX {
            report.dead_letters.push(letter);
        }
    }
    Ok(())
}

/// Reads a line without its end, or `None` at the end of the file. Of a line that is too long only so much is kept that
/// it is seen to be too long.
fn read_line(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut read_any = false;
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            return Ok(read_any.then_some(line));
        }
        read_any = true;
        let end = available.iter().position(|byte| *byte == b'\n');
        let n_read = end.unwrap_or(available.len());
        let room = (RECORD_BYTES_MAX + 1).saturating_sub(line.len());
        line.extend_from_slice(&available[..n_read.min(room)]);
        reader.consume(n_read + usize::from(end.is_some()));
        if end.is_some() {
            return Ok(Some(line));
        }
    }
}

fn contract_for(line: &[u8], source: &str, position: &str) -> Result<&'static Contract, Box<DeadLetter>> {
    #[derive(serde::Deserialize)]
    struct Head<'a> {
        #[serde(borrow, rename = "type")]
        event_type: Option<&'a RawValue>,
        rejected: Option<IgnoredAny>,
    }
    let refuse =
        |reason, message: &str, path: &str| Err(Box::new(letter(line, source, position, reason, message, path)));
    if line.len() > RECORD_BYTES_MAX {
        let message = format!("the record is too long, expected at most {RECORD_BYTES_MAX} bytes");
        return refuse(Reason::TooLong, &message, "");
    }
    let head: Head<'_> = match serde_json::from_slice(line) {
        Ok(head) => head,
        Err(error) => {
            return refuse(Reason::Undecodable, &format!("the line is not an event in JSON: {error}"), "");
        }
    };
    match head.event_type.map(|raw| serde_json::from_str::<String>(raw.get())) {
        Some(Ok(event_type)) => find(&event_type).or_else(|_| {
            let near = nearest(&event_type).map_or(String::new(), |name| format!(" (did you mean '{name}'?)"));
            let message = format!("found {}{near}, expected a type of the catalogue", shown(&event_type, false));
            refuse(Reason::UnknownType, &message, "type")
        }),
        Some(Err(_)) => refuse(Reason::MalformedField, "found another value than a text", "type"),
        // Every contract reads the report of a refused row alike.
        None if head.rejected.is_some() => Ok(&catalog()[0]),
        None => refuse(Reason::MissingField, "'type' is missing or null, expected a type of the catalogue", "type"),
    }
}

fn letter(line: &[u8], source: &str, position: &str, reason: Reason, message: &str, path: &str) -> DeadLetter {
    let (message, path, source, position) =
        (message.to_owned(), path.to_owned(), source.to_owned(), position.to_owned());
    DeadLetter { reason, message, path, source, position, payload: payload_text(line) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn question() -> serde_json::Value {
        let id = "123e4567-e89b-42d3-a456-426614174000";
        json!({"type": "nlq.cache.invalidated",
               "data": {"keysInvalidated": 3, "reason": "manual", "invalidatedAt": "2024-01-15T10:00:00Z"},
               "metadata": {"id": id, "timestamp": "2024-01-15T10:00:00Z"}})
    }

    #[test]
    fn a_file_of_mixed_types_is_checked_line_by_line() {
        let good = question().to_string();
        let no_type = r#"{"data":{}}"#;
        let unknown = good.replace("nlq.cache.invalidated", "nlq.cache.invalidate");
        let negative = good.replace("\"keysInvalidated\":3", "\"keysInvalidated\":-3");
        let long = format!("{{\"type\":\"{}\"}}", "x".repeat(2 * RECORD_BYTES_MAX));
        let text = format!("{good}\n\n{no_type}\n{unknown}\r\n{negative}\n{long}\nnot json\n{good}");
        let report = check_reader(text.as_bytes(), "events.jsonl").expect("memory can be read");
        assert_eq!((report.n_lines, report.n_good(), report.n_bad()), (7, 2, 5));
        let found: Vec<(&str, &str, Reason)> = report
            .dead_letters
            .iter()
            .map(|letter| (letter.position.as_str(), letter.path.as_str(), letter.reason))
            .collect();
        let expected = [
            ("3", "type", Reason::MissingField),
            ("4", "type", Reason::UnknownType),
            ("5", "data.keysInvalidated", Reason::OutOfRange),
            ("6", "", Reason::TooLong),
            ("7", "", Reason::Undecodable),
        ];
        assert_eq!(found, expected);
        assert!(report.dead_letters[1].message.contains("did you mean 'nlq.cache.invalidated'?"));
    }

    #[test]
    fn one_line_names_its_contract_or_its_fault() {
        let contract = check_line(question().to_string().as_bytes(), "http", "1").expect("a good event");
        assert_eq!(contract.event_type(), "nlq.cache.invalidated");
        let letter = check_line(b"{}", "http", "1").expect_err("no type");
        assert_eq!((letter.reason, letter.source.as_str()), (Reason::MissingField, "http"));
        let letter = check_line(br#"{"rejected":{"reason":"E001","message":"m"}}"#, "http", "1").expect_err("refused");
        assert_eq!((letter.reason, letter.message.as_str()), (Reason::ImportEmail, "m"));
    }
}
