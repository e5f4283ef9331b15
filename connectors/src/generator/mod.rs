//! The connector `generator`: numbered rows, for tests, benchmarks and first steps.
//!
//! | option | meaning |
//! |---|---|
//! | `rows` | how many rows in all; without it they never end |
//! | `rows_per_second` | how many rows a second each subtask makes at most; without it as many as are asked for |
//! | `event_time_interval` | the nanoseconds between two rows' timestamps, or a number with `ms`, `s`, `m`, `h`; default `1ms` |
//! | `start` | the first timestamp in nanoseconds since 1970, default 0 |
//!
//! Columns are filled by name: `counter` (from 0), `timestamp` (`start + counter × event_time_interval`),
//! `subtask_index`. Subtask *i* of *n* makes the counters *i*, *i + n*, …: the rows are the same at any parallelism,
//! and on every run.

pub mod impact;
mod sequence;

pub(crate) use sequence::GeneratorConnector;
