//! Personal data with letters in it: e-mail addresses, IBANs, British insurance numbers.
//!
//! Never backtracks: the expressions run on a linear-time engine and IBAN lengths are tried from a bounded list.

use super::PiiKind;
use iban::Iban;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// The longest IBAN, in characters without blanks.
const IBAN_MAX: usize = 34;
/// The shortest IBAN in use (Norway).
const IBAN_MIN: usize = 15;

fn compile(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the expression is a constant that the tests compile")
}

static EMAIL: LazyLock<Regex> =
    LazyLock::new(|| compile(r"[\p{L}\p{N}_][\p{L}\p{N}._%+'-]*@(?:[\p{L}\p{N}][\p{L}\p{N}-]*\.)+\p{L}{2,24}"));
/// Addresses that someone spelt out, as in `ola (at) mail (dot) no`.
static SPELT_EMAIL: LazyLock<Regex> = LazyLock::new(|| {
    compile(
        r"(?i)[\p{L}\p{N}_][\p{L}\p{N}._%+-]* ?[\[({] ?(?:at|krøllalfa|собака) ?[\])}] ?[\p{L}\p{N}-]+(?:(?:\.| ?[\[({] ?(?:dot|punktum|крапка) ?[\])}] ?)[\p{L}\p{N}-]+)+",
    )
});
static NINO: LazyLock<Regex> = LazyLock::new(|| {
    compile(r"(?i)\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ ]?[0-9]{2}[ -]?[0-9]{2}[ -]?[0-9]{2}[ -]?[A-D]\b")
});
static IBAN_START: LazyLock<Regex> = LazyLock::new(|| compile(r"(?i)\b[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]"));

/// Returns what was found: kind, score, place.
pub(crate) fn find(text: &str) -> Vec<(PiiKind, i32, Range<usize>)> {
    let mut found = Vec::new();
    for address in EMAIL.find_iter(text) {
        found.push((PiiKind::Email, 100, address.range()));
    }
    if text.contains(['[', '(', '{']) {
        for address in SPELT_EMAIL.find_iter(text) {
            found.push((PiiKind::Email, 80, address.range()));
        }
    }
    for number in NINO.find_iter(text) {
        let prefix = number.as_str()[..2].to_ascii_uppercase();
        if !matches!(prefix.as_str(), "BG" | "GB" | "NK" | "KN" | "TN" | "NT" | "ZZ") {
            found.push((PiiKind::NationalIdUk, 85, number.range()));
        }
    }
    for start in IBAN_START.find_iter(text) {
        found.extend(iban_at(text, start.start()).map(|range| (PiiKind::Iban, 100, range)));
    }
    found
}

/// Returns the longest valid IBAN that begins at `start`.
fn iban_at(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut compact = String::with_capacity(IBAN_MAX);
    let mut ends = Vec::with_capacity(IBAN_MAX);
    let mut at = start;
    while at < bytes.len() && compact.len() < IBAN_MAX {
        if bytes[at].is_ascii_alphanumeric() {
            compact.push(char::from(bytes[at].to_ascii_uppercase()));
            ends.push(at + 1);
        } else if !matches!(bytes[at], b' ' | b'-' | b'.') || !bytes[at - 1].is_ascii_alphanumeric() {
            break;
        }
        at += 1;
    }
    (IBAN_MIN..=compact.len()).rev().find_map(|length| {
        let end = ends[length - 1];
        let whole = !text[end..].chars().next().is_some_and(char::is_alphanumeric);
        (whole && compact[..length].parse::<Iban>().is_ok()).then_some(start..end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<(PiiKind, &str)> {
        find(text).into_iter().map(|(kind, _, range)| (kind, &text[range])).collect()
    }

    #[test]
    fn addresses_are_found_whole() {
        assert_eq!(texts("Mail ola.nordmann+x@mail.example.no."), [(PiiKind::Email, "ola.nordmann+x@mail.example.no")]);
        assert_eq!(texts("пиши на оля@пошта.укр!"), [(PiiKind::Email, "оля@пошта.укр")]);
        assert_eq!(texts("ola (at) mail (dot) no, ok"), [(PiiKind::Email, "ola (at) mail (dot) no")]);
        assert_eq!(texts("meet @ noon, a@b, see (at) you"), []);
    }

    #[test]
    fn ibans_end_where_they_are_valid() {
        assert_eq!(texts("to NO93 8601 1117 947 AND more"), [(PiiKind::Iban, "NO93 8601 1117 947")]);
        assert_eq!(texts("gb82west12345698765432"), [(PiiKind::Iban, "gb82west12345698765432")]);
        assert_eq!(
            texts("UA21 3223 1300 0002 6007 2335 6600 1"),
            [(PiiKind::Iban, "UA21 3223 1300 0002 6007 2335 6600 1")]
        );
        assert_eq!(texts("NO94 8601 1117 947"), [], "wrong check digits");
    }

    #[test]
    fn insurance_numbers_have_letters_that_exist() {
        assert_eq!(texts("my NINO is QQ 12 34 56 C"), []);
        assert_eq!(texts("AB 12 34 56 C"), [(PiiKind::NationalIdUk, "AB 12 34 56 C")]);
        assert_eq!(texts("GB123456A"), []);
    }
}
