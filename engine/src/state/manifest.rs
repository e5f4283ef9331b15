//! What a checkpoint consists of, as it is stored. This is a public format: see ADR 9. Fields are added, never changed.

use headwater_core::{Epoch, EventTime, Position, Prepared, Route};
use serde::{Deserialize, Serialize};

/// The number of the format that this program writes.
pub const FORMAT: u32 = 1;

/// All that is needed to go on from the end of one epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// The name of the pipeline.
    pub pipeline: String,
    /// The epoch at whose end it was taken.
    pub epoch: Epoch,
    /// The name of a savepoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub savepoint: Option<String>,
    /// The wall time of the epoch; the next one is not earlier.
    pub time: EventTime,
    /// The parallelism that was asked for.
    pub parallelism: usize,
    /// The text that the pipeline was made from.
    #[serde(default)]
    pub definition: String,
    /// Where each source stood.
    pub sources: Vec<SourceState>,
    /// What each operator kept; those that keep nothing are left out.
    pub operators: Vec<OperatorState>,
    /// What each sink had prepared.
    pub sinks: Vec<SinkState>,
}

/// Where a source stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceState {
    /// The name of its node, for people.
    pub node: String,
    /// What it reads.
    pub identity: String,
    /// What each subtask had read.
    pub subtasks: Vec<SourcePosition>,
}

/// Where a subtask of a source stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourcePosition {
    /// What it had read.
    pub position: Position,
    /// The watermark that it had sent; none without event time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<EventTime>,
}

/// What an operator kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorState {
    /// What it computes, as a hash.
    pub identity: String,
    /// The name of its node, for people.
    pub node: String,
    /// What it computes, in words.
    pub description: String,
    /// Its tables.
    pub tables: Vec<TableState>,
}

/// One table of an operator's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableState {
    /// Its name.
    pub name: String,
    /// The columns of its key.
    pub key: Vec<usize>,
    /// Which subtask gets which row.
    pub route: Route,
    /// Its parts, oldest first: a later one replaces rows of an earlier one by key.
    pub parts: Vec<Part>,
}

/// A file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its name below `parts/`.
    pub file: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// How many rows it has, removed keys not counted.
    pub rows: u64,
    /// How many keys it removes.
    pub removed: u64,
    /// XXH3 of the whole file, 64 bits, in hexadecimal.
    pub checksum: String,
    /// The subtask that wrote it and how many there were; of tables for everyone only the last of each counts.
    pub subtask: (usize, usize),
}

/// What a sink had prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SinkState {
    /// The name of its node, for people.
    pub node: String,
    /// What it writes to.
    pub identity: String,
    /// The token of each subtask.
    pub subtasks: Vec<Prepared>,
}
