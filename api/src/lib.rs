//! The HTTP interface: ingest, imports, metrics, lineage, dead letters.
//!
//! It reads the reporting store, which the pipelines write, and hands what comes in to the [`EventLog`] and the
//! [`Imports`] that the binary provides. It never knows the engine, a connector or SQL of pipelines, and it changes
//! nothing but its own small journal (idempotency keys, replays). Everything is bounded by [`Limits`].
//!
//! ```no_run
//! # async fn example(parts: headwater_api::ApiParts) -> headwater_core::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await.expect("the port is free");
//! parts.auth.check_binding(&listener.local_addr().expect("it is bound"))?;
//! let router = headwater_api::router(headwater_api::ApiState::open(parts)?);
//! headwater_api::serve(listener, router, async { tokio::signal::ctrl_c().await.expect("signals work") }).await
//! # }
//! ```

mod auth;
mod companies;
mod cursor;
mod dead_letters;
mod event;
mod health;
mod idempotency;
mod imports;
mod ingest;
mod layers;
mod lineage;
mod listing;
mod openapi;
mod page;
mod parameters;
mod period;
mod problem;
mod provided;
mod routes;
mod serve;
mod state;
mod store;

pub use auth::{ApiKey, Auth, Companies};
pub use provided::{EventLog, EventType, ImportRequest, ImportSummary, Imports, PipelineStatus, Status};
pub use routes::router;
pub use serve::serve;
pub use state::{ApiParts, ApiState, Limits};
