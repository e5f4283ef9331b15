//! Runs a graph: channels, barrier alignment, the four task loops, epochs.
//!
//! [`start`] lays a [`Graph`](headwater_core::Graph) out as tasks, one per subtask of each node, connected by channels
//! that are bounded by rows. Four loops run them: `run_source`, `run_chain`, `run_async`, `run_sink`. A coordinator above
//! them opens what is to be opened, sends barriers into the sources, collects the reports of the sinks, and ends
//! everything when one task fails.
//!
//! What holds for every run:
//!
//! - **Epochs are consistent.** A barrier never splits a batch; every task passes it on only when all its inputs have
//!   delivered it; so all sinks, the dead-letter sink included, see exactly the same input in an epoch. At most one
//!   epoch is on its way, and no sink commits before all have prepared.
//! - **Nothing is lost or counted twice.** Each row that a source returned is sent on, kept as a dead letter, or
//!   swallowed by an operator that says so in its counts.
//! - **Nothing gets stuck.** A task sends a barrier to everybody before it sends rows of the next epoch, and every
//!   task reads every channel whose barrier it still waits for, so the oldest barrier always moves. A batch larger
//!   than its channel passes when the channel is empty.
//! - **Memory is bounded.** Between two tasks there are at most `channel_rows_max` rows, in each task one batch.
//! - **Time and chance come from outside.** Wall time only through `Clock`, pauses only through tokio's clock, chance
//!   only from a seed: on a current-thread runtime with paused time a run is repeatable.
//!
//! It knows no concrete operator or connector, and no SQL.

mod alignment;
mod channel;
mod checkpoints;
mod coordinator;
mod epochs;
mod event_time;
mod exchange;
mod fused;
mod handle;
mod identity;
mod inputs;
mod kept_answers;
mod kept_dead_letters;
mod layout;
mod opening;
mod options;
mod output;
mod partitions;
mod report;
mod requests;
mod restore;
mod retry;
mod run_async;
mod run_chain;
mod run_sink;
mod run_source;
mod snapshots;
mod start;
pub mod state;
mod task;
mod upkeep;
mod watermark_merge;

#[cfg(test)]
mod tests;

pub use alignment::Alignment;
pub use exchange::{KEY_GROUPS, key_group, subtask_of};
pub use handle::Handle;
pub use identity::{NodeIdentity, identities};
pub use options::{EngineOptions, FirstCommit, RetryPolicy, StateOptions};
pub use partitions::Partitions;
pub use report::{NodeKind, NodeReport, Outcome, Positions, RunReport, Totals};
pub use restore::Difference;
pub use start::{DEAD_LETTERS_NODE, difference, start};
pub use watermark_merge::WatermarkMerge;
