//! Reads of local files inside asynchronous tasks.
//!
//! A read happens within one call of `poll` and never across an await point, so dropping the future loses nothing. It
//! never starts a thread or a task of its own and has no state.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs a call that may wait for a local disk. Other tasks of a multi-threaded runtime go on meanwhile; a
/// current-thread runtime has no other thread to go on with, and simply waits.
pub(crate) fn run<T>(call: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(call),
        _ => call(),
    }
}
