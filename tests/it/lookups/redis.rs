//! Redis: JSON objects and hashes by a key that is made of columns, and values that are something else.

use super::{ORDERS_TABLE, place, rows_of};
use crate::servers::Redis;
use expect_test::expect;

fn filled() -> Redis {
    let server = Redis::start();
    server.command(&["SET", "customer:no:1", r#"{"name": "Ada", "level": 1, "tags": ["a", "b"]}"#]);
    server.command(&["SET", "customer:no:2", r#"{"name": "Bo", "unknown": {"x": 1}}"#]);
    server.command(&["SET", "customer:se:2", "not JSON"]);
    server.command(&["SET", "customer:se:1", r#"{"name": "Agda", "level": "high"}"#]);
    server.command(&["LPUSH", "customer:dk:4", "a list"]);
    server.command(&["HSET", "1", "name", "Ada", "level", "1"]);
    server.command(&["HSET", "2", "name", "Bo"]);
    server.command(&["SET", "3", "no hash"]);
    server
}

#[test]
fn json_values_are_rows_and_others_are_dead_letters() {
    let (place, server) = (place(), filled());
    let table = format!(
        "CREATE TEMPORARY TABLE customers (region TEXT, id BIGINT, name TEXT, level INT, tags TEXT[])
         WITH (connector = 'redis', url = '{}', type = 'lookup', key = 'customer:{{region}}:{{id}}',
               cache.max_rows = 100);\n",
        server.url()
    );
    let query = "SELECT o.o_id, c.* FROM orders o LEFT JOIN customers FOR SYSTEM_TIME AS OF PROCTIME() AS c \
                 ON o.customer = c.id AND o.region = c.region;";
    let pipeline = format!("{ORDERS_TABLE}{table}{query}");
    for parallelism in ["1", "3"] {
        let rows = rows_of(&place, &pipeline, parallelism);
        expect![[r#"
            {"o_id":1,"region":"no","id":1,"name":"Ada","level":1,"tags":["a","b"]}
            {"o_id":10,"region":"no","id":1,"name":"Ada","level":1,"tags":["a","b"]}
            {"o_id":2,"region":"no","id":2,"name":"Bo"}
            {"o_id":4}
            {"o_id":5}
            {"o_id":6}
            {"o_id":8}"#]]
        .assert_eq(&rows.join("\n"));
    }
    let summary = place.headwater(&["run", "pipeline.sql"]).succeeded().stderr;
    assert!(summary.contains("dead letters failed_lookup: 3"), "{summary}");
    let plan = place.headwater(&["explain", "pipeline.sql"]).succeeded().stdout;
    assert!(plan.contains("key 'customer:{region}:{id}' json, cached up to 100 rows"), "{plan}");
    assert!(!plan.contains("s3cret"), "{plan}");
}

#[test]
fn hashes_are_rows_and_a_key_that_is_not_there_is_none() {
    let (place, server) = (place(), filled());
    let table = format!(
        "CREATE TABLE customers (id BIGINT PRIMARY KEY, name TEXT, level INT)
         WITH (connector = 'redis', address = '{}', value = 'hash');\n",
        server.url()
    );
    let query = "SELECT o.o_id, c.name, c.level FROM orders o JOIN customers c ON o.customer = c.id;";
    let rows = rows_of(&place, &format!("{ORDERS_TABLE}{table}{query}"), "1");
    expect![[r#"
        {"o_id":1,"name":"Ada","level":1}
        {"o_id":10,"name":"Ada","level":1}
        {"o_id":2,"name":"Bo"}
        {"o_id":3,"name":"Bo"}
        {"o_id":7,"name":"Ada","level":1}"#]]
    .assert_eq(&rows.join("\n"));
    let summary = place.headwater(&["run", "pipeline.sql"]).succeeded().stderr;
    assert!(summary.contains("dead letters failed_lookup: 1"), "{summary}");
}

#[test]
fn a_join_that_names_no_key_and_a_server_that_is_not_there_are_said_so() {
    let place = place();
    let table = "CREATE TABLE customers (id BIGINT PRIMARY KEY, name TEXT)
                 WITH (connector = 'redis', url = 'redis://:s3cret@127.0.0.1:1/0');\n";
    let run = |query: &str| {
        place.write("pipeline.sql", format!("{ORDERS_TABLE}{table}{query}"));
        place.headwater(&["run", "pipeline.sql"]).failed()
    };
    let failures = [
        run("SELECT o.o_id FROM orders o JOIN customers c ON o.region = c.name;"),
        run("SELECT o.o_id FROM orders o JOIN customers c ON o.customer = c.id;"),
    ];
    expect![[r#"
        error: line 6, column 34: pipeline pipeline: the rows of 'customers' are found by id alone
        help: compare it: ON row.id = customers.id
        error: pipeline pipeline: node 'stdout_lookup_customers', subtask 0: Redis at 127.0.0.1:1: Connection refused (os error 111)"#]].assert_eq(&failures.join("\n"));
}
