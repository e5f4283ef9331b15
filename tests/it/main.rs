//! The one integration binary (one link): what holds for the whole project rather than for one package.

mod analyze;
mod async_functions;
mod bus;
mod checkpoints;
mod debezium;
mod demo;
mod docs_sql;
mod faults;
mod impact_sql;
mod kafka;
mod kills;
mod lookups;
mod nats;
mod nexmark;
mod oracle;
mod random_sql;
mod readme;
mod serve;
mod servers;
mod sinks;
mod sources;
mod sql_files;
mod support;
mod tidy;
