//! What every handler shares: the provided parts, the stores and the limits. It is built once and then only read;
//! what changes is inside the stores.

use crate::auth::Auth;
use crate::idempotency::Journal;
use crate::layers::{self, RequestCounts};
use crate::provided::{EventLog, EventType, Imports, Status};
use crate::store::Store;
use headwater_core::{Clock, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The bounds of the interface.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest body of an ingest or replay request. Default 16 MiB: the ten thousand largest feedback events.
    pub ingest_bytes_max: usize,
    /// The largest single event. Default what the pipelines read, 1 MiB.
    pub event_bytes_max: usize,
    /// The most events in one request. Default 10,000, so that one request stays under a second.
    pub events_max: usize,
    /// The largest uploaded file. Default 64 MiB, about half a million rows.
    pub import_bytes_max: usize,
    /// How long a request may take. Default 30 s, imports included.
    pub request_timeout: Duration,
    /// How many requests are answered at once; more are refused at once. Default 256.
    pub requests_max: usize,
    /// How many connections read the reporting store. Default 4: SQLite reads are short.
    pub readers_max: usize,
    /// How long an idempotency key is remembered. Default 24 h, as published.
    pub idempotency_ttl: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ingest_bytes_max: 16 << 20,
            event_bytes_max: headwater_contracts::RECORD_BYTES_MAX,
            events_max: 10_000,
            import_bytes_max: 64 << 20,
            request_timeout: Duration::from_secs(30),
            requests_max: 256,
            readers_max: 4,
            idempotency_ttl: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What the binary hands over.
pub struct ApiParts {
    /// Where events go.
    pub log: Arc<dyn EventLog>,
    /// The importers.
    pub imports: Arc<dyn Imports>,
    /// The pipelines.
    pub status: Arc<dyn Status>,
    /// The wall time.
    pub clock: Arc<dyn Clock>,
    /// The event types that can be sent.
    pub event_types: Vec<EventType>,
    /// The reporting store, a SQLite file that the pipelines write; it need not exist yet.
    pub store_path: PathBuf,
    /// The interface's own SQLite file: idempotency keys and replays. It is made when it does not exist.
    pub journal_path: PathBuf,
    /// Who may call.
    pub auth: Auth,
    /// The bounds.
    pub limits: Limits,
}

/// The shared state of all handlers; cheap to clone.
#[derive(Clone)]
pub struct ApiState(Arc<Shared>);

/// What is behind [`ApiState`]; its fields are the crate's own.
pub struct Shared {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) imports: Arc<dyn Imports>,
    pub(crate) status: Arc<dyn Status>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) event_types: BTreeMap<String, EventType>,
    pub(crate) store: Store,
    pub(crate) journal: Journal,
    pub(crate) auth: Auth,
    pub(crate) limits: Limits,
    pub(crate) requests: RequestCounts,
    pub(crate) gate: Semaphore,
}

impl ApiState {
    /// Opens the interface's own file and prepares the rest. The reporting store is opened when it is first read.
    ///
    /// # Errors
    /// `Unavailable` or `Data` when the interface's own file cannot be opened.
    pub fn open(parts: ApiParts) -> Result<Self> {
        let journal = Journal::open(&parts.journal_path, parts.limits.idempotency_ttl)?;
        let event_types = parts.event_types.into_iter().map(|kind| (kind.name.clone(), kind)).collect();
        Ok(Self(Arc::new(Shared {
            log: parts.log,
            imports: parts.imports,
            status: parts.status,
            clock: parts.clock,
            event_types,
            store: Store::new(parts.store_path, parts.limits.readers_max),
            journal,
            auth: parts.auth,
            requests: RequestCounts::default(),
            gate: layers::gate(parts.limits.requests_max),
            limits: parts.limits,
        })))
    }
}

impl std::ops::Deref for ApiState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
