//! Numbers with valid check digits, made here by other means than the ones that check them.

use proptest::prelude::*;

fn text(digits: &[u32]) -> String {
    digits.iter().map(|digit| char::from_digit(*digit, 10).expect("digits and their rule")).collect()
}

fn digits(n: usize) -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0u32..10, n)
}

/// Tries all last digits until the sum rule holds: independent of any formula for the control digit.
fn complete(mut digits: Vec<u32>, holds: impl Fn(&[u32]) -> bool) -> Option<Vec<u32>> {
    digits.push(0);
    let last = digits.len() - 1;
    (0..10).find(|digit| {
        digits[last] = *digit;
        holds(&digits)
    })?;
    Some(digits)
}

fn sum_mod_11(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum::<u32>() % 11
}

fn grouped(number: &str, sizes: &[usize], gap: &str) -> String {
    let (mut rest, mut parts) = (number, Vec::new());
    for size in sizes {
        let (part, tail) = rest.split_at(*size);
        parts.push(part);
        rest = tail;
    }
    parts.join(gap)
}

/// Payment cards: 16 digits of four issuers, or 15 of one, written together or in groups.
pub(crate) fn card() -> impl Strategy<Value = String> {
    let issuer = prop::sample::select(vec!["4", "51", "2221", "6011", "37"]);
    (issuer, digits(15), any::<bool>()).prop_map(|(issuer, filler, split)| {
        let length = if issuer == "37" { 14 } else { 15 };
        let prefix: Vec<u32> = issuer.chars().map(|c| c.to_digit(10).expect("digits and their rule")).collect();
        let body: Vec<u32> = prefix.iter().chain(&filler).copied().take(length).collect();
        let luhn = |digits: &[u32]| {
            let doubled = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9];
            let each = digits.iter().rev().enumerate();
            each.map(|(at, digit)| if at % 2 == 1 { doubled[*digit as usize] } else { *digit }).sum::<u32>() % 10 == 0
        };
        let number = text(&complete(body, luhn).expect("digits and their rule"));
        let sizes: &[usize] = if length == 14 { &[4, 6, 5] } else { &[4, 4, 4, 4] };
        if split { grouped(&number, sizes, " ") } else { number }
    })
}

/// Norway: persons, with a D-number now and then.
pub(crate) fn norwegian_person() -> impl Strategy<Value = String> {
    let date = (1u32..29, 1u32..13, 0u32..100, any::<bool>());
    (date, digits(3), any::<bool>()).prop_filter_map("has control digits", |((day, month, year, d), serial, split)| {
        let day = if d { day + 40 } else { day };
        let mut number = vec![day / 10, day % 10, month / 10, month % 10, year / 10, year % 10];
        number.extend(serial);
        let number = complete(number, |n| sum_mod_11(n, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]) == 0)?;
        let number = complete(number, |n| sum_mod_11(n, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]) == 0)?;
        let number = text(&number);
        Some(if split { grouped(&number, &[6, 5], " ") } else { number })
    })
}

/// Norway: bank accounts.
pub(crate) fn norwegian_account() -> impl Strategy<Value = String> {
    (digits(10), prop::sample::select(vec!["", ".", " "])).prop_filter_map("has a control digit", |(body, gap)| {
        let number = complete(body, |n| sum_mod_11(n, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]) == 0)?;
        Some(grouped(&text(&number), &[4, 2, 5], gap))
    })
}

/// Norway: organisations.
pub(crate) fn norwegian_organisation() -> impl Strategy<Value = String> {
    (digits(7), 8u32..10, any::<bool>()).prop_filter_map("has a control digit", |(rest, first, split)| {
        let body = std::iter::once(first).chain(rest).collect();
        let number = complete(body, |n| sum_mod_11(n, &[3, 2, 7, 6, 5, 4, 3, 2, 1]) == 0)?;
        Some(grouped(&text(&number), &[3, 3, 3], if split { " " } else { "" }))
    })
}

/// Ukraine: people born from 1930 to 2025.
pub(crate) fn ukrainian_taxpayer() -> impl Strategy<Value = String> {
    (10_959u32..46_000, digits(4)).prop_map(|(days, rest)| {
        let body: Vec<u32> =
            format!("{days:05}").chars().map(|c| c.to_digit(10).expect("digits and their rule")).chain(rest).collect();
        // −1 is 10 modulo 11.
        let control = sum_mod_11(&body, &[10, 5, 7, 9, 4, 6, 10, 5, 7]) % 10;
        text(&[body, vec![control]].concat())
    })
}

/// United Kingdom: NHS numbers.
pub(crate) fn nhs() -> impl Strategy<Value = String> {
    (4u32..8, digits(8), any::<bool>()).prop_filter_map("has a control digit", |(first, rest, split)| {
        let body = std::iter::once(first).chain(rest).collect();
        let number = complete(body, |n| sum_mod_11(n, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]) == 0)?;
        Some(grouped(&text(&number), &[3, 3, 4], if split { " " } else { "" }))
    })
}

/// Norwegian IBANs.
pub(crate) fn iban() -> impl Strategy<Value = String> {
    (norwegian_account(), any::<bool>()).prop_filter_map("has check digits", |(account, split)| {
        let account: String = account.chars().filter(char::is_ascii_digit).collect();
        // N is 23, O is 24; the whole number leaves 1 modulo 97.
        let check = (2..99u32).find(|check| {
            let whole = format!("{account}2324{check:02}");
            whole.bytes().fold(0u64, |rest, byte| (rest * 10 + u64::from(byte - b'0')) % 97) == 1
        })?;
        let number = format!("NO{check:02}{account}");
        Some(if split { grouped(&number, &[4, 4, 4, 3], " ") } else { number })
    })
}
