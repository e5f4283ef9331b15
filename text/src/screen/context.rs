//! Words around a number that say what it is, or that it is none of our business.
//!
//! Never decides alone: it moves scores up or down. Reads at most [`BEFORE_BYTES`] before and [`AFTER_BYTES`] after a
//! candidate. Stateless.

use super::PiiKind;
use std::ops::Range;

const BEFORE_BYTES: usize = 64;
const AFTER_BYTES: usize = 24;
/// A word that speaks against a number must stand closer than one that speaks for it.
const AGAINST_BYTES: usize = 32;

/// What a word of the right kind adds.
pub(crate) const SUPPORT: i32 = 35;
/// What a word of the wrong kind takes away.
pub(crate) const OBJECTION: i32 = -27;

const PHONE: &[&str] = &[
    "phone",
    "tel",
    "mobile",
    "mobil",
    "cell",
    "call",
    "ring",
    "tlf",
    "whatsapp",
    "sms",
    "text me",
    "my number",
    "nummeret mitt",
    "mitt nummer",
    "viber",
    "telegram",
    "signal",
    "reach me",
    "contact",
    "kontakt",
    "номер",
    "тел",
    "дзвон",
    "подзвон",
    "моб",
    "зв'яз",
    "nå meg",
    "nummer",
];
const CARD: &[&str] = &["card", "kort", "visa", "mastercard", "amex", "картк", "карта", "credit", "debit", "kreditt"];
const ACCOUNT: &[&str] = &["konto", "account", "bank", "рахунок"];
const ORGANISATION: &[&str] = &["org", "organisasjon", "foretak", "mva", "bedrift", "enhet"];
const NORWAY: &[&str] =
    &["fødsel", "personnummer", "fnr", "d-nummer", "født", "birth number", "national id", "id-nummer"];
const UKRAINE: &[&str] = &["рнокпп", "іпн", "подат", "код", "tax", "rnokpp", "ipn", "ідентиф", "інн"];
const BRITAIN: &[&str] = &["nhs", "health", "patient", "national insurance", "nino", "ni number"];
const AMERICA: &[&str] = &["ssn", "social security", "itin", "taxpayer", "tax id"];
/// Whole words, or beginnings of words where marked with `*`.
const AGAINST: &[&str] = &[
    "order",
    "orders",
    "ordre*",
    "bestilling*",
    "invoice",
    "faktura*",
    "isbn",
    "issn",
    "doi",
    "tracking",
    "sporing*",
    "ticket",
    "case",
    "sak",
    "saksnummer",
    "reference",
    "referanse*",
    "ref",
    "course",
    "kurs",
    "kurskode",
    "version",
    "versjon",
    "serial",
    "serienummer",
    "receipt",
    "kvittering*",
    "замовлен*",
    "квитанц*",
    "накладн*",
    "курс*",
    "верс*",
    "product",
    "produkt*",
    "товар*",
    "views",
    "visninger",
    "перегляд*",
    "parcel",
    "pakke*",
    "посилк*",
    "badge",
    "certificate",
    "sertifikat*",
    "library",
    "book",
];

fn supporting(kind: PiiKind) -> &'static [&'static str] {
    match kind {
        PiiKind::Phone => PHONE,
        PiiKind::Card => CARD,
        PiiKind::AccountNo | PiiKind::Iban => ACCOUNT,
        PiiKind::OrganisationNo => ORGANISATION,
        PiiKind::NationalIdNo => NORWAY,
        PiiKind::NationalIdUa => UKRAINE,
        PiiKind::NationalIdUk => BRITAIN,
        PiiKind::NationalIdUs => AMERICA,
        PiiKind::Email => &[],
    }
}

/// Returns how much the words around `range` add to or take from the score. `lower` is the text in lower case with
/// unchanged byte offsets.
pub(crate) fn adjustment(lower: &str, range: &Range<usize>, kind: PiiKind) -> i32 {
    let before = slice(lower, range.start.saturating_sub(BEFORE_BYTES), range.start);
    let after = slice(lower, range.end, range.end.saturating_add(AFTER_BYTES));
    let close = slice(lower, range.start.saturating_sub(AGAINST_BYTES), range.start);
    let words = supporting(kind);
    let supported = words.iter().any(|word| has_word_start(before, word) || has_word_start(after, word));
    let opposed = AGAINST.iter().any(|word| match word.strip_suffix('*') {
        Some(stem) => has_word_start(close, stem),
        None => close.split(|c: char| !c.is_alphanumeric()).any(|other| other == *word),
    });
    i32::from(supported) * SUPPORT + i32::from(opposed) * OBJECTION
}

fn slice(text: &str, mut start: usize, end: usize) -> &str {
    let mut end = end.min(text.len());
    while !text.is_char_boundary(start) {
        start += 1;
    }
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(start..end).unwrap_or_default()
}

/// Returns whether a word of the text begins with `word`.
fn has_word_start(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| !text[..at].chars().next_back().is_some_and(char::is_alphanumeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_support_and_oppose() {
        let text = "ring meg på 41234567";
        assert_eq!(adjustment(text, &(13..21), PiiKind::Phone), SUPPORT);
        let text = "order no 41234567";
        assert_eq!(adjustment(text, &(9..17), PiiKind::Phone), OBJECTION);
        let text = "during 41234567";
        assert_eq!(adjustment(text, &(7..15), PiiKind::Phone), 0, "'ring' inside a word is no context");
    }
}
