//! Reads one cell by its declared type. Pure functions: text in, value or refusal out; the only context is the limits
//! of the mapping, the rating scale and the time of the import, which the caller gives.

use crate::mapping::{CellType, FieldMapping, RatingScale};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use headwater_contracts::is_email;
use headwater_core::{EventTime, Reason};
use serde_json::Value;

/// How far a date may lie ahead of the import: one day, for clocks and time zones.
const AHEAD_NANOS_MAX: i64 = 24 * 3600 * EventTime::SECOND;
/// The first instant a date may name: 1900-01-01T00:00:00Z, in seconds.
const EARLIEST_SECONDS: i64 = -2_208_988_800;
/// The most characters of a cell that a message shows.
const SHOWN_CHARS_MAX: usize = 60;
/// The levels of the European reference frame.
const CEFR: [&str; 6] = ["A1", "A2", "B1", "B2", "C1", "C2"];

/// The value of a cell that is not empty.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// A text, a choice or a level; e-mail addresses are in lower case.
    Text(String),
    Time(i64),
    Number(f64),
    List(Vec<String>),
    Object(Value),
}

/// Why a row is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// The field at fault; empty when it is the whole row.
    pub(crate) field: String,
    pub(crate) message: String,
}

/// What reading a cell depends on beside its mapping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) scale: RatingScale,
    pub(crate) now: EventTime,
}

/// Reads a cell; `None` when it is empty and may be.
pub(crate) fn read(field: &FieldMapping, text: &str, terms: Terms) -> Result<Option<Cell>, Refusal> {
    let text = text.trim();
    let refuse = |reason, message: String| Err(Refusal { reason, field: field.name.clone(), message });
    if text.is_empty() {
        return match field.required {
            true => refuse(Reason::ImportMissing, format!("'{}' is empty", field.name)),
            false => Ok(None),
        };
    }
    let found = |expected: &str| format!("found {}, expected {expected}", shown(text));
    let cell = match field.cell_type {
        CellType::Text => return read_text(field, text).map(Some),
        CellType::Email => match fold_email(text) {
            Some(email) => Cell::Text(email),
            None => return refuse(Reason::ImportEmail, found("an e-mail address")),
        },
        CellType::Date => match read_date(text, field.future, terms.now) {
            Ok(nanos) => Cell::Time(nanos),
            Err(expected) => return refuse(Reason::ImportDate, found(&expected)),
        },
        CellType::Duration => {
            match read_number(text).filter(|number| number.fract() == 0.0 && in_range(field, *number)) {
                Some(minutes) => Cell::Number(minutes),
                None => return refuse(Reason::ImportDuration, found(&format!("whole minutes{}", range(field)))),
            }
        }
        CellType::Hours => match read_number(text).filter(|number| in_range(field, *number)) {
            Some(hours) => Cell::Number(hours),
            None => return refuse(Reason::ImportDuration, found(&format!("hours{}", range(field)))),
        },
        CellType::Number => match read_number(text) {
            Some(number) if in_range(field, number) => Cell::Number(number),
            Some(_) => return refuse(Reason::OutOfRange, found(&format!("a number{}", range(field)))),
            None => return refuse(Reason::MalformedField, found(&format!("a number{}", range(field)))),
        },
        CellType::Rating => match read_rating(text, terms.scale) {
            Ok(rating) => Cell::Number(rating),
            Err(expected) => return refuse(Reason::ImportRating, found(expected)),
        },
        CellType::Cefr => match CEFR.iter().find(|level| level.eq_ignore_ascii_case(text)) {
            Some(level) => Cell::Text((*level).to_owned()),
            None => return refuse(Reason::ImportCefr, found("a level from A1 to C2")),
        },
        CellType::List | CellType::People => Cell::List(read_list(text)),
        CellType::Object => match serde_json::from_str::<Value>(text) {
            Ok(object @ Value::Object(_)) => Cell::Object(object),
            _ => return refuse(Reason::MalformedField, found("a JSON object")),
        },
        CellType::Choice => match field.choice(text) {
            Some(meaning) => Cell::Text(meaning.to_owned()),
            None => {
                let choices: Vec<&str> = field.values.keys().map(String::as_str).collect();
                return refuse(Reason::OutOfRange, found(&format!("one of: {}", choices.join(", "))));
            }
        },
    };
    Ok(Some(cell))
}

/// Returns an e-mail address as people are told apart by it: without spaces around it and in lower case.
pub(crate) fn fold_email(text: &str) -> Option<String> {
    let folded = text.trim().to_lowercase();
    is_email(&folded).then_some(folded)
}

fn read_text(field: &FieldMapping, text: &str) -> Result<Cell, Refusal> {
    let length = text.chars().count();
    match field.length_max {
        Some(most) if length > most => {
            let message = format!("found {length} characters, expected at most {most}");
            Err(Refusal { reason: Reason::OutOfRange, field: field.name.clone(), message })
        }
        _ => Ok(Cell::Text(text.to_owned())),
    }
}

/// Reads a date: RFC 3339, or without an offset (UTC is meant), or without a time (midnight), or 31.01.2026 with or
/// without a time. Forms with slashes are refused, since nobody can tell day from month in them.
fn read_date(text: &str, future: bool, now: EventTime) -> Result<i64, String> {
    let expected = || "a date such as 2026-01-31 or 2026-01-31T23:00:00Z".to_owned();
    let time = match DateTime::parse_from_rfc3339(text) {
        Ok(time) => time.to_utc(),
        Err(_) => {
            let times = [
                "%Y-%m-%dT%H:%M:%S%.f",
                "%Y-%m-%d %H:%M:%S%.f",
                "%Y-%m-%d %H:%M",
                "%d.%m.%Y %H:%M:%S",
                "%d.%m.%Y %H:%M",
            ];
            let with_time = times.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
            let dates = ["%Y-%m-%d", "%d.%m.%Y"];
            let midnight = || {
                let date = dates.iter().find_map(|form| NaiveDate::parse_from_str(text, form).ok())?;
                date.and_hms_opt(0, 0, 0)
            };
            with_time.or_else(midnight).ok_or_else(expected)?.and_utc()
        }
    };
    let nanos = time.timestamp_nanos_opt().filter(|_| time.timestamp() >= EARLIEST_SECONDS);
    let nanos = nanos.ok_or_else(|| "a date from 1900 to 2261".to_owned())?;
    match !future && nanos > now.saturating_add(AHEAD_NANOS_MAX).0 {
        true => Err("a date that is not ahead of the import".to_owned()),
        false => Ok(nanos),
    }
}

/// Reads a number; a comma is a decimal sign when there is no point.
fn read_number(text: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || "+-.,".contains(c);
    if !text.chars().all(plain) || text.matches([',', '.']).count() > 1 {
        return None;
    }
    text.replace(',', ".").parse().ok().filter(|number: &f64| number.is_finite())
}

fn read_rating(text: &str, scale: RatingScale) -> Result<f64, &'static str> {
    match (scale, read_number(text)) {
        (RatingScale::OneToFive, Some(rating)) if (1.0..=5.0).contains(&rating) => Ok((rating - 1.0) / 4.0),
        (RatingScale::ZeroToOne, Some(rating)) if (0.0..=1.0).contains(&rating) => Ok(rating),
        (RatingScale::OneToFive, _) => Err("a rating from 1 to 5"),
        (RatingScale::ZeroToOne, _) => Err("a rating from 0 to 1"),
    }
}

/// Reads a list: items between semicolons or, when there are none, commas.
fn read_list(text: &str) -> Vec<String> {
    let separator = if text.contains(';') { ';' } else { ',' };
    text.split(separator).map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn in_range(field: &FieldMapping, number: f64) -> bool {
    field.min.is_none_or(|least| number >= least) && field.max.is_none_or(|most| number <= most)
}

fn range(field: &FieldMapping) -> String {
    match (field.min, field.max) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" from {least}"),
        (None, Some(most)) => format!(" up to {most}"),
        (None, None) => String::new(),
    }
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: EventTime = EventTime(1_767_225_600 * EventTime::SECOND); // 2026-01-01T00:00:00Z

    fn date(text: &str) -> Option<String> {
        read_date(text, false, NOW).ok().map(headwater_contracts::time_text)
    }

    #[test]
    fn dates_have_several_forms_and_none_that_is_ambiguous() {
        for text in ["2024-01-15T11:30:00+01:30", "2024-01-15T10:00:00Z", "2024-01-15 10:00", "15.01.2024 10:00"] {
            assert_eq!(date(text).as_deref(), Some("2024-01-15T10:00:00Z"), "{text}");
        }
        assert_eq!(date("2024-01-15").as_deref(), Some("2024-01-15T00:00:00Z"));
        for text in ["01/02/2024", "2024-13-01", "2024-02-30", "soon", "1899-12-31", "2026-01-03", "2099-01-23"] {
            assert_eq!(date(text), None, "{text}");
        }
        assert!(read_date("2099-01-23", true, NOW).is_ok());
    }

    #[test]
    fn a_rating_of_one_is_read_by_the_declared_scale() {
        assert_eq!(read_rating("1", RatingScale::OneToFive), Ok(0.0));
        assert_eq!(read_rating("1", RatingScale::ZeroToOne), Ok(1.0));
        assert_eq!(read_rating("4,5", RatingScale::OneToFive), Ok(0.875));
        for (text, scale) in [
            ("0", RatingScale::OneToFive),
            ("6", RatingScale::OneToFive),
            ("1.1", RatingScale::ZeroToOne),
            ("good", RatingScale::OneToFive),
        ] {
            assert!(read_rating(text, scale).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_take_one_decimal_sign() {
        assert_eq!((read_number("4.5"), read_number("4,5"), read_number("-1")), (Some(4.5), Some(4.5), Some(-1.0)));
        for text in ["1,000.5", "1e9", "NaN", "inf", "", "-", "4 h"] {
            assert_eq!(read_number(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_are_folded() {
        assert_eq!(fold_email("  Ann.Lee@Example.ORG "), Some("ann.lee@example.org".into()));
        assert_eq!(fold_email("invalid-email"), None);
    }
}
