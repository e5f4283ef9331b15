//! NATS: streams of JetStream read and written exactly once, and subjects of core NATS read at most once.
//!
//! | option | meaning |
//! |---|---|
//! | `servers` | `nats://host:port`, several with commas between them |
//! | `stream` | the stream |
//! | `subject` or `subjects` | source: which of its messages, with `*` and `>`; several with commas between them are partitions. Sink: the subject of each message, with `{column}` in it for the value of a column |
//! | `user` and `password`, `token`, `nkey`, `creds_file`, `creds` | who enters |
//! | `tls`, `tls_first`, `tls_ca`, `tls_cert`, `tls_key` | encryption |
//! | `start` | source: `earliest` (default), `latest`, a sequence, or a time |
//! | `mode` | source: `tail` (default) goes on; `bounded` reads what was there when it was opened |
//! | `gap` | source: `fail` (default) or `accept` messages that were dropped before they were read |
//! | `delivery` | source: `exactly_once` (default), or `at_most_once` for core NATS; then `queue` names a queue group |
//! | `format` | source: `json` (default), `csv`, `raw_string`, `raw_bytes`, `raw`, `debezium_json`; sink: `json`, `debezium_json` |
//! | `create_stream` | sink: `true` makes the stream where it is missing |
//! | `record_bytes_max`, `bad_data`, `json.…`, `csv.…` | as for files |
//!
//! See `docs/connectors/nats.md`.

mod connection;
mod core_source;
mod gap;
mod published;
mod reader;
mod rows;
mod secrets;
mod sink;
mod source;
mod spool;
mod subjects;

use headwater_core::{Connector, Result, SinkSpec, SourceSpec, TableDefinition};
use std::sync::Arc;

/// The connector.
#[derive(Debug)]
pub(crate) struct Nats;

impl Connector for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn metadata_keys(&self) -> &'static [&'static str] {
        &rows::METADATA_KEYS
    }

    fn source(&self, table: &TableDefinition) -> Result<Arc<dyn SourceSpec>> {
        match table.options.one_of("delivery", "exactly_once", &["exactly_once", "at_most_once"])? {
            "at_most_once" => Ok(Arc::new(core_source::CoreSpec::parse(table)?)),
            _ => Ok(Arc::new(source::JetStreamSpec::parse(table)?)),
        }
    }

    fn sink(&self, table: &TableDefinition) -> Result<Arc<dyn SinkSpec>> {
        Ok(Arc::new(sink::NatsSinkSpec::parse(table)?))
    }
}
