//! State that outlives the process: manifests, parts, and where they are kept. See ADR 9.
//!
//! It never runs anything: the coordinator says when a checkpoint is taken and what belongs to it.

mod manifest;

pub use manifest::{FORMAT, Manifest, OperatorState, Part, SinkState, SourcePosition, SourceState, TableState};
