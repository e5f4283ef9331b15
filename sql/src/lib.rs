//! SQL text to a graph, on DataFusion's parser, planner, optimizer and expressions.
//!
//! A text is read statement by statement ([`parser`]), each query becomes a logical plan ([`query`]), the plans are
//! ordered and optimized together ([`share`]) and become nodes ([`lower`]). What a stream cannot answer is refused with
//! a place in the text and a way out. This is the only package that knows DataFusion's planner; it never knows the
//! engine, a concrete connector, or an async runtime.

mod as_of;
mod async_udf;
mod builder;
mod calls;
mod catalog;
mod columns;
mod create_table;
mod declared;
mod dialect;
mod environment;
mod errors;
mod explain;
mod functions;
mod grouping_sets;
mod independent;
mod json;
mod lookup_table;
mod lower;
mod memory;
mod near;
mod now;
mod optimize;
mod parser;
mod planner;
mod position;
mod query;
mod refuse;
mod repeated;
mod set_operations;
mod settings;
mod share;
mod spelling;
mod sql_functions;
mod subqueries;
mod table;
mod table_functions;
#[cfg(test)]
mod tests;
mod types;
mod udf;
mod unnest;
mod version_join;
mod versions;
mod windows;

pub use async_udf::AsyncFunction;
/// The DataFusion that functions are written against.
pub use datafusion;

pub use builder::{
    Aggregated, Classified, Delivered, Normalized, Pipeline, Screened, Stream, Table, Window, Windowed, calendar_month,
    calendar_quarter, calendar_year, tumbling,
};
pub use environment::Environment;
pub use explain::Detail;
pub use planner::{PlanOptions, Planner, Prepared};
pub use udf::{AggregateFunction, Argument, FunctionRegistry, Output, ScalarFunction, SqlValue};
