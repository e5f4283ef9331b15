//! Real files, and the rules that every file is read by.

use crate::run::{COMPANY, Done, Ledger, Log, NAMESPACE, context, import, only_refusal, try_import};
use headwater_importers::{
    BATCH_ROWS, FileLedger, Import, ImportLedger, ImportStatus, Kind, Mapping, RatingScale, detect, person_id,
};
use serde_json::{Value, json};
use std::io::Cursor;

fn sample(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name);
    std::fs::read_to_string(path).expect("the sample file is there")
}

const KINTELL: &str =
    "session_id,session_type,participant_email,volunteer_email,date,duration_min,rating,feedback_text,language_level\n";
const LANGUAGE: &str = "session_id,participant_email,volunteer_email,scheduled_at,completed_at,duration_minutes,rating,feedback_text,language_level,topics\n";

#[test]
fn the_samples_are_taken_over_as_they_are() {
    for (file, kind, n_rows, n_events) in [
        ("kintell-sessions.csv", Kind::Kintell, 3, 6),
        ("buddy-matches.csv", Kind::BuddyMatches, 5, 5),
        ("course-completions.csv", Kind::CourseCompletions, 4, 4),
        ("credentials.csv", Kind::Credentials, 3, 3),
        ("sample-valid-sessions.csv", Kind::Sessions, 5, 5),
    ] {
        let Done { summary, log, .. } = import(kind, &sample(file));
        assert_eq!((summary.total, summary.success, summary.events), (n_rows, n_rows, n_events), "{file}");
        for line in log.topics.values().flatten() {
            let line = String::from_utf8(line.clone()).expect("a line is UTF-8");
            assert!(!line.contains('@'), "an event holds no e-mail address: {line}");
        }
    }
}

#[test]
fn each_invalid_session_is_refused_with_its_code() {
    let Done { summary, log, errors } = import(Kind::Sessions, &sample("sample-invalid-sessions.csv"));
    assert_eq!((summary.success, summary.rejected), (0, 4));
    let found: Vec<(String, String)> = log
        .refused()
        .iter()
        .map(|row| {
            let payload: Value = serde_json::from_str(row["payload"].as_str().expect("a text")).expect("JSON");
            (
                payload["session_id"].as_str().expect("a text").to_owned(),
                row["reason"].as_str().expect("a text").to_owned(),
            )
        })
        .collect();
    let expected = [("S006", "E001"), ("S007", "E002"), ("S008", "E002"), ("S009", "E003")];
    assert_eq!(found, expected.map(|(id, code)| (id.to_owned(), code.to_owned())));
    assert_eq!(log.refused()[1]["position"], "file.csv:3");

    let mut csv = csv::Reader::from_reader(errors.as_bytes());
    let headers: Vec<String> = csv.headers().expect("a header").iter().map(str::to_owned).collect();
    assert_eq!(headers[13..], ["error_code", "error_column", "error_message", "row"]);
    let rows: Vec<csv::StringRecord> = csv.records().map(|row| row.expect("a row")).collect();
    assert_eq!((&rows[0][13], &rows[0][14], &rows[0][16]), ("E001", "volunteer_email", "2"));
    assert_eq!(
        (&rows[3][0], &rows[3][13], &rows[3][15]),
        ("S009", "E003", "found '2099-01-23', expected a date that is not ahead of the import",)
    );
}

#[test]
fn a_session_becomes_a_session_and_a_rating() {
    let log = import(Kind::Kintell, &sample("kintell-sessions.csv")).log;
    let session = &log.events("kintell.session.completed")[1];
    assert_eq!(session["data"]["sessionType"], "mentorship");
    assert_eq!(session["data"]["participantId"], person_id(NAMESPACE, " Bob@Example.com ").to_string());
    assert_eq!(session["data"]["durationMinutes"], 60);
    assert_eq!(session["metadata"]["timestamp"], "2025-11-02T10:00:00Z");
    let about =
        json!({"companyId": COMPANY.to_string(), "companyName": "Fjord AS", "sourceFile": "file.csv", "row": 3});
    assert_eq!(session["metadata"]["metadata"], about);
    let rating = &log.events("kintell.rating.created")[1];
    assert_eq!(
        (&rating["data"]["rating"], &rating["data"]["feedbackText"]),
        (&json!(0.75), &json!("Good career advice"))
    );
    assert_eq!(rating["data"]["sessionId"], session["data"]["sessionId"]);
}

#[test]
fn mark_delimiter_case_and_order_of_columns_do_not_matter() {
    let plain = import(Kind::Kintell, &sample("kintell-sessions.csv")).log.topics;
    let rows = sample("kintell-sessions.csv")
        .replace(',', ";")
        .replace("session_id;session_type", "SESSION_ID; Session Type ");
    let other = format!("\u{feff}{}", rows.replace('\n', "\r\n"));
    assert_eq!(import(Kind::Kintell, &other).log.topics, plain);
}

#[test]
fn every_rule_has_its_code() {
    let row = |cells: &str| format!("{LANGUAGE}{cells}\n");
    for (cells, code, field) in [
        ("LS-1,ann@x,v@x.org,2025-01-01,2025-01-01,60,,,,", "E001", "participant_email"),
        ("LS-1,a@x.org,,2025-01-01,2025-01-01,60,,,,", "E002", "volunteer_email"),
        ("LS-1,a@x.org,v@x.org,01/02/2025,2025-01-01,60,,,,", "E003", "scheduled_at"),
        ("LS-1,a@x.org,v@x.org,2025-01-01,2025-01-01,481,,,,", "E004", "duration_minutes"),
        ("LS-1,a@x.org,v@x.org,2025-01-01,2025-01-01,59.5,,,,", "E004", "duration_minutes"),
        ("LS-1,a@x.org,v@x.org,2025-01-01,2025-01-01,60,,,B7,", "E005", "language_level"),
        ("LS-1,a@x.org,v@x.org,2025-01-01,2025-01-01,60,6,,,", "E006", "rating"),
        ("LS-1,a@x.org,v@x.org,2025-01-02,2025-01-01,60,,,,", "E007", "completed_at"),
        ("LS-1,a@x.org,v@x.org,2025-01-01,2025-01-01,60,,,", "undecodable", ""),
        ("LS-1,a@x.org,v@x.org,2025-01-01,2025-01-01,60,,,,,x", "undecodable", ""),
    ] {
        let found = only_refusal(Kind::Language, &row(cells));
        assert_eq!((found.0.as_str(), found.1.as_str()), (code, field), "{cells}");
    }
    let good = import(
        Kind::Language,
        &row("LS-1,A@X.org,v@x.org,2025-01-01T10:00:00Z,2025-01-01 11:00,60,,,b1,\"work, home\""),
    );
    let data = good.log.events("kintell.session.completed")[0]["data"].clone();
    assert_eq!((&data["languageLevel"], &data["topics"]), (&json!("B1"), &json!(["work", "home"])));
    assert_eq!(good.summary.partial, 0);
}

#[test]
fn what_a_contract_refuses_is_refused_with_its_path() {
    let text = sample("credentials.csv").replacen("https://ecornell.edu/verify/550e8400,", "no link,", 1);
    assert_eq!(only_refusal(Kind::Credentials, &text), ("malformed_field".into(), "credentialUrl".into()));
}

#[test]
fn a_feedback_without_a_rating_keeps_the_session_and_says_what_is_lost() {
    let done = import(Kind::Kintell, &format!("{KINTELL}K1,Mentorship,a@x.org,v@x.org,2025-01-01,60,,Good talk,\n"));
    assert_eq!((done.summary.success, done.summary.partial, done.summary.rejected), (1, 1, 0));
    assert_eq!(done.log.events("kintell.session.completed").len(), 1);
    let refused = &done.log.refused()[0];
    assert_eq!((&refused["reason"], &refused["path"]), (&json!("E002"), &json!("rating")));
    assert!(done.errors.contains("Good talk"));
}

#[test]
fn a_rating_of_one_is_worst_or_best_by_the_declared_scale() {
    let text = format!("{KINTELL}K1,Mentorship,a@x.org,v@x.org,2025-01-01,60,1,,\n");
    for (scale, rating) in [(None, 0.0), (Some(RatingScale::OneToFive), 0.0), (Some(RatingScale::ZeroToOne), 1.0)] {
        let log = try_import(Kind::Kintell, text.as_bytes(), scale).expect("imports").log;
        assert_eq!(log.events("kintell.rating.created")[0]["data"]["rating"], json!(rating));
    }
}

#[test]
fn matches_end_when_the_row_says_so_and_their_events_find_them() {
    let header = "match_id,participant_email,buddy_email,matched_at,status,ended_at,end_reason\n";
    let text = format!(
        "{header}M1,a@x.org,b@x.org,2025-01-01,ended,2025-01-11,completed\nM2,a@x.org,c@x.org,2025-01-01,Inactive,,\n\
         M3,a@x.org,c@x.org,2025-01-02,ended,2025-01-01,\n"
    );
    let done = import(Kind::BuddyMatches, &text);
    let ended = done.log.events("buddy.match.ended");
    assert_eq!(ended.len(), 1);
    assert_eq!((&ended[0]["data"]["duration"], &ended[0]["data"]["reason"]), (&json!(10), &json!("completed")));
    assert_eq!(done.summary.notes.values().sum::<u64>(), 1);
    assert_eq!(done.summary.codes, [("E007".to_owned(), 1)].into());
    let feedback =
        "match_id,from_role,rating,feedback_text,submitted_at,communication\nM1,Participant,5,Fine,2025-01-05,3\n";
    let feedback = import(Kind::BuddyFeedback, feedback).log.events("buddy.feedback.submitted")[0]["data"].clone();
    assert_eq!(feedback["matchId"], ended[0]["data"]["matchId"]);
    assert_eq!((&feedback["rating"], &feedback["categories"]), (&json!(1.0), &json!({"communication": 0.5})));
}

#[test]
fn buddy_events_and_checkins_are_taken_over() {
    let events = "match_id,event_type,event_date,description,location,attendees\nM1,hangout,2025-01-05,Tea,Oslo,\"a@x.org;B@x.org\"\n";
    let event = import(Kind::BuddyEvents, events).log.events("buddy.event.logged")[0]["data"].clone();
    assert_eq!(event["attendees"][1], person_id(NAMESPACE, "b@x.org").to_string());
    let refused = only_refusal(Kind::BuddyEvents, &events.replace("B@x.org", "Bea"));
    assert_eq!(refused, ("E001".into(), "attendees".into()));
    let checkins =
        "match_id,checkin_date,mood,notes,question_responses\nM1,2025-01-05,Great,All well,\"{\"\"q\"\": 1}\"\n";
    let checkin = import(Kind::BuddyCheckins, checkins).log.events("buddy.checkin.completed")[0]["data"].clone();
    assert_eq!((&checkin["mood"], &checkin["questionResponses"]), (&json!("great"), &json!({"q": 1})));
    assert_eq!(only_refusal(Kind::BuddyCheckins, &checkins.replace("Great", "meh")).0, "out_of_range");
}

#[test]
fn the_same_row_in_another_file_is_the_same_event() {
    let id =
        |text: &str| import(Kind::Kintell, text).log.events("kintell.session.completed")[0]["metadata"]["id"].clone();
    let row = "K1,Mentorship,a@x.org,v@x.org,2025-01-01,60,,,\n";
    let first = id(&format!("{KINTELL}{row}"));
    assert_eq!(first, id(&format!("{KINTELL}{}", row.replace("60", "90"))));
    assert_ne!(first, id(&format!("{KINTELL}{}", row.replace("K1", "K2"))));
    let corrected = format!("{},updated_at\n{},2025-02-01\n", KINTELL.trim_end(), row.trim_end());
    let event = import(Kind::Kintell, &corrected).log.events("kintell.session.completed")[0].clone();
    assert_eq!((&event["metadata"]["id"], &event["metadata"]["timestamp"]), (&first, &json!("2025-02-01T00:00:00Z")));
}

#[test]
fn a_file_is_imported_once_and_an_interrupted_import_goes_on() {
    let n_rows = BATCH_ROWS * 2 + 7;
    let rows: String = (0..n_rows)
        .map(|row| {
            format!("K{row},Mentorship,a{row}@x.org,v@x.org,2025-01-01,{},,,\n", if row % 10 == 0 { 0 } else { 60 })
        })
        .collect();
    let text = format!("{KINTELL}{rows}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut ledger = FileLedger::open(folder.path().join("imports")).expect("a ledger");
    let (context, mapping) = (context("k.csv"), Mapping::embedded(Kind::Kintell).expect("embedded"));
    let mut log = Log { appends_left: Some(1), ..Log::default() };
    let mut errors = Vec::new();
    let mut run = |log: &mut Log, errors: &mut Vec<u8>| {
        errors.clear();
        let (context, mapping) = (&context, &mapping);
        let import = Import { kind: Kind::Kintell, mapping, context, log, ledger: &mut ledger, errors: Some(errors) };
        import.run(Cursor::new(&text))
    };
    let error = run(&mut log, &mut errors).expect_err("the second append fails");
    assert_eq!(error.to_string(), "k.csv: the disk is full");
    log.appends_left = None;
    let resumed = run(&mut log, &mut errors).expect("goes on");
    assert_eq!((resumed.total, resumed.success, resumed.rejected), (n_rows as u64, 906, 101));
    assert_eq!(log.events("kintell.session.completed").len(), 906, "no row is appended twice");
    assert_eq!(log.refused().len(), 101);
    assert_eq!(errors.iter().filter(|byte| **byte == b'\n').count(), 102, "all refused rows and a header");

    let again = run(&mut log, &mut errors).expect("is known");
    assert!(again.already_imported);
    assert_eq!((again.success, log.events("kintell.session.completed").len()), (906, 906));
}

#[test]
fn a_ledger_remembers_across_restarts_and_says_when_it_is_damaged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut memory = Ledger::default();
    let (context, mapping) = (context("k.csv"), Mapping::embedded(Kind::Kintell).expect("embedded"));
    let (kind, mut log) = (Kind::Kintell, Log::default());
    let (mapping, context) = (&mapping, &context);
    let import = Import { kind, mapping, context, log: &mut log, ledger: &mut memory, errors: None };
    import.run(Cursor::new(sample("kintell-sessions.csv"))).expect("imports");
    let record = memory.0.pop().expect("one record");
    assert_eq!((record.status, record.last_processed_row), (ImportStatus::Completed, 3));
    FileLedger::open(folder.path()).expect("a ledger").save(&record).expect("saves");
    let ledger = FileLedger::open(folder.path()).expect("a ledger");
    assert_eq!(ledger.find(&record.key).expect("reads"), Some(record.clone()));
    let file = std::fs::read_dir(folder.path()).expect("a folder").next().expect("one file").expect("an entry").path();
    std::fs::write(file, "{").expect("writes");
    assert!(ledger.find(&record.key).expect_err("damaged").help().expect("a way out").contains("remove it"));
}

#[test]
fn a_file_is_known_by_its_columns_its_ids_and_its_name() {
    for (file, kind) in [
        ("kintell-sessions.csv", Kind::Kintell),
        ("buddy-matches.csv", Kind::BuddyMatches),
        ("course-completions.csv", Kind::CourseCompletions),
        ("credentials.csv", Kind::Credentials),
        ("sample-valid-sessions.csv", Kind::Sessions),
        ("sample-invalid-sessions.csv", Kind::Sessions),
    ] {
        let mut reader = Cursor::new(sample(file));
        assert_eq!(detect("export.csv", &mut reader).expect("known"), kind, "{file}");
        assert_eq!(reader.position(), 0);
    }
    let sessions = |id: &str| format!("{}{id}-1,a@x.org,v@x.org,2025-01-01,2025-01-01,60,,,,\n", LANGUAGE);
    let known = |name: &str, text: String| detect(name, &mut Cursor::new(text)).expect("known");
    assert_eq!(known("export.csv", sessions("LS")), Kind::Language);
    let mentors = "session_id,participant_email,mentor_email,scheduled_at,completed_at,duration_minutes\n";
    assert_eq!(known("language.csv", mentors.to_owned()), Kind::Mentorship);
    let error = detect("demo-metrics.csv", &mut Cursor::new(sample("demo-metrics.csv"))).expect_err("no export");
    assert!(error.to_string().starts_with("demo-metrics.csv: the columns are those of no known export"), "{error}");
}

#[test]
fn a_folder_of_mappings_takes_the_place_of_ours() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ours = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("mappings/buddy-checkins.toml");
    let text = std::fs::read_to_string(ours).expect("our mapping").replace("\"checkin_date\"]", "\"Dato\"]");
    std::fs::write(folder.path().join("buddy-checkins.toml"), text).expect("writes");
    let mapping = Mapping::load(Kind::BuddyCheckins, Some(folder.path())).expect("a mapping");
    let (mut log, mut ledger, context) = (Log::default(), Ledger::default(), context("c.csv"));
    let (kind, mapping, context) = (Kind::BuddyCheckins, &mapping, &context);
    let import = Import { kind, mapping, context, log: &mut log, ledger: &mut ledger, errors: None };
    let summary = import.run(Cursor::new("match_id;dato;alder\nM1;05.01.2025;40\n")).expect("imports");
    assert_eq!((summary.success, summary.ignored_columns), (1, vec!["alder".to_owned()]));
    assert_eq!(log.events("buddy.checkin.completed")[0]["data"]["checkinDate"], "2025-01-05T00:00:00Z");
    Mapping::load(Kind::Kintell, Some(folder.path())).expect("what is not in the folder is ours");
}

#[test]
fn files_that_are_no_csv_in_utf_8_are_refused_whole_with_a_way_out() {
    let refused = |text: &[u8]| try_import(Kind::Kintell, text, None).err().expect("refused").to_string();
    assert_eq!(refused(b""), "file.csv: the file is empty\nhelp: its first line names the columns");
    assert_eq!(refused(b"\xff\xfea\0"), "file.csv: the file is not UTF-8\nhelp: save it as 'CSV UTF-8'");
    assert!(refused(b"a,b\n1,2\n").contains("need the column session_id or id, session_type or type"));
    let text = [KINTELL.as_bytes(), b"K1,Mentorship,a@x.org,v@x.org,2025-01-01,60,,caf\xe9,\n"].concat();
    let done = try_import(Kind::Kintell, &text, None).expect("only a row is bad");
    assert_eq!(done.log.refused()[0]["reason"], "undecodable");
}
