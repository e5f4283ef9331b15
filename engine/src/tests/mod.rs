//! Tests of whole pipelines, on sources, operators and sinks in memory and on paused time.

mod asynchronous;
mod epochs;
mod event_times;
mod failures;
mod faulty;
pub(crate) mod fixtures;
mod pipelines;
mod restarts;
mod simulation;
