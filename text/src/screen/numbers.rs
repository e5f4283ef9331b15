//! What a number could be: cards, national numbers, accounts, phones, by layout and check digits.
//!
//! Never looks at the words around a number; that raises or lowers these scores later. Stateless.

use super::digits::Window;
use super::{PiiKind, checksum};

/// A score of 100 is certain, below [`super::THRESHOLD`] a number is left alone.
type Score = i32;
type Reader = fn(&Window) -> Option<Score>;

/// Returns what a window could be, with the score of layout and check digits alone.
pub(crate) fn readings(window: &Window) -> Vec<(PiiKind, Score)> {
    let mut found = Vec::new();
    if window.plus {
        found.extend(international(&window.digits).map(|score| (PiiKind::Phone, score)));
        return found;
    }
    let readers: [(PiiKind, Reader); 9] = [
        (PiiKind::NationalIdNo, norwegian_person),
        (PiiKind::NationalIdUk, uk_nhs),
        (PiiKind::NationalIdUa, ukrainian_taxpayer),
        (PiiKind::NationalIdUs, us_number),
        (PiiKind::Card, card),
        (PiiKind::AccountNo, norwegian_account),
        (PiiKind::OrganisationNo, norwegian_organisation),
        (PiiKind::Phone, national_phone),
        (PiiKind::Phone, dialled_phone),
    ];
    found.extend(readers.into_iter().filter_map(|(kind, read)| read(window).map(|score| (kind, score))));
    found
}

fn norwegian_person(w: &Window) -> Option<Score> {
    (matches!(w.shape[..], [11] | [6, 5]) && checksum::norwegian_person(&w.digits)).then_some(88)
}

fn norwegian_account(w: &Window) -> Option<Score> {
    if !matches!(w.shape[..], [11] | [4, 2, 5]) || !checksum::norwegian_account(&w.digits) {
        return None;
    }
    Some(if w.shape.len() == 3 && w.separator == Some('.') { 70 } else { 40 })
}

fn norwegian_organisation(w: &Window) -> Option<Score> {
    (matches!(w.shape[..], [9] | [3, 3, 3]) && checksum::norwegian_organisation(&w.digits)).then_some(40)
}

fn ukrainian_taxpayer(w: &Window) -> Option<Score> {
    (w.shape[..] == [10] && checksum::ukrainian_taxpayer(&w.digits)).then_some(60)
}

fn uk_nhs(w: &Window) -> Option<Score> {
    if !checksum::uk_nhs(&w.digits) {
        return None;
    }
    match (&w.shape[..], w.separator) {
        ([3, 3, 4], Some(' ' | '-')) => Some(72),
        ([10], _) => Some(60),
        _ => None,
    }
}

fn us_number(w: &Window) -> Option<Score> {
    if !checksum::us_ssn(&w.digits) && !checksum::us_itin(&w.digits) {
        return None;
    }
    match (&w.shape[..], w.separator) {
        ([3, 2, 4], Some('-')) => Some(75),
        ([3, 2, 4], Some(' ')) => Some(50),
        ([9], _) => Some(35),
        _ => None,
    }
}

fn card(w: &Window) -> Option<Score> {
    let grouped = match w.shape[..] {
        [13..=19] => false,
        [4, 4, 4, 4] | [4, 4, 4, 4, 3] | [4, 6, 5] | [4, 6, 4] | [4, 4, 4, 1] | [4, 4, 5] | [6, 13] => true,
        _ => return None,
    };
    let issuer = matches!(w.digits[..2], [3, 0 | 4..=9] | [4, _] | [5, _] | [6, _] | [2, 2..=7]);
    let varied = w.digits.iter().any(|digit| *digit != w.digits[0]);
    (issuer && varied && checksum::luhn(&w.digits)).then_some(if grouped { 90 } else { 78 })
}

/// Numbers with a plus sign. Lengths are exact for the countries that the programmes work in.
fn international(digits: &[u8]) -> Option<Score> {
    let n = digits.len();
    let fits = match digits {
        [0, ..] => false,
        [1, area, ..] => n == 11 && *area >= 2,
        [4, 7, ..] => n == 10,
        [3, 8, 0, ..] => n == 12,
        [4, 4, ..] => n == 12 || n == 11,
        _ => (10..=15).contains(&n),
    };
    fits.then_some(80)
}

/// Numbers with `00` in place of the plus sign.
fn dialled_phone(w: &Window) -> Option<Score> {
    match w.digits[..] {
        [0, 0, ref rest @ ..] => international(rest).map(|_| 62),
        _ => None,
    }
}

fn national_phone(w: &Window) -> Option<Score> {
    let split = w.shape.len() > 1;
    match (w.digits.len(), &w.digits[..]) {
        (8, [2..=9, ..]) if matches!(w.shape[..], [8] | [2, 2, 2, 2] | [3, 2, 3]) && !is_date(&w.digits) => {
            (!split || w.separator == Some(' ')).then_some(35)
        }
        (11, [0, 7, ..]) if fits(w, &[&[11], &[5, 6], &[5, 3, 3], &[4, 3, 4], &[3, 4, 4], &[3, 3, 5]]) => Some(66),
        (10 | 11, [0, 1 | 2 | 3 | 8, ..])
            if fits(w, &[&[3, 4, 4], &[4, 3, 4], &[5, 6], &[5, 5], &[5, 3, 3], &[4, 6], &[4, 7], &[3, 8], &[11]]) =>
        {
            Some(if split { 62 } else { 40 })
        }
        (10, [0, rest @ ..]) if fits(w, &[&[10], &[3, 3, 2, 2], &[3, 3, 4], &[3, 7], &[3, 2, 2, 3], &[3, 2, 3, 2]]) => {
            Some(if is_ukrainian_mobile(rest[0] * 10 + rest[1]) { 66 } else { 40 })
        }
        (10, [2..=9, _, _, 2..=9, ..]) if fits(w, &[&[10], &[3, 3, 4]]) => {
            let marked = split && w.separator != Some(' ');
            Some(if marked { 65 } else { 35 })
        }
        (11, [1, 2..=9, _, _, 2..=9, ..]) if w.shape[..] == [1, 3, 3, 4] => Some(64),
        _ => None,
    }
}

fn fits(w: &Window, shapes: &[&[usize]]) -> bool {
    shapes.iter().any(|shape| *shape == &w.shape[..])
}

fn is_ukrainian_mobile(operator: u8) -> bool {
    matches!(operator, 39 | 50 | 63 | 66 | 67 | 68 | 73 | 75 | 77 | 91..=99)
}

/// Returns whether eight digits read as a date written without separators, as in `20260131`.
fn is_date(digits: &[u8]) -> bool {
    let number = |range: std::ops::Range<usize>| digits[range].iter().fold(0u32, |n, digit| n * 10 + u32::from(*digit));
    matches!(number(0..4), 1900..=2099) && matches!(number(4..6), 1..=12) && matches!(number(6..8), 1..=31)
        || matches!(number(4..8), 1900..=2099) && matches!(number(2..4), 1..=12) && matches!(number(0..2), 1..=31)
}
