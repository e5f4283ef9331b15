//! What reality does to a fact on its way: it is written as a line, and some lines are repeated, delayed, corrected or
//! broken.
//!
//! All draws for a fact are made before anything is written, so that a generator that writes only one topic draws the
//! same as one that writes all. There is no state.

use super::chance::Chance;
use super::fact::{DAY, Fact, HOUR, MINUTE, iso};
use super::{ImpactOptions, LineKind};
use headwater_core::Reason;
use serde_json::{Map, Value, json};

/// The ways in which a row is broken.
const BROKEN: [Reason; 5] =
    [Reason::Undecodable, Reason::MissingField, Reason::OutOfRange, Reason::UnknownVersion, Reason::MalformedField];

/// What happens to one fact.
#[derive(Debug)]
pub(super) struct Fate {
    id: String,
    bad_id: String,
    correlation: Option<String>,
    recorded: i64,
    arrives: i64,
    late: bool,
    repeated: Option<i64>,
    corrected: Option<i64>,
    broken: Option<Reason>,
    /// A number that decides what a correction changes to.
    turn: i64,
}

impl Fate {
    /// Draws what happens to a fact.
    pub(super) fn draw(chance: &mut Chance, fact: &Fact, options: &ImpactOptions) -> Self {
        let (id, bad_id) = (chance.uuid(), chance.uuid());
        let recorded = fact.at + chance.between(1, 10 * MINUTE);
        let delay = chance.between(1, 30 * MINUTE);
        let (late, long_delay) = (chance.rate(options.late_rate), chance.between(2 * DAY, 45 * DAY));
        let arrives = recorded + if late { long_delay } else { delay };
        let (repeated, again) = (chance.rate(options.duplicate_rate), chance.between(MINUTE, 2 * DAY));
        let (corrected, after) = (chance.rate(options.correction_rate), chance.between(HOUR, 10 * DAY));
        let (broken, reason) = (chance.rate(options.bad_rate), chance.below(BROKEN.len()));
        let correlated = chance.percent(20);
        let correlation = chance.uuid();
        Self {
            id,
            bad_id,
            correlation: correlated.then_some(correlation),
            recorded,
            arrives,
            late,
            repeated: repeated.then_some(again),
            corrected: corrected.then_some(after),
            broken: broken.then(|| BROKEN[reason]),
            turn: chance.between(0, 11),
        }
    }

    /// Writes the lines of a fact: `emit` gets the arrival time, the kind and the bytes of each.
    pub(super) fn write(&self, fact: Fact, company: (&str, &str), mut emit: impl FnMut(i64, LineKind, Vec<u8>)) {
        let Fact { topic, mut data, .. } = fact;
        let envelope = |id: &str, at: i64, version: &str, data: &Value| {
            let mut metadata = Map::new();
            metadata.insert("id".into(), json!(id));
            metadata.insert("version".into(), json!(version));
            metadata.insert("timestamp".into(), json!(iso(at)));
            if let Some(correlation) = &self.correlation {
                metadata.insert("correlationId".into(), json!(correlation));
            }
            metadata.insert("metadata".into(), json!({"companyId": company.0, "companyName": company.1}));
            json!({"type": topic, "data": data, "metadata": metadata}).to_string().into_bytes()
        };
        let line = envelope(&self.id, self.recorded, "v1", &data);
        if let Some(again) = self.repeated {
            emit(self.arrives + again, LineKind::Duplicate, line.clone());
        }
        emit(self.arrives, if self.late { LineKind::Late } else { LineKind::Event }, line);
        if let Some(reason) = self.broken {
            let (reason, bytes) = self.broken_line(topic, reason, &data, envelope);
            emit(self.recorded + MINUTE, LineKind::Bad(reason), bytes);
        }
        if let Some(after) = self.corrected
            && correct(topic, &mut data, self.turn)
        {
            let line = envelope(&self.id, self.recorded + after, "v1", &data);
            emit(self.arrives.max(self.recorded + after) + MINUTE, LineKind::Correction, line);
        }
    }

    fn broken_line(
        &self,
        topic: &str,
        reason: Reason,
        data: &Value,
        envelope: impl Fn(&str, i64, &str, &Value) -> Vec<u8>,
    ) -> (Reason, Vec<u8>) {
        let mut data = data.clone();
        let mut reason = reason;
        let mut version = "v1";
        match reason {
            Reason::OutOfRange if exaggerate(topic, &mut data) => {}
            Reason::UnknownVersion => version = "v9",
            Reason::MalformedField => replace_first(&mut data, Some(json!({}))),
            Reason::Undecodable => {}
            _ => {
                reason = Reason::MissingField;
                replace_first(&mut data, None);
            }
        }
        let mut line = envelope(&self.bad_id, self.recorded, version, &data);
        if reason == Reason::Undecodable {
            line.truncate(line.len() * 2 / 3);
        }
        (reason, line)
    }
}

/// Replaces or removes the first field of the data, which every contract requires.
fn replace_first(data: &mut Value, with: Option<Value>) {
    let Some(fields) = data.as_object_mut() else { return };
    let Some(name) = fields.keys().next().cloned() else { return };
    match with {
        Some(value) => drop(fields.insert(name, value)),
        None => drop(fields.shift_remove(&name)),
    }
}

/// Puts one value outside what its contract allows; false when the contract has no limit that a line can break.
fn exaggerate(topic: &str, data: &mut Value) -> bool {
    let (field, value) = match topic {
        "buddy.feedback.submitted" | "kintell.rating.created" => ("rating", json!(1.75)),
        "buddy.checkin.completed" => ("mood", json!("ecstatic")),
        "buddy.match.ended" => ("duration", json!(0)),
        "kintell.session.completed" | "buddy.event.attended" | "buddy.skill_share.completed" => {
            ("durationMinutes", json!(-30))
        }
        "ingest.volunteer.logged" => ("hoursLogged", json!(-3)),
        "ingest.donation.made" => ("amount", json!(-10)),
        "upskilling.course.completed" => ("finalScore", json!(170)),
        "upskilling.progress.updated" => ("progressPercent", json!(130)),
        "orchestration.journey.milestone.reached" => ("milestone", json!("flew_to_the_moon")),
        _ => return false,
    };
    data[field] = value;
    true
}

/// Changes what a person would correct; false when nothing of this type is ever corrected.
fn correct(topic: &str, data: &mut Value, turn: i64) -> bool {
    match topic {
        "buddy.feedback.submitted" | "kintell.rating.created" => {
            let quarters =
                data["rating"].as_f64().map_or(0, |rating| if rating > 0.5 { turn % 2 } else { 3 + turn % 2 });
            data["rating"] = json!(super::activity::quarters_of(quarters));
        }
        "ingest.volunteer.logged" if turn < 4 => {
            let day = data["activityDate"].as_str().and_then(|text| text.parse::<chrono::DateTime<chrono::Utc>>().ok());
            let Some(day) = day else { return false };
            data["activityDate"] = json!(iso(day.timestamp() - (20 + turn) * DAY));
        }
        "ingest.volunteer.logged" => add(data, "hoursLogged", json!(super::activity::quarters_of(28 + turn))),
        "kintell.session.completed" => {
            let minutes = data["durationMinutes"].as_i64().unwrap_or(0);
            data["durationMinutes"] = json!(minutes + 5 + turn);
        }
        "buddy.checkin.completed" => {
            let other = if data["mood"] == "okay" { "good" } else { "okay" };
            data["mood"] = json!(other);
        }
        "ingest.donation.made" => {
            let amount = data["amount"].as_i64().unwrap_or(0) + 5 + turn;
            data["amount"] = json!(amount);
            data["amountUSD"] = json!(amount);
        }
        "ingest.placement.created" => add(data, "status", json!("terminated")),
        "ingest.directory.synced" => add(data, "department", json!("Programme office")),
        _ => return false,
    }
    true
}

fn add(data: &mut Value, field: &str, value: Value) {
    data[field] = value;
}
