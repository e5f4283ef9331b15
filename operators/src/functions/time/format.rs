//! Times to text. Never fails: every time has a text by every pattern. No state.

use super::pattern::{Case, Field, Pattern, Piece, ordinal};
use chrono::{Datelike, NaiveDateTime, Timelike};
use std::fmt::Write;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const ROMAN: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
/// The length of short names.
const SHORT: usize = 3;
/// What is added to days since the year 1 to count them as astronomers do.
const JULIAN_OFFSET: i64 = 1_721_425;

/// Writes a time in UTC.
pub(crate) fn format(pattern: &Pattern, time: NaiveDateTime) -> String {
    let mut text = String::new();
    match pattern {
        // A pattern was checked when it was compiled; a field that it cannot write, such as a zone, is left out.
        Pattern::Strftime(pattern) => {
            if write!(text, "{}", time.and_utc().format(pattern)).is_err() {
                text.clear();
            }
        }
        Pattern::Pieces(pieces) => pieces.iter().for_each(|piece| write_piece(piece, time, &mut text)),
    }
    text
}

fn write_piece(piece: &Piece, time: NaiveDateTime, text: &mut String) {
    match piece {
        Piece::Text(literal) => text.push_str(literal),
        Piece::Number { field, width, ordinal: ending } => {
            let number = number(*field, time);
            push_number(text, number, *width);
            if let Some(case) = ending {
                text.push_str(ordinal(number, *case));
            }
        }
        Piece::MonthName { short, case, width } => {
            push_name(text, MONTHS[time.month0() as usize], *short, *case, *width)
        }
        Piece::DayName { short, case, width } => {
            push_name(text, DAYS[time.weekday().num_days_from_monday() as usize], *short, *case, *width);
        }
        Piece::RomanMonth { case, width } => push_name(text, ROMAN[time.month0() as usize], false, *case, *width),
        Piece::HalfDay { case, dots } => {
            let name = if time.hour() < 12 { ["AM", "A.M."] } else { ["PM", "P.M."] };
            push_name(text, name[usize::from(*dots)], false, *case, 0);
        }
        Piece::Era { case, dots } => {
            let name = if time.year() > 0 { ["AD", "A.D."] } else { ["BC", "B.C."] };
            push_name(text, name[usize::from(*dots)], false, *case, 0);
        }
        Piece::ZoneName => text.push_str("UTC"),
        Piece::Offset { z: true, .. } => text.push('Z'),
        Piece::Offset { separator, minutes, z: false } => {
            text.push_str("+00");
            if *minutes {
                text.push_str(separator);
                text.push_str("00");
            }
        }
    }
}

fn push_number(text: &mut String, number: i64, width: usize) {
    if number < 0 {
        text.push('-');
    }
    let digits = number.unsigned_abs().to_string();
    text.extend(std::iter::repeat_n('0', width.saturating_sub(digits.len())));
    text.push_str(&digits);
}

fn push_name(text: &mut String, name: &str, short: bool, case: Case, width: usize) {
    let name = if short { &name[..SHORT] } else { name };
    let cased = match case {
        Case::Upper => name.to_uppercase(),
        Case::Lower => name.to_lowercase(),
        Case::Title => name.to_owned(),
    };
    text.push_str(&cased);
    text.extend(std::iter::repeat_n(' ', width.saturating_sub(cased.len())));
}

fn number(field: Field, time: NaiveDateTime) -> i64 {
    // Postgres has no year 0: it is the year 1 before Christ.
    let year = i64::from(if time.year() > 0 { time.year() } else { 1 - time.year() });
    let hour = i64::from(time.hour());
    match field {
        Field::YearEnd(digits) => year % 10i64.pow(digits),
        Field::Year => year,
        Field::IsoYear => i64::from(time.iso_week().year()),
        Field::Century => (year + 99) / 100,
        Field::Quarter => i64::from(time.month0() / 3 + 1),
        Field::Month => i64::from(time.month()),
        Field::WeekOfMonth => i64::from(time.day0() / 7 + 1),
        Field::WeekOfYear => i64::from(time.ordinal0() / 7 + 1),
        Field::IsoWeek => i64::from(time.iso_week().week()),
        Field::Day => i64::from(time.day()),
        Field::DayOfYear => i64::from(time.ordinal()),
        Field::DayOfWeek => i64::from(time.weekday().number_from_sunday()),
        Field::IsoDayOfWeek => i64::from(time.weekday().number_from_monday()),
        Field::Julian => i64::from(time.num_days_from_ce()) + JULIAN_OFFSET,
        Field::Hour12 => (hour + 11) % 12 + 1,
        Field::Hour11 => hour % 12,
        Field::Hour24 => hour,
        Field::HourTo24 => (hour + 23) % 24 + 1,
        Field::Minute => i64::from(time.minute()),
        Field::Second => i64::from(time.second()),
        Field::SecondOfDay => i64::from(time.num_seconds_from_midnight()),
        Field::Fraction(digits) => i64::from(time.nanosecond()) / 10i64.pow(9 - digits.min(9)),
    }
}

/// Returns the number, counted from 0, of the name that a text begins with, and how long it is.
pub(super) fn name_at(text: &str, is_month: bool, short: bool) -> Option<(u32, usize)> {
    let names: &[&str] = if is_month { &MONTHS } else { &DAYS };
    let length = |name: &str| if short { SHORT } else { name.len() };
    let fits =
        |name: &str| text.get(..length(name)).is_some_and(|head| head.eq_ignore_ascii_case(&name[..length(name)]));
    let found = names.iter().position(|name| fits(name))?;
    Some((u32::try_from(found).ok()?, length(names[found])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> NaiveDateTime {
        text.parse().expect("a time")
    }

    #[test]
    fn postgres_patterns_give_what_postgres_gives() {
        let at = time("2026-03-07T14:05:09.123456789");
        for (pattern, expected) in [
            ("YYYY-MM-DD HH24:MI:SS", "2026-03-07 14:05:09"),
            ("YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"", "2026-03-07T14:05:09.123Z"),
            ("yyyy/mm/dd hh12:mi am", "2026/03/07 02:05 pm"),
            ("Day, DD Month YYYY", "Saturday , 07 March     2026"),
            ("FMDay, FMDDth FMMonth YYYY", "Saturday, 7th March 2026"),
            ("DY MON Mon mon", "SAT MAR Mar mar"),
            ("Q CC WW IW W D ID DDD J", "1 21 10 10 1 7 6 066 2461107"),
            ("YY YYY Y IYYY", "26 026 6 2026"),
            ("US FF1 FF4 SSSS", "123456 1 1234 50709"),
            ("HH:MI P.M. RM|FMRM", "02:05 P.M. III |III"),
            ("TZ OF TZH:TZM AD", "UTC +00 +00:00 AD"),
            ("DDTH DDth", "07TH 07th"),
        ] {
            assert_eq!(format(&Pattern::postgres(pattern).expect("a pattern"), at), expected, "{pattern}");
        }
    }

    #[test]
    fn java_patterns_give_what_flink_gives() {
        let at = time("2026-03-07T00:05:09.120");
        for (pattern, expected) in [
            ("yyyy-MM-dd HH:mm:ss.SSS", "2026-03-07 00:05:09.120"),
            ("yy/M/d h:m a", "26/3/7 12:5 AM"),
            ("EEE, EEEE d MMM MMMM", "Sat, Saturday 7 Mar March"),
            ("yyyyMMdd'T'HHmm'Z' 'o''clock'", "20260307T0005Z o'clock"),
            ("k K D w e Q", "24 0 66 10 6 1"),
            ("XXX Z xxx", "Z +0000 +00:00"),
        ] {
            assert_eq!(format(&Pattern::java(pattern).expect("a pattern"), at), expected, "{pattern}");
        }
        let error = Pattern::java("yyyy-MM-ddTHH").unwrap_err();
        assert!(error.contains("'T' means nothing"), "{error}");
    }

    #[test]
    fn strftime_patterns_are_told_by_the_percent_sign() {
        let at = time("2026-03-07T14:05:09");
        assert_eq!(format(&Pattern::postgres("%Y-%m-%d").expect("a pattern"), at), "2026-03-07");
        assert_eq!(format(&Pattern::java("%d.%m.%y %Z").expect("a pattern"), at), "07.03.26 UTC");
        assert!(Pattern::postgres("%!").is_err());
    }
}
