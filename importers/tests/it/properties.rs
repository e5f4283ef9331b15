//! Any file: every row is events, a refusal or skipped, and nothing panics. `run::try_import` checks the sums, and that
//! every event fulfils its contract.

use crate::run::try_import;
use headwater_importers::Kind;
use proptest::prelude::*;

/// Cells that are good for some field, and some that are good for none.
const CELLS: &[&str] = &[
    "",
    " ",
    "a@x.org",
    "A@X.ORG ",
    "not-an-email",
    "2025-01-01",
    "2025-01-02T10:00:00Z",
    "2099-01-01",
    "01/02/2025",
    "60",
    "0",
    "-1",
    "1",
    "5",
    "0.5",
    "4,5",
    "9",
    "1e9",
    "B1",
    "b2",
    "Z9",
    "Mentorship",
    "Language Connect",
    "active",
    "ended",
    "participant",
    "buddy",
    "great",
    "badge",
    "x",
    "K-1",
    "\"a,b\"",
    "\"q \"\"quoted\"\" \"",
    "\"line\nbreak\"",
    "\"{\"\"a\"\":1}\"",
    "ø😀",
    "https://x.org/1",
    "ecornell",
];

fn header(kind: Kind) -> &'static str {
    match kind {
        Kind::Kintell => {
            "session_id,session_type,participant_email,volunteer_email,date,duration_min,rating,feedback_text,language_level"
        }
        Kind::Mentorship => {
            "session_id,participant_email,mentor_email,scheduled_at,completed_at,duration_minutes,rating,feedback_text,focus_area,goals_discussed"
        }
        Kind::Language => {
            "session_id,participant_email,volunteer_email,scheduled_at,completed_at,duration_minutes,rating,feedback_text,language_level,topics"
        }
        Kind::BuddyMatches => "participant_email,buddy_email,matched_at,status,ended_at,language,interests,location",
        Kind::BuddyEvents => "match_id,event_type,event_date,description,location,attendees",
        Kind::BuddyCheckins => "match_id,checkin_date,mood,notes,question_responses",
        Kind::BuddyFeedback => {
            "match_id,from_role,rating,feedback_text,submitted_at,communication,helpfulness,engagement"
        }
        Kind::CourseCompletions => "user_email,provider,course_id,course_name,completed_at,final_score,credential_ref",
        Kind::Credentials => {
            "credential_id,user_email,provider,course_id,course_name,credential_type,issued_at,expires_at,credential_url,verification_code"
        }
        Kind::Sessions => {
            "session_id,volunteer_id,volunteer_email,volunteer_name,ngo_name,ngo_id,activity_type,session_date,hours_contributed,location,description,skills_used,impact_area"
        }
    }
}

/// Returns a cell that the column takes.
fn good(column: &str) -> &'static str {
    match column {
        column if column.ends_with("email") => "a@x.org",
        "date" | "scheduled_at" | "completed_at" | "matched_at" | "event_date" | "checkin_date" | "submitted_at"
        | "issued_at" | "session_date" => "2025-01-02",
        "expires_at" | "ended_at" => "2025-03-02",
        "duration_min" | "duration_minutes" => "45",
        "rating" | "communication" | "helpfulness" | "engagement" | "hours_contributed" | "final_score" => "4",
        "session_type" => "Mentorship",
        "status" => "ended",
        "from_role" => "buddy",
        "mood" => "okay",
        "credential_type" => "badge",
        "credential_url" => "https://x.org/1",
        "language_level" => "C1",
        "attendees" => "b@x.org",
        "question_responses" => "{}",
        _ => "text",
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_is_events_or_refused_or_skipped(
        which in 0..Kind::ALL.len(),
        rows in prop::collection::vec(prop::collection::vec((0..40_usize, 0..4_u8), 13), 0..20),
    ) {
        let kind = Kind::ALL[which];
        let columns: Vec<&str> = header(kind).split(',').collect();
        let mut text = header(kind).to_owned() + "\n";
        for row in &rows {
            let cells: Vec<&str> = columns.iter().zip(row)
                .map(|(column, (cell, how))| if *how == 0 { CELLS[cell % CELLS.len()] } else { good(column) })
                .collect();
            text += &cells.join(",");
            text += "\n";
        }
        let done = try_import(kind, text.as_bytes(), None).expect("a bad row is never an error");
        prop_assert_eq!(done.summary.total, rows.len() as u64);
    }

    #[test]
    fn good_rows_of_every_kind_are_taken_over(which in 0..Kind::ALL.len(), n_rows in 1..5_usize) {
        let kind = Kind::ALL[which];
        let row = header(kind).split(',').map(good).collect::<Vec<_>>().join(",") + "\n";
        let done = try_import(kind, format!("{}\n{}", header(kind), row.repeat(n_rows)).as_bytes(), None).expect("imports");
        prop_assert_eq!(done.summary.success, n_rows as u64, "{}", done.errors);
    }

    #[test]
    fn any_bytes_end_in_a_sum_or_an_error(which in 0..Kind::ALL.len(), noise: Vec<u8>) {
        let kind = Kind::ALL[which];
        let _ = try_import(kind, &noise, None);
        let _ = try_import(kind, &[header(kind).as_bytes(), b"\n", &noise].concat(), None);
    }
}
