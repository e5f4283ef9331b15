//! The source: positions, partitions, what is bad, and what the brokers may do.

use super::super::source::{KafkaSourceSpec, open_reader};
use super::*;
use headwater_core::{ErrorKind, Position, metadata_column};

const BOUNDED: &str = "format = json\nstart = earliest\nbounded = true";

fn rows(read: &ReadSoFar) -> Vec<(u32, &str)> {
    let mut rows: Vec<_> = read.rows.iter().map(|(partition, row)| (*partition, row.as_str())).collect();
    rows.sort_by_key(|(partition, _)| *partition);
    rows
}

fn row(id: i64) -> String {
    format!("{{\"id\":{id}}}")
}

/// Writes `n` rows to each partition; the id is the partition's number in hundreds and the offset.
fn fill(brokers: &Brokers, n_partitions: i32, ids: std::ops::Range<i64>) {
    for partition in 0..n_partitions {
        let rows: Vec<String> = ids.clone().map(|id| row(i64::from(partition) * 100 + id)).collect();
        brokers.fill("t", partition, &rows.iter().map(String::as_str).collect::<Vec<_>>());
    }
}

fn ids(read: &ReadSoFar) -> Vec<i64> {
    let id = |row: &(u32, String)| {
        serde_json::from_str::<serde_json::Value>(&row.1).expect("JSON")["id"].as_i64().expect("id")
    };
    let mut ids: Vec<i64> = read.rows.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn a_bounded_source_reads_what_is_there_and_ends() {
    let brokers = Brokers::new(&[("t", 2)]);
    brokers.send("t", 1, Some("k"), Some(br#"{"id":1,"name":"a"}"#));
    brokers.send("t", 1, None, Some(br#"{"id":2}"#));
    brokers.flush();
    let mark = |name: &str, key: &str| metadata_column(Field::new(name, DataType::Utf8, true), key);
    let mut fields: Vec<Field> = vec![Field::new("id", DataType::Int64, true)];
    fields.extend(super::super::source::METADATA_KEYS.map(|key| mark(&format!("m_{key}"), key)));
    let read = read_all(&table(&brokers.servers(), Arc::new(Schema::new(fields)), &[], BOUNDED)).await.expect("reads");
    let about = |key: &str, offset: i64| {
        format!(
            "\"m_key\":{key},\"m_topic\":\"t\",\"m_partition\":\"1\",\"m_offset\":\"{offset}\",\
             \"m_timestamp\":\"2023-11-14T22:13:20.000Z\",\
             \"m_headers\":\"[[\\\"h\\\",\\\"1\\\"]]\",\"m_position\":\"t/1:{offset}\""
        )
    };
    let expected = [format!("{{\"id\":1,{}}}", about("\"k\"", 0)), format!("{{\"id\":2,{}}}", about("null", 1))];
    assert_eq!(read.rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_position_excludes_what_was_returned_and_nothing_else_at_any_parallelism() {
    let brokers = Brokers::new(&[("t", 3)]);
    fill(&brokers, 3, 0..5);
    let declared =
        table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], "format = json\nstart = earliest");
    let mut first = source(&declared).expect("is fine").open(&context()).await.expect("opens");
    let mut read = ReadSoFar::default();
    assert_eq!(first.position().0.len(), 3, "all partitions are in a position from the start");
    read.until(first.as_mut(), 7).await.expect("reads");
    let position = first.position();
    drop(first);
    fill(&brokers, 3, 5..7);
    for parallelism in [1, 2, 4] {
        let mut again = ReadSoFar { rows: read.rows.clone(), letters: Vec::new() };
        let mut merged = Position::default();
        for subtask in 0..parallelism {
            let context = context().with_subtask(subtask, parallelism);
            let bounded = table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], BOUNDED);
            let mut source = source(&bounded).expect("is fine").open(&context).await.expect("opens");
            source.seek(&position).await.expect("the position is still there");
            assert!(again.until(source.as_mut(), usize::MAX).await.expect("reads"));
            merged.0.extend(source.position().0);
        }
        let expected: Vec<i64> = (0..3).flat_map(|p| (0..7).map(move |id| p * 100 + id)).collect();
        assert_eq!(ids(&again), expected, "parallelism {parallelism}");
        assert_eq!(merged.0.values().map(String::as_str).collect::<Vec<_>>(), ["7", "7", "7"]);
    }
}

#[tokio::test]
async fn a_position_that_cannot_be_continued_is_an_error_with_numbers() {
    let brokers = Brokers::new(&[("t", 1), ("big", 1)]);
    fill(&brokers, 1, 0..3);
    let id = || columns(&[("id", DataType::Int64)]);
    let spec = source(&table(&brokers.servers(), id(), &[], BOUNDED)).expect("is fine");
    let mut source_t = spec.open(&context()).await.expect("opens");
    let position =
        |entries: &[(&str, &str)]| Position(entries.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect());
    for (entries, message) in [
        (
            vec![("t/0", "4")],
            "table orders: Kafka topic 't', partition 0: the next message was to be 4, but the log ends at 3",
        ),
        (
            vec![("t/0", "1"), ("t/2", "9")],
            "table orders: Kafka topic 't': partition 2 was read up to 9, the topic has 1 now",
        ),
        (vec![("u/0", "1")], "table orders: 'u/0' at '1' is no position in Kafka topic 't'"),
        (vec![("t/0", "x")], "table orders: 't/0' at 'x' is no position in Kafka topic 't'"),
    ] {
        let error = source_t.seek(&position(&entries)).await.expect_err("cannot be continued");
        assert_eq!(error.kind(), ErrorKind::Data);
        assert!(error.to_string().starts_with(message), "{error}");
    }
    // The mock cluster keeps five megabytes of a partition.
    let long = format!("{{\"id\":1,\"x\":\"{}\"}}", "x".repeat(500_000));
    (0..14).for_each(|_| brokers.fill("big", 0, &[&long]));
    let mut source = spec_of("big", &brokers, id()).open(&context()).await.expect("opens");
    let low: i64 = source.position().0["big/0"].parse().expect("an offset");
    assert!(low > 1, "old messages are gone");
    let error = source.seek(&position(&[("big/0", "1")])).await.expect_err("cannot be continued");
    assert_eq!(error.kind(), ErrorKind::Data);
    let numbers = format!("the next message was to be 1, the first that is still there is {low}: {} are gone", low - 1);
    assert!(error.to_string().contains(&numbers), "{error}");
}

fn spec_of(topic: &str, brokers: &Brokers, schema: SchemaRef) -> Arc<dyn SourceSpec> {
    source(&table(&brokers.servers(), schema, &[], &format!("{BOUNDED}\ntopic = {topic}"))).expect("is fine")
}

#[tokio::test]
async fn a_topic_that_is_not_there_and_brokers_that_do_not_answer() {
    let brokers = Brokers::new(&[("t", 1)]);
    let error = spec_of("other", &brokers, id_and_name()).open(&context()).await.map(|_| ()).expect_err("is not there");
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::NotFound, format!("Kafka topic 'other' at {}: there is no such topic", brokers.servers()).as_str())
    );
    let nobody = table("127.0.0.1:1", id_and_name(), &[], "format = json\nrequest_timeout = 300 ms");
    let error = source(&nobody).expect("is fine").open(&context()).await.map(|_| ()).expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn what_is_bad_becomes_a_dead_letter_with_its_place() {
    let brokers = Brokers::new(&[("t", 1)]);
    brokers.send("t", 0, None, Some(br#"{"id":1}"#));
    brokers.send("t", 0, None, Some(b"{"));
    brokers.send("t", 0, None, Some(&[0xff, 0x00]));
    brokers.send("t", 0, None, None);
    brokers.send("t", 0, None, Some(br#"{"id":"x"}"#));
    brokers.send("t", 0, None, Some(br#"{"id":2}{"id":3}"#));
    brokers.send("t", 0, None, Some(br#"{"id":4}"#));
    brokers.flush();
    let declared = table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], BOUNDED);
    let read = read_all(&declared).await.expect("reads");
    assert_eq!(ids(&read), [1, 4]);
    let letters: Vec<_> =
        read.letters.iter().map(|l| (l.position.as_str(), l.reason.code(), l.payload.as_str())).collect();
    let expected = [
        ("t/0:1", "undecodable", "{"),
        ("t/0:2", "undecodable", "base64:/wA="),
        ("t/0:3", "undecodable", ""),
        ("t/0:4", "malformed_field", "{\"id\":\"x\"}"),
        ("t/0:5", "undecodable", "{\"id\":2}{\"id\":3}"),
    ];
    assert_eq!(letters, expected);
    assert_eq!(read.letters[2].message, "the message has no value");
    declared.options.get("x");
    let skipping =
        table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], &format!("{BOUNDED}\ntombstones = skip"));
    assert_eq!(read_all(&skipping).await.expect("reads").letters.len(), 4);
    let failing =
        table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], &format!("{BOUNDED}\nbad_data = fail"));
    let error = read_all(&failing).await.expect_err("fails");
    assert!(error.to_string().starts_with("table orders: t/0:1: the message is not a JSON object"), "{error}");
}

/// Declares a table of changes as the planner does.
fn changelog(brokers: &Brokers, format: &str, key: &[usize], more: &str) -> TableDefinition {
    let any = DataType::Struct(id_and_name().fields().clone());
    let event = [("before", any.clone()), ("after", any), ("op", DataType::Utf8)];
    let mut declared = table(&brokers.servers(), columns(&event), key, &format!("{BOUNDED}{more}"));
    declared.options.hide("format", format);
    declared
}

#[tokio::test]
async fn a_message_without_a_value_deletes_by_key() {
    let brokers = Brokers::new(&[("t", 1)]);
    brokers.send("t", 0, Some(r#"{"id":1}"#), Some(br#"{"id":1,"name":"a"}"#));
    brokers.send("t", 0, Some(r#"{"id":1}"#), None);
    brokers.send("t", 0, Some(r#"{"schema":{},"payload":{"id":2}}"#), None);
    brokers.send("t", 0, Some("no JSON"), None);
    brokers.send("t", 0, Some(r#"{"name":"x"}"#), None);
    brokers.send("t", 0, None, None);
    brokers.send("t", 0, None, Some(br#"{"id":1},"op":"d","before":{"id":7}"#));
    brokers.flush();
    let read = read_all(&changelog(&brokers, "upsert_json", &[0], "")).await.expect("reads");
    let gone = |id: i64| format!("{{\"before\":{{\"id\":{id},\"name\":null}},\"after\":null,\"op\":\"d\"}}");
    let come = r#"{"before":null,"after":{"id":1,"name":"a"},"op":"c"}"#.to_owned();
    assert_eq!(read.rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>(), [come, gone(1), gone(2)]);
    let messages: Vec<&str> = read.letters.iter().map(|letter| letter.message.as_str()).collect();
    assert_eq!(messages.len(), 4);
    assert!(messages[0].ends_with("it is not a JSON object") && messages[1].ends_with("it has no field 'id'"));
    assert!(
        messages[2].ends_with("there is none") && messages[3].starts_with("the message is not JSON"),
        "{messages:?}"
    );
}

#[tokio::test]
async fn events_of_debezium_come_as_they_are_and_tombstones_after_them_delete_by_key_or_say_nothing() {
    let brokers = Brokers::new(&[("t", 1)]);
    brokers.send("t", 0, Some("5"), Some(br#"{"op":"c","after":{"id":5,"name":"e"}}"#));
    brokers.send("t", 0, Some("5"), None);
    brokers.flush();
    let read = read_all(&changelog(&brokers, "debezium_json", &[], "")).await.expect("reads");
    assert_eq!((read.rows.len(), read.letters.len()), (1, 0), "without a key the event before it said it");
    let read = read_all(&changelog(&brokers, "debezium_json", &[0], "\nkey_format = raw")).await.expect("reads");
    assert_eq!(read.rows[1].1, r#"{"before":{"id":5,"name":null},"after":null,"op":"d"}"#);
}

#[tokio::test]
async fn every_compression_is_read() {
    let brokers = Brokers::new(&[("t", 1)]);
    let names = ["none", "gzip", "snappy", "lz4", "zstd"];
    for (id, name) in (0_i64..).zip(names) {
        let producer = producer(&brokers.servers(), name);
        for id in id * 10..id * 10 + 10 {
            let value = format!("{{\"id\":{id},\"name\":\"{}\"}}", "x".repeat(100));
            let record: BaseRecord<'_, str, str> = BaseRecord::to("t").partition(0).payload(&value);
            producer.send(record).map_err(|(error, _)| error).expect("is queued");
        }
        producer.flush(DEADLINE).expect("is sent");
    }
    let read =
        read_all(&table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], BOUNDED)).await.expect("reads");
    assert_eq!(ids(&read), (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn text_bytes_and_csv_are_read() {
    let brokers = Brokers::new(&[("t", 1)]);
    brokers.fill("t", 0, &["1,a b"]);
    let read = |schema: SchemaRef, format: &str| {
        let table =
            table(&brokers.servers(), schema, &[], &format!("start = earliest\nbounded = true\nformat = {format}"));
        async move { read_all(&table).await.expect("reads").rows.remove(0).1 }
    };
    assert_eq!(read(id_and_name(), "csv").await, r#"{"id":1,"name":"a b"}"#);
    assert_eq!(read(columns(&[("value", DataType::Utf8)]), "raw_string").await, r#"{"value":"1,a b"}"#);
    assert_eq!(read(columns(&[("value", DataType::Binary)]), "raw_bytes").await, r#"{"value":"312c612062"}"#);
}

#[tokio::test]
async fn a_pipeline_starts_where_it_is_told() {
    let brokers = Brokers::new(&[("t", 2)]);
    fill(&brokers, 2, 0..4);
    let open = |options: &str| {
        let table =
            table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], &format!("format = json\n{options}"));
        async move { source(&table).expect("is fine").open(&context()).await.expect("opens") }
    };
    let offsets = |source: &dyn Source| source.position().0.into_values().collect::<Vec<_>>();
    assert_eq!(offsets(open("start = earliest").await.as_ref()), ["0", "0"]);
    assert_eq!(offsets(open("").await.as_ref()), ["4", "4"], "the latest is the default");
    let mut group = open("start = committed\ngroup_id = g").await;
    assert_eq!(offsets(group.as_ref()), ["0", "0"], "nothing is committed yet");
    let acked = Position([("t/1".to_owned(), "3".to_owned())].into());
    group.ack(&acked).await.expect("is told");
    // The commit is on its way; it is for monitoring, so nobody waits for it but this test.
    let started = Instant::now();
    while offsets(open("start = committed\nsource.group_id = g").await.as_ref()) != ["0", "3"] {
        assert!(started.elapsed() < DEADLINE, "the commit arrives");
    }
}

#[tokio::test]
async fn the_watermark_waits_for_every_partition() {
    let brokers = Brokers::new(&[("t", 3)]);
    fill(&brokers, 2, 0..3);
    let declared =
        table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], "format = json\nstart = earliest");
    let mut source = source(&declared).expect("is fine").open(&context()).await.expect("opens");
    let mut read = ReadSoFar::default();
    assert!(source.holds_watermark(), "nothing was read");
    read.until(source.as_mut(), 1).await.expect("reads");
    let first = read.rows[0].0;
    assert!(source.holds_watermark(), "only partition {first} was heard of");
    read.until(source.as_mut(), 6).await.expect("reads");
    let started = Instant::now();
    while source.holds_watermark() {
        assert!(started.elapsed() < DEADLINE, "the empty partition has an end too");
        assert!(matches!(source.poll(3).await.expect("polls"), Polled::Idle));
    }
    assert_eq!(rows(&read).iter().map(|(partition, _)| *partition).collect::<Vec<_>>(), [0, 0, 0, 1, 1, 1]);
}

#[tokio::test]
async fn new_partitions_are_found_and_read_from_their_start() {
    let brokers = Brokers::new(&[("t", 3)]);
    fill(&brokers, 3, 0..2);
    let options = "format = json\nstart = latest\ndiscovery_interval = 1 ms";
    let declared = table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], options);
    let spec = KafkaSourceSpec::new(&declared).expect("is fine");
    // The mock cluster cannot add partitions, so two of them are hidden from the source when it opens.
    let mut source = open_reader(spec, &context(), 1).await.expect("opens");
    assert_eq!(source.position().0.len(), 1);
    let mut read = ReadSoFar::default();
    fill(&brokers, 1, 2..3);
    read.until(source.as_mut(), 5).await.expect("reads");
    assert_eq!(ids(&read), [2, 100, 101, 200, 201]);
    assert_eq!(source.position().0.into_values().collect::<Vec<_>>(), ["3", "2", "2"]);
}

#[tokio::test]
async fn brokers_that_are_away_for_a_while_cost_only_time() {
    let brokers = Brokers::new(&[("t", 1)]);
    fill(&brokers, 1, 0..3);
    let options = "format = json\nstart = earliest\nlibrdkafka.reconnect.backoff.max.ms = 100";
    let declared = table(&brokers.servers(), columns(&[("id", DataType::Int64)]), &[], options);
    let mut source = source(&declared).expect("is fine").open(&context()).await.expect("opens");
    let mut read = ReadSoFar::default();
    read.until(source.as_mut(), 3).await.expect("reads");
    brokers.cluster.broker_down(-1).expect("goes down");
    for _ in 0..50 {
        assert!(matches!(source.poll(3).await.expect("is patient"), Polled::Idle));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    brokers.cluster.broker_up(-1).expect("comes back");
    fill(&brokers, 1, 3..6);
    read.until(source.as_mut(), 6).await.expect("reads on");
    assert_eq!(ids(&read), (0..6).collect::<Vec<_>>());
}
