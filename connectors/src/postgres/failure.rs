//! What a failure of PostgreSQL means: whether to ask again, which rows are at fault, or what the user must change.

use headwater_core::{Error, ErrorKind};
use std::error::Error as _;

/// Turns a failure into an error of ours. No message has a password: the client never prints one.
pub(crate) fn failure(server: &str, error: &tokio_postgres::Error) -> Error {
    let Some(answer) = error.as_db_error() else { return unanswered(server, error) };
    Error::new(kind(answer.code().code()), format!("PostgreSQL at {server}: {}", answer.message()))
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

/// Returns what an SQLSTATE asks for.
fn kind(code: &str) -> ErrorKind {
    match code.get(..2).unwrap_or_default() {
        // Connection lost, transaction rolled back, out of resources, shutting down, a fault of the system.
        "08" | "40" | "53" | "57" | "58" => ErrorKind::Unavailable,
        // A value that the type of the column cannot hold.
        "22" => ErrorKind::Data,
        // A table or column that is not there.
        "42" | "3F" => ErrorKind::Conflict,
        _ => ErrorKind::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_to_do() {
        let cases = [
            ("57P01", ErrorKind::Unavailable),
            ("22P02", ErrorKind::Data),
            ("42P01", ErrorKind::Conflict),
            ("28P01", ErrorKind::Invalid),
        ];
        for (code, expected) in cases {
            assert_eq!(kind(code), expected, "{code}");
        }
    }
}
