//! The event bus against a real NATS server and a Kafka broker in this process: what is accepted, what is not, what
//! comes again, and the commands that use it.

use crate::nats::server::{NatsServer, publish};
use crate::support::Workplace;
use expect_test::expect;
use headwater_bus::{Bus, Delivery, Event, Since, Stored, Subscription};
use headwater_contracts::{BuddyCheckinCompleted, BuddyFeedbackSubmitted, Metadata};
use headwater_core::{ErrorKind, EventTime};
use rdkafka::mocking::MockCluster;
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use uuid::Uuid;

const TYPE: &str = "buddy.feedback.submitted";
const UUID: u128 = 0x0000_0000_0000_4000_8000_0000_0000_0000;

fn metadata(id: u128, second: i64) -> Metadata {
    let (id, timestamp) = (Uuid::from_u128(UUID + id), EventTime(second * 1_000_000_000));
    Metadata { id, timestamp, correlation_id: None, causation_id: None, metadata: Map::new() }
}

fn data(rating: f64) -> Map<String, Value> {
    let data = json!({
        "feedbackId": Uuid::from_u128(UUID + 2), "matchId": Uuid::from_u128(UUID + 3), "fromRole": "buddy",
        "rating": rating, "submittedAt": "2026-01-01T00:00:00Z",
    });
    data.as_object().cloned().expect("an object")
}

fn event(id: u128) -> Event {
    Event::new::<BuddyFeedbackSubmitted>(data(0.5), metadata(id, 0)).expect("is valid")
}

fn line(id: u128) -> String {
    String::from_utf8(event(id).line().to_vec()).expect("text")
}

async fn number(subscription: &mut Subscription) -> (u128, Delivery) {
    let delivery = subscription.next().await.expect("an event comes");
    (delivery.event().id().as_u128() - UUID, delivery)
}

/// What holds for every broker.
async fn deliver(bus: &Bus) {
    for id in 1..=3 {
        assert_eq!(bus.publish(&event(id)).await.expect("is published"), Stored::New);
    }
    // Somebody publishes a correction, and a check-in that the feedback caused.
    let correction = Event::new::<BuddyFeedbackSubmitted>(data(0.25), metadata(1, 60)).expect("is valid");
    assert_eq!(bus.publish(&correction).await.expect("is published"), Stored::New);
    let mut caused = event(3).caused(Uuid::from_u128(UUID + 9), EventTime(0));
    caused.metadata.insert("companyId".into(), json!(Uuid::from_u128(UUID + 8)));
    let checkin = json!({
        "checkinId": Uuid::from_u128(UUID + 4), "matchId": Uuid::from_u128(UUID + 3),
        "checkinDate": "2026-01-01T00:00:00Z",
    });
    let checkin = checkin.as_object().cloned().expect("an object");
    bus.publish(&Event::new::<BuddyCheckinCompleted>(checkin, caused).expect("is valid")).await.expect("is published");
    let mut first = bus.subscribe(&[TYPE], "readers", Since::Start).await.expect("subscribes");
    let (id, delivery) = number(&mut first).await;
    assert_eq!((id, delivery.event().event_type()), (1, TYPE));
    delivery.ack().await.expect("is taken note of");
    let (id, _not_acknowledged) = number(&mut first).await;
    assert_eq!(id, 2);
    let mut others = bus.subscribe(&["buddy.checkin.completed"], "others", Since::Start).await.expect("subscribes");
    let (id, delivery) = number(&mut others).await;
    let third = Some(event(3).id());
    assert_eq!((id, delivery.event().correlation_id(), delivery.event().causation_id()), (9, third, third));
    delivery.ack().await.expect("is taken note of");
    let error = bus.subscribe(&["buddy.nothing"], "g", Since::Start).await.map(|_| ()).expect_err("no such type");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_delivers_valid_events_and_keeps_the_others() {
    let mut server = NatsServer::start();
    let bus = Bus::connect(&server.url()).await.expect("connects");
    deliver(&bus).await;
    assert_eq!(bus.publish(&event(1)).await.expect("is published"), Stored::Before);
    // What is no event is put aside with its reason, and the next event comes.
    let client = server.client().await;
    for bad in ["not JSON", &line(7).replace("0.5", "7")] {
        publish(&client, TYPE, bad).await;
    }
    bus.publish(&event(5)).await.expect("is published");
    let mut later = bus.subscribe(&[TYPE], "later", Since::Start).await.expect("subscribes");
    let mut ids = Vec::new();
    for round in 0..5 {
        let (id, delivery) = number(&mut later).await;
        ids.push(id);
        delivery.ack().await.expect("is taken note of");
        if round == 1 {
            server.kill();
            server.start_again();
        }
    }
    assert_eq!(ids, [1, 2, 3, 1, 5]);
    let mut letters = bus.tail("dead_letter.>", Since::Start).await.expect("follows");
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let letter: Value = serde_json::from_slice(&letters.next().await.expect("comes")).expect("JSON");
        let letter = &letter["rejected"];
        reasons.push(format!("{} {} {}", letter["reason"], letter["path"], letter["position"]));
    }
    expect![[r#"
        "undecodable" "" "HEADWATER:6"
        "out_of_range" "data.rating" "HEADWATER:7""#]]
    .assert_eq(&reasons.join("\n"));
    // A member that went away without a word leaves its event to the next one.
    let other = bus.subscribe(&["buddy.checkin.completed"], "later", Since::Start).await.map(|_| ());
    assert_eq!(other.expect_err("reads others").kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_delivers_valid_events_and_what_was_not_acknowledged_again() {
    let cluster = MockCluster::new(1).expect("a broker");
    for topic in [TYPE, "buddy.checkin.completed", "dead_letter.buddy.feedback.submitted"] {
        cluster.create_topic(topic, 1, 1).expect("a topic");
    }
    let url = format!("kafka://{}", cluster.bootstrap_servers());
    let bus = Bus::connect(&url).await.expect("connects");
    deliver(&bus).await;
    // The first member of the group is gone; the next one goes on after what was acknowledged.
    let mut next = bus.subscribe(&[TYPE], "readers", Since::Start).await.expect("subscribes");
    let (id, delivery) = number(&mut next).await;
    assert_eq!(id, 2);
    delivery.ack().await.expect("is taken note of");
    // What is published twice is read once: the version that this member has seen is left out.
    bus.publish(&event(2)).await.expect("is published");
    bus.publish(&event(6)).await.expect("is published");
    let mut ids = Vec::new();
    for _ in 0..3 {
        let (id, delivery) = number(&mut next).await;
        ids.push(id);
        delivery.ack().await.expect("is taken note of");
    }
    assert_eq!(ids, [3, 1, 6]);
}

#[test]
fn a_file_is_published_once_and_its_bad_lines_are_named() {
    let server = NatsServer::start();
    let place = Workplace::new();
    let wrong = line(3).replace("\"rating\":0.5", "\"rating\":7").replace("\"buddy\"", "\"nobody\"");
    let other = line(4).replace(TYPE, "buddy.checkin.completed");
    place.write("events.jsonl", [line(1), line(2), String::new(), "{".into(), wrong, other, line(1)].join("\n"));
    let url = server.url();
    let ran = place.headwater(&["publish", TYPE, "events.jsonl", "--bus", &url]);
    assert!(!ran.success);
    expect![[r#"
        line 4: undecodable (line): N
        line 5: out_of_range (data.fromRole): N
        line 5: out_of_range (data.rating): N
        line 6: missing_field (data.checkinId): N
        line 6: missing_field (data.checkinDate): N
        6 events = 2 accepted + 1 published before + 3 rejected
    "#]]
    .assert_eq(&without_messages(&ran.stdout));
    place.write("good.jsonl", [line(1), line(2)].join("\n"));
    let ran = place.headwater(&["publish", TYPE, "good.jsonl", "--bus", &url]).succeeded();
    assert_eq!(ran.stdout, "2 events = 0 accepted + 2 published before + 0 rejected\n");
    let ran = place.headwater(&["tail", "buddy.*.submitted", "--bus", &url, "--from", "start", "--count", "2"]);
    assert_eq!(ran.succeeded().stdout, format!("{}\n{}\n", line(1), line(2)));
    let error = place.headwater(&["publish", "buddy.feedback", "good.jsonl", "--bus", &url]).failed();
    assert!(error.contains("there is no contract 'buddy.feedback'"), "{error}");
    let error = place.headwater(&["tail", "a..b", "--bus", &url]).failed();
    assert!(error.contains("'a..b' is no subject"), "{error}");
    let error = place.headwater(&["tail", "a", "--bus", "redis://s3cret@h"]).failed();
    assert!(error.contains("no address of an event bus") && !error.contains("s3cret"), "{error}");
}

/// Keeps of each line what is before its last colon.
fn without_messages(text: &str) -> String {
    let line = |line: &str| match line.split_once("): ") {
        Some((start, _)) => format!("{start}): N\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn imports_and_the_api_publish_to_the_bus_and_a_server_reads_from_it() {
    let server = NatsServer::start();
    let place = Workplace::new();
    let url = server.url();
    let sample = crate::support::repository("tests/data/buddy-matches.csv");
    let sample = sample.to_string_lossy();
    let import = ["import", "buddy-matches", &sample, "--company", "Acme", "--bus", &url];
    let ran = place.headwater(&import).succeeded();
    assert!(ran.stdout.contains("accepted"), "{}", ran.stdout);
    assert!(!place.path().join(".headwater/data/inbox").exists());
    let tail = ["tail", "buddy.>", "--bus", &url, "--from", "start", "--count", "1"];
    let first: Value = serde_json::from_str(&place.headwater(&tail).succeeded().stdout).expect("an event");
    assert_eq!(first["type"], "buddy.match.created");
    let mut serving = place
        .command(&["serve", "--listen", "127.0.0.1:0", "--bus", &url])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(serving.stdout.take().expect("piped")).lines();
    let address = lines.next().expect("says where it is").expect("text");
    let address = address.rsplit(' ').next().expect("an address").trim_end_matches('/').to_owned();
    let sent = ureq::post(&format!("{address}/v1/ingest/{TYPE}"))
        .header("content-type", "application/json")
        .send(line(1))
        .expect("is taken");
    assert_eq!(sent.status(), 202);
    let tail = ["tail", TYPE, "--bus", &url, "--from", "start", "--count", "1"];
    let found: Value = serde_json::from_str(&place.headwater(&tail).succeeded().stdout).expect("an event");
    assert_eq!(found["metadata"]["id"], json!(event(1).id()));
    // And from the bus into the inbox of the server, where the pipeline reads it.
    let inbox = place.path().join(format!(".headwater/data/inbox/{TYPE}/00000001.jsonl"));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !std::fs::read_to_string(&inbox).is_ok_and(|text| text.contains(&event(1).id().to_string())) {
        assert!(std::time::Instant::now() < deadline, "the event does not come");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    let _ = serving.kill();
    let _ = serving.wait();
}
