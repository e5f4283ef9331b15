//! The one place that joins packages: connectors and sinks into a registry, the planner behind the pipelines' trait,
//! the inbox, or the event bus, behind the traits of the API and the importers.

use crate::bus_log;
use async_trait::async_trait;
use bytes::Bytes;
use headwater_bus::Bus;
use headwater_connectors::inbox::Inbox;
use headwater_core::{DeadLetter, Graph, Registry, Result, SinkSpec, TableDefinition};
use headwater_sql::{Detail, Environment, PlanOptions, Planner, Prepared};
use std::path::PathBuf;
use std::sync::Arc;

/// Returns everything that can be read or written.
pub(crate) fn registry() -> Registry {
    let mut registry = Registry::default();
    for connector in headwater_connectors::connectors().into_iter().chain(headwater_sinks::connectors()) {
        registry.add(connector);
    }
    registry
}

/// The variables that options of tables may name; one that is no text cannot be named.
fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The planner with everything that it may name; relative paths are relative to `base`.
pub(crate) struct SqlPlanner {
    planner: Planner,
    base: PathBuf,
}

impl SqlPlanner {
    pub(crate) fn new(base: impl Into<PathBuf>) -> Self {
        Self { planner: Planner::new(registry()).with_environment(environment()), base: base.into() }
    }

    /// Makes a planner whose `screen` follows a policy file.
    pub(crate) fn with_policy(base: impl Into<PathBuf>, policy: &str) -> Result<Self> {
        let functions = headwater_operators::functions::with_policy(policy)?;
        let planner = Planner::with_functions(registry(), functions).with_environment(environment());
        Ok(Self { planner, base: base.into() })
    }

    fn options(&self, name: &str) -> PlanOptions {
        PlanOptions { pipeline: name.to_owned(), base: self.base.clone() }
    }

    pub(crate) fn explain(&self, name: &str, sql: &str, detail: Detail) -> Result<String> {
        self.planner.explain_as(sql, &self.options(name), detail)
    }

    pub(crate) fn prepare(&self, name: &str, sql: &str) -> Result<Prepared> {
        self.planner.prepare(sql, &self.options(name))
    }

    pub(crate) fn check(&self, name: &str, sql: &str) -> Result<()> {
        self.planner.check(sql, &self.options(name))
    }
}

impl headwater_pipelines::Planner for SqlPlanner {
    fn plan(&self, name: &str, sql: &str) -> Result<Graph> {
        self.planner.plan(sql, &self.options(name))
    }
}

/// What importers and the API append to: the inbox, or the event bus in its place.
#[derive(Clone)]
pub(crate) enum Log {
    Inbox(Arc<Inbox>),
    Bus(Bus),
}

impl headwater_importers::EventLog for Log {
    fn append(&mut self, topic: &str, lines: Vec<Vec<u8>>) -> Result<()> {
        match self {
            Self::Inbox(inbox) => {
                let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
                inbox.append(topic, &lines).map(|_| ())
            }
            Self::Bus(bus) => bus_log::publish_blocking(bus, topic, lines),
        }
    }
}

#[async_trait]
impl headwater_api::EventLog for Log {
    async fn append(&self, topic: &str, lines: Vec<Bytes>) -> Result<()> {
        let inbox = match self {
            Self::Inbox(inbox) => inbox.clone(),
            Self::Bus(bus) => return bus_log::publish(bus, topic, &lines).await,
        };
        let topic = topic.to_owned();
        crate::blocking(move || {
            let lines: Vec<&[u8]> = lines.iter().map(Bytes::as_ref).collect();
            inbox.append(&topic, &lines).map(|_| ())
        })
        .await
    }
}

/// Where the shipped pipelines keep dead letters: a table of the store, one row for each source, position and reason.
pub(crate) fn dead_letters(store: &std::path::Path) -> Result<Arc<dyn SinkSpec>> {
    let schema = DeadLetter::schema();
    let key = ["source", "position", "reason"].map(|name| schema.index_of(name));
    let primary_key = key.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
    let options = [("path", store.to_string_lossy().as_ref()), ("on_conflict", "ignore"), ("on_start", "replace")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let table = TableDefinition {
        name: "dead_letters".to_owned(),
        schema: Some(schema),
        primary_key,
        options: options.into_iter().collect(),
        base: PathBuf::new(),
    };
    registry().get("sqlite")?.sink(&table)
}
