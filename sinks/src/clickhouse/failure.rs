//! What a failure of ClickHouse means: whether to ask again, which rows are at fault, or what the user must change. No
//! message has a password. Pure.

use clickhouse::error::Error as ClickHouseError;
use headwater_core::{Error, ErrorKind};
use std::error::Error as StdError;

/// What the server answered, in parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: Option<u32>,
    pub(super) message: String,
}

/// Reads `Code: 60. DB::Exception: Unknown table… (UNKNOWN_TABLE)`.
pub(super) fn answer(text: &str) -> Answer {
    let code = text.find("Code: ").and_then(|at| {
        let digits = &text[at + 6..];
        digits[..digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len())].parse().ok()
    });
    // The words of an insertion are wrapped once more.
    let message = text.rsplit("DB::Exception: ").next().unwrap_or(text);
    let message = message.split(": (in file/uri").next().unwrap_or(message);
    let message = message.split(": While executing").next().unwrap_or(message);
    let message = message.split(". Stack trace").next().unwrap_or(message);
    Answer { code, message: without_numbers(message.trim()) }
}

/// Takes away the numbers that tables have beside their names: ` (7becae58-04e7-4095-927f-9eff85a60395)`.
fn without_numbers(text: &str) -> String {
    const LENGTH: usize = 36;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(" (") {
        let number = rest.get(at + 2..at + 2 + LENGTH).filter(|_| rest.as_bytes().get(at + 2 + LENGTH) == Some(&b')'));
        if number.is_some_and(|number| uuid::Uuid::try_parse(number).is_ok()) {
            out.push_str(&rest[..at]);
            rest = &rest[at + 3 + LENGTH..];
        } else {
            out.push_str(&rest[..at + 2]);
            rest = &rest[at + 2..];
        }
    }
    out.push_str(rest);
    out
}

/// Turns a failure into an error of ours.
pub(super) fn failure(server: &str, error: &ClickHouseError) -> Error {
    match error {
        ClickHouseError::BadResponse(text) => {
            let answer = answer(text);
            let (kind, help) = meaning(answer.code);
            let made = Error::new(kind, format!("ClickHouse at {server}: {}", answer.message));
            match help {
                Some(help) => made.with_help(help),
                None => made,
            }
        }
        ClickHouseError::Network(_) | ClickHouseError::TimedOut => {
            let mut causes = String::new();
            let mut cause = error.source();
            while let Some(error) = cause {
                causes = format!(": {error}");
                cause = error.source();
            }
            Error::unavailable(format!("cannot reach ClickHouse at {server}{causes}"))
        }
        other => Error::internal(format!("ClickHouse at {server}: {other}")),
    }
}

/// Whether a failure is the fault of rows, and the server's words.
pub(super) fn refused(error: &ClickHouseError) -> Option<String> {
    let ClickHouseError::BadResponse(text) = error else { return None };
    let answer = answer(text);
    (meaning(answer.code).0 == ErrorKind::Data).then_some(answer.message)
}

/// Returns what a code asks for, and the way out.
fn meaning(code: Option<u32>) -> (ErrorKind, Option<&'static str>) {
    match code {
        // A proxy, or a server that is starting.
        None => (ErrorKind::Unavailable, None),
        // Time-outs, too many queries, network, no keeper, memory, read-only replicas, disk, parts, replicas, aborted.
        Some(
            3 | 159 | 160 | 202 | 203 | 209 | 210 | 225 | 236 | 241 | 242 | 243 | 244 | 252 | 285 | 286 | 287 | 319
            | 335 | 394 | 410 | 425 | 439 | 473 | 574 | 999,
        ) => (ErrorKind::Unavailable, None),
        // Values that a column cannot hold, constraints, elements of enumerations, partitions.
        Some(
            6 | 26 | 27 | 38 | 41 | 43 | 53 | 69 | 70 | 72 | 117 | 131 | 190 | 291 | 321 | 349 | 376 | 407 | 469 | 676
            | 691,
        ) => (ErrorKind::Data, None),
        Some(516 | 192 | 193 | 194) => (ErrorKind::Invalid, Some("check user and password, as options or in the url")),
        Some(497) => (ErrorKind::Invalid, Some("grant the user SELECT, INSERT, CREATE TABLE and DROP TABLE")),
        Some(81) => (ErrorKind::Invalid, Some("check the option database, or create it: CREATE DATABASE …")),
        Some(_) => (ErrorKind::Invalid, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read() {
        let text = "Code: 349. DB::Exception: Code: 349. DB::Exception: Cannot convert NULL value to non-Nullable type: \
                    while converting column `v`: (in file/uri /tmp/x): While executing ArrowIPC. (CANNOT_INSERT)";
        let expected = "Cannot convert NULL value to non-Nullable type: while converting column `v`";
        assert_eq!(answer(text), Answer { code: Some(349), message: expected.to_owned() });
        let text = "table default.t (7becae58-04e7-4095-927f-9eff85a60395) is violated (VIOLATED)";
        assert_eq!(answer(text).message, "table default.t is violated (VIOLATED)");
        assert_eq!(answer("502 Bad Gateway"), Answer { code: None, message: "502 Bad Gateway".to_owned() });
    }

    #[test]
    fn codes_say_what_to_do() {
        let cases = [
            (None, ErrorKind::Unavailable),
            (Some(252), ErrorKind::Unavailable),
            (Some(469), ErrorKind::Data),
            (Some(516), ErrorKind::Invalid),
            (Some(60), ErrorKind::Invalid),
        ];
        for (code, expected) in cases {
            assert_eq!(meaning(code).0, expected, "{code:?}");
        }
    }
}
