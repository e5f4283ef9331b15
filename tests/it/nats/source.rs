//! Reading streams of JetStream, and subjects of core NATS.

use super::server::{NatsServer, publish};
use super::{context, json, lines, nats, open_error, opened, read_now, read_rows, spec, table, table_of};
use arrow::datatypes::{DataType, Field, Schema};
use async_nats::HeaderMap;
use expect_test::expect;
use headwater_core::{Guarantee, Polled, Position, metadata_column};
use std::sync::Arc;

async fn publish_ids(context: &async_nats::jetstream::Context, subject: &str, ids: std::ops::RangeInclusive<i64>) {
    for line in json(ids) {
        publish(context, subject, line).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_excludes_exactly_what_was_returned() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("events", &["e.>"]).await;
    publish_ids(&client, "e.a", 1..=10).await;
    let options = [("servers", url.as_str()), ("stream", "events")];
    let mut first = opened(&options, None).await;
    let Polled::Batch(batch) = first.poll(4).await.expect("reads") else { panic!("rows are there") };
    assert_eq!(batch.batch.n_rows(), 4);
    let position = first.position();
    assert!(position.0["events"].starts_with("4 2"), "{position:?}");
    let text = serde_json::to_string(&position).expect("JSON");
    let position: Position = serde_json::from_str(&text).expect("the same");
    let mut second = opened(&options, Some(&position)).await;
    assert_eq!(read_now(second.as_mut(), 3).await, json(5..=10));
    publish_ids(&client, "e.b", 11..=12).await;
    assert_eq!(read_now(second.as_mut(), 100).await, json(11..=12));
    // The first one goes on as well, and is told what is done.
    assert_eq!(read_now(first.as_mut(), 100).await, json(5..=12));
    first.ack(&position).await.expect("is taken note of");
    // Before anything is read the position is the start.
    let mut late = opened(&[("servers", &url), ("stream", "events"), ("start", "latest")], None).await;
    let position = late.position();
    publish_ids(&client, "e.a", 13..=13).await;
    assert_eq!(read_now(late.as_mut(), 100).await, json(13..=13));
    let mut again = opened(&options, Some(&position)).await;
    assert_eq!(read_now(again.as_mut(), 100).await, json(13..=13));
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_starts_where_the_option_says() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("events", &["e.>"]).await;
    publish_ids(&client, "e.a", 1..=3).await;
    let stream = client.get_stream("events").await.expect("is there");
    let third = stream.get_raw_message(3).await.expect("is there").time;
    let third = chrono_text(third.unix_timestamp_nanos());
    let read = async |start: &str, mode: &str| {
        let options = [("servers", url.as_str()), ("stream", "events"), ("start", start), ("mode", mode)];
        read_now(opened(&options, None).await.as_mut(), 100).await
    };
    assert_eq!(read("earliest", "tail").await, json(1..=3));
    assert_eq!(read("2", "bounded").await, json(2..=3));
    assert_eq!(read(&third, "tail").await, json(3..=3));
    assert_eq!(read("4", "tail").await, json([]));
    let options = [("servers", url.as_str()), ("stream", "events"), ("start", "9")];
    let error = open_error(&options, None).await.to_string();
    expect![[r#"
        table t: the stream has the sequences 1 to 3, start = '9' is not there
        help: name one of them, or 'earliest' or 'latest'"#]]
    .assert_eq(&error);
    let mut bounded = opened(&[("servers", &url), ("stream", "events"), ("mode", "bounded")], None).await;
    publish_ids(&client, "e.a", 4..=5).await;
    assert_eq!(read_now(bounded.as_mut(), 2).await, json(1..=3));
    assert!(matches!(bounded.poll(10).await, Ok(Polled::End)));
}

fn chrono_text(nanos: i128) -> String {
    let time = arrow::array::TimestampNanosecondArray::from(vec![i64::try_from(nanos).expect("in range")]);
    let text = arrow::util::display::array_value_to_string(&time, 0).expect("a time");
    format!("{text}Z")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_of_a_message_is_in_columns() {
    let server = NatsServer::start();
    let client = server.stream("events", &["e.>"]).await;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", "m1");
    headers.append("Tag", "x");
    headers.append("Tag", "y");
    let sent = client.publish_with_headers("e.a", headers, r#"{"id":1}"#.into()).await.expect("is sent");
    sent.await.expect("is stored");
    publish(&client, "e.b", "not JSON").await;
    publish(&client, "e.b", r#"{"id":2}"#).await;
    publish(&client, "e.b", format!(r#"{{"id":3,"x":"{}"}}"#, "y".repeat(100))).await;
    let text = |name: &str, key: &str| metadata_column(Field::new(name, DataType::Utf8, true), key);
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    let keys = ["position", "stream", "subject", "sequence", "msg_id", "headers", "timestamp"];
    fields.extend(keys.map(|key| text(&format!("m_{key}"), key)));
    let url = server.url();
    let options = [("servers", url.as_str()), ("stream", "events"), ("record_bytes_max", "64")];
    let spec = nats().source(&table_of(Arc::new(Schema::new(fields)), &options)).expect("the options are right");
    let mut source = spec.open(&context()).await.expect("opens");
    let found = read_now(source.as_mut(), 100).await.join("\n");
    let time = found.split("\"m_timestamp\":\"").nth(1).expect("a time").split('"').next().expect("ends").to_owned();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    let shown: Vec<&str> = found.lines().map(|line| line.split(",\"m_timestamp\"").next().unwrap_or(line)).collect();
    expect![[r#"
        {"id":1,"m_position":"events:1","m_stream":"events","m_subject":"e.a","m_sequence":"1","m_msg_id":"m1","m_headers":"{\"Nats-Msg-Id\":\"m1\",\"Tag\":[\"x\",\"y\"]}"
        {"id":2,"m_position":"events:3","m_stream":"events","m_subject":"e.b","m_sequence":"3"
        too_long: events:4
        undecodable: events:2"#]].assert_eq(&shown.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_are_partitions_and_wildcards_filter() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("events", &["e.>", "other.*"]).await;
    for id in 1..=9_i64 {
        let subject = ["e.a.x", "e.b.x", "other.z"][usize::try_from(id % 3).expect("small")];
        publish(&client, subject, json([id]).remove(0)).await;
    }
    let options = [("servers", url.as_str()), ("stream", "events"), ("subjects", "e.a.>, other.*")];
    let mut source = opened(&options, None).await;
    let mut found = read_now(source.as_mut(), 100).await;
    found.sort();
    assert_eq!(found, json([2, 3, 5, 6, 8, 9]));
    // What was only of others is behind as well, so that it may be dropped.
    let _ = source.poll(100).await.expect("reads");
    let position = source.position();
    let keys: Vec<&str> = position.0.keys().map(String::as_str).collect();
    assert_eq!(keys, ["events/e.a.>", "events/other.*"]);
    assert!(position.0.values().all(|reached| reached.starts_with("9 ")), "{position:?}");
    // Two subtasks share the partitions, and go on from the position of one.
    let spec = spec(&options);
    assert_eq!((spec.parallelism_max(), spec.guarantee()), (2, Guarantee::ExactlyOnce));
    publish(&client, "e.a.y", json([10]).remove(0)).await;
    publish(&client, "other.y", json([11]).remove(0)).await;
    let mut shares = Vec::new();
    for subtask in 0..2 {
        let mut share = spec.open(&context().with_subtask(subtask, 2)).await.expect("opens");
        share.seek(&position).await.expect("goes on");
        shares.push(read_now(share.as_mut(), 100).await);
    }
    assert_eq!(shares, [json([10]), json([11])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_loses_and_doubles_nothing() {
    let mut server = NatsServer::start();
    let url = server.url();
    let client = server.stream("events", &["e.>"]).await;
    publish_ids(&client, "e.a", 1..=1000).await;
    let mut source = opened(&[("servers", &url), ("stream", "events")], None).await;
    let mut found = Vec::new();
    read_rows(source.as_mut(), 300, &mut found).await;
    for round in 0..3_i64 {
        server.kill();
        // What was received already is handed out; then there is nobody to ask.
        while let Ok(polled) = source.poll(100).await {
            if let Polled::Batch(batch) = polled {
                found.extend(lines(&batch.batch.rows));
            }
        }
        server.start_again();
        publish_ids(&server.client().await, "e.b", 1001 + round * 50..=1050 + round * 50).await;
        let n_rows = if round == 0 { 600 } else { 1050 + 50 * usize::try_from(round).expect("small") };
        read_rows(source.as_mut(), n_rows, &mut found).await;
    }
    read_rows(source.as_mut(), 1150, &mut found).await;
    assert_eq!(found, json(1..=1150));
    assert!(matches!(source.poll(100).await, Ok(Polled::Idle)));
}

#[tokio::test(flavor = "multi_thread")]
async fn core_nats_reads_at_most_once_and_says_so() {
    let server = NatsServer::start();
    let url = server.url();
    let client = async_nats::connect(&url).await.expect("the server is there");
    let options = [("servers", url.as_str()), ("subject", "live.*"), ("delivery", "at_most_once")];
    let spec = spec(&options);
    assert_eq!(spec.guarantee(), Guarantee::AtMostOnce);
    assert_eq!(spec.describe(), format!("nats {} core live.* (at most once)", url.trim_start_matches("nats://")));
    client.publish("live.a", json([1]).remove(0).into()).await.expect("is sent");
    client.flush().await.expect("is sent");
    let mut source = spec.open(&context()).await.expect("opens");
    for line in json(2..=4) {
        client.publish("live.a", line.into()).await.expect("is sent");
    }
    let mut found = Vec::new();
    read_rows(source.as_mut(), 3, &mut found).await;
    assert_eq!((found, source.position()), (json(2..=4), Position::default()));
    let error =
        nats().source(&table(&[("servers", &url), ("delivery", "at_most_once"), ("stream", "s"), ("subject", "a")]));
    let error = error.map(|_| ()).expect_err("a stream is of JetStream");
    assert_eq!(error.message(), "the option 'stream' needs JetStream");
}
