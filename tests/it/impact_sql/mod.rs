//! The shipped impact pipeline as plain batch SQL, against numbers recomputed from the generated lines in plain Rust:
//! no SQL, no shared code. Key and NOT NULL violations of any table fail the run itself.

pub(crate) mod batch;

use batch::Run;
use headwater_connectors::generator::impact::{ImpactOptions, TOPICS};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const SESSIONS: &str = "kintell.session.completed";
const LOGGED: &str = "ingest.volunteer.logged";

/// Events of a topic whose `time` field begins with `period` (`2025`, `2025-03`), by company.
fn by_company(run: &Run, topic: &str, time: &str, period: &str) -> BTreeMap<String, Vec<(String, Value)>> {
    let mut found: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for (id, event) in run.events(topic) {
        if text(&event["data"][time]).starts_with(period) {
            let company = text(&event["metadata"]["metadata"]["companyId"]).to_owned();
            found.entry(company).or_default().push((id, event["data"].clone()));
        }
    }
    found
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

/// Volunteer minutes in ten-thousandths, exact: logged hours are quarters.
fn minutes(run: &Run, period: &str) -> BTreeMap<String, i64> {
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for (company, events) in by_company(run, SESSIONS, "completedAt", period) {
        *sums.entry(company).or_default() +=
            events.iter().filter_map(|(_, data)| data["durationMinutes"].as_i64()).sum::<i64>();
    }
    for (company, events) in by_company(run, LOGGED, "activityDate", period) {
        let quarters =
            events.iter().filter_map(|(_, data)| data["hoursLogged"].as_f64()).map(|hours| (hours * 4.0) as i64);
        *sums.entry(company).or_default() += quarters.sum::<i64>() * 15;
    }
    sums
}

async fn year() -> Run {
    batch::run(ImpactOptions { companies: 2, months: 12, ..ImpactOptions::default() }).await
}

#[tokio::test]
async fn rows_in_are_rows_out_and_dead_letters_and_duplicates() {
    let run = batch::run(ImpactOptions { companies: 1, months: 6, bad_rate: 0.05, ..ImpactOptions::default() }).await;
    let mut refused = BTreeMap::new();
    for letter in &run.dead_letters {
        *refused.entry(letter.reason).or_insert(0) += 1;
    }
    assert_eq!(refused, run.stated.bad, "{:?}", run.dead_letters.first());
    assert_eq!(run.n_superseded, run.stated.duplicates + run.stated.corrections);
    let events: usize = TOPICS.iter().map(|topic| run.events(topic).len()).sum();
    assert_eq!(run.lines.len() as u64, events as u64 + run.dead_letters.len() as u64 + run.n_superseded);
}

#[tokio::test]
async fn counts_hours_and_scores_equal_a_plain_recomputation() {
    let run = year().await;
    for (kind, period, start) in [("year", "2025", "2025-01-01"), ("month", "2025-03", "2025-03-01")] {
        let minutes = minutes(&run, period);
        let sessions = by_company(&run, SESSIONS, "completedAt", period);
        let query = format!(
            "SELECT company_id, hours, sessions_count FROM metrics_company_period
             WHERE period_kind = '{kind}' AND period_start = '{start}T00:00:00Z' ORDER BY 1"
        );
        let stored = run.stored(&query);
        assert_eq!(stored.len(), 2, "{kind}");
        for (row, (company, minutes)) in stored.iter().zip(&minutes) {
            let cells: Vec<&str> = row.split('|').collect();
            assert_eq!(cells[0], company);
            let hours: f64 = cells[1].parse().expect("a number");
            assert!((hours - *minutes as f64 / 60.0).abs() < 0.0051, "{kind} {hours} for {minutes} minutes");
            assert_eq!(cells[2], sessions[company].len().to_string(), "{kind}");
        }
    }
    let scores = "SELECT hours, 1.0 * (coalesce(avg_confidence, 0) + coalesce(avg_belonging, 0) + coalesce(avg_well_being, 0)
               + coalesce(avg_job_readiness, 0)) / ((avg_confidence IS NOT NULL) + (avg_belonging IS NOT NULL)
               + (avg_well_being IS NOT NULL) + (avg_job_readiness IS NOT NULL)), outcome_lift, placement_rate, vis_score,
               social_value, investment, sroi_ratio FROM metrics_company_period WHERE vis_score IS NOT NULL";
    let rows = run.stored(scores);
    assert!(rows.len() > 10);
    for row in rows {
        let n: Vec<f64> = row.split('|').map(|cell| cell.parse().expect("a number")).collect();
        let vis = 100.0 * (0.30 * (n[0] / 1000.0).min(1.0) + 0.30 * n[1] + 0.25 * n[2] + 0.15 * n[3]);
        assert!((vis - n[4]).abs() < 0.05, "VIS {} is not {vis}: {row}", n[4]);
        assert!((n[5] / n[6] - n[7]).abs() < 0.0051, "SROI {} is not {}: {row}", n[7], n[5] / n[6]);
    }
}

#[tokio::test]
async fn investment_and_outcomes_equal_a_plain_recomputation() {
    let run = year().await;
    let costs = run.stored("SELECT company_id, sum(amount) FROM programme_costs GROUP BY 1 ORDER BY 1");
    let investments = run.stored(
        "SELECT company_id, investment FROM metrics_company_period WHERE period_kind = 'year'
         AND period_start LIKE '2025%' ORDER BY 1",
    );
    let minutes = minutes(&run, "2025");
    assert_eq!(investments.len(), 2);
    for ((investment, cost), (company, minutes)) in investments.iter().zip(&costs).zip(&minutes) {
        let amount = |row: &str| row.split_once('|').expect("two cells").1.parse::<f64>().expect("a number");
        let expected = *minutes as f64 / 60.0 * 31.80 * 0.78 + amount(cost);
        assert!((amount(investment) - expected).abs() < 0.011, "{company}: {investment}, not {expected}");
    }
    let upskilling: BTreeSet<(String, String)> =
        ["upskilling.progress.updated", "upskilling.course.completed", "upskilling.credential.issued"]
            .iter()
            .zip(["updatedAt", "completedAt", "issuedAt"])
            .flat_map(|(topic, time)| by_company(&run, topic, time, "2025-06"))
            .flat_map(|(company, events)| {
                events.into_iter().map(move |(_, data)| (company.clone(), text(&data["userId"]).to_owned()))
            })
            .collect();
    let charged =
        run.stored("SELECT sum(amount) FROM programme_costs WHERE source_ref LIKE '%for upskilling in 2025-06'");
    assert_eq!(charged[0].parse::<f64>().expect("a number"), upskilling.len() as f64 * 60.0);
    let jobs: BTreeSet<String> = run
        .events("ingest.placement.created")
        .values()
        .map(|event| &event["data"])
        .filter(|data| {
            ["job_placement", "apprenticeship"].contains(&text(&data["placementType"])) && data["status"] == "active"
        })
        .map(|data| text(&data["userId"]).to_owned())
        .collect();
    let valued = run.stored("SELECT count(*), min(present_value) FROM valued_outcomes WHERE outcome = 'employment'");
    // 6500 × 0.6 × 0.9 × 0.5 = 1755; 1755 / 1.035 + 1228.50 / 1.035².
    assert_eq!(valued, [format!("{}|2842.47", jobs.len())]);
    let credentials = run.events("upskilling.credential.issued");
    let counted = |event: &&Value| ["certificate", "diploma"].contains(&text(&event["data"]["credentialType"]));
    let valued = run.stored("SELECT count(*) FROM valued_outcomes WHERE outcome = 'qualification'");
    assert_eq!(valued, [credentials.values().filter(counted).count().to_string()]);
}

#[tokio::test]
async fn lineage_ends_at_the_events_and_at_the_stored_sentence() {
    let run = year().await;
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for (topic, time) in [(SESSIONS, "completedAt"), (LOGGED, "activityDate")] {
        expected.extend(by_company(&run, topic, time, "2025-05").into_values().flatten().map(|(id, _)| id));
    }
    let traced = run.stored(
        "SELECT l.event_id FROM metric_values v JOIN metric_lineage l USING (metric_id)
         WHERE v.metric = 'hours' AND v.period_kind = 'month' AND v.period_start LIKE '2025-05%'",
    );
    assert_eq!(traced.iter().cloned().collect::<BTreeSet<_>>(), expected);
    assert_eq!(traced.len(), expected.len(), "each event once");

    let spans = run.stored(
        "SELECT DISTINCT e.position_start, e.position_end, e.snippet_text, t.text FROM metric_values v
         JOIN metric_lineage l USING (metric_id) JOIN evidence_snippets e USING (evidence_id) JOIN texts t ON t.text_id = e.text_id
         WHERE v.metric = 'vis_score' AND v.period_kind = 'year'",
    );
    assert!(spans.len() > 20, "{} spans", spans.len());
    for span in spans {
        let [start, end, snippet, stored] = span.splitn(4, '|').collect::<Vec<_>>()[..] else { panic!("{span}") };
        let (start, end): (usize, usize) = (start.parse().expect("an offset"), end.parse().expect("an offset"));
        assert_eq!(&stored[start..end], snippet);
    }
    let shared = run.stored(
        "SELECT count(DISTINCT company_id) FROM evidence_snippets GROUP BY snippet_hash HAVING count(DISTINCT company_id) > 1",
    );
    assert!(!shared.is_empty(), "two companies share a sentence, and both keep their row");
    assert_eq!(run.stored("SELECT count(*) FROM texts WHERE text LIKE '%@example.org%'"), ["0"], "no e-mail is stored");
}

/// The published mapping and the SQL say the same of every external kind of volunteering. Kinds that keep their name
/// are what the SQL leaves to ELSE.
#[test]
fn external_volunteering_is_mapped_as_the_contracts_say() {
    let sql = std::fs::read_to_string(crate::support::repository("pipelines/impact/10_programme_tables.sql"))
        .expect("the SQL is part of the project");
    let view = sql.split("CREATE VIEW logged_hours").nth(1).and_then(|rest| rest.split(';').next()).expect("the view");
    for kind in ["skills_based", "general", "mentorship", "tutoring", "event", "other"] {
        let canonical = headwater_contracts::canonical("external.volunteer.logged", "activityType", kind)
            .expect("every kind of the contract is mapped");
        let written = format!("WHEN '{kind}' THEN '{canonical}'");
        assert!(kind == canonical || view.contains(&written), "the SQL does not say: {written}");
    }
}
