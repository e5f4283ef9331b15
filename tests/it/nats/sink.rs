//! Writing to streams: nothing before the commit, everything once after it, whoever is killed in between.

use super::server::NatsServer;
use super::{context, json, nats, rows, table};
use arrow::array::Int64Array;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{Context, stream};
use expect_test::expect;
use futures::StreamExt;
use headwater_core::{Batch, Epoch, ErrorKind, Guarantee, Prepared, Sink, SinkSpec, TaskContext};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a stream has: subject and payload of each message, in order.
async fn messages(client: &Context, name: &str) -> Vec<(String, String)> {
    let stream = client.get_stream(name).await.expect("is there");
    let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
    let consumer = stream.create_consumer(config).await.expect("is made");
    let n_messages = usize::try_from(consumer.cached_info().num_pending).expect("small");
    let mut found = Vec::new();
    while found.len() < n_messages {
        let mut batch = consumer.fetch().max_messages(n_messages).messages().await.expect("is asked for");
        while let Some(message) = batch.next().await {
            let message = message.expect("comes");
            found.push((message.subject.to_string(), String::from_utf8(message.payload.to_vec()).expect("text")));
        }
    }
    found
}

pub(super) async fn payloads(client: &Context, name: &str) -> Vec<String> {
    messages(client, name).await.into_iter().map(|(_, payload)| payload).collect()
}

fn spec(options: &[(&str, &str)]) -> Arc<dyn SinkSpec> {
    nats().sink(&table(options)).expect("the options are right")
}

fn in_folder(folder: &Path, restored: Option<u64>) -> TaskContext {
    context().with_spool(Some(folder.join("spool"))).with_restored(restored.map(Epoch))
}

async fn write(sink: &mut dyn Sink, ids: std::ops::RangeInclusive<i64>) {
    let ids: Vec<i64> = ids.collect();
    sink.write(Batch::append_only(rows(&ids))).await.expect("is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_appear_at_the_commit_and_once() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("out", &["o.>"]).await;
    let options = [("servers", url.as_str()), ("stream", "out"), ("subject", "o.{name}.x")];
    let spec = spec(&options);
    assert_eq!(spec.guarantee(), Guarantee::ExactlyOnce);
    let mut sink = spec.open(&context()).await.expect("opens");
    write(sink.as_mut(), 1..=3).await;
    let token = sink.prepare(Epoch(1)).await.expect("is prepared");
    write(sink.as_mut(), 4..=4).await;
    assert_eq!(payloads(&client, "out").await, json([]));
    for _ in 0..3 {
        sink.commit(Epoch(1), &token).await.expect("is published");
    }
    let expected: Vec<(String, String)> =
        (1..=3).zip(json(1..=3)).map(|(id, text)| (format!("o.n{id}.x"), text)).collect();
    assert_eq!(messages(&client, "out").await, expected);
    let token = sink.prepare(Epoch(2)).await.expect("is prepared");
    sink.commit(Epoch(2), &token).await.expect("is published");
    let nothing = sink.prepare(Epoch(3)).await.expect("is prepared");
    assert_eq!(nothing, Prepared::default());
    sink.commit(Epoch(3), &nothing).await.expect("has nothing to do");
    assert_eq!(payloads(&client, "out").await, json(1..=4));
    // A run that begins anew counts epochs alike and is another run all the same.
    let mut sink = spec.open(&context()).await.expect("opens");
    write(sink.as_mut(), 5..=5).await;
    let token = sink.prepare(Epoch(1)).await.expect("is prepared");
    sink.commit(Epoch(1), &token).await.expect("is published");
    assert_eq!(payloads(&client, "out").await, json(1..=5));
}

/// Publishes the first messages of a prepared epoch as a process does that is killed in the middle of its commit.
async fn publish_some(client: &Context, token: &Prepared, ids: std::ops::RangeInclusive<i64>) {
    let prefix = token.0["ids"].as_str().expect("a token names its ids");
    for (number, line) in json(ids).into_iter().enumerate() {
        let message = PublishMessage::build().payload(line.into()).message_id(format!("{prefix}/{number}"));
        client.send_publish("o.x", message).await.expect("is sent").await.expect("is stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_publishes_what_is_missing_and_no_more() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.client().await;
    // The server remembers ids for so short a time that only what is in the stream can tell.
    let config = stream::Config {
        name: "out".into(),
        subjects: vec!["o.>".into()],
        duplicate_window: Duration::from_millis(100),
        ..stream::Config::default()
    };
    client.create_stream(config).await.expect("is made");
    let spec = spec(&[("servers", &url), ("stream", "out"), ("subject", "o.x")]);
    // Few messages are in the token, many in a file.
    for (round, n) in [(1, 20), (2, 3000)] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut killed = spec.open(&in_folder(folder.path(), None)).await.expect("opens");
        write(killed.as_mut(), 1..=n).await;
        let token = killed.prepare(Epoch(7)).await.expect("is prepared");
        drop(killed);
        let is_small = serde_json::to_string(&token).expect("JSON").len() < 20_000;
        assert_eq!((is_small, token.0["kept"].get("file").is_none()), (true, round == 1));
        publish_some(&client, &token, 1..=7).await;
        forget_ids(&client).await;
        let mut other = spec.open(&in_folder(folder.path(), Some(7))).await.expect("opens");
        other.commit(Epoch(7), &token).await.expect("is published");
        assert_eq!(published(&client).await, json(1..=n));
        // And once more, after a crash between the commit and the next checkpoint.
        forget_ids(&client).await;
        let mut third = spec.open(&in_folder(folder.path(), Some(7))).await.expect("opens");
        third.commit(Epoch(7), &token).await.expect("finds that it is done");
        let files = std::fs::read_dir(folder.path().join("spool")).expect("is there");
        assert!(files.flatten().all(|file| file.file_name() != "7.spool"));
        assert_eq!(published(&client).await, json(1..=n));
        client.get_stream("out").await.expect("is there").purge().await.expect("is purged");
    }
}

/// What the stream has but for the probes.
async fn published(client: &Context) -> Vec<String> {
    payloads(client, "out").await.into_iter().filter(|payload| payload != "probe").collect()
}

/// Waits until the server has forgotten the ids of what it has: it takes one that it was given later a second time.
async fn forget_ids(client: &Context) {
    let id = format!("probe {:?}", Instant::now());
    let deadline = Instant::now() + super::PATIENCE;
    let mut n_taken = 0;
    while n_taken < 2 {
        let message = PublishMessage::build().payload("probe".into()).message_id(&id);
        let taken = client.send_publish("o.probe", message).await.expect("is sent").await.expect("is stored");
        n_taken += usize::from(!taken.duplicate);
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_during_a_commit_doubles_nothing() {
    let mut server = NatsServer::start();
    let url = server.url();
    server.stream("out", &["o.>"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let spec = spec(&[("servers", &url), ("stream", "out"), ("subject", "o.x")]);
    let mut sink = spec.open(&in_folder(folder.path(), None)).await.expect("opens");
    let n = 20_000;
    write(sink.as_mut(), 1..=n).await;
    let token = sink.prepare(Epoch(1)).await.expect("is prepared");
    let watcher = server.client().await;
    let committing = async {
        let result = sink.commit(Epoch(1), &token).await;
        (sink, result)
    };
    let killing = async {
        // In the middle: some are there.
        loop {
            let stream = watcher.get_stream("out").await.expect("is there");
            if stream.cached_info().state.messages > 500 {
                break;
            }
        }
        server.kill();
    };
    let ((mut sink, result), ()) = tokio::join!(committing, killing);
    let error = result.expect_err("the server was killed");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    server.start_again();
    let deadline = Instant::now() + super::PATIENCE;
    while let Err(error) = sink.commit(Epoch(1), &token).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut found = payloads(&server.client().await, "out").await;
    let mut expected = json(1..=n);
    found.sort();
    expected.sort();
    assert!(found == expected, "{} messages of {n}", found.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_nats_refuses_are_set_aside() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("out", &["o.>"]).await;
    let spec = spec(&[("servers", &url), ("stream", "out"), ("subject", "o.{name}")]);
    let mut sink = spec.open(&context()).await.expect("opens");
    let long = "n".repeat(2 << 20);
    let names = arrow::array::StringArray::from(vec![Some("a"), None, Some("b c"), Some(long.as_str()), Some("d")]);
    let batch = rows(&[1, 2, 3, 4, 5]);
    let columns: Vec<arrow::array::ArrayRef> = vec![batch.column(0).clone(), Arc::new(names)];
    let batch = arrow::array::RecordBatch::try_new(batch.schema(), columns).expect("two columns");
    sink.write(Batch::append_only(batch.clone())).await.expect("is taken");
    let token = sink.prepare(Epoch(1)).await.expect("is prepared");
    let letters = sink.take_rejected();
    let shown: Vec<String> =
        letters.iter().map(|l| format!("{} {} {}", l.reason, l.message, l.payload.len())).collect();
    assert_eq!(
        shown[..2],
        ["rejected 'name' is null and cannot be in a subject 20", "rejected 'o.b c' is no subject 21"]
    );
    assert!(
        shown[2].starts_with("rejected the subject has 2097154 bytes, NATS takes 2048 ") && letters.len() == 3,
        "{shown:?}"
    );
    sink.commit(Epoch(1), &token).await.expect("is published");
    let subjects: Vec<String> = messages(&client, "out").await.into_iter().map(|(subject, _)| subject).collect();
    assert_eq!(subjects, ["o.a", "o.d"]);
    let spec = self::spec(&[("servers", &url), ("stream", "out"), ("subject", "o.{id}")]);
    let mut sink = spec.open(&context()).await.expect("opens");
    sink.write(Batch::append_only(batch)).await.expect("is taken");
    let letters = sink.take_rejected();
    assert!(letters.len() == 1 && letters[0].message.starts_with("the message has 2097170 bytes, NATS takes "));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_debezium_objects_of_the_net_change() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("out", &["o.>"]).await;
    let mut table = table(&[("servers", &url), ("stream", "out"), ("subject", "o.x")]);
    table.primary_key = vec![0];
    let spec = nats().sink(&table).expect("the options are right").for_changes().expect("writes changes as well");
    let mut sink = spec.open(&context()).await.expect("opens");
    let change =
        |ids: &[i64], diffs: &[i64]| Batch::changing(rows(ids), Int64Array::from(diffs.to_vec())).expect("fits");
    sink.write(change(&[1, 2], &[1, 1])).await.expect("is taken");
    sink.write(change(&[2, 3], &[-1, -1])).await.expect("is taken");
    let token = sink.prepare(Epoch(1)).await.expect("is prepared");
    sink.commit(Epoch(1), &token).await.expect("is published");
    expect![[r#"
        {"before":{"id":3,"name":"n3"},"after":null,"op":"d"}
        {"before":null,"after":{"id":1,"name":"n1"},"op":"c"}"#]]
    .assert_eq(&payloads(&client, "out").await.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_made_when_asked_and_checked() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("other", &["p.>"]).await;
    let refused = async |options: &[(&str, &str)]| match spec(options).open(&context()).await {
        Ok(_) => panic!("opens"),
        Err(error) => error.to_string(),
    };
    let missing = [("servers", url.as_str()), ("stream", "out"), ("subject", "o.{id}")];
    let errors = [
        refused(&missing).await,
        refused(&[("servers", &url), ("stream", "other"), ("subject", "o.x")]).await,
        refused(&[("servers", &url), ("stream", "new"), ("subject", "p.x"), ("create_stream", "true")]).await,
    ];
    expect![[r#"
        table t: there is no stream 'out' in NATS
        help: make it first, or add create_stream = 'true'
        table t: the stream 'other' does not capture the subject 'o.x'
        help: it captures: p.>"#]]
    .assert_eq(&errors[..2].join("\n"));
    assert!(errors[2].contains("making the stream 'new'"), "{}", errors[2]);
    let making: Vec<(&str, &str)> = missing.into_iter().chain([("create_stream", "true")]).collect();
    let mut sink = spec(&making).open(&context()).await.expect("makes the stream");
    write(sink.as_mut(), 1..=2).await;
    let token = sink.prepare(Epoch(1)).await.expect("is prepared");
    sink.commit(Epoch(1), &token).await.expect("is published");
    let subjects =
        |messages: Vec<(String, String)>| messages.into_iter().map(|(subject, _)| subject).collect::<Vec<_>>();
    assert_eq!(subjects(messages(&client, "out").await), ["o.1", "o.2"]);
    let wrong =
        |options: &[(&str, &str)]| nats().sink(&table(options)).map(|_| ()).expect_err("is refused").to_string();
    let errors = [
        wrong(&[("servers", &url), ("stream", "out")]),
        wrong(&[("servers", &url), ("stream", "out"), ("subject", "o.{nobody}")]),
        wrong(&[("servers", &url), ("stream", "out"), ("subject", "o.*")]),
        wrong(&[("servers", &url), ("stream", "out"), ("subject", "o.x"), ("format", "csv")]),
        wrong(&[("servers", &url), ("stream", "out"), ("subject", "o.x"), ("delivery", "at_most_once")]),
        wrong(&[("servers", &url), ("stream", "out"), ("subject", "o.x"), ("create_stream", "yes")]),
    ];
    expect![[r#"
        the option 'subject' is missing
        help: add subject = '…' to WITH
        the option subject = 'o.{nobody}' names no column of the table: 'nobody'
        help: its columns are: id, name
        the option subject = 'o.*' is no subject
        help: write tokens with dots between them, such as 'orders.new' or 'orders.{region}'
        the option format = 'csv' is not understood
        help: use one of: json, debezium_json
        a sink of NATS writes through JetStream
        help: remove the option delivery
        the option create_stream = 'yes' is not understood
        help: use true or false"#]]
    .assert_eq(&errors.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_gone_are_not_taken_for_published() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("out", &["o.>"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let spec = spec(&[("servers", &url), ("stream", "out"), ("subject", "o.x")]);
    let mut sink = spec.open(&in_folder(folder.path(), None)).await.expect("opens");
    write(sink.as_mut(), 1..=3000).await;
    let token = sink.prepare(Epoch(3)).await.expect("is prepared");
    publish_some(&client, &token, 1..=5).await;
    std::fs::remove_dir_all(folder.path().join("spool")).expect("was there");
    let mut other = spec.open(&in_folder(folder.path(), Some(3))).await.expect("opens");
    let error = other.commit(Epoch(3), &token).await.expect_err("2995 messages are lost");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(
        error.message().starts_with("the messages of epoch 3 are gone: 5 of 3000 are in the stream 'out'"),
        "{error}"
    );
}
