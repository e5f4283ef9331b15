//! The three notations of time patterns, read into one list of pieces. Never formats or parses a time. No state.

use chrono::format::{Item, StrftimeItems};

/// A compiled pattern.
#[derive(Debug, PartialEq)]
pub(crate) enum Pattern {
    /// Postgres' or Java's notation.
    Pieces(Vec<Piece>),
    /// strftime's notation, which chrono formats and parses itself.
    Strftime(String),
}

/// How letters of a name are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Upper,
    Title,
    Lower,
}

/// A number of a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// The year, of which the last digits are written.
    YearEnd(u32),
    Year,
    IsoYear,
    Century,
    Quarter,
    Month,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Day,
    DayOfYear,
    /// 1 is Sunday.
    DayOfWeek,
    /// 1 is Monday.
    IsoDayOfWeek,
    Julian,
    /// 1 to 12.
    Hour12,
    /// 0 to 11.
    Hour11,
    Hour24,
    /// 1 to 24.
    HourTo24,
    Minute,
    Second,
    SecondOfDay,
    /// The first digits of the fraction of the second.
    Fraction(u32),
}

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    /// A number with at least so many digits, and whether `st`, `nd`, `rd` or `th` follows it.
    Number {
        field: Field,
        width: usize,
        ordinal: Option<Case>,
    },
    /// The name of the month, padded to a width.
    MonthName {
        short: bool,
        case: Case,
        width: usize,
    },
    /// The name of the day of the week, padded to a width.
    DayName {
        short: bool,
        case: Case,
        width: usize,
    },
    RomanMonth {
        case: Case,
        width: usize,
    },
    /// Before or after noon.
    HalfDay {
        case: Case,
        dots: bool,
    },
    Era {
        case: Case,
        dots: bool,
    },
    /// `UTC`.
    ZoneName,
    /// `+00`, `+00:00` or `+0000`; `Z` is how Java writes the last two for UTC with the letter `X`.
    Offset {
        separator: &'static str,
        minutes: bool,
        z: bool,
    },
}

/// The widest names, to which Postgres pads.
const NAME_WIDTH: usize = 9;
/// What Postgres means by a word of a pattern; longer words come before those that they begin with.
const POSTGRES: &[(&str, Field, usize)] = &[
    ("SSSSS", Field::SecondOfDay, 0),
    ("SSSS", Field::SecondOfDay, 0),
    ("HH24", Field::Hour24, 2),
    ("HH12", Field::Hour12, 2),
    ("IYYY", Field::IsoYear, 4),
    ("YYYY", Field::Year, 4),
    ("IDDD", Field::DayOfYear, 3),
    ("DDD", Field::DayOfYear, 3),
    ("YYY", Field::YearEnd(3), 3),
    ("FF1", Field::Fraction(1), 1),
    ("FF2", Field::Fraction(2), 2),
    ("FF3", Field::Fraction(3), 3),
    ("FF4", Field::Fraction(4), 4),
    ("FF5", Field::Fraction(5), 5),
    ("FF6", Field::Fraction(6), 6),
    ("HH", Field::Hour12, 2),
    ("MI", Field::Minute, 2),
    ("SS", Field::Second, 2),
    ("MS", Field::Fraction(3), 3),
    ("US", Field::Fraction(6), 6),
    ("YY", Field::YearEnd(2), 2),
    ("MM", Field::Month, 2),
    ("DD", Field::Day, 2),
    ("ID", Field::IsoDayOfWeek, 1),
    ("IW", Field::IsoWeek, 2),
    ("WW", Field::WeekOfYear, 2),
    ("CC", Field::Century, 2),
    ("Y", Field::YearEnd(1), 1),
    ("D", Field::DayOfWeek, 1),
    ("W", Field::WeekOfMonth, 1),
    ("Q", Field::Quarter, 1),
    ("J", Field::Julian, 0),
];

impl Pattern {
    /// Reads a pattern of `to_char`: Postgres', or strftime's where it has a percent sign.
    pub(crate) fn postgres(text: &str) -> Result<Self, String> {
        if text.contains('%') { strftime(text) } else { Ok(Self::Pieces(postgres(text))) }
    }

    /// Reads a pattern of `date_format`: Java's, or strftime's where it has a percent sign.
    pub(crate) fn java(text: &str) -> Result<Self, String> {
        if text.contains('%') { strftime(text) } else { java(text).map(Self::Pieces) }
    }

    /// Reads a pattern of `to_timestamp`. Java's is told from Postgres' by its letters: `yyyy` or `dd` in lower case
    /// beside `MM` or `HH` in upper case, which is seldom written for Postgres, where case does not matter.
    pub(crate) fn either(text: &str) -> Result<Self, String> {
        let is_mixed = ["yy", "dd", "mm", "ss"].iter().any(|word| text.contains(word)) && text.contains(['M', 'H']);
        if text.contains('%') || !is_mixed {
            return Self::postgres(text);
        }
        match Self::java(text) {
            // Minutes and months in one pattern are told apart by case only in Java's.
            Err(error) if text.contains("MM") && text.contains("mm") => Err(error),
            Err(_) => Self::postgres(text),
            java => java,
        }
    }
}

fn strftime(text: &str) -> Result<Pattern, String> {
    if StrftimeItems::new(text).any(|item| item == Item::Error) {
        return Err(format!("'{text}' is not a pattern of strftime"));
    }
    Ok(Pattern::Strftime(text.to_owned()))
}

fn case_of(word: &str) -> Case {
    let mut letters = word.chars().filter(|c| c.is_alphabetic());
    match (letters.next().is_some_and(char::is_uppercase), letters.next().is_some_and(char::is_uppercase)) {
        (true, true) => Case::Upper,
        (true, false) => Case::Title,
        (false, _) => Case::Lower,
    }
}

/// Takes a word off the front of a text, whatever its case.
fn take<'a>(rest: &mut &'a str, word: &str) -> Option<&'a str> {
    let head = rest.get(..word.len()).filter(|head| head.eq_ignore_ascii_case(word))?;
    *rest = &rest[word.len()..];
    Some(head)
}

fn postgres(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let before = rest;
        let fill = take(&mut rest, "FM").is_some();
        let _ = take(&mut rest, "TM");
        match postgres_piece(&mut rest, fill) {
            Some(piece) => pieces.push(piece),
            None => {
                rest = before;
                literal(&mut rest, &mut pieces);
            }
        }
    }
    pieces
}

fn postgres_piece(rest: &mut &str, fill: bool) -> Option<Piece> {
    let width = if fill { 0 } else { NAME_WIDTH };
    if let Some(word) = take(rest, "MONTH") {
        return Some(Piece::MonthName { short: false, case: case_of(word), width });
    }
    if let Some(word) = take(rest, "MON") {
        return Some(Piece::MonthName { short: true, case: case_of(word), width: 0 });
    }
    if let Some(word) = take(rest, "DAY") {
        return Some(Piece::DayName { short: false, case: case_of(word), width });
    }
    if let Some(word) = take(rest, "DY") {
        return Some(Piece::DayName { short: true, case: case_of(word), width: 0 });
    }
    if let Some(word) = take(rest, "RM") {
        let case = if case_of(word) == Case::Upper { Case::Upper } else { Case::Lower };
        return Some(Piece::RomanMonth { case, width: if fill { 0 } else { 4 } });
    }
    for (words, dots) in [(["A.M.", "P.M."], true), (["AM", "PM"], false)] {
        if let Some(word) = words.iter().find_map(|word| take(rest, word)) {
            let case = if case_of(word) == Case::Lower { Case::Lower } else { Case::Upper };
            return Some(Piece::HalfDay { case, dots });
        }
    }
    for (words, dots) in [(["B.C.", "A.D."], true), (["BC", "AD"], false)] {
        if let Some(word) = words.iter().find_map(|word| take(rest, word)) {
            let case = if case_of(word) == Case::Lower { Case::Lower } else { Case::Upper };
            return Some(Piece::Era { case, dots });
        }
    }
    if take(rest, "TZH").is_some() {
        return Some(Piece::Offset { separator: "", minutes: false, z: false });
    }
    if take(rest, "TZM").is_some() {
        return Some(Piece::Text("00".to_owned()));
    }
    if take(rest, "TZ").is_some() {
        return Some(Piece::ZoneName);
    }
    if take(rest, "OF").is_some() {
        return Some(Piece::Offset { separator: "", minutes: false, z: false });
    }
    if take(rest, "Y,YYY").is_some() {
        return Some(Piece::Number { field: Field::Year, width: 4, ordinal: None });
    }
    let (_, field, width) = POSTGRES.iter().find(|(word, ..)| take(rest, word).is_some())?;
    let ordinal = take(rest, "TH").map(case_of);
    Some(Piece::Number { field: *field, width: if fill { 0 } else { *width }, ordinal })
}

/// Takes a quoted text, or one character that means itself.
fn literal(rest: &mut &str, pieces: &mut Vec<Piece>) {
    let mut text = String::new();
    let mut characters = rest.char_indices();
    let mut end = rest.len();
    if let Some((_, first)) = characters.next() {
        if first == '"' {
            let mut escaped = false;
            for (at, c) in characters {
                match c {
                    '\\' if !escaped => escaped = true,
                    '"' if !escaped => {
                        end = at + 1;
                        break;
                    }
                    _ => {
                        escaped = false;
                        text.push(c);
                    }
                }
            }
        } else {
            text.push(first);
            end = first.len_utf8();
        }
    }
    *rest = &rest[end..];
    push_text(pieces, &text);
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        _ if text.is_empty() => {}
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

fn java(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    while let Some(&letter) = characters.get(at) {
        if letter == '\'' {
            at += 1;
            let start = at;
            let mut quoted = String::new();
            loop {
                match (characters.get(at), characters.get(at + 1)) {
                    (Some('\''), Some('\'')) => {
                        quoted.push('\'');
                        at += 2;
                    }
                    (Some('\''), _) => break,
                    (Some(c), _) => {
                        quoted.push(*c);
                        at += 1;
                    }
                    (None, _) => return Err(format!("a quote is not closed in the pattern '{text}'")),
                }
            }
            push_text(&mut pieces, if at == start { "'" } else { &quoted });
            at += 1;
            continue;
        }
        if !letter.is_ascii_alphabetic() {
            push_text(&mut pieces, &letter.to_string());
            at += 1;
            continue;
        }
        let n = characters[at..].iter().take_while(|c| **c == letter).count();
        pieces.push(java_piece(letter, n).ok_or_else(|| {
            let run = letter.to_string().repeat(n);
            format!("'{run}' means nothing in the pattern '{text}'; put letters that mean themselves into quotes")
        })?);
        at += n;
    }
    Ok(pieces)
}

fn java_piece(letter: char, n: usize) -> Option<Piece> {
    let number = |field| Some(Piece::Number { field, width: n, ordinal: None });
    match letter {
        'y' | 'u' if n == 2 => number(Field::YearEnd(2)),
        'y' | 'u' => number(Field::Year),
        'Y' => number(Field::IsoYear),
        'Q' | 'q' if n <= 2 => number(Field::Quarter),
        'M' | 'L' if n <= 2 => number(Field::Month),
        'M' | 'L' if n <= 4 => Some(Piece::MonthName { short: n == 3, case: Case::Title, width: 0 }),
        'w' => number(Field::IsoWeek),
        'W' => number(Field::WeekOfMonth),
        'd' => number(Field::Day),
        'D' => number(Field::DayOfYear),
        'E' if n <= 4 => Some(Piece::DayName { short: n < 4, case: Case::Title, width: 0 }),
        'e' if n <= 2 => number(Field::IsoDayOfWeek),
        'H' => number(Field::Hour24),
        'h' => number(Field::Hour12),
        'K' => number(Field::Hour11),
        'k' => number(Field::HourTo24),
        'm' => number(Field::Minute),
        's' => number(Field::Second),
        'S' if n <= 9 => number(Field::Fraction(u32::try_from(n).ok()?)),
        'a' => Some(Piece::HalfDay { case: Case::Upper, dots: false }),
        'G' => Some(Piece::Era { case: Case::Upper, dots: false }),
        'z' | 'V' => Some(Piece::ZoneName),
        'Z' if n <= 3 => Some(Piece::Offset { separator: "", minutes: true, z: false }),
        'x' if n == 1 => Some(Piece::Offset { separator: "", minutes: false, z: false }),
        'X' | 'x' if n <= 3 => {
            Some(Piece::Offset { separator: if n == 3 { ":" } else { "" }, minutes: n > 1, z: letter == 'X' })
        }
        _ => None,
    }
}

/// Returns the ending of an ordinal number.
pub(crate) fn ordinal(number: i64, case: Case) -> &'static str {
    let lower = match (number.abs() % 100, number.abs() % 10) {
        (11..=13, _) => ["th", "TH"],
        (_, 1) => ["st", "ST"],
        (_, 2) => ["nd", "ND"],
        (_, 3) => ["rd", "RD"],
        _ => ["th", "TH"],
    };
    lower[usize::from(case == Case::Upper)]
}
