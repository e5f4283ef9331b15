//! The sink: what messages say, and that each epoch is sent once.

use super::*;
use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use headwater_core::{Batch, Changes, Epoch, ErrorKind, Guarantee, Prepared, Sink};
use std::path::Path;

fn batch(rows: &[(i64, &str, i64)]) -> Batch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
    let columns = RecordBatch::try_new(id_and_name(), vec![ids, names]).expect("two columns");
    match rows.iter().all(|row| row.2 == 1) {
        true => Batch::append_only(columns),
        false => Batch::changing(columns, Int64Array::from_iter_values(rows.iter().map(|row| row.2))).expect("diffs"),
    }
}

async fn open(declared: &TableDefinition, context: TaskContext) -> Result<Box<dyn Sink>> {
    let sink = Kafka.sink(declared)?;
    declared.options.check_all_known()?;
    sink.open(&context).await
}

async fn write(sink: &mut dyn Sink, epoch: u64, batches: Vec<Batch>) -> Result<Prepared> {
    for batch in batches {
        sink.write(batch).await?;
    }
    sink.prepare(Epoch(epoch)).await
}

fn kept(messages: &[Kept]) -> Vec<(Option<&str>, Option<&str>)> {
    messages.iter().map(|(_, key, value)| (key.as_deref(), value.as_deref())).collect()
}

fn values(brokers: &Brokers) -> Vec<String> {
    brokers.messages("t", 1).into_iter().filter_map(|(_, _, value)| value).collect()
}

fn at(folder: &Path, restored: Option<u64>) -> TaskContext {
    context().with_spool(Some(folder.to_owned())).with_restored(restored.map(Epoch))
}

#[tokio::test]
async fn rows_without_a_key_are_sent_at_the_commit_and_not_before() {
    let brokers = Brokers::new(&[("t", 1)]);
    let declared = table(&brokers.servers(), id_and_name(), &[], "key_columns = name");
    let mut sink = open(&declared, context()).await.expect("opens");
    let prepared = write(sink.as_mut(), 1, vec![batch(&[(1, "a", 1)]), batch(&[(2, "b\n", 1), (1, "a", 1)])])
        .await
        .expect("prepares");
    assert_eq!(brokers.messages("t", 1), vec![]);
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    sink.commit(Epoch(1), &prepared).await.expect("commits again");
    let empty = write(sink.as_mut(), 2, Vec::new()).await.expect("prepares nothing");
    sink.commit(Epoch(2), &empty).await.expect("commits nothing");
    let a = (Some("{\"name\":\"a\"}"), Some("{\"id\":1,\"name\":\"a\"}"));
    let b = (Some("{\"name\":\"b\\n\"}"), Some("{\"id\":2,\"name\":\"b\\n\"}"));
    assert_eq!(kept(&brokers.messages("t", 1)), [a, b, a]);
}

#[tokio::test]
async fn changes_are_upserts_and_tombstones_or_events() {
    let epoch =
        || vec![batch(&[(1, "a", 1), (2, "b", -1), (3, "c", -1)]), batch(&[(3, "d", 1), (1, "a", -1), (1, "e", 1)])];
    let brokers = Brokers::new(&[("t", 1), ("u", 1)]);
    let upserts = table(&brokers.servers(), id_and_name(), &[0], "key_format = raw\ncompression = zstd");
    assert_eq!(Kafka.sink(&upserts).expect("is fine").changes(), Changes::Upsert);
    let mut sink = open(&upserts, context()).await.expect("opens");
    let prepared = write(sink.as_mut(), 1, epoch()).await.expect("prepares");
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    let expected =
        [(Some("2"), None), (Some("3"), Some(r#"{"id":3,"name":"d"}"#)), (Some("1"), Some(r#"{"id":1,"name":"e"}"#))];
    assert_eq!(kept(&brokers.messages("t", 1)), expected);
    let events = table(&brokers.servers(), id_and_name(), &[0], "format = debezium_json\ntopic = u");
    let mut sink = open(&events, context()).await.expect("opens");
    let prepared = write(sink.as_mut(), 1, epoch()).await.expect("prepares");
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    let expected = [
        (Some("{\"id\":2}"), Some(r#"{"before":{"id":2,"name":"b"},"after":null,"op":"d"}"#)),
        (Some("{\"id\":3}"), Some(r#"{"before":{"id":3,"name":"c"},"after":{"id":3,"name":"d"},"op":"u"}"#)),
        (Some("{\"id\":1}"), Some(r#"{"before":null,"after":{"id":1,"name":"e"},"op":"c"}"#)),
    ];
    assert_eq!(kept(&brokers.messages("u", 1)), expected);
    let plain = table(&brokers.servers(), id_and_name(), &[], "");
    assert_eq!(Kafka.sink(&plain).expect("is fine").changes(), Changes::Upsert, "the planner asks for a PRIMARY KEY");
}

#[tokio::test]
async fn bytes_are_sent_as_they_are_and_null_is_no_value() {
    let brokers = Brokers::new(&[("t", 1)]);
    let schema = columns(&[("value", DataType::Binary)]);
    let declared = table(&brokers.servers(), schema.clone(), &[], "format = raw_bytes");
    assert_eq!(Kafka.sink(&declared).expect("is fine").changes(), Changes::AppendOnly);
    let mut sink = open(&declared, context()).await.expect("opens");
    let rows =
        RecordBatch::try_new(schema, vec![Arc::new(BinaryArray::from(vec![Some(&b"x"[..]), None]))]).expect("a column");
    let prepared = write(sink.as_mut(), 1, vec![Batch::append_only(rows)]).await.expect("prepares");
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    assert_eq!(kept(&brokers.messages("t", 1)), [(None, Some("x")), (None, None)]);
}

#[tokio::test]
async fn a_prepared_epoch_outlives_its_process_and_later_ones_are_void() {
    let brokers = Brokers::new(&[("t", 1)]);
    let folder = tempfile::tempdir().expect("a folder");
    let declared = table(&brokers.servers(), id_and_name(), &[], "");
    let mut sink = open(&declared, at(folder.path(), None)).await.expect("opens");
    let first = write(sink.as_mut(), 1, vec![batch(&[(1, "a", 1)])]).await.expect("prepares");
    sink.commit(Epoch(1), &first).await.expect("commits");
    let second = write(sink.as_mut(), 2, vec![batch(&[(2, "b", 1)])]).await.expect("prepares");
    drop(sink);
    // The checkpoint of 2 was written, its commit was not.
    let mut sink = open(&declared, at(folder.path(), Some(2))).await.expect("opens");
    sink.commit(Epoch(2), &second).await.expect("commits");
    let third = write(sink.as_mut(), 3, vec![batch(&[(3, "c", 1)])]).await.expect("prepares");
    drop((sink, third));
    // The checkpoint of 3 was not written: 2 is committed again, and 3 is made anew.
    let mut sink = open(&declared, at(folder.path(), Some(2))).await.expect("opens");
    sink.commit(Epoch(2), &second).await.expect("commits again");
    let third = write(sink.as_mut(), 3, vec![batch(&[(4, "d", 1)])]).await.expect("prepares");
    sink.commit(Epoch(3), &third).await.expect("commits");
    let row = |id: i64, name: &str| format!("{{\"id\":{id},\"name\":\"{name}\"}}");
    assert_eq!(values(&brokers), [row(1, "a"), row(2, "b"), row(4, "d")]);
}

#[tokio::test]
async fn a_spool_that_is_gone_is_an_error_that_names_it() {
    let brokers = Brokers::new(&[("t", 1)]);
    let folder = tempfile::tempdir().expect("a folder");
    let declared = table(&brokers.servers(), id_and_name(), &[], "");
    let mut sink = open(&declared, at(folder.path(), None)).await.expect("opens");
    let prepared = write(sink.as_mut(), 7, vec![batch(&[(1, "a", 1), (2, "b", 1)])]).await.expect("prepares");
    drop(sink);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let mut sink = open(&declared, at(elsewhere.path(), Some(7))).await.expect("opens");
    let error = sink.commit(Epoch(7), &prepared).await.expect_err("the rows are lost");
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.message().starts_with("2 messages of epoch 7 are gone: "), "{error}");
}

#[tokio::test]
async fn a_run_that_begins_anew_is_not_taken_for_the_one_before() {
    let brokers = Brokers::new(&[("t", 1)]);
    let folder = tempfile::tempdir().expect("a folder");
    let declared = table(&brokers.servers(), id_and_name(), &[], "");
    for name in ["a", "b"] {
        let mut sink = open(&declared, at(folder.path(), None)).await.expect("opens");
        for epoch in 1..3 {
            let prepared = write(sink.as_mut(), epoch, vec![batch(&[(1, name, 1)])]).await.expect("prepares");
            sink.commit(Epoch(epoch), &prepared).await.expect("commits");
        }
    }
    assert_eq!(values(&brokers).len(), 4);
}

#[tokio::test]
async fn at_least_once_sends_before_the_checkpoint_and_says_so() {
    let brokers = Brokers::new(&[("t", 1)]);
    let declared = table(&brokers.servers(), id_and_name(), &[], "delivery = at_least_once");
    let spec = Kafka.sink(&declared).expect("is fine");
    assert_eq!((spec.guarantee(), spec.describe().ends_with("at least once")), (Guarantee::AtLeastOnce, true));
    let exactly = Kafka.sink(&table("x:1", id_and_name(), &[], "")).expect("is fine");
    assert_eq!(exactly.guarantee(), Guarantee::ExactlyOnce);
    let mut sink = open(&declared, context()).await.expect("opens");
    let prepared = write(sink.as_mut(), 1, vec![batch(&[(1, "a", 1)])]).await.expect("prepares");
    assert_eq!(values(&brokers), ["{\"id\":1,\"name\":\"a\"}"]);
    sink.commit(Epoch(1), &prepared).await.expect("commits");
    assert_eq!(values(&brokers).len(), 1);
}

#[tokio::test]
async fn a_row_that_is_too_long_for_a_message_is_rejected_and_its_neighbours_are_not() {
    let brokers = Brokers::new(&[("t", 1)]);
    let declared = table(&brokers.servers(), id_and_name(), &[], "librdkafka.message.max.bytes = 1000");
    let mut sink = open(&declared, context()).await.expect("opens");
    let long = "x".repeat(1000);
    let prepared =
        write(sink.as_mut(), 4, vec![batch(&[(1, "a", 1), (2, &long, 1), (3, "c", 1)])]).await.expect("prepares");
    let rejected = sink.take_rejected();
    assert_eq!(rejected.len(), 1);
    let letter = &rejected[0];
    assert_eq!((letter.reason.code(), letter.position.as_str()), ("rejected", "epoch 4, message 1"));
    assert_eq!(letter.message, "a message of 1018 bytes, 1000 are allowed");
    assert!(sink.take_rejected().is_empty());
    sink.commit(Epoch(4), &prepared).await.expect("commits");
    assert_eq!(values(&brokers).len(), 2);
}

#[tokio::test]
async fn brokers_that_are_away_during_a_commit_make_it_unavailable_and_it_succeeds_later() {
    let brokers = Brokers::new(&[("t", 1)]);
    let options =
        "request_timeout = 2 seconds\nlibrdkafka.reconnect.backoff.ms = 10\nlibrdkafka.reconnect.backoff.max.ms = 50";
    let declared = table(&brokers.servers(), id_and_name(), &[], options);
    let mut sink = open(&declared, context()).await.expect("opens");
    let prepared = write(sink.as_mut(), 1, vec![batch(&[(1, "a", 1)])]).await.expect("prepares");
    brokers.cluster.broker_down(-1).expect("goes down");
    {
        let error = sink.commit(Epoch(1), &prepared).await.expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    brokers.cluster.broker_up(-1).expect("comes back");
    let started = Instant::now();
    while let Err(error) = sink.commit(Epoch(1), &prepared).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(started.elapsed() < DEADLINE, "{error}");
    }
    sink.commit(Epoch(1), &prepared).await.expect("commits again");
    assert_eq!(values(&brokers), ["{\"id\":1,\"name\":\"a\"}"]);
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_not_found() {
    let brokers = Brokers::new(&[("t", 1)]);
    let options = "topic = u\nlibrdkafka.allow.auto.create.topics = false\nrequest_timeout = 2 seconds";
    let error =
        open(&table(&brokers.servers(), id_and_name(), &[], options), context()).await.map(|_| ()).expect_err("fails");
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}
