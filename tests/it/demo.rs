//! The demo as a newcomer sees it, small: metrics from nothing, a quick second start, and the way from a number back
//! to the sentence.

use crate::support::Workplace;
use rusqlite::Connection;

fn demo(place: &Workplace) -> String {
    let arguments = ["demo", "--once", "--companies", "2", "--months", "3", "--seed", "5"];
    place.headwater(&arguments).succeeded().stdout
}

#[test]
fn from_nothing_to_metrics_and_back_to_the_sentence() {
    let place = Workplace::new();
    let first = demo(&place);
    assert!(first.contains("sample-invalid-sessions.csv (sessions): 4 rows = 0 accepted + 4 refused"), "{first}");
    assert!(first.contains(" sroi ") && first.contains("Sample Company"), "{first}");
    assert!(first.contains("rows in ") && !first.contains("does not balance"), "{first}");

    let store = Connection::open(place.path().join(".headwater/demo/impact.db")).unwrap();
    let count = |sql: &str| store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(count("SELECT count(*) FROM evidence_snippets") > 100);
    let mut snippets = store
        .prepare(
            "SELECT text, position_start, position_end, snippet_text FROM evidence_snippets JOIN texts USING (text_id)",
        )
        .unwrap();
    let mut rows = snippets.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (text, start, end, snippet): (String, u32, u32, String) =
            (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap(), row.get(3).unwrap());
        assert_eq!(text.get(start as usize..end as usize), Some(snippet.as_str()));
    }
    for metric in ["sroi_ratio", "vis_score", "hours"] {
        let edges = format!(
            "SELECT count(*) FROM metric_lineage WHERE metric_id = \
             (SELECT metric_id FROM metric_values WHERE metric = '{metric}' AND period_kind = 'year' AND value > 0 LIMIT 1)"
        );
        assert!(count(&edges) > 0, "{metric} has no lineage");
    }
    for code in ["E001", "E002", "E003"] {
        assert!(count(&format!("SELECT count(*) FROM dead_letters WHERE reason = '{code}'")) > 0, "{code}");
    }

    let metrics = "SELECT group_concat(metric_id || ' ' || coalesce(value, '')) FROM (SELECT * FROM metric_values ORDER BY metric_id)";
    let metrics = || store.query_row(metrics, [], |row| row.get::<_, String>(0)).unwrap();
    let before = metrics();
    let second = demo(&place);
    assert!(second.contains("generated before") && second.contains("imported before"), "{second}");
    assert_eq!(metrics(), before, "the second start changed a number");
}

#[test]
fn a_sentence_shared_by_two_companies_stays_two_rows() {
    let place = Workplace::new();
    let sessions = "session_id,session_type,participant_email,volunteer_email,date,duration_min,rating,feedback_text,language_level\n\
                    K-1,Mentorship,ada@example.com,bo@example.com,2025-03-01T10:00:00Z,60,5,I feel much more confident now,\n";
    place.write("sessions.csv", sessions);
    for company in ["Acme", "Bolt"] {
        place
            .headwater(&["import", "kintell", "sessions.csv", "--company", company, "--data", ".headwater/demo"])
            .succeeded();
    }
    demo(&place);
    let store = Connection::open(place.path().join(".headwater/demo/impact.db")).unwrap();
    let sql = "SELECT count(*), count(DISTINCT company_id) FROM evidence_snippets \
               WHERE snippet_text LIKE '%much more confident%' AND company_id IN (SELECT company_id FROM companies WHERE name IN ('Acme', 'Bolt'))";
    let (rows, companies): (i64, i64) = store.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!((rows, companies), (2, 2));
}

#[test]
fn the_screening_policy_is_a_file_that_a_user_can_edit() {
    let place = Workplace::new();
    let sessions = "session_id,session_type,participant_email,volunteer_email,date,duration_min,rating,feedback_text,language_level\n\
                    K-1,Mentorship,ada@example.com,bo@example.com,2025-03-01T10:00:00Z,60,5,Write to desk@acme.example or ada@example.com,\n";
    place.write("sessions.csv", sessions);
    place
        .headwater(&["import", "kintell", "sessions.csv", "--company", "Acme", "--data", ".headwater/demo"])
        .succeeded();
    let policy = place.read(".headwater/demo/tables/policy.toml");
    let allowed = policy.replace("values = []", "values = [\"desk@acme.example\"]");
    assert_ne!(policy, allowed, "the shipped policy allows nothing");
    place.write(".headwater/demo/tables/policy.toml", allowed);
    demo(&place);
    let store = Connection::open(place.path().join(".headwater/demo/impact.db")).unwrap();
    let text: String =
        store.query_row("SELECT text FROM texts WHERE text LIKE 'Write to %'", [], |row| row.get(0)).unwrap();
    assert_eq!(text, "Write to desk@acme.example or [EMAIL_1]");

    place.write(".headwater/demo/tables/policy.toml", "this is no policy");
    let message = place.headwater(&["demo", "--once", "--companies", "2", "--months", "3", "--seed", "5"]).failed();
    assert!(message.contains("policy"), "{message}");
}
