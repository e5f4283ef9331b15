//! A pipeline from a stream to a stream that is killed in the middle, and whose server is: each message counts once.

use super::json;
use super::server::{NatsServer, publish};
use super::sink::payloads;
use crate::support::Workplace;
use async_nats::jetstream::Context;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

async fn n_messages(client: &Context, stream: &str) -> u64 {
    client.get_stream(stream).await.map_or(0, |stream| stream.cached_info().state.messages)
}

/// Waits until a stream has so many messages.
async fn until(client: &Context, stream: &str, n: u64) {
    let deadline = Instant::now() + super::PATIENCE;
    while n_messages(client, stream).await < n {
        assert!(Instant::now() < deadline, "{} of {n}", n_messages(client, stream).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn run(place: &Workplace) -> Child {
    let arguments = ["run", "pipeline.sql", "--state", "state", "--checkpoint-interval", "50ms"];
    place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipeline_and_its_server_are_killed_and_each_message_counts_once() {
    let mut server = NatsServer::start();
    let url = server.url();
    let mut client = server.stream("input", &["in"]).await;
    server.stream("output", &["out.*"]).await;
    let place = Workplace::new();
    place.write(
        "pipeline.sql",
        format!(
            "CREATE TABLE input (id BIGINT NOT NULL, name TEXT)
             WITH (connector = 'nats', servers = '{url}', stream = 'input', type = 'source');
             CREATE TABLE output (id BIGINT NOT NULL, name TEXT)
             WITH (connector = 'nats', servers = '{url}', stream = 'output', subject = 'out.{{name}}', type = 'sink');
             INSERT INTO output SELECT id, name FROM input WHERE id % 10 <> 0;"
        ),
    );
    let (n_rounds, per_round) = (5_i64, 400_i64);
    let mut n_out = 0;
    for round in 0..n_rounds {
        let mut running = run(&place);
        for line in json(round * per_round + 1..=(round + 1) * per_round) {
            publish(&client, "in", line).await;
        }
        // Somewhere in the middle of what this round adds.
        let after = n_out + [1, 90, 200, 300, 10][usize::try_from(round).expect("is small")];
        until(&client, "output", after).await;
        if round == 2 {
            server.kill();
            server.start_again();
            client = server.client().await;
        }
        running.kill().expect("is killed");
        running.wait().expect("has ended");
        n_out = n_messages(&client, "output").await;
    }
    let total = n_rounds * per_round;
    let mut running = run(&place);
    until(&client, "output", u64::try_from(total - total / 10).expect("is positive")).await;
    publish(&client, "in", r#"{"id":-1,"name":"last"}"#).await;
    until(&client, "output", u64::try_from(total - total / 10 + 1).expect("is positive")).await;
    running.kill().expect("is killed");
    running.wait().expect("has ended");
    let mut expected = json((1..=total).filter(|id| id % 10 != 0));
    expected.push(r#"{"id":-1,"name":"last"}"#.to_owned());
    assert_eq!(payloads(&client, "output").await, expected);
}
