//! Changes in and out: whatever is written of a changing query says again, when it is read, what the query answers. The
//! model is a map from keys to rows; seeds are fixed, so a failing one can be run again.

use crate::support::Workplace;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const CASES: u32 = 24;

/// A change of the row with a key: the new city and amount, or none for a deletion.
type Change = (i64, Option<(u8, i64)>);

/// Rows by key.
type Table = BTreeMap<i64, (String, i64)>;

const CITIES: [&str; 3] = ["Oslo", "Bergen", "Tromsø"];

/// Writes changes as Debezium does; where they can be told without the row before, `bare` leaves it out.
fn events(changes: &[Change], bare: bool) -> (String, Table) {
    let mut table = Table::new();
    let mut text = String::new();
    let row = |id: i64, (city, amount): &(String, i64)| json!({ "id": id, "city": city, "amount": amount });
    for (number, (id, new)) in changes.iter().enumerate() {
        let old = table.get(id).cloned();
        let new = new.map(|(city, amount)| (CITIES[usize::from(city) % CITIES.len()].to_owned(), amount));
        let before = match (&old, bare) {
            (None, _) => Value::Null,
            (Some(_), true) if new.is_some() => Value::Null,
            (Some(_), true) => json!({ "id": id }),
            (Some(old), false) => row(*id, old),
        };
        let op = match (&old, &new) {
            (None, None) => continue,
            (None, Some(_)) => "c",
            (Some(_), Some(_)) => "u",
            (Some(_), None) => "d",
        };
        let after = new.as_ref().map_or(Value::Null, |new| row(*id, new));
        let event = json!({ "op": op, "before": before, "after": after });
        let event = if number % 3 == 0 { json!({ "schema": {}, "payload": event }) } else { event };
        text.push_str(&format!("{event}\n"));
        match new {
            Some(new) => drop(table.insert(*id, new)),
            None => drop(table.remove(id)),
        }
    }
    (text, table)
}

/// What is left of changes, each row as often as it is left.
fn left(text: &str) -> BTreeMap<String, i64> {
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let change: Value = serde_json::from_str(line).expect("JSON");
        for (side, sign) in [("before", -1), ("after", 1)] {
            if !change[side].is_null() {
                *rows.entry(change[side].to_string()).or_default() += sign;
            }
        }
    }
    rows.retain(|_, n| *n != 0);
    rows
}

fn rows(rows: impl Iterator<Item = Value>) -> BTreeMap<String, i64> {
    let mut left = BTreeMap::new();
    rows.for_each(|row| *left.entry(row.to_string()).or_default() += 1);
    left
}

fn check(changes: &[Change], keyed: bool, parallelism: &str) {
    let place = Workplace::new();
    let (text, table) = events(changes, keyed);
    place.write("changes.json", text);
    let key = if keyed { ", PRIMARY KEY (id)" } else { "" };
    place.write(
        "pipeline.sql",
        format!(
            "CREATE TABLE t (id BIGINT, city TEXT, amount BIGINT{key})
             WITH (connector = 'single_file', path = 'changes.json', format = 'debezium_json');
             CREATE TABLE copy (id BIGINT, city TEXT, amount BIGINT{key}) WITH (connector = 'single_file', path = 'copy');
             INSERT INTO copy SELECT * FROM t;
             CREATE TABLE cities (city TEXT, n BIGINT, amount BIGINT, PRIMARY KEY (city))
             WITH (connector = 'single_file', path = 'cities');
             INSERT INTO cities SELECT city, count(*), sum(amount) FROM t GROUP BY city;
             CREATE TABLE pairs (a BIGINT, b BIGINT) WITH (connector = 'single_file', path = 'pairs');
             INSERT INTO pairs SELECT x.id AS a, y.id AS b FROM t x JOIN t y ON x.city = y.city WHERE x.amount < y.amount;"
        ),
    );
    let ran = place.headwater(&["run", "pipeline.sql", "-p", parallelism]).succeeded();
    assert!(!ran.stderr.contains("does not balance"), "{}", ran.stderr);
    let expected = rows(table.iter().map(|(id, (city, n))| json!({ "id": id, "city": city, "amount": n })));
    assert_eq!(left(&place.read("copy")), expected, "copy");
    let mut cities: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    for (city, amount) in table.values() {
        let sums = cities.entry(city).or_default();
        *sums = (sums.0 + 1, sums.1 + amount);
    }
    let expected = rows(cities.iter().map(|(city, (n, sum))| json!({ "city": city, "n": n, "amount": sum })));
    assert_eq!(left(&place.read("cities")), expected, "cities");
    let pairs = table.iter().flat_map(|(a, x)| table.iter().map(move |(b, y)| (a, x, b, y)));
    let pairs = pairs.filter(|(_, x, _, y)| x.0 == y.0 && x.1 < y.1);
    assert_eq!(left(&place.read("pairs")), rows(pairs.map(|(a, _, b, _)| json!({ "a": a, "b": b }))), "pairs");
    // What was written is read as the same changes.
    let again = format!(
        "CREATE TABLE copy (id BIGINT, city TEXT, amount BIGINT{key})
         WITH (connector = 'single_file', path = 'copy', format = 'debezium_json');
         CREATE TABLE again (id BIGINT, city TEXT, amount BIGINT{key}) WITH (connector = 'single_file', path = 'again');
         INSERT INTO again SELECT * FROM copy;"
    );
    place.run(&again).succeeded();
    assert_eq!(left(&place.read("again")), left(&place.read("copy")), "again");
}

#[test]
fn changes_come_through_the_inbox_and_records_say_where_they_were() {
    let place = Workplace::new();
    let event = |op: &str, id: i64, city: &str| json!({ "op": op, "after": { "id": id, "city": city } }).to_string();
    let lines = [event("c", 1, "Oslo"), event("c", 2, "Oslo"), event("u", 1, "Bergen"), event("x", 3, "Oslo")];
    place.write("inbox/orders/00000001.jsonl", lines.join("\n") + "\n");
    let sql = "CREATE TABLE orders (id BIGINT PRIMARY KEY, city TEXT)
        WITH (connector = 'inbox', topic = 'orders', format = 'debezium_json');
        SELECT id, city FROM orders;
        CREATE TABLE lines (op TEXT, topic TEXT METADATA, place TEXT METADATA FROM 'position')
        WITH (connector = 'inbox', topic = 'orders', format = 'json');
        CREATE TABLE seen WITH (connector = 'single_file', path = 'seen');
        INSERT INTO seen SELECT op, topic, place FROM lines WHERE op = 'u';";
    let ran = place.run(sql).succeeded();
    let expected = rows([json!({ "id": 1, "city": "Bergen" }), json!({ "id": 2, "city": "Oslo" })].into_iter());
    assert_eq!(left(&ran.stdout), expected);
    assert!(ran.stderr.contains("dead letters malformed_field: 1"), "{}", ran.stderr);
    let before = lines[0].len() + lines[1].len() + 2;
    let seen: Value = serde_json::from_str(&place.read("seen")).expect("JSON");
    let position = format!("orders/00000001.jsonl:{before}");
    assert_eq!(seen, json!({ "op": "u", "topic": "orders", "place": position }));
}

#[test]
fn changes_are_followed_and_written_again_with_and_without_a_key() {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let change = (0_i64..6, prop::option::weighted(0.75, (0_u8..3, 0_i64..5)));
    let cases = (prop::collection::vec(change, 0..60), any::<bool>(), prop::sample::select(vec!["1", "3"]));
    let result = runner.run(&cases, |(changes, keyed, parallelism)| {
        check(&changes, keyed, parallelism);
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}
