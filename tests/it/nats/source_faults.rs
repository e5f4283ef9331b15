//! What a source says when a stream cannot go on, and when it is told wrong things.

use super::server::{NatsServer, publish};
use super::{context, json, nats, open_error, opened, read_now, spec, table};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use expect_test::expect;
use headwater_core::{ErrorKind, Polled, Position};

/// Replaces times, which no test can know.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| word.starts_with("20") && word.contains('T') && word.ends_with('Z');
    text.split(' ')
        .map(|word| if is_time(word.trim_end_matches(',')) { "TIME" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_cannot_go_on_is_an_error_with_numbers() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("events", &["e.>"]).await;
    for line in json(1..=10) {
        publish(&client, "e.a", line).await;
    }
    let options = [("servers", url.as_str()), ("stream", "events")];
    let mut source = opened(&options, None).await;
    let Ok(Polled::Batch(_)) = source.poll(4).await else { panic!("rows are there") };
    let position = source.position();
    let mut errors = Vec::new();
    let stream = client.get_stream("events").await.expect("is there");
    // Single messages that were deleted are no gap.
    assert!(stream.delete_message(6).await.expect("is deleted"));
    let mut whole = opened(&options, Some(&position)).await;
    assert_eq!(read_now(whole.as_mut(), 100).await, json([5, 7, 8, 9, 10]));
    // What was read may go.
    stream.purge().sequence(5).await.expect("is purged");
    opened(&options, Some(&position)).await;
    stream.purge().sequence(8).await.expect("is purged");
    errors.push(open_error(&options, Some(&position)).await);
    let mut accepting = opened(&[("servers", &url), ("stream", "events"), ("gap", "accept")], Some(&position)).await;
    assert_eq!(read_now(accepting.as_mut(), 100).await, json(8..=10));
    let ahead = Position([("events".to_owned(), position.0["events"].replacen("4 ", "99 ", 1))].into());
    errors.push(open_error(&options, Some(&ahead)).await);
    client.delete_stream("events").await.expect("is deleted");
    errors.push(open_error(&options, Some(&position)).await);
    assert_eq!(errors.pop().map(|error| error.kind()), Some(ErrorKind::NotFound));
    let client = server.stream("events", &["e.>"]).await;
    publish(&client, "e.a", json([1]).remove(0)).await;
    errors.push(open_error(&options, Some(&position)).await);
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::Data));
    // A reader that was there all the time finds out as well: its consumer is gone.
    let mut found = whole.poll(100).await;
    if found.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
        found = whole.poll(100).await;
    }
    errors.push(found.expect_err("is another stream"));
    let errors: Vec<String> = errors.iter().map(|error| without_times(&error.to_string())).collect();
    expect![[r#"
        table t: the stream 'events' has dropped what was not read yet: 4 is the last sequence that was read, its first is 8, 3 are gone
        help: start without the checkpoint to read what is there, or go on with gap = 'accept'; give the stream larger limits
        table t: the stream 'events' has gone back: sequence 99 was read, its last is 10
        help: start without the checkpoint to read what is there, or go on with gap = 'accept'
        table t: the stream 'events' is another one: sequence 4 was read of the one made at TIME this one was made at TIME and has the sequences 1 to 1
        help: start without the checkpoint to read what is there, or go on with gap = 'accept'
        table t: the stream 'events' is another one: sequence 10 was read of the one made at TIME this one was made at TIME and has the sequences 1 to 1
        help: start without the checkpoint to read what is there, or go on with gap = 'accept'"#]].assert_eq(&errors.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_while_it_is_read_is_an_error_too() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.stream("events", &["e.>"]).await;
    for line in json(1..=3) {
        publish(&client, "e.a", line).await;
    }
    let mut source = opened(&[("servers", &url), ("stream", "events")], None).await;
    let mut accepting = opened(&[("servers", &url), ("stream", "events"), ("gap", "accept")], None).await;
    assert_eq!(read_now(source.as_mut(), 100).await, json(1..=3));
    assert_eq!(read_now(accepting.as_mut(), 100).await, json(1..=3));
    for line in json(4..=9) {
        publish(&client, "e.a", line).await;
    }
    let stream = client.get_stream("events").await.expect("is there");
    stream.purge().sequence(8).await.expect("is purged");
    let error = source.poll(100).await.expect_err("four messages are gone");
    assert_eq!(error.kind(), ErrorKind::Data);
    expect!["the stream 'events' has dropped what was not read yet: 3 is the last sequence that was read, its first is 8, 4 are gone"]
        .assert_eq(error.message());
    assert_eq!(read_now(accepting.as_mut(), 100).await, json(8..=9));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_forget_and_filters_that_match_nothing_are_refused() {
    let server = NatsServer::start();
    let url = server.url();
    let client = server.client().await;
    let queue = Config {
        name: "queue".into(),
        subjects: vec!["q.>".into()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    };
    client.create_stream(queue).await.expect("is made");
    let errors = [
        open_error(&[("servers", &url), ("stream", "queue")], None).await,
        open_error(&[("servers", &url), ("stream", "queue"), ("subject", "e.*")], None).await,
        open_error(&[("servers", &url), ("stream", "nowhere")], None).await,
    ];
    client.delete_stream("queue").await.expect("is deleted");
    server.stream("limits", &["l.>"]).await;
    let last = open_error(&[("servers", &url), ("stream", "limits"), ("subject", "e.*")], None).await;
    let errors: Vec<String> = errors.iter().chain([&last]).map(ToString::to_string).collect();
    expect![[r#"
        table t: the stream 'queue' forgets messages once they are read: it cannot be read again
        help: read a stream with the retention 'limits', such as one that sources from it
        table t: the stream 'queue' forgets messages once they are read: it cannot be read again
        help: read a stream with the retention 'limits', such as one that sources from it
        table t: there is no stream 'nowhere' in NATS
        help: make it first, such as with: nats stream add
        table t: the stream 'limits' has no subject that 'e.*' matches
        help: it captures: l.>"#]]
    .assert_eq(&errors.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_open_the_door_and_are_shown_nowhere() {
    let server = NatsServer::with_arguments(&["--user", "reader", "--pass", "s3cret-right"]);
    let (url, port) = (server.url(), server.url().rsplit(':').next().expect("a port").to_owned());
    let inline = format!("nats://reader:s3cret-right@127.0.0.1:{port}");
    let who = async_nats::ConnectOptions::with_user_and_password("reader".into(), "s3cret-right".into());
    let client = async_nats::jetstream::new(who.connect(&url).await.expect("the server lets us in"));
    let config = Config { name: "events".into(), subjects: vec!["e.>".into()], ..Config::default() };
    client.create_stream(config).await.expect("is made");
    publish(&client, "e.a", json([1]).remove(0)).await;
    let wrong_inline = inline.replace("right", "wrong");
    let cases: [(&str, &[(&str, &str)]); 4] = [
        (&url, &[("user", "reader"), ("password", "s3cret-right")]),
        (&inline, &[]),
        (&url, &[("user", "reader"), ("password", "s3cret-wrong")]),
        (&wrong_inline, &[]),
    ];
    for (index, (servers, more)) in cases.into_iter().enumerate() {
        let options: Vec<(&str, &str)> =
            [("servers", servers), ("stream", "events")].into_iter().chain(more.iter().copied()).collect();
        let spec = spec(&options);
        assert!(!format!("{} {spec:?}", spec.describe()).contains("s3cret"), "{}", spec.describe());
        match spec.open(&context()).await {
            Ok(mut source) => {
                assert!(index < 2);
                assert_eq!(read_now(source.as_mut(), 100).await, json([1]));
            }
            Err(error) => {
                assert!(index >= 2, "{error}");
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                assert!(!error.to_string().contains("s3cret"), "{error}");
                assert!(error.message().contains("does not let us in"), "{error}");
            }
        }
    }
}

#[test]
fn wrong_options_are_refused() {
    let error = |options: &[(&str, &str)]| {
        let given = [("servers", "nats://h"), ("stream", "s")];
        let given = given.into_iter().filter(|(name, _)| !options.iter().any(|(other, _)| other == name));
        let all: Vec<(&str, &str)> = given.chain(options.iter().copied()).filter(|(_, value)| *value != "-").collect();
        nats().source(&table(&all)).map(|_| ()).expect_err("is refused").to_string()
    };
    let errors = [
        error(&[("servers", "-")]),
        error(&[("servers", "http://h:1")]),
        error(&[("servers", "nats://u:s3cret@:x")]),
        error(&[("stream", "-")]),
        error(&[("stream", "a.b")]),
        error(&[("subject", "a..b")]),
        error(&[("subjects", "a.>,a.b")]),
        error(&[("start", "yesterday")]),
        error(&[("mode", "core")]),
        error(&[("delivery", "twice")]),
        error(&[("gap", "ignore")]),
        error(&[("format", "xml")]),
        error(&[("user", "u")]),
        error(&[("password", "s3cret")]),
        error(&[("token", "s3cret"), ("nkey", "s3cret")]),
        error(&[("servers", "nats://u:s3cret@h"), ("token", "s3cret")]),
        error(&[("tls_cert", "a.pem")]),
        error(&[("tls_ca", "/nowhere/ca.pem")]),
        error(&[("tls", "false"), ("tls_first", "true")]),
    ];
    let all = errors.join("\n");
    assert!(!all.contains("s3cret"), "{all}");
    expect![[r#"
        the option 'servers' is missing
        help: add servers = '…' to WITH
        the option 'servers' names no NATS server
        help: write nats://host:port, several with commas between them; tls://host:port encrypts
        the option 'servers' names no NATS server
        help: write nats://host:port, several with commas between them; tls://host:port encrypts
        the option 'stream' is missing
        help: add stream = '…' to WITH
        the option stream = 'a.b' is no name of a stream
        help: use letters, digits, '_' and '-'
        'a..b' is no subject
        help: write tokens with dots between them, * for any one of them, > for all that follow
        the subjects 'a.>' and 'a.b' overlap
        help: leave the narrower one out
        the option start = 'yesterday' is not understood
        help: use earliest, latest, a sequence from 1, or a time such as 2026-01-31T23:00:00Z
        the option mode = 'core' is not understood
        help: use one of: tail, bounded
        the option delivery = 'twice' is not understood
        help: use one of: exactly_once, at_most_once
        the option gap = 'ignore' is not understood
        help: use one of: fail, accept
        the option format = 'xml' is not understood
        help: use one of: json, csv, raw_string, raw_bytes, raw
        the option 'user' needs a password
        help: add password = '…'
        the option 'password' needs a user
        help: add user = '…'
        the options token and nkey are several ways to enter
        help: keep one of them
        the address and the options both say who enters
        help: keep one of them
        the option 'tls_cert' needs tls_key
        there is no file '/nowhere/ca.pem'
        tls = 'false' contradicts the other options of TLS
        help: remove it, or remove tls_first, tls_ca, tls_cert and tls_key"#]]
    .assert_eq(&all);
}
