//! What a text has to look like to be a uuid, an e-mail address, a URI, a point in time, and how a fault in a value is
//! told. Pure functions without state; each looks at one value.

use crate::shape::{Form, Range, TextRule};
use chrono::{DateTime, NaiveDateTime, TimeDelta};
use headwater_core::Reason;
use std::fmt::Write as _;

/// The most characters of a value that a message shows: enough to recognise it, too few to flood a log.
const SHOWN_CHARS_MAX: usize = 60;
/// The longest part of an e-mail address before the @ (RFC 5321).
const EMAIL_LOCAL_BYTES_MAX: usize = 64;
/// The longest e-mail address (RFC 5321).
const EMAIL_BYTES_MAX: usize = 254;

/// What is wrong with a value.
pub(crate) type Wrong = (Reason, String);

/// Returns whether a text is an e-mail address of the usual form: `local@domain.tld` without spaces, quotes or comments.
#[must_use]
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let local_ok = !local.is_empty()
        && local.len() <= EMAIL_LOCAL_BYTES_MAX
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && local.chars().all(|c| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c));
    let label_ok = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-')
    };
    let domain_ok = domain.contains('.') && domain.split('.').all(label_ok);
    local_ok && domain_ok && text.len() <= EMAIL_BYTES_MAX
}

/// Parses an RFC 3339 time with its offset as nanoseconds since the epoch, UTC.
///
/// # Errors
/// `MalformedField` or, outside the years 1678 to 2261, `OutOfRange`.
pub(crate) fn time_nanos(text: &str) -> Result<i64, Reason> {
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| Reason::MalformedField)?;
    time.timestamp_nanos_opt().ok_or(Reason::OutOfRange)
}

/// Writes nanoseconds since the epoch as RFC 3339 in UTC, with a fraction only when there is one.
#[must_use]
pub fn time_text(nanos: i64) -> String {
    let time: NaiveDateTime = DateTime::UNIX_EPOCH.naive_utc() + TimeDelta::nanoseconds(nanos);
    let mut text = String::with_capacity(30);
    // Writing to a String cannot fail.
    let _ = write!(text, "{}Z", time.format("%Y-%m-%dT%H:%M:%S%.f"));
    text
}

/// Shows a value in a message: in quotes and cut, or only its length when it may name somebody.
pub(crate) fn shown(text: &str, personal: bool) -> String {
    if personal {
        return format!("a text of {} characters", text.chars().count());
    }
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("'{}…'", &text[..end]),
        None => format!("'{text}'"),
    }
}

/// Checks a text and returns it as it is kept.
pub(crate) fn check_text<'a>(
    rule: &TextRule,
    text: &'a str,
    personal: bool,
) -> Result<std::borrow::Cow<'a, str>, Wrong> {
    let found = |expected: &str| format!("found {}, expected {expected}", shown(text, personal));
    let malformed = |expected: &str| Err((Reason::MalformedField, found(expected)));
    match rule.form {
        Form::Plain => {}
        // The parser alone would also take urn:uuid:…, braces and no hyphens, which are other spellings of one id.
        Form::Uuid if text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() => {
            return Ok(match text.bytes().any(|byte| byte.is_ascii_uppercase()) {
                true => text.to_ascii_lowercase().into(),
                false => text.into(),
            });
        }
        Form::Uuid => return malformed("a uuid such as 123e4567-e89b-42d3-a456-426614174000"),
        Form::Email if is_email(text) => {}
        Form::Email => return malformed("an e-mail address"),
        Form::Uri if is_uri(text) => {}
        Form::Uri => return malformed("an absolute URI"),
    }
    if !rule.choices.is_empty() && !rule.choices.iter().any(|choice| choice == text) {
        return Err((Reason::OutOfRange, found(&format!("one of: {}", rule.choices.join(", ")))));
    }
    if rule.length_max.is_some() || rule.length_min.is_some() {
        let length = text.chars().count();
        let (least, most) = (rule.length_min.unwrap_or(0), rule.length_max.unwrap_or(usize::MAX));
        if length < least {
            return Err((Reason::OutOfRange, format!("found {length} characters, expected at least {least}")));
        }
        if length > most {
            return Err((Reason::OutOfRange, format!("found {length} characters, expected at most {most}")));
        }
    }
    match &rule.pattern {
        Some(pattern) if !pattern.is_match(text) => malformed(&format!("a text that matches {pattern}")),
        _ => Ok(text.into()),
    }
}

/// Checks a number.
pub(crate) fn check_range(range: &Range, number: f64) -> Result<(), Wrong> {
    if range.holds(number) {
        return Ok(());
    }
    let bounds = [("at least", range.minimum), ("more than", range.above), ("at most", range.maximum)];
    let bounds: Vec<String> =
        bounds.into_iter().filter_map(|(word, bound)| bound.map(|bound| format!("{word} {bound}"))).collect();
    Err((Reason::OutOfRange, format!("found {number}, expected {}", bounds.join(" and "))))
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        && !rest.is_empty()
        && !rest.chars().any(|c| c.is_whitespace() || c.is_control() || "<>\"{}|\\^`".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_mail_addresses_are_told_from_other_texts() {
        for good in ["a@b.no", "first.last+tag@sub.example.org", "o'neil@example.com", "ø@bjørn.no"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["invalid-email", "@b.no", "a@", "a@b", "a@b..no", "a b@c.no", "a@b@c.no", ".a@b.no", "a@-b.no", ""]
        {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn times_need_an_offset_and_fit_in_nanoseconds() {
        assert_eq!(time_nanos("2024-01-15T11:00:00+01:00"), Ok(1_705_312_800_000_000_000));
        assert_eq!(time_nanos("2024-01-15T10:00:00"), Err(Reason::MalformedField));
        assert_eq!(time_nanos("2024-01-15"), Err(Reason::MalformedField));
        assert_eq!(time_nanos("2300-01-01T00:00:00Z"), Err(Reason::OutOfRange));
        assert_eq!(time_text(1_705_312_800_000_000_000), "2024-01-15T10:00:00Z");
        assert_eq!(time_text(-1), "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn a_uuid_has_one_spelling() {
        let rule = TextRule { form: Form::Uuid, ..TextRule::default() };
        let id = "123E4567-e89b-42d3-a456-426614174000";
        assert_eq!(check_text(&rule, id, false).expect("a uuid"), id.to_ascii_lowercase());
        for other in ["123e4567e89b42d3a456426614174000", "{123e4567-e89b-42d3-a456-426614174000}", "x"] {
            assert_eq!(check_text(&rule, other, false).expect_err("no uuid").0, Reason::MalformedField);
        }
    }

    #[test]
    fn a_uri_is_absolute() {
        assert!(is_uri("https://example.org/verify/1"));
        assert!(!is_uri("example.org/verify") && !is_uri("https://exa mple.org") && !is_uri("1:a"));
    }

    #[test]
    fn long_values_are_cut_and_personal_ones_are_not_shown() {
        assert_eq!(shown(&"é".repeat(61), false), format!("'{}…'", "é".repeat(60)));
        assert_eq!(shown("Ann", true), "a text of 3 characters");
    }
}
