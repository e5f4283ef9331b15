//! Opaque cursors: base64url of the place after the last row of a page, and of what was asked.
//!
//! A cursor is only good for the same question: one that was made for other filters, or by hand, is refused. It holds
//! no secret: tenant rules are applied to every page anew.

use crate::problem::Problem;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::types::Value as Sql;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The longest cursor that is looked at; the longest that is made is far under it.
const LENGTH_MAX: usize = 8192;

/// Names a question, so that its cursors fit no other.
pub(crate) fn question(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..6])
}

/// Makes a cursor out of the key of the last row.
pub(crate) fn encode(question: &str, key: &[Sql]) -> String {
    let mut parts = vec![json!(question)];
    parts.extend(key.iter().map(|part| match part {
        Sql::Integer(number) => json!(number),
        Sql::Text(text) => json!(text),
        // Keys are integers and text; a real key would not survive the trip through JSON bit by bit.
        Sql::Null | Sql::Real(_) | Sql::Blob(_) => Value::Null,
    }));
    URL_SAFE_NO_PAD.encode(Value::Array(parts).to_string())
}

/// Reads a cursor back to the key of the last row.
pub(crate) fn decode(question: &str, cursor: &str, key_length: usize) -> Result<Vec<Sql>, Problem> {
    let malformed = || Problem::invalid("The cursor is malformed; take it from 'next_cursor' unchanged.");
    if cursor.len() > LENGTH_MAX {
        return Err(malformed());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| malformed())?;
    let parts: Vec<Value> = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
    let (made_for, key) = parts.split_first().ok_or_else(malformed)?;
    if made_for.as_str() != Some(question) {
        return Err(Problem::invalid(
            "The cursor belongs to another question: keep the path and the filters as they were.",
        ));
    }
    if key.len() != key_length {
        return Err(malformed());
    }
    key.iter()
        .map(|part| match part {
            Value::Number(number) => number.as_i64().map(Sql::Integer).ok_or_else(malformed),
            Value::String(text) => Ok(Sql::Text(text.clone())),
            _ => Err(malformed()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_brings_the_key_back_for_the_same_question_only() {
        let key = vec![Sql::Text("2026-01-01 'x'".into()), Sql::Integer(-7)];
        let asked = question(&["/v1/companies", "limit=2"]);
        let cursor = encode(&asked, &key);
        assert_eq!(decode(&asked, &cursor, 2).expect("same question"), key);
        assert!(decode(&question(&["/v1/companies", "limit=3"]), &cursor, 2).is_err());
        assert!(decode(&asked, &cursor, 1).is_err());
    }

    #[test]
    fn parts_of_a_question_do_not_run_together() {
        assert_ne!(question(&["ab", "c"]), question(&["a", "bc"]));
    }

    #[test]
    fn nothing_but_a_cursor_decodes() {
        let asked = question(&["x"]);
        for bad in ["", "e30", "W10", "not base64!", "bnVsbA", &"A".repeat(9000)] {
            assert!(decode(&asked, bad, 1).is_err(), "{bad}");
        }
    }
}
