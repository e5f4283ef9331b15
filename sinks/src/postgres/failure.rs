//! What a failure of PostgreSQL means: whether to ask again, which rows are at fault, or what the user must change. No
//! message has a password: the client never prints one. Pure.

use headwater_core::{Error, ErrorKind};
use std::error::Error as StdError;
use tokio_postgres::error::{DbError, SqlState};

/// Turns a failure into an error of ours.
pub(super) fn failure(server: &str, error: &tokio_postgres::Error) -> Error {
    let Some(answer) = error.as_db_error() else { return unanswered(server, error) };
    let (kind, help) = meaning(answer.code());
    let made = Error::new(kind, format!("PostgreSQL at {server}: {}", told(answer)));
    match (help, answer.hint()) {
        (Some(help), _) => made.with_help(help),
        (None, Some(hint)) if kind != ErrorKind::Unavailable => made.with_help(hint),
        _ => made,
    }
}

/// Whether a failure is the fault of rows: a value, a constraint, a limit of size, or what a trigger raises.
pub(super) fn is_data(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|answer| {
        let code = answer.code().code();
        matches!(code.get(..2), Some("22" | "23" | "54")) || code == "P0001"
    })
}

/// The server's words for a failure, with the detail, which names the value or the key.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), told)
}

fn told(answer: &DbError) -> String {
    match answer.detail() {
        // The detail of a refused row is the row, which is the payload of its dead letter.
        Some(detail) if !detail.starts_with("Failing row contains") => format!("{} ({detail})", answer.message()),
        _ => answer.message().to_owned(),
    }
}

/// The server did not answer, or the way to it is not safe.
fn unanswered(server: &str, error: &tokio_postgres::Error) -> Error {
    let mut causes = String::new();
    let mut cause = error.source();
    let mut is_certificate = false;
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        is_certificate |= inner.is_some_and(|inner| {
            matches!(inner.downcast_ref::<rustls::Error>(), Some(rustls::Error::InvalidCertificate(_)))
        });
        causes.push_str(&format!(": {error}"));
        cause = error.source();
    }
    let message = format!("cannot reach PostgreSQL at {server}: {error}{causes}");
    if is_certificate {
        return Error::invalid(message).with_help(
            "name the certificate that signed the server's with sslrootcert = '…', and connect by its name",
        );
    }
    if causes.contains("server does not support TLS") {
        return Error::invalid(message).with_help("turn TLS on at the server, or write sslmode = 'disable'");
    }
    if causes.contains("password missing") {
        return Error::invalid(message).with_help("add the password to the url");
    }
    Error::unavailable(message)
}

/// Returns what an SQLSTATE asks for, and the way out.
fn meaning(code: &SqlState) -> (ErrorKind, Option<&'static str>) {
    let code = code.code();
    match (code.get(..2).unwrap_or_default(), code) {
        // Connection lost, transaction rolled back, out of resources, shutting down, a fault of the system, a lock
        // that somebody holds.
        ("08" | "40" | "53" | "57" | "58", _) | (_, "55P03") => (ErrorKind::Unavailable, None),
        // A value that a column cannot hold, a constraint.
        ("22" | "23" | "54", _) | (_, "P0001") => (ErrorKind::Data, None),
        ("28", _) => (ErrorKind::Invalid, Some("check user and password in the url, and pg_hba.conf of the server")),
        ("3D", _) => (ErrorKind::Invalid, Some("check the name of the database in the url, or create it")),
        (_, "3F000") => (ErrorKind::Invalid, Some("create the schema: CREATE SCHEMA …")),
        (_, "42501") => (
            ErrorKind::Invalid,
            Some("grant the user CREATE on the schema, and SELECT, INSERT, UPDATE and DELETE on the table"),
        ),
        ("42", _) => (ErrorKind::Invalid, Some("check the table's name and columns at the server")),
        (_, "25006") => (ErrorKind::Invalid, Some("this server is read-only: name the primary in the url")),
        _ => (ErrorKind::Invalid, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_to_do() {
        let cases = [
            ("57P01", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("55P03", ErrorKind::Unavailable),
            ("53100", ErrorKind::Unavailable),
            ("22P02", ErrorKind::Data),
            ("23514", ErrorKind::Data),
            ("42P01", ErrorKind::Invalid),
            ("42501", ErrorKind::Invalid),
            ("28P01", ErrorKind::Invalid),
        ];
        for (code, expected) in cases {
            assert_eq!(meaning(&SqlState::from_code(code)).0, expected, "{code}");
        }
    }
}
