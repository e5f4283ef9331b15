//! SQLite: the joins, changing inputs, the cache, and what goes wrong.

use super::{CUSTOMER_COLUMNS, CUSTOMERS, ORDERS_TABLE, QUERIES, compare, order_values, place, rows_of};
use crate::support::Workplace;
use expect_test::expect;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value};

fn store(place: &Workplace) -> Connection {
    let store = Connection::open(place.path().join("crm.db")).expect("the store opens");
    let sql = format!(
        "CREATE TABLE customers (id INTEGER, region TEXT, name TEXT, level INTEGER, PRIMARY KEY (region, id));
         INSERT INTO customers VALUES {CUSTOMERS};
         CREATE TABLE orders (o_id INTEGER, customer INTEGER, region TEXT, amount INTEGER);
         INSERT INTO orders VALUES {};",
        order_values()
    );
    store.execute_batch(&sql).expect("the store is filled");
    store
}

fn customers(options: &str) -> String {
    format!(
        "CREATE TEMPORARY TABLE customers ({CUSTOMER_COLUMNS})
         WITH (connector = 'sqlite', path = 'crm.db', type = 'lookup'{options});\n"
    )
}

fn ask(store: &Connection, query: &str) -> Vec<String> {
    let mut statement = store.prepare(query).expect("SQLite understands the query");
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([]).expect("it is asked");
    let mut rows = Vec::new();
    while let Some(row) = found.next().expect("a row") {
        let value = |at: usize| match row.get_ref(at).expect("a column") {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => number.into(),
            ValueRef::Real(number) => number.into(),
            ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into(),
        };
        let fields: Map<String, Value> = names.iter().enumerate().map(|(at, name)| (name.clone(), value(at))).collect();
        rows.push(Value::Object(fields).to_string());
    }
    rows
}

#[test]
fn every_join_has_the_rows_that_the_store_has_for_it() {
    let place = place();
    let store = store(&place);
    let declared = [
        customers(""),
        customers(", cache.ttl = '1 hour', lookup.request_rows_max = 2"),
        customers(", lookup.order = 'unordered', lookup.in_flight_max = 3, lookup.request_rows_max = 1"),
    ];
    for (number, query) in QUERIES.iter().enumerate() {
        compare(&place, &declared[number % declared.len()], query, |query| ask(&store, query));
    }
}

#[test]
fn a_view_of_a_lookup_table_is_looked_up_by_each_of_its_readers() {
    let place = place();
    let store = store(&place);
    let view = "CREATE VIEW known AS SELECT id, upper(name) AS big, level FROM customers WHERE level < 4;\n";
    store.execute_batch(view).expect("SQLite understands the view");
    let query = "SELECT o.o_id, a.big, b.big AS other FROM orders o JOIN known FOR SYSTEM_TIME AS OF PROCTIME() AS a \
                 ON o.customer = a.id LEFT JOIN known b ON a.level = b.id";
    compare(&place, &format!("{}{view}", customers("")), query, |query| ask(&store, query));
}

#[test]
fn corrections_of_what_asks_are_corrections_of_the_answers() {
    let place = place();
    store(&place);
    let lines = [
        r#"{"o_id":1,"customer":1,"region":"no","amount":10,"v":1}"#,
        r#"{"o_id":2,"customer":2,"region":"no","amount":20,"v":1}"#,
        r#"{"o_id":1,"customer":2,"region":"no","amount":11,"v":2}"#,
        r#"{"o_id":3,"customer":9,"region":"no","amount":5,"v":1}"#,
        r#"{"o_id":3,"customer":4,"region":"dk","amount":6,"v":2}"#,
    ];
    place.write("corrected.json", lines.join("\n"));
    let pipeline = format!(
        "CREATE TABLE orders (o_id BIGINT, customer BIGINT, region TEXT, amount BIGINT, v BIGINT, PRIMARY KEY (o_id))
         WITH (connector = 'single_file', path = 'corrected.json', format = 'json', type = 'source', version = 'v');
         {}
         CREATE TABLE totals (name TEXT PRIMARY KEY, n BIGINT, amount BIGINT)
         WITH (connector = 'sqlite', path = 'out.db');
         INSERT INTO totals SELECT coalesce(c.name, '?'), count(*), sum(o.amount)
         FROM orders o LEFT JOIN customers c ON o.customer = c.id AND o.region = c.region GROUP BY coalesce(c.name, '?');",
        customers("")
    );
    for parallelism in ["1", "3"] {
        let _ = std::fs::remove_file(place.path().join("out.db"));
        rows_of(&place, &pipeline, parallelism);
        let out = Connection::open(place.path().join("out.db")).expect("the sink is there");
        let rows = ask(&out, "SELECT name, n, amount FROM totals ORDER BY name");
        let expected = [r#"{"name":"Bo","n":2,"amount":31}"#, r#"{"name":"O'Dea","n":1,"amount":6}"#];
        assert_eq!(rows, expected, "parallelism {parallelism}");
    }
}

#[test]
fn windows_close_behind_a_lookup() {
    let place = place();
    store(&place);
    let lines: Vec<String> =
        (0..6).map(|n| format!(r#"{{"customer":{},"at":"2026-01-01T00:0{n}:00Z"}}"#, n % 2 + 1)).collect();
    place.write("timed.json", lines.join("\n"));
    let pipeline = format!(
        "CREATE TABLE timed (customer BIGINT, at TIMESTAMP NOT NULL, WATERMARK FOR at)
         WITH (connector = 'single_file', path = 'timed.json', format = 'json', type = 'source');
         {}
         SELECT tumble(interval '3 minutes').start AS start, c.name, count(*) AS n
         FROM timed t JOIN customers c ON t.customer = c.id AND c.region = 'no'
         GROUP BY tumble(interval '3 minutes'), c.name;",
        customers(", lookup.order = 'unordered', lookup.request_rows_max = 1")
    );
    expect![[r#"
        {"start":"2026-01-01T00:00:00Z","name":"Ada","n":2}
        {"start":"2026-01-01T00:00:00Z","name":"Bo","n":1}
        {"start":"2026-01-01T00:03:00Z","name":"Ada","n":1}
        {"start":"2026-01-01T00:03:00Z","name":"Bo","n":2}"#]]
    .assert_eq(&rows_of(&place, &pipeline, "3").join("\n"));
}

#[test]
fn a_value_that_does_not_fit_is_a_dead_letter_and_the_rest_goes_on() {
    let place = place();
    store(&place).execute_batch("UPDATE customers SET level = 'high' WHERE id = 2").expect("the store is changed");
    let query = "SELECT o.o_id, c.level FROM orders o JOIN customers c ON o.customer = c.id AND o.region = c.region;";
    place.write("pipeline.sql", format!("{ORDERS_TABLE}{}{query}", customers("")));
    let ran = place.headwater(&["run", "pipeline.sql"]).succeeded();
    assert!(
        ran.stderr.contains("later dead letters 1 (late rows 0)\n  dead letters failed_lookup: 1\n"),
        "{}",
        ran.stderr
    );
    let mut rows: Vec<&str> = ran.stdout.lines().collect();
    rows.sort_unstable();
    expect![[r#"
        {"o_id":1,"level":1}
        {"o_id":10,"level":1}
        {"o_id":7,"level":3}
        {"o_id":9,"level":4}"#]]
    .assert_eq(&rows.join("\n"));
}

#[test]
fn a_store_that_does_not_fit_ends_the_run_with_what_is_wrong() {
    let place = place();
    store(&place);
    let failure = |columns: &str, options: &str| {
        let query = "SELECT o.o_id, c.name FROM orders o JOIN customers c ON o.customer = c.id;";
        let table = format!("CREATE TABLE customers ({columns}) WITH (connector = 'sqlite', {options});");
        place.write("pipeline.sql", format!("{ORDERS_TABLE}{table}{query}"));
        place.headwater(&["run", "pipeline.sql"]).failed()
    };
    let columns = "id BIGINT, name TEXT";
    let failures = [
        failure(columns, "path = 'none.db'"),
        failure(columns, "path = 'crm.db', table = 'clients'"),
        failure("id BIGINT, nome TEXT, name TEXT", "path = 'crm.db', cache.ttl = '1 s'"),
        failure(columns, "path = 'orders.json'"),
    ];
    let shown = failures.iter().map(|text| text.replace(&place.path().display().to_string(), "")).collect::<Vec<_>>();
    expect![[r#"
        error: pipeline pipeline: node 'stdout_lookup_customers', subtask 0: there is no file './none.db'
        help: check the option path; it is relative to the pipeline
        error: pipeline pipeline: node 'stdout_lookup_customers', subtask 0: there is no table 'clients' in 'crm.db'
        help: name it with the option table
        error: pipeline pipeline: node 'stdout_lookup_customers', subtask 0: the table 'customers' in 'crm.db' has no column 'nome'
        help: its columns are: id, region, name, level
        error: pipeline pipeline: node 'stdout_lookup_customers', subtask 0: cannot look up in 'orders.json': file is not a database"#]].assert_eq(&shown.join("\n"));
}

#[test]
fn the_plan_shows_what_is_asked_and_how() {
    let place = place();
    let query = "SELECT o.o_id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id AND c.level > 1;";
    place.write("pipeline.sql", format!("{ORDERS_TABLE}{}{query}", customers(", cache.ttl = '10 minutes'")));
    let ran = place.headwater(&["explain", "pipeline.sql"]).succeeded();
    expect![[r#"
        source_orders (parallelism 1)
            source single_file json 'orders.json' [o_id, customer]
                exactly once
            no event time
          → stdout_lookup_customers [forward, append-only]

        stdout_lookup_customers (parallelism 1)
            left lookup in sqlite 'crm.db' table customers, cached for 600s up to 100000 rows on id = customer, where level > 1, project [id, name]
          → stdout_lookup [forward, append-only]

        stdout_lookup (parallelism 1)
            project [o_id, name]
          → sink_stdout [gather, append-only]

        sink_stdout (parallelism 1)
            sink stdout
                at most once
    "#]].assert_eq(&ran.stdout);
}
