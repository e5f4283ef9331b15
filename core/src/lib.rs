//! Headwater's vocabulary and its contracts.
//!
//! Everything that two other packages must agree on is here, and nothing else: what flows ([`Batch`], [`Message`]),
//! what time is ([`EventTime`], [`Watermark`]), the four kinds of component ([`Source`], [`Operator`],
//! [`AsyncOperator`], [`Sink`]), how they are wired ([`Graph`]), what is kept of rows that could not be used ([`DeadLetter`]), which
//! subtask owns which key ([`KeyGroups`]), and how things fail ([`Error`]).
//!
//! It never knows an async runtime, a client library, the file system or the SQL planner.

mod async_operator;
mod batch;
mod clock;
mod counters;
mod dead_letter;
mod error;
mod graph;
mod key_groups;
mod lookup;
mod message;
mod operator;
mod options;
mod registry;
mod sink;
mod snapshot;
mod source;
mod time;

pub use async_operator::{Answer, AsyncOperator, AsyncOperatorSpec, AsyncSettings};
pub use batch::{Batch, consolidate};
pub use clock::{Clock, FixedClock, SystemClock};
pub use counters::{Counter, Counters};
pub use dead_letter::{DeadLetter, Reason};
pub use error::{Error, ErrorKind, Result, Span};
pub use graph::{Edge, Exchange, Graph, Node, NodeBody, NodeId, TaskContext};
pub use key_groups::{KEY_GROUPS, KeyEncoder, KeyGroups, key_group, subtask_of};
pub use lookup::{Found, Lookup, LookupColumns, LookupSpec};
pub use message::{Barrier, BarrierKind, Epoch, Message, Watermark};
pub use operator::{Operator, OperatorSpec, Output, StateSize};
pub use options::Options;
pub use registry::{Connector, Registry, TableDefinition};
pub use sink::{Changes, Prepared, Sink, SinkSpec};
pub use snapshot::{Guarantee, Route, Snapshot, StateTable};
pub use source::{EventTimeSpec, Polled, Position, Source, SourceBatch, SourceSpec, metadata_column, metadata_key};
pub use time::EventTime;
