//! Check digits of cards and of national numbers. Digits come as values 0 to 9.
//!
//! Never looks at context or layout: a number that passes here is only well formed, it need not exist. Stateless.

/// Returns the weighted sum of the leading digits.
fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

/// Returns the control digit by modulus 11, or `None` where the rule gives none (remainder 1).
fn mod11(digits: &[u8], weights: &[u32]) -> Option<u8> {
    match 11 - weighted(digits, weights) % 11 {
        11 => Some(0),
        10 => None,
        control => u8::try_from(control).ok(),
    }
}

/// Payment cards: the Luhn sum is a multiple of 10.
#[must_use]
pub(crate) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(at, digit)| match (at % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Norway, fødselsnummer and D-number: 11 digits, a date, two control digits. Test numbers (month + 40, 65, 80) count.
#[must_use]
pub(crate) fn norwegian_person(digits: &[u8]) -> bool {
    if digits.len() != 11 {
        return false;
    }
    let two = |at: usize| u32::from(digits[at]) * 10 + u32::from(digits[at + 1]);
    let day = if two(0) > 40 { two(0) - 40 } else { two(0) };
    let month = match two(2) {
        month @ 81..=92 => month - 80,
        month @ 66..=77 => month - 65,
        month @ 41..=52 => month - 40,
        month => month,
    };
    let longest = match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=longest).contains(&day)
        && mod11(&digits[..9], &[3, 7, 6, 1, 8, 9, 4, 5, 2]) == Some(digits[9])
        && mod11(&digits[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) == Some(digits[10])
}

/// Norway, bank account: 11 digits, one control digit.
#[must_use]
pub(crate) fn norwegian_account(digits: &[u8]) -> bool {
    digits.len() == 11 && mod11(&digits[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) == Some(digits[10])
}

/// Norway, organisation number: 9 digits that begin with 8 or 9, one control digit.
#[must_use]
pub(crate) fn norwegian_organisation(digits: &[u8]) -> bool {
    digits.len() == 9 && matches!(digits[0], 8 | 9) && mod11(&digits[..8], &[3, 2, 7, 6, 5, 4, 3, 2]) == Some(digits[8])
}

/// Ukraine, RNOKPP: 10 digits; the first five count days since 1899-12-31 and must fall between 1910 and 2040.
#[must_use]
pub(crate) fn ukrainian_taxpayer(digits: &[u8]) -> bool {
    if digits.len() != 10 {
        return false;
    }
    let weights: [i32; 9] = [-1, 5, 7, 9, 4, 6, 10, 5, 7];
    let sum: i32 = digits.iter().zip(weights).map(|(digit, weight)| i32::from(*digit) * weight).sum();
    let days = digits[..5].iter().fold(0u32, |days, digit| days * 10 + u32::from(*digit));
    (3_653..51_500).contains(&days) && sum.rem_euclid(11) % 10 == i32::from(digits[9])
}

/// United Kingdom, NHS number: 10 digits, weights 10 to 2, modulus 11; remainder 10 is never issued.
#[must_use]
pub(crate) fn uk_nhs(digits: &[u8]) -> bool {
    digits.len() == 10
        && mod11(&digits[..9], &[10, 9, 8, 7, 6, 5, 4, 3, 2]) == Some(digits[9])
        && digits.iter().any(|digit| *digit != digits[0])
}

/// United States, social security number: no check digit, but areas, groups and serials that are never issued.
#[must_use]
pub(crate) fn us_ssn(digits: &[u8]) -> bool {
    digits.len() == 9
        && !matches!(digits[..3], [0, 0, 0] | [6, 6, 6] | [9, _, _])
        && digits[3..5] != [0, 0]
        && digits[5..] != [0, 0, 0, 0]
}

/// United States, individual taxpayer number: area 900–999, group 50–65, 70–88, 90–92 or 94–99.
#[must_use]
pub(crate) fn us_itin(digits: &[u8]) -> bool {
    digits.len() == 9 && digits[0] == 9 && matches!(digits[3] * 10 + digits[4], 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digits(text: &str) -> Vec<u8> {
        text.bytes().map(|byte| byte - b'0').collect()
    }

    #[test]
    fn published_numbers_pass() {
        for number in ["14087726100", "15108695088", "31129956715"] {
            assert!(norwegian_person(&digits(number)), "{number}");
        }
        assert!(ukrainian_taxpayer(&digits("1759013776")));
        assert!(uk_nhs(&digits("9434765919")));
        assert!(norwegian_account(&digits("86011117947")));
        assert!(norwegian_organisation(&digits("974760673")));
        for card in ["4111111111111111", "5555555555554444", "378282246310005", "6011111111111117"] {
            assert!(luhn(&digits(card)), "{card}");
        }
        assert!(us_ssn(&digits("219099999")) && us_itin(&digits("900700000")));
    }

    #[test]
    fn numbers_that_were_never_issued_fail() {
        for number in ["14087726101", "15108695080", "32129956715", "14087726"] {
            assert!(!norwegian_person(&digits(number)), "{number}");
        }
        assert!(!ukrainian_taxpayer(&digits("1759013770")));
        assert!(!uk_nhs(&digits("9434765918")) && !uk_nhs(&digits("0000000000")));
        assert!(!us_ssn(&digits("666120000")) && !us_ssn(&digits("123004567")) && !us_itin(&digits("900690000")));
        assert!(!luhn(&digits("4111111111111112")));
    }

    #[test]
    fn any_single_wrong_digit_is_noticed_where_the_rule_promises_it() {
        for (number, check) in [
            ("14087726100", norwegian_person as fn(&[u8]) -> bool),
            ("86011117947", norwegian_account),
            ("974760673", norwegian_organisation),
            ("9434765919", uk_nhs),
            ("4111111111111111", luhn),
        ] {
            for at in 0..number.len() {
                for other in 0..10 {
                    let mut wrong = digits(number);
                    if wrong[at] != other {
                        wrong[at] = other;
                        assert!(!check(&wrong), "{number} with digit {at} = {other}");
                    }
                }
            }
        }
    }
}
