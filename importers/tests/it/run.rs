//! Runs an import against a log and a ledger in memory. It holds what one test imported.

use headwater_contracts::{check_line, find};
use headwater_core::{Error, EventTime, Result};
use headwater_importers::{
    EventLog, Import, ImportContext, ImportKey, ImportLedger, ImportRecord, Kind, Mapping, RatingScale, Summary,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Cursor;
use uuid::Uuid;

/// 2026-01-01T00:00:00Z.
pub(crate) const NOW: EventTime = EventTime(1_767_225_600 * EventTime::SECOND);
pub(crate) const NAMESPACE: Uuid = Uuid::from_u128(0x1234_5678_0000_4000_8000_0000_0000_0001);
pub(crate) const COMPANY: Uuid = Uuid::from_u128(0xaaaa_0000_0000_4000_8000_0000_0000_0001);

/// Keeps lines in memory and fails when it is told to.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) topics: BTreeMap<String, Vec<Vec<u8>>>,
    pub(crate) appends_left: Option<usize>,
}

impl EventLog for Log {
    fn append(&mut self, topic: &str, lines: Vec<Vec<u8>>) -> Result<()> {
        if let Some(left) = &mut self.appends_left {
            *left = left.checked_sub(1).ok_or_else(|| Error::unavailable("the disk is full"))?;
        }
        self.topics.entry(topic.to_owned()).or_default().extend(lines);
        Ok(())
    }
}

impl Log {
    /// Returns the events of a topic, without refused rows.
    pub(crate) fn events(&self, topic: &str) -> Vec<Value> {
        let lines = self.topics.get(topic).into_iter().flatten();
        let values = lines.map(|line| serde_json::from_slice::<Value>(line).expect("a line is JSON"));
        values.filter(|value| value.get("rejected").is_none()).collect()
    }

    /// Returns the refused rows of all topics.
    pub(crate) fn refused(&self) -> Vec<Value> {
        let lines = self.topics.values().flatten();
        let values = lines.map(|line| serde_json::from_slice::<Value>(line).expect("a line is JSON"));
        values.filter_map(|value| value.get("rejected").cloned()).collect()
    }

    /// Checks that every event fulfils its contract and lies in its topic, and returns how many there are.
    pub(crate) fn check(&self) -> u64 {
        let mut n_events = 0;
        for (topic, lines) in &self.topics {
            let letters = find(topic).expect("a topic is a contract").check_lines(lines, topic).expect("lines decode");
            for (index, _) in &letters {
                let line: Value = serde_json::from_slice(&lines[*index]).expect("a line is JSON");
                assert!(line.get("rejected").is_some(), "an event that breaks its contract: {line}");
            }
            n_events += (lines.len() - letters.len()) as u64;
        }
        for line in self.topics.values().flatten().filter(|line| !line.starts_with(b"{\"rejected\"")) {
            check_line(line, "log", "0").expect("the type of a line picks its contract");
        }
        n_events
    }
}

/// Keeps records in memory.
#[derive(Default)]
pub(crate) struct Ledger(pub(crate) Vec<ImportRecord>);

impl ImportLedger for Ledger {
    fn find(&self, key: &ImportKey) -> Result<Option<ImportRecord>> {
        Ok(self.0.iter().rev().find(|record| record.key == *key).cloned())
    }

    fn save(&mut self, record: &ImportRecord) -> Result<()> {
        self.0.push(record.clone());
        Ok(())
    }
}

pub(crate) fn context(file_name: &str) -> ImportContext {
    ImportContext {
        file_name: file_name.to_owned(),
        company_id: COMPANY,
        company_name: Some("Fjord AS".to_owned()),
        namespace: NAMESPACE,
        now: NOW,
        rating_scale: None,
        start_row: 0,
    }
}

/// What an import left behind.
pub(crate) struct Done {
    pub(crate) summary: Summary,
    pub(crate) log: Log,
    pub(crate) errors: String,
}

pub(crate) fn try_import(kind: Kind, text: &[u8], scale: Option<RatingScale>) -> Result<Done> {
    let context = ImportContext { rating_scale: scale, ..context("file.csv") };
    let mapping = Mapping::embedded(kind)?;
    let (mut log, mut ledger, mut errors) = (Log::default(), Ledger::default(), Vec::new());
    let (log_used, ledger_used) = (&mut log, &mut ledger);
    let import = Import {
        kind,
        mapping: &mapping,
        context: &context,
        log: log_used,
        ledger: ledger_used,
        errors: Some(&mut errors),
    };
    let summary = import.run(Cursor::new(text))?;
    assert_eq!(summary.total, summary.success + summary.rejected + summary.skipped);
    assert_eq!(summary.codes.values().sum::<u64>(), summary.rejected + summary.partial);
    assert_eq!(log.check(), summary.events);
    assert_eq!(log.refused().len() as u64, summary.rejected + summary.partial);
    Ok(Done { summary, log, errors: String::from_utf8_lossy(&errors).into_owned() })
}

/// Imports a text that can be imported.
pub(crate) fn import(kind: Kind, text: &str) -> Done {
    try_import(kind, text.as_bytes(), None).expect("the file can be imported")
}

/// Returns the only refusal of an import: code, field and row.
pub(crate) fn only_refusal(kind: Kind, text: &str) -> (String, String) {
    let refused = import(kind, text).log.refused();
    assert_eq!(refused.len(), 1, "{refused:?}");
    let text = |name: &str| refused[0][name].as_str().expect("a text").to_owned();
    (text("reason"), text("path"))
}
