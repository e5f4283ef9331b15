//! PostgreSQL: the joins, its types, connections that break, and what goes wrong.

use super::{CUSTOMER_COLUMNS, CUSTOMERS, ORDERS_TABLE, QUERIES, compare, order_values, place, rows_of};
use crate::servers::Postgres;
use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use expect_test::expect;
use headwater_core::{ErrorKind, EventTime, FixedClock, LookupColumns, TableDefinition, TaskContext};
use std::sync::Arc;

fn filled() -> Postgres {
    let server = Postgres::start();
    server.sql(&format!(
        "CREATE TABLE customers (id int, region varchar(2), name text, level smallint, PRIMARY KEY (region, id));
         INSERT INTO customers VALUES {CUSTOMERS};
         CREATE TABLE orders (o_id bigint, customer bigint, region text, amount bigint);
         INSERT INTO orders VALUES {};",
        order_values()
    ));
    server
}

#[test]
fn every_join_has_the_rows_that_the_store_has_for_it() {
    let (place, server) = (place(), filled());
    let customers = format!(
        "CREATE TABLE customers ({CUSTOMER_COLUMNS})
         WITH (connector = 'postgres', url = '{}', lookup.request_rows_max = 4);\n",
        server.url()
    );
    for query in QUERIES {
        compare(&place, &customers, query, |query| server.sql(&format!("SELECT to_json(q) FROM ({query}) q")));
    }
    let no_table = customers.replace("lookup.request_rows_max = 4", "table = 'clients'");
    let query = "SELECT o.o_id, c.name FROM orders o JOIN customers c ON o.customer = c.id;";
    place.write("pipeline.sql", format!("{ORDERS_TABLE}{no_table}{query}"));
    let message = place.headwater(&["run", "pipeline.sql"]).failed();
    assert!(message.contains("there is no table 'clients' in ") && !message.contains("s3cret"), "{message}");
    let plan = place.headwater(&["explain", "pipeline.sql"]).succeeded().stdout;
    assert!(plan.contains("inner lookup in postgres ") && !plan.contains("s3cret"), "{plan}");
}

#[test]
fn values_of_every_type_arrive_as_declared() {
    let (place, server) = (place(), Postgres::start());
    server.sql(
        "CREATE SCHEMA crm; CREATE TABLE crm.things (
             id uuid PRIMARY KEY, customer int8 UNIQUE, ok bool, price numeric(10, 2), ratio float8, day date,
             at timestamptz, at_local timestamp, tags text[], extra jsonb, raw bytea);
         INSERT INTO crm.things VALUES
             ('00000000-0000-0000-0000-000000000001', 1, true, 12.50, 0.1, '2026-03-01', '2026-03-01 12:00+02',
              '2026-03-01 12:00:00.25', '{a,\"b c\"}', '{\"a\": 1, \"b\": \"x\"}', '\\x00ff'),
             ('00000000-0000-0000-0000-000000000002', 2, NULL, NULL, 'NaN', NULL, NULL, NULL, NULL, NULL, NULL),
             ('00000000-0000-0000-0000-000000000003', 3, false, 1, 1, '2026-03-01', 'infinity', NULL, NULL, NULL, NULL);",
    );
    let table = format!(
        "CREATE TABLE things (id TEXT, customer BIGINT, ok BOOLEAN, price DECIMAL(10, 2), ratio DOUBLE, day DATE,
             at TIMESTAMP, at_local TIMESTAMP, tags TEXT[], extra STRUCT<a BIGINT, b TEXT>, raw BYTEA)
         WITH (connector = 'postgres', url = '{}', table = 'crm.things');\n",
        server.url()
    );
    let query = "SELECT o.o_id, t.* FROM orders o JOIN things t ON o.customer = t.customer AND o.o_id < 7;";
    let rows = rows_of(&place, &format!("{ORDERS_TABLE}{table}{query}"), "1");
    expect![[r#"
        {"o_id":1,"id":"00000000-0000-0000-0000-000000000001","customer":1,"ok":true,"price":12.5,"ratio":0.1,"day":"2026-03-01","at":"2026-03-01T10:00:00Z","at_local":"2026-03-01T12:00:00.250Z","tags":["a","b c"],"extra":{"a":1,"b":"x"},"raw":"00ff"}
        {"o_id":2,"id":"00000000-0000-0000-0000-000000000002","customer":2}
        {"o_id":3,"id":"00000000-0000-0000-0000-000000000002","customer":2}"#]].assert_eq(&rows.join("\n"));
    place.write("pipeline.sql", format!("{ORDERS_TABLE}{table}{query}"));
    let summary = place.headwater(&["run", "pipeline.sql"]).succeeded().stderr;
    assert!(summary.contains("dead letters failed_lookup: 1"), "infinity is no time: {summary}");
}

#[tokio::test]
async fn a_connection_that_broke_is_made_anew() {
    let server = filled();
    let connectors = headwater_connectors::connectors();
    let connector = connectors.iter().find(|connector| connector.name() == "postgres").expect("it is there");
    let fields = vec![Field::new("id", DataType::Int64, false), Field::new("name", DataType::Utf8, true)];
    let options = [("url", server.url()), ("connections", "1".to_owned())];
    let table = TableDefinition {
        name: "customers".into(),
        schema: Some(Arc::new(Schema::new(fields))),
        primary_key: Vec::new(),
        options: options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        base: Default::default(),
    };
    let clock = Arc::new(FixedClock::new(EventTime(0)));
    let context = TaskContext::new("p", "n", clock);
    let spec = connector.lookup(&table).expect("a lookup");
    let lookup = spec.open(&LookupColumns { key: vec![0], wanted: vec![1] }, &context).await.expect("it opens");
    let keys = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
    let keys = RecordBatch::try_new(keys, vec![Arc::new(Int64Array::from(vec![7, 2, 4]))]).expect("keys");
    let found = lookup.find(&keys).await.expect("it is asked");
    assert_eq!((found.of, found.rows.column(0).as_string::<i32>().value(1)), (vec![1, 2], "O'Dea"));
    server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = 'postgres'",
    );
    // The first request may still find the connection that is gone; the engine would ask again.
    if let Err(error) = lookup.find(&keys).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
    assert_eq!(lookup.find(&keys).await.expect("it is asked anew").of, [1, 2]);
}
