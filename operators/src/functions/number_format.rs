//! `to_char` for numbers: Postgres' patterns of digits.
//!
//! Understood are `9 0 . , D G S MI PL SG PR TH FM RN`, quoted text, and characters that mean nothing. A number that
//! does not fit its digits is `#`s, as in Postgres. No state.

use super::time::ordinal;

/// A number as decimal digits.
pub(crate) struct Decimal {
    /// Whether it is below zero.
    pub(crate) negative: bool,
    /// The digits, of which the last `scale` stand after the point.
    pub(crate) digits: u128,
    pub(crate) scale: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Digit {
        forced: bool,
    },
    Point,
    Group,
    Text(String),
    /// `-` or nothing, `+` or nothing, either; the width is one.
    Minus,
    Plus,
    Sign,
    Ordinal {
        upper: bool,
    },
}

/// Where the sign stands if no piece places it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Anchor {
    /// A minus or a blank before the first digit.
    Implied,
    /// `S` before or after the digits.
    Leading,
    Trailing,
    /// `<` and `>`.
    Brackets,
    /// A piece of its own.
    Placed,
}

/// A compiled pattern.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NumberPattern {
    pieces: Vec<Piece>,
    anchor: Anchor,
    fill: bool,
    roman: bool,
    n_whole: usize,
    n_fraction: usize,
    /// How many of the digits before the point are always written.
    n_forced: usize,
}

/// The greatest number that has Roman numerals here and in Postgres.
const ROMAN_MAX: u128 = 3999;
const ROMAN_WIDTH: usize = 15;
const ROMAN: [(u128, &str); 13] = [
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
];

impl NumberPattern {
    /// Reads a pattern; the error is a sentence for the user.
    pub(crate) fn new(text: &str) -> Result<Self, String> {
        let mut pattern = Self {
            pieces: Vec::new(),
            anchor: Anchor::Implied,
            fill: true,
            roman: false,
            n_whole: 0,
            n_fraction: 0,
            n_forced: 0,
        };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = pattern.word(text, rest)?;
            rest = &rest[if length == 0 { first.len_utf8() } else { length }..];
        }
        let mut whole = pattern.pieces.iter().take_while(|piece| **piece != Piece::Point);
        let first_forced = whole
            .clone()
            .filter(|p| matches!(p, Piece::Digit { .. }))
            .position(|p| *p == Piece::Digit { forced: true });
        pattern.n_whole = whole.by_ref().filter(|piece| matches!(piece, Piece::Digit { .. })).count();
        pattern.n_forced = first_forced.map_or(0, |first| pattern.n_whole - first);
        let digits = pattern.pieces.iter().filter(|piece| matches!(piece, Piece::Digit { .. })).count();
        pattern.n_fraction = digits - pattern.n_whole;
        Ok(pattern)
    }

    /// Takes one word of the pattern, and returns its length; 0 for a character that means itself.
    fn word(&mut self, text: &str, rest: &str) -> Result<usize, String> {
        let upper = rest.to_ascii_uppercase();
        let begins = |word: &str| upper.starts_with(word);
        let refused = |what: &str| Err(format!("'{what}' in the number pattern '{text}' is not supported"));
        let piece = match upper.chars().next() {
            Some('9') => Piece::Digit { forced: false },
            Some('0') => Piece::Digit { forced: true },
            Some('.' | 'D') if self.pieces.contains(&Piece::Point) => {
                return Err(format!("the number pattern '{text}' has two decimal points"));
            }
            Some('.' | 'D') => Piece::Point,
            Some(',' | 'G') => Piece::Group,
            Some('"') => {
                let inner: &str = rest[1..].split('"').next().unwrap_or_default();
                self.pieces.push(Piece::Text(inner.to_owned()));
                return Ok((inner.len() + 2).min(rest.len()));
            }
            _ if begins("FM") => {
                self.fill = false;
                return Ok(2);
            }
            _ if begins("RN") => {
                self.roman = true;
                return Ok(2);
            }
            _ if begins("EEEE") => return refused("EEEE"),
            Some('V') => return refused("V"),
            Some('L') => return refused("L"),
            _ => return Ok(self.sign(&upper, rest)),
        };
        self.pieces.push(piece);
        Ok(1)
    }

    fn sign(&mut self, upper: &str, rest: &str) -> usize {
        for (word, piece) in [("MI", Piece::Minus), ("PL", Piece::Plus), ("SG", Piece::Sign)] {
            if upper.starts_with(word) {
                // A plus stands beside the sign that negative numbers have anyhow.
                if piece != Piece::Plus {
                    self.anchor = Anchor::Placed;
                }
                self.pieces.push(piece);
                return 2;
            }
        }
        if upper.starts_with("PR") {
            self.anchor = Anchor::Brackets;
            return 2;
        }
        if upper.starts_with("TH") {
            self.pieces.push(Piece::Ordinal { upper: rest.starts_with('T') });
            return 2;
        }
        if upper.starts_with('S') {
            let has_digits = self.pieces.iter().any(|piece| matches!(piece, Piece::Digit { .. }));
            self.anchor = if has_digits { Anchor::Trailing } else { Anchor::Leading };
            return 1;
        }
        self.pieces.push(Piece::Text(rest.chars().take(1).collect()));
        0
    }

    /// Writes a number.
    pub(crate) fn format(&self, number: &Decimal) -> String {
        let rounded = rounded(number, u32::try_from(self.n_fraction).unwrap_or(u32::MAX));
        let scale = 10u128.pow(u32::try_from(self.n_fraction).unwrap_or(0));
        let whole = rounded / scale;
        let negative = number.negative && rounded > 0;
        if self.roman {
            return self.roman(whole);
        }
        let whole_digits = if whole == 0 { String::new() } else { whole.to_string() };
        let fraction = format!("{:0width$}", rounded % scale, width = self.n_fraction);
        // A zero is written at least once: before the point where nothing follows it.
        let least = self.n_forced.max(usize::from(self.n_fraction == 0));
        let shown = whole_digits.len().max(least.min(self.n_whole));
        let overflow = whole_digits.len() > self.n_whole;
        let padded = format!("{:0>width$}", whole_digits, width = shown);
        let digits = Digits { pattern: self, negative, shown, overflow, whole: padded, fraction, number: whole };
        digits.write()
    }

    fn roman(&self, mut whole: u128) -> String {
        if whole == 0 || whole > ROMAN_MAX {
            return "#".repeat(ROMAN_WIDTH);
        }
        let mut text = String::new();
        for (value, letters) in ROMAN {
            while whole >= value {
                text.push_str(letters);
                whole -= value;
            }
        }
        if self.fill { format!("{text:>ROMAN_WIDTH$}") } else { text }
    }
}

/// Rounds half away from zero to so many places.
fn rounded(number: &Decimal, places: u32) -> u128 {
    if number.scale <= places {
        return number.digits.saturating_mul(10u128.saturating_pow(places - number.scale));
    }
    let unit = 10u128.saturating_pow(number.scale - places);
    number.digits / unit + u128::from(number.digits % unit >= unit / 2)
}

/// A number against its pattern.
struct Digits<'a> {
    pattern: &'a NumberPattern,
    negative: bool,
    /// How many digits before the point are written.
    shown: usize,
    overflow: bool,
    whole: String,
    fraction: String,
    number: u128,
}

impl Digits<'_> {
    fn write(&self) -> String {
        let Self { pattern, negative, .. } = self;
        let mut body = String::new();
        // Blanks stand before the sign, and the sign right before the first digit.
        let mut place = pattern.n_whole;
        let (mut after_point, mut n_fraction, mut signed) = (false, 0, false);
        for piece in &pattern.pieces {
            match piece {
                Piece::Digit { .. } if after_point => {
                    self.push_fraction(&mut body, n_fraction);
                    n_fraction += 1;
                }
                Piece::Digit { .. } if self.overflow => {
                    self.push_sign(&mut body, &mut signed);
                    body.push('#');
                    place -= 1;
                }
                Piece::Digit { .. } => {
                    if place <= self.shown {
                        self.push_sign(&mut body, &mut signed);
                        body.extend(self.whole.chars().nth(self.shown - place));
                    } else if pattern.fill {
                        body.push(' ');
                    }
                    place -= 1;
                }
                Piece::Group if after_point || place < self.shown || self.overflow => body.push(','),
                Piece::Group if pattern.fill => body.push(' '),
                Piece::Group => {}
                Piece::Point => {
                    self.push_sign(&mut body, &mut signed);
                    after_point = true;
                    body.push('.');
                }
                Piece::Text(text) => body.push_str(text),
                Piece::Minus => body.push_str(if *negative {
                    "-"
                } else if pattern.fill {
                    " "
                } else {
                    ""
                }),
                Piece::Plus => body.push_str(if !*negative {
                    "+"
                } else if pattern.fill {
                    " "
                } else {
                    ""
                }),
                Piece::Sign => body.push(if *negative { '-' } else { '+' }),
                Piece::Ordinal { .. } if *negative || pattern.n_fraction > 0 => {}
                Piece::Ordinal { upper } => {
                    let case = if *upper { super::time::Case::Upper } else { super::time::Case::Lower };
                    body.push_str(ordinal(i64::try_from(self.number % 1000).unwrap_or(0), case));
                }
            }
        }
        self.finish(body)
    }

    fn push_sign(&self, body: &mut String, signed: &mut bool) {
        if std::mem::replace(signed, true) {
            return;
        }
        match (self.pattern.anchor, self.negative) {
            (Anchor::Implied, true) => body.push('-'),
            (Anchor::Implied, false) if self.pattern.fill => body.push(' '),
            (Anchor::Leading, negative) => body.push(if negative { '-' } else { '+' }),
            (Anchor::Brackets, true) => body.push('<'),
            (Anchor::Brackets, false) if self.pattern.fill => body.push(' '),
            _ => {}
        }
    }

    /// Without filling, zeros at the end that no `0` asks for are left out.
    fn push_fraction(&self, body: &mut String, index: usize) {
        if self.overflow {
            body.push('#');
            return;
        }
        let forced = self.pattern.pieces.iter().skip_while(|piece| **piece != Piece::Point);
        let last_forced = forced
            .filter(|piece| matches!(piece, Piece::Digit { .. }))
            .collect::<Vec<_>>()
            .iter()
            .rposition(|piece| **piece == Piece::Digit { forced: true });
        let is_zero = self.fraction[index..].bytes().all(|digit| digit == b'0');
        if self.pattern.fill || !is_zero || last_forced.is_some_and(|last| index <= last) {
            body.push_str(&self.fraction[index..=index]);
        }
    }

    fn finish(&self, mut text: String) -> String {
        match (self.pattern.anchor, self.negative) {
            (Anchor::Trailing, negative) => text.push(if negative { '-' } else { '+' }),
            (Anchor::Brackets, true) => text.push('>'),
            (Anchor::Brackets, false) if self.pattern.fill => text.push(' '),
            _ => {}
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(number: &str, pattern: &str) -> String {
        let (negative, text) = number.strip_prefix('-').map_or((false, number), |text| (true, text));
        let scale = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let digits = text.replace('.', "").parse().expect("digits");
        let number = Decimal { negative, digits, scale: u32::try_from(scale).expect("short") };
        NumberPattern::new(pattern).expect("a pattern").format(&number)
    }

    /// The examples of Postgres' manual, and some more that were run there.
    #[test]
    fn postgres_examples_give_what_postgres_gives() {
        for (number, pattern, expected) in [
            ("-0.1", "99.99", "  -.10"),
            ("-0.1", "FM9.99", "-.1"),
            ("0.1", "0.9", " 0.1"),
            ("12", "9990999.9", "    0012.0"),
            ("12", "FM9990999.9", "0012."),
            ("485", "999", " 485"),
            ("-485", "999", "-485"),
            ("485", "9 9 9", " 4 8 5"),
            ("1485", "9,999", " 1,485"),
            ("148.5", "999.999", " 148.500"),
            ("148.5", "FM999.999", "148.5"),
            ("148.5", "FM999.990", "148.500"),
            ("3148.5", "9,999.999", " 3,148.500"),
            ("-485", "999S", "485-"),
            ("-485", "999MI", "485-"),
            ("485", "999MI", "485 "),
            ("485", "FM999MI", "485"),
            ("485", "SG999", "+485"),
            ("-485", "SG999", "-485"),
            ("-485", "9SG99", "4-85"),
            ("-485", "999PR", "<485>"),
            ("485", "RN", "        CDLXXXV"),
            ("5.2", "FMRN", "V"),
            ("482", "999th", " 482nd"),
            ("485", "\"Good number:\"999", "Good number: 485"),
            ("12", "999", "  12"),
            ("-12", "99999", "   -12"),
            ("12", "00000", " 00012"),
            ("0", "999", "   0"),
            ("0", "FM999", "0"),
            ("12345", "999", " ###"),
            ("1234567.891", "FM9,999,999.00", "1,234,567.89"),
            ("12.5", "FM$999,990.00", "$12.50"),
            ("0.005", "FM990.00", "0.01"),
            ("-0.001", "FM990.00", "0.00"),
            ("123", "S999", "+123"),
            ("12", "9,999", "    12"),
        ] {
            assert_eq!(format(number, pattern), expected, "to_char({number}, '{pattern}')");
        }
    }

    #[test]
    fn what_is_not_supported_is_said() {
        for pattern in ["9.99EEEE", "99V9", "L999", "9.9.9"] {
            assert!(NumberPattern::new(pattern).is_err(), "{pattern}");
        }
    }
}
