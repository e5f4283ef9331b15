//! The streaming operators and the typed impact operators.
//!
//! One file per operator. Each has a spec, which the graph holds and prints, and an operator, which a subtask builds
//! from it. Operators are synchronous and pure: they never read a clock, touch a file or know a channel; the lookup
//! join and the asynchronous call alone wait, for answers of somebody whom they do not know. They build on
//! DataFusion's physical expressions and aggregate functions; there is no second expression library here.
//!
//! Rows on which an expression fails go to the dead-letter stream, one by one, and the rest of the batch goes on.

mod aggregate;
mod as_of_join;
mod async_call;
#[cfg(test)]
mod bounded;
mod changed_slots;
mod debezium;
mod decode_contract;
mod dedup;
mod event_time;
mod expand;
mod expression;
mod filter;
pub mod functions;
mod held_watermarks;
mod idle;
pub mod impact;
mod interval_join;
mod join;
mod lookup_join;
mod not_null;
#[cfg(test)]
mod oracle;
mod over;
mod partitioned;
mod passed;
mod project;
mod repeat;
#[cfg(test)]
mod restarts;
mod row_table;
mod session;
mod set_operation;
mod state_table;
mod temporal_filter;
mod temporal_join;
#[cfg(test)]
mod testing;
mod top_n;
mod touched;
mod union;
mod unnest;
mod upsert;
mod window_ends;
#[cfg(test)]
mod window_oracle;

pub use aggregate::{Aggregate, AggregateCall, Emit, Late, WindowColumn, Windowing};
pub use as_of_join::{AsOfJoin, AsOfJoinConfig, Near};
pub use async_call::{AsyncCall, AsyncFn, AsyncResult};
pub use debezium::Debezium;
pub use decode_contract::DecodeContract;
pub use dedup::Dedup;
pub use event_time::PhysicalEventTime;
pub use expand::{Expand, GroupingSet};
pub use expression::interval_words;
pub use filter::Filter;
pub use interval_join::{IntervalJoin, IntervalJoinConfig, TimeOf};
pub use join::{Join, JoinConfig, JoinKind};
pub use lookup_join::{FoundStep, LookupJoin, LookupJoinConfig, LookupKind};
pub use not_null::{Deletions, NotNull};
pub use over::{Over, OverConfig};
pub use partitioned::OrderBy;
pub use project::Project;
pub use session::{Session, SessionConfig};
pub use set_operation::{SetOperation, SetOperationKind};
pub use temporal_filter::{Compare, TemporalBound, TemporalFilter};
pub use temporal_join::{SameTime, TemporalJoin, TemporalJoinConfig};
pub use top_n::{TopN, TopNConfig};
pub use union::Union;
pub use unnest::{Unnest, UnnestColumns};
pub use upsert::Upsert;
