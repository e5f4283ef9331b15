//! `headwater serve` as its users meet it: the real binary over HTTP, from an event that is sent to the number, the
//! sentence and the dead letter that come of it; over kills, restarts and keys.
//!
//! Nothing waits for time: a server says "ready" on its standard output, and what the pipeline commits is asked for
//! until it is there, a bounded number of times.

use crate::support::Workplace;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

const A: &str = "6f1c2b6e-0000-4000-8000-00000000000a";
const B: &str = "6f1c2b6e-0000-4000-8000-00000000000b";
const SECRET_A: &str = "key-of-a-0123456789abcdef0123456789abcdef";
const SECRET_ALL: &str = "key-of-all-0123456789abcdef0123456789abcdef";
const JSON: (&str, &str) = ("content-type", "application/json");
const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");
/// How often a question is asked before its answer is given up; each takes a millisecond or more, a commit a second.
const ASKED_MAX: usize = 60_000;

/// A server at work; killed when dropped.
struct Server {
    child: Child,
    /// Kept open: a server whose reader is gone is another test.
    _stdout: BufReader<ChildStdout>,
    base: String,
    agent: ureq::Agent,
    key: Option<&'static str>,
}

/// An answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    content_type: String,
    text: String,
}

impl Answer {
    #[track_caller]
    fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        serde_json::from_str(&self.text).expect("a JSON body")
    }
}

impl Server {
    /// Starts a server on the folder `d` and waits until it has caught up.
    fn start(place: &Workplace, arguments: &[&str]) -> Self {
        let given = [&["serve", "--listen", "127.0.0.1:0", "--data", "d"], arguments].concat();
        let stderr = File::create(place.path().join("stderr.txt")).expect("a file");
        let mut child = place.command(&given).stdout(Stdio::piped()).stderr(stderr).spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = || {
            let mut line = String::new();
            stdout.read_line(&mut line).expect("text");
            assert!(!line.is_empty(), "the server ended: {}", place.read("stderr.txt"));
            line
        };
        let serving = line();
        let base = serving.trim().split(" on ").last().expect("the address").trim_end_matches('/').to_owned();
        assert!(line().starts_with("ready"));
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent = config.timeout_global(Some(Duration::from_secs(30))).build().into();
        Self { child, _stdout: stdout, base, agent, key: None }
    }

    fn with_key(mut self, key: &'static str) -> Self {
        self.key = Some(key);
        self
    }

    fn get(&self, path: &str) -> Answer {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        if let Some(key) = self.key {
            request = request.header("x-api-key", key);
        }
        Self::answer(request.call())
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: impl AsRef<str>) -> Answer {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        let key = self.key.map(|key| ("x-api-key", key));
        for (name, value) in headers.iter().copied().chain(key) {
            request = request.header(name, value);
        }
        Self::answer(request.send(body.as_ref()))
    }

    fn answer(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Answer {
        let mut response = result.expect("the server answers");
        let content_type = response.headers().get("content-type").map(|value| value.to_str().expect("text").to_owned());
        Answer {
            status: response.status().as_u16(),
            content_type: content_type.unwrap_or_default(),
            text: response.body_mut().read_to_string().expect("text"),
        }
    }

    /// Sends events of one company; they are on disk afterwards.
    #[track_caller]
    fn send(&self, event_type: &str, company: &str, body: &Value) -> Value {
        self.post(&format!("/v1/ingest/{event_type}"), &[JSON, ("x-company-id", company)], body.to_string()).json(202)
    }

    /// Asks until the answer is as wanted.
    #[track_caller]
    fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = String::new();
        for _ in 0..ASKED_MAX {
            let answer = self.get(path);
            if answer.status == 200 {
                let value = answer.json(200);
                if wanted(&value) {
                    return value;
                }
            }
            last = answer.text;
        }
        panic!("never as wanted: {path}: {last}")
    }

    /// Waits until the company's one month has this many sessions, and returns its row. Tables are committed one after
    /// the other, so the links to its lineage are waited for too.
    #[track_caller]
    fn month(&self, company: &str, sessions: i64) -> Value {
        let page = self.until(&format!("/v1/companies/{company}/metrics?period_kind=month"), |page| {
            page["items"][0]["sessions_count"] == sessions && page["items"][0]["lineage"]["hours"].is_string()
        });
        page["items"][0].clone()
    }

    /// Ends the server as Ctrl-C does.
    fn interrupt(mut self) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
        assert!(sent.success());
        let status = self.child.wait().expect("the server ends");
        assert!(status.success(), "{status}");
    }

    /// Ends the server as a power cut does.
    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already when the test went well.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A uuid of a kind of thing and a number.
fn id(kind: u16, n: u16) -> String {
    format!("{kind:08x}-0000-4000-8000-{n:012x}")
}

/// A session of an hour in January between participant and volunteer `n`.
fn session(n: u16) -> Value {
    json!({
        "sessionId": id(1, n), "sessionType": "language", "participantId": id(2, n), "volunteerId": id(3, n),
        "scheduledAt": "2026-01-06T10:00:00Z", "completedAt": "2026-01-06T11:00:00Z", "durationMinutes": 60,
        "languageLevel": "B1",
    })
}

fn meeting(n: u16) -> Value {
    json!({"matchId": id(4, n), "participantId": id(2, n), "buddyId": id(3, n), "matchedAt": "2026-01-05T10:00:00Z"})
}

fn feedback(n: u16, text: &str) -> Value {
    json!({
        "feedbackId": id(5, n), "matchId": id(4, n), "fromRole": "participant", "rating": 0.8,
        "submittedAt": "2026-01-07T10:00:00Z", "feedbackText": text,
    })
}

fn store(place: &Workplace) -> Connection {
    Connection::open(place.path().join("d/impact.db")).expect("the store")
}

#[test]
fn what_is_sent_becomes_numbers_that_lead_back_to_the_sentence() {
    let place = Workplace::new();
    let server = Server::start(&place, &[]);
    assert_eq!(server.get("/readyz").json(200), json!({"status": "ready"}));
    assert_eq!(server.get("/v1/dead-letters").json(200)["items"], json!([]), "before the first commit");
    server.send("buddy.match.created", A, &meeting(1));
    server.send("buddy.match.created", B, &meeting(9));
    let three = server.send("kintell.session.completed", A, &json!([session(1), session(2), session(1)]));
    assert_eq!(
        (&three["accepted"], &three["ids"][0]),
        (&json!(3), &three["ids"][2]),
        "the same data is the same event"
    );
    server.send("kintell.session.completed", B, &session(9));
    let text = "Hello. Write to ola@example.com. I feel much more confident now. Bye.";
    server.send("buddy.feedback.submitted", A, &feedback(1, text));

    let row = server.month(A, 2);
    assert_eq!((&row["participants_count"], &row["hours"]), (&json!(2), &json!(2)), "{row}");
    let row = server.until(&format!("/v1/companies/{A}/metrics?period=2026-01&period_kind=month"), |page| {
        page["items"][0]["lineage"]["avg_confidence"].is_string()
    })["items"][0]
        .clone();
    assert_eq!(server.month(B, 1)["avg_confidence"], Value::Null, "the sentence is not B's");

    let path = row["lineage"]["avg_confidence"].as_str().expect("a path");
    let lineage = server.until(path, |page| page["items"][0]["evidence"].is_object());
    assert_eq!((&lineage["metric"]["company_id"], &lineage["metric"]["value"]), (&json!(A), &row["avg_confidence"]));
    let span = &lineage["items"][0]["evidence"];
    let evidence = server.get(&format!("/v1/companies/{A}/evidence?label=confidence_increase")).json(200);
    assert_eq!(evidence["items"][0]["evidence_id"], span["evidence_id"]);
    let stored = "SELECT text FROM texts WHERE text_id = ?1";
    let stored: String =
        store(&place).query_row(stored, [span["text_id"].as_str()], |row| row.get(0)).expect("the text is stored");
    let [start, end] = ["position_start", "position_end"].map(|name| span[name].as_u64().expect("a number") as usize);
    assert_eq!(stored.get(start..end), span["snippet_text"].as_str());
    assert!(stored[start..end].contains("much more confident") && !stored.contains("ola@"), "{stored}");
    server.interrupt();
}

#[test]
fn a_bad_line_is_a_dead_letter_with_its_reason_until_its_correction_is_sent() {
    let place = Workplace::new();
    let server = Server::start(&place, &[]);
    let mut wrong = session(2);
    wrong["durationMinutes"] = json!("an hour");
    let body = format!("{}\n{{\"oops\n{wrong}\n", session(1));
    let answer = server.post("/v1/ingest/kintell.session.completed", &[NDJSON, ("x-company-id", A)], body).json(202);
    assert_eq!((&answer["accepted"], &answer["malformed"]), (&json!(3), &json!(1)));
    let letters = server.until("/v1/dead-letters", |page| page["items"].as_array().is_some_and(|all| all.len() == 2));
    let letters = letters["items"].as_array().expect("a list");
    let find = |reason: &str| letters.iter().find(|letter| letter["reason"] == reason).expect("the reason is there");
    assert_eq!(find("undecodable")["payload"], "{\"oops");
    let malformed = find("malformed_field");
    assert_eq!(malformed["path"], "data.durationMinutes");
    assert_eq!(server.month(A, 1)["hours"], 1);

    let replay = format!("/v1/dead-letters/{}/replay", malformed["id"].as_str().expect("an id"));
    let mut event: Value = serde_json::from_str(malformed["payload"].as_str().expect("text")).expect("the event");
    event["data"]["durationMinutes"] = json!(60);
    let first = server.post(&replay, &[JSON], event.to_string()).json(200);
    assert_eq!(first["already_replayed"], false);
    assert_eq!(server.post(&replay, &[JSON], event.to_string()).json(200)["already_replayed"], true);
    assert_eq!(server.month(A, 2)["hours"], 2);
    let listed = server.get("/v1/dead-letters?reason=malformed_field").json(200);
    assert_eq!(listed["items"][0]["replays"][0]["event_id"], first["event_id"]);
    server.interrupt();
}

#[test]
fn an_uploaded_file_is_counted_once_and_its_bad_rows_are_dead_letters() {
    let place = Workplace::new();
    let server = Server::start(&place, &[]);
    let file = "session_id,session_type,participant_email,volunteer_email,date,duration_min,rating,feedback_text,language_level\n\
                K-1,Mentorship,ada@example.com,bo@example.com,2025-03-01T10:00:00Z,60,5,I feel confident now,\n\
                K-2,Mentorship,ada@example.com,bo@example.com,the first of March,60,5,,\n";
    let path = format!("/v1/imports/kintell?company={A}&company_name=Fjord&file_name=k.csv");
    let summary = server.post(&path, &[("content-type", "text/csv")], file).json(200);
    assert_eq!((&summary["rows"], &summary["accepted"], &summary["rejected"]), (&json!(2), &json!(1), &json!(1)));
    assert!(summary["error_csv"].as_str().is_some_and(|csv| csv.contains("K-2")), "{summary}");
    let again = server.post(&path, &[("content-type", "text/csv")], file).json(200);
    assert_eq!(again["already_imported"], true, "{again}");
    assert_eq!(server.month(A, 1)["participants_count"], 1);
    let letters = server.until("/v1/dead-letters?reason=E003", |page| page["items"][0].is_object());
    assert_eq!(letters["items"].as_array().map(Vec::len), Some(1), "{letters}");
    server.until("/v1/companies", |page| page["items"][0]["name"] == "Fjord");
    server.interrupt();
}

#[test]
fn what_was_accepted_survives_a_kill_and_counts_once() {
    let place = Workplace::new();
    let server = Server::start(&place, &[]);
    let keyed = [JSON, ("x-company-id", A), ("idempotency-key", "\"k-1\"")];
    let send =
        |server: &Server| server.post("/v1/ingest/kintell.session.completed", &keyed, session(1).to_string()).json(202);
    let first = send(&server);
    server.kill();
    let server = Server::start(&place, &[]);
    // Ready is caught up: what was on disk at the start is in the very first answer.
    let row = server.get(&format!("/v1/companies/{A}/metrics?period_kind=month")).json(200)["items"][0].clone();
    assert_eq!((&row["sessions_count"], &row["hours"]), (&json!(1), &json!(1)));
    assert_eq!(send(&server), first, "the key is remembered over the kill");
    let other = server.post("/v1/ingest/kintell.session.completed", &keyed, session(2).to_string());
    assert_eq!(other.json(422)["status"], 422);
    // A second event shows that the pipeline is past the first one's repetition.
    server.send("kintell.session.completed", A, &session(3));
    assert_eq!(server.month(A, 2)["hours"], 2);
    server.interrupt();
    let inbox = place.read("d/inbox/kintell.session.completed/00000001.jsonl");
    assert_eq!(inbox.lines().count(), 2, "{inbox}");
}

#[test]
fn ctrl_c_ends_well_and_loses_nothing() {
    let place = Workplace::new();
    let server = Server::start(&place, &[]);
    server.send("kintell.session.completed", A, &session(1));
    server.month(A, 1);
    server.send("kintell.session.completed", A, &session(2));
    server.interrupt();
    assert!(place.read("stderr.txt").starts_with("stopping: "), "{}", place.read("stderr.txt"));
    let count = "SELECT sessions_count FROM metrics_company_period WHERE period_kind = 'month'";
    let committed: i64 = store(&place).query_row(count, [], |row| row.get(0)).expect("one month");
    assert!((1..=2).contains(&committed), "{committed}");
    let server = Server::start(&place, &[]);
    let page = server.get(&format!("/v1/companies/{A}/metrics?period_kind=month")).json(200);
    assert_eq!(page["items"][0]["sessions_count"], 2);
    server.interrupt();
}

#[test]
fn a_key_for_one_company_reaches_only_that_company() {
    let place = Workplace::new();
    place.write("keys", format!("# who, secret, companies\na {SECRET_A} {A}\nall {SECRET_ALL} *\n"));
    let all = Server::start(&place, &["--api-keys", "keys"]).with_key(SECRET_ALL);
    for (n, company) in [(1, A), (2, B)] {
        all.send("kintell.session.completed", company, &session(n));
        all.send("kintell.session.completed", company, &json!({"sessionId": "x"}));
    }
    all.month(A, 1);
    let metric = all.month(B, 1)["lineage"]["hours"].as_str().expect("a path").to_owned();
    assert_eq!(all.get(&metric).status, 200);
    let n_letters = |page: &Value| page["items"].as_array().map_or(0, Vec::len);
    all.until("/v1/dead-letters", |page| n_letters(page) >= 2);

    let a = all.with_key(SECRET_A);
    let listed = a.until("/v1/companies", |page| page["items"][0].is_object());
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["items"][0]["company_id"], A);
    assert_eq!(a.get(&format!("/v1/companies/{B}/metrics")).status, 403);
    assert_eq!(a.get(&metric).status, 404);
    let letters = a.get("/v1/dead-letters").json(200);
    assert!(n_letters(&letters) > 0 && !letters.to_string().contains(B), "{letters}");
    let foreign = a.post("/v1/ingest/kintell.session.completed", &[JSON, ("x-company-id", B)], session(3).to_string());
    assert_eq!(foreign.status, 403, "{foreign:?}");
    let unsaid = a.post("/v1/ingest/kintell.session.completed", &[JSON], session(4).to_string());
    assert_eq!(unsaid.status, 202, "{unsaid:?}");
    assert_eq!(a.month(A, 2)["participants_count"], 2);
    let nobody = a.with_key("key-of-nobody-0123456789abcdef0123456789");
    assert_eq!(nobody.get("/v1/companies").status, 401);
    assert_eq!(nobody.get("/healthz").status, 200);
    nobody.interrupt();
}

#[test]
fn the_page_and_the_description_are_served_and_the_counters_count() {
    let place = Workplace::new();
    let server = Server::start(&place, &[]);
    let page = server.get("/");
    assert!(page.status == 200 && page.content_type.starts_with("text/html"), "{page:?}");
    let api = server.get("/openapi.json").json(200);
    for (path, methods) in api["paths"].as_object().expect("paths") {
        if methods.get("get").is_some() && !path.contains('{') {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
    }
    server.send("kintell.session.completed", A, &session(1));
    server.month(A, 1);
    let metrics = server.get("/metrics");
    assert!(metrics.status == 200 && metrics.text.contains("impact"), "{metrics:?}");
    server.interrupt();
}
