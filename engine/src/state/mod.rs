//! State that outlives the process: manifests, parts, and where they are kept. See ADR 9.
//!
//! It never runs anything: the coordinator says when a checkpoint is taken and what belongs to it. What computes is
//! synchronous ([`encode`], [`restore_table`]); what waits for the store is a method of [`StateStore`].

mod failure;
mod folder;
mod garbage;
mod inspect;
mod lock;
mod manifest;
mod manifest_file;
mod merge;
mod part;
mod place;
mod restore;
mod seen;
mod store;
mod stored;
mod tables;
mod transfer;

#[cfg(test)]
mod tests;

pub use garbage::Garbage;
pub use inspect::{Listed, Summary, Verified};
pub use lock::StateLock;
pub use manifest::{FORMAT, Manifest, OperatorState, Part, SinkState, SourcePosition, SourceState, TableState};
pub use merge::merge_parts;
pub use part::{EncodedPart, checksum, encode};
pub use restore::restore_table;
pub use store::{PartName, StateStore, check_savepoint_name};
pub use tables::worth_merging;
