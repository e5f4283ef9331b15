//! The systems Headwater reads from: files, the durable inbox, brokers, generators; and the stores in which it looks
//! rows up. Brokers are written here too.
//!
//! A source delivers rows and remembers where it is; it never keeps time, retries or decides when to read: the engine
//! does. The list of all connectors is [`connectors`].

mod blocking;
mod files;
mod fnv;
mod formats;
pub mod generator;
pub mod inbox;
mod kafka;
mod lookups;
mod nats;
mod nexmark;
mod postgres;
mod postgres_cdc;
mod redis;
mod sqlite;
mod webhook;

use headwater_core::Connector;
use std::sync::Arc;

/// Returns everything that this package can read, or read and write.
#[must_use]
pub fn connectors() -> Vec<Arc<dyn Connector>> {
    vec![
        Arc::new(files::SingleFile),
        Arc::new(files::Filesystem),
        Arc::new(files::Parquet),
        Arc::new(inbox::InboxConnector),
        Arc::new(kafka::Kafka),
        Arc::new(nats::Nats),
        Arc::new(postgres::Postgres),
        Arc::new(postgres_cdc::PostgresCdc),
        Arc::new(redis::Redis),
        Arc::new(sqlite::Sqlite),
        Arc::new(webhook::Webhook),
        Arc::new(generator::GeneratorConnector),
        Arc::new(generator::impact::ImpactConnector),
        Arc::new(nexmark::NexmarkConnector),
    ]
}
