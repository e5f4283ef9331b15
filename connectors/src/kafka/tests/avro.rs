//! Avro through a topic, with a registry that behaves and one that does not.

use super::types::extremes;
use super::*;
use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use headwater_core::{Batch, Epoch, ErrorKind, Prepared};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;

/// What the registry does with requests.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Good,
    Busy,
    Rambling,
    Strict,
    Locked,
}

/// Its mood, the schemas by subject, and what it was asked.
type Books = (Mood, Vec<(String, String)>, Vec<String>);

/// A registry of schemas.
struct FakeRegistry {
    url: String,
    inner: Arc<Mutex<Books>>,
}

impl FakeRegistry {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let inner = Arc::new(Mutex::new((Mood::Good, Vec::new(), Vec::new())));
        let shared = inner.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is no matter.
                let _ = Self::serve(stream, &shared);
            }
        });
        Self { url, inner }
    }

    fn serve(stream: TcpStream, shared: &Mutex<Books>) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut head, mut n_bytes, mut login) = (String::new(), 0, String::new());
        reader.read_line(&mut head)?;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let (name, value) = line.trim().split_once(": ").unwrap_or_default();
            match name.to_ascii_lowercase().as_str() {
                "" => break,
                "content-length" => n_bytes = value.parse().unwrap_or(0),
                "authorization" => login = value.to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; n_bytes];
        reader.read_exact(&mut body)?;
        let mut inner = shared.lock().unwrap();
        inner.2.push(format!("{} {login}", head.trim()));
        let (status, answer) = match inner.0 {
            Mood::Busy => (503, "try later".to_owned()),
            Mood::Rambling => (200, "<html>".to_owned()),
            Mood::Locked => (401, r#"{"error_code":401,"message":"Unauthorized"}"#.to_owned()),
            Mood::Strict if head.starts_with("POST") => {
                (409, r#"{"message":"reader field missing default"}"#.to_owned())
            }
            Mood::Good | Mood::Strict => Self::answer(&head, &body, &mut inner.1),
        };
        drop(inner);
        let mut stream = stream;
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len())
    }

    fn answer(head: &str, body: &[u8], schemas: &mut Vec<(String, String)>) -> (u16, String) {
        let path = head.split(' ').nth(1).unwrap_or_default();
        if let Some(id) = path.strip_prefix("/schemas/ids/") {
            let found = id.parse::<usize>().ok().and_then(|id| schemas.get(id.checked_sub(1)?));
            return match found {
                Some((_, schema)) => (200, json!({"schema": schema}).to_string()),
                None => (404, r#"{"error_code":40403,"message":"Schema not found"}"#.to_owned()),
            };
        }
        let subject = path.trim_start_matches("/subjects/").trim_end_matches("/versions").to_owned();
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let schema = request["schema"].as_str().unwrap_or_default().to_owned();
        let known = schemas.iter().position(|known| *known == (subject.clone(), schema.clone()));
        let id = known.unwrap_or_else(|| {
            schemas.push((subject, schema));
            schemas.len() - 1
        });
        (200, json!({"id": id + 1}).to_string())
    }

    fn set(&self, mood: Mood) {
        self.inner.lock().unwrap().0 = mood;
    }

    fn add(&self, schema: &Value) -> u32 {
        let mut inner = self.inner.lock().unwrap();
        inner.1.push(("given".into(), schema.to_string()));
        u32::try_from(inner.1.len()).expect("is small")
    }
}

fn framed(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0][..], &id.to_be_bytes(), body].concat()
}

fn reading(registry: &FakeRegistry) -> String {
    format!("format = avro\nstart = earliest\nbounded = true\navro.schema_registry = {}", registry.url)
}

async fn send(brokers: &Brokers, registry: &FakeRegistry, rows: &RecordBatch, key: &[usize]) -> Result<Prepared> {
    let options = format!("format = avro\navro.schema_registry = {}", registry.url);
    let declared = table(&brokers.servers(), rows.schema(), key, &options);
    let mut sink = Kafka.sink(&declared)?.open(&context()).await?;
    declared.options.check_all_known()?;
    sink.write(Batch::append_only(rows.clone())).await?;
    let prepared = sink.prepare(Epoch(1)).await?;
    sink.commit(Epoch(1), &prepared).await?;
    Ok(prepared)
}

async fn first_batch(table: &TableDefinition) -> (RecordBatch, Vec<DeadLetter>) {
    let mut source = source(table).expect("is fine").open(&context()).await.expect("opens");
    let started = Instant::now();
    loop {
        assert!(started.elapsed() < DEADLINE);
        match source.poll(100).await.expect("reads") {
            Polled::Batch(read) => return (read.batch.rows, read.dead_letters),
            Polled::Idle => tokio::time::sleep(Duration::from_millis(2)).await,
            Polled::End => panic!("ended"),
        }
    }
}

#[tokio::test]
async fn every_type_survives_avro() {
    let (brokers, registry) = (Brokers::new(&[("t", 1)]), FakeRegistry::new());
    let rows = extremes();
    send(&brokers, &registry, &rows, &[]).await.expect("sends");
    let (found, letters) = first_batch(&table(&brokers.servers(), rows.schema(), &[], &reading(&registry))).await;
    assert_eq!(letters, vec![]);
    for (index, field) in rows.schema().fields().iter().enumerate() {
        let (found, sent) = (found.column(index), rows.column(index));
        if field.name() == "ts" {
            // Avro has microseconds.
            let micros = |column: &ArrayRef| {
                let unit = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
                arrow::compute::cast(column, &unit).expect("casts")
            };
            assert_eq!(&micros(found), &micros(sent));
        } else {
            assert_eq!(found, sent, "{}", field.name());
        }
    }
    let schema: Value = serde_json::from_str(&registry.inner.lock().unwrap().1[0].1).expect("JSON");
    assert_eq!((&schema["name"], &schema["fields"][0]["default"]), (&json!("orders"), &Value::Null));
    assert_eq!(registry.inner.lock().unwrap().1[0].0, "t-value");
}

#[tokio::test]
async fn old_and_new_schemas_of_a_topic_are_read_side_by_side() {
    let (brokers, registry) = (Brokers::new(&[("t", 1)]), FakeRegistry::new());
    let narrow: ArrayRef = Arc::new(Int32Array::from(vec![7]));
    send(&brokers, &registry, &RecordBatch::try_from_iter([("id", narrow)]).expect("rows"), &[]).await.expect("sends");
    let id: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX]));
    let name: ArrayRef = Arc::new(StringArray::from(vec!["n"]));
    let time: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1_700_000_000_123]));
    let wide =
        RecordBatch::try_from_iter([("more", name.clone()), ("id", id), ("ts", time), ("name", name)]).expect("rows");
    send(&brokers, &registry, &wide, &[]).await.expect("sends");
    let schema = columns(&[
        ("id", DataType::Int64),
        ("name", DataType::Utf8),
        ("ts", DataType::Timestamp(arrow::datatypes::TimeUnit::Nanosecond, None)),
    ]);
    let read = read_all(&table(&brokers.servers(), schema, &[], &reading(&registry))).await.expect("reads");
    let rows: Vec<&str> = read.rows.iter().map(|(_, row)| row.as_str()).collect();
    let expected = [
        r#"{"id":7,"name":null,"ts":null}"#,
        r#"{"id":9223372036854775807,"name":"n","ts":"2023-11-14T22:13:20.123Z"}"#,
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn a_message_that_is_no_record_is_a_dead_letter_in_base64() {
    let (brokers, registry) = (Brokers::new(&[("t", 1)]), FakeRegistry::new());
    let long = json!({"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}]});
    let text = json!({"type": "record", "name": "r", "fields": [{"name": "id", "type": "string"}]});
    let (long, text) = (registry.add(&long), registry.add(&text));
    let messages = [
        framed(long, &[2]),
        framed(long, &[]),
        framed(long, &[2, 2]),
        framed(99, &[2]),
        b"{}".to_vec(),
        framed(text, &[2, b'x']),
        framed(text, &[200]),
        framed(long, &[4]),
    ];
    messages.iter().for_each(|message| brokers.send("t", 0, None, Some(message)));
    brokers.flush();
    let id = columns(&[("id", DataType::Int64)]);
    let read = read_all(&table(&brokers.servers(), id, &[], &reading(&registry))).await.expect("reads");
    assert_eq!(read.rows.iter().map(|(_, row)| row.as_str()).collect::<Vec<_>>(), ["{\"id\":1}", "{\"id\":2}"]);
    let letters: Vec<_> = read.letters.iter().map(|l| (l.position.as_str(), l.reason.code())).collect();
    let undecodable = |offset: &'static str| (offset, "undecodable");
    let expected = [
        undecodable("t/0:1"),
        undecodable("t/0:2"),
        undecodable("t/0:3"),
        undecodable("t/0:4"),
        ("t/0:5", "malformed_field"),
        undecodable("t/0:6"),
    ];
    assert_eq!(letters, expected);
    assert_eq!(read.letters[1].payload, "base64:AAAAAAECAg==");
    assert!(read.letters[2].message.ends_with("has no schema 99"), "{}", read.letters[2].message);
    assert_eq!(read.letters[4].path, "id");
}

#[tokio::test]
async fn messages_without_a_frame_have_the_schema_that_the_table_names() {
    let brokers = Brokers::new(&[("t", 1)]);
    brokers.send("t", 0, None, Some(&[2, 2, b'a']));
    brokers.flush();
    let schema =
        r#"{"type":"record","name":"r","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"}]}"#;
    let options = format!("format = avro\nstart = earliest\nbounded = true\navro.schema = {schema}");
    let read = read_all(&table(&brokers.servers(), id_and_name(), &[], &options)).await.expect("reads");
    assert_eq!(read.rows[0].1, r#"{"id":1,"name":"a"}"#);
    for (options, message) in [
        ("format = avro", "the option 'avro.schema_registry' is missing"),
        ("format = avro\navro.schema = {", "is no Avro schema"),
        ("format = avro\navro.schema = {}\navro.schema_registry = http://x", "not both"),
        ("format = avro\navro.schema_registry = http://me:s3cret@x", "the option 'avro.schema_registry' is no address"),
    ] {
        let error = source(&table("nowhere:1", id_and_name(), &[], options)).expect_err("is refused").to_string();
        assert!(error.contains(message) && !error.contains("s3cret"), "{error}");
    }
    let framed = r#"format = json
start = earliest
bounded = true
topic = j
json.confluent_schema_registry = true"#;
    brokers.cluster.create_topic("j", 1, 1).expect("a topic");
    brokers.send("j", 0, None, Some(b"\0\0\0\0\x07{\"id\":1}"));
    brokers.send("j", 0, None, Some(b"{\"id\":1}"));
    brokers.flush();
    let read = read_all(&table(&brokers.servers(), id_and_name(), &[], framed)).await.expect("reads");
    assert_eq!((read.rows.len(), read.letters.len()), (1, 1));
}

#[tokio::test]
async fn a_registry_may_be_busy_locked_or_strict() {
    let (brokers, registry) = (Brokers::new(&[("t", 1)]), FakeRegistry::new());
    let id: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let rows = RecordBatch::try_from_iter([("id", id)]).expect("rows");
    for (mood, kind, message) in [
        (Mood::Busy, ErrorKind::Unavailable, "503"),
        (Mood::Rambling, ErrorKind::Data, "answers with what is no answer"),
        (Mood::Locked, ErrorKind::Invalid, "Unauthorized"),
        (Mood::Strict, ErrorKind::Conflict, "the subject 't-value' has: reader field missing default"),
    ] {
        registry.set(mood);
        let error = send(&brokers, &registry, &rows, &[]).await.expect_err("fails");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(message), "{error}");
    }
    registry.set(Mood::Good);
    send(&brokers, &registry, &rows, &[]).await.expect("sends");
    // The reader asks again until it has the schema, and loses nothing meanwhile.
    registry.set(Mood::Busy);
    let options =
        format!("{}\navro.schema_registry_user = me\navro.schema_registry_password = s3cret", reading(&registry));
    let declared = table(&brokers.servers(), rows.schema(), &[], &options);
    let mut source = source(&declared).expect("is fine").open(&context()).await.expect("opens");
    let mut read = ReadSoFar::default();
    let error = read.until(source.as_mut(), 1).await.expect_err("the registry is busy");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.to_string().contains("s3cret"));
    assert_eq!(source.position().0["t/0"], "0");
    registry.set(Mood::Good);
    read.until(source.as_mut(), 1).await.expect("reads");
    assert_eq!(read.rows, [(0, "{\"id\":5}".to_owned())]);
    let asked = registry.inner.lock().unwrap().2.clone();
    assert_eq!(asked.last().map(String::as_str), Some("GET /schemas/ids/1 HTTP/1.1 Basic bWU6czNjcmV0"));
}
