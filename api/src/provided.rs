//! What the interface needs from outside, as object-safe traits that the binary wires: a durable log of events, the
//! importers, and the state of the pipelines.
//!
//! Nothing here knows an engine, a connector or SQL; the crate's tests provide their own.

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{Counter, Epoch, Result, StateSize};
use serde::Serialize;
use std::collections::BTreeMap;

/// A durable, append-only log of lines by topic.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// Appends lines, none of which contains a line feed, in their order, all or none. It returns when they are on
    /// disk and not before.
    ///
    /// # Errors
    /// `Unavailable` when the disk does not take them; nothing of them may be read later then.
    async fn append(&self, topic: &str, lines: Vec<Bytes>) -> Result<()>;
}

/// One event type that can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventType {
    /// The name, which is the topic as well: `buddy.feedback.submitted`.
    pub name: String,
    /// The data field that says when the fact happened.
    pub event_time: Option<String>,
}

impl EventType {
    /// Lists the event types of all contracts.
    #[must_use]
    pub fn from_contracts() -> Vec<Self> {
        let entry = |contract: &headwater_contracts::Contract| Self {
            name: contract.event_type().to_owned(),
            event_time: contract.json_schema()["x-event-time"].as_str().map(String::from),
        };
        headwater_contracts::catalog().iter().map(entry).collect()
    }
}

/// An uploaded file and what its importer must know about it.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// The importer: `kintell`, `buddy-feedback`, ….
    pub kind: String,
    /// The company that the rows belong to.
    pub company: Option<String>,
    /// The name of that company, for a company that is new.
    pub company_name: Option<String>,
    /// The declared scale of ratings: `1-5` or `0-1`.
    pub rating_scale: Option<String>,
    /// The name that the file had, for error messages and positions.
    pub file_name: Option<String>,
    /// The file.
    pub content: Bytes,
}

/// What became of an uploaded file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportSummary {
    /// Rows in the file, without the header.
    pub rows: u64,
    /// Rows that became events.
    pub accepted: u64,
    /// Rows that became dead letters.
    pub rejected: u64,
    /// Rows without any text.
    pub skipped: u64,
    /// Of the accepted rows, those of which a part was refused.
    pub partial: u64,
    /// Events appended to the log.
    pub events: u64,
    /// Refused rows and parts by reason code.
    pub codes: BTreeMap<String, u64>,
    /// What the sender should know, and of how many rows it is true.
    pub notes: BTreeMap<String, u64>,
    /// Columns that were not taken over.
    pub ignored_columns: Vec<String>,
    /// SHA-256 of the file, in hex.
    pub file_hash: String,
    /// Whether the same file had been imported before, so that nothing was done; the numbers are of that time.
    pub already_imported: bool,
    /// The rejected rows with their reasons, as CSV; empty when there are none.
    pub error_csv: String,
}

/// Runs importers.
#[async_trait]
pub trait Imports: Send + Sync {
    /// Lists the importers by name.
    fn kinds(&self) -> Vec<String>;

    /// Imports a file. It returns when all events are on disk.
    ///
    /// # Errors
    /// `Invalid` when the file is not what the importer reads, `Unavailable` when the disk does not take the events.
    async fn import(&self, request: ImportRequest) -> Result<ImportSummary>;
}

/// How one pipeline is doing.
#[derive(Debug, Clone, Default)]
pub struct PipelineStatus {
    /// The name.
    pub name: String,
    /// Whether its tasks run.
    pub running: bool,
    /// The last epoch that all of its sinks show.
    pub committed_epoch: Option<Epoch>,
    /// Counts by node: the node's name, what is counted, how many.
    pub counters: Vec<(String, Counter, u64)>,
    /// What nodes keep: the node's name, and how much. Nodes that keep nothing are left out.
    pub states: Vec<(String, StateSize)>,
}

/// Tells how the pipelines are doing.
pub trait Status: Send + Sync {
    /// Returns one entry for each pipeline.
    fn pipelines(&self) -> Vec<PipelineStatus>;

    /// Checks whether requests can be answered: migrations are done and every pipeline runs.
    ///
    /// # Errors
    /// `Unavailable` with what is missing.
    fn ready(&self) -> Result<()>;
}
