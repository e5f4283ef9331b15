//! Text to times. A text must be used up by its pattern; what the pattern does not say is the first of its kind, and
//! the year 1970. No state.

use super::format::name_at;
use super::pattern::{Field, Pattern, Piece};
use chrono::format::{Parsed, StrftimeItems};
use chrono::{Duration, NaiveDate, NaiveDateTime, NaiveTime};

/// The most digits of a number that has no width.
const DIGITS_MAX: usize = 9;
/// Two-digit years below this are of the 21st century.
const PIVOT: i64 = 70;

/// What was read so far.
#[derive(Default)]
struct Found {
    year: Option<i64>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    minute: Option<u32>,
    second: Option<u32>,
    second_of_day: Option<u32>,
    nanosecond: u32,
    afternoon: Option<bool>,
    before_christ: bool,
    offset_seconds: i64,
}

/// Reads a time in UTC; `None` where the text does not fit the pattern or is no time.
pub(crate) fn parse(pattern: &Pattern, text: &str) -> Option<NaiveDateTime> {
    match pattern {
        Pattern::Strftime(pattern) => parse_strftime(pattern, text.trim()),
        Pattern::Pieces(pieces) => {
            let mut found = Found::default();
            let mut rest = text.trim_start();
            for (index, piece) in pieces.iter().enumerate() {
                let adjacent = matches!(pieces.get(index + 1), Some(Piece::Number { .. }));
                rest = read(piece, adjacent, rest, &mut found)?;
            }
            rest.trim_end().is_empty().then(|| found.time()).flatten()
        }
    }
}

fn parse_strftime(pattern: &str, text: &str) -> Option<NaiveDateTime> {
    let mut parsed = Parsed::new();
    chrono::format::parse(&mut parsed, text, StrftimeItems::new(pattern)).ok()?;
    if let Ok(time) = parsed.to_datetime() {
        return Some(time.naive_utc());
    }
    if let Ok(time) = parsed.to_naive_datetime_with_offset(0) {
        return Some(time);
    }
    Some(parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN))
}

fn read<'a>(piece: &Piece, adjacent: bool, rest: &'a str, found: &mut Found) -> Option<&'a str> {
    match piece {
        Piece::Text(literal) => read_literal(literal, rest),
        Piece::Number { field, ordinal, .. } => {
            let rest = read_number(*field, adjacent, rest, found)?;
            match ordinal {
                Some(_) => rest.get(2..),
                None => Some(rest),
            }
        }
        Piece::MonthName { short, .. } => {
            let (month, length) = name_at(rest, true, *short)?;
            found.month = Some(month + 1);
            Some(&rest[length..])
        }
        Piece::DayName { short, .. } => {
            let (_, length) = name_at(rest, false, *short)?;
            Some(&rest[length..])
        }
        // Months in Roman numerals are written by reports, not by data.
        Piece::RomanMonth { .. } => None,
        Piece::HalfDay { dots, .. } => {
            let length = if *dots { 4 } else { 2 };
            found.afternoon = Some(rest.get(..1)?.eq_ignore_ascii_case("p"));
            rest.get(length..)
        }
        Piece::Era { dots, .. } => {
            let length = if *dots { 4 } else { 2 };
            found.before_christ = rest.get(..1)?.eq_ignore_ascii_case("b");
            rest.get(length..)
        }
        Piece::ZoneName => ["UTC", "GMT", "Z"].iter().find_map(|name| rest.strip_prefix(name)),
        Piece::Offset { minutes, .. } => read_offset(*minutes, rest, found),
    }
}

fn read_literal<'a>(literal: &str, rest: &'a str) -> Option<&'a str> {
    if literal.trim().is_empty() {
        let trimmed = rest.trim_start();
        // A blank stands for any number of them, but for one at least unless the text ends.
        return (trimmed.len() < rest.len() || rest.is_empty()).then_some(trimmed);
    }
    // Names are padded with blanks.
    rest.strip_prefix(literal).or_else(|| rest.trim_start().strip_prefix(literal))
}

fn read_offset<'a>(minutes: bool, rest: &'a str, found: &mut Found) -> Option<&'a str> {
    if let Some(rest) = rest.strip_prefix('Z') {
        return Some(rest);
    }
    let sign = match rest.get(..1)? {
        "+" => 1,
        "-" => -1,
        _ => return None,
    };
    let hours: i64 = rest.get(1..3)?.parse().ok()?;
    let mut rest = rest.get(3..)?;
    let mut seconds = hours * 3600;
    if minutes && !rest.is_empty() {
        let after = rest.strip_prefix(':').unwrap_or(rest);
        seconds += after.get(..2)?.parse::<i64>().ok()? * 60;
        rest = after.get(2..)?;
    }
    found.offset_seconds = sign * seconds;
    Some(rest)
}

/// The most digits that a number has where another number follows at once.
fn digits(field: Field) -> usize {
    match field {
        Field::Year | Field::IsoYear => 4,
        Field::DayOfYear => 3,
        Field::YearEnd(n) | Field::Fraction(n) => n as usize,
        Field::Quarter | Field::DayOfWeek | Field::IsoDayOfWeek | Field::WeekOfMonth => 1,
        Field::SecondOfDay => 5,
        Field::Julian => DIGITS_MAX,
        _ => 2,
    }
}

fn read_number<'a>(field: Field, adjacent: bool, rest: &'a str, found: &mut Found) -> Option<&'a str> {
    let rest = rest.trim_start_matches(' ');
    let is_open = matches!(field, Field::Year | Field::Fraction(_)) && !adjacent;
    let most = if is_open { DIGITS_MAX } else { digits(field) };
    let length = rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let text = rest.get(..length).filter(|text| !text.is_empty())?;
    let value: i64 = text.parse().ok()?;
    let small = u32::try_from(value).ok()?;
    match field {
        Field::Year | Field::IsoYear => found.year = Some(value),
        Field::YearEnd(2) => found.year = Some(if value < PIVOT { 2000 + value } else { 1900 + value }),
        Field::YearEnd(_) => found.year = Some(2000 + value),
        Field::Month => found.month = Some(small),
        Field::Day => found.day = Some(small),
        Field::DayOfYear => found.day_of_year = Some(small),
        Field::Hour12 => found.hour = (1..=12).contains(&small).then_some(small % 12),
        Field::Hour11 => found.hour = (small < 12).then_some(small),
        Field::Hour24 => found.hour = Some(small),
        Field::HourTo24 => found.hour = (1..=24).contains(&small).then_some(small % 24),
        Field::Minute => found.minute = Some(small),
        Field::Second => found.second = Some(small),
        Field::SecondOfDay => found.second_of_day = Some(small),
        Field::Fraction(_) => {
            found.nanosecond = small.checked_mul(10u32.pow(u32::try_from(DIGITS_MAX - length).ok()?))?;
        }
        // Weeks, quarters and days of the week say nothing that a date does not say.
        Field::Century
        | Field::Quarter
        | Field::WeekOfMonth
        | Field::WeekOfYear
        | Field::IsoWeek
        | Field::DayOfWeek
        | Field::IsoDayOfWeek
        | Field::Julian => {}
    }
    let is_lost = matches!(field, Field::Hour12 | Field::Hour11 | Field::HourTo24) && found.hour.is_none();
    (!is_lost).then(|| &rest[length..])
}

impl Found {
    fn time(self) -> Option<NaiveDateTime> {
        let year = self.year.unwrap_or(1970);
        let year = i32::try_from(if self.before_christ { 1 - year } else { year }).ok()?;
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(year, day)?,
            None => NaiveDate::from_ymd_opt(year, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let time = match self.second_of_day {
            Some(seconds) => NaiveTime::from_num_seconds_from_midnight_opt(seconds, self.nanosecond)?,
            None => {
                let hour = self.hour.unwrap_or(0) + if self.afternoon == Some(true) { 12 } else { 0 };
                let (minute, second) = (self.minute.unwrap_or(0), self.second.unwrap_or(0));
                NaiveTime::from_hms_nano_opt(hour, minute, second, self.nanosecond)?
            }
        };
        date.and_time(time).checked_sub_signed(Duration::seconds(self.offset_seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::super::format;
    use super::*;
    use proptest::prelude::*;

    fn read(pattern: &str, text: &str) -> String {
        let pattern = Pattern::either(pattern).expect("a pattern");
        parse(&pattern, text).map_or_else(|| "-".to_owned(), |time| format!("{time:?}"))
    }

    #[test]
    fn each_notation_is_read() {
        for (pattern, text, expected) in [
            ("YYYY-MM-DD HH24:MI:SS", "2026-03-07 14:05:09", "2026-03-07T14:05:09"),
            ("yyyy-MM-dd HH:mm:ss.SSS", "2026-03-07 14:05:09.5", "2026-03-07T14:05:09.500"),
            ("%d/%m/%Y %H:%M:%S", "07/03/2026 14:05:09", "2026-03-07T14:05:09"),
            ("%Y-%m-%d", "2026-03-07", "2026-03-07T00:00:00"),
            ("%Y-%m-%dT%H:%M:%S%z", "2026-03-07T14:05:09+0200", "2026-03-07T12:05:09"),
            ("YYYYMMDD", "20260307", "2026-03-07T00:00:00"),
            ("DD Mon YYYY", "07 mar 2026", "2026-03-07T00:00:00"),
            ("DD Month YYYY", "7 March     2026", "2026-03-07T00:00:00"),
            ("HH12:MI AM", "02:05 PM", "1970-01-01T14:05:00"),
            ("MM/DD/YY", "3/7/26", "2026-03-07T00:00:00"),
            ("YYYY-DDD", "2026-066", "2026-03-07T00:00:00"),
            ("yyyy-MM-dd'T'HH:mm:ssXXX", "2026-03-07T14:05:09-05:00", "2026-03-07T19:05:09"),
            ("YYYY-MM-DD", "2026-13-07", "-"),
            ("YYYY-MM-DD", "2026-02-30", "-"),
            ("YYYY-MM-DD", "2026-02-03x", "-"),
            ("YYYY-MM-DD", "", "-"),
            ("HH12:MI", "13:00", "-"),
            ("dd-Mon-yyyy", "07-Mar-2026", "2026-03-07T00:00:00"),
        ] {
            assert_eq!(read(pattern, text), expected, "{pattern} of '{text}'");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            seconds in -2_000_000_000i64..4_000_000_000,
            pattern in prop::sample::select(vec![
                "YYYY-MM-DD HH24:MI:SS", "YYYYMMDDHH24MISS", "DD.MM.YYYY HH12:MI:SS AM", "FMDD FMMonth YYYY SSSSS",
                "yyyy-MM-dd HH:mm:ss", "d MMM yyyy, h:mm:ss a", "yyyyMMdd'T'HHmmssX", "%Y-%m-%d %H:%M:%S",
                "Day DDth Mon YYYY HH24:MI:SS", "YYYY DDD SSSS",
            ]),
        ) {
            let time = chrono::DateTime::from_timestamp(seconds, 0).expect("in range").naive_utc();
            let compiled = Pattern::either(pattern).expect("a pattern");
            let text = format(&compiled, time);
            prop_assert_eq!(parse(&compiled, &text), Some(time), "{} by {}", text, pattern);
        }
    }
}
