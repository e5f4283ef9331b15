//! What is wrong with a record, and what becomes of it. Pure; payloads are cut at a limit.

use super::records::{Place, Rejected};
use headwater_core::{DeadLetter, Error, Options, Reason, Result};

/// The longest payload that a dead letter keeps.
const PAYLOAD_BYTES_MAX: usize = 16 << 10;

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The kind.
    pub(crate) reason: Reason,
    /// The field; empty for the whole record.
    pub(crate) path: String,
    /// For a person.
    pub(crate) message: String,
}

/// What becomes of records that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadData {
    /// They go to the dead-letter stream.
    DeadLetter,
    /// The first ends the pipeline.
    Fail,
    /// They are left out, and their number is logged.
    Drop,
}

impl BadData {
    /// Reads the option `bad_data`.
    pub(crate) fn parse(options: &Options) -> Result<Self> {
        Ok(match options.one_of("bad_data", "dead_letter", &["dead_letter", "fail", "drop"])? {
            "fail" => Self::Fail,
            "drop" => Self::Drop,
            _ => Self::DeadLetter,
        })
    }

    /// Applies the policy to the bad records of one batch.
    pub(crate) fn apply(self, letters: Vec<DeadLetter>) -> Result<Vec<DeadLetter>> {
        match self {
            Self::DeadLetter => Ok(letters),
            Self::Fail => match letters.first() {
                Some(letter) => Err(Error::data(format!("{}: {}", letter.position, letter.message))),
                None => Ok(letters),
            },
            Self::Drop => {
                if !letters.is_empty() {
                    tracing::warn!(n_records = letters.len(), first = %letters[0].position, "dropped bad records");
                }
                Ok(Vec::new())
            }
        }
    }
}

impl Fault {
    /// Makes the dead letter of a record of `file`, read by table `source`.
    pub(crate) fn letter(self, source: &str, file: &str, place: Place, record: &[u8]) -> DeadLetter {
        DeadLetter {
            reason: self.reason,
            message: format!("line {}: {}", place.line, self.message),
            path: self.path,
            source: source.to_owned(),
            position: format!("{file}:{}", place.offset),
            payload: payload(record, record.len() as u64),
        }
    }
}

impl Rejected {
    /// Makes the dead letter of bytes that are no record.
    pub(crate) fn letter(&self, source: &str, file: &str) -> DeadLetter {
        DeadLetter {
            reason: self.reason,
            message: format!("line {}: {}", self.place.line, self.message),
            path: String::new(),
            source: source.to_owned(),
            position: format!("{file}:{}", self.place.offset),
            payload: payload(&self.head, self.n_bytes),
        }
    }
}

/// Returns the start of a record as text, and says when it is not the whole of its `n_bytes` bytes.
pub(crate) fn payload(head: &[u8], n_bytes: u64) -> String {
    let shown = &head[..head.len().min(PAYLOAD_BYTES_MAX)];
    let mut text = String::from_utf8_lossy(shown).into_owned();
    if (shown.len() as u64) < n_bytes {
        text.push_str(&format!("… [cut: {n_bytes} bytes in all]"));
    }
    text
}
