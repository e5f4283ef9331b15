//! What an import did, as numbers. Every row is in exactly one of `success`, `rejected` and `skipped`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What became of the rows of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Whether the file had been imported before; the numbers are those of that import.
    #[serde(default)]
    pub already_imported: bool,
    /// All rows behind the header.
    pub total: u64,
    /// Rows that became events.
    pub success: u64,
    /// Rows that were refused.
    pub rejected: u64,
    /// Rows without any text.
    pub skipped: u64,
    /// Of `success`, rows of which a part was refused; that part is among the codes as well.
    pub partial: u64,
    /// Events that were made.
    pub events: u64,
    /// Refused rows and parts by code.
    pub codes: BTreeMap<String, u64>,
    /// What the user should know, and of how many rows it is true.
    pub notes: BTreeMap<String, u64>,
    /// Columns that were not taken over.
    pub ignored_columns: Vec<String>,
}
