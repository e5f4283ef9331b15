//! `headwater generate nexmark`: the files hold what the connector delivers, in its order.

use crate::support::Workplace;

/// Prints a table of the connector, and the file that was written of it.
fn both(table: &str, file: &str, format: &str) -> String {
    format!(
        "CREATE TABLE made WITH (connector = 'nexmark', table = '{table}', events = '5000', seed = '3', rate = '700');
         CREATE TABLE kept WITH (connector = '{format}', path = '{file}');
         CREATE TABLE a WITH (connector = 'single_file', path = 'a.jsonl');
         CREATE TABLE b WITH (connector = 'single_file', path = 'b.jsonl');
         INSERT INTO a SELECT * FROM made;
         INSERT INTO b SELECT * FROM kept;"
    )
}

#[test]
fn generated_files_hold_what_the_connector_delivers() {
    let place = Workplace::new();
    let numbers = ["--events", "5000", "--seed", "3", "--rate", "700"];
    let generate = |more: &[&str]| place.headwater(&[&["generate", "nexmark"], &numbers[..], more].concat());
    let ran = generate(&["--out", "three", "--format", "parquet"]).succeeded();
    assert_eq!(ran.stdout, "5000 rows in 'three': person, auction, bid as parquet\n");
    generate(&["--out", "one", "--format", "parquet", "--one-file"]).succeeded();
    for (table, file) in [
        ("person", "three/person.parquet"),
        ("auction", "three/auction.parquet"),
        ("bid", "three/bid.parquet"),
        ("events", "one/events.parquet"),
    ] {
        place.run(&both(table, file, "parquet")).succeeded();
        assert!(place.read("a.jsonl") == place.read("b.jsonl"), "{file} is not what the connector delivers");
    }
    generate(&["--out", "lines"]).succeeded();
    place.run(&both("bid", "three/bid.parquet", "parquet")).succeeded();
    assert!(place.read("a.jsonl") == place.read("lines/bid.jsonl"), "the lines are not those of the connector");
    assert!(generate(&["--out", "lines"]).failed().contains("the folder 'lines' is not empty"));
}
