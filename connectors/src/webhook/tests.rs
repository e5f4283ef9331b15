//! Tests of the webhook against a server that does what a test says, misbehaviour included.

use super::*;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use expect_test::expect;
use headwater_core::{Batch, Epoch, ErrorKind, EventTime, FixedClock};
use std::collections::BTreeSet;
use std::sync::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a server does with a request.
enum Reply {
    Status(u16, &'static str, &'static str),
    /// Ends the connection without a word.
    Close,
    /// Says something that is not HTTP.
    Garbage,
    /// Says nothing.
    Silence,
}

const OK: Reply = Reply::Status(204, "", "");

#[derive(Debug, Clone)]
struct Seen {
    head: String,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// A server and what it has seen.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Serves; it ends with the server.
    _service: JoinSet<()>,
}

impl Server {
    async fn start(reply: impl Fn(usize, &Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/hook", listener.local_addr().expect("has one"));
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, reply) = (seen.clone(), Arc::new(reply));
        let mut service = JoinSet::new();
        service.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, log.clone(), reply.clone()));
            }
        });
        Self { url, seen, _service: service }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("nobody panics").clone()
    }
}

async fn serve<F: Fn(usize, &Seen) -> Reply>(stream: TcpStream, log: Arc<Mutex<Vec<Seen>>>, reply: Arc<F>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let mut seen = Seen { head, body: String::new() };
        let mut body = vec![0; seen.header("content-length").parse().expect("a length")];
        stream.read_exact(&mut body).await.expect("a body");
        seen.body = String::from_utf8(body).expect("is text");
        let number = {
            let mut log = log.lock().expect("nobody panics");
            log.push(seen.clone());
            log.len()
        };
        let answer = match reply(number, &seen) {
            Reply::Status(status, headers, body) => {
                format!("HTTP/1.1 {status} x\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
            }
            Reply::Close => return,
            Reply::Garbage => "what?\r\n\r\n".to_owned(),
            Reply::Silence => std::future::pending().await,
        };
        stream.write_all(answer.as_bytes()).await.expect("answers");
    }
}

fn table(url: &str, options: &[(&str, &str)]) -> TableDefinition {
    let id = Field::new("id", DataType::Int64, false);
    TableDefinition {
        name: "hook".into(),
        schema: Some(Arc::new(Schema::new(vec![id, Field::new("name", DataType::Utf8, true)]))),
        primary_key: Vec::new(),
        options: options.iter().chain(&[("url", url)]).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        base: std::path::PathBuf::new(),
    }
}

async fn open(url: &str, options: &[(&str, &str)]) -> Box<dyn Sink> {
    let context = TaskContext::new("shop", "sink 1", Arc::new(FixedClock::new(EventTime(0))));
    Webhook.sink(&table(url, options)).expect("fits").open(&context).await.expect("opens")
}

fn batch(rows: &[(i64, &str, i64)]) -> Batch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1))),
    ];
    let schema = table("http://h/", &[]).schema.expect("has columns");
    let batch = RecordBatch::try_new(schema, columns).expect("fits");
    if rows.iter().all(|row| row.2 == 1) {
        return Batch::append_only(batch);
    }
    Batch::changing(batch, rows.iter().map(|row| Some(row.2)).collect()).expect("one a row")
}

fn numbers(n: i64) -> Batch {
    batch(&(1..=n).map(|id| (id, "a", 1)).collect::<Vec<_>>())
}

#[tokio::test]
async fn an_epoch_is_sent_when_it_is_prepared_in_requests_with_keys() {
    let server = Server::start(|_, _| OK).await;
    let options = [("rows_per_request_max", "2"), ("header.Authorization", "Bearer s3cret"), ("body", "lines")];
    let mut sink = open(&server.url, &options).await;
    sink.write(numbers(3)).await.expect("writes");
    assert!(server.seen().is_empty());
    let prepared = sink.prepare(Epoch(7)).await.expect("prepares");
    sink.commit(Epoch(7), &prepared).await.expect("commits");
    let seen = server.seen();
    let show = |seen: &Seen| format!("{}\n{}", seen.header("idempotency-key"), seen.body);
    expect![[r#"
        shop/sink_1/7/0/0/d93404bea8b6938a
        {"id":1,"name":"a"}
        {"id":2,"name":"a"}
        shop/sink_1/7/0/2/eb90bf9f1d351e03
        {"id":3,"name":"a"}
    "#]]
    .assert_eq(&seen.iter().map(show).collect::<String>());
    assert!(seen[0].head.starts_with("POST /hook HTTP/1.1\r\n"), "{}", seen[0].head);
    assert_eq!(seen[0].header("authorization"), "Bearer s3cret");
    assert_eq!(seen[0].header("content-type"), "application/x-ndjson");
    // An epoch without rows is no request.
    sink.prepare(Epoch(8)).await.expect("prepares");
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn changes_are_told_by_what_goes_and_what_comes() {
    let server = Server::start(|_, _| OK).await;
    let spec = Webhook.sink(&table(&server.url, &[])).expect("fits").for_changes().expect("has another form");
    assert_eq!((spec.changes(), spec.parallelism_max()), (Changes::Any, 1));
    let context = TaskContext::new("p", "n", Arc::new(FixedClock::new(EventTime(0))));
    let mut sink = spec.open(&context).await.expect("opens");
    sink.write(batch(&[(1, "b", 1), (1, "a", -1), (2, "x", 1)])).await.expect("writes");
    sink.write(batch(&[(2, "x", -1)])).await.expect("writes");
    sink.prepare(Epoch(1)).await.expect("prepares");
    expect![[
        r#"[{"before":{"id":1,"name":"a"},"after":null,"op":"d"},{"before":null,"after":{"id":1,"name":"b"},"op":"c"}]"#
    ]]
    .assert_eq(&server.seen()[0].body);
}

#[tokio::test]
async fn what_may_work_later_is_unavailable_and_goes_on_with_the_same_request() {
    let server = Server::start(|number, _| match number {
        2 => Reply::Status(503, "retry-after: 17\r\n", "down  for\n maintenance"),
        3 => Reply::Status(429, "retry-after: Fri, 31 Dec 2027 23:59:59 GMT\r\n", ""),
        4 => Reply::Status(408, "", ""),
        5 => Reply::Close,
        6 => Reply::Garbage,
        7 => Reply::Silence,
        _ => OK,
    })
    .await;
    let mut sink = open(&server.url, &[("rows_per_request_max", "1"), ("timeout", "300 ms")]).await;
    sink.write(numbers(3)).await.expect("writes");
    let mut says = Vec::new();
    while let Err(error) = sink.prepare(Epoch(1)).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        says.push(error.to_string().replace(&server.url, "URL"));
    }
    assert_eq!(says.len(), 6, "{says:?}");
    assert_eq!(says[0], "URL answered 503 Service Unavailable: down for maintenance; it asks to wait 17 s");
    assert!(says[1].ends_with("; it asks to wait until Fri, 31 Dec 2027 23:59:59 GMT"), "{}", says[1]);
    assert!(
        says[2..].iter().all(|said| said.starts_with("URL answered 408") || said.starts_with("cannot reach URL: "))
    );
    let keys: Vec<String> = server.seen().iter().map(|seen| seen.header("idempotency-key").to_owned()).collect();
    assert_eq!(keys.len(), 9);
    assert!(keys[1..8].iter().all(|key| *key == keys[1]), "{keys:?}");
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 3);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("has one");
    let mut sink = open(&format!("http://user:s3cret@{free}/hook?key=s3cret"), &[]).await;
    sink.write(numbers(1)).await.expect("writes");
    let error = sink.prepare(Epoch(1)).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().starts_with(&format!("cannot reach http://{free}/hook: ")), "{error}");
    assert!(!error.message().contains("s3cret"), "{error}");
}

#[tokio::test]
async fn rows_that_are_refused_are_found_by_halving_and_handed_out() {
    let server = Server::start(|_, seen| match seen.body.contains("bad") {
        true => Reply::Status(422, "", "{\"error\":\"no bad names\"}"),
        false => OK,
    })
    .await;
    let mut sink = open(&server.url, &[("body_bytes_max", "300")]).await;
    let long = "x".repeat(300);
    let rows: Vec<(i64, &str, i64)> = (0..40).map(|id| (id, if id % 17 == 3 { "bad" } else { "good" }, 1)).collect();
    sink.write(batch(&rows)).await.expect("writes");
    sink.write(batch(&[(40, long.as_str(), 1)])).await.expect("writes");
    let prepared = sink.prepare(Epoch(5)).await.expect("prepares");
    assert_eq!(prepared.0, serde_json::json!({ "sent": 37 }));
    let letters = sink.take_rejected();
    let shown = letters.iter().map(|letter| {
        let payload: String = letter.payload.chars().take(30).collect();
        format!("{} {} {} {payload} {}\n", letter.reason, letter.source, letter.position, letter.message)
    });
    expect![[r#"
        rejected hook 5/0/3 {"id":3,"name":"bad"} URL answered 422 Unprocessable Entity: {"error":"no bad names"}
        rejected hook 5/0/20 {"id":20,"name":"bad"} URL answered 422 Unprocessable Entity: {"error":"no bad names"}
        rejected hook 5/0/37 {"id":37,"name":"bad"} URL answered 422 Unprocessable Entity: {"error":"no bad names"}
        rejected hook 5/0/40 {"id":40,"name":"xxxxxxxxxxxxx 321 bytes are more than the limit of 300
    "#]]
    .assert_eq(&shown.collect::<String>().replace(&server.url, "URL"));
    assert!(sink.take_rejected().is_empty());
    let taken: Vec<String> =
        server.seen().into_iter().map(|seen| seen.body).filter(|body| !body.contains("bad")).collect();
    assert!(taken.iter().all(|body| body.len() <= 300));
    let rows: Vec<serde_json::Value> =
        taken.iter().flat_map(|body| serde_json::from_str::<Vec<serde_json::Value>>(body).expect("an array")).collect();
    assert_eq!(rows.len(), 37);
}

#[tokio::test]
async fn what_is_wrong_with_the_address_ends_the_pipeline() {
    for status in [401, 403, 404, 405, 302] {
        let server = Server::start(move |_, _| Reply::Status(status, "location: http://127.0.0.1:1/\r\n", "")).await;
        let mut sink = open(&server.url, &[]).await;
        sink.write(numbers(1)).await.expect("writes");
        let error = sink.prepare(Epoch(1)).await.expect_err("is refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.help().is_some(), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn private_addresses_are_refused_on_request() {
    let server = Server::start(|_, _| OK).await;
    let refuse = [("private_addresses", "refuse")];
    let error = Webhook.sink(&table(&server.url, &refuse)).expect_err("is private");
    assert_eq!(error.kind(), ErrorKind::Invalid);
    // A name that leads to this machine is found when it is looked up.
    let url = server.url.replace("127.0.0.1", "localhost.localdomain.localhost");
    let mut sink = open(&url, &refuse).await;
    sink.write(numbers(1)).await.expect("writes");
    assert_eq!(sink.prepare(Epoch(1)).await.expect_err("is private").kind(), ErrorKind::Unavailable);
    assert!(server.seen().is_empty());
}

#[test]
fn options_are_checked_and_secrets_are_hidden() {
    let refused = |url: &str, options: &[(&str, &str)]| {
        Webhook.sink(&table(url, options)).expect_err("is refused").to_string() + "\n"
    };
    let all = [
        refused("ftp://h/s3cret", &[]),
        refused("h", &[]),
        refused("http://h", &[("header.Content-Type", "s3cret")]),
        refused("http://h", &[("header.X", "s3cret\ns3cret")]),
        refused("http://h", &[("rows_per_request_max", "0")]),
        refused("http://[fd00::1]/", &[("private_addresses", "refuse")]),
    ];
    expect![[r#"
        the option 'url' is no address of a web server
        help: write https://host/path or http://host:port/path
        the option 'url' is no address of a web server
        help: write https://host/path or http://host:port/path
        the option 'header.Content-Type' sets what the connector sets itself
        help: leave it out
        the option 'header.X' is no header
        help: write header.NAME = 'VALUE' with letters, digits and '-' in the name, on one line
        the option rows_per_request_max = '0' is too small
        help: use 1 or more
        the option 'url' names '[fd00::1]', which is a private address
        help: use a public address, or leave out private_addresses = 'refuse'
    "#]]
    .assert_eq(&all.concat());
    assert!(!all.concat().contains("s3cret"));
    let spec = Webhook.sink(&table("https://u:s3cret@h:9/p?k=s3cret", &[("header.X", "s3cret")])).expect("fits");
    assert_eq!(format!("{spec:?}"), "webhook json https://h:9/p");
    assert_eq!(spec.guarantee(), Guarantee::AtLeastOnce);
}
