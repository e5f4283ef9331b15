//! Streams of NATS: one partition for all subjects, and one for each of several.

use super::conformance::{Case, check};
use super::{spec, table};
use crate::nats::server::{NatsServer, publish};
use arrow::datatypes::{DataType, Field, Schema};
use headwater_core::ErrorKind;
use std::path::Path;
use std::sync::Arc;

async fn stream(name: &'static str, subjects: Option<&str>, parallelisms: &'static [usize]) -> usize {
    let server = NatsServer::start();
    let client = server.stream("events", &["e.*"]).await;
    for id in 0..60 {
        let payload = if id % 13 == 5 { "no JSON".to_owned() } else { format!("{{\"id\":{id},\"name\":\"å{id}\"}}") };
        publish(&client, ["e.a", "e.b", "e.c"][id % 3], payload).await;
    }
    // One that was deleted is no gap.
    client.get_stream("events").await.expect("is there").delete_message(30).await.expect("is deleted");
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
    let schema = Arc::new(Schema::new(fields));
    let url = server.url();
    let of = |more: &[(&str, &str)]| {
        let mut options = vec![("servers", url.as_str()), ("stream", "events")];
        options.extend(subjects.map(|subjects| ("subjects", subjects)));
        options.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        options.extend(more.iter().filter(|(_, value)| !value.is_empty()));
        spec("nats", &table(Path::new(""), Some(schema.clone()), &options))
    };
    let rows = check(Case {
        name,
        spec: of(&[]).expect("fits"),
        bad_address: (of(&[("servers", "nats://u:s3cret@127.0.0.1:1")]).expect("fits"), ErrorKind::Unavailable),
        refused: vec![of(&[("servers", "")]), of(&[("start", "soon")]), of(&[("strem", "x")]), of(&[("mode", "x")])],
        parallelisms,
    });
    rows.await.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_passes() {
    assert_eq!(stream("nats", None, &[1]).await, 59);
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_of_a_stream_pass() {
    assert_eq!(stream("nats subjects", Some("e.a, e.b"), &[1, 2]).await, 40);
}
