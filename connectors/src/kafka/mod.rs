//! Kafka and everything that speaks its protocol (Redpanda): `connector = 'kafka'`. Docs: `docs/connectors/kafka.md`.
//!
//! The source assigns partitions itself, and the position in the checkpoint decides where it goes on; group offsets are
//! written for monitoring and never read back. The sink holds an epoch in a spool until its checkpoint is durable, and
//! then sends it in one transaction.

mod client;
mod sink;
mod source;
#[cfg(test)]
mod tests;

use headwater_core::{Connector, Result, SinkSpec, SourceSpec, TableDefinition};
use std::sync::Arc;

/// The connector.
#[derive(Debug)]
pub(crate) struct Kafka;

impl Connector for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn metadata_keys(&self) -> &'static [&'static str] {
        &source::METADATA_KEYS
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        Ok(Arc::new(source::KafkaSourceSpec::new(table)?))
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        Ok(Arc::new(sink::KafkaSinkSpec::new(table)?))
    }
}

/// How the key of a message is written and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyFormat {
    /// A JSON object of the key's columns.
    Json,
    /// The text of the one column.
    Raw,
}

impl KeyFormat {
    /// Reads the option `key_format`.
    fn parse(table: &TableDefinition, n_columns: usize) -> Result<Self> {
        match table.options.one_of("key_format", "json", &["json", "raw"])? {
            "raw" if n_columns != 1 => {
                let message = format!("the option key_format = 'raw' needs a key of one column, not {n_columns}");
                Err(headwater_core::Error::invalid(message).with_help("leave key_format out"))
            }
            "raw" => Ok(Self::Raw),
            _ => Ok(Self::Json),
        }
    }
}
