//! What is kept of a row that could not be used. Nothing is dropped in silence: bad, late, rejected and failed rows
//! all end in one stream of this shape, from which they can be read, exported and replayed.

use crate::{EventTime, Result};
use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::fmt;
use std::sync::{Arc, LazyLock};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a row is in the dead-letter stream. The codes are public: dashboards and tests read them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// All reasons.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the code.
            #[must_use]
            pub fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// Returns the reason with this code.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The bytes are not of the declared format.
    Undecodable = "undecodable",
    /// The piece is longer than the limit for one record.
    TooLong = "too_long",
    /// No contract has this event type.
    UnknownType = "unknown_type",
    /// The contract does not have this version.
    UnknownVersion = "unknown_version",
    /// A required field is missing or null.
    MissingField = "missing_field",
    /// A field has a value of another type or form than the contract says.
    MalformedField = "malformed_field",
    /// A field has a value outside the range, length or list that the contract allows.
    OutOfRange = "out_of_range",
    /// The row's window was closed.
    Late = "late",
    /// The row's event time is further ahead of the wall clock than `max_ahead`.
    Ahead = "ahead",
    /// An expression failed on this row.
    FailedExpression = "failed_expression",
    /// The lookup of the row's key failed, or found a value that does not fit the declared columns.
    FailedLookup = "failed_lookup",
    /// An asynchronous function failed on this row.
    FailedUdf = "failed_udf",
    /// The store refused the row.
    Rejected = "rejected",
    /// Import: the e-mail address is not one.
    ImportEmail = "E001",
    /// Import: a required cell is empty.
    ImportMissing = "E002",
    /// Import: a date is malformed or impossible.
    ImportDate = "E003",
    /// Import: a duration is malformed or out of range.
    ImportDuration = "E004",
    /// Import: the language level is not one of A1 to C2.
    ImportCefr = "E005",
    /// Import: the rating is malformed or outside the declared scale.
    ImportRating = "E006",
    /// Import: the session was completed before it was scheduled.
    ImportOrder = "E007",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// One row that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Why.
    pub reason: Reason,
    /// What exactly is wrong, for a person.
    pub message: String,
    /// The field at fault, as a path such as `data.rating`; empty when it is the whole row.
    pub path: String,
    /// The table or endpoint that the row came from.
    pub source: String,
    /// Where in the source it was, such as `sessions.csv:17`; together with `source` it names the row.
    pub position: String,
    /// The row as it was read, or as JSON where the bytes are not kept.
    pub payload: String,
}

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let mut fields: Vec<Field> = ["reason", "message", "path", "source", "position", "payload"].map(text).into();
    fields.push(Field::new("recorded_at", time, false));
    Arc::new(Schema::new(fields))
});

impl DeadLetter {
    /// Returns the schema of the dead-letter stream: `reason, message, path, source, position, payload` (text) and
    /// `recorded_at` (nanoseconds, UTC).
    #[must_use]
    pub fn schema() -> SchemaRef {
        SCHEMA.clone()
    }

    /// Lays dead letters out as rows of [`DeadLetter::schema`].
    ///
    /// # Errors
    /// `Internal`, never for well-formed letters.
    pub fn to_rows(letters: &[Self], recorded_at: EventTime) -> Result<RecordBatch> {
        let column =
            |get: fn(&Self) -> &str| Arc::new(StringArray::from_iter_values(letters.iter().map(get))) as ArrayRef;
        let columns = vec![
            column(|letter| letter.reason.code()),
            column(|letter| &letter.message),
            column(|letter| &letter.path),
            column(|letter| &letter.source),
            column(|letter| &letter.position),
            column(|letter| &letter.payload),
            Arc::new(TimestampNanosecondArray::from_value(recorded_at.0, letters.len())),
        ];
        Ok(RecordBatch::try_new(Self::schema(), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_name_reasons_both_ways() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        }
    }
}
