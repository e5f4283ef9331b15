//! The systems Headwater reads from: files, the durable inbox, generators.
//!
//! A source delivers rows and remembers where it is; it never keeps time, retries or decides when to read: the engine
//! does. The list of all connectors is [`connectors`].

mod blocking;
mod files;
mod formats;
pub mod generator;
pub mod inbox;
mod nexmark;

use headwater_core::Connector;
use std::sync::Arc;

/// Returns everything that this package can read.
#[must_use]
pub fn connectors() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(files::SingleFile),
        Arc::new(files::Filesystem),
        Arc::new(files::Parquet),
        Arc::new(inbox::InboxConnector),
        Arc::new(generator::GeneratorConnector),
        Arc::new(generator::impact::ImpactConnector),
        Arc::new(nexmark::NexmarkConnector),
    ]
}
