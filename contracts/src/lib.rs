//! Event contracts: what each of the 34 event types promises, as JSON Schema files that are compiled to Arrow schemas,
//! to a decoder that validates, and to documents. It never reads a file or a stream itself: callers bring bytes. The
//! only state is the catalogue, which is compiled once and never changes.

mod canonical;
mod cell;
mod check;
mod column;
mod contract;
mod decode;
mod documents;
mod events;
mod rules;
mod shape;
mod wire;

pub use canonical::{CanonicalPair, canonical, canonical_pairs};
pub use check::{CheckReport, LETTERS_KEPT_MAX, check_line, check_reader};
pub use contract::{Contract, catalog, contract_of, envelope_schema, find, nearest};
pub use decode::Decoded;
pub use documents::{asyncapi, event_catalogue_markdown};
pub use events::*;
pub use rules::{is_email, time_text};
pub use shape::{FieldShape, Form, Kind, Range, TextRule};
pub use wire::{Metadata, PAYLOAD_BYTES_MAX, RECORD_BYTES_MAX, event_line, payload_text, rejected_line};
