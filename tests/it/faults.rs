//! What goes wrong in a user's hands: one clear message each, a failing exit code, nothing half-written.

use crate::support::{Workplace, repository};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::TcpListener;

const READ_A: &str = "CREATE TABLE a (x BIGINT) WITH (connector = 'single_file', path = 'a.json', format = 'json');\n";
const WRITE_B: &str = "CREATE TABLE b (x BIGINT) WITH (connector = 'single_file', path = 'b.json', format = 'json');\n";

#[test]
fn a_mistake_in_sql_is_shown_with_line_and_column() {
    let place = Workplace::new();
    place.write("a.json", "{\"x\": 1}\n");
    let message = place.run(&format!("{READ_A}{WRITE_B}INSERT INTO b\nSELECT y FROM a;")).failed();
    assert!(message.contains("line 4, column 8"), "{message}");
    assert!(message.contains('y') && message.contains("help:"), "{message}");
    assert_eq!(place.files(), ["a.json", "pipeline.sql"]);
}

#[test]
fn a_syntax_error_is_shown_with_line_and_column() {
    let message = Workplace::new().run("CREATE TABLE a (x BIGINT)\nWITH connector = 'single_file';").failed();
    assert!(message.contains("line 2"), "{message}");
}

#[test]
fn a_missing_file_is_named() {
    let place = Workplace::new();
    let message = place.run(&format!("{READ_A}{WRITE_B}INSERT INTO b SELECT x FROM a;")).failed();
    assert!(message.contains("a.json") && message.to_lowercase().contains("no such file"), "{message}");
    assert_eq!(place.files(), ["pipeline.sql"]);
    let message = place.headwater(&["run", "nothing.sql"]).failed();
    assert!(message.contains("nothing.sql"), "{message}");
}

#[test]
fn a_corrupt_parquet_file_is_named() {
    let place = Workplace::new();
    place.write("a.parquet", "PAR1 this is no parquet file PAR1");
    let source =
        "CREATE TABLE a (x BIGINT) WITH (connector = 'single_file', path = 'a.parquet', format = 'parquet');\n";
    let message = place.run(&format!("{source}{WRITE_B}INSERT INTO b SELECT x FROM a;")).failed();
    assert!(message.contains("a.parquet"), "{message}");
    assert_eq!(place.files(), ["a.parquet", "pipeline.sql"]);
}

#[test]
fn a_full_disk_is_said_to_be_full() {
    let place = Workplace::new();
    place.write("a.json", "{\"x\": 1}\n".repeat(10_000));
    let full = "CREATE TABLE b (x BIGINT) WITH (connector = 'sqlite', path = 'b.db');\n";
    place.write("pipeline.sql", format!("{READ_A}{full}INSERT INTO b SELECT x FROM a;"));
    // A limit on the size of files is the full disk that a test can have without being root.
    let script = format!("ulimit -f 32; trap '' XFSZ; exec {} run pipeline.sql", env!("CARGO_BIN_EXE_headwater"));
    let output = std::process::Command::new("sh").arg("-c").arg(script).current_dir(place.path()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("error: "), "{message}");
    assert!(message.contains("b.db"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    let store = rusqlite::Connection::open(place.path().join("b.db")).unwrap();
    let rows: i64 = store.query_row("SELECT count(*) FROM b", [], |row| row.get(0)).unwrap_or_default();
    assert_eq!(rows, 0, "a part of the rows is visible");
}

#[test]
fn a_port_in_use_is_said_to_be_in_use() {
    let place = Workplace::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let message = place.headwater(&["serve", "--listen", &address]).failed();
    assert!(message.contains(&address) && message.contains("in use") && message.contains("--listen"), "{message}");
    assert_eq!(place.files(), Vec::<String>::new(), "nothing was made before the address was refused");
}

#[test]
fn other_machines_are_not_served_without_keys() {
    let message = Workplace::new().headwater(&["serve", "--listen", "0.0.0.0:0"]).failed();
    assert!(message.contains("API key"), "{message}");
}

#[test]
fn a_line_of_100_mb_is_one_dead_letter() {
    let place = Workplace::new();
    let mut file = BufWriter::new(File::create(place.path().join("a.json")).unwrap());
    file.write_all(b"{\"x\": 1}\n{\"x\": \"").unwrap();
    for _ in 0..100 {
        file.write_all(&[b'9'; 1 << 20]).unwrap();
    }
    file.write_all(b"\"}\n{\"x\": 2}\n").unwrap();
    file.into_inner().unwrap().sync_all().unwrap();
    let ran = place.run(&format!("{READ_A}{WRITE_B}INSERT INTO b SELECT x FROM a;")).succeeded();
    assert!(ran.stderr.contains("rows in 3 = rows out 2 + dead letters 1 + duplicates 0"), "{}", ran.stderr);
    assert!(ran.stderr.contains("too_long: 1"), "{}", ran.stderr);
    assert_eq!(place.read("b.json"), "{\"x\":1}\n{\"x\":2}\n");
}

#[test]
fn bad_lines_do_not_stop_the_stream() {
    let place = Workplace::new();
    place.write("a.json", "{\"x\": 1}\nthis is no JSON\n{\"x\": \"no number\"}\n{\"x\": 4}\n");
    let ran = place.run(&format!("{READ_A}{WRITE_B}INSERT INTO b SELECT x FROM a;")).succeeded();
    assert!(ran.stderr.contains("rows in 4 = rows out 2 + dead letters 2 + duplicates 0"), "{}", ran.stderr);
    assert_eq!(place.read("b.json"), "{\"x\":1}\n{\"x\":4}\n");
}

#[test]
fn an_unknown_option_is_named_with_those_there_are() {
    let place = Workplace::new();
    let message = place.run("CREATE TABLE a (x BIGINT) WITH (connector = 'single_file', pfad = 'a', format = 'json');\nSELECT x FROM a;").failed();
    assert!(message.contains("path"), "{message}");
}

#[test]
fn rows_that_an_importer_refuses_have_the_right_codes() {
    let place = Workplace::new();
    let file = repository("tests/data/sample-invalid-sessions.csv");
    let import = ["import", "sessions", file.to_str().unwrap(), "--company", "Acme"];
    let ran = place.headwater(&import).succeeded();
    assert!(ran.stdout.contains("4 rows = 0 accepted + 4 refused"), "{}", ran.stdout);
    for code in ["E001: 1", "E002: 2", "E003: 1"] {
        assert!(ran.stdout.contains(code), "{}", ran.stdout);
    }
    let errors = place.read(".headwater/data/imports/sample-invalid-sessions.csv.errors.csv");
    for (session, code) in [("S006", "E001"), ("S007", "E002"), ("S008", "E002"), ("S009", "E003")] {
        assert!(errors.lines().any(|line| line.starts_with(session) && line.contains(code)), "{errors}");
    }
    let again = place.headwater(&import).succeeded();
    assert!(again.stdout.contains("imported before"), "{}", again.stdout);
}
