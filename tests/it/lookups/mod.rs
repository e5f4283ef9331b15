//! Joins with tables that are looked up in real stores. The oracle is the store itself: it answers the same SQL over
//! the same rows. Each test has a store of its own; servers are started privately and end with their test.

mod postgres;
mod redis;
mod sqlite;

use crate::support::Workplace;
use serde_json::{Map, Value};

/// What stands before a table in Flink, and what a store does not understand.
const CLAUSE: &str = " FOR SYSTEM_TIME AS OF PROCTIME()";

/// The orders of every test: number, customer, region, amount. Customers 8 and 9 do not exist.
const ORDERS: &[(i64, Option<i64>, Option<&str>, i64)] = &[
    (1, Some(1), Some("no"), 10),
    (2, Some(2), Some("no"), 25),
    (3, Some(2), Some("se"), 70),
    (4, Some(9), Some("no"), 5),
    (5, None, Some("no"), 31),
    (6, Some(3), None, 12),
    (7, Some(1), Some("se"), 99),
    (8, Some(8), Some("dk"), 1),
    (9, Some(4), Some("dk"), 40),
    (10, Some(1), Some("no"), 11),
];

/// The customers: several rows may have one number, in different regions.
const CUSTOMERS: &str = "(1, 'no', 'Ada', 1), (1, 'se', 'Agda', 3), (2, 'no', 'Bo', 2), (3, 'dk', '4', NULL), \
                         (4, 'dk', 'O''Dea', 4), (5, 'no', NULL, 5)";

const ORDERS_TABLE: &str = "
CREATE TABLE orders (o_id BIGINT, customer BIGINT, region TEXT, amount BIGINT)
WITH (connector = 'single_file', path = 'orders.json', format = 'json', type = 'source');
";

const CUSTOMER_COLUMNS: &str = "id BIGINT NOT NULL, region TEXT NOT NULL, name TEXT, level INT";

/// What is asked of every store.
const QUERIES: &[&str] = &[
    "SELECT o.o_id, c.name FROM orders o JOIN customers FOR SYSTEM_TIME AS OF PROCTIME() AS c ON o.customer = c.id",
    "SELECT o.o_id, c.name, c.region FROM orders AS o LEFT JOIN customers FOR SYSTEM_TIME AS OF PROCTIME() AS c \
     ON o.customer = c.id AND o.region = c.region",
    "SELECT o.o_id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id AND c.level > 1",
    "SELECT o.o_id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id AND o.amount > c.level * 10",
    "SELECT o.o_id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id WHERE c.id IS NULL",
    "SELECT o.o_id, c.level FROM orders o JOIN customers c ON o.customer = c.id WHERE c.level >= 2 OR o.amount > 50",
    "SELECT o.o_id, c.name FROM customers c JOIN orders o ON c.id = o.customer",
    "SELECT o.o_id, c.name FROM customers c RIGHT JOIN orders o ON c.id = o.customer AND c.region = 'no'",
    "SELECT o.o_id FROM orders o WHERE EXISTS (SELECT 1 FROM customers c WHERE c.id = o.customer AND c.level > 1)",
    "SELECT o.o_id FROM orders o WHERE NOT EXISTS (SELECT 1 FROM customers c WHERE c.id = o.customer)",
    "SELECT o.o_id FROM orders o WHERE o.customer IN (SELECT id FROM customers)",
    "SELECT o.o_id, c.name, d.name AS other FROM orders o JOIN customers c ON o.customer = c.id \
     LEFT JOIN customers d ON c.level = d.id AND d.region <> c.region",
    "SELECT o.o_id, c.big FROM orders o JOIN (SELECT id, upper(name) AS big FROM customers WHERE level < 3) c \
     ON o.customer = c.id",
    "SELECT o.o_id, c.name FROM orders o, customers c WHERE o.customer = c.id AND o.amount > 10",
    "SELECT o.o_id, c.name FROM orders o JOIN customers c ON o.customer + 1 = c.id",
    "SELECT o.o_id, c.id FROM orders o JOIN customers c ON CAST(o.customer AS TEXT) = c.name",
    "SELECT o.o_id, c.name FROM orders o LEFT JOIN customers c ON o.region = c.region AND c.id = 1",
];

/// A pipeline's folder with the orders in it.
fn place() -> Workplace {
    let place = Workplace::new();
    let text = |text: &Option<&str>| text.map_or(Value::Null, Value::from);
    let line = |(id, customer, region, amount): &(i64, Option<i64>, Option<&str>, i64)| {
        serde_json::json!({"o_id": id, "customer": customer, "region": text(region), "amount": amount}).to_string()
    };
    place.write("orders.json", ORDERS.iter().map(line).collect::<Vec<_>>().join("\n"));
    place
}

/// The orders as the values of an `INSERT`.
fn order_values() -> String {
    let null = || "NULL".to_owned();
    let row = |(id, customer, region, amount): &(i64, Option<i64>, Option<&str>, i64)| {
        let customer = customer.map_or_else(null, |customer| customer.to_string());
        let region = region.map_or_else(null, |region| format!("'{region}'"));
        format!("({id}, {customer}, {region}, {amount})")
    };
    ORDERS.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// Runs a pipeline and returns the rows that it prints, without nulls, sorted.
#[track_caller]
fn rows_of(place: &Workplace, pipeline: &str, parallelism: &str) -> Vec<String> {
    place.write("pipeline.sql", pipeline);
    let ran = place.headwater(&["run", "pipeline.sql", "-p", parallelism]).succeeded();
    assert!(!ran.stderr.contains("does not balance"), "{}", ran.stderr);
    let mut rows: Vec<String> = ran.stdout.lines().map(without_nulls).collect();
    rows.sort_unstable();
    rows
}

fn without_nulls(line: &str) -> String {
    let mut row: Map<String, Value> = serde_json::from_str(line).expect("a JSON object");
    row.retain(|_, value| !value.is_null());
    Value::Object(row).to_string()
}

/// Asks a pipeline and the store that it looks rows up in for the same, and compares the answers.
#[track_caller]
fn compare(place: &Workplace, declarations: &str, query: &str, oracle: impl Fn(&str) -> Vec<String>) {
    let mut expected: Vec<String> = oracle(&query.replace(CLAUSE, "")).iter().map(|row| without_nulls(row)).collect();
    expected.sort_unstable();
    for parallelism in ["1", "3"] {
        let found = rows_of(place, &format!("{ORDERS_TABLE}{declarations}{query};"), parallelism);
        assert_eq!(found, expected, "{query}, parallelism {parallelism}");
    }
    assert!(!expected.is_empty(), "{query} has no rows to compare");
}
