//! Pipelines of SQL that read and write NATS, run as a user runs them.

use super::server::{NatsServer, publish};
use crate::support::Workplace;
use std::fmt::Write;

/// Every type that a column can have and JSON can hold, with extreme values; what is read is what was written.
#[test]
fn values_of_every_type_come_back_as_they_were() {
    let server = NatsServer::start();
    let place = Workplace::new();
    let rows = [
        r#"{"b":true,"i":-2147483648,"l":-9223372036854775808,"f":1.5,"d":-1.7976931348623157e308,"n":"12345678.90","t":"ünï \"q\"\n","y":"00ff","o":"1969-12-31","z":"1970-01-01T00:00:00.123456789","a":[1,null,3],"s":{"x":1,"y":"z"}}"#,
        r#"{"b":false,"i":2147483647,"l":9223372036854775807,"f":-0.25,"d":5e-324,"n":"-0.01","t":"","y":"","o":"2026-02-28","z":"2262-04-11T23:47:16.854775807","a":[],"s":{"x":null,"y":null}}"#,
        r#"{"b":null,"i":null,"l":null,"f":null,"d":null,"n":null,"t":null,"y":null,"o":null,"z":null,"a":null,"s":null}"#,
    ];
    place.write("rows.json", rows.join("\n"));
    let columns = "b BOOLEAN, i INT, l BIGINT, f FLOAT, d DOUBLE, n DECIMAL(10, 2), t TEXT, y BYTEA, o DATE, \
                   z TIMESTAMP, a BIGINT[], s STRUCT<x INT, y TEXT>";
    let file = format!("CREATE TABLE rows ({columns}) WITH (connector = 'single_file', path = 'rows.json');\n");
    let url = server.url();
    let write = format!(
        "{file} CREATE TABLE out ({columns}) WITH (connector = 'nats', servers = '{url}', stream = 'types',
         subject = 'types', create_stream = 'true', type = 'sink'); INSERT INTO out SELECT * FROM rows;"
    );
    place.run(&write).succeeded();
    let read = format!(
        "CREATE TABLE back ({columns}) WITH (connector = 'nats', servers = '{url}', stream = 'types', mode = 'bounded');
         SELECT * FROM back;"
    );
    let back = place.run(&read).succeeded();
    let direct = place.run(&format!("{file} SELECT * FROM rows;")).succeeded();
    assert_eq!(back.stdout.lines().count(), rows.len(), "{}", back.stderr);
    assert_eq!(back.stdout, direct.stdout);
}

#[test]
fn a_window_over_a_stream_ends_with_it_and_secrets_stay_out_of_plans() {
    let server = NatsServer::with_arguments(&["--auth", "s3cret-token"]);
    let place = Workplace::new();
    let mut lines = String::new();
    for id in 0..50 {
        writeln!(lines, r#"{{"id":{id},"ts":"2026-01-01T00:{:02}:00Z"}}"#, id % 20).expect("a text");
    }
    place.write("rows.json", lines);
    let nats =
        format!("connector = 'nats', servers = '{}', token = '{{{{ NATS_TOKEN }}}}', stream = 's'", server.url());
    let pipeline = format!(
        "CREATE TABLE rows (id BIGINT, ts TIMESTAMP) WITH (connector = 'single_file', path = 'rows.json');
         CREATE TABLE out (id BIGINT, ts TIMESTAMP) WITH ({nats}, subject = 's.{{id}}', create_stream = 'true', type = 'sink');
         INSERT INTO out SELECT * FROM rows;"
    );
    let headwater = |arguments: &[&str]| {
        let output = place.command(arguments).env("NATS_TOKEN", "s3cret-token").output().expect("runs");
        let text = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr].concat()).into_owned();
        assert!(output.status.success() && !text.contains("s3cret"), "{text}");
        String::from_utf8(output.stdout).expect("text")
    };
    place.write("write.sql", pipeline);
    headwater(&["run", "write.sql"]);
    let plan = headwater(&["explain", "write.sql"]);
    assert!(plan.contains("stream s subject s.{id} json"), "{plan}");
    let read = format!(
        "CREATE TABLE back (id BIGINT, ts TIMESTAMP, subject TEXT METADATA FROM 'subject', WATERMARK FOR ts AS ts - INTERVAL '1 hour')
         WITH ({nats}, mode = 'bounded');
         SELECT count(*) AS n, min(subject) AS first FROM back GROUP BY tumble(ts, INTERVAL '10 minutes');"
    );
    place.write("read.sql", read);
    let mut rows: Vec<String> = headwater(&["run", "read.sql"]).lines().map(str::to_owned).collect();
    rows.sort();
    assert_eq!(rows, [r#"{"n":20,"first":"s.10"}"#, r#"{"n":30,"first":"s.0"}"#]);
    let plan = headwater(&["explain", "read.sql"]);
    assert!(plan.contains("stream s (bounded)"), "{plan}");
}

#[test]
fn events_of_a_contract_and_changes_are_read() {
    let server = NatsServer::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let url = server.url();
    let event = |id: u32, rating: &str| {
        format!(
            r#"{{"type":"buddy.feedback.submitted","data":{{"feedbackId":"00000000-0000-4000-8000-00000000000{id}","matchId":"00000000-0000-4000-8000-000000000009","fromRole":"buddy","rating":{rating},"submittedAt":"2026-01-01T00:00:00Z"}},"metadata":{{"id":"00000000-0000-4000-8000-00000000001{id}","version":"v1","timestamp":"2026-01-01T00:00:00Z"}}}}"#
        )
    };
    runtime.block_on(async {
        let client = server.stream("programme", &["buddy.>", "cdc"]).await;
        for line in [event(1, "0.5"), event(2, "7"), event(1, "0.5"), event(3, "0.75")] {
            publish(&client, "buddy.feedback.submitted", line).await;
        }
        for change in [
            r#"{"before":null,"after":{"id":1,"v":10},"op":"c"}"#,
            r#"{"before":null,"after":{"id":2,"v":20},"op":"c"}"#,
            r#"{"before":{"id":1,"v":10},"after":{"id":1,"v":11},"op":"u"}"#,
            r#"{"before":{"id":2,"v":20},"after":null,"op":"d"}"#,
        ] {
            publish(&client, "cdc", change).await;
        }
    });
    let place = Workplace::new();
    let with = format!("connector = 'nats', servers = '{url}', stream = 'programme', mode = 'bounded'");
    let ran = place.run(&format!(
        "CREATE TABLE feedback WITH ({with}, subject = 'buddy.>', contract = 'buddy.feedback.submitted');
         SELECT count(*) AS n, sum(rating) AS total FROM feedback;"
    ));
    let ran = ran.succeeded();
    let total = r#"{"before":null,"after":{"n":2,"total":1.25},"op":"c"}"#;
    assert_eq!(ran.stdout.lines().last(), Some(total), "{}", ran.stderr);
    assert!(ran.stderr.contains("out_of_range: 1"), "{}", ran.stderr);
    let ran = place.run(&format!(
        "CREATE TABLE kept (id BIGINT PRIMARY KEY, v BIGINT) WITH ({with}, subject = 'cdc', format = 'debezium_json');
         CREATE TABLE out (id BIGINT PRIMARY KEY, v BIGINT) WITH (connector = 'sqlite', path = 'out.db');
         INSERT INTO out SELECT id, v FROM kept;"
    ));
    ran.succeeded();
    let store = rusqlite::Connection::open(place.path().join("out.db")).expect("is there");
    let row: (i64, i64) =
        store.query_row("SELECT id, v FROM out", [], |row| Ok((row.get(0)?, row.get(1)?))).expect("one");
    assert_eq!(row, (1, 11));
}

#[test]
fn a_server_that_is_not_there_is_said_so_in_one_message() {
    let place = Workplace::new();
    let error = place.run(
        "CREATE TABLE t (id BIGINT) WITH (connector = 'nats', servers = 'nats://u:s3cret@127.0.0.1:1', stream = 's');
         SELECT * FROM t;",
    );
    let error = error.failed();
    assert!(error.contains("NATS at 127.0.0.1:1: ") && !error.contains("s3cret"), "{error}");
}
