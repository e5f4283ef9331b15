//! What the tests share: a log that remembers, an importer that echoes, a store with two companies, and requests.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use headwater_api::*;
use headwater_core::{Counter, Epoch, Error, EventTime, FixedClock, Result, StateSize};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::sync::Notify;
use tower::ServiceExt;

/// The first company.
pub(crate) const A: &str = "aaaaaaaa-0000-4000-8000-000000000001";
/// The second company.
pub(crate) const B: &str = "bbbbbbbb-0000-4000-8000-000000000002";
/// A key for the first company only.
pub(crate) const KEY_A: &str = "key-of-a-0123456789abcdef0123456789";
/// A key for all companies.
pub(crate) const KEY_ALL: &str = "key-of-all-0123456789abcdef01234567";
/// 2026-03-01T00:00:00Z.
pub(crate) const NOW: EventTime = EventTime(1_772_323_200_000_000_000);

#[derive(Default)]
pub(crate) struct Log {
    pub(crate) lines: Mutex<Vec<(String, Value)>>,
    pub(crate) full: Mutex<bool>,
    pub(crate) entered: Notify,
    pub(crate) hold: Mutex<Option<Arc<Notify>>>,
}

#[async_trait::async_trait]
impl EventLog for Log {
    async fn append(&self, topic: &str, lines: Vec<Bytes>) -> Result<()> {
        self.entered.notify_one();
        let hold = self.hold.lock().expect("whole").clone();
        if let Some(hold) = hold {
            hold.notified().await;
        }
        if *self.full.lock().expect("whole") {
            return Err(Error::unavailable("the disk is full"));
        }
        assert_ne!(topic, "kintell.session.scheduled", "this topic panics on purpose");
        let parsed = lines.iter().map(|line| {
            assert!(!line.contains(&b'\n'), "one line each");
            (topic.to_owned(), serde_json::from_slice(line).expect("what is appended is always JSON"))
        });
        self.lines.lock().expect("whole").extend(parsed);
        Ok(())
    }
}

struct Importer;

#[async_trait::async_trait]
impl Imports for Importer {
    fn kinds(&self) -> Vec<String> {
        vec!["kintell".into(), "buddy-feedback".into()]
    }

    async fn import(&self, request: ImportRequest) -> Result<ImportSummary> {
        if request.content.as_ref() == b"bad" {
            return Err(
                Error::invalid("there is no column 'session_id'").with_help("name the columns in a mapping file")
            );
        }
        let rows = u64::try_from(request.content.split(|byte| *byte == b'\n').count()).expect("small") - 1;
        let told = [request.kind, request.company.unwrap_or_default(), request.rating_scale.unwrap_or_default()];
        Ok(ImportSummary { rows, accepted: rows, file_hash: told.join("/"), ..ImportSummary::default() })
    }
}

struct Pipelines;

impl Status for Pipelines {
    fn pipelines(&self) -> Vec<PipelineStatus> {
        let counters = vec![("sqlite \"x\"".to_owned(), Counter::RowsOut, 7)];
        let states = vec![("aggregate".to_owned(), StateSize { rows: 2, bytes: 300 })];
        vec![PipelineStatus { name: "impact".into(), running: true, committed_epoch: Some(Epoch(3)), counters, states }]
    }

    fn ready(&self) -> Result<()> {
        Ok(())
    }
}

/// One interface and what is behind it.
pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) log: Arc<Log>,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) folder: TempDir,
    keys: bool,
    limits: Limits,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    /// Checks that it is a problem of this status and code, and returns it.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let body = self.json();
        assert_eq!(
            (&body["status"], body["type"].as_str()),
            (&json!(status), Some(format!("urn:headwater:problem:{code}").as_str()))
        );
        body
    }

    /// Checks that it is a success, and returns its items' field.
    #[track_caller]
    pub(crate) fn items(&self, field: &str) -> Vec<Value> {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()["items"].as_array().expect("items").iter().map(|item| item[field].clone()).collect()
    }
}

impl World {
    /// Makes an open interface with a filled store.
    pub(crate) fn new() -> Self {
        Self::with(false, true, Limits::default())
    }

    /// Makes an interface that needs keys.
    pub(crate) fn keyed() -> Self {
        Self::with(true, true, Limits::default())
    }

    pub(crate) fn with(keys: bool, store: bool, limits: Limits) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        if store {
            let store = Connection::open(folder.path().join("store.db")).expect("opens");
            store
                .execute_batch(include_str!("../../../pipelines/impact/migrations/0001_impact.sql"))
                .expect("migrates");
            store.execute_batch(include_str!("rows.sql")).expect("fills");
        }
        let (log, clock) = (Arc::new(Log::default()), Arc::new(FixedClock::new(NOW)));
        let mut world = Self { router: Router::new(), log, clock, folder, keys, limits };
        world.reopen();
        world
    }

    /// Starts the interface anew over the same files, as after a restart.
    pub(crate) fn reopen(&mut self) {
        let key = |name, secret, companies: &[&str]| {
            ApiKey::new(name, secret, companies.iter().copied()).expect("long enough, with companies")
        };
        let keys = match self.keys {
            true => vec![key("a", KEY_A, &[A]), key("all", KEY_ALL, &["*"])],
            false => Vec::new(),
        };
        self.router = Router::new();
        let state = ApiState::open(ApiParts {
            log: self.log.clone(),
            imports: Arc::new(Importer),
            status: Arc::new(Pipelines),
            clock: self.clock.clone(),
            event_types: EventType::from_contracts(),
            store_path: self.folder.path().join("store.db"),
            journal_path: self.folder.path().join("journal.db"),
            auth: Auth::new(keys),
            limits: self.limits.clone(),
        });
        self.router = router(state.expect("the journal opens"));
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("the router cannot fail");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn get_as(&self, key: &str, path: &str) -> Answer {
        self.send("GET", path, &[("x-api-key", key)], "").await
    }

    pub(crate) async fn ingest(&self, event_type: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("content-type", "application/json")];
        all.extend(headers);
        self.send("POST", &format!("/v1/ingest/{event_type}"), &all, body).await
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        self.log.lines.lock().expect("whole").iter().map(|(_, line)| line.clone()).collect()
    }
}
